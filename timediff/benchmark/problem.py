"""What an evaluation is of: the data, what entrants see of it, and what their paths are held against.

Nothing here needs torch, so that a mistake in the data is answered at once.

Axes: ``W`` windows, ``T`` time steps, ``D`` series; NaN is a missing value.
"""

from typing import Any, NamedTuple

import numpy as np

from timediff.baselines import Task, check_task
from timediff.benchmark.record import Aggregates
from timediff.config import RunConfig
from timediff.data.dataset import Dataset, load_dataset
from timediff.data.entry import end, split_windows
from timediff.data.rolling import rewindow
from timediff.errors import InputError
from timediff.frequency import error_season, quiet_business_days, seasons
from timediff.metrics import seasonal_error
from timediff.metrics.table import score_aggregate, window_losses

__all__ = ["Problem", "aggregate_scores", "make_problem", "make_task", "pose", "stride_of"]


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


def make_problem(data: Dataset) -> Problem:
    """The problem of a dataset's test windows.

    Raises:
        InputError: Nothing was observed that could be scored.
    """
    _, truth = split_windows(data.test, data.prediction_length)
    seasonal = seasonal_error(data.train[0]["target"].T, season=error_season(data.freq))
    try:
        # Said before training: an aggregate that is never observed, or no truth at all.
        nothing = np.zeros((len(truth), 2, *truth.shape[1:]))
        window_losses(nothing, truth)
        aggregate_scores(data, nothing, truth)
    except InputError as error:
        raise InputError(f"dataset {data.name} cannot be scored: {error}") from error
    return Problem(data, make_task(data), truth, seasonal)


def aggregate_scores(data: Dataset, paths: np.ndarray, truth: np.ndarray) -> Aggregates:
    scores: dict[str, dict[str, Any]] = {}
    for name, aggregate in data.aggregates.items():
        try:
            values = score_aggregate(paths, truth, weights=aggregate.weights)
        except InputError as error:
            raise InputError(f"aggregate {name}: {error}") from error
        scores[name] = {"unit": aggregate.unit, **values}
    return scores


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


def stride_of(task: Task) -> int:
    """Steps between the windows, the fewest."""
    steps = np.diff(task.gaps)
    return int(steps.min()) if len(steps) and steps.min() > 0 else task.horizon


def pose(config: RunConfig) -> Problem:
    """The problem of a run: the dataset with the windows that were asked for.

    Raises:
        InputError: There is no such dataset, or it does not allow what was asked for.
    """
    with quiet_business_days():
        data = load_dataset(
            config.dataset,
            data_dir=config.data_dir,
            align_clock=config.align_clock,
            horizon=config.horizon,
            reading=config.table,
        )
        if config.windows is not None:
            data = rewindow(
                data,
                windows=config.windows,
                stride=config.stride or data.prediction_length,
                history=config.history or "expanding",
            )
        problem = make_problem(data)
        if config.predictor is None:
            _check_training(problem.task, config)
        if config.baselines != "none" or config.predictor or config.rivals:
            check_task(problem.task)
    if config.nll and np.isnan(problem.truth).any(axis=(1, 2)).all():
        raise InputError(
            f"every test window of {data.name} has missing targets, so there is no likelihood to "
            "report; leave out --nll"
        )
    return problem


def _check_training(task: Task, config: RunConfig) -> None:
    """Raises `InputError` for what can be known to make training fail before it does."""
    steps = len(task.train) - config.validation_windows * task.horizon
    if steps <= task.horizon:
        raise InputError(
            f"the data have {max(steps, 0)} training steps left for a horizon of {task.horizon}, so there "
            "is no window to train on; give more data or fewer --validation-windows"
        )
    if config.validation_windows and config.model.schedule == "learned":
        raise InputError(
            "a learned schedule has no validation loss that compares between epochs; leave out "
            "--validation-windows, or choose another schedule"
        )
