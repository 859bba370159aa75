"""The pictures of a report: what each is called, says to those who do not see it, and how it is drawn."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from timediff.benchmark.record import COMPARED, Result
from timediff.report import captions, figures
from timediff.report.plots import Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "FAR",
    "Picture",
    "calibration_pictures",
    "correlation_pictures",
    "cost_pictures",
    "error_pictures",
    "pit_pictures",
    "themed",
]

FAR = 3


class Picture(NamedTuple):
    """One picture: its section of the page, its name there and as a file, texts, and how to draw it."""

    section: str
    name: str
    alt: str
    caption: str
    draw: Callable[[Theme], "Figure"]


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
                    partial(themed, draw, diagnoses, score=score),
                )
            )
    if several:
        caption = captions.series(ours["by_series"]) + left_out
        draw = partial(themed, figures.series_figure, diagnoses)
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
            themed, figures.histogram_figure, diagnosis["pit"][part], title=f"PIT of {words}{whose}",
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


def calibration_pictures(diagnoses: dict[str, dict[str, Any]], *, whole: bool) -> list[Picture]:
    """PIT and ranks of ours, reliability and coverage by step of all.

    Args:
        diagnoses: Of each entrant, ours first.
        whole: Whether there are windows enough for the coverage of one value a window.
    """
    name, ours = next(iter(diagnoses.items()))
    pictures = pit_pictures(ours, section="calibration", name="pit")
    for part, words in _parts(ours).items():
        caption = captions.reliability(ours["reliability"], part, name)
        title = f"Reliability of {words}"
        draw = partial(themed, figures.reliability_figure, diagnoses, part=part, title=title)
        pictures.append(Picture("calibration", f"reliability-{part}", caption, caption, draw))
    pictures += _coverage_pictures(diagnoses, whole=whole)
    for part, histogram in ours["ranks"].items():
        caption = captions.histogram(histogram, captions.RANKS[part], captions.RANK_SHAPES[part])
        title = {"average_rank": "Average rank", "band_depth": "Band depth"}[part]
        draw = partial(
            themed, figures.histogram_figure, histogram, title=f"{title} of all series together",
            xlabel="rank of the truth",
        )  # fmt: skip
        pictures.append(Picture("calibration", part.replace("_", "-"), caption, caption, draw))
    return pictures


def _coverage_pictures(diagnoses: dict[str, dict[str, Any]], *, whole: bool) -> list[Picture]:
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
            if not whole and (part == "sum" or ours["size"]["series"] == 1):
                continue
            title = f"Coverage by step of the forecast, {words}"
            draw = partial(themed, figures.coverage_figure, known, part=part, title=title)
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
            partial(themed, figures.correlation_figure, correlation),
        ),
        Picture(
            "correlation", "correlation-matrix", matrix, matrix,
            partial(themed, figures.correlation_map, correlation),
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
    draw = partial(themed, figures.cost_figure, rows, score="CRPS_sum")
    return [Picture("cost", "cost", f"CRPS_sum and seconds: {words}.", caption, draw)]


def themed(draw: Callable[..., "Figure"], *args: Any, **kwargs: Any) -> "Figure":
    """A figure whose theme comes last, as that of a `Picture` does."""
    *args_, theme = args
    return draw(*args_, **kwargs, theme=theme)


def _mean(diagnosis: dict[str, Any]) -> float:
    return float(np.nanmean([np.nan if v is None else v for v in diagnosis["by_window"]["crps"]]))


def _range(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{min(known):.3f} and {max(known):.3f}" if known else "no known values"
