r"""The correlation of very many series, from the rows that it is made of and without a matrix ``[D, D]``.

With rows X ``[N, D]``, each series divided by its size, the correlation is :math:`R = X^\top X`. Its leading
modes are right singular vectors of X, and as its diagonal is 1, what all other modes have together is D less
what these have. Time and memory are proportional to D.

Source of the decomposition: Halko, Martinsson & Tropp (2011), arXiv:0909.4061 (`torch.svd_lowrank`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from timediff.timegrad.correlation import SHRINKAGE, Correlation, mode_count
from timediff.tools.seeding import seeded

__all__ = ["WIDE", "correlation_of_rows"]

#: Series up to which matrices ``[D, D]`` are made: these are exact, and quick as long as they are small.
WIDE = 1000
#: Columns of the sketch beside the modes, and passes over the rows that refine it.
_MORE, _PASSES = 16, 8


def correlation_of_rows(rows: Tensor) -> Correlation:
    """`correlation` of the covariance ``rows.T @ rows``, up to what a sketch leaves out.

    Args:
        rows: ``[N, D]``, 0 where unknown.
    """
    dim = rows.shape[1]
    count = mode_count(dim)
    size = torch.linalg.vector_norm(rows, dim=0)
    # A series that is nothing but zeros hangs together with no other; it is in what the modes leave.
    rows = rows / size.clamp(min=1e-9)
    width = min(count + _MORE, dim)
    rows = F.pad(rows, (0, 0, 0, max(width - len(rows), 0)))
    with seeded(0):
        _, sizes, vectors = torch.svd_lowrank(rows, q=width, niter=_PASSES)
    values = (1 - SHRINKAGE) * sizes[:count].double().cpu().square() + SHRINKAGE
    rest = (dim - values.sum()) / (dim - count) if count < dim else values.new_ones(())
    variances = torch.cat([values, rest[None]]).clamp(min=1e-4)
    dtype = torch.get_default_dtype()
    return Correlation(vectors[:, :count].to("cpu", dtype), variances.to(dtype))
