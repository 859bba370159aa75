r"""Samplers: from noise :math:`x_N` back to data :math:`x_0` along a schedule.

A sampler sees ``denoiser(x, level) -> eps_hat`` and nothing else of the network. Randomness comes
from the caller: the start ``x`` and a function that gives the noise of each step.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from timediff.diffusion import Denoiser
from timediff.schedule import Schedule


def ancestral(
    denoiser: Denoiser,
    schedule: Schedule,
    x: Tensor,
    noise: Callable[[int], Tensor],
    *,
    variance: str = "small",
) -> Tensor:
    r"""Draws :math:`x_0` by the learned reverse chain, ``[..., D]``.

    .. math:: x_{n-1} = \frac{1}{\sqrt{\alpha_n}}\Big(x_n - \frac{\beta_n}{\sqrt{1-\bar\alpha_n}}
        \epsilon_\theta(x_n, n)\Big) + \sigma_n z, \qquad z = 0 \text{ at } n = 1

    which is the mean of `timediff.diffusion.posterior` at the predicted clean target.
    Source: Ho et al. (2020), arXiv:2006.11239, algorithm 2 and section 3.2 for the two variances.

    Args:
        denoiser: Predicts the noise, called ``schedule.num_steps`` times.
        x: Standard normal start :math:`x_N`, ``[..., D]``.
        noise: ``noise(n)`` gives the standard normal :math:`z` of step ``n``, N down to 2, ``[..., D]``.
        variance: ``"small"`` for the posterior variance of :math:`q(x_{n-1} \mid x_n, x_0)` (right for
            data that is a point), ``"large"`` for :math:`\beta_n` (right for data that is N(0, I)).
    """
    spread = (
        {"small": schedule.posterior_variance, "large": schedule.beta}[variance].sqrt().tolist()
    )
    shrink = (1 - schedule.beta).rsqrt().tolist()
    share = (schedule.beta / schedule.sigma).tolist()
    steps = torch.arange(schedule.num_steps + 1, device=x.device)
    for n in range(schedule.num_steps, 0, -1):
        eps_hat = denoiser(x, schedule.level(steps[n]))
        x = shrink[n] * (x - share[n] * eps_hat)
        if n > 1:
            x = x + spread[n] * noise(n)
    return x
