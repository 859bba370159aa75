"""The text of evaluation/LEADERBOARD.md: every entrant over all sets of 30 origins, in joint scores."""

from collections.abc import Iterable

from scoreboard import Run, table
from standing import geometric

from timediff.benchmark.record import Record, Result
from timediff.metrics import title_of
from timediff.report.numbers import DASH, significant

#: Scores of whole vectors, of the sum, and of events of a path; each is shown over the best entrant's.
RATIOS = (
    *("mean_wquantile_loss_sum", "energy_score", "variogram_score"),
    *("crps_peak", "newsvendor_cost_peak"),
)
#: Scores that can be 0, shown as they are.
MEANS = ("brier_calm",)
EVENTS = ("crps_peak", "newsvendor_cost_peak", "brier_calm")
LEVEL = 0.05

HEAD = """# Leaderboard of joint forecasts

Written by `python evaluation/tables.py` from the records `results/*-rolling`; do not edit. How to take part:
[Enter the benchmark](../docs/benchmark.md).

Every entrant is trained once, on what precedes the first of up to 30 origins that share no step, and draws
100 paths from each. Lower is better. The first table has geometric means, over the sets, of an entrant's
score over the best entrant's of the set (1: the best on every set), and the mean of what can be 0. An
entrant is in it if it was on all sets. "Sets better, worse": those on which its CRPS_sum differs from that of
timediff by a Diebold-Mariano test over origins with p < 0.05, no correction for how many there are.
"""


LATER = """
Scores of events of a path (peak, reserve, calm) are shown once the records are made anew: these are older.
"""


def rolling(runs: Iterable[Run]) -> list[Record]:
    """Records of 30 origins."""
    return [run.record for run in runs if run.folder == f"{run.record.dataset.name}-rolling"]


def overall(runs: Iterable[Run]) -> str | None:
    """The first table; None without records of 30 origins."""
    chosen = rolling(runs)
    return _overall(chosen) if chosen else None


def leaderboard(runs: Iterable[Run]) -> str | None:
    """The page; None without records of 30 origins."""
    chosen = rolling(runs)
    if not chosen:
        return None
    older = any(name not in record.evaluated.metrics for record in chosen for name in EVENTS)
    parts = [HEAD, _overall(chosen), LATER if older else "", _sets(chosen), "", *map(_one, chosen)]
    return "\n".join(parts).rstrip() + "\n"


def _value(result: Result, name: str) -> float | None:
    return result.metrics.get(name)


def _overall(records: list[Record]) -> str:
    everywhere = [
        name for name in records[0].entrants if all(name in r.entrants for r in records[1:])
    ]
    rows: list[tuple[float, list[str]]] = []
    for name in everywhere:
        means = [_ratio(records, name, score) for score in RATIOS]
        plain = [_mean(records, name, score) for score in MEANS]
        cells = [DASH if mean is None else f"{mean:.3f}" for mean in (*means, *plain)]
        title = records[0].entrants[name].title
        rows.append((means[0] or float("inf"), [title, *cells, _tests(records, name)]))
    heads = [*map(title_of, (*RATIOS, *MEANS)), "sets better, worse"]
    return table(known([[f"{len(records)} sets", *heads], *(row for _, row in sorted(rows))]))


def known(rows: list[list[str]]) -> list[list[str]]:
    """Rows without the columns of which no record knows anything."""
    columns = [column for column in zip(*rows, strict=True) if set(column[1:]) != {DASH}]
    return [list(row) for row in zip(*columns, strict=True)]


def _ratio(records: list[Record], name: str, score: str) -> float | None:
    """Geometric mean over the sets of a score over the best entrant's; None where a record lacks it."""
    found = []
    for record in records:
        values = {key: _value(result, score) for key, result in record.entrants.items()}
        known = [value for value in values.values() if value is not None]
        if len(known) < len(values) or min(known) <= 0:
            return None
        found.append(known[list(values).index(name)] / min(known))
    return geometric(found)


def _mean(records: list[Record], name: str, score: str) -> float | None:
    found = [_value(record.entrants[name], score) for record in records]
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if len(known) == len(found) else None


def _tests(records: list[Record], name: str) -> str:
    """On how many sets an entrant is better, and worse, than timediff."""
    if name == next(iter(records[0].entrants)):
        return DASH
    better = worse = 0
    for record in records:
        found = record.comparisons[name]
        if found.p_value is not None and found.p_value < LEVEL:
            better, worse = better + (found.ratio > 1), worse + (found.ratio < 1)
    return f"{better}, {worse}"


def _sets(records: list[Record]) -> str:
    rows = [["set", "series", "steps ahead", "origins", "source", "licence", "SHA-256"]]
    for record in records:
        data = record.dataset
        rows.append(
            [
                data.name,
                str(data.series),
                str(data.prediction_length),
                str(data.windows),
                data.source,
                data.licence,
                f"`{data.checksum[:12]}`",
            ]
        )
    return f"## Sets\n\n{table(rows)}"


def _one(record: Record) -> str:
    """All entrants of a set, by their first score."""
    names = (*RATIOS, *MEANS)
    rows = [["", *map(title_of, names)]]
    for result in sorted(record.entrants.values(), key=lambda each: each.crps_sum):
        cells = [
            significant(_value(result, name), result.metrics_se.get(name), digits=3)
            for name in names
        ]
        rows.append([result.title, *cells])
    return f"## {record.dataset.name}\n\n{table(known(rows))}\n"
