"""Where the steps of a table stand in time, and how the table writes them.

A model counts steps in pandas periods without a zone. A table writes stamps: at the start of a period or at
its end, on the half hour, in a time zone. A `Clock` translates: step k of the table is period ``start + k``,
and ``stamps`` writes it as the table does.
"""

from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from timediff.frequency import quiet_business_days

__all__ = ["ANCHORS", "Clock", "Stamp", "anchored"]

#: The days of a period that a stamp may stand at.
ANCHORS = ("end", "start", "business end", "business start")


class Stamp(NamedTuple):
    """The place of a table's stamps in their periods.

    Attributes:
        anchor: The day of the period: its first ("start") or last ("end"), or the first or last that is a
            business day.
        offset: Time from the start of that day, or, below a day, of the period: 30 minutes for hours at :30.
        utc_shift: What the clock of the periods is ahead of UTC, for steps that are counted in UTC; None for
            steps that are counted on the clock of the table (days, months, or no zone at all).
    """

    anchor: str = "start"
    offset: pd.Timedelta = pd.Timedelta(0)
    utc_shift: pd.Timedelta | None = None


class Clock(NamedTuple):
    """Where the steps of a table stand in time.

    Attributes:
        start: Period of step 0; its ``freqstr`` is the frequency of the model. Where the table has a zone,
            periods below a day are those of the zone's standard time, longer ones those of its local dates.
        stamp: How the table writes a period.
        tz: Name of the zone in which it writes, None for none.
    """

    start: pd.Period
    stamp: Stamp = Stamp()
    tz: str | None = None

    def stamps(self, first: int, count: int) -> pd.DatetimeIndex:
        """Stamps of ``count`` steps from step ``first`` on, beyond the table too, written as its own are."""
        written = self._written(first + np.arange(count))
        if self.tz is None:
            return written
        if self.stamp.utc_shift is None:
            first_of_two = np.ones(count, dtype=bool)
            return written.tz_localize(self.tz, ambiguous=first_of_two, nonexistent="shift_forward")
        return (written - self.stamp.utc_shift).tz_localize("UTC").tz_convert(self.tz)

    def steps(self, stamps: pd.DatetimeIndex) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The step of each stamp, and which stamps ``[N]`` this clock would not write."""
        wall = self._wall(stamps)
        unit: Any = self.start.freq.base  # the stubs of pandas know names of frequencies only
        with quiet_business_days():
            periods = (wall - self.stamp.offset).to_period(unit)
        units = periods.asi8 - self.start.ordinal
        steps, rest = np.divmod(units, self.start.freq.n)
        again = self._written(steps)
        if self.tz is not None and self.stamp.utc_shift is None:
            # Where a day has no midnight the table writes the first hour that it has.
            again = again.tz_localize(
                self.tz, ambiguous=np.ones(len(again), dtype=bool), nonexistent="shift_forward"
            ).tz_localize(None)
        return steps, (rest != 0) | np.asarray(again != wall)

    def state(self) -> dict[str, Any]:
        """What JSON can hold of the clock; `restored` is the way back."""
        anchor, offset, shift = self.stamp
        return {
            "freq": self.start.freqstr,
            "ordinal": int(self.start.ordinal),
            "anchor": anchor,
            "offset": offset.value,
            "utc_shift": None if shift is None else shift.value,
            "tz": self.tz,
        }

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """The clock of a `state`."""
        shift = state["utc_shift"]
        with quiet_business_days():
            start = pd.Period(ordinal=state["ordinal"], freq=state["freq"])
        stamp = Stamp(
            state["anchor"],
            pd.Timedelta(state["offset"]),
            None if shift is None else pd.Timedelta(shift),
        )
        return cls(start, stamp, state["tz"])

    def _wall(self, stamps: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """The stamps on the clock of the periods, without zone."""
        if self.tz is None:
            return stamps
        if self.stamp.utc_shift is None:
            return stamps.tz_convert(self.tz).tz_localize(None)
        return stamps.tz_convert("UTC").tz_localize(None) + self.stamp.utc_shift

    def _written(self, steps: NDArray[np.int64]) -> pd.DatetimeIndex:
        """The stamps of some steps on the clock of the periods."""
        with quiet_business_days():
            ordinals = self.start.ordinal + steps * self.start.freq.n
            return anchored(ordinals, self.start.freq, self.stamp.anchor) + self.stamp.offset


def anchored(
    ordinals: NDArray[np.int64], freq: pd.offsets.BaseOffset, anchor: str
) -> pd.DatetimeIndex:
    """The start of the day that the anchor names, of the period itself for "start", per ordinal ``[N]``."""
    index: Any = pd.PeriodIndex  # the stubs of pandas lack from_ordinals
    periods = index.from_ordinals(ordinals, freq=freq.base)
    first, last = periods.start_time, periods.end_time.normalize()
    if anchor == "start":
        return first
    if anchor == "end":
        return last
    if anchor == "business end":
        return last - pd.to_timedelta(np.maximum(last.dayofweek - 4, 0), unit="D")
    return first + pd.to_timedelta(np.where(first.dayofweek > 4, 7 - first.dayofweek, 0), unit="D")
