"""Every score of a table: one row each, in the order in which they are shown.

A row says how the score is called, what it is, and how it is made of the sums over all windows
(`timediff.metrics.sums`). A score of a user's own is a row too, ``register("metric", name, Score(...))``, and
may be made of the paths themselves.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from timediff.metrics.arrays import Array, Floats, Sums, ratio
from timediff.metrics.gaussian import correlation_error_of
from timediff.metrics.quantiles import LEVELS
from timediff.metrics.sums import COVERAGES, RANKED, ratio_of
from timediff.registry import METRICS

__all__ = [
    "SCORES",
    "Evaluation",
    "Score",
    "correlation_error",
    "definitions",
    "is_loss",
    "quotient",
    "reliability_error",
    "root_mean_square_error",
    "title_of",
]


class Evaluation(NamedTuple):
    """Sums, paths and truth that a score is made of.

    Attributes:
        each: Sums over windows of the losses of entries.
        total: Such sums of the sum over dimensions.
        whole: Sums of the losses of steps, and of windows as a whole.
        paths: Sample paths, ``[W, S, T, D]``.
        truth: What happened, ``[W, T, D]``, NaN where it is missing.
    """

    each: Sums
    total: Sums
    whole: Sums
    paths: Floats
    truth: Array


class Score(NamedTuple):
    """A row of the table.

    Args:
        title: Its title in tables.
        definition: What it is, in a sentence.
        value: The score of an evaluation; NaN where it is not defined.
        loss: Whether lower is better and a ratio to another's says something. Coverages, and what can be
            negative, are no losses.
    """

    title: str
    definition: str
    value: Callable[[Evaluation], float]
    loss: bool = True


def quotient(numerator: str, denominator: str, *, of: str) -> Callable[[Evaluation], float]:
    """The score that is one sum over another, both of the field ``of`` of an `Evaluation`."""
    return lambda evaluation: ratio_of(getattr(evaluation, of), numerator, denominator)


def reliability_error(*, of: str) -> Callable[[Evaluation], float]:
    """The score that compares the shares below quantiles with their levels."""

    def value(evaluation: Evaluation) -> float:
        sums: Sums = getattr(evaluation, of)
        return float(np.abs(sums["below"] / sums["count"] - LEVELS).mean())

    return value


def root_mean_square_error(evaluation: Evaluation) -> float:
    """Root mean square error of the mean of the paths, over the mean size of the truth."""
    each = evaluation.each
    return ratio(float(np.sqrt(each["square"] * each["count"])), float(each["size"]))


def correlation_error(evaluation: Evaluation) -> float:
    """Value of `timediff.metrics.gaussian.correlation_error_of`; NaN for one series or one path."""
    sums = evaluation.whole
    return correlation_error_of(sums) if "paths_products" in sums else float("nan")


_INTERVAL = (
    "whose ends are the order statistics at positions p (S + 1), interpolated, and at most the outermost: "
    "perfect forecasts of S paths have min(level, (S - 1) / (S + 1)), of 100 paths 0.90 and at 99 % 0.98"
)
_RANK = (
    "by the rank of the truth among the paths, its ties with paths broken at random and the mean taken over "
    "all ways to do so: ties lift the plain coverage of a perfect forecast, and not this one"
)


def _coverages() -> dict[str, Score]:
    """Coverages of all entries, of their sum, and of windows as a whole."""
    rows = {}
    for suffix, whose, of in (("", "", "each"), ("_sum", " of the sum", "total")):
        for level in COVERAGES:
            name, title = f"coverage_{level}{suffix}", f"{level} % coverage{whose}"
            definition = f"coverage_{level} of the sum over dimensions"
            if not suffix:
                first = f", {_INTERVAL}" if level == COVERAGES[0] else ""
                definition = f"share of entries in the central {level} % interval{first}"
            value = quotient(f"covered_{level}", "count", of=of)
            rows[name] = Score(title, definition, value, loss=False)
            if level in RANKED:
                value = quotient(f"ranked_{level}", "count", of=of)
                first = f"coverage_{RANKED[0]}"
                definition = f"{name} {_RANK}" if name == first else f"{name}, as {first}_rank"
                rows[f"{name}_rank"] = Score(f"{title}, by rank", definition, value, loss=False)
    for level in COVERAGES:
        definition = (
            "share of windows that lie as a whole, all steps and dimensions, in one band m +- c s which "
            f"holds {level} % of paths as a whole"
        )
        value = quotient(f"covered_{level}", "count", of="whole")
        title = f"{level} % coverage of the whole path"
        rows[f"coverage_{level}_joint"] = Score(title, definition, value, loss=False)
    return rows


def title_of(name: str) -> str:
    """Title of a score in tables; its name where no part of this name is registered."""
    return METRICS[name].title if name in METRICS else name


def is_loss(name: str) -> bool:
    """Whether a ratio of two values of a score says something."""
    return name in METRICS and METRICS[name].loss


def definitions() -> dict[str, str]:
    """Definition of each score by name, a sentence."""
    return {name: score.definition for name, score in METRICS.items()}


#: The library's own; `timediff.registry.METRICS` has these and those of users.
SCORES: dict[str, Score] = {
    "mean_wquantile_loss_sum": Score(
        "CRPS_sum",
        "mean_wquantile_loss of the sum over dimensions, which the TimeGrad paper calls CRPS_sum",
        quotient("quantile_loss", "size", of="total"),
    ),
    "mean_wquantile_loss": Score(
        "CRPS (quantiles)",
        "mean over the levels 0.05 .. 0.95 of sum 2 |(q - y) ((y <= q) - level)| / sum |y|, where q is "
        "the nearest order statistic; GluonTS calls it mean_wQuantileLoss",
        quotient("quantile_loss", "size", of="each"),
    ),
    "crps": Score(
        "CRPS (ensemble)",
        "sum of the ensemble CRPS, mean |x - y| - mean |x - x'| / 2 with x and x' running over all paths,"
        " / sum |y|",
        quotient("crps", "size", of="each"),
    ),
    "crps_sum": Score(
        "CRPS_sum (ensemble)",
        "crps of the sum over dimensions",
        quotient("crps", "size", of="total"),
    ),
    "crps_fair": Score(
        "CRPS (fair)",
        "crps with x and x' running over different paths: what it is of the distribution they are drawn "
        "from, whatever their number",
        quotient("crps_fair", "size", of="each"),
    ),
    "crps_sum_fair": Score(
        "CRPS_sum (fair)",
        "crps_fair of the sum over dimensions",
        quotient("crps_fair", "size", of="total"),
    ),
    "energy_score": Score(
        "energy score",
        "sum over steps of mean ||x - y|| - mean ||x - x'|| / 2, / sum over steps of ||y||, in the "
        "Euclidean norm over dimensions",
        quotient("energy", "norm", of="whole"),
    ),
    "variogram_score": Score(
        "variogram score",
        "sum over steps and pairs i, j of (|y_i - y_j|^0.5 - mean |x_i - x_j|^0.5)^2, / sum of |y_i - "
        "y_j|; above 200 dimensions, some 20 000 pairs at evenly spread distances only",
        quotient("variogram", "differences", of="whole"),
    ),
    "dawid_sebastiani": Score(
        "Dawid-Sebastiani, per series",
        "mean over steps of (log det C + (y - m)' C^-1 (y - m)) / number of dimensions, with mean m and "
        "covariance C of the paths and each series in units of its mean |y|",
        quotient("gaussian", "steps", of="whole"),
        loss=False,
    ),
    "dawid_sebastiani_shrunk": Score(
        "share of its covariances shrunk",
        "share of steps at which C could not be inverted, as S <= D or dimensions repeat others, and was "
        "shrunk by Ledoit and Wolf's rule",
        quotient("shrunk", "steps", of="whole"),
        loss=False,
    ),
    "crps_upper_tail": Score(
        "CRPS of the upper tail",
        "sum of the part of the ensemble CRPS above each series' 0.9 quantile of the observed truth, / "
        "sum |y|",
        quotient("upper", "size", of="each"),
    ),
    "crps_lower_tail": Score(
        "CRPS of the lower tail",
        "the same below each series' 0.1 quantile",
        quotient("lower", "size", of="each"),
    ),
    "brier_upper": Score(
        "Brier score of the upper tail",
        "mean squared error of the forecast probability that the 0.9 quantile is exceeded",
        quotient("brier", "count", of="each"),
    ),
    "interval_score_90": Score(
        "interval score, 90 %",
        "sum of Winkler's score of the central 90 % interval, / sum |y|",
        quotient("interval", "size", of="each"),
    ),
    "nd": Score(
        "ND",
        "sum |median - y| / sum |y|, where the median is the order statistic nearest to 0.5",
        quotient("error", "size", of="each"),
    ),
    "nrmse": Score(
        "NRMSE",
        "root of the mean of (mean of the paths - y)^2, / mean |y|",
        root_mean_square_error,
    ),
    "mase": Score(
        "MASE",
        "mean of |median - y| / mean absolute seasonal difference of the series before the forecast, over"
        " a day of hours or minutes, 5 business days, 12 months, 4 quarters, else one step, as in "
        "GluonTS; not defined where that is not given",
        quotient("scaled_error", "scaled_count", of="each"),
    ),
    "msis": Score(
        "MSIS",
        "mean of Winkler's score of the central 95 % interval, / the same; likewise",
        quotient("scaled_interval", "scaled_count", of="each"),
    ),
    "newsvendor_cost_sum": Score(
        "reserve cost of the sum",
        "cost of providing the 0.9 quantile of the sum where a unit too few costs 9 and one too many 1, /"
        " sum |y| of the sum",
        quotient("newsvendor", "size", of="total"),
    ),
    "crps_peak": Score(
        "CRPS of the peak",
        "sum over windows of the ensemble CRPS of the largest value in a window of the sum over dimensions, "
        "/ sum of the size of those that were",
        quotient("peak", "peak_size", of="whole"),
    ),
    "brier_calm": Score(
        "Brier score of a calm",
        "mean over windows of the squared error of the forecast probability that the sum over dimensions "
        "stays at or below the 0.2 quantile of its observed truth, of all windows, for three steps in a row",
        quotient("calm", "events", of="whole"),
    ),
    "newsvendor_cost_peak": Score(
        "reserve cost of the peak",
        "cost of providing the 0.9 quantile of a window's largest sum where a unit too few costs 9 and one "
        "too many 1, / sum of the size of those that were",
        quotient("peak_reserve", "peak_size", of="whole"),
    ),
    **_coverages(),
    "reliability_error": Score(
        "reliability error",
        "mean over the levels 0.05 .. 0.95 of |share of entries at or below the quantile - level|",
        reliability_error(of="each"),
        loss=False,
    ),
    "reliability_error_sum": Score(
        "reliability error of the sum",
        "reliability_error of the sum over dimensions",
        reliability_error(of="total"),
        loss=False,
    ),
    "sharpness_90": Score(
        "width of 90 % intervals",
        "mean width of the central 90 % interval, / mean |y|",
        quotient("width", "size", of="each"),
        loss=False,
    ),
    "sharpness_90_sum": Score(
        "width of 90 % intervals of the sum",
        "sharpness_90 of the sum over dimensions",
        quotient("width", "size", of="total"),
        loss=False,
    ),
    "correlation_error": Score(
        "correlation error",
        "root mean square over pairs of series of the correlation of x - m over all windows, steps and "
        "paths minus that of y - m, where m is the mean of the paths, its own luck subtracted",
        correlation_error,
        loss=False,
    ),
}
