r"""How far the diagnosis of a calibrated forecast strays by chance.

One idea: a path of the forecast is a truth for which the forecast is right. The rank of each path among the
others gives a histogram as the truth does; the spread of these histograms over the paths is the band of
chance. Steps and series are as dependent in it as they are in the forecast, which a binomial band would
ignore: with strong dependence it is many times wider. Windows count as independent of each other, so for
windows that overlap the band is too narrow.

Axes: ``R`` paths in the role of the truth, ``S`` paths, ``T`` steps, ``D`` series.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

GRID = 200
"""Bins in which ranks are counted: edges at every level of coverage and reliability."""
MOST = 100
LEVEL = 0.95


def counts(
    paths: Array, sums: Array, observed: NDArray[np.bool_], *, rng: np.random.Generator
) -> dict[str, Array]:
    """Ranks of the first paths in `GRID` bins, over the observed entries.

    Args:
        paths: Sample paths, ``[S, T, D]``.
        sums: Their sums over the observed series, ``[S, T, 1]``.
        observed: Whether the truth is there, ``[T, D]``.
        rng: Spreads each rank over its bin.

    Returns:
        ``[R, GRID]`` of ``each`` series, the ``sum``, ``average_rank`` and ``band_depth``.
    """
    some = observed.any(axis=-1)  # [T]
    below, upto = _places(paths)  # [S, T, D]
    middle = (below + upto - 1) / 2
    average = np.where(observed, middle, 0).sum(axis=-1)  # [S, T]
    depth = np.where(observed, middle * (len(paths) - 1 - middle), 0).sum(axis=-1)
    found = {
        "each": ((below, upto), observed),
        "sum": (_places(sums[..., 0]), some),
        "average_rank": (_places(average), some),
        "band_depth": (_places(depth), some),
    }
    return {part: _counted(places, seen, rng) for part, (places, seen) in found.items()}


def inside(paths: Array, observed: NDArray[np.bool_], *, levels: Sequence[float]) -> Array:
    """How many entries of each of the first paths lie in the central intervals, ends included.

    Args:
        paths: Sample paths, ``[S, T, D]``.
        observed: Which entries count, ``[T, D]``.
        levels: Nominal coverages.

    Returns:
        ``[R, len(levels)]``.
    """
    below, upto = (place[:MOST, observed] / len(paths) for place in _places(paths))  # [R, n]
    within = [(upto > (1 - level) / 2) & (below < (1 + level) / 2) for level in levels]
    return np.stack([each.sum(axis=1) for each in within], axis=1).astype(float)


def histogram_band(counted: Array, *, bins: int) -> tuple[Array, Array]:
    """Lower and upper end of each bin's share, ``[bins]``, for `LEVEL` of calibrated forecasts."""
    coarse = counted.reshape(len(counted), bins, -1).sum(axis=-1)  # [R, bins]
    return _ends(coarse / coarse.sum(axis=1, keepdims=True))


def share_band(counted: Array, levels: ArrayLike) -> tuple[Array, Array]:
    """The same for the share of truths below the quantile at each level."""
    return _ends(_below(counted, levels))


def inside_band(counted: Array, total: int) -> tuple[Array, Array]:
    """The same for the share of truths inside intervals, of `inside` over ``total`` entries."""
    return _ends(counted / total)


def _below(counted: Array, levels: ArrayLike) -> Array:
    cumulative = np.pad(counted.cumsum(axis=1), ((0, 0), (1, 0)))  # [R, GRID + 1]
    edges = np.round(np.asarray(levels) * GRID).astype(int)
    return cumulative[:, edges] / cumulative[:, -1:]


def _ends(shares: Array) -> tuple[Array, Array]:
    low, high = np.quantile(shares, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def _places(values: Array) -> tuple[NDArray, NDArray]:
    """How many of all paths are smaller than each, and how many are not larger, along the first axis."""
    order = values.argsort(axis=0)
    ordered = np.take_along_axis(values, order, axis=0)
    place = np.arange(len(values)).reshape(-1, *(1,) * (values.ndim - 1))
    differs = ordered[1:] != ordered[:-1]
    edge = np.ones((1, *values.shape[1:]), dtype=bool)
    first = np.maximum.accumulate(np.where(np.concatenate([edge, differs]), place, 0), axis=0)
    end = np.where(np.concatenate([differs, edge]), place + 1, len(values))
    end = np.minimum.accumulate(end[::-1], axis=0)[::-1]
    below, upto = np.empty_like(order), np.empty_like(order)
    np.put_along_axis(below, order, first, axis=0)
    np.put_along_axis(upto, order, end, axis=0)
    return below, upto


def _counted(
    places: tuple[NDArray, NDArray], observed: NDArray[np.bool_], rng: np.random.Generator
) -> Array:
    below, upto = (place[:MOST, observed] for place in places)  # [R, n]
    uniform = (below + rng.random(below.shape) * (upto - below)) / len(places[0])
    bins = np.minimum((uniform * GRID).astype(int), GRID - 1)
    rows = np.arange(len(below))[:, None] * GRID
    return np.bincount((bins + rows).ravel(), minlength=len(below) * GRID).reshape(-1, GRID)
