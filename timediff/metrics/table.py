"""Every score of a table at once: sums over windows, then one ratio each.

The paths of an entry are sorted once for all scores of entries, and those of a step are cut out once for all
scores of vectors.
"""

from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from timediff.errors import InputError
from timediff.metrics.arrays import Array, Floats, Sums, add, checked_windows, observed_steps
from timediff.metrics.crps import crps_of
from timediff.metrics.events import CALM_SHARE, event_sums
from timediff.metrics.gaussian import residual_moments
from timediff.metrics.multivariate import energy_of, sum_over_dimensions
from timediff.metrics.quantiles import nearest, quantile_loss_of
from timediff.metrics.rows import Evaluation
from timediff.metrics.sums import (
    band_sums,
    entry_sums,
    losses,
    ratio_of,
    referred,
    scale_of,
    step_sums,
)
from timediff.registry import METRICS

__all__ = ["score", "score_aggregate", "seasonal_error", "window_losses"]


def score(
    paths: ArrayLike, truth: ArrayLike, *, seasonal_error: ArrayLike | None = None
) -> dict[str, float]:
    """Every score of `METRICS`, over all windows together.

    Args:
        paths: Sample paths, ``[W, S, T, D]``. Memory is a share of one window in float64, and a few
            matrices ``[S, S]`` and ``[D, D]``.
        truth: What happened, ``[W, T, D]``.
        seasonal_error: `seasonal_error` of the history, ``[D]`` or ``[W, D]``, for MASE and MSIS; entries
            of series in which it is 0 or NaN are left out of these.

    Returns:
        Value of each name. Ratios to the size of the truth are NaN where nothing but zeros was observed;
        so is what needs two series or more paths than there are, or what was not given.

    Raises:
        InputError: If shapes do not agree, a path is not finite, or nothing was observed.
    """
    paths, truth = checked_windows(paths, truth)
    scale = scale_of(truth, seasonal_error)
    low = float(np.nanquantile(sum_over_dimensions(paths[:, :1], truth)[1], CALM_SHARE))
    each: Sums = {}
    total: Sums = {}
    whole: Sums = {}
    for window, (window_paths, window_truth) in enumerate(zip(paths, truth, strict=True)):
        if np.isnan(window_truth).all():
            continue
        window_scale = scale._replace(seasonal=scale.seasonal[window])
        add(each, entry_sums(window_paths, window_truth, partial(referred, scale=window_scale)))
        sums = sum_over_dimensions(window_paths, window_truth)
        add(total, entry_sums(*sums, losses))
        add(whole, event_sums(*sums, threshold=low))
        add(whole, step_sums(window_paths, window_truth, scale.size))
        add(whole, band_sums(window_paths, window_truth))
        if truth.shape[-1] > 1 and paths.shape[1] > 1:
            add(whole, residual_moments(window_paths, window_truth))
    evaluation = Evaluation(each, total, whole, paths, truth)
    return {name: METRICS[name].value(evaluation) for name in METRICS}


def score_aggregate(paths: ArrayLike, truth: ArrayLike, *, weights: ArrayLike) -> dict[str, float]:
    r"""Scores of a weighted sum over dimensions, such as the net load (load 1, solar -1).

    A step counts if every dimension with a weight other than 0 was observed. Ratios to
    :math:`\sum |y|` say little about a sum which changes sign: read ``crps_units`` there.

    Args:
        paths: Sample paths, ``[W, S, T, D]``.
        truth: What happened, ``[W, T, D]``.
        weights: ``[D]``.

    Returns:
        ``mean_wquantile_loss``, ``crps``, ``coverage_50`` and ``coverage_90`` as in `METRICS`, and
        ``crps_units``, the mean ensemble CRPS of a step in the unit of the sum.

    Raises:
        InputError: If a weight is missing or not finite, or the sum is observed at no step.
    """
    weights = np.asarray(weights, dtype=np.float64)
    dimensions = np.shape(truth)[-1:]
    if weights.shape != dimensions or not np.isfinite(weights).all() or not weights.any():
        raise InputError(
            f"a weighted sum over truth of shape {np.shape(truth)} needs one finite weight for each "
            f"entry of the last axis, not all 0, but its weights have the shape {weights.shape}"
        )
    paths, truth = checked_windows(paths, truth)
    weighted = np.flatnonzero(weights)
    sums: Sums = {}
    for window_paths, window_truth in zip(paths, truth, strict=True):
        sum_paths = (window_paths[..., weighted] @ weights[weighted])[..., None]  # [S, T, 1]
        sum_truth = (window_truth[..., weighted] @ weights[weighted])[..., None]  # [T, 1]
        add(sums, entry_sums(sum_paths, sum_truth, losses))
    if sums["count"] == 0:
        raise InputError(
            "the weighted sum is observed at no step, as some dimension is always missing: give "
            "weight 0 to the dimensions that are missing most"
        )
    return {
        "mean_wquantile_loss": ratio_of(sums, "quantile_loss", "size"),
        "crps": ratio_of(sums, "crps", "size"),
        "crps_units": ratio_of(sums, "crps", "count"),
        "coverage_50": ratio_of(sums, "covered_50", "count"),
        "coverage_90": ratio_of(sums, "covered_90", "count"),
    }


def window_losses(paths: ArrayLike, truth: ArrayLike) -> dict[str, Array]:
    """Mean loss of each window in the unit of the data, to compare two forecasts window by window.

    These are the losses in the numerators of the scores of the same names, and "nd" is the mean of
    the absolute error of the median.

    Args:
        paths: Sample paths, ``[W, S, T, D]``.
        truth: What happened, ``[W, T, D]``.

    Returns:
        ``[W]`` of each name, over the entries observed, or for ``energy_score`` the steps; NaN for
        windows of which nothing was observed.

    Raises:
        InputError: If shapes do not agree, a path is not finite, or nothing was observed.
    """
    paths, truth = checked_windows(paths, truth)
    rows = [_window_loss(*window) for window in zip(paths, truth, strict=True)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def seasonal_error(history: ArrayLike, *, season: int) -> Array:
    r"""Mean absolute seasonal difference :math:`|y_t - y_{t-m}|` of each series, the unit of MASE and MSIS.

    Args:
        history: What was observed before the forecast, ``[T, D]``; NaN is left out.
        season: m, in steps; `timediff.frequency.error_season` is GluonTS's for a frequency.

    Returns:
        ``[D]``, NaN for series without a difference.

    Raises:
        InputError: If the season is no number of steps above 0.
    """
    if season < 1:
        raise InputError(f"a season has at least one step, but it is {season}")
    values = np.asarray(history, dtype=np.float64)
    differences = np.abs(values[season:] - values[:-season])
    count = np.isfinite(differences).sum(axis=0)
    return np.where(count > 0, np.nansum(differences, axis=0) / np.maximum(count, 1), np.nan)


def _window_loss(paths: Floats, truth: Array) -> dict[str, float]:
    def losses_of(ordered: Array, truth: Array) -> Sums:
        return {
            "mean_wquantile_loss": quantile_loss_of(ordered, truth),
            "crps": crps_of(ordered, truth),
            "nd": np.abs(nearest(ordered, 0.5) - truth),
            "count": np.where(np.isnan(truth), np.nan, 1.0),
        }

    each = entry_sums(paths, truth, losses_of)
    total = entry_sums(*sum_over_dimensions(paths, truth), losses_of)
    energy = [energy_of(x, y) for _, _, x, y in observed_steps(paths, truth)]
    return {
        "mean_wquantile_loss_sum": ratio_of(total, "mean_wquantile_loss", "count"),
        "mean_wquantile_loss": ratio_of(each, "mean_wquantile_loss", "count"),
        "crps": ratio_of(each, "crps", "count"),
        "crps_sum": ratio_of(total, "crps", "count"),
        "energy_score": float(np.mean(energy)) if energy else float("nan"),
        "nd": ratio_of(each, "nd", "count"),
    }
