"""By the mean size of the window."""

import torch
from torch import Tensor

from timediff.timegrad.normalisation.base import ROUNDING, is_narrow
from timediff.timegrad.normalisation.std import std_scale

__all__ = ["mean_scale"]


def mean_scale(x: Tensor, observed: Tensor, default: Tensor) -> tuple[Tensor, Tensor]:
    r"""No shift; scale :math:`\frac{1}{|O|} \sum_{t \in O} |x_t|` (Salinas et al. 2020, eq. 4).

    Series that hardly leave their level (`is_narrow`), of which this would leave 1 everywhere, are
    standardised by their window.
    """
    x = x.double()
    count = observed.sum(dim=1, keepdim=True)
    scale = (x.abs() * observed).sum(dim=1, keepdim=True) / count.clamp(min=1)
    typical = (default[0].square() + default[1].square()).sqrt()
    scale = torch.where(scale > ROUNDING * typical, scale, typical)
    narrow, (loc, spread) = is_narrow(default), std_scale(x, observed, default)
    return torch.where(narrow, loc, 0.0), torch.where(narrow, spread, scale)
