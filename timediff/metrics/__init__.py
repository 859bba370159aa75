r"""Scores of sample paths against what happened: numpy arrays in, numbers out.

Axes: ``W`` windows, ``S`` sample paths, ``T`` time steps, ``D`` dimensions; paths are
``[..., S, T, D]``, truth is ``[..., T, D]`` with NaN where it is missing. Below, :math:`x_1 \dots x_S`
are the paths at one entry, :math:`x_{(1)} \le \dots \le x_{(S)}` the same in order, :math:`y` is the
truth there.

One idea: a score is a loss at each entry, NaN where the truth is missing, or at each step over the
dimensions observed there; a value in a table is the ratio of two sums over all windows, steps and
dimensions that were observed (`score`). A ratio whose denominator is 0, because the truth is 0
throughout, is NaN: the score is not defined there.
"""

from timediff.metrics.calibration import (
    average_rank,
    band_depth_rank,
    pit,
    rank_histogram,
    reliability,
    sharpness,
)
from timediff.metrics.coverage import (
    covered,
    covered_by_rank,
    covered_jointly,
    expected_coverage,
)
from timediff.metrics.crps import (
    brier_score,
    crps_ensemble,
    threshold_weighted_crps,
)
from timediff.metrics.events import peaks, runs_below
from timediff.metrics.gaussian import (
    correlation_error,
    covariance_shrinkage,
    dawid_sebastiani,
)
from timediff.metrics.monte_carlo import (
    monte_carlo_error,
)
from timediff.metrics.multivariate import (
    energy_score,
    sum_over_dimensions,
    variogram_score,
)
from timediff.metrics.quantiles import (
    LEVELS,
    central_interval,
    interval_score,
    mean_quantile_loss,
    mean_wquantile_loss,
    median,
    newsvendor_cost,
    quantile_loss,
)
from timediff.metrics.rows import Evaluation, Score, definitions, is_loss, title_of
from timediff.metrics.table import (
    score,
    score_aggregate,
    seasonal_error,
    window_losses,
)

__all__ = [
    "LEVELS",
    "Evaluation",
    "Score",
    "average_rank",
    "band_depth_rank",
    "brier_score",
    "central_interval",
    "correlation_error",
    "covariance_shrinkage",
    "covered",
    "covered_by_rank",
    "covered_jointly",
    "crps_ensemble",
    "dawid_sebastiani",
    "definitions",
    "energy_score",
    "expected_coverage",
    "interval_score",
    "is_loss",
    "mean_quantile_loss",
    "mean_wquantile_loss",
    "median",
    "monte_carlo_error",
    "newsvendor_cost",
    "peaks",
    "pit",
    "quantile_loss",
    "rank_histogram",
    "reliability",
    "runs_below",
    "score",
    "score_aggregate",
    "seasonal_error",
    "sharpness",
    "sum_over_dimensions",
    "threshold_weighted_crps",
    "title_of",
    "variogram_score",
    "window_losses",
]
