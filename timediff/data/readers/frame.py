"""Wide tables in memory: a pandas DataFrame, one row per time step, one column per series.

Axes: D series, T time steps.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from timediff.data.readers.contents import unique_names
from timediff.errors import InputError
from timediff.frequency import to_period_freq

__all__ = ["off_beat", "read_frame", "series_of"]


def read_frame(frame: pd.DataFrame, freq: str | None) -> tuple[dict[str, Any], list[str]]:
    """A wide table as one GluonTS entry, target float32 ``[D, T]``, and the names of its series.

    Args:
        frame: One row per time step, in order, one numeric column per series; NaN is a missing value.
        freq: Frequency of the stamps of a DatetimeIndex; its own, or what they suggest, when None. Periods
            have theirs.

    Raises:
        InputError: The frame is empty, not regular or not numeric, or its frequency cannot be told.
    """
    if not isinstance(frame, pd.DataFrame) or frame.empty:
        raise InputError("the frame is empty or no DataFrame; give one row per time step")
    values = series_of(frame, "the frame")
    entry = {"item_id": "frame", "start": _regular_start(frame.index, freq), "target": values}
    return entry, unique_names([str(column) for column in frame.columns])


def series_of(table: pd.DataFrame, what: str) -> np.ndarray:
    """The series of a table as float32 ``[D, T]``.

    Raises:
        InputError: A column is not numeric or has values too large; ``what`` names the table.
    """
    for column, dtype in table.dtypes.items():
        if not pd.api.types.is_numeric_dtype(dtype):
            raise InputError(f"column {column!r} of {what} is not numeric; convert or remove it")
    with np.errstate(over="ignore"):
        values = table.to_numpy(dtype=np.float32, na_value=np.nan)  # [T, D]
    infinite = np.isinf(values).any(axis=0)
    if infinite.any():
        raise InputError(
            f"column {table.columns[int(np.argmax(infinite))]!r} of {what} has values that float32 "
            "cannot hold; leave them out or scale the column"
        )
    return np.ascontiguousarray(values.T)


def off_beat(
    index: pd.DatetimeIndex | pd.PeriodIndex, freq: str
) -> tuple[pd.Period, NDArray[np.bool_]]:
    """The first period of an index, and which of its rows ``[T]`` are not the steps that follow it."""
    periods = index.to_period(freq) if isinstance(index, pd.DatetimeIndex) else index
    start = periods[0]
    expected = pd.period_range(start, periods=len(index), freq=freq)
    bad = np.asarray(periods != expected)
    if isinstance(index, pd.DatetimeIndex) and isinstance(expected.freq, pd.offsets.Tick):
        # A stamp inside the right hour may still be off its minute.
        bad |= np.asarray(index != index[0] + np.arange(len(index)) * pd.Timedelta(expected.freq))
    return start, bad


def _regular_start(index: pd.Index, freq: str | None) -> pd.Period:
    """The first period of an index whose stamps follow each other."""
    if not isinstance(index, pd.DatetimeIndex | pd.PeriodIndex) or index.hasnans:
        raise InputError(
            "the index of the frame must hold a stamp for each row; set it with pandas.to_datetime"
        )
    if isinstance(index, pd.DatetimeIndex):
        if index.tz is not None:
            raise InputError(
                "the index of the frame has a time zone; convert it to UTC or local standard time and "
                "remove the zone with tz_localize(None)"
            )
        if freq is None:
            freq = index.freqstr or (pd.infer_freq(index) if len(index) > 2 else None)
        if freq is None:
            raise InputError(
                "the stamps of the frame are not regular, or their frequency cannot be told; give freq, "
                "such as h, and put in missing rows with frame.asfreq"
            )
        freq = to_period_freq(freq)
    else:
        freq = index.freqstr
    start, bad = off_beat(index, freq)
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"the frame is not regular at {freq}: after {index[row - 1]} comes {index[row]}; sort "
            "it, drop what stands twice, and put in missing rows with frame.asfreq"
        )
    return start
