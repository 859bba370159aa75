r"""How far the diagnosis of a calibrated forecast strays by chance.

One idea: a path of the forecast is a truth for which the forecast is right. The place of each path among all
gives a histogram as the truth does; the spread of these histograms over the paths is the band of chance.
Steps and series are as dependent in it as they are in the forecast, and ties are as frequent, both of which a
binomial band would ignore: with strong dependence it is many times wider. Windows count as independent of
each other, so for windows that overlap the band is too narrow.

Axes: ``R`` paths in the role of the truth, ``S`` paths, ``T`` steps, ``D`` series.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["LEVEL", "MOST", "Array", "band", "counts"]

Array = NDArray[np.float64]

MOST = 100
"""R at most."""
LEVEL = 0.95


def counts(
    paths: Array,
    sums: Array,
    observed: NDArray[np.bool_],
    *,
    bins: int,
    levels: ArrayLike,
    coverages: ArrayLike,
    rng: np.random.Generator,
) -> dict[str, Array]:
    """What the first paths would count for as the truth, at the observed entries.

    Args:
        paths: Sample paths, ``[S, T, D]``.
        sums: Their sums over the observed series, ``[S, T, 1]``.
        observed: Whether the truth is there, ``[T, D]``.
        bins: Of the histograms.
        levels: Of the reliability curve.
        coverages: Of the central intervals.
        rng: Spreads a place over its share of 0 .. 1, and over ties.

    Returns:
        Of ``each`` series, the ``sum``, ``average_rank`` and ``band_depth`` histograms ``[R, bins]``; of the
        first two also ``below_*`` ``[R, len(levels)]`` and ``inside_*`` ``[R, len(coverages)]``.
    """
    some = observed.any(axis=-1)  # [T]
    members = len(paths)
    below, upto = _places(paths)  # [S, T, D]
    middle = (below + upto - 1) / 2
    average = np.where(observed, middle, 0).sum(axis=-1)  # [S, T]
    depth = np.where(observed, middle * (members - 1 - middle), 0).sum(axis=-1)
    places = {
        "each": (below[:MOST, observed], upto[:MOST, observed]),
        "sum": tuple(place[:MOST, some] for place in _places(sums[..., 0])),
        "average_rank": tuple(place[:MOST, some] for place in _places(average)),
        "band_depth": tuple(place[:MOST, some] for place in _places(depth)),
    }
    totals = {}
    for part, (low, high) in places.items():
        share = rng.random(low.shape)
        totals[part] = _histograms((low + share * (high - low)) / members, bins)
        if part in ("each", "sum"):
            # Among the others, of which the outermost are the ends of the widest interval.
            first, last = low + share, high - 1 + share
            ends = [np.clip(p * members, 1, members - 1) for p in np.asarray(levels)]
            totals[f"below_{part}"] = np.stack([(first <= end).sum(1) for end in ends], axis=1)
            tails = [max((1 - c) / 2 * members, 1) for c in np.asarray(coverages)]
            inside = [(last >= tail) & (first <= members - tail) for tail in tails]
            totals[f"inside_{part}"] = np.stack([each.sum(1) for each in inside], axis=1)
    return totals


def band(counted: Array, total: float) -> tuple[Array, Array]:
    """Ends between which the share of `LEVEL` of the paths lies, for each column of counts.

    Args:
        counted: ``[R, n]``.
        total: Observed entries of one path.
    """
    low, high = np.quantile(counted / total, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def _places(values: Array) -> tuple[NDArray[Any], NDArray[Any]]:
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


def _histograms(uniform: Array, bins: int) -> NDArray[Any]:
    """Counts of each row of ``[R, n]``."""
    chosen = np.minimum((uniform * bins).astype(int), bins - 1)
    rows = np.arange(len(uniform))[:, None] * bins
    return np.bincount((chosen + rows).ravel(), minlength=len(uniform) * bins).reshape(-1, bins)
