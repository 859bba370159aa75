"""What to look for in a picture, and what the numbers in it say: sentences for the page."""

from typing import Any

import numpy as np

from timediff.benchmark.diagnosis import BY_HORIZON
from timediff.metrics import expected_coverage
from timediff.report.numbers import value

__all__ = [
    "COVERAGE",
    "PIT_SHAPES",
    "RANKS",
    "RANK_SHAPES",
    "WHOLE",
    "correlation",
    "coverage_by_step",
    "exceedance",
    "histogram",
    "reliability",
    "series",
]

_BAND = (
    "Grey: where 95 % of the bars would be if the forecast were right, found with its own paths in the place "
    "of the truth, so with its own dependence between steps and series"
)


def exceedance(curve: dict[str, Any], what: str, unit: str) -> str:
    """Caption of the chances that a total exceeds a limit."""
    limits, chance = np.asarray(curve["limits"]), np.asarray(curve["chance"])
    half, tenth = (value(float(limits[chance <= share][0]), 0) for share in (0.5, 0.1))
    reached = "" if curve["reached"] is None else f" It reached {value(curve['reached'], 0)}."
    return (
        f"Chance that the {what} goes beyond a limit at some step of the last window, read off whole paths: "
        f"50 % for {half}, 10 % for {tenth}{' ' if unit else ''}{unit}.{reached}"
    )


def histogram(counts: dict[str, Any], what: str, shapes: str) -> str:
    """Caption of a PIT or rank histogram."""
    share, (low, high) = np.asarray(counts["share"]), np.asarray(counts["chance"])
    outside = int(((share < low) | (share > high)).sum())
    expected = 0.05 * len(share)
    return (
        f"{what} Calibrated: bars near 1. {shapes} {_BAND}: {outside} of {len(share)} bars lie outside, "
        f"about {expected:.0f} would by chance."
    )


PIT_SHAPES = (
    "High ends: intervals too narrow; a hump in the middle: too wide; rising to the right: "
    "forecasts too low, falling: too high."
)
RANK_SHAPES = {
    "average_rank": "High ends: the series move together more than forecast, or intervals are too narrow; "
    "a hump: less, or too wide.",
    "band_depth": "High on the left: the truth is more outlying than the paths (too narrow, or the wrong "
    "dependence); on the right: more central.",
}
RANKS = {
    "average_rank": "Mean rank of the truth over the series of a step, among those of the paths.",
    "band_depth": "How deep the truth lies among the paths of a step, over all series.",
}


def reliability(curve: dict[str, Any], part: str, name: str) -> str:
    """Caption of a reliability curve."""
    level = np.asarray(curve["levels"])
    share = np.asarray(curve[part])
    low, high = np.asarray(curve["chance"][part])
    outside = int(((share < low) | (share > high)).sum())
    far = int(np.abs(share - level).argmax())
    return (
        "Share of truths below the forecast's quantile, less the quantile's level. Calibrated: on the dashed "
        "line, but for ties such as zeros at night, which lift curve and band. Above the line: quantiles too "
        f"high; below: too low. Grey: where 95 % of the points of {name} would "
        f"be if it were right; {outside} of {len(level)} lie outside, and the farthest off is "
        f"level {level[far]:.2f}, below whose quantile are {share[far]:.2f} of the truths."
    )


def correlation(values: dict[str, Any]) -> str:
    """Caption of true against forecast correlations."""
    error = values["error"]
    chance = 1 / max(values["steps"], 1) ** 0.5
    return (
        "Correlations of the truth's deviations from the forecast mean against those of the paths, over all "
        "windows and steps, for each pair of the listed series. Right: on the dashed line; farther from 0 "
        "upwards than sideways: the forecast has too little dependence. "
        + ("" if error is None else f"Root mean square distance {error:.3f}; ")
        + f"even a right forecast is about {chance:.2f} off, and more where steps depend on each other."
    )


def series(values: dict[str, Any]) -> str:
    """Caption of scores by series."""
    of, listed, deciles = values["of"], values["listed"], values["deciles"]
    head = "CRPS of each series relative to its own size."
    shown = min(30, listed)
    if shown < of:
        head = f"CRPS relative to the series' own size, the {shown} worst of {of} series."
    if not deciles:
        return head
    return f"{head} Of all {of}: median {deciles[5]:.3f}, best {deciles[0]:.3f}, worst {deciles[10]:.3f}."


def coverage_by_step(members: int, windows: int) -> str:
    """Caption of coverages by step of the forecast."""
    aims = [expected_coverage(level / 100, num_samples=members) for level in BY_HORIZON]
    stray = [200 * (aim * (1 - aim) / windows) ** 0.5 for aim in aims]
    inside, levels, points = (
        " and ".join(texts)
        for texts in (
            [f"{100 * aim:.1f}" for aim in aims],
            [str(level) for level in BY_HORIZON],
            [f"{points:.0f}" for points in stray],
        )
    )
    return (
        f"Share of truths inside the central {levels} % intervals, by rank with ties broken at random, so "
        f"that zeros at night cannot lift it; the lower line of a forecast is of {BY_HORIZON[0]} %. Dashed: "
        f"the aim, {inside} % of a perfect forecast of {members} paths; below it, intervals are too narrow "
        f"at this step, above too wide. Two standard errors of a point of {windows} independent windows are "
        f"{points} points for the sum, and less for all series the less they move together."
    )


COVERAGE = (
    "Share of truths inside the central interval of each level. Each: all series and steps; sum: of the sum, "
    "both to be compared with the perfect forecast. In brackets, where 95 % of calibrated forecasts lie."
)
WHOLE = " Path: whole windows inside a band that is to hold whole paths."
