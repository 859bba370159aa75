"""The reverse chain of one time step, as a forecast runs it at every step of the horizon.

What does not change over the horizon is made once: the steps that are walked, the options of the sampler, the
embeddings of the levels and, if wanted, one compiled function of condition and noise.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, final

import torch
from torch import Tensor

from timediff.config import ModelConfig, SamplingConfig
from timediff.diffusion.process import Denoiser
from timediff.diffusion.samplers.rehearsal import rehearse
from timediff.diffusion.schedule import Schedule
from timediff.diffusion.spacing import respace
from timediff.networks.base import Embedded
from timediff.registry import SAMPLERS
from timediff.timegrad.denoising import LevelCache
from timediff.tools.precision import network_precision

__all__ = [
    "FEW_STEPS",
    "MORE_STEPS",
    "Bind",
    "Compiler",
    "ReverseChains",
    "compile_chain",
    "network_calls",
    "sampler_options",
    "steps_taken",
    "walk",
]

#: Diffusion steps that cost no score against 100 (evaluation/few_steps.py): by Adams-Bashforth, by others.
FEW_STEPS, MORE_STEPS = 3, 6
#: Makes the denoiser of one chain under conditions ``[R, cond_size]``.
Bind = Callable[[Tensor, LevelCache], Denoiser]
#: Gives a compiled chain of a model: `compile_chain`, or a memory of what it gave.
Compiler = Callable[[Any, Schedule, SamplingConfig], Callable[..., Tensor]]


def steps_taken(sampling: SamplingConfig, schedule: Schedule) -> int:
    """How many steps of the chain a sampler takes."""
    few = FEW_STEPS if sampling.sampler == "adams-bashforth" else MORE_STEPS
    return sampling.steps or min(few, schedule.num_steps)


def walk(sampling: SamplingConfig, schedule: Schedule) -> Schedule:
    """The steps of the chain that a sampler takes."""
    return respace(schedule, steps_taken(sampling, schedule), spacing=sampling.spacing)


def sampler_options(sampling: SamplingConfig, config: ModelConfig) -> dict[str, Any]:
    """The keyword arguments of the sampler: its options, and what it reads of the model's configuration."""
    known = {**config._asdict(), **(sampling.options or {})}
    return {name: known[name] for name in SAMPLERS.options(sampling.sampler) if name in known}


def network_calls(sampling: SamplingConfig, config: ModelConfig, schedule: Schedule) -> int:
    """Calls of the network that one time step takes."""
    options = sampler_options(sampling, config)
    calls = rehearse(SAMPLERS[sampling.sampler], walk(sampling, schedule), **options).calls
    return calls * (2 if sampling.guidance else 1)


@final
class ReverseChains:
    """Draws one time step of all paths after another.

    Args:
        model: With ``schedule``, ``config``, ``levels`` and ``conditional``, a
            `timediff.timegrad.model.TimeGrad`.
        sampling: How paths are drawn.
        compiler: Where a compiled chain comes from.
    """

    def __init__(self, model: Any, sampling: SamplingConfig, compiler: Compiler) -> None:
        self.schedule, self.sampling = walk(sampling, model.schedule), sampling
        options = sampler_options(sampling, model.config)
        self.run = partial(SAMPLERS[sampling.sampler], **options)
        self.levels: LevelCache = model.levels(model.schedule)
        self.levels.embed(self.schedule.points[1:])
        self.bind: Bind = partial(model.conditional, guidance=sampling.guidance)
        #: Noise tensors that a chain takes, known once it is compiled.
        self.draws = 0
        self.compiled: Callable[..., Tensor] | None = None
        if sampling.compile:
            self.compiled = compiler(model, model.schedule, sampling)
            self.draws = self._rehearse(model.config.cond_size)

    def __call__(self, cond: Tensor, noise: Callable[[], Tensor]) -> Tensor:
        """Scaled values of the time step, ``[R, D]``.

        Args:
            cond: ``[R, cond_size]``.
            noise: Gives the next standard normal tensor ``[R, D]``.
        """
        with network_precision(self.sampling.precision, cond.device):
            if self.compiled is None:
                start = self.schedule.prior_std * noise()
                return self.run(self.bind(cond, self.levels), self.schedule, start, noise)
            # Each call may overwrite what the one before gave.
            drawn = [noise().clone() for _ in range(self.draws)]
            return self.compiled(cond, self.levels.single, drawn)

    def _rehearse(self, cond_size: int) -> int:
        """Runs a chain of one row, which embeds all its levels, and says how often it asks for noise."""
        row = torch.zeros_like(self.levels.like[None])
        asked = []

        def noise() -> Tensor:
            asked.append(1)
            return row

        denoiser = self.bind(row.new_zeros(1, cond_size), self.levels)
        self.run(denoiser, self.schedule, noise(), noise)
        return len(asked)


def compile_chain(
    model: Any, schedule: Schedule, sampling: SamplingConfig
) -> Callable[..., Tensor]:
    """A chain as one graph, worth keeping with its model: compiling takes longer than most forecasts."""
    walked = walk(sampling, schedule)
    run = partial(SAMPLERS[sampling.sampler], **sampler_options(sampling, model.config))

    def chain(cond: Tensor, embedded: dict[float, Embedded], drawn: list[Tensor]) -> Tensor:
        levels = LevelCache(model.denoiser, schedule, like=cond)
        levels.single = embedded
        denoiser = model.conditional(cond, levels, guidance=sampling.guidance)
        rest = iter(drawn)
        return run(denoiser, walked, walked.prior_std * next(rest), lambda: next(rest))

    # On a GPU as a CUDA graph: one launch for the whole chain.
    mode = "reduce-overhead" if schedule.beta.is_cuda else "default"
    return torch.compile(chain, mode=mode, dynamic=False)
