"""Stamps of any kind as a `pandas.DatetimeIndex`: texts, dates, periods; zones and daylight saving.

N rows, in the order of the table; several rows may have one stamp.
"""

import numpy as np
import pandas as pd

from timediff.errors import InputError

__all__ = ["read_stamps"]


def read_stamps(
    column: pd.Series | pd.Index, *, what: str, tz: str | None, day_first: bool | None
) -> tuple[pd.DatetimeIndex, str | None]:
    """The stamps of a column, ``[N]``, and the frequency that it states itself, if it does.

    Args:
        column: Stamps, dates, periods or texts.
        what: The table, for the sentence of an error.
        tz: Zone of the clock that stamps without a zone show; the zone in which stamps with one are written.
        day_first: Whether 05.06.2024 is the fifth of June.

    Raises:
        InputError: A row has no stamp, or the stamps do not say which time they mean.
    """
    values = column if isinstance(column, pd.Index) else pd.Index(column)
    if isinstance(values, pd.PeriodIndex):
        return values.to_timestamp(), values.freqstr
    if pd.api.types.is_numeric_dtype(values.dtype) and len(values):
        raise InputError(
            f"the time column of {what} holds numbers such as {values[0]}; put timestamps there"
        )
    stamps = pd.DatetimeIndex(pd.to_datetime(values))
    if stamps.hasnans:
        row = int(np.argmax(stamps.isna()))
        raise InputError(f"row {row + 1} of {what} has no timestamp; write it as 2024-01-31 13:00")
    if tz is not None:
        stamps = stamps.tz_localize(tz) if stamps.tz is None else stamps.tz_convert(tz)
    return stamps.as_unit("ns"), stamps.freqstr
