"""Which columns of a frame are stamps, names, targets and covariates.

N rows, in the order of the frame.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from timediff.data.readers.contents import unique_names
from timediff.errors import InputError
from timediff.reading import Reading

__all__ = ["ROLES", "Layout", "Roles", "layout_of", "roles_of"]


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


def roles_of(reading: Reading) -> Roles:
    """The roles of the columns."""
    columns = reading.id_col, reading.time_col, reading.target_col
    return Roles(*columns, tuple(reading.futr), tuple(reading.hist))


class Layout(NamedTuple):
    """The columns of a table by their roles.

    Attributes:
        time: Stamps of any kind, ``[N]``.
        series: Number of the series of each row in a long table, ``[N]``; None in a wide one.
        names: Of the D series.
        labels: The same in the type that the frame has them in, such as whole numbers.
        targets: Columns of values: one in a long table, D in a wide one.
        covariates: The columns of ``futr`` and ``hist`` by name.
        unread: Columns that have no role.
    """

    time: pd.Index
    series: NDArray[np.intp] | None
    names: list[str]
    labels: list[Any]
    targets: list[pd.Series]
    covariates: dict[str, pd.Series]
    unread: list[str]

    def rows(self, kept: NDArray[np.bool_]) -> "Layout":
        """The layout of some of the rows."""
        return self._replace(
            time=self.time[kept],
            series=None if self.series is None else self.series[kept],
            targets=[column[kept] for column in self.targets],
            covariates={name: column[kept] for name, column in self.covariates.items()},
        )


def layout_of(frame: Any, roles: Roles, what: str) -> Layout:
    """The columns of a long or wide frame of pandas, polars or pyarrow.

    Raises:
        InputError: A column that a role names is absent, or the frame is empty or none.
    """
    table = _pandas(frame, roles, what)
    columns = [str(name) for name in table.columns]
    used = _covariate_names(roles, columns, what, table)
    # A long table that lacks a column is taken for a wide one only if it has none of the names.
    long = roles.id_col in columns
    if long:
        _require([roles.time_col, roles.target_col], columns, what)
        places = {
            name: columns.index(name) for name in (roles.id_col, roles.time_col, roles.target_col)
        }
        time = pd.Index(table.iloc[:, places[roles.time_col]])
        series, names, own = _series(table.iloc[:, places[roles.id_col]], roles.id_col, what)
        targets = [table.iloc[:, places[roles.target_col]]]
        unread = [name for name in columns if name not in {*places, *used}]
    else:
        changed = [
            name
            for name, default in zip(roles[:3], ROLES[:3], strict=True)
            if name != default and name != roles.target_col
        ]
        _require(changed, columns, what)
        place = _time_place(table, columns, roles)
        time = table.index if place is None else pd.Index(table.iloc[:, place])
        chosen = [i for i, name in enumerate(columns) if i != place and name not in used]
        series, unread = None, []
        names = unique_names([columns[i] for i in chosen])
        labels = [table.columns[i] for i in chosen]
        own = names if names != list(map(str, labels)) else labels
        targets = [table.iloc[:, i] for i in chosen]
        if not targets:
            raise InputError(
                f"{what} has no series; put one column per series after the timestamps, or name the columns "
                "of a long table by id_col, time_col and target_col"
            )
    covariates = {name: table.iloc[:, columns.index(name)] for name in used}
    return Layout(time, series, names, own, targets, covariates, unread)


def _pandas(frame: Any, roles: Roles, what: str) -> pd.DataFrame:
    """The frame in pandas, with an index of names or texts among the columns."""
    if isinstance(frame, pd.DataFrame):
        table, index = frame, frame.index
        if (
            isinstance(index, pd.MultiIndex)
            or index.name in (roles.id_col, roles.time_col)
            or isinstance(index, pd.CategoricalIndex)
            or pd.api.types.is_string_dtype(index.dtype)
            or index.dtype == object
        ):
            table = table.reset_index(allow_duplicates=True)
    else:
        try:
            table = nw.from_native(frame, eager_only=True).to_pandas()
        except TypeError:
            raise InputError(
                f"{what} is of the kind {type(frame).__name__}; give a DataFrame of pandas or polars, or a "
                "Table of pyarrow"
            ) from None
    if not len(table):
        raise InputError(f"{what} is empty and has no rows; give one row per time step")
    return table


def _require(names: Iterable[str], columns: list[str], what: str) -> None:
    for name in names:
        if name not in columns:
            shown = ", ".join(columns[:10]) + (", ..." if len(columns) > 10 else "")
            raise InputError(f"{what} has no column {name!r}; its columns are {shown}")


def _covariate_names(roles: Roles, columns: list[str], what: str, table: pd.DataFrame) -> list[str]:
    """Names of the covariates, each a column of its own without another role."""
    names = [*roles.futr, *roles.hist]
    if roles.id_col in columns:
        series = set(table.iloc[:, columns.index(roles.id_col)].astype(object).astype(str))
        for name in roles.hist:
            if name not in columns and name in series:
                raise InputError(
                    f"{name!r} is a series of {what} and no column; to read it and not forecast it, give a "
                    "table with a column for each series"
                )
    _require(names, columns, what)
    for name in names:
        if names.count(name) > 1 or name in roles[:3]:
            raise InputError(f"column {name!r} of {what} has two roles; name it as one of them")
        if columns.count(name) > 1:
            raise InputError(f"{what} has two columns {name!r}; give them names of their own")
    return names


def _series(
    ids: pd.Series, id_col: str, what: str
) -> tuple[NDArray[np.intp], list[str], list[Any]]:
    """Number of the series of each row, in the order of their first rows, their names, and these as given."""
    missing = np.asarray(ids.isna())
    if missing.any():
        raise InputError(
            f"row {int(np.argmax(missing)) + 1} of {what} names no series in column {id_col!r}; name it"
        )
    codes, names = pd.factorize(ids.astype(object).astype(str))
    first = np.unique(codes, return_index=True)[1]
    return codes, [str(name) for name in names], ids.iloc[first].tolist()


def _time_place(table: pd.DataFrame, columns: list[str], roles: Roles) -> int | None:
    """Which column holds the stamps of a wide table; None for its index."""
    if roles.time_col in columns:
        return columns.index(roles.time_col)
    if isinstance(table.index, pd.DatetimeIndex | pd.PeriodIndex):
        return None
    kinds = [
        pd.api.types.is_datetime64_any_dtype(dtype) or isinstance(dtype, pd.PeriodDtype)
        for dtype in table.dtypes
    ]
    return int(np.argmax(kinds)) if any(kinds) else 0
