"""The reverse chain with Langevin steps at every level."""

import math

from torch import Tensor

from timediff.diffusion.process import Denoiser
from timediff.diffusion.samplers.ancestral import Noise, _mean, _with_noise
from timediff.diffusion.samplers.exponential import require
from timediff.diffusion.samplers.langevin import CORRECTIONS, langevin_step
from timediff.diffusion.schedule import Schedule


def predictor_corrector(
    denoiser: Denoiser,
    schedule: Schedule,
    x: Tensor,
    noise: Noise,
    *,
    corrections: int = CORRECTIONS,
    snr: float = 0.16,
    variance: str = "small",
) -> Tensor:
    """`ancestral` with Langevin steps at every level it comes to, clean data excepted, ``[..., D]``.

    Source: Song et al. (2021), arXiv:2011.13456, algorithms 2 and 3.

    Args:
        corrections: Langevin steps at each level.
        snr: r of `langevin_step`, below 1.
        variance: As in `ancestral`.
    """
    require("corrections", corrections, 0, math.inf)
    require("snr", snr, 0, 1)
    for n in range(schedule.num_steps, 0, -1):
        prediction = denoiser(x, schedule.points[n])
        mean = _mean(schedule, prediction, x, n)
        x = _with_noise(schedule, prediction, mean, n, noise, variance=variance)
        for _ in range(corrections if n > 1 else 0):
            x = langevin_step(denoiser, schedule.points[n - 1], x, noise, snr=snr)
    return x
