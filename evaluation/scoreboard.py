"""The tables of evaluation/RESULTS.md, each of the records of one data set or of all.

An entrant is what forecasts: ours, as one preset over its seeds, or a baseline of a record. Records of one
data set share their baselines; where several have one of the same name, the first record's is shown.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from timediff.benchmark.record import COMPARED, FLOOR, NLL_TITLES, OURS
from timediff.metrics import title_of
from timediff.metrics.paired import in_words
from timediff.registry import METRICS

Record = dict[str, Any]

MAIN = (COMPARED, "crps", "energy_score", "nd", "coverage_90")
#: Logarithms of a density: they have no zero, and a ratio says nothing.
LOGARITHMS = ("dawid_sebastiani",)


class Entrant(NamedTuple):
    """One row of a table: who, and how it scored."""

    name: str
    title: str
    metrics: dict[str, float | None]
    errors: dict[str, float | None]
    aggregates: dict[str, dict[str, Any]]
    seconds: dict[str, float | None]
    seeds: int | None = None  # None for a baseline
    note: str = ""


def table(rows: list[list[str]]) -> str:
    """A Markdown table; the first row is the head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def figures(value: float | None, error: float | None = None, *, digits: int = 3) -> str:
    """To so many significant digits, with its standard error to the same place; "-" for None."""
    if value is None or not math.isfinite(value):
        return "-"
    places = digits - 1 - (math.floor(math.log10(abs(value))) if value else 0)
    places = min(max(places, 0), 8)
    return f"{value:.{places}f}" + ("" if error is None else f" ± {error:.{places}f}")


def by_dataset(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records of each data set, in the order given; those on other windows than its first apart."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        name, windows = record["dataset"]["name"], record["dataset"]["windows"]
        first = groups.get(name, [record])[0]["dataset"]["windows"]
        key = name if windows == first else f"{name}, {windows} windows"
        groups.setdefault(key, []).append(record)
    return groups


def label(record: Record) -> str:
    """The preset, or what else a run is called after its data set."""
    return record["folder"].removeprefix(f"{record['dataset']['name']}-")


def entrants(records: list[Record]) -> list[Entrant]:
    """Of the records of one data set: ours, one for each record, then every baseline once."""
    ours = [own for record in records for own in _ours(record)]
    baselines: dict[str, Entrant] = {}
    for record in records:
        for name, own in record["baselines"].items():
            row = (own["metrics"], {}, own.get("aggregates", {}), own.get("seconds", {}))
            note = own.get("note") or ""
            baselines.setdefault(name, Entrant(name, own["title"], *row, note=note))
    return [*ours, *baselines.values()]


def _ours(record: Record) -> list[Entrant]:
    """What a record is of; after recalibration, too, if it was asked for."""
    count = len(record["seeds"])
    seconds = {
        part: None if total is None else total / count for part, total in record["seconds"].items()
    }
    title = f"{record.get('title', OURS)} ({label(record)})"
    scores = (record["metrics"], record["metrics_se"], record["aggregates"])
    own = Entrant(record["folder"], title, *scores, seconds, count)
    if "recalibration" not in record:
        return [own]
    after = (record["recalibration"]["after"], record["recalibration"]["after_se"], {})
    first = own._replace(title=f"{title}, before")
    return [first, Entrant(f"{own.name}-after", f"{title}, after", *after, seconds, count)]


def crps_sum(entrant: Entrant) -> float:
    """What entrants are ranked by; infinite where it is not defined."""
    value = entrant.metrics.get(COMPARED)
    return math.inf if value is None else value


def cell(entrant: Entrant, metric: str, *, digits: int = 3) -> str:
    return figures(entrant.metrics.get(metric), entrant.errors.get(metric), digits=digits)


def overview(groups: dict[str, list[Record]]) -> str:
    """CRPS_sum of every model on every data set, the best of each set in bold."""
    columns = {name: entrants(group) for name, group in groups.items()}
    everyone = [entrant for found in columns.values() for entrant in found]
    titles = dict.fromkeys(e.title for e in sorted(everyone, key=lambda e: e.seeds is None))
    rows = [["CRPS_sum", *columns]]
    best = {
        name: min((e for e in found if not e.name.startswith(FLOOR)), key=crps_sum).title
        for name, found in columns.items()
    }
    for title in titles:
        cells = []
        for name, found in columns.items():
            own = next((e for e in found if e.title == title), None)
            text = cell(own, COMPARED) if own else "-"
            cells.append(f"**{text}**" if title == best[name] else text)
        rows.append([title, *cells])
    return table(rows)


def scores(found: list[Entrant]) -> str:
    """Main scores and seconds of one run, a row for each entrant."""
    heads = (title_of(name) for name in MAIN)
    rows = [["", "seeds", *heads, "training s", "sampling s"]]
    for entrant in found:
        seconds = [_seconds(entrant.seconds.get(part)) for part in ("training", "sampling")]
        cells = [cell(entrant, name) for name in MAIN]
        count = "" if entrant.seeds is None else str(entrant.seeds)
        rows.append([entrant.title, count, *cells, *seconds])
    notes = [f"- {e.title}: {e.note}" for e in found if e.note]
    return "\n\n".join([table(rows), *(["\n".join(notes)] if notes else [])])


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if value < 10 else f"{value:.0f}"


def ratios(found: list[Entrant]) -> str | None:
    """Every score over that of the true distribution; None where this is not known."""
    floor = next((e for e in found if e.name == FLOOR), None)
    if floor is None:
        return None
    others = [e for e in found if e is not floor]
    rows = [["", floor.title, *(e.title for e in others)]]
    for name in _names(found):
        least = floor.metrics.get(name)
        if least is None or least <= 0 or name.startswith(LOGARITHMS):
            continue
        values = [e.metrics.get(name) for e in others]
        cells = ["-" if value is None else f"{value / least:.3f}" for value in values]
        rows.append([title_of(name), figures(least), *cells])
    return table(rows)


def comparisons(records: list[Record]) -> str | None:
    """Ours against each baseline on the same windows; None without comparisons."""
    names = dict.fromkeys(name for record in records for name in record.get("comparisons", {}))
    if not names:
        return None
    titles = {entrant.name: entrant.title for entrant in entrants(records)}
    rows = [["against", *(f"timediff ({label(record)})" for record in records)]]
    for name in names:
        own = [record.get("comparisons", {}).get(name) for record in records]
        rows.append([titles.get(name, name), *map(compared, own)])
    return table(rows)


def compared(found: dict[str, Any] | None) -> str:
    """One comparison in a cell: ratio of the mean losses, interval and p-value, or why there are none."""
    if found is None:
        return "-"
    wins = f"better in {found['wins']} of {found['windows']}"
    ratio = figures(found.get("ratio"))
    if found["too_few"]:
        return f"{ratio}, {wins}; too few windows"
    if interval := found.get("ratio_interval"):
        ratio += f" [{figures(interval[0])}, {figures(interval[1])}]"
    p = found.get("p_value")
    test = "no p-value" if p is None else in_words(p)
    return f"{ratio}, {wins}; {test}"


def variants(records: list[Record]) -> str | None:
    """CRPS_sum by each protocol that papers use; None where no record has them."""
    own = [record for record in records if record.get("protocols")]
    if not own:
        return None
    found = {f"timediff ({label(record)})": record["protocols"]["timediff"] for record in own}
    for entrant in entrants(own)[len(own) :]:
        values = (record["protocols"].get(entrant.name) for record in own)
        found[entrant.title] = next((value for value in values if value), {})
    names = dict.fromkeys(name for values in found.values() for name in values)
    rows = [["", *names]]
    rows += [[title, *(figures(v.get(name)) for name in names)] for title, v in found.items()]
    return table(rows)


def _names(found: list[Entrant]) -> list[str]:
    """Scores that an entrant has: those with a title first, in its order."""
    own = dict.fromkeys(name for entrant in found for name in entrant.metrics)
    return [*(n for n in METRICS if n in own), *(n for n in own if n not in METRICS)]


def every_score(records: list[Record]) -> str:
    """All scores of all entrants of a data set, those of sums and likelihoods included."""
    found = entrants(records)
    rows = [["", *(e.title for e in found)]]
    for name in _names(found):
        rows.append([title_of(name), *(cell(e, name, digits=4) for e in found)])
    for name, own in records[0]["aggregates"].items():
        values = [e.aggregates.get(name, {}).get("crps_units") for e in found]
        cells = [figures(value, digits=4) for value in values]
        rows.append([f"CRPS of {name}, {own['unit']}", *cells])
    for name in ("bound", "nll") if any("nll" in record for record in records) else ():
        ours = [figures(record.get("nll", {}).get(name), digits=4) for record in records]
        rows.append([NLL_TITLES[name], *ours, *["-"] * (len(found) - len(records))])
    return table(rows)
