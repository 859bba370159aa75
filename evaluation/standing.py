"""How the default stands on the ten data sets: ratios to the best baselines, first steps and coverage."""

import math
from collections.abc import Callable, Iterable, Sequence

from scoreboard import Run, table

from timediff.benchmark.record import COMPARED, Record, Result
from timediff.metrics import expected_coverage, title_of

#: What the default is compared with: the simple ones, but for its own linear part.
SIMPLE = (
    *("random_walk", "random_walk_recent", "seasonal_naive", "seasonal_naive_recent"),
    *("climatology", "var", "auto_ets", "auto_arima"),
)
LINEAR, WALKS = "adaptive_linear", ("random_walk", "random_walk_recent")
SCORES = (COMPARED, "energy_score")
#: Coverage by rank, with ties of truth and paths broken at random, beside the plain one.
COVERED = ("coverage_90", "coverage_90_sum", "coverage_50", "coverage_50_sum")
_DASH = "–"


def geometric(values: Iterable[float]) -> float:
    """Their geometric mean."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs))


def over_best(record: Record, names: Sequence[str], score: Callable[[Result], float]) -> float:
    """The default's score over the least of some baselines that took part."""
    return score(record.evaluated) / min(
        score(record.entrants[name]) for name in names if name in record.entrants
    )


def of_metric(name: str) -> Callable[[Result], float]:
    """A score of the whole."""

    def score(result: Result) -> float:
        value = result.metrics[name]
        assert value is not None
        return value

    return score


def of_first_step(name: str) -> Callable[[Result], float]:
    """A score of the first step, as in `diagnosis`."""

    def score(result: Result) -> float:
        assert result.diagnosis is not None
        return float(result.diagnosis["by_horizon"][name][0])

    return score


def standing(runs: Iterable[Run], ending: str) -> str | None:
    """The table of the runs whose names end so: ratios by data set, their geometric means, and coverage."""
    chosen = [
        run for run in runs if run.folder == f"{run.record.dataset.name}-{ending}" and _whole(run)
    ]
    if not chosen:
        return None
    heads = [f"{title_of(name)} / {other}" for other in ("best", "linear") for name in SCORES]
    rows = [["", *heads, "first step / walk: series", "sum"]]
    ratios = []
    for run in chosen:
        record = run.record
        own = [
            *(over_best(record, SIMPLE, of_metric(name)) for name in SCORES),
            *(over_best(record, (LINEAR,), of_metric(name)) for name in SCORES),
            *(over_best(record, WALKS, of_first_step(name)) for name in ("crps", "crps_sum")),
        ]
        ratios.append(own)
        rows.append([record.dataset.name, *(f"{value:.3f}" for value in own)])
    means = [geometric(column) for column in zip(*ratios, strict=True)]
    rows.append(["geometric mean", *(f"{value:.3f}" for value in means)])
    return f"{table(rows)}\n\n{table(_coverage(chosen))}"


def beside(runs: Iterable[Run], preset: str) -> str | None:
    """The table of the default's scores over those of another preset, on the test windows of both."""
    by_folder = {run.folder: run.record for run in runs}
    rows = [["", *(f"{title_of(name)} / {preset}" for name in SCORES)]]
    ratios = []
    for folder, record in by_folder.items():
        other = by_folder.get(f"{record.dataset.name}-{preset}")
        if folder != f"{record.dataset.name}-default" or other is None:
            continue
        own = [of_metric(n)(record.evaluated) / of_metric(n)(other.evaluated) for n in SCORES]
        ratios.append(own)
        rows.append([record.dataset.name, *(f"{value:.3f}" for value in own)])
    if not ratios:
        return None
    means = [geometric(column) for column in zip(*ratios, strict=True)]
    return table([*rows, ["geometric mean", *(f"{value:.3f}" for value in means)]])


def _coverage(runs: Sequence[Run]) -> list[list[str]]:
    """Coverage by rank and, in brackets, plain; the last row is the mean distance from a perfect one's."""
    rows = [["coverage by rank (plain)", *(title_of(name) for name in COVERED)]]
    away: list[list[float]] = []
    for run in runs:
        metrics = run.record.evaluated.metrics
        cells, own = [], []
        for name in COVERED:
            level = float(name.split("_")[1]) / 100
            ranked, plain = metrics.get(f"{name}_rank"), metrics[name]
            cells.append(f"{_DASH if ranked is None else f'{ranked:.3f}'} ({plain:.3f})")
            aim = expected_coverage(level, num_samples=run.record.num_samples)
            own.append(abs((plain if ranked is None else ranked) - aim))
        rows.append([run.record.dataset.name, *cells])
        away.append(own)
    means = [sum(column) / len(column) for column in zip(*away, strict=True)]
    rows.append(["mean distance", *(f"{value:.3f}" for value in means)])
    return rows


def _whole(run: Run) -> bool:
    """Whether a run has what the table shows."""
    entrants = run.record.entrants
    return LINEAR in entrants and all(name in entrants for name in WALKS)
