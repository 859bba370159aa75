"""Location and scale of each dimension, from what was observed. Returned, never stored.

Shapes: ``x [B, T, D]``, ``observed [B, T, D]`` (bool); every function returns ``loc`` and ``scale``,
``[B, 1, D]``. ``default [2, D]`` is the location and scale of the training data: it answers for
dimensions of which the window shows nothing, or nothing but one value. Each row depends on its own
window alone, so a forecast does not change with its neighbours in a batch (the published code takes
the mean over the batch instead).
"""

from collections.abc import Callable

import torch
from torch import Tensor

# A spread below this share of its location is rounding: the dimension counts as constant.
ROUNDING = 1e-6


def mean_scale(x: Tensor, observed: Tensor, default: Tensor) -> tuple[Tensor, Tensor]:
    r"""No shift; scale :math:`\frac{1}{|O|} \sum_{t \in O} |x_t|` (Salinas et al. 2020, eq. 4)."""
    count = observed.sum(dim=1, keepdim=True)
    scale = (x.abs() * observed).sum(dim=1, keepdim=True) / count.clamp(min=1)
    typical = (default[0].square() + default[1].square()).sqrt()
    return torch.zeros_like(scale), torch.where(scale > ROUNDING * 1e-4 * typical, scale, typical)


def std_scale(x: Tensor, observed: Tensor, default: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the observed steps of the window."""
    count = observed.sum(dim=1, keepdim=True)
    loc = (x * observed).sum(dim=1, keepdim=True) / count.clamp(min=1)
    spread = ((x - loc) * observed).square().sum(dim=1, keepdim=True) / count.clamp(min=1)
    scale = spread.sqrt()
    flat = scale <= ROUNDING * loc.abs()
    return torch.where(count > 0, loc, default[0]), torch.where(flat, default[1], scale)


def global_scale(x: Tensor, observed: Tensor, default: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the training data."""
    shape = (len(x), 1, x.shape[-1])
    return default[0].expand(shape), default[1].expand(shape)


def no_scale(x: Tensor, observed: Tensor, default: Tensor) -> tuple[Tensor, Tensor]:
    """The data as it is."""
    loc = x.new_zeros(len(x), 1, x.shape[-1])
    return loc, loc + 1


SCALINGS: dict[str, Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "mean": mean_scale,
    "std": std_scale,
    "global": global_scale,
    "none": no_scale,
}


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
