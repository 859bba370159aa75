"""From stamps to a `Clock`: the frequency that they have, and the place in their periods where they stand."""

from collections import Counter

import numpy as np
import pandas as pd

from timediff.data.readers.zones import zone_name
from timediff.data.steps import ANCHORS, Clock, Stamp, anchored
from timediff.errors import InputError
from timediff.frequency import quiet_business_days, split_freq, to_period_freq

__all__ = ["FEWEST", "clock_of", "is_regular", "suggested_freq"]

_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_SECOND = 1_000_000_000
_DAY = 86400 * _SECOND
_CALENDAR = ("W", "M", "Q", "Y")
#: Fewest stamps that tell a frequency: two are regular at many.
FEWEST = 3
# Stretches of stamps whose frequency may be that of the table, and the share of stamps that may be off it.
_STRETCH, _STRETCHES, _FEW = 5, 200, 0.05
# Share of rows that leaves no doubt of the frequency.
_PLENTY = 0.75


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
    if asked is None and len(stamps) < FEWEST:
        raise InputError(
            f"the frequency of {what} cannot be told from {len(stamps)} time step"
            f"{'s' * (len(stamps) > 1)}; give freq, such as h or D"
        )
    suggested = _usual_freq(stamps)
    with quiet_business_days():
        clock, steps, off = _best(stamps, asked or suggested or "s")
        if asked and suggested and off.any() and split_freq(asked) == split_freq(suggested):
            # Quarters and years may begin with other months than their bare names say.
            clock, steps, off = _best(stamps, suggested)
    freq = clock.start.freqstr
    hint = f", such as freq={suggested}" if asked and suggested and suggested != freq else ""
    if off.any():
        row = int(np.argmax(off)) if off.sum() <= len(off) / 2 else min(1, len(off) - 1)
        place = (
            f"after {stamps[row - 1]} comes {stamps[row]}" if row else f"it begins at {stamps[0]}"
        )
        raise InputError(
            f"{what} is not regular at {freq}: {place}; correct the stamps, or give freq{hint}"
        )
    if len(stamps) >= FEWEST and (every := int(np.gcd.reduce(np.diff(steps)))) > 1:
        raise InputError(
            f"the rows of {what} lie {every} steps of {freq} apart throughout, as {stamps[0]} and "
            f"{stamps[1]}; give their own frequency{hint}"
        )
    if 2 * len(stamps) < (span := int(steps[-1]) + 1):
        raise InputError(
            f"{what} has only {len(stamps)} of the {span} rows at {freq} from {stamps[0]} to {stamps[-1]}; "
            f"write at least half of them, with empty cells where nothing is known, or give freq{hint}"
        )
    return clock


def is_regular(stamps: pd.DatetimeIndex) -> bool:
    """Whether rising stamps are at least half of the steps of some frequency."""
    freq = suggested_freq(stamps)
    if freq is None:
        return False
    return _present(stamps, freq) >= 0.5


def _present(stamps: pd.DatetimeIndex, freq: str) -> float:
    """Share of the steps of a frequency that have a stamp; 0 if a stamp is none of them."""
    with quiet_business_days():
        _, steps, off = _best(stamps, freq)
    return 0.0 if off.any() else len(stamps) / float(steps[-1] + 1)


def _usual_freq(stamps: pd.DatetimeIndex) -> str | None:
    """The frequency of stamps, or of stretches of them where only a few are off its beat.

    One stamp on the half hour among hours makes half hours of all, of which nearly half are there.
    """
    freq = suggested_freq(stamps)
    if freq is None or _present(stamps, freq) >= _PLENTY:
        return freq
    firsts = np.unique(np.linspace(0, len(stamps) - _STRETCH, _STRETCHES).astype(int).clip(0))
    usual = Counter(suggested_freq(stamps[i : i + _STRETCH]) or freq for i in firsts)
    for candidate, _ in usual.most_common():
        if candidate != freq:
            with quiet_business_days():
                _, _, off = _best(stamps, candidate)
            if off.sum() <= 1 + _FEW * len(stamps):
                return candidate
    return freq


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
    tz = None if first.tz is None else zone_name(first.tz)
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
    if len(stamps) < FEWEST:
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
