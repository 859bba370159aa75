r"""Noised data of a reverse process: recorded, measured, decoded from, mixed, and found from clean data.

All of this acts on a sampler's denoiser and schedule, and so serves every sampler: a wrapped denoiser is a
denoiser, a cut schedule is a schedule.

Shapes: data is ``[..., D]``; leading axes are rows that do not see each other.

Sources: Ho et al. (2020), arXiv:2006.11239, section 4.3 (progressive generation, rate and distortion,
interpolation); Song et al. (2021), arXiv:2010.02502, section 4.3 (encoding).
"""

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from timediff.diffusion.bound import Noise, bound_terms
from timediff.diffusion.parameterisation import Prediction
from timediff.diffusion.process import Denoiser
from timediff.diffusion.schedule import Level, Schedule
from timediff.registry import PARAMETERISATIONS

__all__ = ["Recorder", "cut", "interpolate", "invert", "rate_distortion"]


@final
class Recorder:
    r"""A denoiser that keeps its inputs and estimates: progressive generation.

    The sequence of :math:`x_n` and of the estimates :math:`\hat x_0(x_n, n)`, which turn from the data's mean
    into the sample. Source: Ho et al. (2020), section 4.3 and eq. 15.

    Attributes:
        x: The inputs, ``[..., D]`` for each call of the network, in the order of the calls.
        x0: The estimates of the clean data, likewise.
        levels: The levels, likewise.
    """

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser = denoiser
        self.x: list[Tensor] = []
        self.x0: list[Tensor] = []
        self.levels: list[Level] = []

    def __call__(self, x: Tensor, level: Level) -> Prediction:
        prediction = self.denoiser(x, level)
        self.x.append(x)
        self.x0.append(prediction.x0)
        self.levels.append(level)
        return prediction


def rate_distortion(
    schedule: Schedule, denoiser: Denoiser, x0: Tensor, noise: Noise, *, variance: str
) -> tuple[Tensor, Tensor]:
    r"""Rate and distortion of a message of increasing length about the data, ``[N + 1]`` each.

    .. math:: R_n = \sum_{m=n}^N L_m, \qquad D_n = \sqrt{E\, \| x_0 - \hat x_0(x_n, n) \|^2 / D}

    Who has been sent :math:`x_N, \dots, x_n` has paid the bound's terms down to :math:`L_n` and knows
    :math:`\hat x_0(x_n, n)`. Nats per dimension, mean over all rows; divide by log 2 for bits. Index 0 is the
    whole bound, at which the data itself is known: for continuous data that rate is a density's, on the scale
    of the data, and the curve proper begins at n = 1.

    Source: Ho et al. (2020), section 4.3, algorithms 3 and 4, figure 5.

    Args:
        x0: Clean target, ``[..., D]``.
        noise: ``noise(n)`` of steps 1 .. N, as in `timediff.diffusion.bound.bound_terms`.
        variance: As in `timediff.diffusion.bound.step_term`.
    """
    recorder = Recorder(denoiser)
    terms = bound_terms(schedule, recorder, x0, noise, variance=variance)
    rate = terms.flatten(1).mean(dim=1).flip(0).cumsum(dim=0).flip(0)
    errors = torch.stack([x0, *recorder.x0]) - x0  # [N + 1, ..., D]
    return rate, errors.flatten(1).square().mean(dim=1).sqrt()


def cut(schedule: Schedule, n: int) -> Schedule:
    """The chain of the first ``n`` steps of ``schedule``, to decode from :math:`x_n`.

    Its levels, and the steps of the network's chain that they stand for, are those of the long chain.
    """
    if not 1 <= n <= schedule.num_steps:
        raise ValueError(f"a chain can be cut at a step in 1 .. {schedule.num_steps}, got {n}")
    log_snr, norm = (
        torch.tensor([getattr(p, name) for p in schedule.points[: n + 1]], dtype=torch.float64)
        for name in ("log_snr", "norm")
    )
    short = Schedule(log_snr, norm, steps=schedule.steps[: n + 1].cpu())
    short.noisy = schedule.noisy
    return short.to(schedule.beta.device)


def interpolate(
    schedule: Schedule,
    x0_a: Tensor,
    x0_b: Tensor,
    eps: Tensor,
    *,
    n: int,
    share: float | Tensor,
    decode: Callable[[Schedule, Tensor], Tensor],
) -> Tensor:
    r"""A mixture of two clean targets that looks like data again, ``[..., D]``.

    .. math:: \bar x_n = (1 - \lambda)\, x_n^a + \lambda\, x_n^b, \quad
        x_n^i = \alpha_n x_0^i + \sigma_n \epsilon, \quad \bar x_0 \sim p_\theta(x_0 \mid \bar x_n)

    Both ends get the same noise: then :math:`\bar x_n` has the noise of its level for every share, as the
    decoder expects, where independent noises would shrink by :math:`\sqrt{(1-\lambda)^2 + \lambda^2}`. At
    n = 0 this is the linear mixture itself; the larger n, the more of it the decoder makes up.
    Source: Ho et al. (2020), section 4.3 and figure 8.

    Args:
        x0_a: Clean target, ``[..., D]``.
        x0_b: Another, ``[..., D]``.
        eps: Standard normal noise, ``[..., D]``.
        n: Step at which the two are mixed, 0 .. N.
        share: Of the second; a tensor, one for each row, ``[..., 1]``.
        decode: ``decode(chain, x)`` runs a sampler with its denoiser and noise bound over the first n steps.
    """
    mixed = (1 - share) * x0_a + share * x0_b
    if n == 0:
        return mixed
    chain = cut(schedule, n)
    return decode(chain, chain.floats["alpha"][n] * mixed + chain.floats["sigma"][n] * eps)


def invert(denoiser: Denoiser, schedule: Schedule, x0: Tensor, *, iterations: int = 5) -> Tensor:
    r"""The :math:`x_N` from which DDIM without noise generates this clean target, ``[..., D]``.

    .. math:: x_n = \frac{r_n\, x_{n-1} + (\alpha_{n-1} \sigma_n - \sigma_{n-1} \alpha_n)\, v_\theta(x_n, n)}
        {\alpha_{n-1} \alpha_n + \sigma_{n-1} \sigma_n}, \qquad r_n = \alpha_n^2 + \sigma_n^2

    is the DDIM step solved for its input, which stands on both sides; for a VP chain that step is the
    rotation :math:`x_{n-1} = x_n \cos\delta - v \sin\delta`. The input is found by iteration from the v of
    the step before. Decoding returns the target but for an error that falls as the square of the step with
    one iteration, and an order faster with each further one, where steps are short enough for the iteration
    to converge. Solved for the noise in place of v it hardly converges where a single step destroys almost
    everything, as the last one of the cosine chain does.

    Sources: Song et al. (2021), section 4.3 (encoding); Salimans & Ho (2022), arXiv:2202.00512, appendix D
    (rotation); Pan et al. (2023), arXiv:2309.04907 (fixed point).

    Args:
        x0: Clean target, ``[..., D]``.
        iterations: Calls of the network at each step.
    """
    x, v = x0, torch.zeros_like(x0)
    for start, end in zip(schedule.points[1:], schedule.points[:-1], strict=True):
        scale = 1 / (end.alpha * start.alpha + end.sigma * start.sigma)
        of_x = (start.norm**2 * scale) * x
        sine = (end.alpha * start.sigma - end.sigma * start.alpha) * scale
        for _ in range(iterations):
            prediction = denoiser(of_x + sine * v, start)
            v = PARAMETERISATIONS["v"].of(prediction.x0, prediction.eps, start)
        x = of_x + sine * v
    return x
