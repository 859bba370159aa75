"""What the pictures of a diagnosis are made of: a panel, lines of entrants, a legend that hides nothing."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from timediff.report.plots import Theme, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "MOST_LINES",
    "SIZE",
    "STYLES",
    "Array",
    "few",
    "finish",
    "legend",
    "line",
    "lines",
    "numbers",
    "panel",
    "short",
]

Array = NDArray[np.floating]

MOST_LINES = 6
"""Entrants told apart in one picture."""
SIZE = (5.2, 3.3)
"""Inches; letters are of 9 to 11 points, and a phone shows the picture some 4 inches wide."""
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))


def panel(title: str, theme: Theme, *, size: tuple[float, float] = SIZE) -> tuple[Any, Any]:
    """A figure with one empty panel in the colours of a theme."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=150, layout="constrained", facecolor=theme.paper)
    axes = figure.add_subplot()
    style_axes(axes, title, theme=theme)
    return figure, axes


def few(diagnoses: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The entrants that one picture tells apart."""
    return dict(list(diagnoses.items())[:MOST_LINES])


def lines(
    axes: "Axes",
    diagnoses: Mapping[str, dict[str, Any]],
    part: str,
    score: str,
    theme: Theme,
    *,
    named: bool = True,
) -> None:
    """A score by hour, or by step or window from 1 on, a line for each entrant, in the legend if named."""
    for i, (name, diagnosis) in enumerate(few(diagnoses).items()):
        values = numbers(diagnosis[part][score])
        x = diagnosis[part].get("hour", range(1, len(values) + 1))
        line(axes, np.asarray(x), values, i, name if named else "", theme)


def line(axes: "Axes", x: NDArray[Any], y: Array, place: int, name: str, theme: Theme) -> None:
    """A line in the colour and style of a place among the entrants."""
    dot = "o" if len(x) == 1 else None
    style: dict[str, Any] = {
        "color": theme.series[place],
        "ls": STYLES[place],
        "lw": 2 if place == 0 else 1.4,
    }
    axes.plot(x, y, label=name, zorder=9 - place, marker=dot, **style)


def finish(axes: "Axes", theme: Theme, xlabel: str, ylabel: str, *, zero: bool = True) -> None:
    """Labels of the axes, and the legend."""
    axes.set_xlabel(xlabel, color=theme.ink)
    axes.set_ylabel(ylabel, color=theme.ink)
    if zero:
        axes.set_ylim(bottom=0)
    legend(axes, theme)


def legend(axes: "Axes", theme: Theme) -> None:
    """Below the panel, where it hides nothing, in as many columns as have room."""
    handles, names = axes.get_legend_handles_labels()
    labels = [short(name, 44) for name in names]
    columns = _columns(labels)
    # Rows beyond two are added to the picture, not taken from the panel.
    more = max(-(-len(labels) // columns) - 2, 0)
    figure: Any = axes.figure
    figure.set_figheight(figure.get_figheight() + 0.16 * more)
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9,
        labelcolor=theme.ink,
    )  # fmt: skip


def numbers(values: Sequence[float | None]) -> Array:
    """Numbers of a diagnosis, NaN for None."""
    return np.asarray([np.nan if value is None else value for value in values], dtype=float)


def short(name: str, most: int = 28) -> str:
    """A name cut to so many letters."""
    return name if len(name) <= most else name[: most - 1] + "…"


def _columns(labels: Sequence[str], *, room: int = 68, handle: int = 8) -> int:
    """Columns of a legend, at most three: letters of the longest labels and handles in the room of a line."""
    for columns in (3, 2):
        rows = -(-len(labels) // columns)
        longest = [max(map(len, labels[i : i + rows])) for i in range(0, len(labels), rows)]
        if sum(longest) + handle * len(longest) <= room:
            return columns
    return 1
