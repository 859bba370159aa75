"""No normalisation."""

import torch
from torch import Tensor

from timediff.timegrad.normalisation.base import NARROW, is_narrow
from timediff.timegrad.normalisation.std import std_scale

__all__ = ["no_scale"]


def no_scale(x: Tensor, observed: Tensor, default: Tensor) -> tuple[Tensor, Tensor]:
    """The data as it is, which should be of size 1.

    Series that a network could not tell are standardised by their window: whose spread is lost in their level
    (`is_narrow`) or in units of 1, or which are far beyond these.
    """
    spread, size = default[1], abs(default[0]) + default[1]
    strange = is_narrow(default) | (spread <= NARROW) | (size >= 1 / NARROW)
    loc, scale = std_scale(x, observed, default)
    return torch.where(strange, loc, 0.0), torch.where(strange, scale, 1.0)
