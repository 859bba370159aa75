"""A correlation matrix as a few modes and one variance for the rest.

Axes: ``D`` series, ``M`` modes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["MODES", "SHRINKAGE", "Correlation", "correlation", "mode_count"]

#: Modes that are kept, at most.
MODES = 32
#: Weight of independence in correlations.
SHRINKAGE = 0.1


def mode_count(dim: int) -> int:
    """M."""
    return min(dim, MODES)


class Correlation(NamedTuple):
    """A correlation matrix as its leading modes and one variance for all that they leave.

    Attributes:
        modes: Orthonormal, ``[D, M]``.
        variances: Of the modes, and of what they leave, ``[M + 1]``.
    """

    modes: Tensor
    variances: Tensor


def correlation(covariance: Tensor) -> Correlation:
    """The correlation of a covariance ``[D, D]``, shrunk by `SHRINKAGE`."""
    dim, count = len(covariance), mode_count(len(covariance))
    matrix = covariance.double().cpu()
    size = matrix.diagonal().clamp(min=0).sqrt().clamp(min=1e-9)
    matrix = matrix / size / size[:, None]
    # A series that is nothing but zeros hangs together with no other.
    matrix.diagonal().fill_(1.0)
    matrix = (1 - SHRINKAGE) * matrix + SHRINKAGE * torch.eye(dim).double()
    values, vectors = torch.linalg.eigh(matrix)
    values, vectors = values.flip(0), vectors.flip(1)
    rest = values[count:].mean() if count < dim else values.new_ones(())
    variances = torch.cat([values[:count], rest[None]]).clamp(min=1e-4)
    dtype = torch.get_default_dtype()
    return Correlation(vectors[:, :count].to(dtype), variances.to(dtype))
