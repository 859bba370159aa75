"""Pictures of a forecast: a figure to print, and a page to look about in."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from timediff.errors import InputError
from timediff.forecaster.frames import Array, naive, some

if TYPE_CHECKING:
    from timediff.forecaster.forecast import Forecast
    from timediff.report.plots import Figure

__all__ = ["as_figure", "as_html"]


def as_figure(
    forecast: "Forecast", series: Sequence[Any] | None, *, total: bool, title: str, unit: str | None
) -> "Figure":
    """Fan chart of the end of the history and of what is to come after it.

    Raises:
        InputError: A series is not in the forecast.
    """
    from timediff.report.future import future_figure

    names = list(forecast.names)
    if unknown := [name for name in series or () if name not in names]:
        raise InputError(f"the forecast has no series {unknown[0]!r}; its series are {some(names)}")
    history, stamps = _history(forecast)
    return future_figure(
        history,
        forecast.paths,
        columns=[str(name) for name in names],
        stamps=stamps,
        series=None if series is None else [names.index(name) for name in series],
        weights=forecast.weights,
        total=total,
        title=title,
        unit=unit,
    )


def as_html(forecast: "Forecast", *, title: str, unit: str) -> str:
    """A page with the fan chart of each series and of their total, to be chosen, in one file.

    Raises:
        InputError: plotly is not installed, or the paths have weights.
    """
    from timediff.benchmark.exceedance import peaks
    from timediff.report.interactive import LEVELS, Shown, check_plotly, look_at

    check_plotly()
    if forecast.weights is not None:
        raise InputError("scenarios with weights are no bands; draw them with plot()")
    names = [str(name) for name in forecast.names]
    whole, (history, stamps) = forecast, _history(forecast)
    quantiles = forecast.quantile(LEVELS)
    if len(names) > 1:
        whole = forecast.aggregate()
        names = [f"sum of the {len(names)} series", *names]
        history = np.concatenate([_history(whole)[0], history], axis=1)
        quantiles = np.concatenate([whole.quantile(LEVELS), quantiles], axis=2)
    tail = max(2 * len(forecast.stamps), 24)
    observed = np.pad(history[-tail:], [(0, len(forecast.stamps)), (0, 0)], constant_values=np.nan)
    times = stamps[-len(observed) :]
    zone = getattr(forecast.stamps, "tz", None)
    shown = Shown("what is to come", times, observed, quantiles, None, [peaks(whole.paths[..., 0])])
    clock = "" if zone is None else f", on the clock of {zone}"
    note = (
        f"History, and the middle 50 and 90 % of {len(forecast.paths)} paths after it{clock}. A mouse zooms "
        "by dragging; a double click comes back."
    )
    return look_at([shown], names, [unit] * len(names), title=title, note=note)


def _history(forecast: "Forecast") -> tuple[Array, np.ndarray]:
    """What is known before, ``[Th, D]``, and the stamps of it and of the forecast, ``[Th + T]``."""
    history = forecast.history
    before = forecast.history_stamps
    return (
        np.empty((0, len(forecast.names))) if history is None else history,
        np.concatenate(
            [naive(forecast.stamps[:0] if before is None else before), naive(forecast.stamps)]
        ),
    )
