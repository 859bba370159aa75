r"""The likelihood of data under the probability-flow ODE.

The ODE moves points so that their density at each level is that of the noised data, without adding noise,
and a density carried by an ODE changes by the divergence of its field. In the units of the clean data,
:math:`y = x / \alpha` and :math:`\rho = \sigma / \alpha = e^{-\lambda / 2}`, every process has the same one,

.. math:: \frac{dy}{d\log\rho} = \rho\, \hat\epsilon(\alpha y), \qquad
    \frac{d \log p(y)}{d\log\rho} = -\sigma \operatorname{tr} \frac{\partial \hat\epsilon}{\partial x}

Sources: Song et al. (2021), arXiv:2011.13456, eqs. 13 and 39; Karras et al. (2022), arXiv:2206.00364, eq. 1
(units); Chen et al. (2018), arXiv:1806.07366, theorem 1 (change of density).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from timediff.diffusion.process import Denoiser
from timediff.diffusion.schedule import Level, Schedule

__all__ = ["EXACT_TRACE_DIM", "LEAST_LOG_SNR", "Likelihood", "log_likelihood"]

#: Log-SNR at which the ODE ends on chains that go below it.
LEAST_LOG_SNR = -40.0
#: Up to this D callers take the exact trace, above it random probes.
EXACT_TRACE_DIM = 64


class Likelihood(NamedTuple):
    """Log-density in nats.

    Attributes:
        log_density: Of each row, float64 ``[...]``.
        standard_error: Of the estimated trace, float64 ``[...]``; 0 where the trace is exact.
    """

    log_density: Tensor
    standard_error: Tensor


@torch.no_grad()
def log_likelihood(
    denoiser: Denoiser,
    schedule: Schedule,
    x0: Tensor,
    *,
    num_steps: int,
    probes: Tensor | None = None,
) -> Likelihood:
    r"""Log-density of clean data by the probability-flow ODE.

    .. math:: \log p(x_0) = \log \mathcal N\Big(y_N; 0, \frac{\alpha_N^2 + \sigma_N^2}{\alpha_N^2} I\Big)
        + \int_{\log \rho_1}^{\log \rho_N} \sigma \operatorname{tr} \frac{\partial \hat\epsilon}{\partial x}
        \, d\log\rho, \qquad y_1 = x_0

    The ODE starts at step 1, the least noise that the network has seen: scored is the density of data with
    noise of standard deviation :math:`\rho_1`, at :math:`x_1 = \alpha_1 x_0` and per unit of :math:`x_0`,
    :math:`\log p(x_0) = \log p(x_1) + D \log \alpha_1`. Runge-Kutta of order 4 on a grid uniform in log-SNR,
    four evaluations of the denoiser a step.

    Without probes the trace is exact and costs D tangents an evaluation, in time and in memory (pass rows in
    parts); callers take it up to `EXACT_TRACE_DIM`. With them it is the mean of :math:`v^\top J v` over
    probes with :math:`E[v v^\top] = I`, unbiased for any K.

    Sources: Song et al. (2021), arXiv:2011.13456, eqs. 39-40; Grathwohl et al. (2019), arXiv:1810.01367,
    section 3.1 (one draw of the probes for the whole path).

    Args:
        denoiser: Of rows that do not depend on each other; called with floats as its level.
        schedule: The chain the network was trained on, not a shorter one.
        x0: Clean target, ``[..., D]``.
        num_steps: Steps of the grid.
        probes: Random signs, ``[K, ..., D]`` with K at least 2.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    dim = x0.shape[-1]
    if probes is None:
        unit = torch.eye(dim, dtype=x0.dtype, device=x0.device)
        tangents = unit.reshape(dim, *[1] * (x0.ndim - 1), dim).expand(dim, *x0.shape)
    else:
        if len(probes) < 2 or probes.shape[1:] != x0.shape:
            expected = f"[K, {', '.join(map(str, x0.shape))}] with K at least 2"
            raise ValueError(f"probes must have shape {expected}, got {list(probes.shape)}")
        tangents = probes
    first = schedule.points[1]
    # Below it the data's share is smaller than the rounding of any float, and y would overflow.
    last = next(point for point in reversed(schedule.points) if point.log_snr > LEAST_LOG_SNR)
    # Twice as many intervals as steps: Runge-Kutta looks at the middle of each.
    interval = (last.log_snr - first.log_snr) / (2 * num_steps)
    levels = [schedule.at(first.log_snr + interval * i) for i in range(2 * num_steps)]
    levels.append(last)
    y, traces = x0, torch.zeros(tangents.shape[:-1], dtype=torch.float64, device=x0.device)
    h = -interval  # d log rho = -1/2 d log-SNR, and a step is two intervals.
    for i in range(0, 2 * num_steps, 2):
        start, middle, end = levels[i : i + 3]
        dy1, trace1 = _rates(denoiser, y, start, tangents)
        dy2, trace2 = _rates(denoiser, y + h / 2 * dy1, middle, tangents)
        dy3, trace3 = _rates(denoiser, y + h / 2 * dy2, middle, tangents)
        dy4, trace4 = _rates(denoiser, y + h * dy3, end, tangents)
        y = y + h / 6 * (dy1 + 2 * (dy2 + dy3) + dy4)
        traces = traces + h / 6 * (trace1 + 2 * (trace2 + trace3) + trace4)  # [K, ...]
    std = last.norm / last.alpha
    square = (y.double() / std).square().sum(dim=-1)
    prior = -0.5 * square - dim * (math.log(std) + 0.5 * math.log(2 * math.pi))
    if probes is None:
        return Likelihood(prior + traces.sum(dim=0), torch.zeros_like(prior))
    return Likelihood(prior + traces.mean(dim=0), traces.std(dim=0) / len(probes) ** 0.5)


def _rates(denoiser: Denoiser, y: Tensor, level: Level, tangents: Tensor) -> tuple[Tensor, Tensor]:
    """Rates per log rho: of the point, ``[..., D]``, and of the trace by each tangent, ``[K, ...]``."""

    def noise(x: Tensor) -> Tensor:
        return denoiser(x, level).eps

    def push(tangent: Tensor) -> tuple[Tensor, ...]:
        return torch.func.jvp(noise, (level.alpha * y,), (tangent,))

    eps, pushed = torch.func.vmap(push)(tangents)
    products = (tangents * pushed).double().sum(dim=-1)
    # The point is the same for all tangents, so vmap evaluates it once and repeats it as a view.
    return level.sigma / level.alpha * eps[0], level.sigma * products
