"""The start stamps of a GluonTS folder as periods, without losing time: offsets from UTC, and what a period
would round.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from timediff.data.steps import ANCHORS, anchored
from timediff.errors import InputError
from timediff.frequency import quiet_business_days, split_freq

__all__ = ["read_starts"]

#: Periods that stamps name by one of their days; what is shorter or a day begins with its stamp.
_OF_DAYS = ("W", "M", "Q", "Y")


def read_starts(
    texts: Iterable[str], *, freq: str, folder: Path, rounded: bool = False
) -> dict[str, pd.Period]:
    """The period of each start stamp.

    Stamps with offsets from UTC are on the clock that they are all written on, or on that of UTC if offsets
    differ.

    Args:
        texts: All stamps of the folder.
        freq: Frequency of the periods.
        folder: For the sentence of an error.
        rounded: Whether a stamp within a period is one of it.

    Raises:
        InputError: A text is no stamp, some stamps have an offset and others none, or one lies within a
            period.
    """
    periods: dict[str, pd.Period] = {}
    stamps: dict[str, pd.Timestamp] = {}
    for text in texts:
        if split_freq(freq)[1] in ("Q", "Y") and re.fullmatch(r"\d{4}(-?Q[1-4])?", text):
            # The name of a period, by the year that its frequency has.
            periods[text] = pd.Period(text, freq=freq)
        else:
            stamps[text] = _stamp(text, folder)
    aware = [text for text, stamp in stamps.items() if stamp.tzinfo is not None]
    naive = [text for text, stamp in stamps.items() if stamp.tzinfo is None]
    if aware and naive:
        raise InputError(
            f"{folder}: the start {aware[0]!r} has an offset from UTC and {naive[0]!r} has none; write all "
            "with one, or all without"
        )
    several = len({stamps[text].utcoffset() for text in aware}) > 1
    for text, stamp in stamps.items():
        wall = (stamp.tz_convert("UTC") if several else stamp).tz_localize(None)
        with quiet_business_days():
            period = periods[text] = pd.Period(wall, freq=freq)
            if rounded or _begins(wall, period):
                continue
            shown = f"{text!r}, in UTC {wall}," if several else repr(text)
            other = f", such as W-{wall.day_name()[:3].upper()}" if freq.startswith("W") else ""
            raise InputError(
                f"{folder}: the start {shown} lies within a step of {freq}, which begins at "
                f"{period.start_time}; write when a step begins, or the freq of such steps into "
                f"metadata.json{other}"
            )
    return periods


def _stamp(text: str, folder: Path) -> pd.Timestamp:
    # Periods of several days are written with both ends.
    first = re.fullmatch(r"(\d{4}-\d\d-\d\d)/\d{4}-\d\d-\d\d", text)
    try:
        stamp = pd.Timestamp(first[1] if first else text)
    except ValueError:
        stamp = None
    if stamp is None or pd.isna(stamp):
        raise InputError(f"{folder}: {text!r} is not a start stamp")
    return stamp


def _begins(wall: pd.Timestamp, period: pd.Period) -> bool:
    """Whether a stamp names a period: its start, or one of its ends where it is of days."""
    of_days = split_freq(period.freqstr)[1] in _OF_DAYS
    ordinal = np.array([period.ordinal])
    return any(
        anchored(ordinal, period.freq, anchor)[0] == wall
        for anchor in (ANCHORS if of_days else ("start",))
    )
