"""Any table, long or wide, in memory or in a file, as aligned series on one clock.

Axes: T time steps, D series, N rows of the table as given.
"""

from pathlib import Path
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np
import pandas as pd

from timediff.data.readers.columns import covariate, numbers
from timediff.data.readers.contents import unique_names
from timediff.data.readers.regular import clock_of
from timediff.data.readers.stamps import read_stamps
from timediff.data.steps import Clock
from timediff.errors import InputError

__all__ = ["ROLES", "Roles", "Table", "read_file", "read_frame"]


class Roles(NamedTuple):
    """What the columns of a table are.

    Attributes:
        id_col: Name of the series, in a long table.
        time_col: The stamps.
        target_col: The values, in a long table.
        futr: Covariates that are known for the future.
        hist: Covariates that are known for the past only.
    """

    id_col: str = "unique_id"
    time_col: str = "ds"
    target_col: str = "y"
    futr: tuple[str, ...] = ()
    hist: tuple[str, ...] = ()


#: The names that Nixtla's libraries use.
ROLES = Roles()


class Table(NamedTuple):
    """Series on one clock.

    Attributes:
        values: float64 ``[T, D]``; NaN is a missing value.
        names: Of the D series: columns of a wide table in their order, of a long one in the order of their
            first rows.
        clock: Where the T steps stand in time.
        future: Known-future covariates by name, ``[T]`` of a wide table, ``[T, D]`` of a long one: float64,
            or for categories objects that are texts or None.
        past: Covariates that are known for the past only, likewise.
        notes: A sentence for everything that was repaired or supposed.
    """

    values: np.ndarray
    names: list[str]
    clock: Clock
    future: dict[str, np.ndarray]
    past: dict[str, np.ndarray]
    notes: list[str]


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
    stamps as index, in ``roles.time_col`` or in the first column, and one column per series. Rows are sorted,
    absent ones are missing values; nothing is filled in.

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
    table = _pandas(frame, what)
    notes: list[str] = []
    long = {roles.id_col, roles.time_col, roles.target_col} <= set(table.columns)
    time, table = _time_column(table, roles, what)
    stamps, own = read_stamps(time, what=what, tz=tz, day_first=day_first)
    rising = stamps.unique().sort_values()
    clock = clock_of(rising, freq or own, what)
    steps, _ = clock.steps(stamps)
    if (np.diff(steps) < 0).any() and not long:
        notes.append(f"the rows of {what} were sorted by time")
    length = int(steps.max()) + 1
    if length > len(rising):
        absent = length - len(rising)
        notes.append(f"{absent} of {length} rows of {what} were absent and are missing values")
    if long:
        ids = table[roles.id_col].astype(str)
        codes, found = pd.factorize(ids)
        names = [str(name) for name in found]
        columns = [roles.target_col]
    else:
        codes, names = np.zeros(len(table), dtype=int), []
        columns = [c for c in table.columns if c not in {*roles.futr, *roles.hist}]
    places = pd.MultiIndex.from_arrays([codes, steps])
    if places.has_duplicates:
        row = int(np.argmax(places.duplicated()))
        who = f" of {names[codes[row]]}" if long else ""
        raise InputError(
            f"{what} has the stamp {stamps[row]}{who} twice; keep one row per time step"
        )

    def spread(cells: np.ndarray) -> np.ndarray:
        empty = np.nan if cells.dtype != object else None
        shape = (length, len(names)) if long else (length,)
        out = np.full(shape, empty, dtype=cells.dtype)
        out[(steps, codes) if long else steps] = cells
        return out

    rows = pd.Series(stamps.astype(str))
    read = [
        spread(numbers(table.iloc[:, i], f"column {column!r} of {what}", rows))
        for i, column in enumerate(table.columns)
        if column in columns
    ]
    if not long:
        names = unique_names([str(c) for c in columns])
    values = read[0] if long else np.stack(read, axis=1)
    future, past = (
        {name: spread(covariate(table[name], f"column {name!r} of {what}")) for name in chosen}
        for chosen in (roles.futr, roles.hist)
    )
    return Table(values, names, clock, future, past, notes)


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
    """The table of a CSV, Parquet or Feather file, by its ending."""
    path = Path(path)
    if path.suffix == ".parquet":
        frame = pd.read_parquet(path)
    elif path.suffix == ".feather":
        frame = pd.read_feather(path)
    else:
        frame = pd.read_csv(path, sep=separator or ",", decimal=decimal or ".")
    return read_frame(frame, roles=roles, freq=freq, tz=tz, day_first=day_first, what=str(path))


def _pandas(frame: Any, what: str) -> pd.DataFrame:
    if isinstance(frame, pd.DataFrame):
        table = frame
    else:
        try:
            table = nw.from_native(frame, eager_only=True).to_pandas()
        except TypeError:
            raise InputError(
                f"{what} is a {type(frame).__name__}; give a frame of pandas, polars or pyarrow"
            ) from None
    if table.empty:
        raise InputError(f"{what} is empty; give one row per time step")
    return table


def _time_column(
    table: pd.DataFrame, roles: Roles, what: str
) -> tuple[pd.Series | pd.Index, pd.DataFrame]:
    """The stamps of a table and the other columns."""
    if roles.time_col in table.columns:
        return table[roles.time_col], table.drop(columns=roles.time_col)
    if isinstance(table.index, pd.DatetimeIndex | pd.PeriodIndex):
        return table.index, table
    return table.iloc[:, 0], table.iloc[:, 1:]
