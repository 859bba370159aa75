"""`write_report`: ``report.html`` and its pictures from a record and the paths of its entrants."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timediff.benchmark.diagnosis import diagnose
from timediff.benchmark.folder import stamps
from timediff.benchmark.record import FLOOR
from timediff.data.dataset import Dataset
from timediff.errors import InputError
from timediff.report import pictures, sections
from timediff.report.entrants import Entrant, entrants_of
from timediff.report.html import escape, figure_block, page, write_page
from timediff.report.pictures import Picture
from timediff.report.plots import DARK, LIGHT, save_figure
from timediff.tools.files import plain
from timediff.tools.progress import progress_bar

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


def write_report(
    out: Path,
    record: dict[str, Any],
    data: Dataset,
    truth: NDArray,
    entrants: Mapping[str, NDArray],
) -> None:
    """Writes ``report.html``, and each of its pictures as ``plots/NAME.png`` and ``plots/NAME-dark.png``.

    Args:
        out: Folder that exists.
        record: The record; its ``diagnosis`` of an entrant is used where it is there, else made here.
        data: What was forecast.
        truth: What happened, ``[W, T, D]``, NaN where missing.
        entrants: Paths ``[W, S, T, D]`` by name in the record, ours first.

    Raises:
        InputError: The folder cannot be written to, or there are no paths.
    """
    if not entrants:
        raise InputError("a report needs the paths of at least one entrant, ours first")
    record = plain(record)
    known = entrants_of(record)
    titles = {entrant.name: entrant.title for entrant in known}
    ours = next(iter(entrants))
    titles = {ours: known[0].title, **titles}
    found = _diagnoses(record, data, truth, entrants, order=list(titles))
    named = {titles.get(name, name): one for name, one in found.items()}
    shown = _pictures(known, data, truth, entrants, found, named)
    mapped = (record.get("recalibration") or {}).get("diagnosis")
    if mapped:
        shown += pictures.pit_pictures(
            mapped, section="recalibration", name="pit-after", whose=", recalibrated"
        )
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
    body = _body(record, known, titles, found, blocks)
    write_page(
        Path(out) / "report.html", page(f"{record['dataset']['name']}: forecast report", body)
    )


def _diagnoses(
    record: dict[str, Any],
    data: Dataset,
    truth: NDArray,
    entrants: Mapping[str, NDArray],
    *,
    order: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """Of every entrant, in the order of the tables."""
    horizon = data.prediction_length
    times = np.stack([stamps(entry, horizon) for entry in data.test[-len(truth) :]])
    stored = record.get("diagnosis") or {}
    first, *rest = entrants
    ranked = [
        first,
        *sorted(rest, key=lambda name: order.index(name) if name in order else len(order)),
    ]
    return {
        name: stored.get(name)
        or diagnose(entrants[name], truth, columns=data.columns, stamps=times, progress=True)
        for name in ranked
    }


def _pictures(
    known: Sequence[Entrant],
    data: Dataset,
    truth: NDArray,
    entrants: Mapping[str, NDArray],
    found: Mapping[str, dict[str, Any]],
    named: dict[str, dict[str, Any]],
) -> list[Picture]:
    ours, *others = found
    rival = next((name for name in others if not name.startswith(FLOOR)), None)
    titles = {entrant.name: entrant.title for entrant in known}
    baseline = None if rival is None else (titles.get(rival, rival), entrants[rival])
    return [
        *pictures.forecast_pictures(data, truth, entrants[ours], found[ours], baseline=baseline),
        *pictures.error_pictures(named),
        *pictures.calibration_pictures(named),
        *pictures.correlation_pictures(found[ours]["correlation"], truth.shape[2]),
        *pictures.cost_pictures(known),
    ]


def _body(
    record: dict[str, Any],
    known: Sequence[Entrant],
    titles: Mapping[str, str],
    found: Mapping[str, dict[str, Any]],
    blocks: Mapping[str, list[str]],
) -> str:
    tables = {
        "scores": sections.scores(record, known)
        + sections.aggregates(record, known)
        + sections.density(record, known[0].title),
        "comparisons": sections.comparisons(record, titles),
        "protocols": sections.protocols(record, titles),
        "calibration": sections.coverage(found, titles),
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
