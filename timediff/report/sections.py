"""The tables of a report: scores of all entrants, comparisons, protocols, configuration."""

from collections.abc import Mapping, Sequence
from typing import Any

from timediff.benchmark.record import Record, Result
from timediff.data.catalogue import Published
from timediff.metrics import expected_coverage, title_of
from timediff.report import comparisons as paired
from timediff.report import numbers
from timediff.report.captions import COVERAGE
from timediff.report.html import escape, table
from timediff.report.scores import aims, published_value, score_rows, setting

__all__ = [
    "MAIN_SCORES",
    "aggregates",
    "comparisons",
    "coverage",
    "density",
    "facts",
    "protocols",
    "recalibration",
    "scores",
    "setup",
]

MAIN_SCORES = (
    *("mean_wquantile_loss_sum", "mean_wquantile_loss", "crps_sum", "crps", "energy_score"),
    *("variogram_score", "dawid_sebastiani", "nd", "nrmse", "mase", "msis"),
    *("coverage_50", "coverage_50_rank", "coverage_90", "coverage_90_rank"),
    *("coverage_50_sum", "coverage_50_sum_rank", "coverage_90_sum", "coverage_90_sum_rank"),
    "coverage_90_joint",
    *("reliability_error_sum", "sharpness_90_sum", "correlation_error"),
)
"""Scores shown at once; the others are behind a fold."""


def facts(record: Record) -> str:
    """What was forecast, in a sentence or two."""
    data, seeds, share = record.dataset, record.evaluated.seeds, record.observed_share
    observed = "" if share is None else f"{share:.1%} of the truth was observed. "
    check = "the known values of this name" if data.verified else "not compared with known values"
    source = f"Data: {escape(data.source)} ({escape(data.licence)}), {check}."
    if data.source == "not stated":
        source = ""
    first = (
        " Scores are means over the seeds; pictures, coverages and Monte-Carlo errors are of seed "
        f"{seeds[0]}."
        if len(seeds) > 1
        else ""
    )
    return (
        f"<p>{setting(record)}, frequency {escape(data.freq)}, preset "
        f"{escape(record.preset or numbers.DASH)}. {observed}{source}{first}</p>\n"
    )


def scores(record: Record) -> str:
    """Every score of every entrant: the main ones at once, the others behind a fold."""
    entrants, names = record.ranked, list(record.evaluated.metrics)
    defined = {name for e in entrants for name in names if e.metrics.get(name) is not None}
    main = [name for name in MAIN_SCORES if name in defined]
    more = [name for name in names if name not in main]
    seeds, title = len(record.evaluated.seeds), record.evaluated.title
    spread = f"means ± standard errors over {seeds} seeds" if seeds > 1 else "one seed"
    text = table(
        *_score_table(record, main, published=True),
        caption="Lower is better, but widths say how sharp, and coverages of series and sum should be those "
        f"of a perfect forecast ({aims(record.num_samples)}); {spread}",
    )
    monte_carlo = (
        f" The Monte-Carlo error is the standard error of {escape(title)} (its first seed) "
        "over other draws of as many paths."
        if record.evaluated.metrics_mc_error
        else ""
    )
    text += (
        "<p>CRPS_sum is <code>mean_wquantile_loss_sum</code>, the published definition."
        f"{monte_carlo}</p>\n"
    )
    if more:
        inner = table(*_score_table(record, more), caption="Further scores")
        text += f"<details><summary>{len(more)} more scores</summary>{inner}</details>\n"
    return text + _floor(record, names) + _notes(entrants)


def _score_table(
    record: Record, names: Sequence[str], *, published: bool = False
) -> tuple[list[str], list[list[str]]]:
    entrants, monte_carlo = record.ranked, record.evaluated.metrics_mc_error
    stated = {entry.metric: entry for entry in record.dataset.published}
    head = ["", *(entrant.title for entrant in entrants)]
    if monte_carlo:
        head.append("Monte-Carlo error")
    if published and stated:
        head.append("published")
    rows = score_rows(names, entrants)
    for name, row in zip(names, rows, strict=True):
        if monte_carlo:
            error = monte_carlo.get(name)
            row.append(numbers.DASH if error is None else f"{error:.2g}")
        if published and stated:
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
    return f"<details><summary>About the entrants</summary><dl>{items}</dl></details>\n"


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
        + (f"<details><summary>Definitions</summary><dl>{items}</dl></details>\n" if items else "")
    )


def coverage(diagnoses: Mapping[str, dict[str, Any]]) -> str:
    """Nominal and actual coverage of every entrant, from their diagnoses by title."""
    first = next(iter(diagnoses.values()))
    several, members = first["size"]["series"] > 1, first["size"]["paths"]
    parts = ("each", "sum", "joint") if several else ("each", "joint")
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
    return table(["", *(f"{100 * level:g} %" for level in levels)], rows, caption=COVERAGE)


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
        text += f"<details><summary>{title}</summary><dl>{items}</dl></details>\n"
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
