"""Fan charts of an evaluation, and the chances that a total exceeds a limit.

Axes: ``W`` windows, ``S`` sample paths, ``T`` time steps of the forecast, ``D`` series.
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from timediff.benchmark.exceedance import SUM, totals
from timediff.benchmark.folder import stamps
from timediff.data.dataset import Dataset
from timediff.metrics import covered, expected_coverage
from timediff.report import captions, figures
from timediff.report.pictures import Picture, themed
from timediff.report.plots import Theme, typical_series

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MOST_TOTALS", "SHOWN", "Drawn", "forecast_pictures", "opening_pictures"]

SHOWN = 2
"""Worst and best windows that are drawn."""
MOST_TOTALS = 2
"""Totals that a page opens with: the sum, and the first that the data name."""


class Drawn(NamedTuple):
    """What pictures of forecasts are of.

    Args:
        data: What was forecast.
        truth: What happened, ``[W, T, D]``, NaN where missing.
        paths: Of the evaluated entrant, ``[W, S, T, D]``.
        title: Its name.
        rival: Name and paths of whom everything is shown beside; None for nobody.
    """

    data: Dataset
    truth: NDArray[Any]
    paths: NDArray[Any]
    title: str
    rival: tuple[str, NDArray[Any]] | None

    def unit_of(self, total: str | None) -> str:
        """Unit of a total, or of a series, "" where it is not known."""
        aggregate = self.data.aggregates.get(total or "")
        return self.data.unit if aggregate is None else aggregate.unit

    def name_of(self, total: str) -> str:
        """A total in words."""
        if total != SUM:
            return total.replace("_", " ")
        series = self.data.columns
        return f"sum of the {len(series)} series" if len(series) > 1 else f"series {series[0]}"


def opening_pictures(drawn: Drawn, diagnoses: Mapping[str, dict[str, Any]]) -> list[Picture]:
    """Fan charts of the totals in the last window, and the chances that they exceed a limit."""
    last = len(drawn.truth) - 1
    names = [SUM, *drawn.data.aggregates][:MOST_TOTALS]
    pictures = [
        _fan(drawn, "opening", f"forecast-total-{place}", last, name, "Last window")
        for place, name in enumerate(names, start=1)
    ]
    shown = dict(list(diagnoses.items())[: 1 if drawn.rival is None else 2])
    for place, name in enumerate(names, start=1):
        found = {title: each.get("exceedance", {}) for title, each in shown.items()}
        curves = {title: each[name] for title, each in found.items() if name in each}
        if drawn.title not in curves:  # of a record from before there were such
            continue
        what, unit = drawn.name_of(name), drawn.unit_of(name)
        caption = captions.exceedance(curves[drawn.title], what, unit)
        draw = partial(themed, figures.exceedance_figure, curves, what=what, unit=unit)
        pictures.append(Picture("opening", f"exceedance-total-{place}", caption, caption, draw))
    return pictures


def forecast_pictures(drawn: Drawn, diagnosis: dict[str, Any]) -> list[Picture]:
    """Fan charts: chosen series in the last window, then the sum in its worst and best windows."""
    windows, _, dimensions = drawn.truth.shape
    last, pictures = windows - 1, []
    if dimensions > 1:
        for place, d in enumerate(typical_series(drawn.truth[last])):
            name = f"forecast-series-{place + 1}"
            pictures.append(_fan(drawn, "forecast", name, last, d, "Last window"))
    scores = diagnosis["by_window"]["crps_sum"]
    for kind in ("worst", "best"):
        for place, window in enumerate(diagnosis[kind][:SHOWN]):
            title = f"{kind.capitalize()} window {place + 1}"
            picture = _fan(drawn, "extremes", f"{kind}-{place + 1}", window, SUM, title)
            words = (
                f" Window {window + 1} of {windows}; CRPS of the sum / |y| {scores[window]:.3f}."
            )
            pictures.append(picture._replace(caption=picture.caption + words))
    return pictures


def _fan(
    drawn: Drawn, section: str, name: str, window: int, which: str | int, title: str
) -> Picture:
    """The fan chart of a total by name, or of a series by number."""
    data = drawn.data
    entry, horizon = data.test[window], data.prediction_length
    tail = max(2 * horizon, 24)
    known = entry["target"].T[: -horizon or None][-tail:]  # [tail, D]
    observed = np.concatenate([known, drawn.truth[window]]).astype(float)
    ahead = np.asarray(drawn.paths[window])
    other = None if drawn.rival is None else np.asarray(drawn.rival[1][window])
    if isinstance(which, int):
        values, shown = observed[:, which], ahead[..., which]
        other = None if other is None else other[..., which]
        what, unit = f"series {data.columns[which]}", data.unit
    else:
        # A series that is never seen is left out; where another has a gap, so has the total.
        seen = np.isfinite(observed).any(axis=0)
        values, shown = (totals(v, data.aggregates, seen)[which] for v in (observed, ahead))
        other = None if other is None else totals(other, data.aggregates, seen)[which]
        what, unit = drawn.name_of(which), drawn.unit_of(which)
    total = values[-horizon:]
    inside = int(np.nansum(covered(shown[..., None], total[..., None], level=0.9)))
    aim = expected_coverage(0.9, num_samples=len(shown))
    return Picture(
        section,
        name,
        f"Forecast of the {what}: the truth lies inside the 90 % interval at {inside} of "
        f"{int(np.isfinite(total).sum())} steps.",
        f"{title}: {what.rstrip('.')}. The bands hold the middle 50 and 90 % of the paths at each step; of a "
        f"perfect forecast what happened is inside the pale one at {100 * aim:.0f} % of the steps.",
        partial(
            _draw_fan, values, shown, stamps(entry, len(values)), f"{title}: {what}", unit, other,
            drawn.rival[0] if drawn.rival else "",
        ),
    )  # fmt: skip


def _draw_fan(
    observed: NDArray[Any],
    paths: NDArray[Any],
    times: NDArray[Any],
    title: str,
    unit: str,
    baseline: NDArray[Any] | None,
    baseline_name: str,
    theme: Theme,
) -> "Figure":
    return figures.fan_figure(
        observed, paths, stamps=times, title=title, unit=unit, theme=theme, baseline=baseline,
        baseline_name=baseline_name,
    )  # fmt: skip
