"""Time zones and daylight saving: which zone some offsets are of, and what a local clock shows.

N rows, in the order of the table.
"""

import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from timediff.errors import InputError

__all__ = [
    "check_zone",
    "in_one_zone",
    "localized",
    "off_clock",
    "repeated_hour",
    "skipped_hour",
    "zone_name",
]

#: One zone for each rule of daylight saving that is common; the first that fits gives its name.
_ZONES = (
    "Europe/Berlin", "Europe/London", "Europe/Helsinki", "America/New_York", "America/Chicago",
    "America/Denver", "America/Los_Angeles", "America/Anchorage", "America/Halifax", "Australia/Sydney",
    "Australia/Adelaide", "Pacific/Auckland", "America/Santiago",
)  # fmt: skip


def check_zone(tz: str) -> str:
    """The name of a zone, if there is one of that name."""
    try:
        pd.Timestamp(0, tz=tz)
    except Exception:  # which one depends on the package that looks the name up
        raise InputError(
            f"time zone {tz!r} is not known; give its name, such as Europe/Berlin or UTC"
        ) from None
    return tz


def zone_name(tz: datetime.tzinfo) -> str:
    """A name by which pandas finds a zone again.

    Raises:
        InputError: There is none.
    """
    try:
        return check_zone(str(tz))
    except InputError:
        fixed = tz.utcoffset(None)
        if fixed is None:
            raise
        return str(datetime.timezone(fixed))


def in_one_zone(
    instants: pd.DatetimeIndex, offsets: pd.TimedeltaIndex | pd.Series, tz: str | None, what: str
) -> tuple[pd.DatetimeIndex, tuple[str, ...]]:
    """Instants in the zone whose offsets from UTC they were written with, and a note if it was guessed.

    Raises:
        InputError: The offsets are those of no zone that is known here, and none is given.
    """
    if tz is not None:
        return instants.tz_convert(tz), ()
    kinds = pd.unique(pd.Series(offsets))
    if len(kinds) == 1:
        return instants.tz_convert(
            str(datetime.timezone(pd.Timedelta(kinds[0]).to_pytimedelta()))
        ), ()
    wall = instants.tz_localize(None) + pd.TimedeltaIndex(offsets)
    shown = " and ".join(
        str(datetime.timezone(pd.Timedelta(k).to_pytimedelta()))[3:] for k in kinds[:2]
    )
    for zone in _ZONES:
        if instants.tz_convert(zone).tz_localize(None).equals(wall):
            return instants.tz_convert(zone), (
                f"the stamps of {what}, with the offsets {shown}, are read as {zone}; give tz for another "
                "zone",
            )
    raise InputError(
        f"the timestamps of {what} have several zones, such as {shown}; convert them to one, or give tz "
        "for the zone to read them in"
    )


def off_clock(wall: pd.DatetimeIndex, tz: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which stamps a zone's clock shows twice, and which it never shows."""
    first_of_two = np.ones(len(wall), dtype=bool)
    never = np.asarray(wall.tz_localize(tz, ambiguous=first_of_two, nonexistent="NaT").isna())
    neither = np.asarray(wall.tz_localize(tz, ambiguous="NaT", nonexistent="NaT").isna())
    return neither & ~never, never


def localized(
    wall: pd.DatetimeIndex, tz: str, series: NDArray[np.intp], what: str
) -> pd.DatetimeIndex:
    """What a zone's clock shows, as times in the zone.

    Of an hour that the clock shows twice, the first row of a series is summer time, unless the rows fall.

    Args:
        wall: Stamps without a zone, ``[N]``.
        tz: The zone.
        series: Number of the series of each row, ``[N]``.
        what: The table, for the sentence of an error.

    Raises:
        InputError: The clock never shows one of the stamps, or which of two comes first cannot be told.
    """
    if (wall == wall.normalize()).all():
        # Days, months and years begin when the clock first shows their date.
        return wall.tz_localize(tz, ambiguous=np.ones(len(wall), bool), nonexistent="shift_forward")
    twice, never = off_clock(wall, tz)
    if never.any():
        row = int(np.argmax(never))
        raise InputError(
            f"row {row + 1} of {what} has {wall[row]}, which the clock of {tz} skips for daylight saving; "
            "give the zone in which it was written, such as UTC+01:00 for a clock without daylight saving"
        )
    keys = pd.DataFrame({"series": series, "stamp": wall})
    later = keys.groupby(["series", "stamp"]).cumcount().to_numpy() > 0
    if not (twice & later).any():
        return wall.tz_localize(tz, ambiguous=np.ones(len(wall), dtype=bool))
    by_series = np.argsort(series, kind="stable")
    same = np.diff(series[by_series]) == 0
    for summer, sign in ((~later, 1), (later, -1)):
        summer = summer | ~keys.duplicated(keep=False).to_numpy()
        times = wall.tz_localize(tz, ambiguous=summer)
        steps = sign * np.diff(times.asi8[by_series])
        if (steps[same] >= 0).all():
            return times
    stamp = wall[int(np.argmax(twice & later))]
    raise InputError(
        f"the rows of {what} are not in the order of time, so which of the two {stamp} is summer time cannot "
        "be told; sort them as they were recorded, or write the stamps with their offset"
    )


def repeated_hour(wall: pd.DatetimeIndex, counts: NDArray[Any]) -> str | None:
    """A zone whose clock shows twice just what some series have twice, and those only.

    Args:
        wall: Stamps that a series has more than once.
        counts: How often.
    """
    if not len(wall) or (counts != 2).any() or (wall == wall.normalize()).all():
        return None
    return next((zone for zone in _ZONES if off_clock(wall, zone)[0].all()), None)


def skipped_hour(present: pd.DatetimeIndex, absent: pd.DatetimeIndex) -> str | None:
    """A zone whose clock fits the stamps of a table, and never shows some that it lacks."""
    for zone in _ZONES:
        if off_clock(absent, zone)[1].any():
            twice, never = off_clock(present, zone)
            if not (twice | never).any():
                return zone
    return None
