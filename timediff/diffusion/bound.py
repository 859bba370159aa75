r"""The variational bound on :math:`-\log p_\theta(x_0)`, term by term, in nats.

The chain is a latent variable model: noise is drawn at step N and each reverse step takes some of it out.
Its bound is a sum of N + 1 terms,

.. math:: -\log p_\theta(x_0) \le L_0 + \sum_{n=2}^N L_{n-1} + L_N

a squared error of the predicted clean data at each step, weighted so that the sum is a likelihood. Every
term is one of independent dimensions, and comes back unreduced, ``[..., D]``, so that the caller's mask acts;
data that was scaled as :math:`(x - loc) / scale` costs :math:`\log scale` more on its own scale.

Notation and shapes as in `timediff.diffusion.process`.

Sources: Sohl-Dickstein et al. (2015), arXiv:1503.03585; Ho et al. (2020), arXiv:2006.11239;
Nichol & Dhariwal (2021), arXiv:2102.09672.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from timediff.diffusion.parameterisation import Prediction
from timediff.diffusion.process import Denoiser, add_noise, diffuse, posterior, reverse_step
from timediff.diffusion.schedule import Schedule

__all__ = [
    "Noise",
    "bound_sample",
    "bound_terms",
    "hybrid_term",
    "normal_kl",
    "normal_nll",
    "plain_bound",
    "prior_term",
    "step_term",
]

#: ``noise(n)``: the standard normal noise ``[..., D]`` of step n.
Noise = Callable[[int], Tensor]


def normal_kl(mean1: Tensor, log_variance1: Tensor, mean2: Tensor, log_variance2: Tensor) -> Tensor:
    r"""KL divergence of two normal distributions in each dimension, ``[..., D]``.

    .. math:: KL\big(\mathcal N(\mu_1, v_1) \,\|\, \mathcal N(\mu_2, v_2)\big)
        = \tfrac12 \Big(\frac{v_1}{v_2} - 1 - \log \frac{v_1}{v_2} + \frac{(\mu_1 - \mu_2)^2}{v_2}\Big)
    """
    log_ratio = log_variance1 - log_variance2
    # expm1 keeps the digits of two variances that are almost the same, as at step N.
    spread = torch.expm1(log_ratio) - log_ratio
    return 0.5 * (spread + (mean1 - mean2) ** 2 * torch.exp(-log_variance2))


def normal_nll(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Negative log-density of a normal distribution in each dimension, ``[..., D]``.

    .. math:: -\log \mathcal N(x; \mu, v) = \tfrac12 \Big(\log 2\pi + \log v + \frac{(x - \mu)^2}{v}\Big)
    """
    square = (x - mean) ** 2 * torch.exp(-log_variance)
    return 0.5 * (math.log(2 * math.pi) + log_variance + square)


def prior_term(schedule: Schedule, x0: Tensor) -> Tensor:
    r"""The bound's term of step N, :math:`L_N`: what is left of the data there, ``[..., D]``.

    It is free of parameters:

    .. math:: L_N = KL\big(q(x_N \mid x_0) \,\|\, \mathcal N(0, \alpha_N^2 + \sigma_N^2)\big)

    Source: Ho et al. (2020), eq. 5 and section 3.1.
    """
    last = schedule.points[-1]
    mean, zero = last.alpha * x0, torch.zeros_like(x0)
    # From the float64 numbers: the two variances differ in digits that a float32 buffer has lost.
    log_variances = (torch.full_like(x0, 2 * math.log(s)) for s in (last.sigma, last.norm))
    return normal_kl(mean, next(log_variances), zero, next(log_variances))


def step_term(
    schedule: Schedule, prediction: Prediction, x0: Tensor, xn: Tensor, n: Tensor, *, variance: str
) -> Tensor:
    r"""The bound's term of step ``n``, :math:`L_{n-1}`, ``[..., D]``.

    .. math:: L_{n-1} = KL\big(q(x_{n-1} \mid x_n, x_0) \,\|\, p_\theta(x_{n-1} \mid x_n)\big), \qquad
        L_0 = -\log p_\theta(x_0 \mid x_1)

    With fixed small variance a step after the first is
    :math:`\tfrac12 (SNR_{n-1} - SNR_n)\, (x_0 - \hat x_0)^2`. Data is continuous, so :math:`L_0` is a
    density's, with the variance of step 2 as the smallest (`Schedule`), and may be negative.

    Sources: Ho et al. (2020), eqs. 5 and 8; Kingma et al. (2021), arXiv:2107.00630, eq. 13.

    Args:
        prediction: Of the denoiser at ``xn``.
        x0: Clean target, ``[..., D]``.
        xn: ``add_noise(schedule, x0, n, eps)``, ``[..., D]``.
        n: Diffusion step of each row, integer in 1 .. N, ``[...]``.
        variance: ``"small"``, ``"large"`` or ``"learned"``, as in `reverse_step`.
    """
    if schedule.points[0].sigma > 0:
        raise ValueError("the bound needs a schedule whose point 0 is clean data")
    true_mean, _ = posterior(schedule, x0, xn, n)
    true_log_variance = schedule.posterior_log_variance[n][..., None]
    mean, log_variance = reverse_step(schedule, prediction, xn, n, variance=variance)
    divergence = normal_kl(true_mean, true_log_variance, mean, log_variance)
    return torch.where(n[..., None] == 1, normal_nll(x0, mean, log_variance), divergence)


def hybrid_term(
    schedule: Schedule, prediction: Prediction, x0: Tensor, xn: Tensor, n: Tensor
) -> Tensor:
    r"""The part of the hybrid loss that teaches the variance and leaves the mean alone, ``[..., D]``.

    .. math:: L_{hybrid} = L_{simple} + \lambda L_{vlb}, \qquad L_{vlb} \approx N L_{n-1}

    for n drawn uniformly from 1 .. N, with no gradient through the predicted clean data in the second part:
    add lambda (0.001 in the paper) times this to `noise_loss`. Arguments as those of `step_term`.
    Source: Nichol & Dhariwal (2021), eq. 16.
    """
    fixed_mean = prediction.replace(x0=prediction.x0.detach())
    return schedule.num_steps * step_term(schedule, fixed_mean, x0, xn, n, variance="learned")


def bound_terms(
    schedule: Schedule, denoiser: Denoiser, x0: Tensor, noise: Noise, *, variance: str
) -> Tensor:
    r"""All terms of the bound, in the form of reduced variance, ``[N + 1, ..., D]``.

    Index 0 is :math:`L_0`, index n - 1 is :math:`L_{n-1}` and index N is :math:`L_N`; the bound is their sum.
    Only the noise is random: each term is estimated with one draw of it. Without gradients a single
    evaluation of the denoiser is in memory at a time.

    Source: Ho et al. (2020), eq. 5.

    Args:
        denoiser: Called with floats as its level.
        x0: Clean target, ``[..., D]``.
        noise: ``noise(n)`` of steps 1 .. N.
        variance: As in `step_term`.
    """
    terms = []
    for step in range(1, schedule.num_steps + 1):
        n = torch.full(x0.shape[:-1], step, device=x0.device)
        xn = add_noise(schedule, x0, n, noise(step))
        prediction = denoiser(xn, schedule.points[step])
        terms.append(step_term(schedule, prediction, x0, xn, n, variance=variance))
    return torch.stack([*terms, prior_term(schedule, x0)])


def bound_sample(
    schedule: Schedule, denoiser: Denoiser, x0: Tensor, n: Tensor, eps: Tensor, *, variance: str
) -> Tensor:
    r"""The bound from one step of each row, unbiased for steps drawn uniformly from 1 .. N, ``[..., D]``.

    .. math:: L_N + N L_{n-1}

    Source: Ho et al. (2020), section 2 (random terms of eq. 5).

    Args:
        denoiser: Called with tensors ``[...]`` as its level.
        x0: Clean target, ``[..., D]``.
        n: Diffusion step of each row, integer in 1 .. N, ``[...]``.
        eps: Standard normal noise, ``[..., D]``.
        variance: As in `step_term`.
    """
    xn = add_noise(schedule, x0, n, eps)
    prediction = denoiser(xn, schedule.level(n))
    term = step_term(schedule, prediction, x0, xn, n, variance=variance)
    return prior_term(schedule, x0) + schedule.num_steps * term


def plain_bound(
    schedule: Schedule, denoiser: Denoiser, x0: Tensor, noise: Noise, *, variance: str
) -> Tensor:
    r"""The bound in its plain form, from one path of the whole chain, ``[..., D]``.

    .. math:: \log \frac{q(x_{1:N} \mid x_0)}{p_\theta(x_{0:N})}
        = -\log p(x_N) - \sum_{n=1}^N \log \frac{p_\theta(x_{n-1} \mid x_n)}{q(x_n \mid x_{n-1})}

    Its mean is that of the sum of `bound_terms`. Each step varies more than the closed form, which is an
    average of it; along a path these errors cancel as the model becomes exact, when every path has
    :math:`-\log p(x_0)` up to the mismatch at step N. So the sum of a poor model spreads more than that of
    `bound_terms`, and the sum of a good one less.

    Source: Ho et al. (2020), eq. 3; appendix A on its variance.

    Args:
        denoiser: Called with floats as its level.
        x0: Clean target, ``[..., D]``.
        noise: ``noise(n)`` of steps 1 .. N, independent of each other.
        variance: As in `step_term`.
    """
    total, previous = torch.zeros_like(x0), x0
    for step in range(1, schedule.num_steps + 1):
        n = torch.full(x0.shape[:-1], step, device=x0.device)
        eps = noise(step)
        xn = diffuse(schedule, previous, n, eps)
        prediction = denoiser(xn, schedule.points[step])
        mean, log_variance = reverse_step(schedule, prediction, xn, n, variance=variance)
        forward_nll = 0.5 * (eps**2 + math.log(2 * math.pi * schedule.floats["beta"][step]))
        total = total + normal_nll(previous, mean, log_variance) - forward_nll
        previous = xn
    log_variance = torch.full_like(x0, 2 * math.log(schedule.prior_std))
    return total + normal_nll(previous, torch.zeros_like(x0), log_variance)
