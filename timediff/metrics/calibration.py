"""Ranks, reliability, sharpness: whether what happened could be one of the paths.

A rank is scaled to 0 .. 1 with a random share of its step, which also breaks ties: for a truth drawn like
the paths it is uniform exactly, for any S and any distribution.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timediff.errors import InputError
from timediff.metrics.arrays import (
    Array,
    by_entry,
    by_step,
    checked,
    entry_blocks,
    flat,
    ratio,
)
from timediff.metrics.quantiles import central_interval, checked_levels, weibull

__all__ = [
    "average_rank",
    "band_depth_rank",
    "below_of",
    "pit",
    "rank_histogram",
    "reliability",
    "sharpness",
]


def pit(paths: ArrayLike, truth: ArrayLike, *, rng: np.random.Generator) -> Array:
    r"""Probability integral transform: the share of the paths below the truth, between two of them at random.

    .. math:: \frac{\#\{x_i < y\} + U\, (1 + \#\{x_i = y\})}{S + 1}, \qquad U \sim \mathrm U(0, 1)

    Source: Czado, Gneiting and Held (2009), Biometrics 65, for the random share.

    Args:
        paths: Sample paths, ``[..., S, T, D]``.
        truth: What happened, ``[..., T, D]``.
        rng: Source of the random shares.

    Returns:
        ``[..., T, D]`` in 0 .. 1, NaN where the truth is missing.
    """

    def of_entry(ordered: Array, truth: Array) -> Array:
        below = (ordered < truth[..., None]).sum(axis=-1)
        equal = (ordered == truth[..., None]).sum(axis=-1)
        share = rng.random(truth.shape)
        return (below + share * (1 + equal)) / (ordered.shape[-1] + 1)

    return by_entry(of_entry, paths, truth)


def average_rank(paths: ArrayLike, truth: ArrayLike, *, rng: np.random.Generator) -> Array:
    """Rank of the truth among the paths by the mean of its ranks over the dimensions.

    Where errors go the same way in all series more than the paths do, many ranks are near 0 and 1; where
    less, they are near 1/2.

    Source: Thorarinsdottir, Scheuerer and Heinz (2016), arXiv:1310.0236, section 3.

    Args:
        paths: Sample paths, ``[..., S, T, D]``.
        truth: What happened, ``[..., T, D]``.
        rng: Source of the order of ties.

    Returns:
        ``[..., T]`` in 0 .. 1, NaN for steps of which nothing was observed.
    """
    return by_step(lambda x, y: _rank_of_truth(_ranks(x, y, rng).mean(axis=0), rng), paths, truth)


def band_depth_rank(paths: ArrayLike, truth: ArrayLike, *, rng: np.random.Generator) -> Array:
    r"""Rank of the truth among the paths by its depth: how many pairs of them enclose it.

    .. math:: \frac1D \sum_d (r_d - 1)(S + 1 - r_d)

    with the rank :math:`r_d` among paths and truth in one dimension. Where the truth is further out than
    the paths, its rank is near 0.

    Source: Thorarinsdottir, Scheuerer and Heinz (2016), arXiv:1310.0236, section 3, without constants.

    Args:
        paths: Sample paths, ``[..., S, T, D]``.
        truth: What happened, ``[..., T, D]``.
        rng: Source of the order of ties.

    Returns:
        ``[..., T]`` in 0 .. 1, NaN for steps of which nothing was observed.
    """

    def of_step(x: Array, y: Array) -> float:
        ranks = _ranks(x, y, rng)  # [D, S + 1], from 0
        return _rank_of_truth((ranks * (len(x) - ranks)).mean(axis=0), rng)

    return by_step(of_step, paths, truth)


def rank_histogram(ranks: ArrayLike, *, bins: int = 10) -> Array:
    """Share of ranks in each of equally wide bins: 1 / bins in each if the forecast is calibrated.

    Args:
        ranks: What `pit`, `average_rank` or `band_depth_rank` return, any shape; NaN is left out.
        bins: How many.

    Returns:
        ``[bins]``, adding up to 1; NaN if there is no rank.

    Raises:
        InputError: If there is no bin, or a rank is not in 0 .. 1.
    """
    values = np.asarray(ranks, dtype=np.float64)
    values = values[~np.isnan(values)]
    if bins < 1 or ((values < 0) | (values > 1)).any():
        raise InputError(
            f"a rank histogram needs ranks in 0 .. 1, as `pit` returns them, and at least one bin; "
            f"it was given {bins} bins"
        )
    counts, _ = np.histogram(values, bins=bins, range=(0, 1))
    return counts / values.size if values.size else np.full(bins, np.nan)


def reliability(paths: ArrayLike, truth: ArrayLike, *, levels: ArrayLike) -> Array:
    """Share of the observed entries that are at or below the forecast quantile of each level.

    The quantile is that of `central_interval`, so that a calibrated forecast has the levels themselves.

    Args:
        paths: Sample paths, ``[..., S, T, D]``.
        truth: What happened, ``[..., T, D]``.
        levels: Each above 0 and below 1.

    Returns:
        ``[len(levels)]``; NaN where nothing was observed.

    Raises:
        InputError: If there is no level, or one that is no share.
    """
    levels = checked_levels(levels)
    paths, truth = checked(paths, truth)
    count = float(np.isfinite(truth).sum())
    below = np.zeros(len(levels))
    for _, ordered, block_truth in entry_blocks(*flat(paths, truth)):
        below += np.nansum(below_of(ordered, block_truth, levels), axis=(0, 1, 2))
    return np.array([ratio(number, count) for number in below])


def sharpness(paths: ArrayLike, *, level: float) -> float:
    """Mean width of `central_interval`: the narrower the better, among forecasts that are calibrated.

    Args:
        paths: Sample paths, ``[..., S, T, D]``.
        level: Nominal coverage, above 0 and up to 1.

    Returns:
        One number, in the unit of the data.

    Raises:
        InputError: If the level is no share.
    """
    low, high = central_interval(paths, level=level)
    return float((high - low).mean())


def below_of(ordered: Array, truth: Array, levels: Array) -> Array:
    """Whether the truth is at most the quantile of each level, 1 or 0, NaN if it is missing: ``[..., L]``."""
    below = np.stack([truth <= weibull(ordered, p) for p in levels], axis=-1)
    return np.where(np.isnan(truth)[..., None], np.nan, below)


def _ranks(x: Array, y: Array, rng: np.random.Generator) -> NDArray[np.int_]:
    """Ranks from 0 in each dimension, ``[D, 1 + S]``, the truth first, ties in an order drawn for all."""
    order = rng.permutation(len(x) + 1)
    pool = np.vstack([y, x])[order].T  # [D, 1 + S]
    places = np.argsort(pool, axis=-1, kind="stable")
    ranks = np.empty_like(places)
    np.put_along_axis(ranks, order[places], np.arange(len(order))[None], axis=-1)
    return ranks


def _rank_of_truth(ranks: NDArray[Any], rng: np.random.Generator) -> float:
    """Rank of the first of ``[1 + S]`` among all, scaled to 0 .. 1."""
    truth = ranks[0]
    below, equal = (ranks < truth).sum(), (ranks == truth).sum()
    return float((below + rng.random() * equal) / len(ranks))
