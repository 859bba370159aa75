"""By mean and standard deviation of the training data."""

import torch
from torch import Tensor

from timediff.timegrad.normalisation.base import is_flat, rounding
from timediff.timegrad.normalisation.std import std_scale

__all__ = ["global_scale", "training_default"]


def global_scale(x: Tensor, observed: Tensor, default: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the training data; where these were constant, over the window."""
    flat, (loc, scale) = is_flat(default), std_scale(x, observed, default)
    return torch.where(flat, loc, default[0]), torch.where(flat, scale, default[1])


def training_default(x: Tensor, observed: Tensor) -> Tensor:
    """Location and scale of each dimension over all training data, float64 ``[2, D]``, scale above zero.

    Constant dimensions have the rounding of their own values as scale. Those never observed have no values of
    their own: the median scale of the others.

    Args:
        x: All training steps, ``[T, D]``.
        observed: Which of them count, ``[T, D]``.
    """
    x = x.double()
    count = observed.sum(dim=0)
    loc = (x * observed).sum(dim=0) / count.clamp(min=1)
    scale = (((x - loc) * observed).square().sum(dim=0) / count.clamp(min=1)).sqrt()
    scale = torch.maximum(scale, rounding(loc))
    seen = count > 0
    return torch.stack([loc, torch.where(seen, scale, scale[seen].median() if seen.any() else 1.0)])
