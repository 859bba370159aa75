r"""Events of a path: what a window does as a whole, which no score of single steps can see.

A forecast that has every step right and the order of its paths wrong has the right band at each hour and
the wrong chance of three low hours in a row, or of a high peak. An event is a function of the path of the sum
over dimensions, :math:`g(z_1, \dots, z_T)`; its score is a proper score of the numbers that the paths give,
:math:`g(x_1), \dots, g(x_S)`, against :math:`g(y)`.
"""

import numpy as np
from numpy.typing import ArrayLike

from timediff.errors import InputError
from timediff.metrics.arrays import Array, Floats, Sums
from timediff.metrics.crps import crps_of
from timediff.metrics.multivariate import sum_over_dimensions
from timediff.metrics.quantiles import newsvendor_of

__all__ = ["CALM_SHARE", "CALM_STEPS", "RESERVE", "event_sums", "peaks", "runs_below"]

#: A calm: so many steps in a row in which the sum is at most its quantile of this level.
CALM_STEPS, CALM_SHARE = 3, 0.2
#: Costs of a unit of reserve that is missing, and of one that is not needed.
RESERVE = {"under": 9.0, "over": 1.0}


def peaks(paths: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    """Largest value of the sum over dimensions in a window, over the steps at which something was observed.

    Args:
        paths: Sample paths, ``[..., S, T, D]``.
        truth: What happened, ``[..., T, D]``.

    Returns:
        Those of the paths, ``[..., S]``, and of the truth, ``[...]``, NaN if nothing was observed.

    Raises:
        InputError: If shapes do not agree or a path is not finite.
    """
    sums, total = _sums(paths, truth)
    observed = np.isfinite(total)
    return (
        _largest(np.where(observed[..., None, :], sums, -np.inf)),
        _largest(np.where(observed, total, -np.inf)),
    )


def runs_below(
    paths: ArrayLike, truth: ArrayLike, *, threshold: float, steps: int = CALM_STEPS
) -> tuple[Array, Array]:
    """Whether the sum over dimensions stays at or below a threshold for some steps in a row.

    A step at which nothing was observed ends a run, of the paths too.

    Args:
        paths: Sample paths, ``[..., S, T, D]``.
        truth: What happened, ``[..., T, D]``.
        threshold: In the unit of the sum.
        steps: Length of a run.

    Returns:
        0 or 1 for each path, ``[..., S]``, and for the truth, ``[...]``; 0 where no run so long was observed.

    Raises:
        InputError: If shapes do not agree, a path is not finite, or a run has no step.
    """
    if steps < 1:
        raise InputError(f"a run has at least one step, but it is to have {steps}")
    sums, total = _sums(paths, truth)
    observed = np.isfinite(total)
    below = np.where(observed, total, np.inf) <= threshold
    return (
        _has_run((sums <= threshold) & observed[..., None, :], steps),
        _has_run(below, steps),
    )


def event_sums(paths: Floats, truth: Array, *, threshold: float) -> Sums:
    """Scores of the events of one window, ``[S, T, D]`` of which something was observed."""
    highest, reached = peaks(paths, truth)
    ordered = np.sort(highest)
    calm, was_calm = runs_below(paths, truth, threshold=threshold)
    return {
        "peak": crps_of(ordered, reached),
        "peak_reserve": newsvendor_of(ordered, reached, **RESERVE),
        "peak_size": np.abs(reached),
        "calm": np.square(calm.mean() - was_calm),
        "events": np.asarray(1.0),
    }


def _sums(paths: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    """Paths ``[..., S, T]`` and truth ``[..., T]`` of the sum."""
    sums, total = sum_over_dimensions(paths, truth)
    return sums[..., 0], total[..., 0]


def _largest(values: Array) -> Array:
    found = values.max(axis=-1)
    return np.where(np.isfinite(found), found, np.nan)


def _has_run(where: np.ndarray, steps: int) -> Array:
    """Whether an array ``[..., T]`` of truth values has so many in a row, 0 or 1."""
    if where.shape[-1] < steps:
        return np.zeros(where.shape[:-1])
    windows = np.lib.stride_tricks.sliding_window_view(where, steps, axis=-1)
    return windows.all(axis=-1).any(axis=-1).astype(float)
