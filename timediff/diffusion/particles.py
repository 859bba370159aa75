r"""Sampling when some values are known: weighted particles through the reverse chain and through time.

A forecast draws :math:`x_{1:T}` from :math:`\prod_t p_\theta(x_t \mid h_t)`, with :math:`h_t` the state of
the path so far. Where entries K of some :math:`x_t` are given as y, the rest follows
:math:`p_\theta(x_{unknown} \mid y)`. Particles carry a path, its state and a weight, and are exact as their
number P grows, for any denoiser and with no gradient. This module is one time step of them
(`conditional_reverse`) and their genealogy (`Ancestry`).

**One time step.** The chain with clean entries y has the density
:math:`p(x_N) \prod_n p_\theta(x_{n-1} \mid x_n)` at :math:`x_n = (y_n, u_n)`, :math:`y_0 = y`; the noised
copies :math:`y_{1:N}` of what is given are as unknown as the rest u. Draw them from any
:math:`r(y_N) \prod_{n \ge 2} r(y_{n-1} \mid x_n, y)` and u from the model. Given :math:`x_n` the entries of
:math:`x_{n-1}` are independent, so the steps of u cancel in the ratio of target to proposal, and

.. math:: w = \frac{p(y_N)}{r(y_N)} \prod_{n=2}^N \frac{p_\theta(y_{n-1} \mid x_n)}{r(y_{n-1} \mid x_n, y)}
    \; p_\theta(y \mid x_1), \qquad E[w] = p_\theta(y \mid h_t)

is an importance weight whatever r is; that the reverse chain undoes the forward one is not assumed.

**Which r.** For an exact denoiser and short steps the best r is the forward process's
:math:`q(y_{n-1} \mid y_n, y)`, as it noises each entry by itself. A chain whose variances are too small or
whose steps are long is better served by the model's own step, corrected towards y as in a Kalman filter.
With :math:`m, s^2` the mean and variance of :math:`p_\theta(y_{n-1} \mid x_n)`, and the model's law of y
given :math:`y_{n-1}` taken to be Gaussian of slope :math:`M_{n-1}` and variance :math:`V_{n-1}`
(`lookahead`),

.. math:: r = N\Big(m + \frac{s^2 M}{M^2 s^2 + V} (y - \hat x_0(x_n)_K),\; \frac{s^2 V}{M^2 s^2 + V}\Big)

which on a VP chain is :math:`q(y_{n-1} \mid y_n, y)` when :math:`s^2 = \beta_n`. At low SNR it is never
narrower than that, see `SCALE_MATTERS_BELOW`. The start is :math:`r(y_N) = q(y_N \mid y)`.

**When to resample.** Weights so far say nothing of how well :math:`x_n` agrees with y. They are compared
after multiplication with :math:`\psi_n(x_n) = N(y; \hat x_0(x_n)_K, V_n)`, an estimate of
:math:`p_\theta(y \mid x_n)` that costs nothing and is that density itself at n = 1. It telescopes away, so it
changes which particles are kept, not the law. Without it the noise of the copies would decide who is kept.

Resampled particles are copies, in this chain and in all steps before: a later step that is given thins the
earlier ones out. `Ancestry` says how many different draws are left at each step.

Sources: Trippe et al. (2023), arXiv:2206.04119 (SMCDiff: particles under a replaced, noised part);
Dou & Song (2024), ICLR (FPS: a noised copy per particle); Wu et al. (2023), arXiv:2306.17775 (TDS: twisting
by the predicted clean data); Doucet, Godsill & Andrieu (2000), Statistics and Computing 10 (locally best
proposals); Del Moral, Doucet & Jasra (2006), JRSS B 68 (samplers on extended spaces).
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from timediff.diffusion.parameterisation import Prediction
from timediff.diffusion.process import Denoiser
from timediff.diffusion.schedule import Schedule

__all__ = [
    "RESAMPLE_BELOW",
    "SAME_DRAW_ABOVE",
    "SCALE_MATTERS_BELOW",
    "Ancestry",
    "Conditioned",
    "conditional_reverse",
    "effective_size",
    "lookahead",
    "systematic",
]

#: Share of the particles below which the effective number of them must fall before they are resampled.
RESAMPLE_BELOW = 0.5

#: Log-SNR above which two copies of a particle stay one draw: half of unit data's variance is fixed there.
SAME_DRAW_ABOVE = 0.0

#: Log-SNR up to which the lookahead depends on the scale of the data, which is not known to be 1. A proposal
#: narrower than the forward posterior is not risked there, for its weights may have no variance.
SCALE_MATTERS_BELOW = 4.0


class Conditioned(NamedTuple):
    """P particles after a time step.

    Attributes:
        x0: Their values of the step, known entries included, ``[P, D]``.
        rows: Which of the caller's particles each continues, ``[P]``: its path and state must follow.
        draws: Number of each one's draw, ``[P]``; particles with equal numbers are (nearly) copies.
        log_weights: Unnormalised, float64 ``[P]``. The mean weight has gained the factor by which the
            particles estimate the density of what was given.
    """

    x0: Tensor
    rows: Tensor
    draws: Tensor
    log_weights: Tensor


def effective_size(log_weights: Tensor) -> Tensor:
    r"""Number of equally weighted particles worth as much, :math:`1 / \sum_p w_p^2`, ``[...]``.

    Source: Kong, Liu & Wong (1994), JASA 89.

    Args:
        log_weights: Unnormalised, ``[..., P]``.
    """
    return 1 / (log_weights.softmax(dim=-1) ** 2).sum(dim=-1)


def systematic(log_weights: Tensor, u: float, *, size: int | None = None) -> Tensor:
    r"""Indices drawn in proportion to the weights with a single uniform number, ``[size]``, ascending.

    .. math:: \text{index}_s = \min\Big\{i : \sum_{p \le i} w_p > \frac{s + u}{S}\Big\}, \quad s = 0 .. S - 1

    so each particle is taken :math:`S w_p` times, rounded up or down, and so on average.
    Source: Kitagawa (1996), JCGS 5.

    Args:
        log_weights: Unnormalised, ``[P]``.
        u: In [0, 1).
        size: S; P when left out.
    """
    size = len(log_weights) if size is None else size
    cumulative = log_weights.double().softmax(dim=0).cumsum(dim=0)
    # The last entry becomes exactly 1 and places stay below it, so that no particle without weight is taken.
    places = (torch.arange(size, dtype=torch.float64, device=cumulative.device) + u) / size
    return torch.searchsorted(cumulative / cumulative[-1], places.clamp(max=1 - 2**-53), right=True)


@lru_cache(maxsize=8)
def lookahead(schedule: Schedule, *, variance: str) -> tuple[list[float], list[float]]:
    r"""Slope and variance of the model's law of unit clean data given :math:`x_n`, ``[N + 1]`` each.

    .. math:: M_n = \frac{\alpha_n}{\alpha_n^2 + \sigma_n^2}, \qquad
        V_n = V_{n-1} + M_{n-1}^2 s_n^2, \quad V_0 = 0, M_0 = 1

    with :math:`s_n^2` the variance of step n: exact for N(0, 1) data and its exact denoiser. Learned
    variance counts as large, where :math:`V_n = \sigma_n^2` on a VP chain, the truth.
    """
    slope = [1.0, *(point.alpha / point.norm**2 for point in schedule.points[1:])]
    spread = [0.0]
    for n in range(1, schedule.num_steps + 1):
        s2 = _fixed_variance(schedule, n, "small" if variance == "small" else "large")
        spread.append(spread[-1] + slope[n - 1] ** 2 * s2)
    return slope, spread


def conditional_reverse(
    bind: Callable[[Tensor, Tensor | None], Denoiser],
    schedule: Schedule,
    known: Tensor,
    values: Tensor,
    log_weights: Tensor,
    noise: Callable[[], Tensor],
    uniform: Callable[[], float],
    *,
    variance: str = "small",
) -> Conditioned:
    r"""P particles after a time step by the learned reverse chain, some entries of it known.

    With nothing known it is `timediff.diffusion.samplers.ancestral.ancestral`, weights unchanged. As there,
    the unknown entries take no noise in the last step; for the known ones its density has the floored
    variance of `timediff.diffusion.process.reverse_step`. See the module for the method.

    Args:
        bind: ``bind(rows, x0)`` gives the denoiser under the conditions of those rows of the caller's
            particles, ``[P]``. ``x0`` is the last denoiser's estimate for them, ``[P, D]``, for
            networks that condition on it; None at first.
        schedule: The chain to walk, already respaced.
        known: Which entries are known, bool ``[D]``.
        values: Their values for each particle, ``[P, D]``; anything elsewhere.
        log_weights: Of the caller's particles, ``[P]``.
        noise: Gives the next standard normal tensor ``[P, D]``; called once per step of the chain.
        uniform: Gives the next uniform number in [0, 1); called when particles are resampled.
        variance: ``"small"``, ``"large"`` or ``"learned"``.

    Raises:
        ValueError: A given value is not a finite number, or no particle is left with any weight.
    """
    count, any_known = len(values), bool(known.any())
    y = torch.where(known, values, 0.0)
    if not torch.isfinite(y).all():
        raise ValueError("every given value must be a finite number")
    slope, spread = lookahead(schedule, variance=variance)
    rows = draws = torch.arange(count, device=values.device)
    denoiser = bind(rows, None)

    def density(x: Tensor, mean: Tensor | float, s2: Any) -> Tensor:
        return torch.where(known, _log_normal(x, mean, s2), 0.0).sum(dim=-1)  # [P]

    last, start = schedule.points[-1], noise()
    x = torch.where(known, last.alpha * y + last.sigma * start, schedule.prior_std * start)
    log_weights = log_weights.double() + density(x, 0.0, schedule.prior_std**2)
    log_weights = log_weights - density(x, last.alpha * y, last.sigma**2)
    for n in range(schedule.num_steps, 0, -1):
        level = schedule.points[n]
        prediction = denoiser(x, level)
        mean, s2 = _reverse(schedule, prediction, x, n, variance)
        if any_known:
            log_psi = density(y, prediction.x0, spread[n]) if n > 1 else density(y, mean, s2)
            twisted = log_weights + log_psi
            # The host waits for this number, once a step: conditions are bound anew only after resampling.
            size = float(effective_size(twisted))
            if math.isnan(size):
                raise ValueError("no particle gives the given values any weight")
            if size < RESAMPLE_BELOW * count:
                parents = systematic(twisted, uniform())
                x, y, log_psi, rows = x[parents], y[parents], log_psi[parents], rows[parents]
                draws = draws[parents] if level.log_snr > SAME_DRAW_ABOVE else draws
                log_weights = twisted.logsumexp(dim=0) - math.log(count) - log_psi
                prediction = _select(prediction, parents)
                mean, s2 = _reverse(schedule, prediction, x, n, variance)
                denoiser = bind(rows, prediction.x0) if n > 1 else denoiser
        if n == 1:
            break
        z = noise()
        x = mean + s2**0.5 * z
        if any_known:
            y_mean, y_s2 = _towards(schedule, n, mean, s2, y - prediction.x0, slope, spread)
            x = torch.where(known, y_mean + y_s2**0.5 * z, x)
            log_weights = log_weights + density(x, mean, s2) - density(x, y_mean, y_s2)
    if any_known:
        log_weights = log_weights + log_psi
    return Conditioned(torch.where(known, y, mean), rows, draws, log_weights)


def _fixed_variance(schedule: Schedule, n: int, variance: str) -> float:
    if variance == "large":
        return schedule.floats["beta"][n]
    if variance == "small":
        return math.exp(schedule.floats["posterior_log_variance"][n])
    raise ValueError(f"variance must be small, large or learned, got {variance!r}")


def _reverse(
    schedule: Schedule, prediction: Prediction, x: Tensor, n: int, variance: str
) -> tuple[Tensor, Any]:
    """Mean ``[P, D]`` and variance, a number or ``[P, D]``: `reverse_step` in floats."""
    floats = schedule.floats
    mean = floats["posterior_x0"][n] * prediction.x0 + floats["posterior_xn"][n] * x
    if variance != "learned":
        return mean, _fixed_variance(schedule, n, variance)
    if prediction.fraction is None:
        raise ValueError("variance is learned, but the network predicts none")
    small, large = floats["posterior_log_variance"][n], math.log(floats["beta"][n])
    return mean, torch.exp(small + prediction.fraction * (large - small))


def _select(prediction: Prediction, rows: Tensor) -> Prediction:
    fraction = None if prediction.fraction is None else prediction.fraction[rows]
    return Prediction(prediction.x0[rows], prediction.eps[rows], fraction)


def _towards(
    schedule: Schedule,
    n: int,
    mean: Tensor,
    s2: Any,
    error: Tensor,
    slope: list[float],
    spread: list[float],
) -> tuple[Tensor, Any]:
    r"""Mean and variance of the proposal r for step n, from the model's and :math:`y - \hat x_0`."""
    slope_before, spread_before = slope[n - 1], spread[n - 1]
    total = slope_before**2 * s2 + spread_before
    variance = s2 * spread_before / total
    if schedule.points[n].log_snr < SCALE_MATTERS_BELOW:
        least = schedule.floats["posterior_variance"][n]
        variance = (
            variance.clamp(min=least) if isinstance(variance, Tensor) else max(variance, least)
        )
    return mean + s2 * slope_before / total * error, variance


def _log_normal(x: Tensor, mean: Tensor | float, s2: Any) -> Tensor:
    """Log-density of each entry, float64."""
    log_s2 = s2.double().log() if isinstance(s2, Tensor) else math.log(s2)
    return -0.5 * ((x - mean).double() ** 2 / s2 + log_s2 + math.log(2 * math.pi))


class Ancestry:
    """Genealogy of P particles over time steps.

    Args:
        num_particles: P.
    """

    def __init__(self, num_particles: int, *, device: torch.device | None = None) -> None:
        self.identity = torch.arange(num_particles, device=device)
        self.steps: list[tuple[Tensor, Tensor]] = []

    def record(self, rows: Tensor | None = None, draws: Tensor | None = None) -> None:
        """Adds a time step, both ``[P]``, as in `Conditioned`; left out where nothing was resampled."""
        self.steps.append(
            (self.identity if rows is None else rows, self.identity if draws is None else draws)
        )

    def effective_sizes(self, log_weights: Tensor) -> Tensor:
        r"""Number of different draws of each time step that the weighted particles are worth, ``[T]``.

        .. math:: 1 \Big/ \sum_a \Big(\sum_{p \text{ descends from } a} w_p\Big)^2

        over the draws a of that step; at most `effective_size`. Particles that share a draw are no
        independent evidence about its step (Lee & Whiteley 2018, arXiv:1509.00394).

        Args:
            log_weights: After the last step, unnormalised, ``[P]``.
        """
        weights, lineage = log_weights.softmax(dim=0), self.identity
        sizes = []
        for rows, draws in reversed(self.steps):
            shares = torch.zeros_like(weights).index_add(0, draws[lineage], weights)
            sizes.append(1 / (shares**2).sum())
            lineage = rows[lineage]
        return torch.stack(sizes[::-1])
