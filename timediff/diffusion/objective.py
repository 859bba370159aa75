"""What a denoiser is trained on: errors of the predicted noise and their weights at each level of noise.

A squared error of any other quantity is that of the noise with another weight, which is why one loss serves
all parameterisations.

Shapes: data is ``[..., D]``, a diffusion step ``n`` is an integer tensor ``[...]`` that broadcasts against
the leading axes.
"""

import torch.nn.functional as F
from torch import Tensor

from timediff.diffusion.parameterisation import Prediction
from timediff.diffusion.schedule import Schedule
from timediff.registry import LOSSES, WEIGHTINGS

__all__ = [
    "MIN_SNR_CAP",
    "bound_weight",
    "ho_weight",
    "huber",
    "l1",
    "l2",
    "min_snr_weight",
    "noise_loss",
    "noise_weight",
    "score_weight",
    "v_weight",
    "x0_weight",
]


def l1(estimate: Tensor, noise: Tensor) -> Tensor:
    """Absolute error, ``[..., D]``."""
    return F.l1_loss(estimate, noise, reduction="none")


def l2(estimate: Tensor, noise: Tensor) -> Tensor:
    """Squared error, ``[..., D]``."""
    return F.mse_loss(estimate, noise, reduction="none")


def huber(estimate: Tensor, noise: Tensor) -> Tensor:
    """Squared error below 1, absolute error above, ``[..., D]`` (Huber 1964)."""
    return F.smooth_l1_loss(estimate, noise, reduction="none")


#: The signal-to-noise ratio above which `min_snr_weight` falls.
MIN_SNR_CAP = 5.0


def noise_weight(schedule: Schedule, n: Tensor) -> Tensor:
    r"""Weight 1: the plain error of the noise, :math:`L_{simple}` (Ho et al. 2020, eq. 14), ``[...]``."""
    return schedule.alpha.new_ones(n.shape)


def x0_weight(schedule: Schedule, n: Tensor) -> Tensor:
    r"""Weight 1 / SNR: the squared error of the clean data, ``[...]``.

    Source: Salimans & Ho (2022), arXiv:2202.00512, eq. 9.
    """
    return (-schedule.log_snr[n]).exp()


def v_weight(schedule: Schedule, n: Tensor) -> Tensor:
    """Weight (SNR + 1) / SNR: squared error of v in VP units (Salimans & Ho 2022, section 4), ``[...]``."""
    return 1 + (-schedule.log_snr[n]).exp()


def score_weight(schedule: Schedule, n: Tensor) -> Tensor:
    """Weight SNR + 1, in VP units 1 / sigma^2: the squared error of the score (Vincent 2011), ``[...]``."""
    return 1 + schedule.log_snr[n].exp()


def min_snr_weight(schedule: Schedule, n: Tensor) -> Tensor:
    """Weight min(SNR, 5) / SNR: min(SNR, 5) times the squared error of the clean data, ``[...]``.

    Source: Hang et al. (2023), arXiv:2303.09556.
    """
    return (MIN_SNR_CAP * (-schedule.log_snr[n]).exp()).clamp(max=1)


def bound_weight(schedule: Schedule, n: Tensor) -> Tensor:
    r"""Weight of the bound for fixed small variance, ``[...]``.

    .. math:: \frac{\beta_n^2}{2 \sigma_n^2 \alpha_n (1 - \bar\alpha_n)}
        = \tfrac12 \Big(\frac{SNR_{n-1}}{SNR_n} - 1\Big)

    in nats, with the floored variance at n = 1. Source: Ho et al. (2020), eq. 12.
    """
    return ho_weight(schedule, n, schedule.posterior_log_variance[n].exp())


def ho_weight(schedule: Schedule, n: Tensor, variance: Tensor) -> Tensor:
    r"""Weight of the noise's squared error in the KL term of step ``n`` for any variance, ``[...]``.

    .. math:: \frac{\beta_n^2}{2 \sigma_n^2 \alpha_n (1 - \bar\alpha_n)}

    Source: Ho et al. (2020), eq. 12.
    """
    of_noise = schedule.posterior_x0[n] * schedule.sigma[n] / schedule.alpha[n]
    return of_noise**2 / (2 * variance)


def noise_loss(
    schedule: Schedule,
    prediction: Prediction,
    n: Tensor,
    eps: Tensor,
    *,
    loss: str = "l2",
    weighting: str = "noise",
) -> Tensor:
    r"""Weighted error of the predicted noise, not reduced, so that the caller's mask acts, ``[..., D]``.

    .. math:: w_n\, \ell(\epsilon, \epsilon_\theta(\sqrt{\bar\alpha_n}\, x_0
        + \sqrt{1 - \bar\alpha_n}\, \epsilon, n))

    with :math:`\ell` one of `LOSSES` and :math:`w` one of `WEIGHTINGS`. Source: Ho et al. (2020), eq. 14;
    with the condition of an RNN, Rasul et al. (2021), arXiv:2101.12072, eq. 9.

    Args:
        prediction: Of the denoiser at ``add_noise(schedule, x0, n, eps)``.
        n: Diffusion step of each row, integer in 1 .. N, ``[...]``.
        eps: The noise that was added, ``[..., D]``.
    """
    error = LOSSES[loss](prediction.eps, eps)
    return error if weighting == "noise" else WEIGHTINGS[weighting](schedule, n)[..., None] * error
