"""Scores that see means and covariances only: Dawid and Sebastiani's, and the correlation matrix."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from timediff.metrics.arrays import (
    Array,
    Floats,
    Sums,
    add,
    by_step,
    check_members,
    checked,
    flat,
    floats,
)

__all__ = [
    "LEAST_SHRINKAGE",
    "REPEATED",
    "Gaussian",
    "correlation_error",
    "correlation_error_of",
    "covariance_shrinkage",
    "dawid_sebastiani",
    "dawid_sebastiani_of",
    "residual_moments",
]

#: The squared pivot of a correlation matrix below which a column is as good as a sum of others.
REPEATED = 1e-10
#: Least weight of independence: two paths show no noise at all, yet their covariance must be inverted.
LEAST_SHRINKAGE = 1e-6


def dawid_sebastiani(paths: ArrayLike, truth: ArrayLike) -> Array:
    r"""Score of mean m and covariance C of the paths, at each step over its observed dimensions.

    .. math:: \log\det C + (y - m)^\top C^{-1} (y - m)

    C has :math:`S - 1` in its denominator. Where S <= D, or a dimension repeats others, C cannot be
    inverted: then its correlation matrix R is drawn towards independence, :math:`(1 - \delta) R + \delta
    I`, with the weight :math:`\delta` of Ledoit and Wolf, which `covariance_shrinkage` returns. A dimension
    in which all paths agree is left out where they are right, and makes the score infinite where not.

    Source: Dawid and Sebastiani (1999), Annals of Statistics 27; Ledoit and Wolf (2004), Journal of
    Multivariate Analysis 88, section 3, on standardised paths, so that no unit matters.

    Args:
        paths: Sample paths, ``[..., S, T, D]``.
        truth: What happened, ``[..., T, D]``.

    Returns:
        ``[..., T]``, NaN for steps of which nothing was observed.

    Raises:
        InputError: If there is a single path.
    """
    check_members(floats(paths), 2, "a covariance")
    return by_step(lambda x, y: dawid_sebastiani_of(x, y).score, paths, truth)


def covariance_shrinkage(paths: ArrayLike, truth: ArrayLike) -> Array:
    r"""Weight :math:`\delta` of independence in `dawid_sebastiani`, 0 where it was not needed.

    Args:
        paths: Sample paths, ``[..., S, T, D]``.
        truth: What happened, ``[..., T, D]``: which dimensions were observed.

    Returns:
        ``[..., T]``, NaN for steps of which nothing was observed.
    """
    check_members(floats(paths), 2, "a covariance")
    return by_step(lambda x, y: dawid_sebastiani_of(x, y).shrinkage, paths, truth)


def correlation_error(paths: ArrayLike, truth: ArrayLike) -> float:
    r"""Root mean square, over pairs of dimensions, of forecast minus true correlation.

    Correlations are those of what the mean of the paths leaves: of :math:`y - m`, about 0, over all
    windows and steps, against those of :math:`x_s - m` over all windows, steps and paths. So a common
    rhythm of the series, which any forecast has, does not count. The part of :math:`y - m` that is luck
    of the S paths in m, of covariance C / S, is subtracted. A pair counts where both are observed.
    Even a right forecast is about :math:`1 / \sqrt{W T}` off: the truth has only that many steps.

    Args:
        paths: Sample paths, ``[..., S, T, D]``.
        truth: What happened, ``[..., T, D]``.

    Returns:
        One number; NaN where no pair of dimensions varies.

    Raises:
        InputError: If there is a single path.
    """
    paths, truth = checked(paths, truth)
    check_members(paths, 2, "a correlation")
    sums: Sums = {}
    for window in zip(*flat(paths, truth), strict=True):
        add(sums, residual_moments(*window))
    return correlation_error_of(sums)


class Gaussian(NamedTuple):
    """Score of one step as in `dawid_sebastiani`, and its `covariance_shrinkage`."""

    score: float
    shrinkage: float


def dawid_sebastiani_of(x: Array, y: Array) -> Gaussian:
    """Score and shrinkage of one step, ``x [S, D]``, ``y [D]``."""
    varies = x.max(axis=0) > x.min(axis=0)
    if (x[0, ~varies] != y[~varies]).any():
        return Gaussian(np.inf, 0.0)
    x, y = x[:, varies], y[varies]
    if not y.size:
        return Gaussian(0.0, 0.0)
    deviation = x.std(axis=0, ddof=1)
    z = (x - x.mean(axis=0)) / deviation  # [S, D]
    error = (y - x.mean(axis=0)) / deviation
    units = 2 * np.log(deviation).sum()
    factor = _factor(z.T @ z / (len(z) - 1)) if len(z) > len(y) else None
    if factor is not None:
        return Gaussian(float(units + _log_det(factor) + _square(factor, error)), 0.0)
    shrinkage = _ledoit_wolf(z)
    return Gaussian(float(units + _shrunk(z, error, shrinkage)), shrinkage)


def residual_moments(paths: Floats, truth: Array) -> Sums:
    r"""Sums of products and squares over one window, ``[D, D]`` each, that make correlations.

    Squares are :math:`\sum r_i^2` over the entries at which j was observed as well; the truth's are freed
    of what the mean of the paths adds to them.

    Args:
        paths: ``[S, T, D]``.
        truth: ``[T, D]``.
    """
    steps, dims = truth.shape
    observed = ~np.isnan(truth)
    mask = observed.astype(np.float64)
    products = np.zeros((dims, dims))
    squares, errors = np.empty((steps, dims)), np.empty((steps, dims))
    for step in range(steps):
        x = paths[:, step].astype(np.float64)  # [S, D]
        mean = x.mean(axis=0)
        x -= mean
        x *= mask[step]
        products += x.T @ x
        squares[step] = np.einsum("sd,sd->d", x, x)
        errors[step] = np.where(observed[step], truth[step] - mean, 0.0)
    path_squares = squares.T @ mask
    luck = 1 / (len(paths) * (len(paths) - 1))  # covariance of the mean of the paths
    return {
        "paths_products": products,
        "paths_squares": path_squares,
        "truth_products": errors.T @ errors - luck * products,
        "truth_squares": np.square(errors).T @ mask - luck * path_squares,
    }


def correlation_error_of(sums: Sums) -> float:
    """`correlation_error` from the sums of `residual_moments` over all windows."""
    squares = [sums[f"{side}_squares"] for side in ("paths", "truth")]
    usable = (squares[0] > 0) & (squares[0].T > 0) & (squares[1] > 0) & (squares[1].T > 0)
    usable &= ~np.eye(len(usable), dtype=bool)
    if not usable.any():
        return float("nan")
    forecast, true = (
        sums[f"{side}_products"][usable] / np.sqrt(of_side[usable] * of_side.T[usable])
        for side, of_side in zip(("paths", "truth"), squares, strict=True)
    )
    return float(np.sqrt(np.square(forecast - true).mean()))


def _factor(matrix: Array) -> Floats | None:
    """Cholesky factor of a correlation matrix; None if it is as good as singular."""
    try:
        factor = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return None
    return factor if np.square(np.diagonal(factor)).min() > REPEATED else None


def _ledoit_wolf(z: Array) -> float:
    """Best weight of the identity against the correlation matrix of standardised paths ``[S, D]``."""
    members, dims = z.shape
    gram = z @ z.T if members < dims else z.T @ z
    total = np.square(gram).sum() / (members - 1) ** 2  # |R|^2
    distance = total - dims  # |R - I|^2, as the diagonal of R is 1
    if distance <= 0:
        return 1.0
    lengths = np.square(np.einsum("sd,sd->s", z, z)).sum()
    noise = lengths / (members - 1) ** 2 - total / members  # variance of R, all entries together
    return float(np.clip(noise / distance, LEAST_SHRINKAGE, 1.0))


def _shrunk(z: Array, error: Array, shrinkage: float) -> float:
    """Log-determinant and square of the error under the shrunk correlation matrix."""
    members, dims = z.shape
    inner = (1 - shrinkage) / (members - 1)
    if members >= dims:
        factor = np.linalg.cholesky(shrinkage * np.eye(dims) + inner * (z.T @ z))
        return _log_det(factor) + _square(factor, error)
    # With S x S matrices in place of D x D: det(I + A'A) = det(I + AA'), and Woodbury's identity.
    inner /= shrinkage
    factor = np.linalg.cholesky(np.eye(members) + inner * (z @ z.T))
    square = error @ error - inner * _square(factor, z @ error)
    return dims * np.log(shrinkage) + _log_det(factor) + square / shrinkage


def _log_det(factor: Floats) -> float:
    return float(2 * np.log(np.diagonal(factor)).sum())


def _square(factor: Floats, vector: Array) -> float:
    r"""Square v' A^-1 v for A = LL'."""
    return float(np.square(np.linalg.solve(factor, vector)).sum())
