"""Heun's method on the probability-flow ODE."""

import math
from typing import Annotated

from torch import Tensor

from timediff.diffusion.process import Denoiser
from timediff.diffusion.samplers.ancestral import Noise
from timediff.diffusion.schedule import Level, Schedule
from timediff.options import Between, within_limits

__all__ = ["heun"]


@within_limits
def heun(
    denoiser: Denoiser,
    schedule: Schedule,
    x: Tensor,
    noise: Noise,
    *,
    churn: Annotated[float, Between(0)] = 0.0,
) -> Tensor:
    r"""Clean data by Heun's method on the probability-flow ODE, ``[..., D]``.

    The ODE is :math:`dy / d\rho = \hat\epsilon`, its step

    .. math:: y' = y + \tfrac12 (\rho_{n-1} - \rho_n) (\hat\epsilon_n + \hat\epsilon_{n-1})

    and Euler's on the step to clean data. Churn first adds noise up to :math:`\rho (1 + \gamma)`,
    :math:`\gamma = \min(churn / N, \sqrt 2 - 1)`. It stops at the last level, above which no network was
    trained. Source: Karras et al. (2022), arXiv:2206.00364, algorithms 1 and 2.

    Args:
        churn: Noise put back in over the whole chain; 0 for none.
    """
    gamma = min(churn / schedule.num_steps, math.sqrt(2) - 1)
    for n in range(schedule.num_steps, 0, -1):
        start, end = schedule.points[n], schedule.points[n - 1]
        if gamma > 0 and n < schedule.num_steps:
            log_snr = start.log_snr - 2 * math.log1p(gamma)
            raised = schedule.at(max(log_snr, schedule.points[-1].log_snr))
            factor, step = _units(start, raised)
            x = factor * x + math.sqrt(step * (raised.sigma + factor * start.sigma)) * noise()
            start = raised
        factor, step = _units(start, end)
        slope = denoiser(x, start).eps
        x_end = factor * x + step * slope
        if end.sigma > 0:
            slope = 0.5 * (slope + denoiser(x_end, end).eps)
            x_end = factor * x + step * slope
        x = x_end
    return x


def _units(start: Level, end: Level) -> tuple[float, float]:
    r"""Factors :math:`\alpha_t / \alpha_s` of x and :math:`\alpha_t (\rho_t - \rho_s)` of the noise.

    With them a step of y is one of x; y itself may overflow.
    """
    factor = end.alpha / start.alpha
    return factor, end.sigma - factor * start.sigma
