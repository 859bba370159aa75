"""The tables of a report: scores of all entrants, comparisons, protocols, configuration."""

from collections.abc import Mapping, Sequence
from typing import Any

from timediff.benchmark.record import Record, Result
from timediff.data.catalogue import Published
from timediff.metrics import is_loss, title_of
from timediff.metrics.paired import Comparison, needed
from timediff.report.captions import COVERAGE
from timediff.report.html import escape, table
from timediff.report.numbers import number, p_value, percent, with_error

__all__ = [
    "COMPARISON_HEAD",
    "MAIN_SCORES",
    "aggregates",
    "comparison_cells",
    "comparison_table",
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
    *("coverage_50", "coverage_90", "coverage_50_sum", "coverage_90_sum", "coverage_90_joint"),
    *("reliability_error_sum", "sharpness_90_sum", "correlation_error"),
)
"""Scores shown at once; the others are behind a fold."""


def facts(record: Record) -> str:
    """What was forecast, in a sentence or two."""
    data, seeds, share = record.dataset, record.evaluated.seeds, record.observed_share
    observed = "" if share is None else f"{share:.1%} of the truth was observed. "
    own = "the known values of this name" if data.verified else "not compared with known values"
    source = f"Data: {escape(data.source)} ({escape(data.licence)}), {own}."
    if data.source == "not stated":
        source = ""
    first = (
        " Scores are means over the seeds; pictures, coverages and Monte-Carlo errors are of seed "
        f"{seeds[0]}."
        if len(seeds) > 1
        else ""
    )
    return (
        f"<p>{data.series} series, frequency {escape(data.freq)}, horizon "
        f"{data.prediction_length} steps, {data.windows} windows, {record.num_samples} paths, "
        f"{'seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))}, preset "
        f"{escape(record.preset or '–')}. {observed}{source}{first}</p>\n"
    )


def scores(record: Record) -> str:
    """Every score of every entrant: the main ones at once, the others behind a fold."""
    entrants, names = _ranked(record), list(record.evaluated.metrics)
    defined = {name for e in entrants for name in names if e.metrics.get(name) is not None}
    main = [name for name in MAIN_SCORES if name in defined]
    more = [name for name in names if name not in main]
    seeds, title = len(record.evaluated.seeds), record.evaluated.title
    spread = f"means ± standard errors over {seeds} seeds" if seeds > 1 else "one seed"
    text = table(
        *_score_table(record, main, published=True),
        caption="Lower is better, but coverages should be their level, and widths say how sharp; "
        f"{spread}",
    )
    drawn = (
        f" The Monte-Carlo error is the standard error of {escape(title)} (its first seed) "
        "over other draws of as many paths."
        if record.evaluated.metrics_mc_error
        else ""
    )
    text += (
        "<p>CRPS_sum is <code>mean_wquantile_loss_sum</code>, the published definition."
        f"{drawn}</p>\n"
    )
    if more:
        inner = table(*_score_table(record, more), caption="Further scores")
        text += f"<details><summary>{len(more)} more scores</summary>{inner}</details>\n"
    return text + _floor(record, names) + _notes(entrants)


def _ranked(record: Record) -> list[Result]:
    return [record.evaluated, *record.others.values()]


def _score_table(
    record: Record, names: Sequence[str], *, published: bool = False
) -> tuple[list[str], list[list[str]]]:
    entrants, monte_carlo = _ranked(record), record.evaluated.metrics_mc_error
    stated = {entry.metric: entry for entry in record.dataset.published}
    head = ["", *(entrant.title for entrant in entrants)]
    if monte_carlo:
        head.append("Monte-Carlo error")
    if published and stated:
        head.append("published")
    rows = []
    for name in names:
        cells = [with_error(e.metrics.get(name), e.metrics_se.get(name)) for e in entrants]
        row = [title_of(name), *cells]
        if monte_carlo:
            error = monte_carlo.get(name)
            row.append("–" if error is None else f"{error:.2g}")
        if published and stated:
            entry = stated.get(name)
            row.append(f"{entry.value:g} ± {entry.error:g}" if entry else "")
        rows.append(row)
    return head, rows


def _floor(record: Record, names: Sequence[str]) -> str:
    """Scores as ratios to those of the entrant that knows the process, where there is one."""
    entrants, floor = _ranked(record), record.floor
    if floor is None:
        return ""
    rows = []
    for name in names:
        least = floor.metrics.get(name)
        if not is_loss(name) or not least or least <= 0:
            continue
        values = [entrant.metrics.get(name) for entrant in entrants]
        ratios = [number(None if value is None else value / least, 3) for value in values]
        rows.append([title_of(name), *ratios])
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
    entrants, rows = _ranked(record), []
    for name, ours in record.evaluated.aggregates.items():
        for score in (key for key in ours if key != "unit"):
            values = [entrant.aggregates.get(name, {}).get(score) for entrant in entrants]
            unit = f" ({ours['unit']})" if score == "crps_units" else ""
            rows.append([f"{name}: {score}{unit}", *map(number, values)])
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
    rows = [[name, number(value)] for name, value in ours.nll.items()]
    return "<h3>Likelihood</h3>" + table(["", ours.title], rows, caption="Likelihood")


def comparisons(record: Record) -> str:
    """Paired comparisons with each other entrant, or why there are none."""
    if not record.comparisons:
        return "<p>The record has no paired comparisons.</p>\n"
    ordered = {
        other.title: record.comparisons[name]
        for name, other in record.others.items()
        if name in record.comparisons
    }
    return comparison_table(ordered, ours=record.evaluated.title)


def comparison_table(comparisons: Mapping[str, Comparison], *, ours: str) -> str:
    """Comparisons with others by their titles; the differences per window where these are too few."""
    rows = [[title, *comparison_cells(one)] for title, one in comparisons.items()]
    text = table(
        ["against", *COMPARISON_HEAD], rows, caption=f"CRPS_sum window by window: {ours} against"
    )
    few = {title: one for title, one in comparisons.items() if one.too_few}
    if not few:
        return text
    windows = max(one.windows for one in few.values())
    least = max(needed(one.overlap) for one in few.values())
    text = (
        f"<p><strong>Too few windows</strong> ({windows} &lt; {least}) to tell a difference from chance: no "
        "p-values, only the differences per window.</p>\n" + text
    )
    inner = table(
        ["window", *few],
        [
            [str(w + 1), *(number(one.differences[w]) for one in few.values())]
            for w in range(min(len(one.differences) for one in few.values()))
        ],
        caption=f"Loss of {ours} less theirs in each window, in data units: negative where {ours} is better",
    )
    return text + f"<details><summary>Differences per window</summary>{inner}</details>\n"


COMPARISON_HEAD = ("ratio of losses", "95 % interval", "Diebold-Mariano", "p-value", "better in")


def comparison_cells(one: Comparison) -> list[str]:
    """A comparison as cells under `COMPARISON_HEAD`."""
    wins = f"{one.wins} of {one.windows} windows"
    if one.too_few or one.ratio_interval is None:
        return [number(one.ratio, 3), "too few windows", "–", "–", wins]
    low, high = one.ratio_interval
    return [
        number(one.ratio, 3),
        f"{number(low, 3)} .. {number(high, 3)}",
        "–" if one.statistic is None else f"{one.statistic:+.2f}",
        p_value(one.p_value),
        wins,
    ]


def protocols(record: Record) -> str:
    """The same forecasts under the protocols that papers use."""
    entrants = [entrant for entrant in _ranked(record) if entrant.protocols]
    if not entrants:
        return ""
    names, described = list(entrants[0].protocols), record.protocol_definitions
    rows = [[name, *(number(one.protocols.get(name)) for one in entrants)] for name in names]
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
    several = next(iter(diagnoses.values()))["size"]["series"] > 1
    parts = ("each", "sum", "joint") if several else ("each", "joint")
    words = {"each": "each", "sum": "sum", "joint": "path"}
    rows = []
    for title, one in diagnoses.items():
        for part in parts:
            cells = []
            for i, _ in enumerate(one["coverage"]["levels"]):
                text = percent(one["coverage"][part][i])
                band = one["coverage"]["chance"].get(part)
                if band is not None:
                    text += f" ({100 * band[0][i]:.1f} .. {100 * band[1][i]:.1f})"
                cells.append(text)
            rows.append([f"{title}, {words[part]}", *cells])
    levels = next(iter(diagnoses.values()))["coverage"]["levels"]
    return table(["", *(f"{100 * level:g} %" for level in levels)], rows, caption=COVERAGE)


def recalibration(record: Record) -> str:
    """Scores before and after recalibration, where the record has both."""
    before, after = record.evaluated, record.recalibration
    if after is None:
        return ""
    rows = [
        [
            title_of(name),
            *(
                with_error(one.metrics.get(name), one.metrics_se.get(name))
                for one in (before, after)
            ),
        ]
        for name, value in after.metrics.items()
        if value is not None
    ]
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
            **{f"{part}, all seeds": value for part, value in ours.seconds._asdict().items()},
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
            f"<dt>{escape(k)}</dt><dd>{escape(number(v))}</dd>" for k, v in shown.items()
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
