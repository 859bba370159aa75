"""By mean and standard deviation of the training data."""

import torch
from torch import Tensor

from timediff.timegrad.normalisation.base import ROUNDING

__all__ = ["global_scale", "training_default"]


def global_scale(x: Tensor, observed: Tensor, default: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the training data."""
    shape = (len(x), 1, x.shape[-1])
    return default[0].expand(shape), default[1].expand(shape)


def training_default(x: Tensor, observed: Tensor) -> Tensor:
    """Location and scale of each dimension over all training data, ``[2, D]``, scale above zero.

    Constant dimensions get their own size as scale, and dimensions never observed the median of
    the others.

    Args:
        x: All training steps, ``[T, D]``.
        observed: Which of them count, ``[T, D]``.
    """
    x = x.double()
    count = observed.sum(dim=0)
    loc = (x * observed).sum(dim=0) / count.clamp(min=1)
    scale = (((x - loc) * observed).square().sum(dim=0) / count.clamp(min=1)).sqrt()
    scale = torch.where(scale > ROUNDING * loc.abs(), scale, loc.abs())
    usable = (count > 0) & (scale > 0)
    fallback = scale[usable].median() if usable.any() else scale.new_ones(())
    scale = torch.where(usable, scale, fallback)
    return torch.stack([loc, scale]).to(torch.get_default_dtype())
