"""What all normalisations share: when a spread is none, or too narrow for a network to tell.

Imported without torch, as `timediff.exported.runner` does.
"""

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LARGEST", "LEAST", "NARROW", "ROUNDING", "in_units", "is_flat", "is_narrow", "rounding"]

#: Units of scale beyond which a value counts as an outlier: regressions and networks see it drawn in.
LARGEST = 10.0
#: Share of the level below which a spread is rounding, in double precision.
ROUNDING = 1e-12
#: Scale of a series of nothing but zeros, which has no size of its own.
LEAST = 1e-30
#: Share of the level below which a spread is lost in the last noise of a chain (of 1e-4, its square), so
#: that a series must be centred before a network can tell its values apart.
NARROW = 1e-2

_Level = TypeVar("_Level", "Tensor", NDArray[np.float64])


def rounding(level: _Level) -> _Level:
    """The least scale that a series of this level has: its own rounding, and never that of others."""
    return ROUNDING * abs(level) + LEAST


def is_flat(default: "Tensor") -> "Tensor":
    """Which dimensions were constant in the training data, by their location and scale ``[2, D]``."""
    return default[1] <= 1.01 * rounding(default[0])


def is_narrow(default: "Tensor") -> "Tensor":
    """Which dimensions hardly left their level in the training data, likewise; constant ones too."""
    return default[1] <= NARROW * abs(default[0]) + 1.01 * LEAST


def in_units(
    series: "Tensor", observed: "Tensor", loc: "Tensor", scale: "Tensor", default: "Tensor"
) -> "Tensor":
    """A series ``[B, T, D]`` in units of location and scale, ``[B, 1, D]`` each, 0 where it is not known.

    Of one that was constant in training (`is_flat`) no more is known than that it moves: it is drawn in.
    """
    scaled = ((series - loc) / scale).where(observed, 0.0)
    return scaled.clamp(-LARGEST, LARGEST).where(is_flat(default), scaled)
