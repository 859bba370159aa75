"""What the values of a table are: their definitions and titles, in the order in which they are shown."""

COVERAGES = (50, 90, 95, 99)
_INTERVAL = (
    "whose ends are the order statistics at positions p (S + 1), interpolated, and at most the outermost: of "
    "calibrated forecasts S paths hold no more than (S - 1) / (S + 1), so 98 % of 100 paths at the level 99 %"
)

METRICS = {
    "mean_wquantile_loss_sum": "mean_wquantile_loss of the sum over dimensions, which the TimeGrad "
    "paper calls CRPS_sum",
    "mean_wquantile_loss": "mean over the levels 0.05 .. 0.95 of sum 2 |(q - y) ((y <= q) - level)| "
    "/ sum |y|, where q is the nearest order statistic; GluonTS calls it mean_wQuantileLoss",
    "crps": "sum of the ensemble CRPS, mean |x - y| - mean |x - x'| / 2 with x and x' running over "
    "all paths, / sum |y|",
    "crps_sum": "crps of the sum over dimensions",
    "crps_fair": "crps with x and x' running over different paths: what it is of the distribution "
    "they are drawn from, whatever their number",
    "crps_sum_fair": "crps_fair of the sum over dimensions",
    "energy_score": "sum over steps of mean ||x - y|| - mean ||x - x'|| / 2, / sum over steps of "
    "||y||, in the Euclidean norm over dimensions",
    "variogram_score": "sum over steps and pairs i, j of (|y_i - y_j|^0.5 - mean |x_i - x_j|^0.5)^2, / sum "
    "of |y_i - y_j|; above 200 dimensions, some 20 000 pairs at evenly spread distances only",
    "dawid_sebastiani": "mean over steps of (log det C + (y - m)' C^-1 (y - m)) / number of dimensions, "
    "with mean m and covariance C of the paths and each series in units of its mean |y|",
    "dawid_sebastiani_shrunk": "share of steps at which C could not be inverted, as S <= D or dimensions "
    "repeat others, and was shrunk by Ledoit and Wolf's rule",
    "crps_upper_tail": "sum of the part of the ensemble CRPS above each series' 0.9 quantile of the observed "
    "truth, / sum |y|",
    "crps_lower_tail": "the same below each series' 0.1 quantile",
    "brier_upper": "mean squared error of the forecast probability that the 0.9 quantile is exceeded",
    "interval_score_90": "sum of Winkler's score of the central 90 % interval, / sum |y|",
    "nd": "sum |median - y| / sum |y|, where the median is the order statistic nearest to 0.5",
    "nrmse": "root of the mean of (mean of the paths - y)^2, / mean |y|",
    "mase": "mean of |median - y| / mean absolute seasonal difference of the series before the forecast, "
    "over a day of hours or minutes, 5 business days, 12 months, 4 quarters, else one step, as in GluonTS; "
    "not defined where that is not given",
    "msis": "mean of Winkler's score of the central 95 % interval, / the same; likewise",
    "newsvendor_cost_sum": "cost of providing the 0.9 quantile of the sum where a unit too few costs 9 and "
    "one too many 1, / sum |y| of the sum",
    **{
        f"coverage_{level}": f"share of entries in the central {level} % interval"
        + (f", {_INTERVAL}" if level == COVERAGES[0] else "")
        for level in COVERAGES
    },
    **{
        f"coverage_{level}_sum": f"coverage_{level} of the sum over dimensions"
        for level in COVERAGES
    },
    **{
        f"coverage_{level}_joint": f"share of windows that lie as a whole, all steps and dimensions, in one "
        f"band m +- c s which holds {level} % of paths as a whole"
        for level in COVERAGES
    },
    "reliability_error": "mean over the levels 0.05 .. 0.95 of |share of entries at or below the quantile - "
    "level|",
    "reliability_error_sum": "reliability_error of the sum over dimensions",
    "sharpness_90": "mean width of the central 90 % interval, / mean |y|",
    "sharpness_90_sum": "sharpness_90 of the sum over dimensions",
    "correlation_error": "root mean square over pairs of series of the correlation of x - m over all "
    "windows, steps and paths minus that of y - m, where m is the mean of the paths, its own luck subtracted",
}

#: How scores begin of which a ratio to another's says nothing: they can be negative, or are no losses.
UNLIKE_A_LOSS = ("coverage", "dawid_sebastiani", "reliability", "sharpness", "correlation")

TITLES = {
    "mean_wquantile_loss_sum": "CRPS_sum",
    "mean_wquantile_loss": "CRPS (quantiles)",
    "crps": "CRPS (ensemble)",
    "crps_sum": "CRPS_sum (ensemble)",
    "crps_fair": "CRPS (fair)",
    "crps_sum_fair": "CRPS_sum (fair)",
    "energy_score": "energy score",
    "variogram_score": "variogram score",
    "dawid_sebastiani": "Dawid-Sebastiani, per series",
    "dawid_sebastiani_shrunk": "share of its covariances shrunk",
    "crps_upper_tail": "CRPS of the upper tail",
    "crps_lower_tail": "CRPS of the lower tail",
    "brier_upper": "Brier score of the upper tail",
    "interval_score_90": "interval score, 90 %",
    "nd": "ND",
    "nrmse": "NRMSE",
    "mase": "MASE",
    "msis": "MSIS",
    "newsvendor_cost_sum": "reserve cost of the sum",
    **{f"coverage_{level}": f"{level} % coverage" for level in COVERAGES},
    **{f"coverage_{level}_sum": f"{level} % coverage of the sum" for level in COVERAGES},
    **{f"coverage_{level}_joint": f"{level} % coverage of the whole path" for level in COVERAGES},
    "reliability_error": "reliability error",
    "reliability_error_sum": "reliability error of the sum",
    "sharpness_90": "width of 90 % intervals",
    "sharpness_90_sum": "width of 90 % intervals of the sum",
    "correlation_error": "correlation error",
}
