"""The calendar of a model's steps by numpy: pandas's periods, without pandas.

A step is an ordinal: how many base units (hours, days, months, ...) it lies after 1970, of which a frequency
such as "2h" has two to a step.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from timediff.errors import InputError

__all__ = ["Frequency", "calendar", "ordinal_of"]

#: Multiple, base and anchor of a frequency: ``(2, "h", "")``, ``(1, "W", "SUN")``, ``(1, "Q", "DEC")``.
Frequency = tuple[int, str, str]
_Array = NDArray[np.int64]

_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DATETIME = {"s": "s", "min": "m", "h": "h", "D": "D", "M": "M"}
#: Units of a day.
_OF_DAY = {"s": 86400, "min": 1440, "h": 24}
_SECONDS = {"s": 1, "min": 60, "h": 3600}
#: Months of a period.
_MONTHS_OF = {"Q": 3, "Y": 12}


def ordinal_of(stamp: Any, frequency: Frequency) -> int:
    """The ordinal of the period that a stamp lies in.

    Args:
        stamp: A ``datetime64``, a `datetime.datetime` without a zone, or text such as ``"2024-05-01T00:00"``.
        frequency: Of the model.

    Raises:
        InputError: It is no stamp, or has a zone.
    """
    if getattr(stamp, "tzinfo", None) is not None:
        raise InputError(
            "start has a time zone; give a stamp without one, on the clock of the training data"
        )
    try:
        moment = np.datetime64(stamp).astype("datetime64[s]")
    except (TypeError, ValueError):
        moment = np.datetime64("NaT")
    if np.isnat(moment):
        raise InputError(f"start is {stamp!r:.99}; give a stamp such as '2024-05-01T00:00'")
    _, base, anchor = frequency
    day = moment.astype("datetime64[D]")
    if base in _DATETIME:
        return int(moment.astype(f"datetime64[{_DATETIME[base]}]").astype(np.int64))
    if base == "B":
        return int(np.busday_count("1970-01-01", day))
    if base == "W":
        end = day.astype(np.int64) + (_DAYS.index(anchor) - _weekday(day.astype(np.int64))) % 7
        return int(-(-end // 7))
    month = int(moment.astype("datetime64[M]").astype(np.int64))
    return (month + 11 - _MONTHS.index(anchor)) // _MONTHS_OF[base]


def calendar(
    first: int, steps: _Array, frequency: Frequency, fields: dict[str, int]
) -> NDArray[np.float32]:
    """What `timediff.frequency.time_features` gives, float32 ``[N, F]``.

    Args:
        first: Ordinal of step 0.
        steps: Whose features, ``[N]``.
        frequency: Of the model.
        fields: The fields of the calendar and how many values each takes
            (`timediff.frequency.calendar_fields`).
    """
    ordinals = first + steps * frequency[0]
    columns = []
    for field, period in fields.items():
        phase = 2 * np.pi * _field(field, ordinals, frequency) / period
        columns += [np.sin(phase), np.cos(phase)]
    return (np.stack(columns, axis=-1) if columns else np.zeros((len(steps), 0))).astype(np.float32)


def _field(field: str, ordinals: _Array, frequency: Frequency) -> _Array:
    """A field of the calendar, as of a `pandas.PeriodIndex`."""
    _, base, _ = frequency
    if base in _OF_DAY:
        seconds = ordinals * _SECONDS[base]
        units = {"second": (1, 60), "minute": (60, 60), "hour": (3600, 24)}
        if field in units:
            size, count = units[field]
            return seconds // size % count
    if field == "quarter":
        return ordinals % 4 + 1
    if field == "month":
        return ordinals % 12 + 1
    day = _day(ordinals, frequency)
    if field == "dayofweek":
        return _weekday(day)
    if field == "week":
        day = day - _weekday(day) + 3  # the Thursday, whose year the week is of
        return _since(day, "Y") // 7 + 1
    return _since(day, {"day": "M", "dayofyear": "Y"}[field]) + 1


def _day(ordinals: _Array, frequency: Frequency) -> _Array:
    """Days since 1970; of a week its last one."""
    _, base, anchor = frequency
    if base in _OF_DAY:
        return ordinals // _OF_DAY[base]
    if base == "W":
        return (ordinals - 1) * 7 + (_DAYS.index(anchor) - 4) % 7 + 1
    if base == "B":
        return np.busday_offset("1970-01-01", ordinals, roll="forward").astype(np.int64)
    return ordinals


def _weekday(day: Any) -> Any:
    """0 for Monday; 1970 began with a Thursday."""
    return (day + 3) % 7


def _since(day: _Array, unit: str) -> _Array:
    """Days since the first of the month or year."""
    first = day.astype("datetime64[D]").astype(f"datetime64[{unit}]").astype("datetime64[D]")
    return day - first.astype(np.int64)
