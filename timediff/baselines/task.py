r"""What a baseline is given, and what it gives: the one interface of `timediff.baselines`.

A `Task` holds the training data and, of each window, what was observed before it; it holds no truth, so
nothing that forecasts it can look at one. What a baseline has to choose it chooses on the end of the training
data (`held_out`).

Axes: ``W`` windows, ``S`` sample paths, ``T`` time steps, ``D`` series; NaN is a missing value.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from timediff.data.entry import noise_seed
from timediff.errors import InputError
from timediff.metrics import mean_wquantile_loss, sum_over_dimensions
from timediff.tools.progress import progress_bar

__all__ = [
    "HELD_OUT",
    "Array",
    "Choice",
    "Entry",
    "Fit",
    "Fitted",
    "Task",
    "Window",
    "best",
    "bounds",
    "check_task",
    "crps_of_sum",
    "held_out",
    "in_phase",
    "past_windows",
    "resized",
]

Array = NDArray[np.floating]
#: What GluonTS calls an entry: a start, a target ``[D, T]`` and further fields.
Entry = dict[str, Any]
Choice = TypeVar("Choice")

#: Windows at the end of the training data, at most, on which a baseline chooses between its settings.
HELD_OUT = 10


class Window(NamedTuple):
    """One forecast to make.

    Args:
        history: What was observed before it, ``[T, D]``.
        start: Its first period.
        gap: Steps from the end of the training data to its start; negative within them.
        item_id: Of the entry that it is of, None where there is none.
    """

    history: Array
    start: pd.Period
    gap: int
    item_id: str | None = None

    @property
    def begin(self) -> pd.Period:
        """The first period of its history."""
        return self.start - len(self.history)


class Task(NamedTuple):
    """All forecasts of one evaluation.

    Args:
        train: Training data, ``[T0, D]``.
        histories: What was observed before each window, ``[T_k, D]``.
        gaps: Steps from the end of the training data to the start of each window.
        horizon: Steps to forecast.
        freq: Frequency, as in `timediff.frequency.seasons`.
        starts: First period of each window.
        seasons: Steps in what may return, such as ``[24, 168]``; ``[1]`` where nothing is known to.
        columns: Names of the series.
        training: The training data as a GluonTS entry, with all its fields; None in a task made by hand.
        known: What precedes each window likewise, without its truth; none in a task made by hand.
    """

    train: Array
    histories: list[Array]
    gaps: list[int]
    horizon: int
    freq: str
    starts: list[pd.Period]
    seasons: list[int]
    columns: list[str]
    training: Entry | None = None
    known: Sequence[Entry] = ()

    @property
    def begin(self) -> pd.Period:
        """The first period of the training data."""
        return self.starts[0] - self.gaps[0] - len(self.train)

    @property
    def windows(self) -> list[Window]:
        """The forecasts to make, in order."""
        ids = [entry.get("item_id") for entry in self.known] or [None] * len(self.starts)
        parts = zip(self.histories, self.starts, self.gaps, ids, strict=True)
        return [Window(*window) for window in parts]

    @property
    def cycle(self) -> int:
        """Steps of the shortest season: a day of hours, a week of days; 1 for business days."""
        return min(self.seasons)


class Fitted(NamedTuple):
    """A forecaster that has seen the training data of a task.

    Args:
        sample: Paths ``[S, T, D]`` of a window: ``sample(window, num_samples, rng)``.
        details: What was chosen or measured, plain values for the record.
        bulk: Paths ``[W, S, T, D]`` of all windows at once, ``bulk(task, num_samples, seed)``, for those that
            do not draw window by window.
        seconds: Of the training, where it is not what the caller waited for.
    """

    sample: Callable[[Window, int, np.random.Generator], Array]
    details: dict[str, Any]
    bulk: Callable[[Task, int, int], Array] | None = None
    seconds: float | None = None

    def paths(self, task: Task, *, num_samples: int, seed: int, progress: bool = True) -> Array:
        """Sample paths of all windows, float64 ``[W, S, T, D]``.

        The random numbers of a window follow from the seed, its item_id (its place where there is none) and
        its start (`timediff.data.entry.noise_seed`), whatever other windows there are.
        """
        if self.bulk is not None:
            return self.bulk(task, num_samples, seed)
        shape = (len(task.histories), num_samples, task.horizon, task.train.shape[1])
        paths = np.empty(shape)
        with progress_bar("paths", total=len(paths), shown=progress) as bar:
            for w, window in enumerate(task.windows):
                own = noise_seed(seed, window.start, item_id=window.item_id, place=w)
                sampled = self.sample(window, num_samples, np.random.default_rng(own))
                if sampled.shape != shape[1:]:
                    raise InputError(
                        f"the paths of window {w} have the shape {sampled.shape} where [num_samples, "
                        f"horizon, series] is {shape[1:]}"
                    )
                paths[w] = sampled
                bar.update(1)
        return paths


class Fit(Protocol):
    """Brings a baseline to the training data of a task."""

    def __call__(self, task: Task, *, seed: int, progress: bool) -> Fitted: ...


def check_task(task: Task) -> None:
    """Raises `InputError` if the parts of a task do not fit."""
    train, horizon = task.train, task.horizon
    same = len(task.histories) == len(task.gaps) == len(task.starts)
    if not same or not task.histories or train.ndim != 2:
        raise InputError(
            "a task needs training data [T0, D] and a history, a gap and a start for each of at least one "
            f"window, but there are {len(task.histories)}, {len(task.gaps)} and {len(task.starts)} for "
            f"training data of shape {train.shape}"
        )
    for history in task.histories:
        if history.ndim != 2 or history.shape[1] != train.shape[1] or not len(history):
            raise InputError(
                "a task needs histories [T, D] of at least one step of the same series as its training "
                f"data, but their shapes are {history.shape} and {train.shape}"
            )
    if horizon < 1 or not task.seasons or min(task.seasons) < 1:
        raise InputError(
            "a task needs seasons and a horizon of at least 1 step, not "
            f"{tuple(task.seasons)} and {horizon}"
        )
    if len(train) <= horizon + 1:
        raise InputError(
            f"baselines for a horizon of {horizon} steps need {horizon + 2} training steps, but there are "
            f"{len(train)}: choose a shorter horizon"
        )


def past_windows(task: Task, count: int, *, stride: int) -> tuple[list[Window], Array]:
    """Windows within the training data, the last of which ends with them, and their truth.

    Args:
        task: Of which nothing but the training data is used.
        count: Windows, at most; as many as leave at least half of the training data before the first.
        stride: Steps from one to the next.

    Returns:
        The windows in the order of time, and the truth ``[count, T, D]``.
    """
    length, horizon = len(task.train), task.horizon
    last = length - horizon
    count = min(count, max((last - length // 2) // stride + 1, 0))
    ends = [last - k * stride for k in range(count - 1, -1, -1)]
    first = task.starts[0] - task.gaps[0]  # the period after the training data
    windows = [Window(task.train[:end], first - (length - end), end - length) for end in ends]
    truth = [task.train[end : end + horizon] for end in ends]
    return windows, np.stack(truth) if truth else np.empty((0, horizon, task.train.shape[1]))


def held_out(task: Task) -> tuple[Task, Array]:
    """A task of the same kind at the end of the training data, and its truth: where choices are made."""
    windows, truth = past_windows(task, HELD_OUT, stride=task.horizon)
    if not windows:
        return task._replace(histories=[], gaps=[], starts=[], training=None, known=()), truth
    end = len(windows[0].history)
    inner = task._replace(
        train=task.train[:end],
        histories=[window.history for window in windows],
        gaps=[len(window.history) - end for window in windows],
        starts=[window.start for window in windows],
        training=None,
        known=(),
    )
    return inner, truth


def best(scores: dict[Choice, float]) -> Choice:
    """The candidate of the lowest score, the first of equals; one whose score is not defined is last."""
    return min(scores, key=lambda choice: scores[choice] if np.isfinite(scores[choice]) else np.inf)


def crps_of_sum(paths: Array, truth: Array) -> float:
    """What choices are made by: ``mean_wquantile_loss_sum``; NaN where nothing was observed."""
    return mean_wquantile_loss(*sum_over_dimensions(paths, truth))


def bounds(train: Array) -> tuple[Array, Array]:
    """What a path may not leave, ``[D]`` each: the training data's range and as much again on either side.

    Zero bounds a series that was never negative. It keeps a model that diverges from infinity.
    """
    seen = np.isfinite(train)
    low = np.where(seen, train, np.inf).min(axis=0)
    high = np.where(seen, train, -np.inf).max(axis=0)
    low, high = (np.where(np.isfinite(end), end, 0.0) for end in (low, high))
    width = high - low
    return np.where(low >= 0, np.maximum(low - width, 0), low - width), high + width


def in_phase(starts: NDArray[np.intp], end: int, cycle: int) -> NDArray[np.intp]:
    """The steps among ``starts`` that have the position of step ``end`` in a cycle."""
    return starts[(starts - end) % cycle == 0]


def resized(
    rng: np.random.Generator, choices: Sequence[int] | NDArray[np.integer], count: int
) -> NDArray[np.integer]:
    """Some of the choices in random order, none again before all were used, ``[count]``."""
    return np.resize(rng.permutation(choices), count)
