r"""The forward chain, its posterior, and the training loss: functions of a schedule.

Shapes: data is ``[..., D]``, a diffusion step ``n`` is an integer tensor ``[...]`` that broadcasts
against the leading axes. A denoiser is any callable ``denoiser(xn, level) -> eps_hat``, ``[..., D]``;
the caller binds the condition (``functools.partial``).

Source: Ho et al. (2020), arXiv:2006.11239.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from timediff.schedule import Level, Schedule

Denoiser = Callable[[Tensor, Level], Tensor]

LOSSES: dict[str, Callable[..., Tensor]] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "huber": F.smooth_l1_loss,
}


def diffuse(schedule: Schedule, x_previous: Tensor, n: Tensor, noise: Tensor) -> Tensor:
    r"""One step of the chain, a draw from :math:`q(x_n \mid x_{n-1})`, ``[..., D]``.

    .. math:: x_n = \sqrt{1 - \beta_n}\, x_{n-1} + \sqrt{\beta_n}\, \epsilon

    Source: Ho et al. (2020), eq. 2.
    """
    beta = schedule.beta[n][..., None]
    return (1 - beta).sqrt() * x_previous + beta.sqrt() * noise


def add_noise(schedule: Schedule, x0: Tensor, n: Tensor, eps: Tensor) -> Tensor:
    r"""All steps up to ``n`` at once, a draw from :math:`q(x_n \mid x_0)`, ``[..., D]``.

    .. math:: x_n = \sqrt{\bar\alpha_n}\, x_0 + \sqrt{1 - \bar\alpha_n}\, \epsilon

    Source: Ho et al. (2020), eq. 4.

    Args:
        x0: Clean target, ``[..., D]``.
        n: Diffusion step of each row, integer in 0 .. N, ``[...]``.
        eps: Standard normal noise, ``[..., D]``.
    """
    return schedule.alpha[n][..., None] * x0 + schedule.sigma[n][..., None] * eps


def predict_x0(schedule: Schedule, xn: Tensor, n: Tensor, eps: Tensor) -> Tensor:
    r"""The clean target that `add_noise` would have turned into ``xn`` by ``eps``, ``[..., D]``.

    .. math:: x_0 = (x_n - \sqrt{1 - \bar\alpha_n}\, \epsilon) / \sqrt{\bar\alpha_n}

    Source: Ho et al. (2020), eq. 15.
    """
    return (xn - schedule.sigma[n][..., None] * eps) / schedule.alpha[n][..., None]


def posterior(schedule: Schedule, x0: Tensor, xn: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
    r"""Mean and variance of :math:`q(x_{n-1} \mid x_n, x_0)`, the step that sampling imitates.

    .. math:: \tilde\mu_n = \frac{\sqrt{\bar\alpha_{n-1}}\,\beta_n}{1-\bar\alpha_n} x_0
        + \frac{\sqrt{\alpha_n}\,(1-\bar\alpha_{n-1})}{1-\bar\alpha_n} x_n, \qquad
        \tilde\beta_n = \frac{1-\bar\alpha_{n-1}}{1-\bar\alpha_n}\,\beta_n

    Source: Ho et al. (2020), eqs. 6-7.

    Args:
        x0: Clean target, ``[..., D]``.
        xn: Target at step ``n``, ``[..., D]``.
        n: Diffusion step of each row, integer in 1 .. N, ``[...]``.

    Returns:
        Mean ``[..., D]`` and variance ``[..., 1]``.
    """
    mean = schedule.posterior_x0[n][..., None] * x0 + schedule.posterior_xn[n][..., None] * xn
    return mean, schedule.posterior_variance[n][..., None]


def noise_loss(
    schedule: Schedule, denoiser: Denoiser, x0: Tensor, n: Tensor, eps: Tensor, *, loss: str = "l2"
) -> Tensor:
    r"""Error of the predicted noise, not reduced, so that the caller's mask acts, ``[..., D]``.

    .. math:: \ell(\epsilon, \epsilon_\theta(\sqrt{\bar\alpha_n}\, x_0
        + \sqrt{1 - \bar\alpha_n}\, \epsilon, n))

    with :math:`\ell` one of `LOSSES`. Source: Ho et al. (2020), eq. 14; with the condition of an
    RNN, Rasul et al. (2021), arXiv:2101.12072, eq. 9.
    """
    eps_hat = denoiser(add_noise(schedule, x0, n, eps), schedule.level(n))
    return LOSSES[loss](eps_hat, eps, reduction="none")
