"""By mean and standard deviation of the window."""

import torch
from torch import Tensor

from timediff.timegrad.normalisation.base import ROUNDING

__all__ = ["std_scale"]


def std_scale(x: Tensor, observed: Tensor, default: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the observed steps of the window."""
    x = x.double()
    count = observed.sum(dim=1, keepdim=True)
    loc = (x * observed).sum(dim=1, keepdim=True) / count.clamp(min=1)
    spread = ((x - loc) * observed).square().sum(dim=1, keepdim=True) / count.clamp(min=1)
    scale = spread.sqrt()
    flat = scale <= ROUNDING * loc.abs()
    return torch.where(count > 0, loc, default[0]), torch.where(flat, default[1], scale)
