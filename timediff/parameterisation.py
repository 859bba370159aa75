r"""What a network's output stands for: noise, clean data, velocity or score.

With :math:`x = \alpha x_0 + \sigma \epsilon` known, each of the four determines clean data and noise, and so
each other. A `Parameterisation` is the two directions of that map; all conversions follow from them.

Shapes: data ``[..., D]``; a level's tensors ``[...]`` broadcast against the leading axes, its floats against
everything.

Sources: Luo (2022), arXiv:2208.11970, section on the three equivalent objectives;
Salimans & Ho (2022), arXiv:2202.00512, section 4 (v); Song & Ermon (2019), arXiv:1907.05600 (score).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from timediff.schedule import Level


class Prediction(NamedTuple):
    """What a denoiser says about its input.

    Attributes:
        x0: Estimate of the clean data, ``[..., D]``.
        eps: The noise that goes with it, ``[..., D]``.
        fraction: Where between the two bounds the logarithm of the reverse step's variance lies, 1 for the
            upper, ``[..., D]``; only from networks that learn it.
    """

    x0: Tensor
    eps: Tensor
    fraction: Tensor | None = None


class Parameterisation(NamedTuple):
    """One of the four.

    Attributes:
        of: ``of(x0, eps, level)``, the quantity itself, ``[..., D]``.
        solve: ``solve(value, x, level)``, the clean data and noise it stands for at ``x``, ``[..., D]`` each.
    """

    of: Callable[[Tensor, Tensor, Level], Tensor]
    solve: Callable[[Tensor, Tensor, Level], tuple[Tensor, Tensor]]


def factors(level: Level) -> tuple[Any, Any]:
    r""":math:`\alpha` and :math:`\sigma` as factors of data ``[..., D]``."""
    if isinstance(level.alpha, Tensor):
        return level.alpha[..., None], level.sigma[..., None]
    return level.alpha, level.sigma


def mix(a: Any, x: Tensor, b: Any, y: Tensor) -> Tensor:
    """``a x + b y``; in two passes over the data, not three, where ``b`` is a number."""
    return a * x + b * y if isinstance(b, Tensor) else torch.add(a * x, y, alpha=b)


def _noise(x0: Tensor, eps: Tensor, level: Level) -> Tensor:
    return eps


def _from_noise(value: Tensor, x: Tensor, level: Level) -> tuple[Tensor, Tensor]:
    r""":math:`x_0 = (x - \sigma\epsilon) / \alpha` (Ho et al. 2020, eq. 15)."""
    alpha, sigma = factors(level)
    return mix(1 / alpha, x, -sigma / alpha, value), value


def _x0(x0: Tensor, eps: Tensor, level: Level) -> Tensor:
    return x0


def _from_x0(value: Tensor, x: Tensor, level: Level) -> tuple[Tensor, Tensor]:
    r""":math:`\epsilon = (x - \alpha x_0) / \sigma`."""
    alpha, sigma = factors(level)
    return value, mix(1 / sigma, x, -alpha / sigma, value)


def _v(x0: Tensor, eps: Tensor, level: Level) -> Tensor:
    r""":math:`v = \alpha\epsilon - \sigma x_0` (Salimans & Ho 2022, appendix D)."""
    alpha, sigma = factors(level)
    return mix(alpha, eps, -sigma, x0)


def _from_v(value: Tensor, x: Tensor, level: Level) -> tuple[Tensor, Tensor]:
    r""":math:`x_0 = (\alpha x - \sigma v) / r` and :math:`\epsilon = (\sigma x + \alpha v) / r`."""
    alpha, sigma = factors(level)
    # r = 1, and this is a rotation, where the process preserves variance.
    r = alpha**2 + sigma**2
    alpha, sigma = alpha / r, sigma / r
    return mix(alpha, x, -sigma, value), mix(sigma, x, alpha, value)


def _score(x0: Tensor, eps: Tensor, level: Level) -> Tensor:
    r""":math:`\nabla_x \log q(x \mid x_0) = -\epsilon / \sigma`."""
    return -eps / factors(level)[1]


def _from_score(value: Tensor, x: Tensor, level: Level) -> tuple[Tensor, Tensor]:
    return _from_noise(-factors(level)[1] * value, x, level)


PARAMETERISATIONS = {
    "noise": Parameterisation(_noise, _from_noise),
    "x0": Parameterisation(_x0, _from_x0),
    "v": Parameterisation(_v, _from_v),
    "score": Parameterisation(_score, _from_score),
}


def predict(value: Tensor, x: Tensor, level: Level, *, kind: str) -> Prediction:
    """The prediction that an output of this kind of `PARAMETERISATIONS` stands for."""
    return Prediction(*PARAMETERISATIONS[kind].solve(value, x, level))


def convert(value: Tensor, x: Tensor, level: Level, *, source: str, target: str) -> Tensor:
    """One quantity from another at the same ``x``, ``[..., D]``."""
    x0, eps = PARAMETERISATIONS[source].solve(value, x, level)
    return PARAMETERISATIONS[target].of(x0, eps, level)
