"""Pictures of a diagnosis: one panel each, so that a page can set them side by side or below each other.

Every function takes plain lists as `timediff.report.diagnose` returns them, by entrant where there are
several, ours first, and gives a matplotlib figure in the colours of a theme, small enough to be
read on a phone.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from timediff.benchmark.diagnosis import BY_HORIZON
from timediff.metrics import expected_coverage
from timediff.report.panels import (
    SIZE,
    Array,
    few,
    finish,
    legend,
    line,
    lines,
    numbers,
    panel,
    short,
)
from timediff.report.plots import STEPS, Theme, draw_forecast, style_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "CHANCE",
    "MARKERS",
    "SCORES",
    "correlation_figure",
    "correlation_map",
    "cost_figure",
    "coverage_figure",
    "exceedance_figure",
    "fan_figure",
    "histogram_figure",
    "horizon_figure",
    "hour_figure",
    "reliability_figure",
    "series_figure",
    "window_figure",
]

MARKERS = "osD^vP"
CHANCE = "chance, 95 %"
SCORES = {"crps": "CRPS", "crps_sum": "CRPS of the sum"}


def fan_figure(
    observed: Array,
    paths: Array,
    *,
    stamps: ArrayLike | None,
    title: str,
    theme: Theme,
    unit: str = "",
    baseline: Array | None = None,
    baseline_name: str = "baseline",
) -> "Figure":
    """Median and central 50 and 90 % intervals of one forecast, with what came before and what happened.

    Args:
        observed: History and truth, ``[Th + T]``.
        paths: Sample paths, ``[S, T]``.
        stamps: Times of `observed`; by default steps are counted.
        title: Heading.
        theme: Colours.
        unit: Of the values.
        baseline: Paths of another forecast, ``[S', T]``, of which the median is drawn.
        baseline_name: What the legend calls it.
    """
    figure, axes = panel(title, theme)
    horizon = paths.shape[1]
    times = np.arange(len(observed)) - len(observed) + horizon if stamps is None else stamps
    forecasts = [paths] if baseline is None else [paths, baseline]
    draw_forecast(
        axes, np.asarray(times), observed, forecasts, baseline_name=baseline_name, theme=theme
    )
    style_axes(axes, title, stamped=stamps is not None, theme=theme)
    if stamps is None:
        axes.set_xlabel(STEPS, color=theme.ink)
    axes.set_ylabel(unit, color=theme.ink)
    legend(axes, theme)
    return figure


def exceedance_figure(
    curves: Mapping[str, dict[str, Any]], *, what: str, unit: str, theme: Theme
) -> "Figure":
    """Chance that a total goes beyond a limit at some step, by limit, with what it reached.

    Args:
        curves: Of each entrant, as `timediff.benchmark.exceedance` makes them.
        what: The total.
        unit: Of the limits.
        theme: Colours.
    """
    figure, axes = panel(f"Chance that a limit is exceeded: {short(what)}", theme)
    for i, (name, curve) in enumerate(curves.items()):
        limits, chance = numbers(curve["limits"]), numbers(curve["chance"])
        line(axes, np.r_[limits[:1], limits], np.r_[1, chance], i, name, theme)
    reached = next(iter(curves.values()))["reached"]
    if reached is not None:
        axes.axvline(reached, color=theme.ink, lw=1.2, label="highest value that happened")
    finish(axes, theme, f"limit in {unit}" if unit else "limit", "chance")
    return figure


def horizon_figure(
    diagnoses: Mapping[str, dict[str, Any]], *, score: str, theme: Theme
) -> "Figure":
    """A score by step of the forecast, a line for each entrant."""
    figure, axes = panel(f"{SCORES[score]} by step of the forecast", theme)
    lines(axes, diagnoses, "by_horizon", score, theme)
    finish(axes, theme, "step", f"{SCORES[score]} / mean |y|")
    return figure


def coverage_figure(
    diagnoses: Mapping[str, dict[str, Any]], *, part: str, title: str, theme: Theme
) -> "Figure":
    """Coverage by rank by step of the forecast, with that of a perfect forecast of as many paths."""
    figure, axes = panel(title, theme)
    members = next(iter(diagnoses.values()))["size"]["paths"]
    suffix = {"each": "", "sum": "_sum"}[part]
    for place, level in enumerate(BY_HORIZON):
        first = place == 0  # each entrant is named once
        aim = expected_coverage(level / 100, num_samples=members)
        label = f"perfect forecast of {members} paths" if first else None
        axes.axhline(aim, color=theme.ink, lw=1, ls="--", label=label)
        right = axes.get_yaxis_transform()
        axes.text(1.01, aim, f"{level} %", transform=right, va="center", color=theme.ink)
        name = f"coverage_{level}{suffix}_rank"
        lines(axes, diagnoses, "by_horizon", name, theme, named=first)
    axes.set_ylim(0, 1.02)
    finish(axes, theme, "step", "share inside", zero=False)
    return figure


def hour_figure(diagnoses: Mapping[str, dict[str, Any]], *, score: str, theme: Theme) -> "Figure":
    """A score by hour of the day, a line for each entrant."""
    figure, axes = panel(f"{SCORES[score]} by hour of the day", theme)
    lines(axes, diagnoses, "by_hour", score, theme)
    axes.set_xticks(range(0, 24, 3))
    finish(axes, theme, "hour", f"{SCORES[score]} / mean |y|")
    return figure


def window_figure(diagnoses: Mapping[str, dict[str, Any]], *, score: str, theme: Theme) -> "Figure":
    """A score of each window, a line for each entrant."""
    figure, axes = panel(f"{SCORES[score]} by window", theme)
    lines(axes, diagnoses, "by_window", score, theme)
    axes.xaxis.get_major_locator().set_params(integer=True)
    finish(axes, theme, "window, in order of time", f"{SCORES[score]} / mean |y|")
    return figure


def series_figure(diagnoses: Mapping[str, dict[str, Any]], *, theme: Theme) -> "Figure":
    """CRPS of the series of which ours is worst, a row for each, and of the other entrants."""
    shown = list(few(diagnoses).items())
    names = shown[0][1]["by_series"]["names"][:30]
    figure, axes = panel(
        "CRPS by series, our worst first", theme, size=(SIZE[0], 1.4 + 0.17 * len(names))
    )
    rows = np.arange(len(names))
    for i, (name, diagnosis) in reversed(list(enumerate(shown))):
        listed = dict(
            zip(diagnosis["by_series"]["names"], diagnosis["by_series"]["crps"], strict=True)
        )
        values = numbers([listed.get(series) for series in names])
        size = 6 if i == 0 else 4
        axes.plot(
            values, rows, MARKERS[i], ms=size, color=theme.series[i], label=name, zorder=9 - i
        )
    axes.grid(axis="x", color=theme.grid, lw=0.6)
    axes.set_yticks(rows, [short(name) for name in names], fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.margins(x=0.05)
    finish(axes, theme, "CRPS / |y|", "", zero=False)
    return figure


def histogram_figure(
    histogram: dict[str, Any], *, title: str, xlabel: str, theme: Theme
) -> "Figure":
    """Shares of a PIT or rank histogram relative to even ones, with the band of chance behind."""
    figure, axes = panel(title, theme)
    share = numbers(histogram["share"]) * len(histogram["share"])
    low, high = (numbers(end) * len(share) for end in histogram["chance"])
    edges = np.linspace(0, 1, len(share) + 1)
    axes.bar(
        edges[:-1], share, width=1 / len(share), align="edge", color=theme.series[0], alpha=0.7,
        edgecolor=theme.paper, lw=0.6, label="forecast",
    )  # fmt: skip
    axes.stairs(
        high, edges, baseline=low, fill=True, color=theme.muted, alpha=0.25, zorder=0, label=CHANCE
    )
    for end in (low, high):
        axes.stairs(end, edges, baseline=None, color=theme.muted, lw=1.2)
    axes.axhline(1, color=theme.ink, lw=1, ls="--", label="calibrated")
    axes.set_ylim(0, max(1.6, 1.25 * np.nanmax([share.max(), high.max()])))
    axes.set_xlim(0, 1)
    finish(axes, theme, xlabel, "share relative to even", zero=False)
    return figure


def reliability_figure(
    diagnoses: Mapping[str, dict[str, Any]], *, part: str, title: str, theme: Theme
) -> "Figure":
    """Share of truths below the quantile of each level, less the level, with our band of chance."""
    figure, axes = panel(title, theme)
    ours = next(iter(diagnoses.values()))["reliability"]
    levels = numbers(ours["levels"])
    low, high = (numbers(end) - levels for end in ours["chance"][part])
    axes.fill_between(levels, low, high, color=theme.muted, alpha=0.3, lw=0, label=CHANCE)
    axes.axhline(0, color=theme.ink, lw=1, ls="--", label="calibrated")
    for i, (name, diagnosis) in enumerate(few(diagnoses).items()):
        line(axes, levels, numbers(diagnosis["reliability"][part]) - levels, i, name, theme)
    axes.set_xlim(0, 1)
    finish(axes, theme, "level of the quantile", "share below it - level", zero=False)
    return figure


def correlation_figure(correlation: dict[str, Any], *, theme: Theme) -> "Figure":
    """Correlation of each pair of series: true against forecast."""
    figure, axes = panel("Correlations: true against forecast", theme, size=(5.2, 4.6))
    forecast, truth = numbers(correlation["forecast"]), numbers(correlation["truth"])
    axes.axline((0, 0), slope=1, color=theme.ink, lw=1, ls="--", label="equal")
    axes.plot(
        forecast,
        truth,
        "o",
        ms=3.5,
        alpha=0.6,
        color=theme.series[0],
        mew=0,
        label="a pair of series",
    )
    known = np.concatenate([forecast, truth])[np.isfinite(np.concatenate([forecast, truth]))]
    low = min(-0.1, known.min() - 0.05) if known.size else -1
    axes.set(xlim=(low, 1.02), ylim=(low, 1.02), aspect="equal")
    finish(axes, theme, "forecast", "true", zero=False)
    return figure


def correlation_map(correlation: dict[str, Any], *, theme: Theme) -> "Figure":
    """Correlation matrix, the true one below the diagonal and the forecast one above."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgba

    size = len(correlation["names"])
    matrix = np.full((size, size), np.nan)
    upper = np.triu_indices(size, k=1)
    matrix[upper] = numbers(correlation["forecast"])
    matrix.T[upper] = numbers(correlation["truth"])
    # See-through at 0, so that one picture serves on light and on dark paper.
    negative, positive = to_rgba(theme.series[1]), to_rgba(theme.series[0])
    ends = [negative, (*negative[:3], 0.0), (*positive[:3], 0.0), positive]
    colours = LinearSegmentedColormap.from_list(
        "sign", list(zip((0, 0.5, 0.5, 1), ends, strict=True))
    )
    figure, axes = panel("Correlations: true below, forecast above", theme, size=(5.2, 4.6))
    image = axes.imshow(matrix, cmap=colours, vmin=-1, vmax=1, interpolation="nearest")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.plot([-0.5, size - 0.5], [-0.5, size - 0.5], color=theme.muted, lw=0.8)
    labels = [short(name, 12) for name in correlation["names"]]
    axes.set_xticks(range(size), labels, rotation=90, fontsize=7)
    axes.set_yticks(range(size), labels, fontsize=7)
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.ax.tick_params(color=theme.muted, labelcolor=theme.ink, labelsize=9)
    bar.ax.set_facecolor(theme.paper)
    bar.outline.set_edgecolor(theme.muted)
    return figure


def cost_figure(rows: Sequence[tuple[str, float, float]], *, score: str, theme: Theme) -> "Figure":
    """Score against seconds, a mark for each entrant ``(name, seconds, score)``."""
    figure, axes = panel("Score against seconds of training and sampling", theme)
    for i, (name, seconds, value) in enumerate(rows):
        colour = theme.series[i % len(theme.series)]
        # The second round of colours has its markers shifted, so that no two entrants look alike.
        marker = MARKERS[(i + i // len(theme.series)) % len(MARKERS)]
        axes.plot([seconds], [value], marker, color=colour, ms=9 if i == 0 else 7, label=name)
    axes.set_xscale("log")
    values = [row[2] for row in rows]
    if 0 < 4 * min(values) < max(values):
        axes.set_yscale("log")
    axes.margins(x=0.1, y=0.15)
    axes.grid(axis="x", color=theme.grid, lw=0.6)
    finish(axes, theme, "seconds, all windows", score, zero=False)
    return figure
