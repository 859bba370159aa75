"""What an evaluation leaves to be read: table, pictures, and ``report.html`` with its own pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timediff.benchmark.folder import stamps
from timediff.benchmark.record import Record
from timediff.data.dataset import Dataset
from timediff.errors import InputError
from timediff.report import pictures, sections
from timediff.report.html import escape, figure_block, page
from timediff.report.pictures import Picture
from timediff.report.plots import DARK, LIGHT, bound_figure, forecast_figure, save_figure
from timediff.report.text import as_text
from timediff.tools.files import write_text
from timediff.tools.progress import progress_bar

__all__ = ["HEADINGS", "write_report", "write_results"]

HEADINGS = {
    "scores": "Scores",
    "comparisons": "Paired comparisons",
    "protocols": "How much the protocol matters",
    "forecast": "Forecasts",
    "extremes": "Worst and best windows",
    "errors": "Where the error is",
    "calibration": "Calibration",
    "recalibration": "Recalibration",
    "correlation": "Dependence between series",
    "cost": "Score and seconds",
}


def write_results(
    out: Path, record: Record, data: Dataset, truth: NDArray, paths: Mapping[str, NDArray]
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
    _draw_forecast(out / "forecast.png", record, data, paths)
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


def _drawn_beside(record: Record, paths: Mapping[str, NDArray]) -> tuple[str, NDArray] | None:
    """Title and paths of whom all pictures of forecasts show beside the first entrant.

    The seasonal naive, else the first of the others that does not know the answer.
    """
    others = [name for name, other in record.others.items() if other.kind != "oracle"]
    for name in ("seasonal_naive", *others):
        if name in others and name in paths:
            return record.others[name].title, paths[name]
    return None


def _draw_forecast(file: Path, record: Record, data: Dataset, paths: Mapping[str, NDArray]) -> None:
    """The last window: paths of the first entrant and of another."""
    beside = _drawn_beside(record, paths)
    entry, horizon = data.test[-1], data.prediction_length
    shown = entry["target"][:, -5 * horizon :].T
    figure = forecast_figure(
        shown[:-horizon],
        shown[-horizon:],
        np.asarray(next(iter(paths.values()))[-1]),
        columns=data.columns,
        stamps=stamps(entry, len(shown)),
        title=f"{data.name}: last test window",
        baseline=None if beside is None else np.asarray(beside[1][-1]),
        baseline_name="" if beside is None else beside[0],
    )
    save_figure(figure, file)


def write_report(
    out: Path, record: Record, data: Dataset, truth: NDArray, paths: Mapping[str, NDArray]
) -> None:
    """Writes ``report.html``, and each of its pictures as ``plots/NAME.png`` and ``plots/NAME-dark.png``.

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
    shown = _pictures(record, data, truth, paths)
    plots = Path(out) / "plots"
    try:
        plots.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {plots} ({error.strerror})") from error
    blocks: dict[str, list[str]] = {}
    with progress_bar("pictures", total=len(shown)) as bar:
        for picture in shown:
            save_figure(picture.draw(DARK), plots / f"{picture.name}-dark.png")
            light = picture.draw(LIGHT)
            save_figure(light, plots / f"{picture.name}.png")
            light.set_layout_engine("none")  # it has its places now
            block = figure_block(light, name=picture.name, alt=picture.alt, caption=picture.caption)
            blocks.setdefault(picture.section, []).append(block)
            bar.update()
    title = f"{record.dataset.name}: forecast report"
    write_text(Path(out) / "report.html", page(title, _body(record, blocks)))


def _diagnoses(record: Record) -> dict[str, dict[str, Any]]:
    """By title, in the order of the tables."""
    entrants = [record.evaluated, *record.others.values()]
    return {
        entrant.title: entrant.diagnosis for entrant in entrants if entrant.diagnosis is not None
    }


def _pictures(
    record: Record, data: Dataset, truth: NDArray, paths: Mapping[str, NDArray]
) -> list[Picture]:
    diagnoses, ours = _diagnoses(record), next(iter(record.entrants))
    first = diagnoses[record.evaluated.title]
    beside = _drawn_beside(record, paths)
    shown = [
        *pictures.forecast_pictures(data, truth, paths[ours], first, baseline=beside),
        *pictures.error_pictures(diagnoses),
        *pictures.calibration_pictures(diagnoses),
        *pictures.correlation_pictures(first["correlation"], truth.shape[2]),
        *pictures.cost_pictures([record.evaluated, *record.others.values()]),
    ]
    mapped = record.recalibration and record.recalibration.diagnosis
    if mapped:
        shown += pictures.pit_pictures(
            mapped, section="recalibration", name="pit-after", whose=", recalibrated"
        )
    return shown


def _body(record: Record, blocks: Mapping[str, list[str]]) -> str:
    tables = {
        "scores": sections.scores(record)
        + sections.aggregates(record)
        + sections.density(record.evaluated),
        "comparisons": sections.comparisons(record),
        "protocols": sections.protocols(record),
        "calibration": sections.coverage(_diagnoses(record)),
        "recalibration": sections.recalibration(record),
    }
    tables = {section: text for section, text in tables.items() if text}
    parts = [sections.facts(record), _navigation(blocks, tables)]
    for section, heading in HEADINGS.items():
        figures = "".join(blocks.get(section, ()))
        if figures or section in tables:
            grid = f'<div class="figures">\n{figures}</div>\n' if figures else ""
            parts.append(f'<h2 id="{section}">{heading}</h2>\n{tables.get(section, "")}{grid}')
    parts.append(f'<h2 id="setup">Configuration and data</h2>\n{sections.setup(record)}')
    return "".join(parts)


def _navigation(blocks: Mapping[str, Any], tables: Mapping[str, str]) -> str:
    shown = {key: title for key, title in HEADINGS.items() if key in blocks or key in tables}
    shown["setup"] = "Configuration and data"
    items = "".join(
        f'<li><a href="#{key}">{escape(title)}</a></li>' for key, title in shown.items()
    )
    return f'<nav aria-label="Sections"><ul>{items}</ul></nav>\n'
