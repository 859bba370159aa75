"""A network, a level and a condition made into the one thing that losses and samplers call:
``denoiser(x, level) -> Prediction``.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from timediff.config import ModelConfig
from timediff.diffusion.guidance import guided
from timediff.diffusion.parameterisation import Prediction, predict
from timediff.diffusion.schedule import Level, Schedule
from timediff.networks.base import DenoisingNetwork, Embedded
from timediff.networks.wiener import WienerStart
from timediff.registry import NETWORKS
from timediff.timegrad.correlation import mode_count

__all__ = ["ConditionalDenoiser", "LevelCache", "guided_by", "make_network"]


def make_network(config: ModelConfig, target_dim: int) -> DenoisingNetwork:
    """The network with fresh weights. It is given those of these settings that its signature names."""
    network = NETWORKS[config.denoiser]
    settings = {
        "cond_size": config.cond_size,
        "layers": config.denoiser_layers,
        "width": config.denoiser_width,
        "dilation_cycle": config.dilation_cycle,
        "inputs": 2 if config.self_conditioning else 1,
        "outputs": 2 if config.variance == "learned" else 1,
    }
    names = inspect.signature(network).parameters
    made = network(target_dim, **{name: settings[name] for name in settings if name in names})
    if not config.linear:
        return made
    kind = config.parameterisation
    return WienerStart(made, target_dim, modes=mode_count(target_dim), kind=kind)


class LevelCache:
    """What a network makes once and looks up after: embeddings of the empty condition and of noise levels.

    Levels of the chain are embedded together when first asked for by a tensor of steps, those that `embed` is
    told of too, others one by one when a sampler comes by.
    """

    def __init__(self, network: DenoisingNetwork, schedule: Schedule, *, like: Tensor) -> None:
        self.network, self.schedule, self.like = network, schedule, like
        self.single: dict[float, Embedded] = {}
        self.chain: Embedded | None = None
        self.free: ConditionalDenoiser | None = None

    def __call__(self, level: Level) -> Embedded:
        """``[..., E]`` for levels of the chain in tensors, ``[E]`` for a level in floats."""
        if isinstance(level.n, Tensor):
            if self.chain is None:
                n = torch.arange(1, self.schedule.num_steps + 1, device=self.like.device)
                self.chain = self.network.embed_level(self.schedule.level(n))  # [N, E]
            # Not part[at], whose gradient two threads add up in the order that they come by.
            return tuple(F.embedding(level.n - 1, part) for part in self.chain)
        if level.log_snr not in self.single:
            numbers = (self.like.new_tensor(value) for value in level)
            self.single[level.log_snr] = self.network.embed_level(Level(*numbers))
        return self.single[level.log_snr]

    def embed(self, points: Sequence[Level]) -> None:
        """Makes ready for these levels in floats, all at once."""
        columns = (self.like.new_tensor(column) for column in zip(*points, strict=True))
        parts = [part.unbind() for part in self.network.embed_level(Level(*columns))]
        for point, *embedded in zip(points, *parts, strict=True):
            self.single[point.log_snr] = tuple(embedded)

    def unconditional(self, config: ModelConfig) -> "ConditionalDenoiser":
        """The network under the empty condition, one row for all."""
        if self.free is None:
            empty = self.like.new_zeros(1, config.cond_size)
            self.free = ConditionalDenoiser(self.network, config, self, empty)
        return self.free


class ConditionalDenoiser:
    """The network under the conditions of one chain, as losses and samplers see it.

    The network itself always works in variance-preserving units, so that the inputs of one trained on any
    process are of unit size: x comes in divided by the level's norm. (Karras et al. 2022, arXiv:2206.00364,
    section 5, on why.)

    Args:
        network: What is called.
        config: What its output stands for.
        levels: Embeddings of the levels.
        cond: The conditions, ``[..., cond_size]``; one row may serve all.
    """

    def __init__(
        self, network: DenoisingNetwork, config: ModelConfig, levels: LevelCache, cond: Tensor
    ) -> None:
        self.network, self.levels = network.under(cond), levels
        self.kind, self.self_conditioning = config.parameterisation, config.self_conditioning
        self.preserves_variance = levels.schedule.preserves_variance

    def __call__(self, x: Tensor, level: Level, previous: Tensor | None = None) -> Prediction:
        """The prediction at ``x [..., D]``, given the estimate of the call before (zeros at first)."""
        if not self.preserves_variance:
            norm = level.norm
            x = x / (norm[..., None] if isinstance(norm, Tensor) else norm)
            level = Level(level.log_snr, level.alpha / norm, level.sigma / norm, level.n)
        inputs = x
        if self.self_conditioning:
            inputs = torch.cat([x, torch.zeros_like(x) if previous is None else previous], dim=-1)
        value, *raw = self.network(inputs, self.levels(level))
        if value.dtype != x.dtype:
            # Under autocast the network answers in bf16, too coarse for what is made of the answer.
            value, *raw = (out.to(x.dtype) for out in (value, *raw))
        # Half way between the bounds where the network says nothing; not confined, as in the authors' code.
        return predict(value, x, level, kind=self.kind, tilt=raw[0] if raw else None)


def guided_by(
    own: ConditionalDenoiser, free: ConditionalDenoiser, *, scale: float
) -> Callable[..., Prediction]:
    """`timediff.diffusion.guidance.guided` of two networks that both see the estimate of the call before."""

    def denoiser(x: Tensor, level: Level, previous: Tensor | None = None) -> Prediction:
        one, other = (partial(each, previous=previous) for each in (own, free))
        return guided(one, other, scale=scale)(x, level)

    return denoiser
