r"""Progressive distillation: a student that goes in one step where its teacher goes in two.

DDIM without noise goes from a level s to a level e by the estimate of the clean data alone,

.. math:: x_e = \alpha_e \hat x_0 + \sigma_e \hat\epsilon
    = \tfrac{\sigma_e}{\sigma_s}\, x_s + \big(\alpha_e - \tfrac{\sigma_e}{\sigma_s} \alpha_s\big)\, \hat x_0

so for every point that two steps lead to there is one estimate that leads there in one step. A student learns
this estimate at the even steps of the teacher's chain, which are all steps of its own chain, and is the next
teacher: 16 steps become 8, 4, 2 and 1.

Shapes: data is ``[..., D]``, a step ``n`` of the teacher's chain an even integer tensor ``[...]``.

Source: Salimans & Ho (2022), arXiv:2202.00512, algorithm 2.
"""

import torch
from torch import Tensor

from timediff.diffusion.parameterisation import Prediction, factors
from timediff.diffusion.process import Denoiser, add_noise
from timediff.diffusion.schedule import Level, Schedule

__all__ = ["ddim_step", "distillation_loss", "two_step_target"]


def ddim_step(prediction: Prediction, end: Level) -> Tensor:
    r"""Data at a level by a prediction, :math:`\alpha_e \hat x_0 + \sigma_e \hat\epsilon`, ``[..., D]``.

    Source: Song et al. (2021), arXiv:2010.02502, eq. 12 without noise.
    """
    alpha, sigma = factors(end)
    return alpha * prediction.x0 + sigma * prediction.eps


def two_step_target(schedule: Schedule, teacher: Denoiser, xn: Tensor, n: Tensor) -> Tensor:
    r"""The clean data by which one step leads where two of the teacher's do, ``[..., D]``.

    .. math:: \tilde x_0 = \frac{x_{n-2} - (\sigma_{n-2} / \sigma_n)\, x_n}
        {\alpha_{n-2} - (\sigma_{n-2} / \sigma_n)\, \alpha_n}
        = w\, \hat x_0(x_n) + (1 - w)\, \hat x_0(x_{n-1}), \qquad
        w = \frac{e^{\lambda_{n-1} / 2} - e^{\lambda_n / 2}}{e^{\lambda_{n-2} / 2} - e^{\lambda_n / 2}}

    with :math:`x_{n-1}` and :math:`x_{n-2}` the teacher's, and :math:`\lambda` the log-SNR. The second form,
    which follows from the first, does not subtract what is nearly equal.

    Source: Salimans & Ho (2022), algorithm 2, and appendix G for the first form.

    Args:
        schedule: The teacher's chain.
        xn: Target at step ``n``, ``[..., D]``.
        n: Step of each row, one of 2, 4, .., N, ``[...]``.
    """
    start, middle, end = (schedule.level(n - i) for i in range(3))
    first = teacher(xn, start)
    second = teacher(ddim_step(first, middle), middle)
    # Where the end is clean data its log-SNR is infinite and the share 0: the second estimate is the target.
    share = torch.expm1((middle.log_snr - start.log_snr) / 2)
    share = (share / torch.expm1((end.log_snr - start.log_snr) / 2))[..., None]
    return share * first.x0 + (1 - share) * second.x0


def distillation_loss(
    schedule: Schedule, teacher: Denoiser, student: Denoiser, x0: Tensor, n: Tensor, eps: Tensor
) -> Tensor:
    r"""Squared error of the student, not reduced, so that the caller's mask acts, ``[..., D]``.

    .. math:: (1 + SNR_n)\, \big(\hat x_0(x_n) - \tilde x_0(x_n)\big)^2, \qquad
        x_n = \alpha_n x_0 + \sigma_n \epsilon

    which is the error of v in VP units. Source: Salimans & Ho (2022), algorithm 2 and section 4.

    Args:
        schedule: The teacher's chain.
        teacher: Not differentiated.
        student: Learns to take its step from ``n`` to ``n - 2``.
        x0: Clean target, ``[..., D]``.
        n: Step of each row, one of 2, 4, .., N, ``[...]``.
        eps: Standard normal noise, ``[..., D]``.
    """
    xn, level = add_noise(schedule, x0, n, eps), schedule.level(n)
    with torch.no_grad():
        target = two_step_target(schedule, teacher, xn, n)
    weight = 1 + level.log_snr.exp()
    return weight[..., None] * (student(xn, level).x0 - target).square()
