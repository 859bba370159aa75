r"""By a location and a scale that follow every series: what it did at this position of its last cycles.

With a cycle of s steps (a day of hours) and a half-life of :math:`\tau` cycles,

.. math:: \mathrm{loc}_t = \frac{\sum_{k \ge 1} 2^{-k/\tau} x_{t-ks}}{\sum_{k \ge 1} 2^{-k/\tau}}, \qquad
    \mathrm{scale}_t^2 = \frac{\sum_{k \ge 1} 2^{-k/\tau'} (x - \mathrm{loc})_{t-ks}^2 + p\, v_t}
    {\sum_{k \ge 1} 2^{-k/\tau'} + p}

over the observed steps, where :math:`v_t` is the same mean of squares over all positions of the cycle and
weighs as much as p cycles. Without a cycle s is 1, and half-lives count steps. Both are known a whole cycle
ahead; beyond it, what is known at the origin of a forecast repeats (`ahead`).

Unlike the other normalisations this one needs more of the past than a window shows, so it is made of whole
series, before they are cut into windows; in the window itself nothing is left to do (`in_window`).

Axes: ``T`` steps, ``D`` series; NaN is a missing value.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from timediff.timegrad.normalisation.base import rounding

__all__ = [
    "FLOOR",
    "PRIOR",
    "REPEATS",
    "Adaptive",
    "Array",
    "ahead",
    "filled",
    "in_window",
    "parts",
    "recent_mean",
    "repeated",
    "units",
]

Array = NDArray[np.float64]

#: Cycles that the scale of all positions together weighs in the scale of each.
PRIOR = 3.0
#: Share of the scale of all positions below which that of no position falls.
FLOOR = 0.05
#: Cycles that a series repeats a value in before it is said to sit there.
REPEATS = 7
_BLOCK = 64


class Adaptive(NamedTuple):
    """Location and scale of every step of a series, and of the cycle after its end, ``[T + cycle, D]``.

    The location is NaN before the first value of a series.
    """

    location: Array
    scale: Array


def in_window(x: Tensor, observed: Tensor, default: Tensor) -> tuple[Tensor, Tensor]:
    """Location 0 and scale 1: the series come in `units` of their own."""
    location = x.new_zeros(len(x), 1, x.shape[-1])
    return location, location + 1


def recent_mean(values: Array, *, cycle: int, half_life: float) -> tuple[Array, Array]:
    """Mean of the same position in earlier cycles, recent ones weighing more, and the sum of the weights.

    Args:
        values: ``[T, D]``.
        cycle: In steps.
        half_life: In cycles.

    Returns:
        Means, NaN where no earlier cycle was observed, and weights, ``[T + cycle, D]`` each.
    """
    length, dim = values.shape
    padded = np.full((length + cycle + -length % cycle, dim), np.nan)
    padded[:length] = values
    cycles = padded.reshape(-1, cycle * dim)
    known = np.isfinite(cycles)
    decay = 0.5 ** (1 / half_life)
    # From the first value at each position on, so that means of one value are this value to the last digit.
    first = np.where(known, cycles, 0.0)[known.argmax(axis=0), np.arange(known.shape[1])]
    shifted = np.where(known, cycles - first, 0.0)
    total, weight = (_decayed(part, decay) for part in (shifted, known.astype(float)))
    mean = np.full_like(total, np.nan)
    np.divide(total, weight, out=mean, where=weight > 1e-290)
    # Weights of long ago vanish in a long gap, but what was known before it is still the best.
    latest = np.maximum.accumulate(
        np.where(np.isfinite(mean), np.arange(len(mean))[:, None], 0), axis=0
    )
    mean = np.take_along_axis(mean, latest, axis=0) + first
    return tuple(part.reshape(-1, dim)[: length + cycle] for part in (mean, weight))  # type: ignore[return-value]


def units(values: Array, *, cycle: int, half_life: float, scale_half_life: float) -> Adaptive:
    """Location and scale that a series has by its own past alone.

    Positions that were not observed in any earlier cycle have the mean of all that was, and in the first
    cycle their deviation. A series that never left its location, such as a constant one, has a scale of the
    rounding of its own values.

    Args:
        values: ``[T, D]``.
        cycle: In steps.
        half_life: Of the location, in cycles.
        scale_half_life: Of the scale, in cycles.
    """
    own, instead = parts(values, cycle=cycle, half_life=half_life, scale_half_life=scale_half_life)
    return filled(own, instead)


def filled(own: Adaptive, instead: Adaptive) -> Adaptive:
    """One, and where it is NaN the other."""
    location, scale = (
        np.where(np.isnan(one), other, one) for one, other in zip(own, instead, strict=True)
    )
    return Adaptive(location, scale)


def parts(
    values: Array, *, cycle: int, half_life: float, scale_half_life: float
) -> tuple[Adaptive, Adaptive]:
    """What `units` are made of: by earlier cycles, NaN where these say nothing, and by all earlier steps.

    Those by earlier cycles are known a whole cycle ahead. Those by all earlier steps are not: a forecast has
    those of its origin at all of its steps.
    """
    values = np.asarray(values, dtype=np.float64)
    length = len(values)
    location, _ = recent_mean(values, cycle=cycle, half_life=half_life)
    mean, deviation, largest = _so_far(values, cycle)
    so_far = np.where(np.isfinite(location), location, mean)[:length]
    squares = np.square(values - so_far)
    variance, weight = recent_mean(squares, cycle=cycle, half_life=scale_half_life)
    variance = np.nan_to_num(variance)
    # All positions together, as far as they are known a cycle ahead of each row.
    whole, total = (_over_cycle(part, cycle) for part in (weight, variance * weight))
    overall = total / np.maximum(whole, 1e-290)
    shrunk = (variance * weight + PRIOR * overall) / (weight + PRIOR)
    scale = np.sqrt(np.maximum(shrunk, FLOOR**2 * overall))
    least = rounding(largest)
    # Of what is known a cycle ahead; where that is nothing, earlier cycles say nothing of the scale either.
    scale[cycle:] = np.maximum(scale[cycle:], least[1 : length + 1])
    # Weights of long ago vanish in a long gap here too.
    scale = np.where(whole > 1e-290, scale, np.nan)
    return Adaptive(location, scale), Adaptive(mean, np.maximum(deviation, least))


def repeated(values: Array, *, cycle: int) -> Array:
    """The value that the same position had in all of its last `REPEATS` cycles that were observed.

    Args:
        values: ``[T, D]``.
        cycle: In steps.

    Returns:
        NaN where it had several, or fewer cycles were observed, ``[T + cycle, D]``.
    """
    length, dim = values.shape
    padded = np.full((length + cycle + -length % cycle, dim), np.nan)
    padded[:length] = values
    cycles = padded.reshape(-1, cycle * dim)
    known, rows = np.isfinite(cycles), np.arange(len(cycles))[:, None]
    latest = np.maximum.accumulate(np.where(known, rows, 0), axis=0)
    last = np.take_along_axis(cycles, latest, axis=0)
    changed = np.ones(last.shape, bool)
    changed[1:] = last[1:] != last[:-1]
    since = np.maximum.accumulate(np.where(changed, rows, 0), axis=0)
    count = known.cumsum(axis=0)
    often = count - np.take_along_axis(count - known, since, axis=0) >= REPEATS
    value = np.full_like(last, np.nan)
    value[1:] = np.where(often, last, np.nan)[:-1]
    return value.reshape(-1, dim)[: length + cycle]


def ahead(origin: int | NDArray[np.integer], horizon: int, cycle: int) -> NDArray[np.integer]:
    """The rows of location and scale that the steps after an origin have, ``[..., horizon]``.

    Args:
        origin: Row of the first step ahead, or several.
        horizon: Steps ahead.
        cycle: In steps; what lies farther ahead repeats the first one.
    """
    return np.asarray(origin)[..., None] + np.arange(horizon) % cycle


def _over_cycle(rows: Array, cycle: int) -> Array:
    """Sum of each row and the ``cycle - 1`` before it."""
    padded = np.concatenate([np.zeros((cycle - 1, rows.shape[1])), rows])
    return np.lib.stride_tricks.sliding_window_view(padded, cycle, axis=0).sum(axis=-1)


def _decayed(values: Array, decay: float) -> Array:
    """Sums over the earlier rows, ``decay`` to the power of their distance as weights, ``[C, N]``."""
    sums = np.empty_like(values)
    steps = np.arange(_BLOCK)
    apart = steps[:, None] - steps
    weights = np.where(apart > 0, decay ** np.maximum(apart, 0), 0.0)
    state = np.zeros(values.shape[1:])
    for first in range(0, len(values), _BLOCK):
        block = values[first : first + _BLOCK]
        count = len(block)
        sums[first : first + count] = (
            weights[:count, :count] @ block + decay ** steps[:count, None] * state
        )
        state = decay**count * state + decay ** (count - steps[:count]) @ block
    return sums


def _so_far(values: Array, cycle: int) -> tuple[Array, Array, Array]:
    """Mean, deviation and largest size of all earlier values, NaN, 0 and 0 before the first.

    Each is ``[T + cycle, D]``.
    """
    known = np.isfinite(values)
    if not len(values):
        nothing = np.zeros((cycle, values.shape[1]))
        return nothing + np.nan, nothing, nothing
    first = np.where(known, values, 0.0)[known.argmax(axis=0), np.arange(values.shape[1])]
    shifted = np.where(known, values - first, 0.0)  # for the sake of rounding
    count = np.maximum(np.cumsum(known, axis=0), 1)
    mean = np.cumsum(shifted, axis=0) / count
    square = np.cumsum(np.square(shifted), axis=0) / count
    mean_ = np.where(known.cumsum(axis=0) > 0, mean + first, np.nan)
    deviation = np.sqrt(np.maximum(square - np.square(mean), 0.0))
    largest = np.maximum.accumulate(np.abs(np.nan_to_num(values)), axis=0)
    rows = np.minimum(np.arange(len(values) + cycle), len(values)) - 1
    before = rows < 0
    return tuple(  # type: ignore[return-value]
        np.where(before[:, None], empty, part[np.maximum(rows, 0)])
        for part, empty in ((mean_, np.nan), (deviation, 0.0), (largest, 0.0))
    )
