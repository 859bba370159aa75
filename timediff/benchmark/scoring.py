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
from timediff.benchmark.record import Aggregates, Values
from timediff.data.dataset import Dataset
from timediff.data.entry import end, split_windows
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


class Scores(NamedTuple):
    """All scores of the paths of one seed, or their means over seeds with the diagnosis of the first."""

    metrics: Values
    aggregates: Aggregates
    protocols: Values
    windows: dict[str, list[float]]
    diagnosis: dict[str, Any] | None = None


def make_problem(data: Dataset) -> Problem:
    """The problem of a dataset's test windows.

    Raises:
        InputError: Nothing was observed that could be scored.
    """
    _, truth = split_windows(data.test, data.prediction_length)
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
    known, _ = split_windows(data.test, data.prediction_length)
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


def grade(problem: Problem, paths: np.ndarray, *, diagnosed: bool = False) -> Scores:
    """All scores of paths ``[W, S, T, D]``, with a diagnosis or without."""
    losses = window_losses(paths, problem.truth)
    return Scores(
        metrics=dict(score(paths, problem.truth, seasonal_error=problem.seasonal)),
        aggregates=_aggregates(problem.data, paths, problem.truth),
        protocols=dict(protocol_table(paths, problem.truth)),
        windows={name: loss.tolist() for name, loss in losses.items()},
        diagnosis=_diagnosis(problem, paths) if diagnosed else None,
    )


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Means over seeds."""
    units = {name: one["unit"] for name, one in scores[0].aggregates.items()}
    return Scores(
        metrics=mean([one.metrics for one in scores]),
        aggregates={
            name: {"unit": unit, **mean([_without_unit(one.aggregates[name]) for one in scores])}
            for name, unit in units.items()
        },
        protocols=mean([one.protocols for one in scores]),
        windows={
            name: np.mean([one.windows[name] for one in scores], axis=0).tolist()
            for name in scores[0].windows
        },
        diagnosis=scores[0].diagnosis,
    )


def mean(rows: Sequence[Values]) -> Values:
    """Means of each value over the seeds; NaN where a seed has none."""
    return {name: float(np.mean([_number(row[name]) for row in rows])) for name in rows[0]}


def standard_error(rows: Sequence[Values]) -> Values:
    """Standard errors of the means; None for a single seed, which says nothing about them."""
    if len(rows) < 2:
        return dict.fromkeys(rows[0])
    with np.errstate(invalid="ignore"):  # an infinite score has no error
        return {
            name: float(np.std([_number(row[name]) for row in rows], ddof=1) / math.sqrt(len(rows)))
            for name in rows[0]
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


def _without_unit(aggregate: dict[str, Any]) -> Values:
    return {name: value for name, value in aggregate.items() if name != "unit"}


def _number(value: float | None) -> float:
    return math.nan if value is None else value
