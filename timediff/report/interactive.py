"""A page to look about in: the fan chart of any series or total, in any window, and the chance that a total
exceeds a limit; drawn by plotly.js, which the page holds (extra ``interactive``): it needs no network.

Axes: ``S`` sample paths, ``T`` time steps of the forecast, ``K`` totals, then series.
"""

import json
from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from timediff.benchmark.exceedance import SUM, peaks, totals
from timediff.benchmark.folder import stamps
from timediff.errors import InputError
from timediff.metrics import central_interval, median
from timediff.report.fans import MOST_TOTALS, Drawn
from timediff.report.html import escape, page

__all__ = ["LEVELS", "MOST", "Shown", "check_plotly", "look_at", "look_at_windows"]

#: Levels of the quantiles that are drawn.
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
MOST = 60_000
"""Steps of series in all windows together; earlier windows are left out, which make the page too large."""


class Shown(NamedTuple):
    """A forecast to look at.

    Args:
        label: Its window in words.
        times: Of history and forecast, ``[Th + T]``.
        observed: History and truth, ``[Th + T, K]``, NaN where missing.
        quantiles: Of `LEVELS`, ``[5, T, K]``.
        rival: Median of another forecast, ``[T, K]``.
        peaks: Of each total, limits and the chance that each is exceeded at some step.
    """

    label: str
    times: NDArray[np.datetime64]
    observed: NDArray[Any]
    quantiles: NDArray[Any]
    rival: NDArray[Any] | None
    peaks: Sequence[tuple[NDArray[Any], NDArray[Any]]]


def check_plotly() -> None:
    """Raises `InputError` unless there is what draws such a page."""
    if find_spec("plotly") is None:
        raise InputError(
            "a page to look about in needs plotly; install timediff-forecast[interactive], or ask for a .png"
        )


def look_at(
    shown: Sequence[Shown],
    names: Sequence[str],
    units: Sequence[str],
    *,
    title: str,
    note: str = "",
    rival: str = "",
) -> str:
    """The page of some forecasts of the same series.

    Args:
        shown: The forecasts, the first of which it opens with.
        names: Of totals and series, ``[K]``.
        units: Theirs, "" where not known, ``[K]``.
        title: Heading.
        note: Below it.
        rival: Name of the other forecast.

    Raises:
        InputError: plotly is not installed.
    """
    check_plotly()
    from plotly.offline import get_plotlyjs

    windows = [
        {
            "label": one.label,
            "times": np.datetime_as_string(one.times, unit="m").tolist(),
            "observed": _lists(one.observed.T),
            "quantiles": _lists(one.quantiles.transpose(2, 0, 1)),
            "rival": None if one.rival is None else _lists(one.rival.T),
            "peaks": [{"limits": _lists(x), "chance": _lists(p)} for x, p in one.peaks],
        }
        for one in shown
    ]
    horizon = shown[0].quantiles.shape[1]
    look = {
        "names": [*names],
        "units": [*units],
        "rival": rival,
        "horizon": horizon,
        "windows": windows,
    }
    content = json.dumps(look, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    body = (
        f'{f"<p>{escape(note)}</p>" if note else ""}<p class="choices">'
        f"{_choice('series', names)}{_choice('window', [one.label for one in shown])}</p>\n"
        '<div id="fan" class="look"></div>\n<div id="peaks" class="look"></div>\n'
        f'<script type="application/json" id="look">{content}</script>\n'
    )
    script = files("timediff.report").joinpath("interactive.js").read_text(encoding="utf-8")
    return page(title, body, scripts=[get_plotlyjs(), script])


def _choice(name: str, labels: Sequence[str]) -> str:
    options = "".join(
        f'<option value="{i}">{escape(label)}</option>' for i, label in enumerate(labels)
    )
    hidden = " hidden" if len(labels) == 1 else ""
    return (
        f'<label{hidden}>{name} <select id="{name}" autocomplete="off">{options}</select></label> '
    )


def look_at_windows(drawn: Drawn) -> str:
    """The page of the last windows of an evaluation.

    Raises:
        InputError: plotly is not installed.
    """
    data, (windows, horizon, dimensions) = drawn.data, drawn.truth.shape
    keys = [SUM, *data.aggregates][:MOST_TOTALS]
    single = data.columns if dimensions > 1 else []
    names = [*map(drawn.name_of, keys), *single]
    units = [*map(drawn.unit_of, keys), *[data.unit] * len(single)]
    count = min(windows, max(1, MOST // (horizon * len(names))))
    shown = [_window(drawn, window, keys) for window in range(windows - 1, windows - 1 - count, -1)]
    note = (
        f"{drawn.title}: history, the middle 50 and 90 % of the paths, and what happened. A mouse "
        "zooms by dragging; a double click comes back."
    )
    title = f"{data.name}: every series"
    rival = "" if drawn.rival is None else drawn.rival[0]
    return look_at(shown, names, units, title=title, note=note, rival=rival)


def _window(drawn: Drawn, window: int, keys: Sequence[str]) -> Shown:
    """A window of an evaluation, of the totals of these names and all series."""
    data = drawn.data
    entry, horizon = data.test[window], data.prediction_length
    tail = max(2 * horizon, 24)
    known = entry["target"].T[: -horizon or None][-tail:]
    observed = np.concatenate([known, drawn.truth[window]]).astype(float)
    seen = np.isfinite(observed).any(axis=0)

    def with_totals(values: NDArray[Any]) -> NDArray[Any]:
        """``[..., K]``."""
        sums = totals(values, data.aggregates, seen)
        parts = [sums[key][..., None] for key in keys]
        return np.concatenate([*parts, *([values] if values.shape[-1] > 1 else [])], axis=-1)

    paths = with_totals(np.asarray(drawn.paths[window], dtype=float))
    wide, narrow = (central_interval(paths, level=level) for level in (0.9, 0.5))
    times = stamps(entry, len(observed))
    first, last = (str(times[i])[:16].replace("T", " ") for i in (-horizon, -1))
    return Shown(
        f"{window + 1} of {len(drawn.truth)}: {first} to {last}",
        times,
        with_totals(observed),
        np.stack([wide[0], narrow[0], median(paths), narrow[1], wide[1]]),
        None if drawn.rival is None else median(with_totals(np.asarray(drawn.rival[1][window]))),
        [peaks(paths[..., k]) for k in range(len(keys))],
    )


def _lists(values: NDArray[Any]) -> Any:
    """Five significant digits of each number, None for what is missing."""
    if values.ndim > 1:
        return [_lists(row) for row in values]
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values.tolist()]
