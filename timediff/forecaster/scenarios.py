r"""Few scenarios with weights in place of many paths, chosen by the energy distance.

For points :math:`x_i` with masses :math:`p_i`, and chosen points C with weights w,

.. math:: E(w) = 2 \sum_{i \in C} w_i m_i - \sum_{i,j \in C} w_i w_j d_{ij} - \sum_{i,j} p_i p_j d_{ij},
    \qquad d_{ij} = \lVert x_i - x_j \rVert, \quad m_i = \sum_j p_j d_{ij}

is the energy distance (Székely and Rizzo 2013, eq. 1.2; no root is taken) of the two distributions. Of given
points it is least where :math:`D w = m + \mu 1, \sum w = 1`, and there it is
:math:`b^T K^{-1} b - \sum_{i,j} p_i p_j d_{ij}` with :math:`K = [[D, 1], [1^T, 0]], b = (m, 1)`. So one step
of linear algebra tells for all candidates at once what each would be worth as a further point.

Axes: ``S`` points, ``K`` coordinates, ``k`` chosen points.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from timediff.forecaster.frames import Array

__all__ = ["choose", "distances", "energy_distance", "points_of"]

#: Relative gain below which an exchange is rounding.
_LEAST = 1e-10
#: Searches, each begun at another point.
_STARTS = 20


def points_of(paths: Array, mean: Array) -> Array:
    """Paths as points whose distances count every series alike, and the total as much as all of them.

    Args:
        paths: ``[S, T, D]``.
        mean: Their mean, ``[T, D]``.

    Returns:
        ``[S, T * (D + 1)]``, or ``[S, T]`` for one series.
    """
    deviations = paths - mean
    parts = [_in_units(deviations)]
    if paths.shape[2] > 1:
        total = _in_units(deviations.sum(axis=2, keepdims=True))
        parts.append(np.sqrt(paths.shape[2]) * total)
    return np.concatenate(parts, axis=2).reshape(len(paths), -1)


def distances(points: Array) -> Array:
    """Euclidean distances of points ``[S, K]`` to each other, ``[S, S]``."""
    from scipy.spatial.distance import cdist

    return cdist(points, points)


def energy_distance(distance: Array, p: Array, w: Array) -> float:
    """Energy distance of two distributions over the same points.

    Args:
        distance: Of the points, ``[S, S]``.
        p: Masses of one, ``[S]``.
        w: Masses of the other, ``[S]``.
    """
    return float(-(w - p) @ distance @ (w - p))


def choose(distance: Array, p: Array, k: int) -> tuple[NDArray[np.intp], Array]:
    """The k points and weights of the least energy distance to all that a search by exchange finds.

    Points are added one by one, each time the best; then any is exchanged for any other as long as that
    helps, with the best weights for every set (forward selection, then partitioning around medoids). Of
    `_STARTS` such searches the best is taken.

    Args:
        distance: Of the points, ``[S, S]``, k of which at least differ.
        p: Their masses, ``[S]``, summing to 1.
        k: How many.

    Returns:
        Indices, ascending, and positive weights that sum to 1, ``[k]``; fewer where weights would be 0.
    """
    mean = distance @ p
    # A search may end where no single exchange helps; another begun elsewhere then goes past that point.
    firsts = np.argsort(mean, kind="stable")
    firsts = firsts[np.linspace(0, len(mean) - 1, min(_STARTS, len(mean))).astype(int)]
    searches = [_search(distance, mean, k, int(first)) for first in firsts]
    chosen = np.sort(min(searches, key=lambda search: search[0])[1])
    weights = _weights(distance, mean, chosen)
    return chosen[weights > 0], weights[weights > 0]


def _search(distance: Array, mean: Array, k: int, first: int) -> tuple[float, list[int]]:
    """The energy distance, but for a constant, and the points of one search."""
    chosen, value = [first], float(2 * mean[first])
    while len(chosen) < k:
        best, value = _best_addition(distance, mean, chosen)
        chosen.append(best)
    improved = True
    while improved:
        improved = False
        for place in range(k):
            others = chosen[:place] + chosen[place + 1 :]
            best, new = _best_addition(distance, mean, others)
            if new < value - _LEAST * abs(value):
                chosen, value, improved = [*others[:place], best, *others[place:]], new, True
    return value, chosen


def _best_addition(distance: Array, mean: Array, chosen: list[int]) -> tuple[int, float]:
    """The point that is best added to others, and the energy distance then, but for a constant."""
    if not chosen:
        best = int(np.argmin(mean))
        return best, float(2 * mean[best])
    inverse, b = _system(distance, mean, chosen)
    rows = np.vstack([distance[chosen], np.ones(len(mean))])  # [k + 1, S]
    solved = inverse @ rows
    gap = -(rows * solved).sum(axis=0)  # below 0 for points that are not chosen
    free = gap < -1e-12 * distance.max()
    gap = np.where(free, gap, -1.0)
    new = (mean - b @ solved) / gap  # weight of the new point, [S]
    weights = (inverse @ b)[:, None] - solved * new
    values = np.where(free, b @ inverse @ b + gap * new**2, np.inf)
    # Where a weight would be negative, the best allowed one is 0: a point too many.
    allowed = (new >= 0) & (weights[:-1] >= 0).all(axis=0)
    best = int(np.argmin(np.where(allowed, values, np.inf) if (allowed & free).any() else values))
    return best, float(values[best] if allowed[best] else np.inf)


def _weights(distance: Array, mean: Array, chosen: NDArray[np.intp]) -> Array:
    """The best weights of a set of points; those that would be negative are 0."""
    kept = np.arange(len(chosen))
    while True:
        inverse, b = _system(distance, mean, chosen[kept])
        weights = (inverse @ b)[:-1]
        if (weights >= 0).all() or len(kept) == 1:
            result = np.zeros(len(chosen))
            result[kept] = weights
            return result
        kept = np.delete(kept, np.argmin(weights))


def _system(
    distance: Array, mean: Array, chosen: Sequence[int] | NDArray[np.intp]
) -> tuple[Array, Array]:
    """Inverse of K, and b."""
    size, places = len(chosen), np.asarray(chosen)
    matrix = np.ones((size + 1, size + 1))
    matrix[:size, :size] = distance[places[:, None], places]
    matrix[size, size] = 0
    return np.linalg.inv(matrix), np.append(mean[places], 1.0)


def _in_units(deviations: Array) -> Array:
    """Deviations ``[S, T, D]`` in units of the standard deviation of each series; constant ones stay 0."""
    size = np.sqrt((deviations**2).mean(axis=(0, 1)))
    return deviations / np.where(size > 0, size, 1.0)
