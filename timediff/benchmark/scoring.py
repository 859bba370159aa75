"""What every entrant of an evaluation is scored by, ours and the others alike.

Axes: ``W`` windows, ``S`` sample paths, ``T`` time steps, ``D`` series; NaN is a missing value.
"""

from typing import Any, NamedTuple

import numpy as np

from timediff.baselines import Task
from timediff.data.dataset import Dataset
from timediff.data.rolling import end
from timediff.errors import InputError
from timediff.frequency import error_season, seasons
from timediff.metrics import score, score_aggregate, seasonal_error, window_losses
from timediff.metrics.protocols import protocol_table


class Exam(NamedTuple):
    """What the paths of an entrant are held against.

    Args:
        data: The dataset.
        truth: What happened, ``[W, T, D]``.
        seasonal: `timediff.metrics.seasonal_error` of the training data, ``[D]``.
    """

    data: Dataset
    truth: np.ndarray
    seasonal: np.ndarray


def split(windows: list[dict[str, Any]], horizon: int) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Entries with what is known before each window, and the truth ``[W, T, D]``."""
    known = [{**entry, "target": entry["target"][:, :-horizon]} for entry in windows]
    return known, np.stack([entry["target"][:, -horizon:].T for entry in windows])


def make_exam(data: Dataset) -> Exam:
    """The exam of a dataset's test windows.

    Raises:
        InputError: Nothing was observed that could be scored.
    """
    _, truth = split(data.test, data.prediction_length)
    seasonal = seasonal_error(data.train[0]["target"].T, season=error_season(data.freq))
    exam = Exam(data, truth, seasonal)
    try:
        # Said before training: an aggregate that is never observed, or no truth at all.
        nothing = np.zeros((len(truth), 2, *truth.shape[1:]), dtype=np.float32)
        window_losses(nothing, truth)
        _aggregates(data, nothing, truth)
    except InputError as error:
        raise InputError(f"dataset {data.name} cannot be scored: {error}") from error
    return exam


def make_task(data: Dataset) -> Task:
    """The same windows as baselines see them: without the truth."""
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
    )


def grade(exam: Exam, paths: np.ndarray) -> dict[str, Any]:
    """All scores of paths ``[W, S, T, D]``: ``metrics``, ``aggregates``, ``protocols`` and ``windows``."""
    losses = window_losses(paths, exam.truth)
    return {
        "metrics": score(paths, exam.truth, seasonal_error=exam.seasonal),
        "aggregates": _aggregates(exam.data, paths, exam.truth),
        "protocols": protocol_table(paths, exam.truth),
        "windows": {name: loss.tolist() for name, loss in losses.items()},
    }


def stride_of(task: Task) -> int:
    """Steps between the windows, the fewest."""
    steps = np.diff(task.gaps)
    return int(steps.min()) if len(steps) and steps.min() > 0 else task.horizon


def _aggregates(data: Dataset, paths: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    scores = {}
    for name, aggregate in data.aggregates.items():
        try:
            values = score_aggregate(paths, truth, weights=aggregate.weights)
        except InputError as error:
            raise InputError(f"aggregate {name}: {error}") from error
        scores[name] = {"unit": aggregate.unit, **values}
    return scores
