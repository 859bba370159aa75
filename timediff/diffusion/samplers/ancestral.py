"""The reverse chain itself."""

import math
from collections.abc import Callable
from typing import Annotated

from torch import Tensor

from timediff.diffusion.parameterisation import Prediction
from timediff.diffusion.process import Denoiser
from timediff.diffusion.schedule import Schedule
from timediff.options import Between, within_limits

__all__ = ["FIXED_VARIANCES", "Noise", "ancestral", "slope_weight"]

Noise = Callable[[], Tensor]


#: Where a `Schedule` keeps the fixed variances of a reverse step.
FIXED_VARIANCES = {"small": "posterior_variance", "large": "beta"}


@within_limits
def ancestral(
    denoiser: Denoiser,
    schedule: Schedule,
    x: Tensor,
    noise: Noise,
    *,
    variance: str = "small",
    extrapolation: Annotated[float, Between(0, 1)] = 0.5,
) -> Tensor:
    r"""Clean data drawn by the learned reverse chain, ``[..., D]``.

    .. math:: x_{n-1} = \tilde\mu_n(x_n, \bar x_0) + \sigma_n z, \qquad
        \bar x_0 = \hat x_0(x_n) + e\, w_n \big(\hat x_0(x_n) - \hat x_0(x_{n+1})\big)

    Mean and variance are those of `timediff.diffusion.process.reverse_step`, and z = 0 at n = 1. With e = 0
    this is algorithm 2 of Ho et al. (2020), arXiv:2006.11239; with e = 1 and the small variance it is the
    second-order SDE-DPM-Solver++ of Lu et al. (2022), arXiv:2211.01095, section 5, in its simplified form
    (`slope_weight`). On long steps the best scores lie between the two (``evaluation/few_steps.py``): with
    e = 0 paths are too narrow, for noise of each dimension by itself stands for what is unknown of all of
    them together, and with e = 1 they are too wide.

    Args:
        variance: ``"small"``, ``"large"`` or ``"learned"``.
        extrapolation: How much of a second-order step is taken, e from 0 to 1.
    """
    previous: Tensor | None = None
    for n in range(schedule.num_steps, 0, -1):
        prediction = denoiser(x, schedule.points[n])
        mean = _mean(schedule, prediction, x, n, previous, extrapolation=extrapolation)
        previous = prediction.x0 if extrapolation and n > 2 else None
        x = _with_noise(schedule, prediction, mean, n, noise, variance=variance)
    return x


def _mean(
    schedule: Schedule,
    prediction: Prediction,
    x: Tensor,
    n: int,
    previous: Tensor | None = None,
    *,
    extrapolation: float = 0.0,
) -> Tensor:
    """Mean of a step of `ancestral`, ``[..., D]``, from this estimate and the previous one, if any."""
    of_x0, of_xn = schedule.floats["posterior_x0"][n], schedule.floats["posterior_xn"][n]
    if previous is None:
        return prediction.blend(of_x0, of_xn, x)
    weight = extrapolation * slope_weight(schedule, n)
    return prediction.blend((1 + weight) * of_x0, of_xn, x).add_(previous, alpha=-weight * of_x0)


def slope_weight(schedule: Schedule, n: int) -> float:
    r"""Weight of the difference of the last two estimates in a second-order step n, :math:`w_n`.

    .. math:: w_n = \frac{\lambda_{n-1} - \lambda_n}{2 (\lambda_n - \lambda_{n+1})}

    with the log-SNR :math:`\lambda`: a straight line through both is followed for half a step.
    """
    previous, current, following = (schedule.points[n + i].log_snr for i in (1, 0, -1))
    return 0.5 * (following - current) / (current - previous)


def _with_noise(
    schedule: Schedule, prediction: Prediction, mean: Tensor, n: int, noise: Noise, *, variance: str
) -> Tensor:
    """Draw of a step, ``[..., D]``; may overwrite its mean."""
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
    relative_std = (tilt * (0.25 * (large - small) / math.log(2))).exp2_()
    return mean.addcmul_(relative_std, noise(), value=math.exp(0.25 * (large + small)))
