"""The tables of a report: scores of all entrants, comparisons, protocols, configuration."""

from collections.abc import Mapping, Sequence
from typing import Any

from timediff.benchmark.record import Record, Result
from timediff.benchmark.verdict import enough
from timediff.data.catalogue import Published
from timediff.metrics import expected_coverage, title_of
from timediff.report import comparisons as paired
from timediff.report import numbers
from timediff.report.captions import COVERAGE, WHOLE
from timediff.report.html import escape, fold, table
from timediff.report.scores import aims, published_value, score_rows

__all__ = [
    "aggregates",
    "comparisons",
    "coverage",
    "density",
    "protocols",
    "recalibration",
    "scores",
    "setup",
]


def scores(record: Record) -> str:
    """Every score of every entrant that the windows can support, each with its definition."""
    entrants = record.ranked
    names = [name for name in record.evaluated.metrics if _supported(record, name)]
    defined = {name for e in entrants for name in names if e.metrics.get(name) is not None}
    names = [name for name in names if name in defined]
    text = table(
        *_score_table(record, names),
        caption="Lower is better, but widths say how sharp, and coverages of series and sum should be those "
        f"of a perfect forecast ({aims(record.num_samples)})",
        notes=[record.definitions.get(name, "") for name in names],
        folded=True,
    )
    if record.evaluated.metrics_mc_error:
        text += (
            f"<p>The Monte-Carlo error is the standard error of {escape(record.evaluated.title)} (its first "
            "seed) over other draws of as many paths.</p>\n"
        )
    return text + _floor(record, names) + _notes(entrants)


def _supported(record: Record, name: str) -> bool:
    """Whether the windows are enough for a score: one of whole windows counts no more than these."""
    return enough(record) or not name.endswith("_joint")


def _score_table(record: Record, names: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    entrants, monte_carlo = record.ranked, record.evaluated.metrics_mc_error
    stated = {entry.metric: entry for entry in record.dataset.published}
    head = ["", *(entrant.title for entrant in entrants)]
    if monte_carlo:
        head.append("Monte-Carlo error")
    if stated:
        head.append("published")
    rows = score_rows(names, entrants)
    for name, row in zip(names, rows, strict=True):
        if monte_carlo:
            error = monte_carlo.get(name)
            row.append(numbers.DASH if error is None else f"{error:.2g}")
        if stated:
            row.append(published_value(stated[name]) if name in stated else "")
    return head, rows


def _floor(record: Record, names: Sequence[str]) -> str:
    """Scores as ratios to those of the entrant that knows the process, where there is one."""
    entrants, floor = record.ranked, record.floor
    if floor is None:
        return ""
    ratios, compared = (
        [record.over_floor(entrant) for entrant in entrants],
        record.over_floor(floor),
    )
    rows = [
        [title_of(name), *(numbers.ratio(each.get(name)) for each in ratios)]
        for name in names
        if name in compared
    ]
    return (
        f"<h3>Ratio to the floor</h3><p>{escape(floor.title)} draws from the process itself given the "
        "observed past: 1 is the best that can be done but for chance. Left out are scores that can be "
        "negative and numbers that are no losses, such as coverages.</p>"
        + table(["", *(entrant.title for entrant in entrants)], rows, caption="Score / floor")
    )


def _notes(entrants: Sequence[Result]) -> str:
    notes = [entrant for entrant in entrants if entrant.note]
    if not notes:
        return ""
    items = "".join(f"<dt>{escape(e.title)}</dt><dd>{escape(e.note)}</dd>" for e in notes)
    return fold("About the entrants", f"<dl>{items}</dl>")


def aggregates(record: Record) -> str:
    """Scores of weighted sums such as the net load."""
    entrants, rows = record.ranked, []
    for name, ours in record.evaluated.aggregates.items():
        for score in (key for key in ours if key != "unit"):
            values = [entrant.aggregates.get(name, {}).get(score) for entrant in entrants]
            unit = f" ({ours['unit']})" if score == "crps_units" else ""
            rows.append([f"{name}: {score}{unit}", *map(numbers.value, values)])
    if not rows:
        return ""
    head = ["", *(entrant.title for entrant in entrants)]
    return "<h3>Weighted sums</h3>" + table(
        head, rows, caption="Scores of weighted sums of the series"
    )


def density(ours: Result) -> str:
    """Likelihood and its bound, where they were asked for."""
    if not ours.nll:
        return ""
    rows = [[name, numbers.value(value)] for name, value in ours.nll.items()]
    return "<h3>Likelihood</h3>" + table(["", ours.title], rows, caption="Likelihood")


def comparisons(record: Record) -> str:
    """Paired comparisons with each other entrant, or why there are none."""
    if not record.comparisons:
        return "<p>The record has no paired comparisons.</p>\n"
    return paired.as_html(paired.by_title(record), ours=record.evaluated.title)


def protocols(record: Record) -> str:
    """The same forecasts under the protocols that papers use."""
    entrants = [entrant for entrant in record.ranked if entrant.protocols]
    if not entrants:
        return ""
    names, described = list(entrants[0].protocols), record.protocol_definitions
    rows = [
        [name, *(numbers.value(each.protocols.get(name)) for each in entrants)] for name in names
    ]
    head = ["protocol", *(entrant.title for entrant in entrants)]
    items = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in described.items())
    return (
        "<p>The same paths scored as different papers do. Compare down a column: what the definition alone "
        "changes is no gain.</p>\n"
        + table(head, rows, caption="Protocol variants")
        + (fold("Definitions", f"<dl>{items}</dl>") if items else "")
    )


def coverage(diagnoses: Mapping[str, dict[str, Any]], *, whole: bool) -> str:
    """Nominal and actual coverage of every entrant, from their diagnoses by title.

    Args:
        diagnoses: Of each entrant.
        whole: Whether there are windows enough to count those that lie inside as a whole.
    """
    first = next(iter(diagnoses.values()))
    several, members = first["size"]["series"] > 1, first["size"]["paths"]
    parts = ["each", *(["sum"] if several else []), *(["joint"] if whole else [])]
    words = {"each": "each", "sum": "sum", "joint": "path"}
    levels = first["coverage"]["levels"]
    aim = [numbers.percent(expected_coverage(level, num_samples=members)) for level in levels]
    rows = [[f"perfect forecast of {members} paths", *aim]]
    for title, diagnosis in diagnoses.items():
        coverages = diagnosis["coverage"]
        for part in parts:
            cells, band = [], coverages["chance"].get(part)
            for i, share in enumerate(coverages[part]):
                text = numbers.percent(share)
                if band is not None:
                    text += f" ({100 * band[0][i]:.1f} .. {100 * band[1][i]:.1f})"
                cells.append(text)
            rows.append([f"{title}, {words[part]}", *cells])
    return table(
        ["", *(f"{100 * level:g} %" for level in levels)], rows, caption=COVERAGE + WHOLE * whole
    )


def recalibration(record: Record) -> str:
    """Scores before and after recalibration, where the record has both."""
    before, after = record.evaluated, record.recalibration
    if after is None:
        return ""
    known = [name for name, value in after.metrics.items() if value is not None]
    rows = score_rows(known, [before, after])
    return f"<p>{escape(after.note)}</p>\n" + table(
        ["", "before", "after"], rows, caption="Scores before and after recalibration"
    )


def setup(record: Record) -> str:
    """Configuration, versions, seconds, data and definitions."""
    data, ours = record.dataset._asdict(), record.evaluated
    parts = {
        "Configuration": _flat(record.config),
        "Versions": {**record.versions, "commit": record.commit},
        "Hardware": record.hardware,
        "Seconds": {
            **{
                f"{part}, all seeds": numbers.seconds(value)
                for part, value in ours.seconds._asdict().items()
                if value is not None
            },
            "network calls per forecast": ours.details.get("network_calls"),
            "parameters": ours.details.get("parameters"),
        },
        "Data": {key: value for key, value in data.items() if key != "published"},
        "Definitions of the scores": record.definitions,
    }
    text = ""
    for title, values in parts.items():
        shown = {key: value for key, value in values.items() if value is not None}
        items = "".join(
            f"<dt>{escape(k)}</dt><dd>{escape(numbers.value(v))}</dd>" for k, v in shown.items()
        )
        text += fold(title, f"<dl>{items}</dl>")
    return text + _citations(record.dataset.published)


def _citations(published: Sequence[Published]) -> str:
    if not published:
        return ""
    sources = sorted({f"{entry.model}: {entry.source}" for entry in published})
    return "<p>Published: " + "; ".join(map(escape, sources)) + ".</p>\n"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
