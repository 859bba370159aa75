"""The pictures of a report: what each is called, says to those who do not see it, and how it is drawn."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from timediff.benchmark.folder import stamps
from timediff.benchmark.record import COMPARED, Result
from timediff.data.dataset import Dataset
from timediff.metrics import covered, expected_coverage, sum_over_dimensions
from timediff.report import captions, figures
from timediff.report.plots import Theme, typical_series

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "FAR",
    "SHOWN",
    "Picture",
    "calibration_pictures",
    "correlation_pictures",
    "cost_pictures",
    "error_pictures",
    "forecast_pictures",
    "pit_pictures",
]

SHOWN = 2
"""Worst and best windows that are drawn."""
FAR = 3


class Picture(NamedTuple):
    """One picture: its section of the page, its name there and as a file, texts, and how to draw it."""

    section: str
    name: str
    alt: str
    caption: str
    draw: Callable[[Theme], "Figure"]


def forecast_pictures(
    data: Dataset,
    truth: NDArray,
    paths: NDArray,
    diagnosis: dict[str, Any],
    *,
    baseline: tuple[str, NDArray] | None,
) -> list[Picture]:
    """Fan charts: the last window in sum and in chosen series, then the sum in its worst and best windows."""
    last = len(truth) - 1
    shown = typical_series(truth[last]) if truth.shape[2] > 1 else [0]
    make = partial(_fan, data, truth, paths, baseline)
    pictures = []
    if truth.shape[2] > 1:
        pictures.append(make("forecast", "forecast-sum", last, None, "Last window"))
    for place, d in enumerate(shown):
        pictures.append(make("forecast", f"forecast-series-{place + 1}", last, d, "Last window"))
    scores = diagnosis["by_window"]["crps_sum"]
    for kind in ("worst", "best"):
        for place, window in enumerate(diagnosis[kind][:SHOWN]):
            title = f"{kind.capitalize()} window {place + 1}"
            picture = make("extremes", f"{kind}-{place + 1}", window, None, title)
            words = (
                f" Window {window + 1} of {len(truth)}; CRPS of the sum / |y| {scores[window]:.3f}."
            )
            pictures.append(picture._replace(caption=picture.caption + words))
    return pictures


def _fan(
    data: Dataset,
    truth: NDArray,
    paths: NDArray,
    baseline: tuple[str, NDArray] | None,
    section: str,
    name: str,
    window: int,
    series: int | None,
    title: str,
) -> Picture:
    entry, horizon = data.test[window], data.prediction_length
    tail = max(2 * horizon, 24)
    known = entry["target"].T[: -horizon or None][-tail:]  # [tail, D]
    ahead, happened = np.asarray(paths[window]), truth[window]
    other = None if baseline is None else np.asarray(baseline[1][window])
    if series is None and truth.shape[2] > 1:
        # A series that is never seen is left out; where another has a gap, so has the history's sum.
        seen = np.isfinite(np.concatenate([known, happened])).any(axis=0)
        before = known[:, seen].sum(axis=-1)
        shown, total = (part[..., 0] for part in sum_over_dimensions(ahead, happened))
        if other is not None:
            other = sum_over_dimensions(other, happened)[0][..., 0]
        what = f"sum of the {seen.sum()} series"
    else:
        d = series or 0
        before, shown, total = known[:, d], ahead[..., d], happened[:, d]
        other = None if other is None else other[..., d]
        what = f"series {data.columns[d]}"
    observed = np.concatenate([before, total]).astype(float)
    inside = int(np.nansum(covered(shown[..., None], total[..., None], level=0.9)))
    seen_steps = int(np.isfinite(total).sum())
    return Picture(
        section,
        name,
        f"Forecast of the {what}: the truth lies inside the 90 % interval at {inside} of "
        f"{seen_steps} steps.",
        f"{title}: {what.rstrip('.')}. In a perfect forecast of {len(shown)} paths the observed line is "
        f"inside the pale band at {expected_coverage(0.9, num_samples=len(shown)):.0%} of the steps.",
        partial(
            _draw_fan,
            observed,
            shown,
            stamps(entry, len(observed)),
            f"{title}: {what}",
            other,
            baseline[0] if baseline else "",
        ),
    )


def _draw_fan(
    observed: NDArray,
    paths: NDArray,
    times: NDArray,
    title: str,
    baseline: NDArray | None,
    baseline_name: str,
    theme: Theme,
) -> "Figure":
    return figures.fan_figure(
        observed, paths, stamps=times, title=title, theme=theme, baseline=baseline,
        baseline_name=baseline_name,
    )  # fmt: skip


def error_pictures(diagnoses: dict[str, dict[str, Any]]) -> list[Picture]:
    """Where the error is: by step, hour, window and series; entrants far worse than ours are left out."""
    ours = next(iter(diagnoses.values()))
    near = {
        name: diagnosis
        for name, diagnosis in diagnoses.items()
        if _mean(diagnosis) <= FAR * _mean(ours)
    }
    far = [name for name in diagnoses if name not in near]
    left_out = f" Left out, with more than {FAR} times our error: {', '.join(far)}." if far else ""
    diagnoses = near or diagnoses
    kinds = {"horizon": ("step of the forecast", figures.horizon_figure)}
    if ours["by_hour"] is not None:
        kinds["hour"] = ("hour of the day", figures.hour_figure)
    if ours["size"]["windows"] > 1:
        kinds["window"] = ("window", figures.window_figure)
    several = ours["size"]["series"] > 1
    pictures = []
    for kind, (words, draw) in kinds.items():
        for score in ("crps_sum", "crps") if several else ("crps",):
            values = ours[f"by_{kind}"][score]
            pictures.append(
                Picture(
                    "errors",
                    f"{kind}-{score}".replace("_", "-"),
                    f"Lines of the {figures.SCORES[score]} by {words}; ours "
                    f"between {_range(values)}.",
                    f"{figures.SCORES[score]} by {words}, relative to the mean |y| of all steps: the mean of "
                    f"a line is the score of its paths. Lower is better.{left_out}",
                    partial(_themed, draw, diagnoses, score=score),
                )
            )
    if several:
        caption = captions.series(ours["by_series"]) + left_out
        draw = partial(_themed, figures.series_figure, diagnoses)
        pictures.append(Picture("errors", "series", caption, caption, draw))
    return pictures


def pit_pictures(
    diagnosis: dict[str, Any], *, section: str, name: str, whose: str = ""
) -> list[Picture]:
    """PIT histograms of one entrant, of all series and of the sum."""
    pictures = []
    for part, words in _parts(diagnosis).items():
        caption = captions.histogram(
            diagnosis["pit"][part],
            f"Where the truth falls among the paths (PIT), {words}{whose}.",
            captions.PIT_SHAPES,
        )
        draw = partial(
            _themed, figures.histogram_figure, diagnosis["pit"][part], title=f"PIT of {words}{whose}",
            xlabel="share of paths below the truth",
        )  # fmt: skip
        pictures.append(Picture(section, f"{name}-{part}", caption, caption, draw))
    return pictures


def _parts(diagnosis: dict[str, Any]) -> dict[str, str]:
    """What calibration is shown of, in words: a single series is its own sum."""
    return (
        {"each": "all series", "sum": "the sum"}
        if diagnosis["size"]["series"] > 1
        else {"each": "the series"}
    )


def calibration_pictures(diagnoses: dict[str, dict[str, Any]]) -> list[Picture]:
    """PIT and ranks of ours, reliability and coverage by step of all."""
    name, ours = next(iter(diagnoses.items()))
    pictures = pit_pictures(ours, section="calibration", name="pit")
    for part, words in _parts(ours).items():
        caption = captions.reliability(ours["reliability"], part, name)
        title = f"Reliability of {words}"
        draw = partial(_themed, figures.reliability_figure, diagnoses, part=part, title=title)
        pictures.append(Picture("calibration", f"reliability-{part}", caption, caption, draw))
    pictures += _coverage_pictures(diagnoses)
    for part, histogram in ours["ranks"].items():
        caption = captions.histogram(histogram, captions.RANKS[part], captions.RANK_SHAPES[part])
        title = {"average_rank": "Average rank", "band_depth": "Band depth"}[part]
        draw = partial(
            _themed, figures.histogram_figure, histogram, title=f"{title} of all series together",
            xlabel="rank of the truth",
        )  # fmt: skip
        pictures.append(Picture("calibration", part.replace("_", "-"), caption, caption, draw))
    return pictures


def _coverage_pictures(diagnoses: dict[str, dict[str, Any]]) -> list[Picture]:
    """Coverage by step, of the entrants of which the record has it: those of before 0.2.0 have none."""
    known = {
        name: diagnosis
        for name, diagnosis in diagnoses.items()
        if "coverage_50_rank" in diagnosis["by_horizon"]
    }
    pictures = []
    if known:
        ours = next(iter(known.values()))
        caption = captions.coverage_by_step(ours["size"]["paths"], ours["size"]["windows"])
        for part, words in _parts(ours).items():
            title = f"Coverage by step of the forecast, {words}"
            draw = partial(_themed, figures.coverage_figure, known, part=part, title=title)
            name = f"coverage-{part}"
            pictures.append(Picture("calibration", name, f"{title}. {caption}", caption, draw))
    return pictures


def correlation_pictures(correlation: dict[str, Any], series: int) -> list[Picture]:
    """True against forecast correlation, as dots and as a matrix."""
    if len(correlation["names"]) < 2:
        return []
    caption = captions.correlation(correlation)
    few = (
        ""
        if len(correlation["names"]) == series
        else f", {len(correlation['names'])} of {series} by size"
    )
    matrix = (
        f"The same as a matrix{few}: true below the diagonal, forecast above. Right: the two "
        "halves mirror each other."
    )
    return [
        Picture(
            "correlation", "correlation", caption, caption,
            partial(_themed, figures.correlation_figure, correlation),
        ),
        Picture(
            "correlation", "correlation-matrix", matrix, matrix,
            partial(_themed, figures.correlation_map, correlation),
        ),
    ]  # fmt: skip


def cost_pictures(entrants: Sequence[Result]) -> list[Picture]:
    """Score against seconds, of the entrants of which both are known."""
    rows = []
    for entrant in entrants:
        seconds, value = entrant.seconds_each.total, entrant.metrics.get(COMPARED)
        if seconds and value is not None:
            rows.append((entrant.title, seconds, value))
    if not rows:
        return []
    words = "; ".join(f"{name} {value:.4f} in {seconds:.3g} s" for name, seconds, value in rows)
    caption = (
        "CRPS_sum against seconds of one training and the forecasts of all windows, on the machine "
        "named below. Better is lower and to the left."
    )
    draw = partial(_themed, figures.cost_figure, rows, score="CRPS_sum")
    return [Picture("cost", "cost", f"CRPS_sum and seconds: {words}.", caption, draw)]


def _themed(draw: Callable[..., "Figure"], *args: Any, **kwargs: Any) -> "Figure":
    *args_, theme = args
    return draw(*args_, **kwargs, theme=theme)


def _mean(diagnosis: dict[str, Any]) -> float:
    return float(np.nanmean([np.nan if v is None else v for v in diagnosis["by_window"]["crps"]]))


def _range(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{min(known):.3f} and {max(known):.3f}" if known else "no known values"
