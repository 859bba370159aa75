"""The tables of evaluation/RESULTS.md, each of the runs on one data set or of all.

A row is of an entrant: ours, as one preset over its seeds, or a baseline of a run. Runs on one data set share
their baselines; where several have one of the same name, the first run's is shown.
"""

from collections.abc import Iterable
from typing import NamedTuple

import timediff
from timediff.benchmark.record import COMPARED, FLOOR, NLL_TITLES, Record, Result
from timediff.metrics import title_of
from timediff.metrics.paired import Comparison, in_words
from timediff.registry import METRICS
from timediff.report.numbers import DASH, ratio, significant

MAIN = (COMPARED, "crps", "energy_score", "nd", "coverage_90")


class Run(NamedTuple):
    """A record and the name of its folder."""

    folder: str
    record: Record


class Row(NamedTuple):
    """One row of a table: an entrant by its name and title here, and whether a run is of it."""

    name: str
    title: str
    result: Result
    evaluated: bool = False


def table(rows: list[list[str]]) -> str:
    """A Markdown table; the first row is the head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def by_dataset(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Runs on each data set, in the order given; those on other windows than its first apart."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        name, windows = run.record.dataset.name, run.record.dataset.windows
        first = groups.get(name, [run])[0].record.dataset.windows
        key = name if windows == first else f"{name}, {windows} windows"
        groups.setdefault(key, []).append(run)
    return groups


def label(run: Run) -> str:
    """The preset, or what else a run is called after its data set."""
    return run.folder.removeprefix(f"{run.record.dataset.name}-")


def rows_of(runs: list[Run]) -> list[Row]:
    """Of the runs on one data set: ours, one for each run, then every other entrant once."""
    ours = [row for run in runs for row in _ours(run)]
    others: dict[str, Row] = {}
    for run in runs:
        _, *names = run.record.entrants
        for name in names:
            result = run.record.entrants[name]
            others.setdefault(name, Row(name, result.title, result))
    return [*ours, *others.values()]


def _ours(run: Run) -> list[Row]:
    """What a run is of; after recalibration, too, if it was asked for."""
    own, after = run.record.evaluated, run.record.recalibration
    title = title_of_run(run)
    if after is None:
        return [Row(run.folder, title, own, True)]
    # It takes no seconds of its own worth naming, and its protocols and sums are not shown apart.
    after = after._replace(seconds=own.seconds, aggregates={}, protocols={})
    return [
        Row(run.folder, f"{title}, before", own, True),
        Row(f"{run.folder}-after", f"{title}, after", after, True),
    ]


def title_of_run(run: Run) -> str:
    """What a run is of; ours with the version where it is not the present one, which is another model."""
    evaluated, present = run.record.evaluated, timediff.__version__.split(".dev")[0]
    version = run.record.versions.get("timediff", present).split(".dev")[0]
    older = f" {version}" if evaluated.kind == "ours" and version != present else ""
    return f"{evaluated.title}{older} ({label(run)})"


def cell(row: Row, metric: str, *, digits: int = 3) -> str:
    metrics, errors = row.result.metrics, row.result.metrics_se
    return significant(metrics.get(metric), errors.get(metric), digits=digits)


def overview(groups: dict[str, list[Run]]) -> str:
    """CRPS_sum of every model on every data set, the best of each set in bold."""
    columns = {name: rows_of(group) for name, group in groups.items()}
    everyone = [row for found in columns.values() for row in found]
    titles = dict.fromkeys(row.title for row in sorted(everyone, key=lambda row: not row.evaluated))
    rows = [["CRPS_sum", *columns]]
    best = {
        name: min((r for r in found if not knows(r)), key=lambda row: row.result.crps_sum).title
        for name, found in columns.items()
    }
    for title in titles:
        cells = []
        for name, found in columns.items():
            own = next((row for row in found if row.title == title), None)
            text = cell(own, COMPARED) if own else DASH
            cells.append(f"**{text}**" if title == best[name] else text)
        rows.append([title, *cells])
    return table(rows)


def knows(row: Row) -> bool:
    """Whether it knows the process of the data, so that no forecaster could be it."""
    return row.result.kind == "oracle"


def scores(rows: list[Row]) -> str:
    """Main scores and seconds of one seed, a row for each entrant, by the first score."""
    heads = (title_of(name) for name in MAIN)
    lines = [["", "seeds", *heads, "training s", "sampling s"]]
    for row in sorted(rows, key=lambda row: row.result.crps_sum):
        seconds = map(_seconds, row.result.seconds_each)
        cells, count = [cell(row, name) for name in MAIN], len(row.result.seeds)
        lines.append(
            [row.title, str(count) if row.evaluated or count > 1 else "", *cells, *seconds]
        )
    notes = [f"- {r.title}: {r.result.note}" for r in rows if r.result.note and not r.evaluated]
    return "\n\n".join([table(lines), *(["\n".join(notes)] if notes else [])])


def _seconds(value: float | None) -> str:
    return DASH if value is None else f"{value:.1f}" if value < 10 else f"{value:.0f}"


def ratios(record: Record, rows: list[Row]) -> str | None:
    """Every score over that of the true distribution; None where this is not known."""
    floor = next((row for row in rows if row.name == FLOOR), None)
    if floor is None:
        return None
    others = [row for row in rows if row is not floor]
    lines = [["", floor.title, *(row.title for row in others)]]
    over = [record.over_floor(row.result) for row in others]
    for name in _names(rows):
        if name in record.over_floor(floor.result):
            least = significant(floor.result.metrics[name])
            lines.append([title_of(name), least, *(ratio(each.get(name)) for each in over)])
    return table(lines)


def comparisons(runs: list[Run]) -> str | None:
    """Ours against each other entrant on the same windows; None without comparisons."""
    names = dict.fromkeys(name for run in runs for name in run.record.comparisons)
    if not names:
        return None
    titles = {row.name: row.title for row in rows_of(runs)}
    lines = [["against", *map(title_of_run, runs)]]
    for name in names:
        own = [run.record.comparisons.get(name) for run in runs]
        lines.append([titles.get(name, name), *map(compared, own)])
    return table(lines)


def compared(comparison: Comparison | None) -> str:
    """One comparison in a cell: ratio of the mean losses, interval and p-value, or why there are none."""
    if comparison is None:
        return DASH
    wins = f"better in {comparison.wins} of {comparison.windows}"
    text = significant(comparison.ratio)
    if comparison.too_few:
        return f"{text}, {wins}; too few windows"
    if comparison.ratio_interval is not None:
        low, high = map(significant, comparison.ratio_interval)
        text += f" [{low}, {high}]"
    test = "no p-value" if comparison.p_value is None else in_words(comparison.p_value)
    return f"{text}, {wins}; {test}"


def variants(runs: list[Run]) -> str | None:
    """CRPS_sum by each protocol that papers use; None where no record has them."""
    runs = [run for run in runs if run.record.evaluated.protocols]
    if not runs:
        return None
    found = {title_of_run(run): run.record.evaluated.protocols for run in runs}
    found |= {row.title: row.result.protocols for row in rows_of(runs) if not row.evaluated}
    names = dict.fromkeys(name for values in found.values() for name in values)
    lines = [["", *names]]
    lines += [[title, *(significant(v.get(name)) for name in names)] for title, v in found.items()]
    return table(lines)


def _names(rows: list[Row]) -> list[str]:
    """Scores that an entrant has: those with a title first, in its order."""
    own = dict.fromkeys(name for row in rows for name in row.result.metrics)
    return [*(n for n in METRICS if n in own), *(n for n in own if n not in METRICS)]


def every_score(runs: list[Run]) -> str:
    """All scores of all entrants of a data set, those of sums and likelihoods included."""
    rows = rows_of(runs)
    lines = [["", *(row.title for row in rows)]]
    for name in _names(rows):
        lines.append([title_of(name), *(cell(row, name, digits=4) for row in rows)])
    for name, own in runs[0].record.evaluated.aggregates.items():
        values = [row.result.aggregates.get(name, {}).get("crps_units") for row in rows]
        cells = [significant(value, digits=4) for value in values]
        lines.append([f"CRPS of {name}, {own['unit']}", *cells])
    for name in ("bound", "nll") if any(run.record.evaluated.nll for run in runs) else ():
        cells = [significant(row.result.nll.get(name), digits=4) for row in rows]
        lines.append([NLL_TITLES[name], *cells])
    return table(lines)
