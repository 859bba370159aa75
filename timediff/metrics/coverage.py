r"""Coverage: how often what happened lies inside the central band of the paths.

The aim is that of a perfect forecast, of which the truth could be one more path: `expected_coverage`, which
depends on the number of paths. With ties, such as the zeros of solar power at night, only the coverage by
rank keeps to it.
"""

from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from timediff.errors import InputError
from timediff.metrics.arrays import (
    Array,
    Floats,
    by_entry,
    check_level,
    check_members,
    checked,
    flat,
    observed_steps,
)
from timediff.metrics.quantiles import ends_of, weibull

__all__ = [
    "covered",
    "covered_by_rank",
    "covered_by_rank_of",
    "covered_jointly",
    "covered_of",
    "expected_coverage",
    "extremes",
    "inside_band",
    "ranks_of",
]


def covered(paths: ArrayLike, truth: ArrayLike, *, level: float) -> Array:
    """Whether the truth lies in `central_interval`, ends included: 1 or 0, NaN where it is missing.

    The mean over calibrated forecasts is `expected_coverage`, and higher with ties.

    Args:
        paths: Sample paths, ``[..., S, T, D]``.
        truth: What happened, ``[..., T, D]``.
        level: Nominal coverage, above 0 and up to 1.

    Returns:
        ``[..., T, D]``.

    Raises:
        InputError: If the level is no share.
    """
    check_level(level)
    return by_entry(partial(covered_of, level=level), paths, truth)


def covered_by_rank(paths: ArrayLike, truth: ArrayLike, *, level: float) -> Array:
    r"""Probability that the truth's rank among the paths is central, over ties with paths broken at random.

    With b paths below the truth and e equal to it, the truth has any of the places b .. b + e between the
    paths alike, and is uniform within a place of width 1:

    .. math:: P\bigl( l \le b + (1 + e)\, U \le h \bigr), \quad U \sim \mathrm U(0, 1), \quad
        l, h = \frac{1 \mp \mathrm{level}}{2} (S + 1), \text{ held in } 1 .. S

    The ends are the positions of `central_interval`, and nothing is drawn. Where no path equals the truth
    this is `covered`, but for the two places that an end falls into. The mean over calibrated forecasts is
    `expected_coverage` whatever the distribution, while `covered` counts every tie with an end as inside.

    Source: Czado, Gneiting and Held (2009), Biometrics 65, section 2, for the mean over the random share.

    Args:
        paths: Sample paths, ``[..., S, T, D]``.
        truth: What happened, ``[..., T, D]``.
        level: Nominal coverage, above 0 and up to 1.

    Returns:
        ``[..., T, D]`` in 0 .. 1, NaN where the truth is missing.

    Raises:
        InputError: If the level is no share.
    """
    check_level(level)

    def of_entry(ordered: Array, truth: Array) -> Array:
        return covered_by_rank_of(*ranks_of(ordered, truth), ordered.shape[-1], level=level)

    return by_entry(of_entry, paths, truth)


def expected_coverage(level: float, *, num_samples: int) -> float:
    r"""Coverage of a perfect forecast: of a truth that is drawn like the S paths.

    .. math:: \min\Bigl( \mathrm{level}, \frac{S - 1}{S + 1} \Bigr)

    The truth has each of the S + 1 places between the paths with the same probability, and the central
    interval is h - l places wide (`covered_by_rank`). Of `covered_by_rank` this is the mean for any
    distribution. Of `covered` it is for distributions without ties if l and h are whole or the distribution
    is uniform; else the mean is up to 2 / (S + 1) off, and for smooth distributions much less.

    100 paths have .90 at the level .90 and .9802 at .99, 10 paths .8182 at .90. The intervals of
    ``numpy.quantile``'s default are shorter: at each level they are those of level (S - 1) / (S + 1), so that
    100 paths have .8822 at .90 and .4901 at .50.

    Args:
        level: Nominal coverage, above 0 and up to 1.
        num_samples: S.

    Raises:
        InputError: If the level is no share, or there is no path.
    """
    check_level(level)
    if num_samples < 1:
        raise InputError(f"a forecast has at least one path, but its number is {num_samples}")
    return min(level, (num_samples - 1) / (num_samples + 1))


def covered_jointly(paths: ArrayLike, truth: ArrayLike, *, level: float) -> Array:
    r"""Whether the whole truth, all steps and dimensions, lies in one simultaneous band: 1 or 0.

    .. math:: m_{td} \pm c\, s_{td}, \qquad c = \text{quantile at level of }
        \max_{t,d} |x_{i,td} - m^{(-i)}_{td}| / s^{(-i)}_{td} \text{ over the paths } i,

    with mean m and standard deviation s of the paths, in c those of the other paths: the truth is no part of
    its m and s, so a path must be no part of its own. The quantile is that of `central_interval`.

    Source: Montiel Olea and Plagborg-Møller (2019), Journal of Applied Econometrics 34 (the sup-t band);
    here paths are left out one at a time.

    Args:
        paths: Sample paths, ``[..., S, T, D]``.
        truth: What happened, ``[..., T, D]``; entries that are missing are no part of the band.
        level: Nominal coverage, above 0 and up to 1.

    Returns:
        ``[...]``, NaN for windows of which nothing was observed.

    Raises:
        InputError: If the level is no share, or there are fewer than 3 paths.
    """
    check_level(level)
    paths, truth = checked(paths, truth)
    check_members(paths, 3, "a simultaneous band")
    windows = zip(*flat(paths, truth), strict=True)
    inside = [
        np.nan if np.isnan(y).all() else inside_band(*extremes(x, y), level) for x, y in windows
    ]
    return np.reshape(np.array(inside), truth.shape[:-2])


def covered_of(ordered: Array, truth: Array, *, level: float) -> Array:
    low, high = ends_of(ordered, level)
    return np.where(np.isnan(truth), np.nan, (low <= truth) & (truth <= high))


def ranks_of(ordered: Array, truth: Array) -> tuple[Array, Array]:
    """First and last rank, from 0, that the truth may have among ordered paths ``[..., S]``."""
    below = (ordered < truth[..., None]).sum(axis=-1, dtype=np.float64)
    upto = (ordered <= truth[..., None]).sum(axis=-1, dtype=np.float64)
    missing = np.isnan(truth)
    return np.where(missing, np.nan, below), np.where(missing, np.nan, upto)


def covered_by_rank_of(first: Array, last: Array, members: int, *, level: float) -> Array:
    """`covered_by_rank` from the ranks that the truth may have."""
    low = max((1 - level) / 2 * (members + 1), 1.0)
    high = members + 1 - low
    inside = np.minimum(last + 1, high) - np.maximum(first, low)
    return np.maximum(inside, 0.0) / (last + 1 - first)


def extremes(paths: Floats, truth: Array) -> tuple[Array, float]:
    """Largest standardised deviation in one window of each path from the others, and of the truth.

    Args:
        paths: ``[S, T, D]``, at least 3.
        truth: ``[T, D]``, of which something was observed.

    Returns:
        Those of the paths in ascending order ``[S]``, and that of the truth.
    """
    members = len(paths)
    of_paths, of_truth = np.zeros(members), 0.0
    for _, _, x, y in observed_steps(paths, truth):
        mean = x.mean(axis=0)
        squares = np.square(x - mean)  # [S, d]
        variance = squares.sum(axis=0) / (members - 1)
        # Without path i: its deviation is S / (S - 1) times larger, the variance as follows.
        others = (members - 1) * variance - squares * members / (members - 1)
        others = np.maximum(others, 0.0) / (members - 2)
        reach = _over(squares * (members / (members - 1)) ** 2, others)
        of_paths = np.maximum(of_paths, reach.max(axis=-1))
        of_truth = max(of_truth, _over(np.square(y - mean), variance).max())
    return np.sqrt(np.sort(of_paths)), float(np.sqrt(of_truth))


def inside_band(of_paths: Array, of_truth: float, level: float) -> float:
    # Where all other paths agree a deviation is infinite, and times the weight 0 of a neighbour it is NaN.
    finite = np.nan_to_num(of_paths, posinf=np.finfo(np.float64).max)
    return float(of_truth <= weibull(finite, level))


def _over(square: Array, variance: Array) -> Array:
    """Ratio of a squared deviation to a variance, 0 for 0 / 0: no deviation from paths that all agree."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(square == 0, 0.0, square / variance)
