"""What a sampler asks for on its way, counted without a network."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from timediff.diffusion.parameterisation import Prediction
from timediff.diffusion.schedule import Level, Schedule

__all__ = ["Rehearsal", "rehearse"]


class Rehearsal(NamedTuple):
    """Counts of what a sampler asks for on a chain.

    Attributes:
        calls: Predictions of the denoiser.
        draws: Tensors of noise, the start included.
    """

    calls: int
    draws: int


def rehearse(sampler: Callable[..., Tensor], schedule: Schedule, **options: Any) -> Rehearsal:
    """Counts of a sampler's calls and draws on the way of a single number that is predicted to be 0.

    Args:
        sampler: One of `timediff.registry.SAMPLERS`.
        schedule: The chain that it walks.
        options: Options of the sampler.
    """
    levels: list[Level] = []
    draws: list[Tensor] = []
    zero = torch.zeros(1, 1)

    def denoiser(x: Tensor, level: Level) -> Prediction:
        levels.append(level)
        return Prediction(zero, zero, zero)

    def noise() -> Tensor:
        draws.append(zero)
        return torch.zeros(1, 1)

    sampler(denoiser, schedule, noise(), noise, **options)
    return Rehearsal(len(levels), len(draws))
