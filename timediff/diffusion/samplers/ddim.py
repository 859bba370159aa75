"""Denoising diffusion implicit models."""

import math
from typing import Annotated

from torch import Tensor

from timediff.diffusion.parameterisation import mix
from timediff.diffusion.process import Denoiser
from timediff.diffusion.samplers.ancestral import Noise
from timediff.diffusion.schedule import Schedule
from timediff.options import Between, within_limits

__all__ = ["ddim"]


@within_limits
def ddim(
    denoiser: Denoiser,
    schedule: Schedule,
    x: Tensor,
    noise: Noise,
    *,
    eta: Annotated[float, Between(0, 1)] = 0.0,
) -> Tensor:
    r"""Clean data by the denoising diffusion implicit model, ``[..., D]``.

    .. math:: x_{n-1} = \alpha_{n-1} \hat x_0 + \sqrt{\sigma_{n-1}^2 - s_n^2}\, \hat\epsilon + s_n z, \qquad
        s_n^2 = \eta^2\, \tilde\beta_n

    ``eta = 0`` is deterministic, ``eta = 1`` is `ancestral` with the small variance.
    Source: Song et al. (2021), arXiv:2010.02502, eqs. 12 and 16, whose alpha is our alpha squared.

    Args:
        eta: Noise, from 0 (none) to 1 (as much as "ancestral").
    """
    for n in range(schedule.num_steps, 0, -1):
        prediction = denoiser(x, schedule.points[n])
        end, variance = schedule.points[n - 1], eta**2 * schedule.floats["posterior_variance"][n]
        of_eps = math.sqrt(max(end.sigma**2 - variance, 0.0))
        x = mix(end.alpha, prediction.x0, of_eps, prediction.eps)
        if variance > 0:
            x = x + math.sqrt(variance) * noise()
    return x
