"""What a record comes to: whom it says to use, against whom, and how sure that is.

The rival is the entrant with the least CRPS_sum of those that see no more than the evaluated one does. As it
is chosen on the windows that it is compared on, it has the benefit of the doubt.
"""

import math
from typing import NamedTuple

from timediff.benchmark.record import COMPARED, Record
from timediff.metrics import expected_coverage
from timediff.metrics.paired import needed

__all__ = ["Bands", "Verdict", "enough", "rival", "verdict"]

_LEVEL = 0.9


class Bands(NamedTuple):
    """How often the truth lies in the central 90 % intervals of all series.

    Args:
        share: Of observed entries.
        aim: That of a perfect forecast of as many paths.
        chance: Ends between which 95 % of calibrated forecasts lie; None in records without a diagnosis.
    """

    share: float
    aim: float
    chance: tuple[float, float] | None = None

    @property
    def fault(self) -> str:
        """Whether they are "too narrow" or "too wide"; "" where chance explains it, or is not known."""
        low, high = self.chance or (0.0, 1.0)
        return "too narrow" if self.share < low else "too wide" if self.share > high else ""


class Verdict(NamedTuple):
    """What is to be used.

    Args:
        title: The evaluated entrant.
        rival: Whom it is compared with; None where there is nobody.
        others: How many the rival is the best of.
        ratio: Mean loss over the rival's; NaN where that is not known.
        wins: Windows with a smaller loss than the rival's; None where it is not known.
        windows: Windows compared.
        fewest: Windows from which on a difference can be told from chance.
        told: Whether it is; None with fewer windows.
        use: Title of the one to use; None where there is no rival, or no loss.
        bands: Of the evaluated entrant; None where nothing is known of them.
    """

    title: str
    rival: str | None
    others: int
    ratio: float
    wins: int | None
    windows: int
    fewest: int
    told: bool | None
    use: str | None
    bands: Bands | None


def rival(record: Record) -> str | None:
    """Name of the entrant that all is shown beside; None where there is none but the true process."""
    return next((name for name, other in record.others.items() if other.kind != "oracle"), None)


def enough(record: Record) -> bool:
    """Whether there are windows enough to say something of windows as a whole."""
    return record.dataset.windows >= needed(record.overlap)


def verdict(record: Record) -> Verdict:
    """What a record comes to.

    A difference that chance explains decides nothing: then whoever takes less time is to be used.
    """
    ours, name = record.evaluated, rival(record)
    least = needed(record.overlap)
    if name is None:
        nothing = (None, 0, math.nan, None, record.dataset.windows, least, None, None)
        return Verdict(ours.title, *nothing, _bands(record))
    other, comparison = record.others[name], record.comparisons.get(name)
    count = sum(entrant.kind != "oracle" for entrant in record.others.values())
    ratio, told, wins, windows = _ratio(record, name), None, None, record.dataset.windows
    if comparison is not None:
        ratio, wins, windows = comparison.ratio, comparison.wins, comparison.windows
        if not comparison.too_few and comparison.ratio_interval is not None:
            low, high = comparison.ratio_interval
            told = not low <= 1 <= high
    use = None if math.isnan(ratio) else ours.title if ratio < 1 else other.title
    if told is False:
        seconds = [entrant.seconds_each.total for entrant in (ours, other)]
        if None not in seconds:
            use = min(zip(seconds, (ours.title, other.title), strict=True))[1]
    return Verdict(
        ours.title, other.title, count, ratio, wins, windows, least, told, use, _bands(record)
    )


def _ratio(record: Record, name: str) -> float:
    """Of the scores; NaN where one is missing or 0."""
    ours, theirs = (
        entrant.metrics.get(COMPARED) for entrant in (record.evaluated, record.entrants[name])
    )
    return math.nan if ours is None or not theirs else ours / theirs


def _bands(record: Record) -> Bands | None:
    ours = record.evaluated
    aim = expected_coverage(_LEVEL, num_samples=record.num_samples)
    if ours.diagnosis is not None:
        coverage = ours.diagnosis["coverage"]
        place = coverage["levels"].index(_LEVEL)
        low, high = (end[place] for end in coverage["chance"]["each"])
        return Bands(coverage["each"][place], aim, (low, high))
    share = ours.metrics.get("coverage_90")
    return None if share is None or math.isnan(share) else Bands(share, aim)
