r"""What a network's output stands for: noise, clean data, velocity or score.

With :math:`x = \alpha x_0 + \sigma \epsilon` known, each of the four determines clean data and noise, and so
each other. A `Parameterisation` is the two directions of that map; all conversions follow from them.

Shapes: data ``[..., D]``; a level's tensors ``[...]`` broadcast against the leading axes, its floats against
everything.

Sources: Luo (2022), arXiv:2208.11970, section on the three equivalent objectives;
Salimans & Ho (2022), arXiv:2202.00512, section 4 (v); Song & Ermon (2019), arXiv:1907.05600 (score).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from timediff.schedule import Level


@final
class Prediction:
    """What a denoiser says about its input.

    Args:
        x0: Estimate of the clean data, ``[..., D]``.
        eps: The noise that goes with it, ``[..., D]``, or what makes it when it is asked for: many samplers
            never do.
        fraction: Where between the two bounds the logarithm of the reverse step's variance lies, 1 for the
            upper, ``[..., D]``; only from networks that learn it.
    """

    def __init__(
        self, x0: Tensor, eps: Tensor | Callable[[], Tensor], fraction: Tensor | None = None
    ) -> None:
        self.x0, self.fraction, self._eps = x0, fraction, eps

    @property
    def eps(self) -> Tensor:
        if not isinstance(self._eps, Tensor):
            self._eps = self._eps()
        return self._eps

    def replace(self, *, x0: Tensor | None = None, fraction: Tensor | None = None) -> "Prediction":
        """The same with another estimate or fraction, where one is given."""
        x0 = self.x0 if x0 is None else x0
        return Prediction(x0, self._eps, self.fraction if fraction is None else fraction)


class Parameterisation(NamedTuple):
    """One of the four.

    Attributes:
        of: ``of(x0, eps, level)``, the quantity itself, ``[..., D]``.
        x0: ``x0(value, x, level)``, the clean data it stands for at ``x``, ``[..., D]``.
        eps: ``eps(value, x, level)``, the noise it stands for at ``x``, ``[..., D]``.
    """

    of: Callable[[Tensor, Tensor, Level], Tensor]
    x0: Callable[[Tensor, Tensor, Level], Tensor]
    eps: Callable[[Tensor, Tensor, Level], Tensor]


def factors(level: Level) -> tuple[Any, Any]:
    r""":math:`\alpha` and :math:`\sigma` as factors of data ``[..., D]``."""
    if isinstance(level.alpha, Tensor):
        return level.alpha[..., None], level.sigma[..., None]
    return level.alpha, level.sigma


def mix(a: Any, x: Tensor, b: Any, y: Tensor) -> Tensor:
    """``a x + b y``; in two passes over the data, not three, where ``b`` is a number."""
    return a * x + b * y if isinstance(b, Tensor) else torch.add(a * x, y, alpha=b)


def _itself(value: Tensor, x: Tensor, level: Level) -> Tensor:
    return value


def _noise(x0: Tensor, eps: Tensor, level: Level) -> Tensor:
    return eps


def _x0_of_noise(value: Tensor, x: Tensor, level: Level) -> Tensor:
    r""":math:`x_0 = (x - \sigma\epsilon) / \alpha` (Ho et al. 2020, eq. 15)."""
    alpha, sigma = factors(level)
    return mix(1 / alpha, x, -sigma / alpha, value)


def _x0(x0: Tensor, eps: Tensor, level: Level) -> Tensor:
    return x0


def _eps_of_x0(value: Tensor, x: Tensor, level: Level) -> Tensor:
    r""":math:`\epsilon = (x - \alpha x_0) / \sigma`."""
    alpha, sigma = factors(level)
    return mix(1 / sigma, x, -alpha / sigma, value)


def _v(x0: Tensor, eps: Tensor, level: Level) -> Tensor:
    r""":math:`v = \alpha\epsilon - \sigma x_0` (Salimans & Ho 2022, appendix D)."""
    alpha, sigma = factors(level)
    return mix(alpha, eps, -sigma, x0)


def _rotation(level: Level) -> tuple[Any, Any]:
    """``alpha`` and ``sigma`` over ``alpha^2 + sigma^2``, which is 1 where the process preserves variance."""
    alpha, sigma = factors(level)
    r = alpha**2 + sigma**2
    return alpha / r, sigma / r


def _x0_of_v(value: Tensor, x: Tensor, level: Level) -> Tensor:
    r""":math:`x_0 = (\alpha x - \sigma v) / r`."""
    alpha, sigma = _rotation(level)
    return mix(alpha, x, -sigma, value)


def _eps_of_v(value: Tensor, x: Tensor, level: Level) -> Tensor:
    r""":math:`\epsilon = (\sigma x + \alpha v) / r`."""
    alpha, sigma = _rotation(level)
    return mix(sigma, x, alpha, value)


def _score(x0: Tensor, eps: Tensor, level: Level) -> Tensor:
    r""":math:`\nabla_x \log q(x \mid x_0) = -\epsilon / \sigma`."""
    return -eps / factors(level)[1]


def _x0_of_score(value: Tensor, x: Tensor, level: Level) -> Tensor:
    return _x0_of_noise(_eps_of_score(value, x, level), x, level)


def _eps_of_score(value: Tensor, x: Tensor, level: Level) -> Tensor:
    return -factors(level)[1] * value


PARAMETERISATIONS = {
    "noise": Parameterisation(_noise, _x0_of_noise, _itself),
    "x0": Parameterisation(_x0, _itself, _eps_of_x0),
    "v": Parameterisation(_v, _x0_of_v, _eps_of_v),
    "score": Parameterisation(_score, _x0_of_score, _eps_of_score),
}


def predict(value: Tensor, x: Tensor, level: Level, *, kind: str) -> Prediction:
    """The prediction that an output of this kind of `PARAMETERISATIONS` stands for."""
    one = PARAMETERISATIONS[kind]
    return Prediction(one.x0(value, x, level), lambda: one.eps(value, x, level))


def convert(value: Tensor, x: Tensor, level: Level, *, source: str, target: str) -> Tensor:
    """One quantity from another at the same ``x``, ``[..., D]``."""
    found = predict(value, x, level, kind=source)
    return PARAMETERISATIONS[target].of(found.x0, found.eps, level)
