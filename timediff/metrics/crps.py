"""Continuous ranked probability scores of single entries, and the scores of events that they add up."""

from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from timediff.errors import InputError
from timediff.metrics.arrays import Array, by_entry, check_members, floats

__all__ = [
    "brier_of",
    "brier_score",
    "crps_ensemble",
    "crps_of",
    "tail_crps_of",
    "threshold_weighted_crps",
]


def crps_ensemble(paths: ArrayLike, truth: ArrayLike, *, fair: bool = False) -> Array:
    r"""Continuous ranked probability score of the paths' empirical distribution.

    .. math:: \frac1S \sum_i |x_i - y| - \frac{1}{2 S^2} \sum_{i,j} |x_i - x_j|
        \quad\text{with}\quad
        \frac12 \sum_{i,j} |x_i - x_j| = \sum_i (2i - S - 1)\, x_{(i)}

    This is the V-statistic, as in properscoring: the second sum counts the pairs i = j. The fair
    estimator divides it by :math:`2 S (S - 1)` instead and reads lower: its mean is the score of the
    distribution that the paths are drawn from, whatever S.

    Source: Gneiting and Raftery (2007), eq. 21; Jordan et al. (2019), arXiv:1709.04743, for the sort;
    Ferro (2014), Quarterly Journal of the Royal Meteorological Society 140, for the fair estimator.

    Args:
        paths: Sample paths, ``[..., S, T, D]``.
        truth: What happened, ``[..., T, D]``.
        fair: Whether to take the fair estimator.

    Returns:
        ``[..., T, D]``, NaN where the truth is missing.

    Raises:
        InputError: If a single path is to be scored fairly.
    """
    if fair:
        check_members(floats(paths), 2, "the fair CRPS")
    return by_entry(partial(crps_of, fair=fair), paths, truth)


def threshold_weighted_crps(
    paths: ArrayLike, truth: ArrayLike, *, threshold: ArrayLike, tail: str = "upper"
) -> Array:
    r"""The part of the CRPS beyond a threshold r: proper, and blind to what happens before it.

    .. math:: \int_r^\infty (F(z) - \mathbf 1[y \le z])^2\, dz
        = \mathrm{CRPS}\bigl(\{\max(x_i, r)\},\ \max(y, r)\bigr)

    for the upper tail; the lower one integrates up to r, with minima. Both add up to `crps_ensemble`.

    Source: Gneiting and Ranjan (2011), Journal of Business & Economic Statistics 29;
    Allen, Ginsbourger and Ziegel (2023), arXiv:2202.12732, for the maxima.

    Args:
        paths: Sample paths, ``[..., S, T, D]``.
        truth: What happened, ``[..., T, D]``.
        threshold: r, anything that can be broadcast to the truth, such as ``[D]``.
        tail: ``upper`` or ``lower``.

    Returns:
        ``[..., T, D]``, NaN where the truth is missing.

    Raises:
        InputError: If ``tail`` is neither.
    """
    if tail not in ("upper", "lower"):
        raise InputError(f"the tail of a weighted CRPS is 'upper' or 'lower', but it is {tail!r}")
    return by_entry(partial(tail_crps_of, upper=tail == "upper"), paths, truth, threshold)


def brier_score(paths: ArrayLike, truth: ArrayLike, *, threshold: ArrayLike) -> Array:
    r"""Squared error of the forecast probability of the event that a threshold r is exceeded.

    .. math:: \Bigl(\frac1S \sum_i \mathbf 1[x_i > r] - \mathbf 1[y > r]\Bigr)^2

    Its integral over all r is `crps_ensemble`.

    Source: Brier (1950), halved as is usual for two outcomes.

    Args:
        paths: Sample paths, ``[..., S, T, D]``.
        truth: What happened, ``[..., T, D]``.
        threshold: r, anything that can be broadcast to the truth, such as ``[D]``.

    Returns:
        ``[..., T, D]``, NaN where the truth is missing.
    """
    return by_entry(brier_of, paths, truth, threshold)


def crps_of(ordered: Array, truth: Array, *, fair: bool = False) -> Array:
    """`crps_ensemble` of ordered paths ``[..., S]``."""
    members = ordered.shape[-1]
    errors = ordered - truth[..., None]
    weights = 2.0 * np.arange(1, members + 1) - members - 1
    spread = errors @ (weights / (members * (members - 1 if fair else members)))
    return np.abs(errors, out=errors).mean(axis=-1) - spread


def tail_crps_of(ordered: Array, truth: Array, threshold: Array, *, upper: bool) -> Array:
    cut = np.maximum if upper else np.minimum
    return crps_of(cut(ordered, threshold[..., None]), cut(truth, threshold))


def brier_of(ordered: Array, truth: Array, threshold: Array) -> Array:
    chance = (ordered > threshold[..., None]).mean(axis=-1)
    return np.square(chance - (truth > threshold))
