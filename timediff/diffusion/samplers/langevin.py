"""Annealed Langevin dynamics, and its step within a level."""

from typing import Annotated

from torch import Tensor

from timediff.diffusion.process import Denoiser
from timediff.diffusion.samplers.ancestral import Noise
from timediff.diffusion.schedule import Level, Schedule
from timediff.options import Between, within_limits

__all__ = ["langevin", "langevin_step"]


@within_limits
def langevin(
    denoiser: Denoiser,
    schedule: Schedule,
    x: Tensor,
    noise: Noise,
    *,
    corrections: Annotated[int, Between(1)] = 1,
    snr: Annotated[float, Between(0, 1, without="both")] = 0.5,
) -> Tensor:
    r"""Clean data by annealed Langevin dynamics, ``[..., D]``.

    `langevin_step` at each level N .. 1, then the denoiser's estimate.

    From level to level only the units change, :math:`x_{n-1} = (\alpha_{n-1} / \alpha_n)\, x_n`; the noise
    in excess is left to the steps, each of which leaves :math:`1 - 2 r^2` of it. They must keep up with
    :math:`\sigma / \alpha`, which falls by a factor of a thousand along the default chain: this sampler needs
    many levels or corrections and, with one correction, more than the r = 0.22 of Song & Ermon with 100.

    Source: Song & Ermon (2019), arXiv:1907.05600, algorithm 1. The last denoising:
    Jolicoeur-Martineau et al. (2021), arXiv:2009.05475.

    Args:
        corrections: Langevin steps at each level.
        snr: Size of a Langevin step relative to the noise, r of `langevin_step`.
    """
    for n in range(schedule.num_steps, 0, -1):
        level, end = schedule.points[n], schedule.points[n - 1]
        for _ in range(corrections):
            x = langevin_step(denoiser, level, x, noise, snr=snr)
        if n > 1:
            x = (end.alpha / level.alpha) * x
    prediction = denoiser(x, level)
    return end.alpha * prediction.x0 + end.sigma * prediction.eps


def langevin_step(
    denoiser: Denoiser, level: Level, x: Tensor, noise: Noise, *, snr: float
) -> Tensor:
    r"""Data after one Langevin step within a level, ``[..., D]``.

    .. math:: x' = x + \delta \nabla \log q(x) + \sqrt{2\delta}\, z, \qquad \delta = 2 (r \sigma)^2

    Song et al. choose :math:`\delta = 2 (r\, \|z\| / \|\nabla \log q\|)^2`, times :math:`1 - \beta_n` for VP,
    with norms averaged over the batch. A path would then depend on its neighbours, so here are the norms
    expected for data that is a point, :math:`\sqrt D` and :math:`\sqrt D / \sigma`. Variances at a level are
    :math:`\sigma^2` at least, so the step is stable for r < 1 in every process, and what it settles at has a
    variance too large by :math:`r^2 / (1 - r^2)` at most. The factor for VP is nearly 1 and not needed.

    Source: Song et al. (2021), arXiv:2011.13456, algorithms 4 and 5.
    """
    eps = denoiser(x, level).eps
    # delta times the score, -eps / sigma, and sqrt(2 delta), multiplied out.
    return x - (2 * snr**2 * level.sigma) * eps + (2 * snr * level.sigma) * noise()
