r"""The forward chain, its posterior and the reverse step: functions of a schedule.

Shapes: data is ``[..., D]``, a diffusion step ``n`` is an integer tensor ``[...]`` that broadcasts
against the leading axes. A denoiser is any callable ``denoiser(x, level) -> Prediction``; the caller binds
the condition (``functools.partial``) and says what its network's output stands for
(`timediff.diffusion.parameterisation.predict`).

Source: Ho et al. (2020), arXiv:2006.11239.
"""

from collections.abc import Callable

from torch import Tensor

from timediff.diffusion.parameterisation import Prediction
from timediff.diffusion.schedule import Level, Schedule

__all__ = ["Denoiser", "add_noise", "diffuse", "posterior", "reverse_step"]

Denoiser = Callable[[Tensor, Level], Prediction]


def diffuse(schedule: Schedule, x_previous: Tensor, n: Tensor, noise: Tensor) -> Tensor:
    r"""A draw from :math:`q(x_n \mid x_{n-1})`, one step of the chain, ``[..., D]``.

    .. math:: x_n = \sqrt{1 - \beta_n}\, x_{n-1} + \sqrt{\beta_n}\, \epsilon

    with :math:`\alpha_n / \alpha_{n-1}` in place of the first root where the process does not preserve
    variance. Source: Ho et al. (2020), eq. 2.
    """
    return schedule.retain[n][..., None] * x_previous + schedule.beta[n][..., None].sqrt() * noise


def add_noise(schedule: Schedule, x0: Tensor, n: Tensor, eps: Tensor) -> Tensor:
    r"""A draw from :math:`q(x_n \mid x_0)`, all steps up to ``n`` at once, ``[..., D]``.

    .. math:: x_n = \sqrt{\bar\alpha_n}\, x_0 + \sqrt{1 - \bar\alpha_n}\, \epsilon

    Source: Ho et al. (2020), eq. 4.

    Args:
        x0: Clean target, ``[..., D]``.
        n: Diffusion step of each row, integer in 0 .. N, ``[...]``.
        eps: Standard normal noise, ``[..., D]``.
    """
    return schedule.alpha[n][..., None] * x0 + schedule.sigma[n][..., None] * eps


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


def reverse_step(
    schedule: Schedule, prediction: Prediction, xn: Tensor, n: Tensor, *, variance: str
) -> tuple[Tensor, Tensor]:
    r"""Mean and log-variance of the model's step :math:`p_\theta(x_{n-1} \mid x_n)`.

    The mean is that of `posterior` at the predicted clean target. The variance is fixed small
    (:math:`\tilde\beta_n`, right for data that is a point), fixed large (:math:`\beta_n`, right for data that
    is N(0, I)), or learned between the two:

    .. math:: \Sigma_\theta = \exp\big(v \log \beta_n + (1 - v) \log \tilde\beta_n\big)

    Sources: Ho et al. (2020), section 3.2; Nichol & Dhariwal (2021), arXiv:2102.09672, eq. 15.

    Args:
        prediction: Of the denoiser at ``xn``.
        xn: Target at step ``n``, ``[..., D]``.
        n: Diffusion step of each row, integer in 1 .. N, ``[...]``.
        variance: ``"small"``, ``"large"`` or ``"learned"``.

    Returns:
        Mean ``[..., D]`` and log-variance ``[..., 1]``, ``[..., D]`` where it is learned.
    """
    mean, _ = posterior(schedule, prediction.x0, xn, n)
    small = schedule.posterior_log_variance[n][..., None]
    if variance == "small":
        return mean, small
    large = schedule.beta[n][..., None].log()
    if variance == "large":
        return mean, large
    assert prediction.fraction is not None, "this network does not learn the variance"
    return mean, prediction.fraction * large + (1 - prediction.fraction) * small
