r"""Samplers: from noise at the last level of a schedule back to data at its first.

Every sampler is a function ``name(denoiser, schedule, x, noise, *, options) -> x0`` listed in `SAMPLERS`:

- ``denoiser(x, level) -> Prediction``, all that is seen of the network, with ``level`` in floats;
- ``schedule``, the chain to walk, already respaced (`timediff.spacing.respace`);
- ``x``, the start at level N, ``[..., D]``: standard normal noise times ``schedule.prior_std``;
- ``noise()``, the next standard normal tensor like ``x``. Randomness is the caller's.

With clean data :math:`x_0` and noise :math:`\epsilon` predicted at level n, the chain goes on to level n - 1.
`ancestral` and `ddim` draw from a posterior; `dpm_solver`, `sde_dpm_solver` and `heun` solve the reverse
equations that Song et al. (2021), arXiv:2011.13456, eqs. 6 and 13, derive; `langevin` moves within a level.
In the coordinates :math:`y = x / \alpha,\ \rho = \sigma / \alpha` every process is the same, so all of them
serve VP, sub-VP and VE chains alike.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from timediff.diffusion import Denoiser
from timediff.exponential import multistep, require
from timediff.parameterisation import Prediction, mix
from timediff.schedule import Level, Schedule

Noise = Callable[[], Tensor]

#: Langevin steps at each level.
CORRECTIONS = 1

#: Where a `Schedule` keeps the fixed variances of a reverse step.
FIXED_VARIANCES = {"small": "posterior_variance", "large": "beta"}


def ancestral(
    denoiser: Denoiser,
    schedule: Schedule,
    x: Tensor,
    noise: Noise,
    *,
    variance: str = "small",
    extrapolation: float = 0.0,
) -> Tensor:
    r"""Draws :math:`x_0` by the learned reverse chain, ``[..., D]``.

    .. math:: x_{n-1} = \tilde\mu_n(x_n, \bar x_0) + \sigma_n z, \qquad
        \bar x_0 = \hat x_0(x_n) + e\, w_n \big(\hat x_0(x_n) - \hat x_0(x_{n+1})\big)

    Mean and variance are those of `timediff.diffusion.reverse_step`, and z = 0 at n = 1. With e = 0 this is
    algorithm 2 of Ho et al. (2020), arXiv:2006.11239; with e = 1 and the small variance it is the
    second-order SDE-DPM-Solver++ of Lu et al. (2022), arXiv:2211.01095, section 5, in its simplified form
    (`ahead`). On long steps the best scores lie between the two (``evaluation/few_steps.py``): with e = 0
    paths are too narrow, for noise of each dimension by itself stands for what is unknown of all of them
    together, and with e = 1 they are too wide.

    Args:
        variance: ``"small"``, ``"large"`` or ``"learned"``.
        extrapolation: e, from 0 to 1.
    """
    require("extrapolation", extrapolation, 0, 1)
    last: Tensor | None = None
    for n in range(schedule.num_steps, 0, -1):
        prediction = denoiser(x, schedule.points[n])
        mean = _mean(schedule, prediction, x, n, last, extrapolation=extrapolation)
        last = prediction.x0 if extrapolation and n > 2 else None
        x = _with_noise(schedule, prediction, mean, n, noise, variance=variance)
    return x


def _mean(
    schedule: Schedule,
    prediction: Prediction,
    x: Tensor,
    n: int,
    last: Tensor | None = None,
    *,
    extrapolation: float = 0.0,
) -> Tensor:
    """Mean of a step of `ancestral`, ``[..., D]``, given the estimate at the step before if there is one."""
    of_x0, of_xn = schedule.floats["posterior_x0"][n], schedule.floats["posterior_xn"][n]
    if last is None:
        return prediction.blend(of_x0, of_xn, x)
    more = extrapolation * ahead(schedule, n)
    return prediction.blend((1 + more) * of_x0, of_xn, x).add_(last, alpha=-more * of_x0)


def ahead(schedule: Schedule, n: int) -> float:
    r"""How far a straight line through the last two estimates is followed at step n, :math:`w_n`.

    .. math:: w_n = \frac{\lambda_{n-1} - \lambda_n}{2 (\lambda_n - \lambda_{n+1})}

    with the log-SNR :math:`\lambda`: half a step ahead.
    """
    before, here, after = (schedule.points[n + i].log_snr for i in (1, 0, -1))
    return 0.5 * (after - here) / (here - before)


def _with_noise(
    schedule: Schedule, prediction: Prediction, mean: Tensor, n: int, noise: Noise, *, variance: str
) -> Tensor:
    """The draw of a step; may overwrite its mean."""
    if n == 1:
        return mean
    if variance in FIXED_VARIANCES:
        return mean.add_(noise(), alpha=math.sqrt(schedule.floats[FIXED_VARIANCES[variance]][n]))
    if variance != "learned":
        raise ValueError(f"variance must be small, large or learned, got {variance!r}")
    tilt = prediction.tilt
    if tilt is None:
        raise ValueError("variance is learned, but the network predicts none")
    small = schedule.floats["posterior_log_variance"][n]
    large = math.log(schedule.floats["beta"][n])
    # torch is quicker at powers of two than at those of e.
    above = (tilt * (0.25 * (large - small) / math.log(2))).exp2_()
    return mean.addcmul_(above, noise(), value=math.exp(0.25 * (large + small)))


def ddim(
    denoiser: Denoiser, schedule: Schedule, x: Tensor, noise: Noise, *, eta: float = 0.0
) -> Tensor:
    r"""Denoising diffusion implicit model, ``[..., D]``.

    .. math:: x_{n-1} = \alpha_{n-1} \hat x_0 + \sqrt{\sigma_{n-1}^2 - s_n^2}\, \hat\epsilon + s_n z, \qquad
        s_n^2 = \eta^2\, \tilde\beta_n

    ``eta = 0`` is deterministic, ``eta = 1`` is `ancestral` with the small variance.
    Source: Song et al. (2021), arXiv:2010.02502, eqs. 12 and 16, whose alpha is our alpha squared.
    """
    require("eta", eta, 0, 1)
    for n in range(schedule.num_steps, 0, -1):
        prediction = denoiser(x, schedule.points[n])
        end, variance = schedule.points[n - 1], eta**2 * schedule.floats["posterior_variance"][n]
        kept = math.sqrt(max(end.sigma**2 - variance, 0.0))
        x = mix(end.alpha, prediction.x0, kept, prediction.eps)
        if variance > 0:
            x = x + math.sqrt(variance) * noise()
    return x


def dpm_solver(
    denoiser: Denoiser, schedule: Schedule, x: Tensor, noise: Noise, *, order: int = 2
) -> Tensor:
    """DPM-Solver++ on the probability-flow ODE, multistep, of order 1 (which is `ddim`), 2 or 3.

    Source: Lu et al. (2022), arXiv:2211.01095, algorithm 2; see `timediff.exponential`.
    """
    return multistep(denoiser, schedule, x, noise, order=order, rate=1)


def sde_dpm_solver(
    denoiser: Denoiser, schedule: Schedule, x: Tensor, noise: Noise, *, order: int = 2
) -> Tensor:
    """DPM-Solver++ on the reverse SDE, multistep, with a drift of order 1 to 3.

    Order 1 is `ddim` with ``eta = 1``. Source: Lu et al. (2022), arXiv:2211.01095, section 5; see
    `exponential_step`.
    """
    return multistep(denoiser, schedule, x, noise, order=order, rate=2)


def heun(
    denoiser: Denoiser, schedule: Schedule, x: Tensor, noise: Noise, *, churn: float = 0.0
) -> Tensor:
    r"""Heun's method on the probability-flow ODE :math:`dy / d\rho = \hat\epsilon`, ``[..., D]``.

    .. math:: y' = y + \tfrac12 (\rho_{n-1} - \rho_n) (\hat\epsilon_n + \hat\epsilon_{n-1})

    and Euler's on the step to clean data. Churn first adds noise up to :math:`\rho (1 + \gamma)`,
    :math:`\gamma = \min(churn / N, \sqrt 2 - 1)`. It stops at the last level, above which no network was
    trained. Source: Karras et al. (2022), arXiv:2206.00364, algorithms 1 and 2.
    """
    require("churn", churn, 0, math.inf)
    gamma = min(churn / schedule.num_steps, math.sqrt(2) - 1)
    for n in range(schedule.num_steps, 0, -1):
        start, end = schedule.points[n], schedule.points[n - 1]
        if gamma > 0 and n < schedule.num_steps:
            raised = start.log_snr - 2 * math.log1p(gamma)
            raised_to = schedule.at(max(raised, schedule.points[-1].log_snr))
            kept, added = _units(start, raised_to)
            x = kept * x + math.sqrt(added * (raised_to.sigma + kept * start.sigma)) * noise()
            start = raised_to
        kept, step = _units(start, end)
        slope = denoiser(x, start).eps
        guess = kept * x + step * slope
        if end.sigma > 0:
            slope = 0.5 * (slope + denoiser(guess, end).eps)
            guess = kept * x + step * slope
        x = guess
    return x


def _units(start: Level, end: Level) -> tuple[float, float]:
    r""":math:`\alpha_t / \alpha_s` and :math:`\alpha_t (\rho_t - \rho_s)`; y itself may overflow."""
    kept = end.alpha / start.alpha
    return kept, end.sigma - kept * start.sigma


def langevin(
    denoiser: Denoiser,
    schedule: Schedule,
    x: Tensor,
    noise: Noise,
    *,
    corrections: int = CORRECTIONS,
    snr: float = 0.5,
) -> Tensor:
    r"""Annealed Langevin dynamics: `langevin_step` at each level N .. 1, then the denoiser's own answer.

    From level to level only the units change, :math:`x_{n-1} = (\alpha_{n-1} / \alpha_n)\, x_n`; the noise
    now too much is left to the steps, each of which leaves :math:`1 - 2 r^2` of it. They must keep up with
    :math:`\sigma / \alpha`, which falls by a factor of a thousand along the default chain: this sampler needs
    many levels or corrections and, with one correction, more than the r = 0.22 of Song & Ermon with 100.

    Source: Song & Ermon (2019), arXiv:1907.05600, algorithm 1. The last denoising:
    Jolicoeur-Martineau et al. (2021), arXiv:2009.05475.

    Args:
        corrections: Langevin steps at each level.
        snr: r of `langevin_step`, below 1.
    """
    require("corrections", corrections, 1, math.inf)
    require("snr", snr, 0, 1)
    for n in range(schedule.num_steps, 0, -1):
        level, end = schedule.points[n], schedule.points[n - 1]
        for _ in range(corrections):
            x = langevin_step(denoiser, level, x, noise, snr=snr)
        if n > 1:
            x = (end.alpha / level.alpha) * x
    prediction = denoiser(x, level)
    return end.alpha * prediction.x0 + end.sigma * prediction.eps


def langevin_step(
    denoiser: Denoiser, level: Level, x: Tensor, noise: Noise, *, snr: float
) -> Tensor:
    r"""One Langevin step within a level, ``[..., D]``.

    .. math:: x' = x + \delta \nabla \log q(x) + \sqrt{2\delta}\, z, \qquad \delta = 2 (r \sigma)^2

    Song et al. choose :math:`\delta = 2 (r\, \|z\| / \|\nabla \log q\|)^2`, times :math:`1 - \beta_n` for VP,
    with norms averaged over the batch. A path would then depend on its neighbours, so here are the norms
    expected for data that is a point, :math:`\sqrt D` and :math:`\sqrt D / \sigma`. Variances at a level are
    :math:`\sigma^2` at least, so the step is stable for r < 1 in every process, and what it settles at has a
    variance too large by :math:`r^2 / (1 - r^2)` at most. The factor for VP is nearly 1 and not needed.

    Source: Song et al. (2021), arXiv:2011.13456, algorithms 4 and 5.
    """
    eps = denoiser(x, level).eps
    # delta times the score, -eps / sigma, and sqrt(2 delta), multiplied out.
    return x - (2 * snr**2 * level.sigma) * eps + (2 * snr * level.sigma) * noise()


def predictor_corrector(
    denoiser: Denoiser,
    schedule: Schedule,
    x: Tensor,
    noise: Noise,
    *,
    corrections: int = CORRECTIONS,
    snr: float = 0.16,
    variance: str = "small",
) -> Tensor:
    """`ancestral` with Langevin steps at every level it comes to, clean data excepted, ``[..., D]``.

    Source: Song et al. (2021), arXiv:2011.13456, algorithms 2 and 3.

    Args:
        corrections: Langevin steps at each level.
        snr: r of `langevin_step`, below 1.
        variance: As in `ancestral`.
    """
    require("corrections", corrections, 0, math.inf)
    require("snr", snr, 0, 1)
    for n in range(schedule.num_steps, 0, -1):
        prediction = denoiser(x, schedule.points[n])
        mean = _mean(schedule, prediction, x, n)
        x = _with_noise(schedule, prediction, mean, n, noise, variance=variance)
        for _ in range(corrections if n > 1 else 0):
            x = langevin_step(denoiser, schedule.points[n - 1], x, noise, snr=snr)
    return x


class Sampler(NamedTuple):
    """An entry of `SAMPLERS`.

    Attributes:
        run: The sampler itself.
        calls: ``calls(num_steps, **options)``, how often it calls the network on a chain of that many steps
            that ends in clean data.
    """

    run: Callable[..., Tensor]
    calls: Callable[..., int]

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the keyword options of `run`."""
        parameters = inspect.signature(self.run).parameters.values()
        return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)


def _one_each(num_steps: int, **options: Any) -> int:
    return num_steps


def _heun_calls(num_steps: int, **options: Any) -> int:
    return 2 * num_steps - 1


def _langevin_calls(num_steps: int, *, corrections: int = CORRECTIONS, **options: Any) -> int:
    return corrections * num_steps + 1


def _corrected_calls(num_steps: int, *, corrections: int = CORRECTIONS, **options: Any) -> int:
    return num_steps + corrections * (num_steps - 1)


#: All of them; `timediff.config`, which must not import torch, repeats the names for the command line.
SAMPLERS = {
    "ancestral": Sampler(ancestral, _one_each),
    "ddim": Sampler(ddim, _one_each),
    "dpm++": Sampler(dpm_solver, _one_each),
    "sde-dpm++": Sampler(sde_dpm_solver, _one_each),
    "heun": Sampler(heun, _heun_calls),
    "langevin": Sampler(langevin, _langevin_calls),
    "predictor-corrector": Sampler(predictor_corrector, _corrected_calls),
}
