"""Frames at the border: pandas, polars and pyarrow in through narwhals, and the same kind out."""

from collections.abc import Mapping, Sequence
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
    "kind_of",
    "labels",
    "make_frame",
    "numbers",
    "some",
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
    """

    id: str = "unique_id"
    time: str = "ds"
    target: str = "y"


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
