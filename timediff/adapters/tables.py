"""Wide frames as `timediff.Forecaster` reads them, from the series and covariates of other libraries."""

from typing import Any

import numpy as np
import pandas as pd

from timediff.errors import InputError

__all__ = ["TIME", "covariates", "wide"]

#: Column of the stamps, called as no series is.
TIME = "time index"


def wide(
    series: pd.DataFrame | None, freq: str | None = None, **others: pd.DataFrame | None
) -> pd.DataFrame:
    """A column of stamps, one for each series, and one for each covariate, called by `covariates`.

    Args:
        series: A column for each, and dates, periods or whole numbers as index; None for covariates alone.
        freq: Of whole numbers: number 0 is the start of the year 2000.
        others: Covariates by what they are, with such an index.

    Raises:
        InputError: The index is of another kind.
    """
    parts = [] if series is None else [series.set_axis([str(name) for name in series], axis=1)]
    for kind, frame in others.items():
        if frame is not None:
            parts.append(frame.set_axis(covariates(kind, frame), axis=1))
    table = pd.concat(parts, axis=1)
    stamps = _stamps(table.index, freq)
    return table.reset_index(drop=True).assign(**{TIME: stamps})


def covariates(kind: str, frame: pd.DataFrame | None) -> list[str]:
    """What covariates are called beside series that may bear the same names."""
    return [] if frame is None else [f"{kind} {name}" for name in frame]


def _stamps(index: pd.Index, freq: str | None) -> pd.DatetimeIndex:
    if isinstance(index, pd.PeriodIndex):
        return index.to_timestamp()
    if isinstance(index, pd.DatetimeIndex):
        return index
    if freq is None or not pd.api.types.is_integer_dtype(index):
        raise InputError(
            f"the index of the series is a {type(index).__name__}; give dates, periods or whole numbers"
        )
    first: Any = pd.Period("2000-01-01", freq)
    ordinals = first.ordinal + np.asarray(index) * first.freq.n
    numbers: Any = pd.PeriodIndex  # the stubs of pandas lack from_ordinals
    return numbers.from_ordinals(ordinals, freq=first.freq.base).to_timestamp()
