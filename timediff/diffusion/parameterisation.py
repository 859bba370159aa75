r"""What a network's output stands for: noise, clean data, velocity or score.

With :math:`x = \alpha x_0 + \sigma \epsilon` known, each of the four determines clean data and noise, and so
each other. A `Parameterisation` says what its quantity is made of; all conversions follow from that.

Shapes: data ``[..., D]``; a level's tensors ``[...]`` broadcast against the leading axes, its floats against
everything.

Sources: Luo (2022), arXiv:2208.11970, section on the three equivalent objectives;
Salimans & Ho (2022), arXiv:2202.00512, section 4 (v); Song & Ermon (2019), arXiv:1907.05600 (score).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, final

from torch import Tensor

from timediff.diffusion.schedule import Level
from timediff.registry import PARAMETERISATIONS

__all__ = [
    "CLEAN",
    "NOISE",
    "SCORE",
    "VELOCITY",
    "Output",
    "Parameterisation",
    "Prediction",
    "convert",
    "factors",
    "mix",
    "predict",
]


class Prediction:
    """Estimates of clean data and noise in a denoiser's input.

    Args:
        x0: Estimate of the clean data, ``[..., D]``.
        eps: The noise that goes with it, ``[..., D]``.
        fraction: Where between the two bounds the logarithm of the reverse step's variance lies, 1 for the
            upper, ``[..., D]``; only from networks that learn it.
    """

    def __init__(self, x0: Tensor, eps: Tensor, fraction: Tensor | None = None) -> None:
        self._x0, self._eps, self._fraction = x0, eps, fraction

    @property
    def x0(self) -> Tensor:
        return self._x0

    @property
    def eps(self) -> Tensor:
        return self._eps

    @property
    def fraction(self) -> Tensor | None:
        return self._fraction

    @property
    def tilt(self) -> Tensor | None:
        """The fraction on the networks' scale, from -1 for the lower bound to 1 for the upper."""
        return None if self.fraction is None else 2 * self.fraction - 1

    def replace(self, *, x0: Tensor | None = None, fraction: Tensor | None = None) -> "Prediction":
        """The prediction with another estimate or fraction; what is left out stays as it is."""
        x0 = self.x0 if x0 is None else x0
        return Prediction(x0, self.eps, self.fraction if fraction is None else fraction)

    def blend(self, a: float, b: float, x: Tensor) -> Tensor:
        r""":math:`a \hat x_0 + b x` with the denoiser's input, ``[..., D]``."""
        return mix(a, self.x0, b, x)


@final
class Output(Prediction):
    """The prediction that a network's output stands for; clean data and noise are computed when asked for.

    Args:
        value: The output, ``[..., D]``.
        x: The input, ``[..., D]``.
        level: Its level.
        kind: One of `PARAMETERISATIONS`.
        tilt: As in `Prediction`, if the network learns the variance.
    """

    def __init__(
        self, value: Tensor, x: Tensor, level: Level, *, kind: str, tilt: Tensor | None = None
    ) -> None:
        self.value, self.x, self.level, self._tilt = value, x, level, tilt
        self.kind = PARAMETERISATIONS[kind]
        self._estimates: dict[str, Tensor] = {}

    @property
    def tilt(self) -> Tensor | None:
        return self._tilt

    @property
    def fraction(self) -> Tensor | None:
        return None if self._tilt is None else 0.5 + 0.5 * self._tilt

    @property
    def x0(self) -> Tensor:
        return self._once("x0", self.kind.x0)

    @property
    def eps(self) -> Tensor:
        return self._once("eps", self.kind.eps)

    def _once(self, name: str, factors_at: Callable[[Level], tuple[Any, Any]]) -> Tensor:
        if name not in self._estimates:
            of_value, of_x = factors_at(self.level)
            self._estimates[name] = mix(of_x, self.x, of_value, self.value)
        return self._estimates[name]

    def blend(self, a: float, b: float, x: Tensor) -> Tensor:
        if x is not self.x:
            return super().blend(a, b, x)
        # The estimate is linear in the output and in x, which saves a pass through memory.
        of_value, of_x = self.kind.x0(self.level)
        return mix(a * of_x + b, x, a * of_value, self.value)


class Parameterisation(NamedTuple):
    r"""A quantity :math:`p\, x_0 + q\, \epsilon` that a network's output can stand for.

    With :math:`x = \alpha x_0 + \sigma \epsilon` these are two equations for clean data and noise.

    Attributes:
        coefficients: ``coefficients(alpha, sigma)``, p and q.
    """

    coefficients: Callable[[Any, Any], tuple[Any, Any]]

    def of(self, x0: Tensor, eps: Tensor, level: Level) -> Tensor:
        """The quantity of clean data and noise, ``[..., D]``."""
        p, q = self.coefficients(*factors(level))
        return mix(p, x0, q, eps)

    def x0(self, level: Level) -> tuple[Any, Any]:
        r"""Clean data as factors of the quantity and of x,
        :math:`x_0 = (q x - \sigma v) / (\alpha q - \sigma p)`.
        """
        alpha, sigma = factors(level)
        p, q = self.coefficients(alpha, sigma)
        if _is(p, 1) and _is(q, 0):
            return 1.0, 0.0
        determinant = alpha * q - sigma * p
        return -sigma / determinant, q / determinant

    def eps(self, level: Level) -> tuple[Any, Any]:
        r"""Noise as factors of the quantity and of x,
        :math:`\epsilon = (\alpha v - p x) / (\alpha q - \sigma p)`.
        """
        alpha, sigma = factors(level)
        p, q = self.coefficients(alpha, sigma)
        if _is(p, 0) and _is(q, 1):
            return 1.0, 0.0
        determinant = alpha * q - sigma * p
        return alpha / determinant, -p / determinant


#: The noise (Ho et al. 2020).
NOISE = Parameterisation(lambda alpha, sigma: (0.0, 1.0))
#: Clean data.
CLEAN = Parameterisation(lambda alpha, sigma: (1.0, 0.0))
#: v (Salimans & Ho 2022, appendix D).
VELOCITY = Parameterisation(lambda alpha, sigma: (-sigma, alpha))
#: The score :math:`\nabla_x \log q(x \mid x_0) = -\epsilon / \sigma` (Song & Ermon 2019).
SCORE = Parameterisation(lambda alpha, sigma: (0.0, -1 / sigma))


def factors(level: Level) -> tuple[Any, Any]:
    r""":math:`\alpha` and :math:`\sigma` as factors of data ``[..., D]``."""
    if isinstance(level.alpha, Tensor):
        return level.alpha[..., None], level.sigma[..., None]
    return level.alpha, level.sigma


def mix(a: Any, x: Tensor, b: Any, y: Tensor) -> Tensor:
    """Sum ``a x + b y`` in as few passes over the data as possible."""
    if _is(a, 0):
        return y if _is(b, 1) else b * y
    if _is(b, 0):
        return x if _is(a, 1) else a * x
    if isinstance(b, Tensor):
        return a * x + b * y
    # In place on the product just written, which is still in the cache: other memory is several times slower.
    return (a * x).add_(y, alpha=b)


def _is(factor: Any, number: float) -> bool:
    return not isinstance(factor, Tensor) and factor == number


def predict(
    value: Tensor, x: Tensor, level: Level, *, kind: str, tilt: Tensor | None = None
) -> Prediction:
    """The prediction that an output of this kind of `PARAMETERISATIONS` stands for."""
    return Output(value, x, level, kind=kind, tilt=tilt)


def convert(value: Tensor, x: Tensor, level: Level, *, source: str, target: str) -> Tensor:
    """One quantity from another at the same ``x``, ``[..., D]``."""
    prediction = predict(value, x, level, kind=source)
    return PARAMETERISATIONS[target].of(prediction.x0, prediction.eps, level)
