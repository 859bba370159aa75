"""No normalisation."""

import torch
from torch import Tensor

from timediff.timegrad.normalisation.base import NARROW, is_narrow
from timediff.timegrad.normalisation.std import std_scale

__all__ = ["no_scale"]


def no_scale(x: Tensor, observed: Tensor, default: Tensor) -> tuple[Tensor, Tensor]:
    """The data as it is, which should be of size 1.

    Series whose spread a network could not tell, in units of their level (`is_narrow`) or of 1, are
    standardised by their window.
    """
    narrow, (loc, scale) = (
        is_narrow(default) | (default[1] <= NARROW),
        std_scale(x, observed, default),
    )
    return torch.where(narrow, loc, 0.0), torch.where(narrow, scale, 1.0)
