"""DPM-Solver++ on the reverse ODE and SDE."""

from typing import Annotated

from torch import Tensor

from timediff.diffusion.process import Denoiser
from timediff.diffusion.samplers.ancestral import Noise
from timediff.diffusion.samplers.exponential import multistep
from timediff.diffusion.schedule import Schedule
from timediff.options import Between, within_limits

__all__ = ["dpm_solver", "sde_dpm_solver"]


@within_limits
def dpm_solver(
    denoiser: Denoiser,
    schedule: Schedule,
    x: Tensor,
    noise: Noise,
    *,
    order: Annotated[int, Between(1, 3)] = 2,
) -> Tensor:
    """Clean data by DPM-Solver++ on the probability-flow ODE, ``[..., D]``.

    Multistep, of order 1 (which is `ddim`), 2 or 3.

    Source: Lu et al. (2022), arXiv:2211.01095, algorithm 2; see `timediff.diffusion.samplers.exponential`.

    Args:
        order: Of a step, 1 to 3.
    """
    return multistep(denoiser, schedule, x, noise, order=order, rate=1)


@within_limits
def sde_dpm_solver(
    denoiser: Denoiser,
    schedule: Schedule,
    x: Tensor,
    noise: Noise,
    *,
    order: Annotated[int, Between(1, 3)] = 2,
) -> Tensor:
    """Clean data by DPM-Solver++ on the reverse SDE, ``[..., D]``.

    Multistep, with a drift of order 1 to 3; order 1 is `ddim` with ``eta = 1``.
    Source: Lu et al. (2022), arXiv:2211.01095, section 5; see `exponential_step`.

    Args:
        order: Of the drift of a step, 1 to 3.
    """
    return multistep(denoiser, schedule, x, noise, order=order, rate=2)
