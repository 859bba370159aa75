"""What a sampler asks for on its way, counted without a network."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from timediff.diffusion.parameterisation import Prediction
from timediff.diffusion.schedule import Level, Schedule


class Rehearsal(NamedTuple):
    """How often a sampler asks for something on a chain.

    Attributes:
        calls: For a prediction of the denoiser.
        draws: For noise, its own start included.
    """

    calls: int
    draws: int


def rehearse(sampler: Callable[..., Tensor], schedule: Schedule, **options: Any) -> Rehearsal:
    """What a sampler asks for, counted on the way of a single number that is predicted to be 0.

    Args:
        sampler: One of `timediff.registry.SAMPLERS`.
        schedule: The chain that it walks.
        options: Its own.
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
