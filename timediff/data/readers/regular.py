"""From stamps to a `Clock`: the frequency that they have, and the place in their periods where they stand."""

import numpy as np
import pandas as pd

from timediff.data.steps import ANCHORS, Clock, Stamp, anchored
from timediff.errors import InputError
from timediff.frequency import quiet_business_days, split_freq, to_period_freq

__all__ = ["clock_of", "suggested_freq"]

_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_SECOND = 1_000_000_000
_DAY = 86400 * _SECOND
_CALENDAR = ("W", "M", "Q", "Y")
#: Fewest rows that tell a frequency: two lie as far apart at any.
_FEWEST = 3


def clock_of(stamps: pd.DatetimeIndex, freq: str | None, what: str) -> Clock:
    """The clock of stamps that rise, each once, with gaps.

    Args:
        stamps: With or without a zone.
        freq: Any alias of pandas; None for the frequency that the stamps suggest.
        what: The table, for the sentence of an error.

    Raises:
        InputError: A stamp is off the beat, more than half of the steps are absent, or the frequency cannot
            be told.
    """
    asked = None if freq is None else to_period_freq(freq)
    suggestion = suggested_freq(stamps)
    tried = asked or suggestion
    if tried is None:
        raise InputError(
            f"the frequency of {what} cannot be told from {len(stamps)} rows; give freq, such as h or D"
        )
    with quiet_business_days():
        clock, steps, off = _best(stamps, tried)
    if off.any():
        raise InputError(_broken(stamps, off, tried, what, asked=asked is not None))
    span = int(steps[-1]) + 1
    if len(stamps) >= _FEWEST and (every := int(np.gcd.reduce(np.diff(steps)))) > 1:
        raise InputError(
            f"the rows of {what} lie {every} steps of {tried} apart throughout; give their own "
            f"frequency{f', such as freq={suggestion}' if suggestion else ''}"
        )
    if 2 * len(stamps) < span:
        raise InputError(
            f"{what} has {len(stamps)} of the {span} rows from {stamps[0]} to {stamps[-1]} at "
            f"{tried}, and more than half are absent; give another freq, or cut the table to where "
            "its rows are"
        )
    return clock


def _broken(stamps: pd.DatetimeIndex, off: np.ndarray, freq: str, what: str, *, asked: bool) -> str:
    row = int(np.argmax(off))
    after = f"after {stamps[row - 1]} comes {stamps[row]}" if row else f"it begins at {stamps[0]}"
    out = "correct freq or the stamp" if asked else "correct the stamp, or give freq"
    return f"{what} is not regular at {freq}: {after}; {out}"


def _best(stamps: pd.DatetimeIndex, freq: str) -> tuple[Clock, np.ndarray, np.ndarray]:
    """The clock of a frequency that leaves the fewest stamps off the beat, the steps, and which are off."""
    best = None
    for clock in _clocks(stamps[0], freq):
        steps, off = clock.steps(stamps)
        # Two stamps of one step: the later one is off.
        off = off | np.r_[False, np.diff(steps) == 0]
        if best is None or off.sum() < best[2].sum():
            best = clock, steps, off
        if not off.any():
            break
    assert best is not None
    return best


def _clocks(first: pd.Timestamp, freq: str) -> list[Clock]:
    """Clocks of a frequency that write the first stamp, the likeliest first."""
    base = split_freq(freq)[1]
    tz = None if first.tz is None else str(first.tz)
    local = first.tz_localize(None)
    shifts: list[pd.Timedelta | None] = [None]
    if first.tz is not None and base in ("s", "min", "h", "D"):
        standard = pd.Timedelta(first.utcoffset() or 0) - pd.Timedelta(first.dst() or 0)
        shifts = [None, standard] if base == "D" else [standard]
    clocks = []
    for shift in shifts:
        wall = local if shift is None else first.tz_convert("UTC").tz_localize(None) + shift
        start = pd.Period(wall, freq=freq)
        for anchor in ANCHORS if base in _CALENDAR else ("start",):
            ordinal = np.array([start.ordinal])
            offset = wall - anchored(ordinal, start.freq, anchor)[0]
            if offset >= pd.Timedelta(0) and (anchor == "start" or offset < pd.Timedelta(days=1)):
                clocks.append(Clock(start, Stamp(anchor, offset, shift), tz))
    return clocks


def suggested_freq(stamps: pd.DatetimeIndex) -> str | None:
    """The coarsest frequency of which rising stamps are steps; None for fewer than three of them."""
    if len(stamps) < _FEWEST:
        return None
    wall = stamps.tz_localize(None)
    days, times = np.divmod(wall.asi8, _DAY)
    if (times == times[0]).all():
        return _by_months(wall) or _by_days(wall, days)
    instants = stamps.asi8
    step = int(np.gcd.reduce(np.diff(instants)))
    if step % _DAY == 0:
        return _multiple(step // _DAY, "D")
    for unit, seconds in (("h", 3600), ("min", 60), ("s", 1)):
        if step % (seconds * _SECOND) == 0:
            return _multiple(step // (seconds * _SECOND), unit)
    return None


def _by_months(wall: pd.DatetimeIndex) -> str | None:
    months = np.asarray(wall.year * 12 + wall.month - 1)
    gaps = np.diff(months)
    if (gaps == 0).any():
        return None
    clock, _, off = _best(wall, "M")
    if off.any():
        return None
    step = int(np.gcd.reduce(gaps))
    # A longer period ends with a month that is stamped at its end, and before one stamped at its start.
    last = wall[0].month if clock.stamp.anchor.endswith("end") else (wall[0].month + 10) % 12 + 1
    if step % 12 == 0:
        return f"{_multiple(step // 12, 'Y')}-{_MONTHS[last - 1]}"
    if step % 3 == 0:
        return f"{_multiple(step // 3, 'Q')}-{_MONTHS[(last % 3) - 1]}"
    return _multiple(step, "M")


def _by_days(wall: pd.DatetimeIndex, days: np.ndarray) -> str:
    step = int(np.gcd.reduce(np.diff(days)))
    if step % 7 == 0:
        return f"{_multiple(step // 7, 'W')}-{_DAYS[wall[0].dayofweek]}"
    weekdays = np.asarray(wall.dayofweek)
    if step == 1 and (weekdays < 5).all() and (np.diff(weekdays) < 0).any():
        return "B"
    return _multiple(step, "D")


def _multiple(number: int, unit: str) -> str:
    return unit if number == 1 else f"{number}{unit}"
