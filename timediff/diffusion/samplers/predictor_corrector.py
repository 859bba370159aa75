"""The reverse chain with Langevin steps at every level."""

from typing import Annotated

from torch import Tensor

from timediff.diffusion.process import Denoiser
from timediff.diffusion.samplers.ancestral import Noise, _mean, _with_noise
from timediff.diffusion.samplers.langevin import langevin_step
from timediff.diffusion.schedule import Schedule
from timediff.options import Between, within_limits

__all__ = ["predictor_corrector"]


@within_limits
def predictor_corrector(
    denoiser: Denoiser,
    schedule: Schedule,
    x: Tensor,
    noise: Noise,
    *,
    corrections: Annotated[int, Between(0)] = 1,
    snr: Annotated[float, Between(0, 1, without="both")] = 0.16,
    variance: str = "small",
) -> Tensor:
    """Clean data by `ancestral` with Langevin steps at every noisy level it comes to, ``[..., D]``.

    Source: Song et al. (2021), arXiv:2011.13456, algorithms 2 and 3.

    Args:
        corrections: Langevin steps at each level.
        snr: Size of a Langevin step relative to the noise, r of `langevin_step`.
        variance: As in `ancestral`.
    """
    for n in range(schedule.num_steps, 0, -1):
        prediction = denoiser(x, schedule.points[n])
        mean = _mean(schedule, prediction, x, n)
        x = _with_noise(schedule, prediction, mean, n, noise, variance=variance)
        for _ in range(corrections if n > 1 else 0):
            x = langevin_step(denoiser, schedule.points[n - 1], x, noise, snr=snr)
    return x
