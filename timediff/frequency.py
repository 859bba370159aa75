"""What a calendar frequency implies: period names, lags, seasons and Fourier time features.

Everything here is a function of the frequency alone, never of how much data there is, so that a
step of the calendar has the same features in training, in a forecast and in next year's data.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd

from timediff.errors import InputError
from timediff.kinds import shown

__all__ = [
    "FEWEST_CYCLES",
    "adaptive_cycles",
    "calendar_fields",
    "default_difference",
    "default_lags",
    "error_season",
    "num_time_features",
    "quiet_business_days",
    "seasons",
    "split_freq",
    "time_features",
    "to_period_freq",
]

# Offset aliases of pandas (old and new) -> the name of the period of the same length.
_PERIODS = {
    "H": "h", "h": "h", "T": "min", "min": "min", "S": "s", "s": "s",
    "D": "D", "B": "B", "W": "W",
    "M": "M", "ME": "M", "MS": "M", "BM": "M", "BME": "M", "BMS": "M",
    "Q": "Q", "QE": "Q", "QS": "Q", "BQ": "Q", "BQE": "Q", "BQS": "Q",
    "A": "Y", "Y": "Y", "YE": "Y", "YS": "Y", "AS": "Y", "BY": "Y", "BYE": "Y", "BYS": "Y",
}  # fmt: skip
# Days of a period, about, and of the longest step that a calendar has room for.
_DAYS_OF = {
    "s": 1 / 86400,
    "min": 1 / 1440,
    "h": 1 / 24,
    "D": 1,
    "B": 1,
    "W": 7,
    "M": 30,
    "Q": 91,
    "Y": 365,
}
_LONGEST = 36_525
# Aliases of pandas for steps that leave out days or hours of their own.
_LEFT_OUT = "what is left out counts as missing, up to half of the steps"
_INSTEAD = {
    **dict.fromkeys(("C",), f"give B, or D where weekends are other days: {_LEFT_OUT}"),
    **dict.fromkeys(
        ("bh", "cbh", "BH", "CBH"), f"give h: {_LEFT_OUT}; or number the hours through"
    ),
    **dict.fromkeys(
        ("SM", "SME", "SMS"), "give M with the two halves as series of their own, or D"
    ),
    **dict.fromkeys(("CBM", "CBME", "CBMS"), "give M"),
}
_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_ANCHORS = {"W": _DAYS, "Q": _MONTHS, "Y": _MONTHS}

# Calendar fields (of a `pandas.PeriodIndex`) and the fixed number of values each one takes.
_FIELD_PERIODS = {
    "second": 60, "minute": 60, "hour": 24, "dayofweek": 7, "day": 31,
    "dayofyear": 366, "week": 53, "month": 12, "quarter": 4,
}  # fmt: skip
_FIELDS = {
    "s": ("second", "minute", "hour", "dayofweek"),
    "min": ("minute", "hour", "dayofweek"),
    "h": ("hour", "dayofweek"),
    "D": ("dayofweek",),
    "B": ("dayofweek", "dayofyear"),
    "W": ("day", "week"),
    "M": ("month",),
    "Q": ("quarter",),
    "Y": (),
}
_ERROR_SEASONS = {"s": 3600, "min": 1440, "h": 24, "B": 5, "M": 12, "Q": 4}
_SECONDS = {"s": 1, "min": 60, "h": 3600, "D": 86400}
_DAY, _WEEK = 86400, 7 * 86400
# Every window carries a history as long as the longest lag; a longer one would often exceed the data.
_MAX_LAG = 1024
#: Cycles that a series must hold for it to be normalised by them.
FEWEST_CYCLES = 5


@contextmanager
def quiet_business_days() -> Iterator[None]:
    """Silences pandas on business-day periods, which GluonTS and the exchange-rate set need."""
    with warnings.catch_warnings():
        for message in (r"Period with BDay freq is deprecated", r"PeriodDtype\[B\] is deprecated"):
            warnings.filterwarnings("ignore", message=message, category=FutureWarning)
        yield


def to_period_freq(freq: str) -> str:
    """The period frequency that pandas and GluonTS accept, such as ``h``, ``30min`` or ``Q-DEC``.

    Args:
        freq: Any pandas alias, old or new: ``H``, ``2h``, ``30T``, ``MS``, ``QE-MAR``, ``A``.

    Raises:
        InputError: The frequency is not one of second, minute, hour, day, business day, week,
            month, quarter, year, or a multiple of one.
    """
    match = re.fullmatch(r"(\d*)([A-Za-z]+)(?:-([A-Z]{3}))?", str(freq).strip())
    multiple, alias, anchor = match.groups() if match else ("", "", None)
    base = _PERIODS.get(alias)
    if (
        base is None
        or multiple.startswith("0")
        or len(multiple) > 18
        or int(multiple or 1) * _DAYS_OF[base] > _LONGEST
        or (anchor and anchor not in _ANCHORS.get(base, ()))
    ):
        if advice := _INSTEAD.get(alias):
            raise InputError(
                f"frequency {shown(freq)} has steps of unequal length, which no period has; {advice}"
            )
        raise InputError(
            f"frequency {shown(freq)} is not known; give one of s, min, h, D, B, W, M, Q, Y "
            "or a multiple such as 30min"
        )
    if anchor and alias.endswith("S"):
        # A year that starts in January is the period that ends in December.
        anchor = _MONTHS[_MONTHS.index(anchor) - 1]
    if multiple == "1":
        multiple = ""
    return f"{multiple}{base}" + (f"-{anchor}" if anchor else "")


def split_freq(freq: str) -> tuple[int, str]:
    """Multiple and base of a frequency: ``"30min"`` is ``(30, "min")``, ``"W-SUN"`` ``(1, "W")``."""
    match = re.fullmatch(r"(\d*)([A-Za-z]+).*", to_period_freq(freq))
    assert match is not None
    return int(match[1] or 1), match[2]


def _steps(seconds: int, multiple: int, base: str) -> int | None:
    """Number of steps that make ``seconds`` exactly, or None."""
    if base not in _SECONDS:
        return None
    steps, rest = divmod(seconds, multiple * _SECONDS[base])
    return steps if rest == 0 and steps > 0 else None


def default_lags(freq: str) -> list[int]:
    """Lags in steps, ascending, that the encoder sees by default at this frequency.

    Hourly data gets 1 step, 1 day, 1 week; a multiple of a frequency the same spans of time in
    its own steps. Half-hourly data has the five lags of the published TimeGrad code.
    """
    multiple, base = split_freq(freq)
    if (multiple, base) == (30, "min"):
        return [1, 4, 12, 24, 48]
    if base == "D" and multiple == 1:
        return [1, 7, 14]
    if base == "B" and multiple == 1:
        return [1, 2]
    if base == "M" and 12 % multiple == 0:
        return sorted({1, 12 // multiple})
    spans = (3600, _DAY, _WEEK) if base in ("s", "min") else (_DAY, _WEEK)
    lags = {1} | {s for span in spans if (s := _steps(span, multiple, base)) is not None}
    return sorted(lag for lag in lags if lag <= _MAX_LAG)


def seasons(freq: str) -> list[int]:
    """Season lengths in steps that a seasonal-naive forecast may repeat, such as day and week.

    A season of 1 step, which stands where a frequency has no season, is a random walk.
    """
    multiple, base = split_freq(freq)
    spans = {"B": 5, "W": 52, "M": 12, "Q": 4, "Y": 1}
    if base in spans:
        season, rest = divmod(spans[base], multiple)
        return [1, season] if rest == 0 and season > 1 else [1]
    lengths = [_steps(span, multiple, base) for span in (_DAY, _WEEK)]
    return [length for length in lengths if length is not None and length > 1] or [1]


def error_season(freq: str) -> int:
    """Season of the naive errors that MASE and MSIS refer to, in steps: ``get_seasonality`` of GluonTS.

    An hour of seconds, a day of minutes or hours, a week of business days, a year of months or quarters; 1
    for days, weeks, years, and where a multiple does not fit.
    """
    multiple, base = split_freq(freq)
    season, rest = divmod(_ERROR_SEASONS.get(base, 1), multiple)
    return 1 if rest else season


def default_difference(freq: str) -> int:
    """Steps over which changes are modelled by default.

    A day of hours or minutes, a week of days, a year of months or quarters; else one step, as for
    business days, which do not repeat, and for weeks, whose year is long.
    """
    lengths = [season for season in seasons(freq) if 1 < season <= _MAX_LAG]
    return 1 if not lengths or split_freq(freq)[1] in ("B", "W") else min(lengths)


def adaptive_cycles(freq: str, length: int) -> list[int]:
    """Cycles in steps, ascending, that series of some length are normalised by; ``[1]`` for none.

    Of the seasons (but not of business days and weeks, whose years are long and whose weeks hardly repeat)
    those of which the series hold at least `FEWEST_CYCLES`.
    """
    if split_freq(freq)[1] in ("B", "W"):
        return [1]
    return [s for s in seasons(freq) if s > 1 and length >= FEWEST_CYCLES * s] or [1]


def calendar_fields(freq: str) -> dict[str, int]:
    """The fields of the calendar that `time_features` are made of, and how many values each takes."""
    return {field: _FIELD_PERIODS[field] for field in _FIELDS[split_freq(freq)[1]]}


def num_time_features(freq: str) -> int:
    """Number of columns of `time_features` at this frequency."""
    return 2 * len(calendar_fields(freq))


def time_features(start: pd.Period, length: int) -> np.ndarray:
    r"""Fourier features of ``length`` consecutive periods, float32 ``[length, F]``.

    Each calendar field with value :math:`v` out of :math:`P` gives the pair
    :math:`\sin(2\pi v/P), \cos(2\pi v/P)`; :math:`P` is fixed by the calendar (24 hours, 7 days),
    not by the largest value in the data.
    """
    with quiet_business_days():
        index = pd.period_range(start, periods=length, freq=start.freq)
        phases = [
            2 * np.pi * np.asarray(getattr(index, field)) / period
            for field, period in calendar_fields(start.freqstr).items()
        ]
    columns = [wave(phase) for phase in phases for wave in (np.sin, np.cos)]
    return np.stack(columns, axis=-1).astype(np.float32) if columns else np.zeros((length, 0), "f4")
