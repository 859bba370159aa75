r"""By a location and a scale that follow every series: what it did at this position of its last cycles.

With a cycle of s steps (a day of hours) and a half-life of :math:`\tau` cycles,

.. math:: \mathrm{loc}_t = \frac{\sum_{k \ge 1} 2^{-k/\tau} x_{t-ks}}{\sum_{k \ge 1} 2^{-k/\tau}}, \qquad
    \mathrm{scale}_t^2 = \frac{\sum_{k \ge 1} 2^{-k/\tau'} (x - \mathrm{loc})_{t-ks}^2 + p\, v_t}
    {\sum_{k \ge 1} 2^{-k/\tau'} + p}

over the observed steps, where :math:`v_t` is the same mean of squares over all positions of the cycle and
weighs as much as p cycles. Without a cycle s is 1, and half-lives count steps. Both are known a whole cycle
ahead; beyond it, what is known at the origin of a forecast repeats (`ahead`).

Unlike the other normalisations this one needs more of the past than a window shows, so it is made of whole
series, before they are cut into windows; in the window itself nothing is left to do (`in_window`). Imported
without torch, as `timediff.exported.runner` does.

Axes: ``T`` steps, ``D`` series; NaN is a missing value.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from timediff.timegrad.normalisation.base import rounding

if TYPE_CHECKING:
    from torch import Tensor

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
#: Weight of a long gap that counts as none, and share of the newest weight that no digit shows.
_VANISHED, _UNSEEN = 1e-290, 1e-60


class Adaptive(NamedTuple):
    """Location and scale of every step of a series, and of the cycle after its end, ``[T + cycle, D]``.

    The location is NaN before the first value of a series.
    """

    location: Array
    scale: Array


def in_window(x: "Tensor", observed: "Tensor", default: "Tensor") -> tuple["Tensor", "Tensor"]:
    """Location 0 and scale 1: the series come in `units` of their own."""
    location = x.new_zeros(len(x), 1, x.shape[-1])
    return location, location + 1


def recent_mean(
    values: Array, *, cycle: int, half_life: float, first: int = 0
) -> tuple[Array, Array]:
    """Mean of the same position in earlier cycles, recent ones weighing more, and the sum of the weights.

    Args:
        values: ``[T, D]``.
        cycle: In steps.
        half_life: In cycles.
        first: The first row that is asked for. Of the rows before it, one sum is made.

    Returns:
        Means, NaN where no earlier cycle was observed, ``[T + cycle - first, D]``, and weights, likewise, or
        ``[T + cycle - first, 1]`` where every step was observed in all series or in none.
    """
    length, dim = values.shape
    decay, begin = 0.5 ** (1 / half_life), first // cycle
    count = -(-length // cycle) + 1  # of cycles, the one ahead among them
    observed = np.isfinite(values)
    if (observed.all(axis=1) == observed.any(axis=1)).all():
        observed = observed[:, :1]
    cycles, known = np.zeros((count, cycle, dim)), np.zeros((count, cycle, observed.shape[1]), bool)
    known.reshape(count * cycle, -1)[:length] = observed
    cycles.reshape(count * cycle, -1)[:length] = values
    weight = _decayed(known.astype(float), decay, begin)
    there = weight > _VANISHED
    if begin and (known[:begin].any(axis=0) & ~there[0]).any():
        whole = recent_mean(values, cycle=cycle, half_life=half_life)
        return whole[0][first:], whole[1][first:]
    # From the first value at each position on, so that means of one value are this value to the last digit.
    start = np.take_along_axis(cycles, known.argmax(axis=0)[None], axis=0)
    start = np.where(known.any(axis=0), start, 0.0)
    np.subtract(cycles, start, out=cycles)
    if (
        not observed.all()
    ):  # what stands after the last value counts in rows alone that nobody asks for
        cycles[~np.broadcast_to(known, cycles.shape)] = 0.0
    mean = _decayed(cycles, decay, begin)
    mean /= np.where(there, weight, np.nan)
    # Weights of long ago vanish in a long gap, but what was known before it is still the best.
    rows = np.arange(len(mean))[:, None, None]
    latest = np.maximum.accumulate(np.where(there, rows, 0), axis=0)
    if (there.any(axis=0) & (latest != rows) & (latest > 0)).any():
        mean = np.take_along_axis(mean, latest, axis=0)
    mean += start
    asked = slice(first - begin * cycle, length + cycle - begin * cycle)
    return mean.reshape(-1, dim)[asked], weight.reshape(-1, weight.shape[2])[asked]


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
    values: Array, *, cycle: int, half_life: float, scale_half_life: float, first: int = 0
) -> tuple[Adaptive, Adaptive]:
    """What `units` are made of: by earlier cycles, NaN where these say nothing, and by all earlier steps.

    Those by earlier cycles are known a whole cycle ahead. Those by all earlier steps are not: a forecast has
    those of its origin at all of its steps.

    Args:
        values: As in `units`.
        cycle: Likewise.
        half_life: Likewise.
        scale_half_life: Likewise.
        first: The first row that is asked for, ``[T + cycle - first, D]``.
    """
    values = np.asarray(values, dtype=np.float64)
    length = len(values)
    location, _ = recent_mean(values, cycle=cycle, half_life=half_life)
    squares = values - location[:length]
    unknown = np.flatnonzero(np.isnan(location[:length]).any(axis=1))
    if len(unknown):  # the first cycle, at least
        upto = unknown[-1] + 1
        mean, _, _ = _so_far(values, 0, upto)
        squares[:upto] = np.where(np.isnan(location[:upto]), values[:upto] - mean, squares[:upto])
    np.square(squares, out=squares)
    # A cycle before, as all positions count in the scale of each.
    begin = max(first - cycle, 0)
    variance, weight = recent_mean(squares, cycle=cycle, half_life=scale_half_life, first=begin)
    variance = np.nan_to_num(variance)
    # All positions together, as far as they are known a cycle ahead of each row.
    whole, total = (_over_cycle(part, cycle) for part in (weight, variance * weight))
    overall = total / np.maximum(whole, _VANISHED)
    shrunk = (variance * weight + PRIOR * overall) / (weight + PRIOR)
    scale = np.sqrt(np.maximum(shrunk, FLOOR**2 * overall))
    mean, deviation, largest = _so_far(values, begin, length + cycle)
    least = rounding(largest)
    # Of what is known a cycle ahead; where that is nothing, earlier cycles say nothing of the scale either.
    scale[cycle:] = np.maximum(scale[cycle:], least[1 : 1 + len(scale) - cycle])
    # Weights of long ago vanish in a long gap here too.
    scale = np.where(whole > _VANISHED, scale, np.nan)
    instead = Adaptive(mean, np.maximum(deviation, least))
    asked = slice(first - begin, None)
    return Adaptive(location[first:], scale[asked]), Adaptive(*(part[asked] for part in instead))


def repeated(values: Array, *, cycle: int, first: int = 0) -> Array:
    """The value that the same position had in all of its last `REPEATS` cycles that were observed.

    Args:
        values: ``[T, D]``.
        cycle: In steps.
        first: The first row that is asked for.

    Returns:
        NaN where it had several, or fewer cycles were observed, ``[T + cycle - first, D]``.
    """
    begin = max(first // cycle - REPEATS, 0) * cycle
    if np.isfinite(values[begin : begin + REPEATS * cycle]).all():  # what is before does not matter
        values, first = values[begin:], first - begin
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
    return value.reshape(-1, dim)[first : length + cycle]


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


def _decayed(rows: Array, decay: float, begin: int = 0) -> Array:
    """Sums over the earlier rows, ``decay`` to the power of their distance as weights, from one row on."""
    flat = rows.reshape(len(rows), -1)
    state = decay ** np.arange(begin, 0.0, -1.0) @ flat[:begin]
    flat = flat[begin:]
    sums = np.empty_like(flat)
    steps = np.arange(_BLOCK)
    apart = steps[:, None] - steps
    weights = np.where(apart > 0, decay ** np.maximum(apart, 0), 0.0)
    for first in range(0, len(flat), _BLOCK):
        block = flat[first : first + _BLOCK]
        count = len(block)
        sums[first : first + count] = (
            weights[:count, :count] @ block + decay ** steps[:count, None] * state
        )
        state = decay**count * state + decay ** (count - steps[:count]) @ block
    return sums.reshape(-1, *rows.shape[1:])


def _so_far(values: Array, first: int, end: int) -> tuple[Array, Array, Array]:
    """Mean, deviation and largest size of all values before each of the rows from one to another.

    NaN, 0 and 0 before the first value, ``[end - first, D]`` each. No row is after the one that follows the
    last value; those that are asked for repeat it.
    """
    values = values[: end - 1]
    known = np.isfinite(values)
    start = np.zeros(values.shape[1])
    if len(values):
        start = np.where(known, values, 0.0)[known.argmax(axis=0), np.arange(len(start))]
    shifted = np.where(known, values - start, 0.0)  # for the sake of rounding
    rows = np.minimum(np.arange(end - first), len(values) - first)

    def running(part: Array, over: np.ufunc) -> Array:
        before = over.reduce(part[:first], axis=0, keepdims=True, initial=0)
        return over.accumulate(np.concatenate([before, part[first:]]), axis=0)[rows]

    count = running(known.astype(float), np.add)
    mean = running(shifted, np.add) / np.maximum(count, 1)
    square = running(np.square(shifted), np.add) / np.maximum(count, 1)
    deviation = np.sqrt(np.maximum(square - np.square(mean), 0.0))
    largest = running(np.where(known, np.abs(values), 0.0), np.maximum)
    return np.where(count > 0, mean + start, np.nan), deviation, largest
