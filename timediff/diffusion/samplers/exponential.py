r"""Exponential integrators for the reverse ODE and SDE: the arithmetic of DPM-Solver++.

Both equations are linear but for the estimate of the clean data. The linear part is solved exactly, the
estimate is taken for a polynomial in the log-SNR through its newest values.

Sources: Lu et al. (2022), arXiv:2211.01095; Hochbruck & Ostermann (2010), Acta Numerica 19.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from torch import Tensor

from timediff.diffusion.process import Denoiser
from timediff.diffusion.schedule import Level, Schedule

__all__ = ["exponential_step", "exponential_weights", "multistep"]


def multistep(
    denoiser: Denoiser,
    schedule: Schedule,
    x: Tensor,
    noise: Callable[[], Tensor],
    *,
    order: int,
    rate: int,
    history: Sequence[tuple[float, Tensor]] = (),
) -> Tensor:
    """Clean data by `exponential_step` along the chain with the newest ``order`` estimates, ``[..., D]``.

    Args:
        rate: 1 for the ODE, 2 for the SDE.
        history: Log-SNR and estimate of clean data from before the start, newest first. Without it the first
            steps are of lower order. The last ones before clean data keep theirs: with exact denoisers
            lowering it helped on some grids and harmed on as many.
    """
    estimates = list(history)
    for n in range(schedule.num_steps, 0, -1):
        start, end = schedule.points[n], schedule.points[n - 1]
        estimates = [(start.log_snr, denoiser(x, start).x0), *estimates][:order]
        x = exponential_step(x, start, end, estimates, rate=rate)
        if rate > 1 and end.sigma > 0:
            decay = math.exp((rate - 1) * (start.log_snr - end.log_snr))
            x = x + end.sigma * math.sqrt(1 - decay) * noise()
    return x


def exponential_step(
    x: Tensor, start: Level, end: Level, estimates: Sequence[tuple[float, Tensor]], *, rate: int
) -> Tensor:
    r"""Data at the next level, with :math:`x_0` along a polynomial in the log-SNR, ``[..., D]``.

    .. math:: x_t = \frac{\sigma_t}{\sigma_s} e^{-(k-1)h} x_s
        + \alpha_t \int_{\ell_s}^{\ell_t} k\, e^{-k (\ell_t - \ell)}\, \hat x_0(\ell)\, d\ell
        + \sigma_t \sqrt{1 - e^{-2(k-1)h}}\, z

    with :math:`\ell` half the log-SNR and :math:`h = \ell_t - \ell_s`, is exact for the ODE with the rate
    :math:`k = 1` and for the SDE with :math:`k = 2`. Here, all but the last term, with the polynomial through
    the newest estimates for :math:`\hat x_0`. The step to clean data has :math:`h = \infty`, for which no
    polynomial of higher degree has a value, and takes the newest estimate.

    Source: Lu et al. (2022), arXiv:2211.01095, eq. 8 (ODE) and section 5 (SDE). For two estimates they
    simplify the integral; here it is the polynomial's own for any number of them.

    Args:
        x: At ``start``, ``[..., D]``.
        estimates: Log-SNR and estimate of clean data ``[..., D]``, the newest, that of ``start``, first.
    """
    if end.sigma == 0:
        return end.alpha * estimates[0][1]
    twice_h = end.log_snr - start.log_snr
    nodes = tuple((log_snr - start.log_snr) / twice_h for log_snr, _ in estimates)
    out = (end.sigma / start.sigma) * math.exp(-(rate - 1) * twice_h / 2) * x
    weights = exponential_weights(nodes, rate * twice_h / 2)
    for weight, (_, x0) in zip(weights, estimates, strict=True):
        out = out + (end.alpha * weight) * x0
    return out


@lru_cache(maxsize=4096)
def exponential_weights(nodes: tuple[float, ...], z: float) -> tuple[float, ...]:
    r"""Weights :math:`w_j` of the values of a polynomial p at ``nodes`` in its integral over a step.

    .. math:: \sum_j w_j\, p(r_j) = \int_0^1 z\, e^{-z(1-u)}\, p(u)\, du, \qquad
        \int_0^1 z\, e^{-z(1-u)}\, u^i\, du = z\, i!\, \varphi_{i+1}(-z)

    Source: Hochbruck & Ostermann (2010), Exponential integrators, Acta Numerica 19, section 2.
    """
    moments = [-math.expm1(-z)]
    for i in range(1, len(nodes)):
        moments.append(1 - i / z * moments[-1])
    return tuple(np.linalg.solve(np.vander(nodes, increasing=True).T, moments).tolist())
