"""Losses of one window, summed over its entries and steps: the numerators and denominators of a table."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from timediff.errors import InputError
from timediff.metrics.arrays import Array, Floats, Sums, add, entry_blocks, observed_steps, ratio
from timediff.metrics.calibration import below_of
from timediff.metrics.coverage import (
    covered_by_rank_of,
    covered_of,
    extremes,
    inside_band,
    ranks_of,
)
from timediff.metrics.crps import brier_of, crps_of, tail_crps_of
from timediff.metrics.events import RESERVE
from timediff.metrics.gaussian import dawid_sebastiani_of
from timediff.metrics.multivariate import energy_of, variogram_of
from timediff.metrics.quantiles import (
    LEVELS,
    ends_of,
    interval_score_of,
    nearest,
    newsvendor_of,
    quantile_loss_of,
)

__all__ = [
    "COVERAGES",
    "MAX_PAIRS",
    "RANKED",
    "TAIL",
    "Scale",
    "band_sums",
    "entry_sums",
    "losses",
    "ratio_of",
    "referred",
    "scale_of",
    "step_sums",
]

#: Per cent of the central intervals.
COVERAGES = (50, 90, 95, 99)
#: Those of which coverage by rank is shown beside the plain one.
RANKED = (50, 90)
#: Numbers that definitions state: pairs at a step for the variogram score, tails.
MAX_PAIRS = 20_000
TAIL = 0.1


class Scale(NamedTuple):
    """Units and thresholds of the series, from truth and history alone; ``[D]`` or ``[W, D]`` each."""

    size: Array
    upper: Array
    lower: Array
    seasonal: Array


def scale_of(truth: Array, seasonal: ArrayLike | None) -> Scale:
    windows, _, dims = truth.shape
    errors = np.full(dims, np.nan) if seasonal is None else np.asarray(seasonal, dtype=np.float64)
    if errors.shape not in ((dims,), (windows, dims)):
        raise InputError(
            f"seasonal errors are one number for each series, [D] or [W, D], but their shape is "
            f"{errors.shape} where the truth has {windows} windows of {dims} series"
        )
    observed = ~np.isnan(truth)
    absolute = np.where(observed, np.abs(truth), 0.0)
    count = observed.sum(axis=(0, 1))
    size = absolute.sum(axis=(0, 1)) / np.maximum(count, 1)
    overall = absolute.sum() / count.sum()
    tails = np.full((2, dims), np.nan)
    series = np.flatnonzero(count)
    tails[:, series] = np.nanquantile(truth[..., series], [1 - TAIL, TAIL], axis=(0, 1))
    return Scale(
        # A series of zeros has no unit of its own.
        size=np.where(size > 0, size, overall),
        upper=tails[0],
        lower=tails[1],
        seasonal=np.broadcast_to(np.where(errors > 0, errors, np.nan), (windows, dims)),
    )


def losses(ordered: Array, truth: Array) -> Sums:
    """Losses of each entry by name, from ``ordered [..., S]`` and ``truth [...]``."""
    low, high = ends_of(ordered, 0.9)
    ranks, members = ranks_of(ordered, truth), ordered.shape[-1]
    return {
        "quantile_loss": quantile_loss_of(ordered, truth),
        "crps": crps_of(ordered, truth),
        **({"crps_fair": crps_of(ordered, truth, fair=True)} if ordered.shape[-1] > 1 else {}),
        "error": np.abs(nearest(ordered, 0.5) - truth),
        "square": np.square(ordered.mean(axis=-1) - truth),
        "newsvendor": newsvendor_of(ordered, truth, **RESERVE),
        **{
            f"covered_{level}": covered_of(ordered, truth, level=level / 100) for level in COVERAGES
        },
        **{
            f"ranked_{level}": covered_by_rank_of(*ranks, members, level=level / 100)
            for level in RANKED
        },
        "below": below_of(ordered, truth, LEVELS),
        "width": np.where(np.isnan(truth), np.nan, high - low),
        "size": np.abs(truth),
        "count": np.where(np.isnan(truth), np.nan, 1.0),
    }


def referred(ordered: Array, truth: Array, scale: Scale) -> Sums:
    """`losses`, and those that refer to a scale of each series, from ``truth [..., D]``."""
    upper, lower = (
        np.broadcast_to(scale.upper, truth.shape),
        np.broadcast_to(scale.lower, truth.shape),
    )
    missing, unscaled = np.isnan(truth), losses(ordered, truth)
    return unscaled | {
        "upper": tail_crps_of(ordered, truth, upper, upper=True),
        "lower": tail_crps_of(ordered, truth, lower, upper=False),
        "brier": np.where(missing, np.nan, brier_of(ordered, truth, upper)),
        "interval": interval_score_of(ordered, truth, level=0.9),
        "scaled_error": unscaled["error"] / scale.seasonal,
        "scaled_interval": interval_score_of(ordered, truth, level=0.95) / scale.seasonal,
        "scaled_count": np.where(missing | np.isnan(scale.seasonal), np.nan, 1.0),
    }


def entry_sums(paths: Floats, truth: Array, losses_of: Callable[..., Sums]) -> Sums:
    """Losses of one window, ``[S, T, D]``, summed over its observed entries."""
    sums: Sums = {}
    for _, ordered, block_truth in entry_blocks(paths[None], truth[None]):
        block = losses_of(ordered, block_truth)
        add(sums, {name: np.nansum(loss, axis=(0, 1, 2)) for name, loss in block.items()})
    return sums


def step_sums(paths: Floats, truth: Array, size: Array) -> Sums:
    """Scores of vectors of one window, ``[S, T, D]``, summed over its steps."""
    sums: Sums = {}
    for _, observed, x, y in observed_steps(paths, truth):
        variogram, differences = variogram_of(x, y, order=0.5, max_pairs=MAX_PAIRS)
        scores = {
            "energy": energy_of(x, y),
            "norm": np.linalg.norm(y),
            "variogram": variogram,
            "differences": differences,
            "steps": 1.0,
        }
        if len(x) > 1 and (size > 0).all():
            gaussian = dawid_sebastiani_of(x / size[observed], y / size[observed])
            scores["gaussian"] = gaussian.score / len(y)
            scores["shrunk"] = float(gaussian.shrinkage > 0)
        add(sums, {name: np.asarray(value) for name, value in scores.items()})
    return sums


def band_sums(paths: Floats, truth: Array) -> Sums:
    """Sums of one window over whether it lies in its simultaneous bands."""
    if len(paths) < 3:
        return {}
    reach = extremes(paths, truth)
    inside = {
        f"covered_{level}": np.asarray(inside_band(*reach, level / 100)) for level in COVERAGES
    }
    return inside | {"count": np.asarray(1.0)}


def ratio_of(sums: Sums, numerator: str, denominator: str) -> float:
    """Ratio of two sums by name; NaN where one is not there, as the score is not defined."""
    if numerator not in sums or denominator not in sums:
        return float("nan")
    return ratio(float(sums[numerator]), float(sums[denominator]))
