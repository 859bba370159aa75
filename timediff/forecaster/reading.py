"""Frames read as what is known, training data first, and later frames as training saw them.

A frame has one table, or one for each of several groups of the same series; ``{None: ...}`` is the former.

Axes: ``T`` known steps, ``D`` series.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from timediff.data.readers.columns import covariate
from timediff.data.readers.layout import Roles
from timediff.data.table import Table, read_frame
from timediff.errors import InputError
from timediff.forecaster.frames import Array, Columns, as_pandas, groups_of, some, whose
from timediff.forecaster.known import Known, Layout, shared_values

__all__ = ["joined", "read_known", "read_training"]


def read_training(
    df: Any,
    static_df: Any,
    columns: Columns,
    freq: str | None,
    tz: str | None,
    futr: list[str],
    hist: list[str],
    stat: list[str],
) -> tuple[dict[Any, Known], Layout, list[str]]:
    """Training data by groups, how later frames must look, and what is to be said of the frame.

    Raises:
        InputError: A frame cannot be read, or a covariate is not there.
    """
    if twice := set(stat) & {*futr, *hist}:
        raise InputError(
            f"{min(twice)!r} is a static covariate and another; leave it out of one list"
        )
    if (static_df is None) != (not stat):
        raise InputError("static_df and stat_exog_list go together; give both, or neither")
    known, layout, notes = read_known(df, columns=columns, freq=freq, tz=tz, futr=futr, hist=hist)
    if stat:
        known, layout = _with_statics(static_df, known, layout, stat)
    return known, layout, notes


def read_known(
    frame: Any,
    *,
    columns: Columns,
    freq: str | None,
    tz: str | None,
    futr: list[str],
    hist: list[str],
    layout: Layout | None = None,
) -> tuple[dict[Any, Known], Layout, list[str]]:
    """The series and covariates of each group, how later frames must look, and what is to be said of it.

    Args:
        frame: Long or wide.
        columns: Of a long frame; a wide one may have its stamps in ``columns.time``.
        freq: Any alias of pandas, or what the stamps suggest.
        tz: Zone of the local clock of stamps without one.
        futr: Names of the covariates known ahead.
        hist: Names of those known for the past only, or of series that are inputs only.
        layout: What the model was trained on; None for training data.

    Raises:
        InputError: The frame cannot be read, or does not fit the layout.
    """
    roles = Roles(columns.id, columns.time, columns.target, tuple(futr), tuple(hist))
    parts = {
        group: _inputs_as_columns(part, columns, hist)
        for group, part in groups_of(frame, columns, "the frame").items()
    }
    tables: dict[Any, Table] = {}
    for group, part in parts.items():
        tables[group] = read_frame(
            part, roles=roles, freq=freq, tz=tz, what=whose("the frame", group)
        )
        # All groups step as the first one does.
        freq = freq or tables[group].clock.start.freqstr
    dynamic = {group: {**table.future, **table.past} for group, table in tables.items()}
    if layout is None:
        first = next(iter(tables))
        names, found = _own_names(parts[first], columns, tables[first].names), tables[first].clock
        categories = _categories(dynamic.values())
        layout = Layout(columns, names, found.start.freqstr, tz, futr, hist, [], categories, [])
        layout = layout._replace(common=_common(dynamic, layout))
    known = {
        group: _fitting(table, dynamic[group], layout, whose("the frame", group))
        for group, table in tables.items()
    }
    return known, layout, [note for table in tables.values() for note in table.notes]


def _fitting(table: Table, dynamic: dict[str, np.ndarray], layout: Layout, what: str) -> Known:
    """A table in the order of the model's series."""
    order = _order(table.names, layout.names, what)
    cells = {
        name: layout.spread(name, layout.numbered(name, values, what), order, what)
        for name, values in dynamic.items()
    }
    return Known(table.values[:, order], table.clock, cells, {})


def _inputs_as_columns(frame: Any, columns: Columns, hist: list[str]) -> Any:
    """A long frame whose series that are inputs only are columns beside the others, at their stamps."""
    table = as_pandas(frame, "the frame") if hist else None
    if table is None or columns.id not in table.columns:
        return frame
    ids = table[columns.id].astype(str)
    inputs = [name for name in hist if name not in table.columns and (ids == name).any()]
    if not inputs or not {columns.time, columns.target} <= set(table.columns):
        return frame
    rest = table[~ids.isin(inputs)]
    if rest.empty:
        raise InputError("all series of the frame are inputs; leave one out of hist_exog_list")
    for name in inputs:
        own = table.loc[ids == name, [columns.time, columns.target]]
        if own[columns.time].duplicated().any():
            stamp = own.loc[own[columns.time].duplicated(), columns.time].iloc[0]
            raise InputError(
                f"the frame has the stamp {stamp} of series {name} twice; keep one row per time step"
            )
        rest = rest.merge(own.rename(columns={columns.target: name}), on=columns.time, how="left")
    return rest


def joined(old: Known, new: Known) -> Known:
    """What two frames know, on one clock; where both have a value, the newer frame's.

    Raises:
        InputError: The newer one's stamps are between the steps of the older one.
    """
    if not len(old.values):  # the model was saved without them
        return new
    (step,), (off,) = old.clock.steps(new.stamps(0, 1))
    if off:
        raise InputError(
            f"{new.stamps(0, 1)[0]} of the frame is between the steps of the training data at "
            f"{old.clock.start.freqstr}; write the stamps as these do"
        )
    first = min(int(step), 0)
    at = (-first, int(step) - first)
    length = max(at[0] + len(old.values), at[1] + len(new.values))

    def both(before: Array, after: Array) -> Array:
        whole = np.full((length, *before.shape[1:]), np.nan)
        for begin, cells in zip(at, (before, after), strict=True):
            part = whole[begin : begin + len(cells)]
            part[...] = np.where(np.isnan(cells), part, cells)
        return whole

    dynamic = {name: both(cells, new.dynamic[name]) for name, cells in old.dynamic.items()}
    clock = new.clock if first else old.clock
    return Known(both(old.values, new.values), clock, dynamic, old.static)


def _with_statics(
    frame: Any, known: dict[Any, Known], layout: Layout, wanted: list[str]
) -> tuple[dict[Any, Known], Layout]:
    """Training data with covariates that do not change.

    Raises:
        InputError: A column is not there, or a series has not exactly one row.
    """
    parts = groups_of(frame, layout.columns, "static_df")
    read = {}
    for group in known:
        what = whose("static_df", group)
        if group not in parts:
            raise InputError(f"static_df has no group {group!r}; give its rows")
        read[group] = _static_cells(as_pandas(parts[group], what), layout, wanted, what)
    categories = {**layout.categories, **_categories(read.values())}
    layout = layout._replace(stat=wanted, categories=categories)
    return {
        group: one._replace(
            static={name: layout.numbered(name, v, "static_df") for name, v in read[group].items()}
        )
        for group, one in known.items()
    }, layout


def _static_cells(
    table: pd.DataFrame, layout: Layout, wanted: list[str], what: str
) -> dict[str, np.ndarray]:
    """The static covariates of the model's series, ``[D]`` each."""
    id_col = layout.columns.id
    if missing := [name for name in (id_col, *wanted) if name not in table.columns]:
        raise InputError(
            f"{what} has no column {missing[0]!r}; its columns are {some(list(table.columns))}"
        )
    ids = table[id_col].astype(str).to_numpy()
    for name in layout.names:
        if (count := int((ids == str(name)).sum())) != 1:
            raise InputError(f"{what} has {count} rows of the series {name!r}; give it one")
    places = [int(np.argmax(ids == str(name))) for name in layout.names]
    return {name: covariate(table[name], f"column {name!r} of {what}")[places] for name in wanted}


def _categories(groups: Iterable[Mapping[str, np.ndarray]]) -> dict[str, list[str]]:
    """The categories of the covariates that have such, of all groups."""
    found: dict[str, set[str]] = {}
    for covariates in groups:
        for name, values in covariates.items():
            if values.dtype == object:
                found.setdefault(name, set()).update(c for c in values.ravel() if c is not None)
    return {name: sorted(categories) for name, categories in found.items()}


def _common(groups: dict[Any, dict[str, np.ndarray]], layout: Layout) -> list[str]:
    """Covariates common to all series of a group, as all others that share their field of an entry are."""

    def shared(name: str) -> bool:
        return all(
            shared_values(layout.numbered(name, cells[name], whose("the frame", group))) is not None
            for group, cells in groups.items()
        )

    common = []
    for listed in (layout.futr, layout.hist):
        for kind in (True, False):
            names = [name for name in listed if (name in layout.categories) is kind]
            if all(map(shared, names)):
                common += names
    return common


def _own_names(frame: Any, columns: Columns, names: list[str]) -> list[Any]:
    """The names of the series as the frame has them, such as whole numbers."""
    table = as_pandas(frame, "the frame")
    found = table[columns.id].unique() if columns.id in table.columns else table.columns
    own = {str(name): name for name in found.tolist()}
    return [own.get(name, name) for name in names]


def _order(names: list[str], wanted: list[Any], what: str) -> list[int]:
    """Places of the series that a model knows."""
    places = {name: i for i, name in enumerate(names)}
    if missing := [name for name in wanted if str(name) not in places]:
        raise InputError(
            f"{what} has no series {some(missing)}, which the model was trained on; give it all"
        )
    known = {str(name) for name in wanted}
    if unknown := [name for name in names if name not in known]:
        raise InputError(
            f"{what} has series that the model was not trained on ({some(unknown)}); leave them out, or "
            "fit anew"
        )
    return [places[str(name)] for name in wanted]
