"""Public holidays of a country as numbers for every step, by the ``holidays`` package (an extra).

A holiday is a date of the country's own clock: stamps have to be local time.
"""

from functools import lru_cache

import numpy as np
import pandas as pd

from timediff.errors import InputError
from timediff.frequency import quiet_business_days, split_freq

__all__ = ["HOLIDAY_ROWS", "holiday_features"]

#: What the rows of `holiday_features` say of the date of a step.
HOLIDAY_ROWS = ("is a holiday", "is the day before one", "is the day after one")


def holiday_features(country: str, start: pd.Period, length: int) -> np.ndarray:
    """Which of ``length`` steps lie on, the day before, and the day after a holiday, 0 or 1, ``[3, length]``.

    Args:
        country: ISO 3166 code, with a subdivision where wanted: ``"DE"``, ``"US-CA"``.
        start: The first step, in local time, of a day or less.
        length: Steps.

    Raises:
        InputError: The steps are longer than a day, or the package is not there or does not know the country
            or one of the years.
    """
    if split_freq(start.freqstr)[1] not in ("s", "min", "h", "D", "B"):
        raise InputError(
            f"holidays are days, but the frequency is {start.freqstr}; leave holidays out, or give their "
            "number in each step as a row of feat_dynamic_real"
        )
    if not length:
        return np.zeros((len(HOLIDAY_ROWS), 0))
    with quiet_business_days():
        stamps = pd.period_range(start, periods=length, freq=start.freq).to_timestamp()
    # In days since 1970: the package takes no dates of numpy.
    days = stamps.to_numpy().astype("datetime64[D]").astype(np.int64)
    around = np.array([days.min() - 1, days.max() + 1]).astype("datetime64[D]")
    first, last = (around.astype("datetime64[Y]").astype(int) + 1970).tolist()
    off = np.concatenate([_days_off(country, year) for year in range(first, last + 1)])
    return np.stack([np.isin(days + shift, off) for shift in (0, 1, -1)]).astype(np.float64)


@lru_cache(maxsize=1024)
def _days_off(country: str, year: int) -> np.ndarray:
    """Days since 1970 of the holidays of a year."""
    try:
        import holidays
    except ImportError as error:
        raise InputError(
            "the package holidays is not installed; install timediff with its extra [holidays]"
        ) from error
    code, _, subdivision = country.partition("-")
    try:
        dates = holidays.country_holidays(code, subdiv=subdivision or None, years=year)
    except NotImplementedError as error:
        raise InputError(
            f"the holidays package knows no country {country!r}; give an ISO code such as DE, or with a "
            "subdivision US-CA"
        ) from error
    if not dates:
        raise InputError(
            f"the holidays package knows no holiday of {country} in {year}; leave holidays out, or give them "
            "as a row of feat_dynamic_real"
        )
    return np.array(list(dates), dtype="datetime64[D]").astype(np.int64)
