r"""Paths ranked anew: another dependence between series, the same distribution of each series.

With the normal scores :math:`v` of the paths' ranks at one step, and the unit vector :math:`u` of the
standard deviations of the series,

.. math:: v' = v + (c - 1)\, (u^\top v)\, u

multiplies the common deviation along the sum by :math:`c`. In each series the path with the k-th smallest
:math:`v'` then gets the k-th smallest value. Values are only exchanged between paths, as in the Schaake
shuffle (Clark et al. 2004, doi:10.1175/1525-7541(2004)005<0243:TSSAMF>2.0.CO;2).

Axes: ``S`` sample paths, ``T`` steps, ``D`` series.
"""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Ranked", "ranked", "reordered"]

Array = NDArray[np.float64]


class Ranked(NamedTuple):
    """Paths of one window taken apart into values and places, each ``[S, T, D]``."""

    ordered: NDArray[np.floating]  # values, ascending over the paths
    scores: Array  # v
    along: Array  # (u' v) u


def ranked(paths: NDArray[np.floating]) -> Ranked:
    """The parts of which `reordered` makes paths, from paths ``[S, T, D]``."""
    normal, count = NormalDist(), len(paths)
    levels = np.array([normal.inv_cdf((k + 0.5) / count) for k in range(count)])
    order = paths.argsort(axis=0, kind="stable")
    scores = np.empty(paths.shape)
    np.put_along_axis(scores, order, levels[:, None, None], axis=0)
    size = paths.std(axis=0, dtype=np.float64)  # [T, D]
    norm = np.sqrt(np.square(size).sum(axis=-1, keepdims=True))
    unit = size / np.where(norm > 0, norm, 1)
    along = np.einsum("std,td->st", scores, unit)[..., None] * unit
    return Ranked(np.sort(paths, axis=0), scores, along)


def reordered(parts: Ranked, factor: float) -> NDArray[np.floating]:
    """Paths with the common deviation along the sum multiplied, ``[S, T, D]``; 1 gives them back."""
    order = (parts.scores + (factor - 1) * parts.along).argsort(axis=0, kind="stable")
    paths = np.empty_like(parts.ordered)
    np.put_along_axis(paths, order, parts.ordered, axis=0)
    return paths
