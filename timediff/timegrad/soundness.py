"""Whether the numbers of a model can make a forecast: all finite, scales above zero."""

from collections.abc import Iterator

import numpy as np
import torch

from timediff.timegrad.batch import Shape
from timediff.timegrad.model import TimeGrad
from timediff.tools.numbers import LARGEST_VALUE

__all__ = ["first_fault"]

#: Tensors that values are divided by, or whose roots are taken.
_POSITIVE = ("innovations.size", "innovations.step_size", "denoiser.variances")


def first_fault(model: TimeGrad) -> str | None:
    """The first fault of a model whose numbers no forecast can be made with, in words; None without one."""
    largest = torch.finfo(torch.float32).max
    for name, value in model.state_dict().items():
        if name == "support.bounds":
            if not bool((value[0] <= value[1]).all()):
                return f"{name} are not in order"
            # Infinity is no bound, on its own side.
            if bool((value[0] >= LARGEST_VALUE).any() or (value[1] <= -LARGEST_VALUE).any()):
                return f"{name} are beyond all data"
        elif value.is_floating_point() and value.numel():
            low, high = (
                value.aminmax()
            )  # NaN where any is; one pass, as past errors are many numbers
            if not bool((-low <= largest) & (high <= largest)):
                return f"{name} holds NaN or infinity"
        scale = value[1] if name == "training_scale" else value if name in _POSITIVE else None
        if scale is not None and not bool((scale > 0).all()):
            return f"{name} holds a scale that is not above zero"
    return next(_of_shape(model.shape), None)


def _of_shape(shape: Shape) -> Iterator[str]:
    largest = torch.finfo(torch.float32).max
    numbers = {"spread": shape.spread, "half-lives": [shape.half_life, shape.scale_half_life]}
    for covariate in shape.covariates:
        where = f"of {covariate.field}, row {covariate.row}"
        numbers[f"location {where}"], numbers[f"scale {where}"] = (
            covariate.location,
            covariate.scale,
        )
        numbers[f"change {where}"] = covariate.change
    for name, values in numbers.items():
        if not (np.abs(values) <= largest).all():
            yield f"{name} holds NaN or infinity"
        positive = name in ("spread", "half-lives")
        if (positive and min(values, default=1) <= 0) or (
            "scale" in name and min(values, default=0) < 0
        ):
            yield f"{name} holds a scale that is not above zero"
