"""By the mean size of the window."""

import torch
from torch import Tensor

from timediff.timegrad.normalisation.base import ROUNDING

__all__ = ["mean_scale"]


def mean_scale(x: Tensor, observed: Tensor, default: Tensor) -> tuple[Tensor, Tensor]:
    r"""No shift; scale :math:`\frac{1}{|O|} \sum_{t \in O} |x_t|` (Salinas et al. 2020, eq. 4)."""
    count = observed.sum(dim=1, keepdim=True)
    scale = (x.abs() * observed).sum(dim=1, keepdim=True) / count.clamp(min=1)
    typical = (default[0].square() + default[1].square()).sqrt()
    return torch.zeros_like(scale), torch.where(scale > ROUNDING * 1e-4 * typical, scale, typical)
