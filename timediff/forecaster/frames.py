"""Frames at the border: pandas, polars and pyarrow in through narwhals, and the same kind out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np
import pandas as pd
from narwhals.typing import IntoDataFrame
from numpy.typing import NDArray

from timediff.errors import InputError

__all__ = [
    "KINDS",
    "Array",
    "Columns",
    "as_pandas",
    "eager",
    "groups_of",
    "kind_of",
    "labels",
    "make_frame",
    "naive",
    "numbers",
    "some",
    "stacked",
    "whose",
]

Array = NDArray[np.floating[Any]]

#: Kinds of frames that are read and written.
KINDS = ("pandas", "polars", "pyarrow")


class Columns(NamedTuple):
    """Names of the columns of long frames.

    Args:
        id: Of the series' names.
        time: Of the stamps.
        target: Of the values.
        group: Of the names of groups; None for a single table.
    """

    id: str = "unique_id"
    time: str = "ds"
    target: str = "y"
    group: str | None = None


def eager(frame: Any, what: str) -> nw.DataFrame[Any]:
    """A frame of any kind behind one interface; ``what`` names it in a sentence.

    Raises:
        InputError: It is no frame of a kind that is read.
    """
    try:
        wrapped = nw.from_native(frame, eager_only=True)
    except TypeError as error:
        raise InputError(
            f"{what} is a {type(frame).__name__}; give a frame of pandas or polars, or a table of pyarrow"
        ) from error
    if wrapped.implementation.value not in KINDS:
        raise InputError(
            f"{what} is a frame of {wrapped.implementation.value}; give one of {', '.join(KINDS)}"
        )
    return wrapped


def as_pandas(frame: Any, what: str) -> pd.DataFrame:
    """A frame in pandas, with what has a name in its index among the columns."""
    table = eager(frame, what).to_pandas()
    return table.reset_index() if any(name is not None for name in table.index.names) else table


def groups_of(frame: Any, columns: Columns, what: str) -> dict[Any, Any]:
    """The frame of each group, without the column of groups, in the order of their first rows.

    Without such a column it is ``{None: frame}``.

    Raises:
        InputError: There is no such column, or a row names no group.
    """
    if columns.group is None:
        return {None: frame}
    table = as_pandas(frame, what)
    if columns.group not in table.columns:
        raise InputError(
            f"{what} has no column {columns.group!r} of groups; its columns are {some(list(table.columns))}"
        )
    if (missing := table[columns.group].isna()).any():
        raise InputError(
            f"row {int(np.argmax(missing)) + 1} of {what} names no group in column {columns.group!r}; name it"
        )
    parts = table.groupby(columns.group, sort=False, observed=True)
    return {group: part.drop(columns=columns.group) for group, part in parts}


def whose(what: str, group: Any) -> str:
    """What a sentence calls the part of a frame that is of a group."""
    return what if group is None else f"group {group!r} of {what}"


def kind_of(frame: Any) -> str:
    """Which of `KINDS` a frame is."""
    return str(eager(frame, "the frame").implementation.value)


def make_frame(columns: Mapping[str, Any] | pd.DataFrame, kind: str) -> IntoDataFrame:
    """A frame of one of `KINDS` from columns of one length."""
    frame = pd.DataFrame(columns)
    if kind == "pandas":
        return frame
    wrapped = nw.from_native(frame, eager_only=True)
    return wrapped.to_polars() if kind == "polars" else wrapped.to_arrow()


def stacked(frames: Iterable[IntoDataFrame]) -> IntoDataFrame:
    """Frames of one kind and the same columns below each other."""
    whole = nw.concat([nw.from_native(frame, eager_only=True) for frame in frames])
    # pandas keeps the numbers of the rows of each.
    return nw.maybe_reset_index(whole).to_native()


def labels(names: Sequence[Any]) -> pd.Index:
    """Names as a column of their own type: whole numbers stay whole numbers."""
    return pd.Index(list(names))


def numbers(frame: nw.DataFrame[Any], column: str, what: str) -> np.ndarray:
    """A column as float64, NaN where it has no value.

    Raises:
        InputError: It is not numeric.
    """
    series = frame[column]
    if not (series.dtype.is_numeric() or series.dtype == nw.Boolean):
        raise InputError(f"column {column!r} of {what} is not numeric; convert or leave it out")
    return np.asarray(series.cast(nw.Float64).to_numpy(), dtype=np.float64)


def some(names: Sequence[Any]) -> str:
    """The first of some names, for a sentence."""
    return ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")


def naive(stamps: pd.Index) -> NDArray[np.datetime64]:
    """Stamps as numpy has them, on their own clock."""
    if isinstance(stamps, pd.PeriodIndex):
        stamps = stamps.to_timestamp()
    if isinstance(stamps, pd.DatetimeIndex) and stamps.tz is not None:
        stamps = stamps.tz_localize(None)
    return np.asarray(stamps, dtype="datetime64[ns]")
