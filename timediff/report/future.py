"""The picture of a forecast whose truth is not known yet.

Axes: ``S`` sample paths, ``T`` time steps of the forecast, ``D`` series; NaN is a missing value.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from timediff.report.plots import (
    INK,
    LIGHT,
    Array,
    draw_forecast,
    mark_now,
    style_axes,
    typical_series,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["future_figure"]


def future_figure(
    history: Array,
    paths: Array,
    *,
    columns: Sequence[str],
    stamps: NDArray[np.datetime64],
    series: Sequence[int] | None = None,
    weights: Array | None = None,
    total: bool = True,
    title: str = "",
    unit: str | None = None,
) -> "Figure":
    """Figure of a forecast: the sum of all series above, single series below.

    A panel has the end of the history and the median with the central 50 and 90 % intervals; weighted paths
    are drawn each by itself, the more probable the wider.

    Args:
        history: What came before, ``[Th, D]``; the last two horizons of it are drawn.
        paths: Sample paths, ``[S, T, D]``.
        columns: Names of the series, ``[D]``.
        stamps: Times of history and forecast, ``[Th + T]``.
        series: Which single series to draw; by default three, of large, middle and small values.
        weights: Probabilities of the paths, ``[S]``.
        total: Whether to draw the sum, where there are several series.
        title: Heading of the figure.
        unit: Unit of the values.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    horizon, dimensions = paths.shape[1:]
    tail = min(len(history), max(2 * horizon, 24))
    observed = np.concatenate([history[len(history) - tail :], np.full(paths.shape[1:], np.nan)])
    times = stamps[len(stamps) - len(observed) :]
    shown = typical_series(paths.mean(axis=0)) if series is None else list(series)
    summed = total and dimensions > 1

    width = min(len(shown), 3) or 1
    rows = -(-len(shown) // width)
    layout = ConstrainedLayoutEngine(h_pad=0.08, hspace=0.04)
    height = 5 * summed + 4 * rows
    figure = Figure(figsize=(12, height), dpi=100, layout=layout)
    grid = figure.add_gridspec(rows + summed, width, height_ratios=[1.25] * summed + [1] * rows)
    panels = [
        (grid[summed + i // width, i % width], columns[d], observed[:, d], paths[..., d])
        for i, d in enumerate(shown)
    ]
    if summed:
        sums = (observed.sum(axis=-1), paths.sum(axis=-1))
        panels.insert(0, (grid[0, :], f"Sum of the {dimensions} series", *sums))
    for place, name, values, drawn in panels:
        axes = figure.add_subplot(place)
        if weights is None:
            draw_forecast(axes, times, values, [drawn])
        else:
            _draw_scenarios(axes, times, values, drawn, weights)
        style_axes(axes, name, stamped=True)
    if unit:
        figure.axes[0].set_ylabel(unit)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=11
    )
    return figure


def _draw_scenarios(
    axes: "Axes", times: NDArray[Any], observed: Array, paths: Array, weights: Array
) -> None:
    """Draw the observed values ``[tail + T]`` and each of the paths ``[S, T]``."""
    known = len(observed) - paths.shape[1]
    first = known - int(known > 0 and np.isfinite(observed[known - 1]))
    dot, ends = ("o", [-1]) if paths.shape[1] == 1 else (None, None)
    axes.plot(times[:known], observed[:known], color=INK, lw=1.3, zorder=4, label="history")
    for place, (path, weight) in enumerate(zip(paths, weights, strict=True)):
        wide = 0.3 + 1.3 * weight / weights.max()
        label = None if place else "scenarios, the wider the more probable"
        joined = np.r_[observed[first:known], path]
        axes.plot(
            times[first:], joined, color=LIGHT.series[0], lw=wide, alpha=0.8, marker=dot,
            markevery=ends, label=label,
        )  # fmt: skip
    mark_now(axes, times[max(known - 1, 0)])
