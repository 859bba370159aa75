r"""Samplers: from noise at the last level of a schedule back to data at its first.

Every sampler is a function ``name(denoiser, schedule, x, noise, *, options) -> x0`` listed in `SAMPLERS`:

- ``denoiser(x, level) -> Prediction``, all that is seen of the network, with ``level`` in floats;
- ``schedule``, the chain to walk, already respaced (`timediff.diffusion.spacing.respace`);
- ``x``, the start at level N, ``[..., D]``: standard normal noise times ``schedule.prior_std``;
- ``noise()``, the next standard normal tensor like ``x``. Randomness is the caller's.

With clean data :math:`x_0` and noise :math:`\epsilon` predicted at level n, the chain goes on to level n - 1.
`ancestral` and `ddim` draw from a posterior; `dpm_solver`, `sde_dpm_solver` and `heun` solve the reverse
equations that Song et al. (2021), arXiv:2011.13456, eqs. 6 and 13, derive; `langevin` moves within a level.
In the coordinates :math:`y = x / \alpha,\ \rho = \sigma / \alpha` every process is the same, so all of them
serve VP, sub-VP and VE chains alike.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from timediff.diffusion.samplers.ancestral import ancestral
from timediff.diffusion.samplers.ddim import ddim
from timediff.diffusion.samplers.dpm_solver import dpm_solver, sde_dpm_solver
from timediff.diffusion.samplers.heun import heun
from timediff.diffusion.samplers.langevin import CORRECTIONS, langevin
from timediff.diffusion.samplers.predictor_corrector import predictor_corrector


class Sampler(NamedTuple):
    """An entry of `SAMPLERS`.

    Attributes:
        run: The sampler itself.
        calls: ``calls(num_steps, **options)``, how often it calls the network on a chain of that many steps
            that ends in clean data.
    """

    run: Callable[..., Tensor]
    calls: Callable[..., int]

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the keyword options of `run`."""
        parameters = inspect.signature(self.run).parameters.values()
        return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)


def _one_each(num_steps: int, **options: Any) -> int:
    return num_steps


def _heun_calls(num_steps: int, **options: Any) -> int:
    return 2 * num_steps - 1


def _langevin_calls(num_steps: int, *, corrections: int = CORRECTIONS, **options: Any) -> int:
    return corrections * num_steps + 1


def _corrected_calls(num_steps: int, *, corrections: int = CORRECTIONS, **options: Any) -> int:
    return num_steps + corrections * (num_steps - 1)


#: All of them; `timediff.config`, which must not import torch, repeats the names for the command line.
SAMPLERS = {
    "ancestral": Sampler(ancestral, _one_each),
    "ddim": Sampler(ddim, _one_each),
    "dpm++": Sampler(dpm_solver, _one_each),
    "sde-dpm++": Sampler(sde_dpm_solver, _one_each),
    "heun": Sampler(heun, _heun_calls),
    "langevin": Sampler(langevin, _langevin_calls),
    "predictor-corrector": Sampler(predictor_corrector, _corrected_calls),
}
