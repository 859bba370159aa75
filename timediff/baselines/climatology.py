"""Conditional climatology: what past days of this hour, weekday and time of year were like.

A path is a block of consecutive past steps, the same for all series, that began at the same position in the
longest season the data has (the hour of the week) and within `NEAR` days of the same day of some year. So it
knows the calendar and the dependence between series, and nothing of the present.

Axes: ``S`` sample paths, ``T`` time steps, ``D`` series; NaN is a missing value.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from timediff.baselines.base import Baseline
from timediff.baselines.task import Array, Fitted, Task, Window, in_phase, resized
from timediff.frequency import quiet_business_days

__all__ = [
    "CLIMATOLOGY",
    "FEWEST",
    "NEAR",
    "block_starts",
    "days_apart",
    "filled",
    "fit_climatology",
]

#: Days on either side of the same day of the year.
NEAR = 45
#: Blocks below which a condition is dropped: first the time of year, then the longest season.
FEWEST = 20


def fit_climatology(task: Task, *, seed: int, progress: bool) -> Fitted:
    """Blocks of a window's own history, or of the training data where that is longer."""

    def sample(window: Window, num_samples: int, rng: np.random.Generator) -> Array:
        past, gap = window.history, 0
        if len(past) < len(task.train) + min(window.gap, 0):
            past, gap = task.train[: len(task.train) + min(window.gap, 0)], max(window.gap, 0)
        starts = block_starts(
            len(past), window.start, gap=gap, seasons=task.seasons, horizon=task.horizon
        )
        steps = resized(rng, starts, num_samples)[:, None] + np.arange(task.horizon)  # [S, T]
        return filled(past[steps], rng)

    return Fitted(sample, {"days_around": NEAR, "fewest_blocks": FEWEST})


def block_starts(
    length: int, start: pd.Period, *, gap: int, seasons: list[int], horizon: int
) -> NDArray[np.intp]:
    """Steps of the past at which a block like the window begins, ``[B]``.

    Args:
        length: Steps of the past.
        start: First period of the window.
        gap: Steps from the end of the past to it.
        seasons: In steps.
        horizon: Steps of a block.
    """
    every = np.arange(max(length - horizon, 0) + 1)
    for season in sorted(seasons, reverse=True):
        alike = in_phase(every, length + gap, season)
        near = alike[days_apart(start, alike - length - gap) <= NEAR]
        for chosen in (near, alike):
            if len(chosen) >= FEWEST:
                return chosen
    return alike if len(alike) else every


def days_apart(start: pd.Period, steps: NDArray[np.intp]) -> Array:
    """Days of the year between a period and those so many steps from it, the shorter way round."""
    with quiet_business_days():
        first = start + int(steps[0]) if len(steps) else start
        span = int(steps[-1] - steps[0]) + 1 if len(steps) else 0
        days = np.asarray(pd.period_range(first, periods=span, freq=start.freq).dayofyear)
    apart = np.abs(days[steps - steps[0]] - start.dayofyear) if len(steps) else np.zeros(0)
    return np.minimum(apart, 365.25 - apart)


def filled(paths: Array, rng: np.random.Generator) -> Array:
    """Paths ``[S, T, D]``, a missing value as another path has it there, else a series' mean, or 0."""
    missing = np.isnan(paths)
    if not missing.any():
        return paths
    paths = paths.copy()
    for t, d in zip(*np.nonzero(missing.any(axis=0)), strict=True):
        gone = missing[:, t, d]
        seen = paths[~gone, t, d]
        if not len(seen):
            known = paths[..., d][~missing[..., d]]
            seen = np.array([known.mean() if len(known) else 0.0])
        paths[gone, t, d] = rng.choice(seen, size=int(gone.sum()))
    return paths


CLIMATOLOGY = Baseline(
    "climatology",
    "Contiguous blocks of past values of all series from the same position in the longest season, within "
    f"{NEAR} days of the same day of the year where there are enough.",
    True,
    fit_climatology,
)
