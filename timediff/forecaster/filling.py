"""Missing values inside of what is known, filled in by the model's paths.

A window of the model's horizon begins at the first missing step, and paths are drawn from what precedes it,
under the condition of what is known within it; the mean of them fills what is missing in the first half of
the window, so that there are always steps after it to be conditioned on. What is filled in is then past.

Axes: ``T`` known steps, ``D`` series, ``H`` steps of the horizon.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from timediff.forecaster.drawing import Asked, Fitted, draw
from timediff.forecaster.frames import Array
from timediff.forecaster.known import Known
from timediff.timegrad.whatif import TooUnlikely

__all__ = ["CONDITIONS", "filled"]

#: What paths were drawn under, the most that left enough particles.
CONDITIONS = (
    "what is known within the window",
    "what is known at the same steps",
    "the past alone",
)


def filled(
    fitted: Fitted,
    known: Known,
    group: Any,
    *,
    n_paths: int,
    seed: int | None,
    num_particles: int,
    progress: bool,
) -> tuple[Array, Counter[str]]:
    """Values ``[T, D]`` without gaps between the first and the last of each series.

    Returns:
        The values, and how many of them were drawn under which of `CONDITIONS`.
    """
    values, horizon = known.values.copy(), fitted.predictor.prediction_length
    wanted = _inside(values)
    counts: Counter[str] = Counter()
    while (open_steps := np.flatnonzero((wanted & np.isnan(values)).any(axis=1))).size:
        first = int(open_steps[0])
        window = values[first : first + horizon]
        settled = window[: (horizon + 1) // 2] if first + horizon < len(values) else window
        gaps = np.isnan(settled) & wanted[first : first + len(settled)]
        past = known._replace(values=values).before(first)
        future = {name: known.dynamic[name][first:] for name in fitted.layout.futr}
        for condition, given in zip(CONDITIONS, _conditions(window, gaps), strict=True):
            if given is None and condition != CONDITIONS[-1]:
                continue
            try:
                drawn = draw(
                    fitted,
                    Asked(past, len(window), future, given),
                    group,
                    n_paths=n_paths,
                    seed=seed,
                    progress=progress,
                    num_particles=num_particles,
                )
            except TooUnlikely:
                continue
            settled[gaps] = drawn.mean[: len(settled)][gaps]
            counts[condition] += int(gaps.sum())
            break
    return values, counts


def _inside(values: Array) -> np.ndarray:
    """Missing values between the first and the last known one of their series, bool ``[T, D]``."""
    there = np.isfinite(values)
    begun = np.logical_or.accumulate(there)
    going_on = np.logical_or.accumulate(there[::-1])[::-1]
    return ~there & begun & going_on


def _conditions(window: Array, gaps: np.ndarray) -> Iterator[Array | None]:
    """Values of a window to draw under, fewer and fewer; None for none."""
    at = window.copy()
    at[np.flatnonzero(gaps.any(axis=1))[-1] + 1 :] = np.nan
    for given in (window.copy(), at):
        yield given if np.isfinite(given).any() else None
    yield None
