"""Scores of whole vectors, and the sum over dimensions."""

from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from timediff.errors import InputError
from timediff.metrics.arrays import Array, by_step, check_members, checked, floats

__all__ = ["energy_of", "energy_score", "sum_over_dimensions", "variogram_of", "variogram_score"]


def energy_score(paths: ArrayLike, truth: ArrayLike, *, fair: bool = False) -> Array:
    r"""Energy score of each time step over its observed dimensions, here :math:`x_i, y \in R^D`.

    .. math:: \frac1S \sum_i \lVert x_i - y \rVert
        - \frac{1}{2 S^2} \sum_{i,j} \lVert x_i - x_j \rVert

    with the Euclidean norm, in which the dimensions with large values dominate. For ``D = 1`` it is
    `crps_ensemble`; the fair estimator divides the second sum by :math:`2 S (S - 1)`.

    Source: Gneiting and Raftery (2007), eq. 22.

    Args:
        paths: Sample paths, ``[..., S, T, D]``.
        truth: What happened, ``[..., T, D]``.
        fair: Whether to take the fair estimator.

    Returns:
        ``[..., T]``, NaN for steps of which nothing was observed.

    Raises:
        InputError: If a single path is to be scored fairly.
    """
    if fair:
        check_members(floats(paths), 2, "the fair energy score")
    return by_step(partial(energy_of, fair=fair), paths, truth)


def variogram_score(
    paths: ArrayLike, truth: ArrayLike, *, order: float = 0.5, max_pairs: int | None = None
) -> Array:
    r"""Variogram score of each time step: do differences between dimensions have the right size?

    .. math:: \sum_{i,j} w_{ij} \Bigl( |y_i - y_j|^p - \frac1S \sum_s |x_{si} - x_{sj}|^p \Bigr)^2

    over the observed dimensions, all :math:`w_{ij} = 1`. With ``max_pairs``, only pairs at evenly
    spread distances in the order of the dimensions have a weight, the same for all, so that the weights
    add up as before: proper as well, and at D = 2000 the difference between seconds and minutes.

    Source: Scheuerer and Hamill (2015), Monthly Weather Review 143.

    Args:
        paths: Sample paths, ``[..., S, T, D]``.
        truth: What happened, ``[..., T, D]``.
        order: p.
        max_pairs: About how many pairs to look at in a step; None is all D (D - 1) / 2.

    Returns:
        ``[..., T]``, 0 for steps with a single observed dimension, NaN for those with none.

    Raises:
        InputError: If order or number of pairs is not above 0.
    """
    if not 0 < order < np.inf:
        raise InputError(f"the order of a variogram score must be above 0, but it is {order}")
    if max_pairs is not None and max_pairs < 1:
        raise InputError(f"a variogram score needs at least one pair, but max_pairs is {max_pairs}")
    return by_step(
        lambda x, y: variogram_of(x, y, order=order, max_pairs=max_pairs)[0], paths, truth
    )


def sum_over_dimensions(paths: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    """Paths and truth of the sum, each step summed over the dimensions observed at that step.

    Args:
        paths: Sample paths, ``[..., S, T, D]``.
        truth: What happened, ``[..., T, D]``.

    Returns:
        Paths ``[..., S, T, 1]`` and truth ``[..., T, 1]``, NaN for steps of which nothing was observed.
    """
    paths, truth = checked(paths, truth)
    observed = ~np.isnan(truth)
    total = np.where(observed.any(axis=-1), np.nansum(truth, axis=-1), np.nan)
    sums = np.einsum("...std,...td->...st", paths, observed.astype(np.float64))
    return sums[..., None], total[..., None]


def energy_of(x: Array, y: Array, *, fair: bool = False) -> float:
    """`energy_score` of one step, ``x [S, D]``, ``y [D]``."""
    errors = x - y
    members = len(errors)
    accuracy = np.linalg.norm(errors, axis=-1).mean()
    # |a - b|^2 = |a|^2 + |b|^2 - 2 a.b holds S x S numbers a step instead of S x S x D. With a and b
    # relative to the truth, what rounding loses is below 1e-7 of the score.
    products = errors @ errors.T  # [S, S]
    squares = np.diagonal(products)
    distances = squares[:, None] + squares - 2 * products
    spread = np.sqrt(np.maximum(distances, 0.0)).sum() / (2 * members)
    return float(accuracy - spread / (members - 1 if fair else members))


def variogram_of(
    x: Array, y: Array, *, order: float, max_pairs: int | None = None
) -> tuple[float, float]:
    r"""`variogram_score` of one step, and :math:`\sum w_{ij} |y_i - y_j|^{2p}` for the same pairs."""
    dims = len(y)
    pairs = dims * (dims - 1) // 2
    stride = 1 if max_pairs is None else max(1, -(-pairs // max_pairs))
    columns = np.ascontiguousarray(x.T)  # [D, S]
    mean = np.full(len(x), 1 / len(x))
    score = size = count = 0.0
    for distance in range(1, dims, stride):
        expected = _power(columns[distance:] - columns[:-distance], order) @ mean
        observed = _power(y[distance:] - y[:-distance], order)
        score += np.square(observed - expected).sum()
        size += np.square(observed).sum()
        count += len(observed)
    weight = 2 * pairs / count if count else 0.0
    return float(weight * score), float(weight * size)


def _power(differences: Array, order: float) -> Array:
    """Powers of absolute values, in place."""
    np.abs(differences, out=differences)
    if order == 0.5:
        return np.sqrt(differences, out=differences)  # several times faster than a general power
    return np.power(differences, order, out=differences)
