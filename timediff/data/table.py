"""Any table, long or wide, in memory or in a file, as aligned series on one clock.

Axes: T time steps, D series, N rows of the table as given.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from timediff.arguments import checked
from timediff.data.readers.columns import covariate, numbers
from timediff.data.readers.file import frame_of
from timediff.data.readers.layout import ROLES, Layout, Roles, layout_of, roles_of
from timediff.data.readers.regular import clock_of
from timediff.data.readers.stamps import read_stamps
from timediff.data.readers.zones import (
    check_zone,
    localized,
    off_clock,
    repeated_hour,
    skipped_hour,
)
from timediff.data.steps import Clock
from timediff.errors import InputError
from timediff.frequency import split_freq
from timediff.reading import Reading

__all__ = ["Table", "read_as", "read_file", "read_frame"]


class Table(NamedTuple):
    """Series on one clock.

    Attributes:
        values: float64 ``[T, D]``; NaN is a missing value.
        names: Of the D series: columns of a wide table in their order, of a long one in the order of their
            first rows.
        labels: The names in the type that the table has them in, such as whole numbers.
        clock: Where the T steps stand in time.
        future: Known-future covariates by name, ``[T]`` of a wide table, ``[T, D]`` of a long one: float64,
            or for categories objects that are texts or None.
        past: Covariates that are known for the past only, likewise.
        notes: A sentence for everything that was repaired or supposed.
    """

    values: np.ndarray
    names: list[str]
    labels: list[Any]
    clock: Clock
    future: dict[str, np.ndarray]
    past: dict[str, np.ndarray]
    notes: list[str]

    def entry(self, item_id: str) -> dict[str, Any]:
        """The series as one entry of GluonTS, target float64 ``[D, T]``, covariates in its standard fields.

        A field has a row for each of its covariates, ``[F, T]``, or ``[F, D, T]`` where one of them differs
        between series; categories are numbered in the order of their texts.
        """
        target = np.ascontiguousarray(self.values.T, dtype=np.float64)
        entry = {"item_id": item_id, "start": self.clock.start, "target": target}
        for field, covariates in (("feat_dynamic", self.future), ("past_feat_dynamic", self.past)):
            for kind in ("real", "cat"):
                own = [c for c in covariates.values() if (c.dtype == object) == (kind == "cat")]
                rows = [(_numbered(c) if kind == "cat" else c).T for c in own]
                if any(row.ndim == 2 for row in rows):
                    rows = [np.broadcast_to(row, target.shape) for row in rows]
                if rows:
                    entry[f"{field}_{kind}"] = np.stack(rows).astype(np.float64)
        return entry

    def to_frame(self, roles: Roles = ROLES) -> pd.DataFrame:
        """Series and covariates as a long frame in the columns of some roles, with the table's own stamps."""
        steps, dim = self.values.shape
        stamps = self.clock.stamps(0, steps)
        columns = {
            roles.id_col: pd.Index(self.labels).repeat(steps),
            roles.time_col: stamps[np.tile(np.arange(steps), dim)],
            roles.target_col: self.values.T.ravel(),
        }
        for name, values in {**self.future, **self.past}.items():
            each = values if values.ndim == 2 else np.repeat(values[:, None], dim, axis=1)
            columns[name] = each.T.ravel()
        return pd.DataFrame(columns)


@checked
def read_frame(
    frame: Any,
    *,
    roles: Roles = ROLES,
    freq: str | None = None,
    tz: str | None = None,
    day_first: bool | None = None,
    what: str = "the frame",
) -> Table:
    """The table of a pandas, polars or pyarrow frame.

    Long frames have the columns of ``roles``: one row per series and step. Wide ones have one row per step,
    stamps in ``roles.time_col``, as index, or in the first column, and one column per series. Rows are
    sorted, absent ones are missing values; nothing is filled in.

    Args:
        frame: Long or wide.
        roles: What the columns are.
        freq: Frequency, any alias of pandas; what the stamps suggest when None.
        tz: Zone of the local clock that stamps without a zone show; of the output for stamps with one.
        day_first: Whether 05.06.2024 is the fifth of June, where stamps are texts that do not say.
        what: The table, for the sentence of an error.

    Raises:
        InputError: The table is empty, ambiguous, irregular or not numeric.
    """
    layout = layout_of(frame, roles, what)
    if tz is not None:
        check_zone(tz)
    read = read_stamps(layout.time, what=what, tz=tz, day_first=day_first)
    index, notes = read.stamps, list(read.notes)
    if layout.series is None and index.duplicated().mean() > 0.1:
        names = [column for column in layout.targets if not pd.api.types.is_numeric_dtype(column)]
        if names and not names[0].astype(str).str.contains(r"^\s*[\d.,+-]").any():
            raise InputError(
                f"the stamps of {what} repeat and its column {names[0].name!r} has no numbers, as in a long "
                "table; name the columns of series, stamps and values by id_col, time_col and target_col"
            )
    targets = [
        numbers(column, f"column {column.name!r} of {what}", rows=index)
        for column in layout.targets
    ]
    if not any(np.isfinite(target).any() for target in targets):
        raise InputError(f"every value of {what} is missing; give at least some")
    if layout.unread:
        unread = _listed([name or "(no name)" for name in layout.unread])
        notes.append(f"columns of {what} without a role were not read: {unread}")

    if tz is not None and index.tz is None:
        # Some tables of 24 rows a day keep an empty row for the hour that the clock skips.
        kept = ~(off_clock(index, tz)[1] & np.isnan(targets).all(axis=0))
        layout, index, targets = layout.rows(kept), index[kept], [t[kept] for t in targets]
    index = _in_zone(index, layout, tz, what)
    clock = clock_of(index.unique().sort_values(), freq or read.freq, what)
    steps, _ = clock.steps(index)
    notes += _repairs(steps, layout, clock, what)

    length = int(steps.max()) + 1

    def spread(cells: np.ndarray) -> np.ndarray:
        """Cells of the rows at their steps: ``[T]``, or ``[T, D]`` of a long table."""
        shape = (length,) if layout.series is None else (length, len(layout.names))
        spread = np.full(shape, None if cells.dtype == object else np.nan, dtype=cells.dtype)
        spread[steps if layout.series is None else (steps, layout.series)] = cells
        return spread

    columns = [spread(target) for target in targets]
    values = np.stack(columns, axis=1) if layout.series is None else columns[0]
    future, past = (
        {
            name: spread(covariate(layout.covariates[name], f"column {name!r} of {what}"))
            for name in names
        }
        for names in (roles.futr, roles.hist)
    )
    return Table(values, layout.names, layout.labels, clock, future, past, notes)


@checked
def read_file(
    path: str | Path,
    *,
    roles: Roles = ROLES,
    freq: str | None = None,
    tz: str | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    day_first: bool | None = None,
) -> Table:
    """The table of a CSV, Parquet or Feather file, by its ending; as `read_frame`.

    Args:
        path: Of the file.
        roles: What the columns are.
        freq: Frequency.
        tz: Zone.
        separator: Between the fields of a CSV; the one of ``,;|`` and tab that fits when None.
        decimal: Point or comma of the numbers of a CSV; what its cells show when None.
        day_first: Whether 05.06.2024 is the fifth of June.

    Raises:
        InputError: As `read_frame`, or the file cannot be read.
    """
    frame, notes = frame_of(Path(path), id_col=roles.id_col, separator=separator, decimal=decimal)
    table = read_frame(frame, roles=roles, freq=freq, tz=tz, day_first=day_first, what=str(path))
    return table._replace(notes=[*notes, *table.notes])


def read_as(path: str | Path, reading: Reading) -> Table:
    """`read_file` as it is said how."""
    return read_file(
        path,
        roles=roles_of(reading),
        freq=reading.freq,
        tz=reading.tz,
        separator=reading.separator,
        decimal=reading.decimal,
        day_first=reading.day_first,
    )


def _numbered(categories: np.ndarray) -> np.ndarray:
    """Numbers in place of texts, NaN in place of None."""
    codes, _ = pd.factorize(categories.ravel(), sort=True)
    return np.where(codes < 0, np.nan, codes).reshape(categories.shape)


def _in_zone(
    index: pd.DatetimeIndex, layout: Layout, tz: str | None, what: str
) -> pd.DatetimeIndex:
    """The stamps in the zone of their clock, none of them twice in a series."""
    series = np.zeros(len(index), dtype=np.intp) if layout.series is None else layout.series
    if tz is not None and index.tz is None:
        index = localized(index, tz, series, what)
    keys = pd.DataFrame({"series": series, "stamp": index})
    again = keys.duplicated().to_numpy()
    if not again.any():
        return index
    if index.tz is None:
        counts = keys[keys.duplicated(keep=False)].value_counts()
        stamps = pd.DatetimeIndex(counts.index.get_level_values("stamp"))
        if zone := repeated_hour(stamps, counts.to_numpy()):
            raise InputError(
                f"{what} has {stamps.min()} twice, as a local clock shows it when daylight saving ends; give "
                f"its zone, such as tz={zone}"
            )
    row = int(np.argmax(again))
    whose, hint = "", ", or name the columns of a long table by id_col, time_col and target_col"
    if layout.series is not None:
        whose, hint = f" of series {layout.names[series[row]]}", ""
    raise InputError(
        f"{what} has the stamp {index[row]}{whose} twice; keep one row per time step{hint}"
    )


def _repairs(steps: NDArray[np.int64], layout: Layout, clock: Clock, what: str) -> list[str]:
    """Sentences on rows that were sorted, absent, or begin and end where others do not.

    Raises:
        InputError: More than half of the rows of a series are absent.
    """
    series = np.zeros(len(steps), dtype=np.intp) if layout.series is None else layout.series
    by_series = np.argsort(series, kind="stable")
    notes = []
    if ((np.diff(steps[by_series]) < 0) & (np.diff(series[by_series]) == 0)).any():
        notes.append(f"the rows of {what} were sorted by time")
    spans = pd.DataFrame({"series": series, "step": steps}).groupby("series")["step"]
    first, last, count = spans.min().to_numpy(), spans.max().to_numpy(), spans.count().to_numpy()
    span = last - first + 1
    sparse = 2 * count < span
    if sparse.any():
        worst = int(np.argmax(sparse))
        raise InputError(
            f"series {layout.names[worst]} of {what} has only {count[worst]} of {span[worst]} rows at "
            f"{clock.start.freqstr} between its first and its last; write at least half of them, or leave it "
            "out"
        )
    if absent := int((span - count).sum()):
        notes.append(
            f"{absent:,} of {int(span.sum()):,} rows of {what} were absent and are read as missing values"
        )
    ragged = int(((first > 0) | (last < steps.max())).sum())
    if ragged:
        notes.append(
            f"{ragged} of {len(span)} series of {what} begin later or end earlier than others, and miss the "
            "values there"
        )
    if clock.tz is None and absent and split_freq(clock.start.freqstr)[1] in ("s", "min", "h"):
        present = np.zeros(int(steps.max()) + 1, dtype=bool)
        present[steps] = True
        stamps = clock.stamps(0, len(present))
        if zone := skipped_hour(stamps[present], stamps[~present]):
            notes.append(
                f"{what} skips an hour as a local clock does when daylight saving begins; if it is one, give "
                f"its zone, such as tz={zone}"
            )
    return notes


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
