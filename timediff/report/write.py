"""What an evaluation leaves to be read: table, pictures, ``report.html``, and a page to look about in."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timediff.benchmark.folder import stamps
from timediff.benchmark.record import Record
from timediff.benchmark.verdict import enough, rival
from timediff.data.dataset import Dataset
from timediff.errors import InputError
from timediff.report import fans, interactive, opening, pictures, sections
from timediff.report.fans import Drawn
from timediff.report.html import figure_block, fold, page
from timediff.report.pictures import Picture
from timediff.report.plots import LIGHT, bound_figure, forecast_figure, save_figure
from timediff.report.text import as_text
from timediff.tools.files import write_text
from timediff.tools.progress import progress_bar

__all__ = ["HEADINGS", "LOOK", "write_report", "write_results"]

HEADINGS = {
    "scores": "All scores",
    "comparisons": "Paired comparisons",
    "protocols": "How much the protocol matters",
    "forecast": "Forecasts of single series",
    "extremes": "Worst and best windows",
    "errors": "Where the error is",
    "calibration": "Calibration",
    "recalibration": "Recalibration",
    "correlation": "Dependence between series",
    "cost": "Score and seconds",
    "setup": "Configuration and data",
}
#: The page of every series and window, where there is what draws it.
LOOK = "series.html"


def write_results(
    out: Path, record: Record, data: Dataset, truth: NDArray[Any], paths: Mapping[str, NDArray[Any]]
) -> None:
    """Writes ``table.txt``, ``forecast.png``, ``nll.png`` and the report, if the record has what is in them.

    Args:
        out: Folder that exists.
        record: The record.
        data: What was forecast.
        truth: What happened, ``[W, T, D]``, NaN where missing.
        paths: Paths ``[W, S, T, D]`` by the names of the record's entrants, at least those of the first.
    """
    write_text(out / "table.txt", as_text(record, out) + "\n")
    _draw_forecast(out / "forecast.png", _drawn(record, data, truth, paths))
    likelihoods = [row.nll for row in record.evaluated.per_seed if row.nll is not None]
    if likelihoods:
        figure = bound_figure(
            np.asarray([likelihood.terms for likelihood in likelihoods], dtype=float),
            log_scale=np.asarray([likelihood.log_scale for likelihood in likelihoods]),
            title=f"{data.name}: variational bound",
        )
        save_figure(figure, out / "nll.png")
    if record.evaluated.diagnosis is not None:
        write_report(out, record, data, truth, paths)


def _drawn(
    record: Record, data: Dataset, truth: NDArray[Any], paths: Mapping[str, NDArray[Any]]
) -> Drawn:
    """What all pictures of forecasts are of; the rival is beside, if its paths are there."""
    name = rival(record)
    beside = None if name not in paths or name is None else (record.others[name].title, paths[name])
    ours = next(iter(record.entrants))
    return Drawn(data, truth, paths[ours], record.evaluated.title, beside)


def _draw_forecast(file: Path, drawn: Drawn) -> None:
    """The last window: paths of the first entrant and of its rival."""
    data, beside = drawn.data, drawn.rival
    entry, horizon = data.test[-1], data.prediction_length
    shown = entry["target"][:, -5 * horizon :].T
    figure = forecast_figure(
        shown[:-horizon],
        shown[-horizon:],
        np.asarray(drawn.paths[-1]),
        columns=data.columns,
        stamps=stamps(entry, len(shown)),
        title=f"{data.name}: last test window",
        unit=data.unit or None,
        baseline=None if beside is None else np.asarray(beside[1][-1]),
        baseline_name="" if beside is None else beside[0],
    )
    save_figure(figure, file)


def write_report(
    out: Path, record: Record, data: Dataset, truth: NDArray[Any], paths: Mapping[str, NDArray[Any]]
) -> None:
    """Writes ``report.html``, and with the extra ``interactive`` also `LOOK`, a page of every series.

    Args:
        out: Folder that exists.
        record: The record; pictures are of those entrants that it has a diagnosis of.
        data: What was forecast.
        truth: What happened, ``[W, T, D]``, NaN where missing.
        paths: Paths ``[W, S, T, D]`` by the names of the record's entrants, at least those of the first.

    Raises:
        InputError: The folder cannot be written to, or there is nothing to draw of the first entrant.
    """
    if next(iter(record.entrants)) not in paths or record.evaluated.diagnosis is None:
        raise InputError(
            "a report needs a diagnosis and the paths of the entrant that the record is of; "
            "evaluate with report=True"
        )
    drawn = _drawn(record, data, truth, paths)
    shown = _pictures(record, drawn)
    blocks: dict[str, str] = {}
    with progress_bar("pictures", total=len(shown)) as bar:
        for picture in shown:
            figure = picture.draw(LIGHT)
            block = figure_block(
                figure, name=picture.name, alt=picture.alt, caption=picture.caption
            )
            blocks[picture.section] = blocks.get(picture.section, "") + block
            bar.update()
    look = find_spec("plotly") is not None
    if look:
        write_text(Path(out) / LOOK, interactive.look_at_windows(drawn))
    body = _body(record, data, blocks, look=look)
    write_text(Path(out) / "report.html", page(f"{record.dataset.name}: forecast report", body))


def _diagnoses(record: Record) -> dict[str, dict[str, Any]]:
    """By title: the evaluated entrant, its rival, then the others in the order of the tables."""
    first, beside = record.evaluated, rival(record)
    names = [] if beside is None else [beside]
    entrants = [first, *(record.others[name] for name in dict.fromkeys([*names, *record.others]))]
    return {
        entrant.title: entrant.diagnosis for entrant in entrants if entrant.diagnosis is not None
    }


def _pictures(record: Record, drawn: Drawn) -> list[Picture]:
    diagnoses, whole = _diagnoses(record), enough(record)
    first = diagnoses[record.evaluated.title]
    shown = [
        *fans.opening_pictures(drawn, diagnoses),
        *fans.forecast_pictures(drawn, first),
        *pictures.error_pictures(diagnoses),
        *pictures.calibration_pictures(diagnoses, whole=whole),
        *pictures.correlation_pictures(first["correlation"], drawn.truth.shape[2]),
        *pictures.cost_pictures([record.evaluated, *record.others.values()]),
    ]
    mapped = record.recalibration and record.recalibration.diagnosis
    if mapped:
        shown += pictures.pit_pictures(
            mapped, section="recalibration", name="pit-after", whose=", recalibrated"
        )
    return shown


def _body(record: Record, data: Dataset, blocks: Mapping[str, str], *, look: bool) -> str:
    """Verdict, the totals of the last window, five scores; all the rest folded."""
    tables = {
        "scores": sections.scores(record)
        + sections.aggregates(record)
        + sections.density(record.evaluated),
        "comparisons": sections.comparisons(record),
        "protocols": sections.protocols(record),
        "calibration": sections.coverage(_diagnoses(record), whole=enough(record)),
        "recalibration": sections.recalibration(record),
        "setup": sections.setup(record),
    }
    every = (
        f'<a href="{LOOK}">Look at every series and window</a>'
        if look
        else "To look at every series and window, install timediff-forecast[interactive] and run again with "
        "--resume"
    )
    parts = [
        opening.opening(record, data),
        f'<div class="figures">\n{blocks["opening"]}</div>\n<p>{every}.</p>\n',
        opening.main_scores(record),
    ]
    for section, heading in HEADINGS.items():
        figures, text = blocks.get(section, ""), tables.get(section, "")
        if figures or text:
            grid = f'<div class="figures">\n{figures}</div>\n' if figures else ""
            parts.append(fold(heading, text + grid, name=section))
    return "".join(parts)
