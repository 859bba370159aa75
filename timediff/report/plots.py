"""Pictures of forecasts, as matplotlib figures without global state: no display is needed.

Axes: ``S`` sample paths, ``T`` time steps of the forecast, ``D`` series; NaN is a missing value. The
intervals drawn are those that the coverage scores count (`timediff.metrics.central_interval`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timediff.arguments import checked
from timediff.errors import InputError
from timediff.metrics import central_interval, median
from timediff.tools.files import whole
from timediff.tools.numbers import numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Figure

__all__ = [
    "BLUE",
    "DARK",
    "INK",
    "LIGHT",
    "STEPS",
    "VERMILLION",
    "Array",
    "Theme",
    "bound_figure",
    "draw_forecast",
    "forecast_figure",
    "mark_now",
    "save_figure",
    "style_axes",
    "typical_series",
]

Array = NDArray[np.floating]

STEPS = "steps from the start of the forecast"


class Theme(NamedTuple):
    """Colours of a picture; no two are the same, so that a page can replace each by its own.

    The colours of `series` are of the palette of Okabe and Ito or near it: told apart by colour-blind
    readers, and at least 3 : 1 against `paper`.
    """

    paper: str
    ink: str
    muted: str
    grid: str
    series: tuple[str, ...]


LIGHT = Theme(
    paper="#FFFFFF",
    ink="#222222",
    muted="#6B7076",
    grid="#DDDDDD",
    series=("#0072B2", "#D55E00", "#00875F", "#A8518A", "#96700A", "#56606B"),
)
DARK = Theme(
    paper="#15181C",
    ink="#E6E6E6",
    muted="#9AA1A9",
    grid="#363B42",
    series=("#56B4E9", "#F58D46", "#2FC79B", "#DE8FC3", "#D9B13B", "#AAB4BF"),
)
BLUE, VERMILLION, INK = *LIGHT.series[:2], LIGHT.ink


@checked
def forecast_figure(
    history: Array,
    truth: Array,
    paths: Array,
    *,
    columns: Sequence[str],
    stamps: ArrayLike | None = None,
    title: str = "",
    unit: str | None = None,
    series: Sequence[int] | None = None,
    baseline: Array | None = None,
    baseline_name: str = "baseline",
) -> "Figure":
    """Figure of one forecast window: the sum of all series above, single series below.

    A panel has the end of the history, the truth, and the forecast's median with its central 50 and
    90 % intervals. The sum is over the series that are observed at all; where one of them has a gap, so has
    the observed sum, while the scores add up what is observed at each step.

    Args:
        history: What came before, ``[Th, D]``; the last two horizons of it are drawn.
        truth: What happened, ``[T, D]``.
        paths: Sample paths, ``[S, T, D]``.
        columns: Names of the series, ``[D]``.
        stamps: Times of history and truth as datetimes, ``[Th + T]``; by default steps are counted.
        title: Heading of the figure.
        unit: Unit of the values.
        series: Which single series to draw; by default three, of large, middle and small values.
        baseline: Sample paths of another forecast, ``[S', T, D]``, of which the median is drawn.
        baseline_name: What the legend calls it.

    Returns:
        A figure of 1200 x 900 pixels; 1200 x 500 for one series, which needs no sum.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    history, truth = numbers(history, "history"), numbers(truth, "truth")
    forecasts = [numbers(paths, "paths")]
    if baseline is not None:
        forecasts.append(numbers(baseline, "baseline"))
    fits = (
        truth.ndim == 2 and history.ndim == 2 and history.shape[1] == truth.shape[1] == len(columns)
    )
    if not fits or not all(p.ndim == 3 and p.shape[1:] == truth.shape for p in forecasts):
        raise InputError(
            "a forecast figure needs history [Th, D], truth [T, D], paths [S, T, D] and D names, but their "
            f"shapes are {history.shape}, {truth.shape}, {[p.shape for p in forecasts]} and {len(columns)}"
        )
    horizon, dimensions = truth.shape
    tail = min(len(history), max(2 * horizon, 24))
    observed = np.concatenate([history[len(history) - tail :], truth])  # [tail + T, D]
    times = _times(stamps, len(history), horizon)[-len(observed) :]
    shown = typical_series(truth) if series is None else list(series)

    layout = ConstrainedLayoutEngine(h_pad=0.08, hspace=0.04)
    figure = Figure(figsize=(12, 9 if dimensions > 1 else 5), dpi=100, layout=layout)
    rows, width = (2, max(len(shown), 1)) if dimensions > 1 else (1, 1)
    grid = figure.add_gridspec(rows, width, height_ratios=(1.25, 1)[:rows])
    if dimensions == 1:
        panels = [(grid[0, :], columns[0], observed[:, 0], [p[..., 0] for p in forecasts])]
    else:
        # A series that is never seen is left out; where another has a gap, so has the observed sum.
        seen = np.isfinite(observed).any(axis=0)
        sums = [p[..., seen].sum(axis=-1) for p in forecasts]
        name = f"Sum of the {seen.sum()} series"
        panels = [(grid[0, :], name, observed[:, seen].sum(axis=-1), sums)]
        for column, d in enumerate(shown):
            single = [p[..., d] for p in forecasts]
            panels.append((grid[1, column], columns[d], observed[:, d], single))

    for place, name, values, drawn in panels:
        axes = figure.add_subplot(place)
        draw_forecast(axes, times, values, drawn, baseline_name=baseline_name)
        style_axes(axes, name, stamped=stamps is not None)
        if stamps is None:
            axes.set_xlabel(STEPS)
    if unit:
        for axes in figure.axes[:2]:
            axes.set_ylabel(unit)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=11
    )
    return figure


def bound_figure(terms: Array, *, log_scale: Array, title: str = "") -> "Figure":
    """Figure of the variational bound's terms: each on the left, added up from step N on the right.

    Args:
        terms: L_0 .. L_N in scaled units, nats per dimension, ``[seeds, N + 1]``, N at least 2.
        log_scale: What the data's own scale adds to the whole, ``[seeds]``.
        title: Heading of the figure.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(12, 4.5), dpi=100, layout=ConstrainedLayoutEngine(wspace=0.06))
    each, added = figure.subplots(1, 2)
    steps = np.arange(1, terms.shape[1])
    for seed, (of_seed, scale) in enumerate(zip(terms, log_scale, strict=True)):
        style = {"color": BLUE, "lw": 1.3, "alpha": 0.8 if len(terms) > 1 else 1}
        each.plot(steps[1:], of_seed[1:-1], **style)
        added.plot(steps, of_seed[::-1].cumsum()[::-1][1:], **style)
        label = "with L$_0$ and the log-scale of the data: the whole bound" if seed == 0 else None
        added.plot(
            [0], [of_seed.sum() + scale], color=VERMILLION, marker="o", ls="none", label=label
        )
    each.set_yscale("log")
    first, last = (f"{terms[:, i].mean():.3g}" for i in (0, -1))
    style_axes(each, f"Terms L$_{{n-1}}$ of the bound (L$_0$ = {first}, L$_N$ = {last})")
    style_axes(added, "Added up from step N")
    added.axhline(0, color=INK, lw=0.8, ls=":", zorder=0)
    added.legend(frameon=False)
    for axes in (each, added):
        axes.set_xlabel("diffusion step n")
        axes.set_ylabel("nats per dimension")
        axes.margins(x=0.03)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return figure


def save_figure(figure: "Figure", path: str | Path) -> None:
    """Write a figure in the format its name ends with; the file appears whole or not at all."""
    with whole(Path(path)) as part:
        figure.savefig(part)


def draw_forecast(
    axes: "Axes",
    times: NDArray[Any],
    observed: Array,
    forecasts: list[Array],
    *,
    baseline_name: str = "baseline",
    theme: Theme = LIGHT,
) -> None:
    """Draw history and truth ``[tail + T]`` and paths ``[S, T]`` of one or two forecasts, joined at "now".

    The last value of the history is where bands, medians and truth begin, where it is not missing.
    """
    paths = forecasts[0][..., None]
    horizon = paths.shape[1]
    known = len(observed) - horizon
    first = known - int(known > 0 and np.isfinite(observed[known - 1]))
    start, ahead = observed[first:known], times[first:]
    ours, other_colour = theme.series[:2]
    dot = "o" if horizon == 1 else None
    axes.plot(times[:known], observed[:known], color=theme.ink, lw=1.3, zorder=4, label="history")
    for level, alpha in ((0.9, 0.18), (0.5, 0.35)):
        low, high = (np.r_[start, end[:, 0]] for end in central_interval(paths, level=level))
        label = f"{100 * level:.0f} % interval"
        if horizon > 1:
            axes.fill_between(ahead, low, high, color=ours, alpha=alpha, lw=0, label=label)
        else:
            last = (ahead[-1:], low[-1:], high[-1:])
            axes.vlines(*last, color=ours, alpha=alpha, lw=10, label=label)
    middle = np.r_[start, median(paths)[:, 0]]
    ends = [-1] if horizon == 1 else None
    axes.plot(
        ahead, middle, color=ours, lw=1.8, marker=dot, markevery=ends, label="forecast median"
    )
    for other in forecasts[1:]:
        middle = np.r_[start, median(other[..., None])[:, 0]]
        axes.plot(
            ahead, middle, color=other_colour, lw=1.3, ls="--", marker=dot, markevery=ends,
            label=f"{baseline_name} median",
        )  # fmt: skip
    if np.isfinite(observed[known:]).any():
        axes.plot(
            ahead, observed[first:], color=theme.ink, lw=1, marker="o", ms=2.8, zorder=4,
            markevery=range(known - first, len(ahead)), label="what happened",
        )  # fmt: skip
    # A line shows nothing of a value whose neighbours are both missing.
    gaps = np.pad(np.isnan(observed), 1, constant_values=True)
    alone = gaps[:-2] & gaps[2:]
    axes.plot(times[alone], observed[alone], color=theme.ink, marker="o", ms=3, ls="none", zorder=4)
    mark_now(axes, times[max(known - 1, 0)], theme=theme)


def mark_now(axes: "Axes", now: Any, *, theme: Theme = LIGHT) -> None:
    """Mark the last time of the history."""
    axes.axvline(now, color=theme.ink, lw=0.8, ls=":", zorder=0)
    axes.text(
        now, 1, "now ", transform=axes.get_xaxis_transform(), ha="right", va="top", fontsize=9,
        color=theme.muted,
    )  # fmt: skip


def style_axes(axes: "Axes", name: str, *, stamped: bool = False, theme: Theme = LIGHT) -> None:
    """Title, grid and colours of one panel; with stamps, dates below it."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    axes.set_title(name, loc="left", fontsize=12, color=theme.ink)
    axes.set_facecolor(theme.paper)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color(theme.muted)
    axes.grid(axis="y", color=theme.grid, lw=0.6)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)
    axes.tick_params(which="both", labelsize=10, color=theme.muted, labelcolor=theme.ink)
    if stamped:
        # With fewer than 7, two days and some hours suit none of its intervals, and it warns.
        locator = AutoDateLocator(minticks=3, maxticks=7)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.xaxis.get_offset_text().set_color(theme.ink)


def _times(stamps: ArrayLike | None, past: int, horizon: int) -> NDArray[Any]:
    if stamps is None:
        return np.arange(-past, horizon)
    times = np.asarray(stamps, dtype="datetime64[ns]")
    if times.shape != (past + horizon,):
        raise InputError(
            f"a forecast figure needs a stamp for each of the {past + horizon} steps of history and "
            f"truth, but the stamps have the shape {times.shape}"
        )
    return times


def typical_series(truth: Array) -> list[int]:
    """Series of the largest, the middle and the smallest mean size, those that never vary last.

    Args:
        truth: What happened, ``[T, D]``.
    """
    size = np.nan_to_num(np.abs(truth)).mean(axis=0)
    varies = np.nan_to_num(truth).std(axis=0) > 0
    order = np.lexsort((-size, ~varies))[: max(int(varies.sum()), 1)]
    picks = np.linspace(0, len(order) - 1, min(3, len(order))).round().astype(int)
    return [int(d) for d in order[picks]]
