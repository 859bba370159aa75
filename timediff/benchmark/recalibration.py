r"""Recalibration of sample paths, fitted on windows held out from training: first each series, then the sum.

**Each series** (quantile mapping). At each window, step and series let :math:`m` be the median of the
paths and :math:`a` their mean absolute deviation from it. Over the held-out windows, the quantiles of
the truth's :math:`(y - m) / a` are set against those of the paths' :math:`(x - m) / a` at the same levels.
The increasing, piecewise linear map :math:`h` through these pairs gives

.. math:: x' = m + a\, h\big((x - m) / a\big),

which moves, widens and bends the forecast of a series, beyond the outermost path if need be. As
:math:`h` increases, every path keeps its rank at every step: the copula stays.

**The sum.** Once the margins are right, so is the mean of the sum, and only the dependence between series
can make it too narrow or too wide. The paths are ranked anew, with the common deviation along the sum
multiplied by a factor :math:`c` (`timediff.benchmark.reordering`), and the margins stay. The factor is the
one at which the errors of the sum's median are as large as the spread of the sum says.

**How much.** With few windows a fitted map is mostly chance. Each fitted change :math:`\theta` (the shift of
a series, the shape of its map without the shift, and :math:`\log c`) is therefore multiplied by its strength

.. math:: \lambda = \max\big(0,\ 1 - 2 V / \lVert\theta\rVert^2\big), \qquad
    V = \tfrac{G - 1}{G} \sum_g \lVert\theta_{(g)} - \bar\theta\rVert^2,

where :math:`\theta_{(g)}` is what is found without the g-th of G blocks of neighbouring windows (jackknife).
It is a positive-part Stein rule with twice the usual weight on the variance: what does not stand out from
chance is left as it is. Bounds of the data, such as solar power of at least 0, are not known here: a
predictor's ``supported`` brings the paths back within them. Where all paths are one value they stay there.

Axes: ``W`` windows, ``S`` sample paths, ``T`` steps, ``D`` series, ``Q`` levels.
"""

import json
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timediff.benchmark.reordering import ranked, reordered
from timediff.config import RECALIBRATION_PATHS, RECALIBRATION_WINDOWS
from timediff.errors import InputError
from timediff.metrics import sum_over_dimensions
from timediff.metrics.arrays import check_windows
from timediff.tools.progress import progress_bar

__all__ = [
    "ARRAYS",
    "BLOCKS",
    "FACTORS",
    "LEVELS",
    "MIN_OBSERVED",
    "Array",
    "Paths",
    "Recalibration",
    "fit_recalibration",
    "from_json",
    "recalibrate",
    "to_json",
]

Array = NDArray[np.float64]
Paths = TypeVar("Paths", bound=NDArray[np.floating])

LEVELS = np.array([0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975])
FACTORS = np.array([0.3, 0.45, 0.6, 0.75, 0.87, 1.0, 1.15, 1.33, 1.67, 2.2, 3.3])
BLOCKS = 10
MIN_OBSERVED = 20  # of a series; below, it is left as it is
ARRAYS = ("knots", "images", "strength")
_MIDDLE = len(LEVELS) // 2
_INNER = slice(3, 10)  # levels 0.2 .. 0.8, whose mean is the shift
_STEEPEST = 10.0  # of the map, so that a step which hardly varies does not explode


class Recalibration(NamedTuple):
    """What `fit_recalibration` found and `recalibrate` applies.

    Args:
        knots: Quantiles of the paths in units of their own spread, ascending, ``[D, Q]``.
        images: Where the map sends them, ``[D, Q]``.
        strength: Of the shift and of the shape of each map, ``[D, 2]``; 0 leaves the series as it is.
        common: Factor of the common deviation along the sum; 1 leaves the dependence as it is.
        windows: Held-out windows it was fitted on.
    """

    knots: Array
    images: Array
    strength: Array
    common: float
    windows: int


def fit_recalibration(
    paths: ArrayLike, truth: ArrayLike, *, progress: bool = False
) -> Recalibration:
    """The map that would have calibrated these forecasts, as far as they can tell.

    Args:
        paths: Forecasts of windows that the model was not trained on, in order, ``[W, S, T, D]``.
        truth: What happened, NaN where it is missing, ``[W, T, D]``.
        progress: Whether to show a bar.

    Raises:
        InputError: Shapes disagree, there are fewer than 7 windows or 10 paths, or nothing was observed.
    """
    paths, truth = _checked(paths, truth)
    knots, residuals = _knots(paths), _residuals(paths, truth)
    blocks = np.array_split(np.arange(len(truth)), min(BLOCKS, len(truth)))
    change = _images(residuals, knots) - knots  # [D, Q]
    without = np.stack(
        [_images(np.delete(residuals, block, axis=0), knots) - knots for block in blocks]
    )  # [G, D, Q]
    strength = np.stack(
        [_strength(_shift(change), _shift(without)), _strength(_shape(change), _shape(without))],
        axis=-1,
    )
    # The map of each window that the sum is judged by was fitted without its block.
    mapped = np.empty(paths.shape)
    for block, left in zip(blocks, without, strict=True):
        images = _bounded(knots, _shrunk(left, strength))
        for window in block:
            mapped[window] = _mapped(paths[window], knots, images)
    return Recalibration(
        knots=knots,
        images=_bounded(knots, _shrunk(change, strength)),
        strength=strength,
        common=_common(mapped, truth, blocks, progress=progress),
        windows=len(truth),
    )


def recalibrate(recalibration: Recalibration, paths: Paths) -> Paths:
    """The paths after the map of each series and the new ranking, in their own precision.

    Args:
        paths: ``[W, S, T, D]``.
    """
    dimensions = len(recalibration.knots)
    if paths.ndim != 4 or paths.shape[-1] != dimensions:
        raise InputError(
            f"this recalibration is for paths [W, S, T, {dimensions}], but they have the shape "
            f"{paths.shape}: use it for the series it was fitted on"
        )
    result = np.empty_like(paths)
    for k, window in enumerate(paths):
        result[k] = _mapped(window, recalibration.knots, recalibration.images)
        if recalibration.common != 1:
            result[k] = reordered(ranked(result[k]), recalibration.common)
    return result


def to_json(recalibration: Recalibration) -> str:
    """The same as JSON, to be kept beside a predictor."""
    fields = {name: np.asarray(value).tolist() for name, value in recalibration._asdict().items()}
    return json.dumps(fields)


def from_json(text: str) -> Recalibration:
    """What `to_json` wrote."""
    try:
        fields: dict[str, Any] = json.loads(text)
        fields |= {name: np.asarray(fields[name], dtype=float) for name in ARRAYS}
        return Recalibration(**fields)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"this is no recalibration ({error}): give a text that to_json wrote"
        ) from None


def _checked(paths: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.floating], Array]:
    paths, truth = np.asarray(paths), np.asarray(truth, dtype=np.float64)
    check_windows(paths, truth, "a recalibration")
    windows, count = paths.shape[:2]
    if windows < RECALIBRATION_WINDOWS or count < RECALIBRATION_PATHS:
        raise InputError(
            f"a recalibration from {windows} windows of {count} paths would be chance: hold out at least "
            f"{RECALIBRATION_WINDOWS} windows and draw at least {RECALIBRATION_PATHS} paths"
        )
    if not np.isfinite(paths).all() or not np.isfinite(truth).any():
        raise InputError(
            "a recalibration needs finite paths and something observed in the held-out windows: hold out "
            "others, or find out where the model diverged"
        )
    return paths, truth


def _centre_and_spread(paths: NDArray[np.floating]) -> tuple[Array, Array]:
    """Median and mean absolute deviation of the paths at each step, ``[..., 1, T, D]``."""
    values = paths.astype(np.float64)
    centre = np.median(values, axis=-3, keepdims=True)
    return centre, np.abs(values - centre).mean(axis=-3, keepdims=True)


def _knots(paths: NDArray[np.floating]) -> Array:
    """Quantiles of the paths in units of their own spread, over all windows and steps, ``[D, Q]``."""
    log_factor = []
    for d in range(paths.shape[-1]):
        centre, spread = _centre_and_spread(paths[..., d : d + 1])
        units = (paths[..., d : d + 1] - centre) / np.where(spread > 0, spread, 1)  # [W, S, T, 1]
        usable = np.broadcast_to(_varies(spread), units.shape)
        log_factor.append(
            np.quantile(units[usable], LEVELS) if usable.any() else np.zeros(len(LEVELS))
        )
    return np.stack(log_factor)


def _residuals(paths: NDArray[np.floating], truth: Array) -> Array:
    """The truth in the same units, NaN where it or the spread says nothing, ``[W, T, D]``."""
    parts = [_centre_and_spread(window) for window in paths]
    centre, spread = (np.concatenate(part) for part in zip(*parts, strict=True))
    return np.where(_varies(spread), (truth - centre) / np.where(spread > 0, spread, 1), np.nan)


def _varies(spread: Array) -> NDArray[np.bool_]:
    """Where the paths of a series differ by more than a twentieth of what they do on average.

    In units of next to nothing, as of solar power at night, any error is large and says little.
    """
    return spread > 0.05 * spread.mean(axis=tuple(range(spread.ndim - 1)))


def _images(residuals: Array, knots: Array) -> Array:
    """Quantiles of the residuals ``[W, T, D]`` where enough were observed, else the knots, ``[D, Q]``."""
    result = knots.copy()
    for d, column in enumerate(residuals.reshape(-1, residuals.shape[-1]).T):
        observed = column[np.isfinite(column)]
        if len(observed) >= MIN_OBSERVED:
            result[d] = np.quantile(observed, LEVELS)
    return result


def _shift(change: Array) -> Array:
    """The part of a change ``[..., Q]`` that moves the middle of the forecast, ``[..., 1]``."""
    return change[..., _INNER].mean(axis=-1, keepdims=True)


def _shape(change: Array) -> Array:
    """The rest of it, ``[..., Q]``."""
    return change - _shift(change)


def _strength(change: Array, without: Array) -> Array:
    """How much of each change ``[..., N]`` to believe, given it without each block ``[G, ..., N]``."""
    groups = len(without)
    variance = (groups - 1) * without.var(axis=0).sum(axis=-1)
    size = np.square(change).sum(axis=-1)
    return np.maximum(0, 1 - 2 * variance / np.where(size > 0, size, np.inf)) * (size > 0)


def _shrunk(change: Array, strength: Array) -> Array:
    """Change ``[D, Q]`` times the strength of its two parts."""
    return strength[:, :1] * _shift(change) + strength[:, 1:] * _shape(change)


def _bounded(knots: Array, change: Array) -> Array:
    """Images of the knots after a change, with slopes that keep the map increasing, ``[D, Q]``."""
    target, gaps = knots + change, np.diff(knots, axis=-1)
    rises = np.clip(np.diff(target, axis=-1), gaps / _STEEPEST, gaps * _STEEPEST)
    heights = np.concatenate([np.zeros((len(knots), 1)), np.cumsum(rises, axis=-1)], axis=-1)
    return target[:, _MIDDLE, None] + heights - heights[:, _MIDDLE, None]


def _mapped(paths: NDArray[np.floating], knots: Array, images: Array) -> Array:
    """Paths of one window through the maps of their series, ``[S, T, D]``."""
    centre, spread = _centre_and_spread(paths)
    units = (paths - centre) / np.where(spread > 0, spread, 1)
    for d, (x, y) in enumerate(zip(knots, images, strict=True)):
        if x[-1] > x[0]:
            units[..., d] = _interpolated(units[..., d], x, y)
    return centre + spread * units


def _interpolated(values: Array, x: Array, y: Array) -> Array:
    """Linear between the knots; beyond them with the slope of the whole map."""
    slope = (y[-1] - y[0]) / (x[-1] - x[0])
    inside = np.interp(values, x, y)
    return inside + slope * (np.maximum(values - x[-1], 0) + np.minimum(values - x[0], 0))


def _common(
    paths: NDArray[np.floating], truth: Array, blocks: list[NDArray[np.intp]], *, progress: bool
) -> float:
    r"""The factor at which the sum's errors are as large as its spread says.

    In a calibrated forecast :math:`E |y - m| / a = 1`; the mean of this ratio over the windows falls as the
    factor grows.
    """
    if truth.shape[-1] == 1:
        return 1.0
    ratios = np.empty((len(FACTORS), len(truth)))
    with progress_bar("recalibrating the sum", total=len(truth), shown=progress) as bar:
        for window, (x, y) in enumerate(zip(paths, truth, strict=True)):
            parts = ranked(x)
            ratios[:, window] = [_error_to_spread(reordered(parts, c), y) for c in FACTORS]
            bar.update()
    log_factor = _log_factor(ratios)
    without = np.array([_log_factor(np.delete(ratios, block, axis=1)) for block in blocks])
    return float(np.exp(log_factor * _strength(np.array([log_factor]), without[:, None])))


def _error_to_spread(paths: NDArray[np.floating], truth: Array) -> float:
    """Mean error of the sum's median in units of the spread of the sum, in one window."""
    total, happened = sum_over_dimensions(paths, truth)
    centre, spread = (part[0] for part in _centre_and_spread(total))  # [T, 1]
    usable = np.isfinite(happened) & (spread > 0)
    ratio = np.abs(happened - centre)[usable] / spread[usable]
    return float(ratio.mean()) if usable.any() else 1.0


def _log_factor(ratios: Array) -> float:
    """Where the mean of the ratios ``[factors, W]`` crosses 1, 0 if the factor hardly matters."""
    falling = -np.maximum.accumulate(-np.log(ratios.mean(axis=1) + 1e-12))
    if falling[0] - falling[-1] < 0.1:
        return 0.0
    return float(np.interp(0, -falling, np.log(FACTORS)))
