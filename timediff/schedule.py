r"""The noise schedule: how much of the data is left at each step of the diffusion chain.

Notation: the chain has :math:`N` steps, :math:`n = 0` is clean data. :math:`\beta_n` is the variance
added by step :math:`n`, :math:`\alpha_n = 1 - \beta_n`, :math:`\bar\alpha_n = \prod_{m \le n} \alpha_m`,
and :math:`q(x_n \mid x_0) = \mathcal N(\sqrt{\bar\alpha_n}\, x_0, (1 - \bar\alpha_n) I)`.
Every buffer has :math:`N + 1` entries, so an index in the code is the paper's.

Sources: Sohl-Dickstein et al. (2015), arXiv:1503.03585; Ho et al. (2020), arXiv:2006.11239.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

# A step that destroys all information has no inverse; Nichol & Dhariwal (2021) cap at the same value.
MAX_BETA = 0.999


class Level(NamedTuple):
    """A noise level as a denoiser sees it.

    Attributes:
        log_snr: log of alpha_bar / (1 - alpha_bar), ``[...]``.
        n: Step of the discrete chain that the network was trained on, integer ``[...]``.
    """

    log_snr: Tensor
    n: Tensor

    @property
    def alpha(self) -> Tensor:
        """Factor of the clean data, sqrt(alpha_bar), ``[...]``."""
        return torch.sigmoid(self.log_snr).sqrt()

    @property
    def sigma(self) -> Tensor:
        """Factor of the noise, sqrt(1 - alpha_bar), ``[...]``."""
        return torch.sigmoid(-self.log_snr).sqrt()


class Schedule(nn.Module):
    """All constants of one chain, computed in float64 and cast once to the default dtype.

    Args:
        beta: Variances beta_1 .. beta_N, float64 ``[N]``, each in (0, 1).
        steps: The step of the network's own chain that each step stands for, integer ``[N]``;
            1 .. N when left out. `respace` sets it.
    """

    beta: Tensor
    alpha_bar: Tensor
    alpha: Tensor
    sigma: Tensor
    log_snr: Tensor
    posterior_x0: Tensor
    posterior_xn: Tensor
    posterior_variance: Tensor
    steps: Tensor

    def __init__(self, beta: Tensor, *, steps: Tensor | None = None) -> None:
        super().__init__()
        if not ((beta > 0) & (beta < 1)).all():
            raise ValueError("every beta must lie strictly between 0 and 1")
        zero = beta.new_zeros(1, dtype=torch.float64)
        beta = torch.cat([zero, beta.double()])  # [N + 1]
        alpha_bar = torch.cumprod(1 - beta, dim=0)
        # 1 - alpha_bar loses digits where little noise was added; expm1 keeps them.
        variance = -torch.expm1(torch.log1p(-beta).cumsum(dim=0))
        previous = torch.cat([zero + 1, alpha_bar[:-1]])
        previous_variance = torch.cat([zero, variance[:-1]])
        safe = torch.cat([zero + 1, variance[1:]])
        buffers = {
            "beta": beta,
            "alpha_bar": alpha_bar,
            "alpha": alpha_bar.sqrt(),
            "sigma": variance.sqrt(),
            "log_snr": alpha_bar.log() - variance.log(),
            "posterior_x0": previous.sqrt() * beta / safe,
            "posterior_xn": (1 - beta).sqrt() * previous_variance / safe,
            "posterior_variance": beta * previous_variance / safe,
        }
        for name, value in buffers.items():
            self.register_buffer(name, value.to(torch.get_default_dtype()), persistent=False)
        if steps is None:
            steps = torch.arange(1, len(beta))
        self.register_buffer("steps", torch.cat([steps.new_zeros(1), steps]), persistent=False)

    @property
    def num_steps(self) -> int:
        return len(self.beta) - 1

    def level(self, n: Tensor) -> Level:
        """What the denoiser is told about step ``n``, integer ``[...]``."""
        return Level(self.log_snr[n], self.steps[n])


def linear(num_steps: int, beta_start: float, beta_end: float) -> Tensor:
    """beta rising linearly (Ho et al. 2020, section 4), float64 ``[N]``."""
    return torch.linspace(beta_start, beta_end, num_steps, dtype=torch.float64)


def quadratic(num_steps: int, beta_start: float, beta_end: float) -> Tensor:
    """sqrt(beta) rising linearly, float64 ``[N]``."""
    return linear(num_steps, beta_start**0.5, beta_end**0.5) ** 2


def constant(num_steps: int, beta_start: float, beta_end: float) -> Tensor:
    """beta_end at every step, float64 ``[N]``."""
    return torch.full((num_steps,), beta_end, dtype=torch.float64)


def sigmoid(num_steps: int, beta_start: float, beta_end: float) -> Tensor:
    """beta rising along a logistic curve over [-6, 6], float64 ``[N]``."""
    ramp = torch.sigmoid(torch.linspace(-6, 6, num_steps, dtype=torch.float64))
    return beta_start + (beta_end - beta_start) * ramp


def jsd(num_steps: int, beta_start: float, beta_end: float) -> Tensor:
    """beta_n = 1 / (N - n + 1) (Sohl-Dickstein et al. 2015, section 2.4.1), float64 ``[N]``."""
    remaining = torch.arange(num_steps, 0, -1, dtype=torch.float64)
    return (1 / remaining).clamp(max=MAX_BETA)


def cosine(num_steps: int, beta_start: float, beta_end: float) -> Tensor:
    r"""alpha_bar along a squared cosine (Nichol & Dhariwal 2021, eq. 17), float64 ``[N]``.

    .. math:: \bar\alpha_n = f(n) / f(0), \quad
        f(n) = \cos^2\Big(\frac{n/N + 0.008}{1.008} \cdot \frac{\pi}{2}\Big)
    """
    n = torch.arange(num_steps + 1, dtype=torch.float64) / num_steps
    f = torch.cos((n + 0.008) / 1.008 * torch.pi / 2) ** 2
    return (1 - f[1:] / f[:-1]).clamp(max=MAX_BETA)


SCHEDULES: dict[str, Callable[[int, float, float], Tensor]] = {
    "linear": linear,
    "quadratic": quadratic,
    "constant": constant,
    "cosine": cosine,
    "sigmoid": sigmoid,
    "jsd": jsd,
}


def make_schedule(name: str, *, num_steps: int, beta_start: float, beta_end: float) -> Schedule:
    """The chain of ``num_steps`` steps called ``name`` in `SCHEDULES`.

    `cosine` and `jsd` are fixed by the number of steps and do not read the two betas;
    `constant` reads ``beta_end`` only.
    """
    return Schedule(SCHEDULES[name](num_steps, beta_start, beta_end))


def respace(schedule: Schedule, num_steps: int) -> Schedule:
    r"""The shorter chain through ``num_steps`` evenly spaced steps of ``schedule``, its last included.

    .. math:: \beta'_i = 1 - \bar\alpha_{n_i} / \bar\alpha_{n_{i-1}}

    Its marginals are those of the long chain, and its levels name the long chain's steps, so a
    network trained on the long chain serves it. Source: Nichol & Dhariwal (2021),
    arXiv:2102.09672, eq. 19.
    """
    if not 1 <= num_steps <= schedule.num_steps:
        raise ValueError(f"num_steps must lie in 1 .. {schedule.num_steps}, got {num_steps}")
    chosen = torch.linspace(0, schedule.num_steps, num_steps + 1, dtype=torch.float64)
    n = chosen.round().long().to(schedule.beta.device)  # [num_steps + 1]
    log_alpha_bar = torch.log1p(-schedule.beta.double()).cumsum(dim=0)[n]
    # A long stretch in one step may round to 1, which has no inverse.
    beta = -torch.expm1(log_alpha_bar[1:] - log_alpha_bar[:-1])
    beta = beta.clamp(max=1 - 1e-12)
    return Schedule(beta, steps=schedule.steps[n[1:]])
