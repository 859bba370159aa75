"""Do the clocks of the training and the test series agree?

A published test set repeats its training series before the steps to forecast. The same values must
stand at the same times; where they do not, the calendar a model learned is off by as many steps in
every forecast. A stretch of each test series is looked up by value in its training series.
"""

import warnings
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

__all__ = ["ClockOffset", "align", "audit", "describe"]

# Steps of the stretch that is looked up, and where in the test series it is taken: the first
# usable place decides. A quarter of its values must differ, or zeros and counts match by chance.
_STRETCH = 48
_PLACES = (0.5, 0.25, 0.75, 0.0)


class ClockOffset(NamedTuple):
    """Series of one test window that stand `steps` later than the same values in training.

    `located` counts the series of the window that were found in training at all.
    """

    window: int
    steps: float
    series: list[int]
    located: int


def audit(train: list[dict[str, Any]], test: list[dict[str, Any]]) -> list[ClockOffset]:
    """Offsets between the test and the training clock, the most frequent of a window first.

    Series that are constant, missing, absent from training, or found there more than once say
    nothing and are left out.

    Args:
        train: One GluonTS entry with target ``[D, T]``.
        test: Entries of the same D series.
    """
    (history,) = train
    offsets = []
    for window, entry in enumerate(test):
        steps_of = _series_offsets(history, entry)
        groups = defaultdict(list)
        for series, steps in sorted(steps_of.items()):
            groups[steps].append(series)
        by_size = sorted(groups.items(), key=lambda item: -len(item[1]))
        offsets += [
            ClockOffset(window, steps, series, len(steps_of))
            for steps, series in by_size
            if steps != 0
        ]
    return offsets


def _series_offsets(history: dict[str, Any], entry: dict[str, Any]) -> dict[int, float]:
    """Steps by which each series that could be found stands later in `entry` than in `history`."""
    past, target = history["target"], entry["target"]  # [D, T], [D, T_k]
    # Ordinals count base units: two for each step of a period of "2h".
    units = entry["start"].ordinal - history["start"].ordinal
    ahead = units / entry["start"].freq.n
    length = min(_STRETCH, target.shape[1], past.shape[1])
    steps: dict[int, float] = {}
    open_series = np.arange(len(target))
    for place in _PLACES:
        at = int(place * (target.shape[1] - length))
        stretch = target[open_series, at : at + length]  # [open, length]
        distinct = 1 + np.count_nonzero(np.diff(np.sort(stretch, axis=1), axis=1), axis=1)
        usable = np.isfinite(stretch).all(axis=1) & (distinct >= max(4, length // 4))
        open_series, stretch = open_series[usable], stretch[usable]
        same = _equal_at(past[open_series], stretch, at + ahead)
        for series, probe, agrees in zip(open_series, stretch, same, strict=True):
            matches = [at + ahead] if agrees else _positions(past[series], probe)
            if len(matches) == 1:
                steps[int(series)] = at + ahead - matches[0]
        open_series = np.setdiff1d(np.arange(len(target)), list(steps))
    return steps


def _equal_at(past: np.ndarray, stretch: np.ndarray, position: float) -> np.ndarray:
    """Whether each stretch stands in its past at the position where the clocks agree."""
    first = int(position)
    if first != position or first < 0 or first + stretch.shape[1] > past.shape[1]:
        return np.zeros(len(stretch), dtype=bool)
    return (past[:, first : first + stretch.shape[1]] == stretch).all(axis=1)


def _positions(past: np.ndarray, probe: np.ndarray) -> list[int]:
    """Every position of `probe` in `past`, looked up by its largest value, the rarest as a rule."""
    anchor = int(np.argmax(probe))
    starts = np.flatnonzero(past == probe[anchor]) - anchor
    starts = starts[(starts >= 0) & (starts + len(probe) <= len(past))]
    return [int(i) for i in starts if np.array_equal(past[i : i + len(probe)], probe)]


def align(test: list[dict[str, Any]], offsets: list[ClockOffset]) -> list[dict[str, Any]]:
    """The test entries with their start moved to the training clock.

    The test stamps move, because the model learns its calendar from training; values stay where
    they are. A window has one start, so it moves only by an offset that most of its located series
    share.
    """
    moves = {o.window: o.steps for o in offsets if 2 * len(o.series) > o.located}
    aligned = []
    for window, entry in enumerate(test):
        start = entry["start"]
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            units = round(moves.get(window, 0) * start.freq.n)
            start = pd.Period(ordinal=start.ordinal - units, freq=start.freq)
        aligned.append({**entry, "start": start})
    return aligned


def describe(offsets: list[ClockOffset], *, windows: int, dims: int) -> list[str]:
    """Clauses, one per offset over all windows, that say which share of the data stands how far off."""
    by_steps: dict[float, list[ClockOffset]] = defaultdict(list)
    for offset in offsets:
        by_steps[offset.steps].append(offset)
    clauses = []
    for steps, its_offsets in by_steps.items():
        series = sorted({s for offset in its_offsets for s in offset.series})
        named = f"series {', '.join(map(str, series))}" if len(series) <= 3 else ""
        clauses.append(
            f"{named or f'{len(series)} of {dims} series'} in {len(its_offsets)} of {windows} test "
            f"windows stand {abs(steps):g} step{'s' if abs(steps) != 1 else ''} "
            f"{'later' if steps > 0 else 'earlier'} than the same values in training"
        )
    return clauses
