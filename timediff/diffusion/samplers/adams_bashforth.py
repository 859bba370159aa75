"""Adams-Bashforth's method in the angle between data and noise."""

import math
from typing import Annotated

from torch import Tensor

from timediff.diffusion.process import Denoiser
from timediff.diffusion.samplers.ancestral import Noise
from timediff.diffusion.schedule import Schedule
from timediff.options import Between, within_limits

__all__ = ["adams_bashforth", "polynomial_weights"]

#: Angles too close for a line through their values.
_TOGETHER = 1e-6


@within_limits
def adams_bashforth(
    denoiser: Denoiser,
    schedule: Schedule,
    x: Tensor,
    noise: Noise,
    *,
    order: Annotated[int, Between(1, 3)] = 2,
    renewal: Annotated[float, Between(0, 1)] = 0.5,
) -> Tensor:
    r"""Clean data by the velocity, a polynomial in the angle through its newest values, ``[..., D]``.

    With :math:`\alpha = \cos\theta,\ \sigma = \sin\theta` the probability-flow ODE is

    .. math:: \frac{dx}{d\theta} = \hat v(x, \theta) = \alpha \hat\epsilon - \sigma \hat x_0

    (Salimans & Ho 2022, arXiv:2202.00512, section 4). Of standard normal data the velocity is 0, and any
    number of steps keeps their distribution, where one of DDIM, which turns by the angle, shrinks it by its
    cosine. With renewal a step goes further, to less noise, and comes back to its level with new noise of a
    share r of the variance that an ancestral step adds:

    .. math:: x_\theta = \cos\gamma\, x_{\theta'} + \sin\gamma\, z, \qquad
        \cos\theta = \cos\gamma \cos\theta',\ \sin^2\gamma = r \tilde\beta_n

    What the network got wrong at one level it then sees again, under other noise, at the next; with all of
    it three steps make paths too wide on some data (``evaluation/few_steps.py``).

    Args:
        order: Values of the velocity in the polynomial, where there are as many.
        renewal: Share r of an ancestral step's noise, from 0 (none, the ODE) to 1.
    """
    newest: list[tuple[float, Tensor]] = []
    for n in range(schedule.num_steps, 0, -1):
        start, end = schedule.points[n], schedule.points[n - 1]
        angle = start.angle
        # The step goes to less noise than there will be, of which a part is new then.
        new = renewal * schedule.floats["posterior_variance"][n]
        old = math.sqrt(max(end.sigma**2 - new, 0.0))
        target, kept = math.atan2(old, end.alpha), math.hypot(end.alpha, old)
        if angle == target:  # nothing of the data is left at either
            x = x * (end.norm / start.norm)
            continue
        if newest and newest[0][0] - angle < _TOGETHER:
            newest = newest[1:]
        of_x0, of_x = -start.norm / start.sigma, start.alpha / (start.norm * start.sigma)
        newest = [(angle, denoiser(x, start).blend(of_x0, of_x, x)), *newest][:order]
        nodes = tuple((before - angle) / (target - angle) for before, _ in newest)
        x = x * (kept / start.norm)
        for weight, (_, velocity) in zip(polynomial_weights(nodes), newest, strict=True):
            x = x.add_(velocity, alpha=kept * (target - angle) * weight)
        if new:
            x = x.add_(noise(), alpha=math.sqrt(new))
    return x


def polynomial_weights(nodes: tuple[float, ...]) -> tuple[float, ...]:
    """Weights of the values of a polynomial at up to three nodes in its integral from 0 to 1."""
    weights = []
    for i, node in enumerate(nodes):
        others = nodes[:i] + nodes[i + 1 :]
        # The integral of the product of u - a over the others a.
        integral = 1 / len(nodes) - sum(others) / max(len(others), 1)
        if len(others) == 2:
            integral += math.prod(others)
        weights.append(integral / math.prod(node - other for other in others))
    return tuple(weights)
