r"""Noise schedules: how much of the data is left at each level of noise.

Every process here noises data as :math:`q(x_n \mid x_0) = \mathcal N(\alpha_n x_0, \sigma_n^2 I)`. Two
numbers fix a level: the log-SNR :math:`\lambda = \log(\alpha^2 / \sigma^2)`, which says how much is known,
and the norm :math:`\sqrt{\alpha^2 + \sigma^2}`, the size of unit-variance data at that level, which says in
which units. The norm is 1 for a variance-preserving (VP) process such as the DDPM chain; the others are VP
processes seen in other units.

A `Schedule` is N + 1 such levels, :math:`n = 0` being clean data, so an index in the code is the paper's. For
a VP chain :math:`\beta_n` is the variance added by step n and
:math:`\alpha_n^2 = \bar\alpha_n = \prod_{m \le n} (1 - \beta_m)`. Between its points `Schedule.at` gives
every level in continuous time.

Sources: Sohl-Dickstein et al. (2015), arXiv:1503.03585; Ho et al. (2020), arXiv:2006.11239;
Song et al. (2021), arXiv:2011.13456; Kingma et al. (2021), arXiv:2107.00630 (log-SNR).
"""

import math
from bisect import bisect_left
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from timediff.registry import SCHEDULES

__all__ = [
    "MAX_BETA",
    "Level",
    "Schedule",
    "chain",
    "constant",
    "cosine",
    "jsd",
    "linear",
    "make_schedule",
    "quadratic",
    "sigmoid",
    "sub_vp",
    "ve",
    "vp",
]

# A step that destroys all information has no inverse; Nichol & Dhariwal (2021) cap at the same value.
MAX_BETA = 0.999


class Level(NamedTuple):
    """A noise level as a denoiser sees it: tensors ``[...]``, one per row, or floats shared by all rows.

    Attributes:
        log_snr: log(alpha^2 / sigma^2).
        alpha: Factor of the clean data.
        sigma: Factor of the noise.
        n: Step of the chain that the network was trained on; between two steps a fraction.
    """

    log_snr: Any
    alpha: Any
    sigma: Any
    n: Any

    @property
    def norm(self) -> Any:
        """Size of unit-variance data at this level; 1 for a variance-preserving process."""
        return (self.alpha**2 + self.sigma**2) ** 0.5

    @property
    def angle(self) -> float:
        """Of a level in floats, the angle whose tangent is noise over data: 0 (clean) to half of pi."""
        return math.atan2(self.sigma, self.alpha)


class Schedule(nn.Module):
    """A chain of N + 1 levels with everything that depends on two neighbours.

    Computed in float64; the buffers, indexed by tensors of steps, are cast once to the default dtype.

    Args:
        log_snr: Falling, float64 ``[N + 1]``; the first may be infinite (clean data).
        norm: sqrt(alpha^2 + sigma^2), float64 ``[N + 1]``; 1 (variance preserving) when left out.
        steps: The step of the network's own chain that each point stands for, integer ``[N + 1]``;
            0 .. N when left out.
    """

    alpha: Tensor
    sigma: Tensor
    log_snr: Tensor
    beta: Tensor
    retain: Tensor
    posterior_x0: Tensor
    posterior_xn: Tensor
    posterior_variance: Tensor
    posterior_log_variance: Tensor
    steps: Tensor

    def __init__(
        self, log_snr: Tensor, norm: Tensor | None = None, *, steps: Tensor | None = None
    ) -> None:
        super().__init__()
        log_snr = log_snr.double()
        if not (log_snr.diff() < 0).all():
            raise ValueError("the log-SNR must fall from each level to the next")
        norm = torch.ones_like(log_snr) if norm is None else norm.double()
        alpha = norm * torch.sigmoid(log_snr).sqrt()
        sigma = norm * torch.sigmoid(-log_snr).sqrt()
        retain = torch.cat([alpha.new_ones(1), alpha[1:] / alpha[:-1]])
        # 1 - SNR_n / SNR_{n-1}.
        lost = torch.cat([alpha.new_zeros(1), -torch.expm1(log_snr.diff())])
        # sigma_{n-1}^2 / sigma_n^2.
        variance_ratio = torch.cat([alpha.new_zeros(1), (sigma[:-1] / sigma[1:]) ** 2])
        posterior_variance = sigma**2 * lost * variance_ratio
        # Step 1 has variance 0: its log is that of step 2 (Nichol & Dhariwal 2021, section 3.1).
        floor = posterior_variance[2] if len(log_snr) > 2 else sigma[-1] ** 2
        floored = torch.cat([floor.expand(2), posterior_variance[2:]])[: len(log_snr)]
        buffers = {
            "alpha": alpha,
            "sigma": sigma,
            "log_snr": log_snr,
            # Variance and factor of one step: x_n = retain x_{n-1} + sqrt(beta) eps.
            "beta": sigma**2 * lost,
            "retain": retain,
            "posterior_x0": torch.cat([alpha[:1], alpha[:-1] * lost[1:]]),
            "posterior_xn": retain * variance_ratio,
            "posterior_variance": posterior_variance,
            "posterior_log_variance": floored.log(),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value.to(torch.get_default_dtype()), persistent=False)
        if steps is None:
            steps = torch.arange(len(log_snr))
        self.register_buffer("steps", steps, persistent=False)
        #: The float buffers as lists of float64 numbers, for loops that must not wait for a device.
        self.floats = {name: value.tolist() for name, value in buffers.items()}
        columns = (*(self.floats[name] for name in ("log_snr", "alpha", "sigma")), steps.tolist())
        #: Every level in floats.
        self.points = tuple(Level(*row) for row in zip(*columns, strict=True))
        #: Points with noise, between which `at` finds its levels: those of the long chain for a short one.
        self.noisy = tuple(point for point in self.points if point.log_snr < math.inf)
        #: Whether alpha^2 + sigma^2 is 1 at every level.
        self.preserves_variance = all(abs(point.norm - 1) < 1e-9 for point in self.points)

    @property
    def num_steps(self) -> int:
        return len(self.points) - 1

    @property
    def prior_std(self) -> float:
        """Standard deviation of the noise that the reverse chain starts from."""
        return self.points[-1].norm

    def level(self, n: Tensor) -> Level:
        """The level of step ``n``, integer ``[...]``, in tensors of that shape."""
        return Level(self.log_snr[n], self.alpha[n], self.sigma[n], self.steps[n])

    def at(self, log_snr: float) -> Level:
        """The level with this log-SNR in floats, between two points or beyond the last ones.

        Log norm and step follow straight lines in the log-SNR between points with finite log-SNR, a few parts
        in ten thousand from a sub-VP or VE process of 100 steps. Only the units of a level depend on this.
        """
        if log_snr == math.inf:
            return self.points[0]
        points = self.noisy
        i = bisect_left(points, -log_snr, key=lambda point: -point.log_snr)
        i = min(max(i, 1), len(points) - 1)
        if len(points) == 1:
            low = high = points[0]
            share = 0.0
        else:
            low, high = points[i - 1], points[i]
            share = (low.log_snr - log_snr) / (low.log_snr - high.log_snr)
        norm = math.exp((1 - share) * math.log(low.norm) + share * math.log(high.norm))
        alpha = norm / math.sqrt(1 + math.exp(-log_snr))
        sigma = norm / math.sqrt(1 + math.exp(log_snr))
        return Level(log_snr, alpha, sigma, max((1 - share) * low.n + share * high.n, 0.0))


def chain(beta: Tensor) -> Schedule:
    """The variance-preserving chain whose steps add the variances ``beta``, ``[N]``, each in (0, 1)."""
    if not ((beta > 0) & (beta < 1)).all():
        raise ValueError("every beta must lie strictly between 0 and 1")
    log_alpha_bar = torch.log1p(-beta.double()).cumsum(dim=0)
    # 1 - alpha_bar loses digits where little noise was added; expm1 keeps them.
    log_snr = log_alpha_bar - torch.log(-torch.expm1(log_alpha_bar))
    return Schedule(torch.cat([log_snr.new_full((1,), math.inf), log_snr]))


def linear(num_steps: int, beta_start: float, beta_end: float) -> Schedule:
    """The chain with beta rising linearly (Ho et al. 2020, section 4)."""
    return chain(torch.linspace(beta_start, beta_end, num_steps, dtype=torch.float64))


def quadratic(num_steps: int, beta_start: float, beta_end: float) -> Schedule:
    """The chain with sqrt(beta) rising linearly."""
    ramp = torch.linspace(beta_start**0.5, beta_end**0.5, num_steps, dtype=torch.float64)
    return chain(ramp**2)


def constant(num_steps: int, beta_start: float, beta_end: float) -> Schedule:
    """The chain with beta_end at every step."""
    return chain(torch.full((num_steps,), beta_end, dtype=torch.float64))


def sigmoid(num_steps: int, beta_start: float, beta_end: float) -> Schedule:
    """The chain with beta rising along a logistic curve over [-6, 6]."""
    ramp = torch.sigmoid(torch.linspace(-6, 6, num_steps, dtype=torch.float64))
    return chain(beta_start + (beta_end - beta_start) * ramp)


def jsd(num_steps: int, beta_start: float, beta_end: float) -> Schedule:
    """The chain with beta_n = 1 / (N - n + 1) (Sohl-Dickstein et al. 2015, section 2.4.1)."""
    remaining = torch.arange(num_steps, 0, -1, dtype=torch.float64)
    return chain((1 / remaining).clamp(max=MAX_BETA))


def cosine(num_steps: int, beta_start: float, beta_end: float) -> Schedule:
    r"""The chain with alpha_bar along a squared cosine (Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17).

    .. math:: \bar\alpha_n = f(n) / f(0), \quad
        f(n) = \cos^2\Big(\frac{n/N + 0.008}{1.008} \cdot \frac{\pi}{2}\Big)
    """
    n = torch.arange(num_steps + 1, dtype=torch.float64) / num_steps
    f = torch.cos((n + 0.008) / 1.008 * torch.pi / 2) ** 2
    return chain((1 - f[1:] / f[:-1]).clamp(max=MAX_BETA))


def vp(num_steps: int, beta_start: float, beta_end: float) -> Schedule:
    r"""The variance-preserving SDE at N points (Song et al. 2021, eqs. 32-33).

    .. math:: \alpha(t) = \exp\Big(-\tfrac12 \int_0^t b(s)\, ds\Big), \quad \sigma^2 = 1 - \alpha^2,
        \qquad b(t) = N (\beta_{start} + t\, (\beta_{end} - \beta_{start})), \quad t = n / N

    the limit of `linear` for many steps. sub-VP and VE are given as log-SNR and norm in the same way.
    """
    log_alpha = _vp_log_alpha(num_steps, beta_start, beta_end)
    return Schedule(2 * log_alpha - torch.log(-torch.expm1(2 * log_alpha)))


def sub_vp(num_steps: int, beta_start: float, beta_end: float) -> Schedule:
    r"""The sub-VP SDE at N points: alpha as in `vp`, :math:`\sigma = 1 - \alpha^2`.

    Source: Song et al. (2021), eq. 29.
    """
    log_alpha = _vp_log_alpha(num_steps, beta_start, beta_end)
    sigma = -torch.expm1(2 * log_alpha)
    norm = torch.sqrt(torch.exp(2 * log_alpha) + sigma**2)
    return Schedule(2 * (log_alpha - torch.log(sigma)), norm)


def _vp_log_alpha(num_steps: int, beta_start: float, beta_end: float) -> Tensor:
    t = torch.arange(num_steps + 1, dtype=torch.float64) / num_steps
    return -0.5 * num_steps * (beta_start * t + 0.5 * (beta_end - beta_start) * t**2)


def ve(num_steps: int, beta_start: float, beta_end: float) -> Schedule:
    r"""The variance-exploding SDE at N points: :math:`\alpha = 1`, sigma in a geometric sequence from
    sqrt(beta_start) to 50 (Song et al. 2021, eqs. 30-31).
    """
    ends = (math.log(50.0), 0.5 * math.log(beta_start))
    log_sigma = torch.linspace(*ends, num_steps, dtype=torch.float64).flip(0)
    log_sigma = torch.cat([log_sigma.new_full((1,), -math.inf), log_sigma])
    return Schedule(-2 * log_sigma, torch.sqrt(1 + torch.exp(2 * log_sigma)))


def make_schedule(name: str, *, num_steps: int, beta_start: float, beta_end: float) -> Schedule:
    """The chain of ``num_steps`` steps called ``name`` in `SCHEDULES`.

    `cosine` and `jsd` are fixed by the number of steps and do not read the two betas;
    `constant` reads ``beta_end`` only, `ve` ``beta_start`` only.
    """
    # Its numbers are wanted even where a network has only shapes (torch.device("meta")).
    with torch.device("cpu"):
        return SCHEDULES[name](num_steps, beta_start, beta_end)
