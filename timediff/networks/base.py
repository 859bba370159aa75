r"""The networks :math:`f_\theta(x_n, \text{level}, \text{cond})` that see one time step's noised vector of
targets. What their output stands for (noise, clean data, ...) is `timediff.diffusion.parameterisation`'s
business.

What stays the same while ``x`` changes is prepared outside the loop over diffusion steps: ``embed_level`` is
called once per forecast, ``under`` once per time step, and the `Network` it returns at every diffusion step.

Shapes: ``x [..., inputs * D]``, ``cond [..., C]``; a level is ``[...]`` or a scalar shared by all rows; the
outputs are ``[..., D]`` each. A second input is the network's earlier estimate (self-conditioning), a second
output the variance.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from timediff.diffusion.schedule import Level

__all__ = ["DenoisingNetwork", "Embedded", "LevelWaves", "Network"]

#: Features of a noise level in the parts that a network asks for, ``[..., E]`` each.
Embedded = tuple[Tensor, ...]


#: ``network(x, level)``: its outputs, ``[..., D]`` each, from ``x`` and an embedded level.
Network = Callable[[Tensor, Embedded], tuple[Tensor, ...]]


class DenoisingNetwork(nn.Module, ABC):
    """Interface of the networks."""

    #: Approximate count of numbers that a row takes while it passes through, for planning memory.
    floats_per_row: int

    @abstractmethod
    def embed_level(self, level: Level) -> Embedded:
        """Features of the noise level."""

    @abstractmethod
    def under(self, cond: Tensor) -> Network:
        """The network under the conditions ``[..., C]``, one for each row or a single one for all."""

    def forward(self, x: Tensor, level: Embedded, cond: Tensor) -> tuple[Tensor, ...]:
        """The outputs, ``[..., D]`` each, from ``x``, an embedded level and a condition."""
        return self.under(cond)(x, level)


class LevelWaves(nn.Module):
    """Sinusoids of the log-SNR, wavelengths 40 to 0.6 as it runs over about -6 .. 10: ``[..., size]``."""

    frequencies: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequencies", 0.15 * 2.0 ** (torch.arange(13) / 2), persistent=False)
        self.size = 2 * len(self.frequencies)

    def forward(self, level: Level) -> Tensor:
        phase = level.log_snr[..., None] * self.frequencies
        return torch.cat([phase.sin(), phase.cos()], dim=-1)
