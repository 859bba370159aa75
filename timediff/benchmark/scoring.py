"""What every entrant is shown, what its paths are held against, and means over its seeds.

Axes: ``W`` windows, ``S`` sample paths, ``T`` time steps, ``D`` series; NaN is a missing value.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from timediff.baselines import Task
from timediff.benchmark.diagnosis import diagnose
from timediff.benchmark.folder import stamps
from timediff.benchmark.record import Aggregates, Result, Seconds, Values
from timediff.data.dataset import Dataset
from timediff.data.rolling import Entry, end
from timediff.errors import InputError
from timediff.frequency import error_season, seasons
from timediff.metrics import score, score_aggregate, seasonal_error, window_losses
from timediff.metrics.protocols import protocol_table


class Problem(NamedTuple):
    """What is to be forecast.

    Args:
        data: The dataset.
        task: What entrants see of it.
        truth: What their paths are held against, ``[W, T, D]``.
        seasonal: `timediff.metrics.seasonal_error` of the training data, ``[D]``.
    """

    data: Dataset
    task: Task
    truth: np.ndarray
    seasonal: np.ndarray

    def __reduce__(self) -> tuple[Any, ...]:
        # Arrays change their layout in a pickle, and with it the last digits of sums.
        return make_problem, (self.data,)


def split(windows: Sequence[Entry], horizon: int) -> tuple[list[Entry], np.ndarray]:
    """Entries with what is known before each window, and the truth ``[W, T, D]``."""
    known = [{**entry, "target": entry["target"][:, :-horizon]} for entry in windows]
    return known, np.stack([entry["target"][:, -horizon:].T for entry in windows])


def hold_out(entry: Entry, horizon: int, windows: int) -> tuple[list[Entry], list[Entry] | None]:
    """Training entries, and so many validation entries cut from their end; None for none."""
    if not windows:
        return [entry], None
    whole = entry["target"]
    ends = [whole.shape[1] - horizon * k for k in range(windows, -1, -1)]
    first, *rest = ({**entry, "target": whole[:, :end]} for end in ends)
    return [first], rest


def make_problem(data: Dataset) -> Problem:
    """The problem of a dataset's test windows.

    Raises:
        InputError: Nothing was observed that could be scored.
    """
    _, truth = split(data.test, data.prediction_length)
    seasonal = seasonal_error(data.train[0]["target"].T, season=error_season(data.freq))
    try:
        # Said before training: an aggregate that is never observed, or no truth at all.
        nothing = np.zeros((len(truth), 2, *truth.shape[1:]), dtype=np.float32)
        window_losses(nothing, truth)
        _aggregates(data, nothing, truth)
    except InputError as error:
        raise InputError(f"dataset {data.name} cannot be scored: {error}") from error
    return Problem(data, make_task(data), truth, seasonal)


def make_task(data: Dataset) -> Task:
    """The same windows as entrants see them: without the truth."""
    train = data.train[0]
    known, _ = split(data.test, data.prediction_length)
    return Task(
        train=train["target"].T,
        histories=[entry["target"].T for entry in known],
        gaps=[end(entry) - end(train) for entry in known],
        horizon=data.prediction_length,
        freq=data.freq,
        starts=[entry["start"] + entry["target"].shape[1] for entry in known],
        seasons=seasons(data.freq),
        columns=data.columns,
        training={**train, "info": {"columns": data.columns}},
        known=known,
    )


def grade(problem: Problem, paths: np.ndarray, *, diagnosed: bool = False) -> dict[str, Any]:
    """The fields of a `Result` that are scores of paths ``[W, S, T, D]``, with a diagnosis or without."""
    losses = window_losses(paths, problem.truth)
    return {
        "metrics": score(paths, problem.truth, seasonal_error=problem.seasonal),
        "aggregates": _aggregates(problem.data, paths, problem.truth),
        "protocols": protocol_table(paths, problem.truth),
        "windows": {name: loss.tolist() for name, loss in losses.items()},
        "diagnosis": _diagnosis(problem, paths) if diagnosed else None,
    }


def merged(results: Sequence[Result]) -> Result:
    """The result of an entrant over its seeds, of one of each seed: means, and all that is known of each."""
    parts = {part: [getattr(one, part) for one in results] for part in Result._fields}
    means = {
        part: mean(parts[part]) for part in ("metrics", "aggregates", "protocols", "windows", "nll")
    }
    return results[0]._replace(
        **means,
        seeds=[seed for seeds in parts["seeds"] for seed in seeds],
        metrics_se=standard_error(parts["metrics"]),
        nll_se=standard_error(parts["nll"]),
        seconds=Seconds(*map(_sum, zip(*parts["seconds"], strict=True))),
        per_seed=[row for rows in parts["per_seed"] for row in rows],
    )


def mean(values: Sequence[Any]) -> Any:
    """Means over seeds of all numbers in dictionaries or lists, NaN where a seed has none; words stay."""
    first = values[0]
    if isinstance(first, dict):
        return {name: mean([one[name] for one in values]) for name in first}
    if isinstance(first, list):
        return [mean(numbers) for numbers in zip(*values, strict=True)]
    return first if isinstance(first, str) else float(np.mean([_number(one) for one in values]))


def standard_error(rows: Sequence[Values]) -> Values:
    """Standard errors of the means; None for a single seed, which says nothing about them."""
    if len(rows) < 2:
        return dict.fromkeys(rows[0])
    columns = {name: [_number(row[name]) for row in rows] for name in rows[0]}
    with np.errstate(invalid="ignore"):  # an infinite score has no error
        return {
            name: float(np.std(column, ddof=1) / math.sqrt(len(rows)))
            for name, column in columns.items()
        }


def stride_of(task: Task) -> int:
    """Steps between the windows, the fewest."""
    steps = np.diff(task.gaps)
    return int(steps.min()) if len(steps) and steps.min() > 0 else task.horizon


def _diagnosis(problem: Problem, paths: np.ndarray) -> dict[str, Any]:
    data = problem.data
    times = np.stack([stamps(entry, data.prediction_length) for entry in data.test])
    return diagnose(paths, problem.truth, columns=data.columns, stamps=times, progress=True)


def _aggregates(data: Dataset, paths: np.ndarray, truth: np.ndarray) -> Aggregates:
    scores: dict[str, dict[str, Any]] = {}
    for name, aggregate in data.aggregates.items():
        try:
            values = score_aggregate(paths, truth, weights=aggregate.weights)
        except InputError as error:
            raise InputError(f"aggregate {name}: {error}") from error
        scores[name] = {"unit": aggregate.unit, **values}
    return scores


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _number(value: float | None) -> float:
    return math.nan if value is None else value
