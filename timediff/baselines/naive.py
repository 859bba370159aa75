r"""Random walk and seasonal naive with a joint bootstrap: the baselines that a model has to beat.

The forecast of a step is the value one season before it plus a seasonal difference
:math:`d_s = y_s - y_{s-m}` of the past, where :math:`m` is the season in steps. A path takes the
differences of one contiguous block of training steps, the same block for all series, so it keeps
the dependence between series and along the horizon without estimating anything.

Axes: ``W`` windows, ``S`` sample paths, ``T`` time steps, ``D`` series; NaN is a missing value.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from timediff.baselines.base import Baseline
from timediff.baselines.task import (
    Array,
    Fitted,
    Task,
    Window,
    best,
    crps_of_sum,
    held_out,
    in_phase,
    resized,
)
from timediff.errors import InputError

__all__ = [
    "RANDOM_WALK",
    "RANDOM_WALK_RECENT",
    "RECENT",
    "SEASONAL_NAIVE",
    "SEASONAL_NAIVE_RECENT",
    "fit_random_walk",
    "fit_seasonal_naive",
    "last_season",
    "seasonal_naive",
]

#: Blocks of the "last" variants. Fixed beforehand; no data was asked.
RECENT = 60


def seasonal_naive(
    history: Array,
    train: Array,
    *,
    season: int,
    horizon: int,
    num_samples: int,
    rng: np.random.Generator,
    cycle: int = 1,
    gap: int = 0,
    recent: int | None = None,
) -> Array:
    r"""Sample paths of the steps that follow a history.

    .. math:: \hat y_{T+h} = \hat y_{T+h-m} + d_{b+h}, \qquad h = 1 \dots \text{horizon},

    with values of the history for :math:`h \le m` and :math:`b` the start of a random block; no block
    is used again before all were. With ``season = 1``, a random walk, the differences are freed of
    their mean: it would extrapolate a past drift.

    A missing value of the history is replaced by the last one observed at the same position in the
    season, else by the series' last, else by 0. A difference with a missing end is 0.

    Args:
        history: What was observed before the forecast, ``[T, D]``.
        train: Training data, of which the differences are taken, ``[T0, D]``.
        season: Steps in a season; 1 makes a random walk.
        horizon: Steps to forecast.
        num_samples: Sample paths.
        rng: Source of the blocks' starts.
        cycle: Blocks start only at the forecast's own position in a cycle of this many steps, so that
            nights borrow from nights.
        gap: Steps from the end of ``train`` to the end of ``history``, for the position in the cycle.
        recent: Use only the last so many blocks.

    Returns:
        ``[S, horizon, D]`` in the precision of ``history``.
    """
    _check(history, train, season, horizon, num_samples, cycle)
    history = np.asarray(history, dtype=np.result_type(history, np.float32))
    differences = np.nan_to_num(train[season:] - train[:-season])
    if season == 1:
        differences -= differences.mean(axis=0)
    starts = in_phase(np.arange(len(differences) - horizon + 1), len(differences) + gap, cycle)
    blocks = resized(rng, starts if recent is None else starts[-recent:], num_samples)  # [S]

    last = last_season(history, season)  # [season, D]
    paths = np.empty((num_samples, horizon, history.shape[1]), dtype=history.dtype)
    for h in range(horizon):
        before = paths[:, h - season] if h >= season else last[h]
        paths[:, h] = before + differences[blocks + h]
    return paths


def fit_random_walk(task: Task, *, seed: int, progress: bool, recent: int | None = None) -> Fitted:
    """`seasonal_naive` with season 1."""
    return Fitted(_sampler(task, season=1, recent=recent), {"season": 1})


def fit_seasonal_naive(
    task: Task, *, seed: int, progress: bool, recent: int | None = None
) -> Fitted:
    """`seasonal_naive` with the season that does best on the end of the training data.

    The candidates are the task's seasons, scored by ``mean_wquantile_loss_sum``; where the training data are
    too short for all of them, it is a random walk.
    """
    inner, truth = held_out(task)
    candidates = _possible(inner) or _possible(task)[:1] or [1]
    scores = dict.fromkeys(candidates, float("nan"))
    if len(candidates) > 1:
        for season in candidates:
            tried = Fitted(_sampler(inner, season=season, recent=recent), {})
            paths = tried.paths(inner, num_samples=100, seed=seed, progress=False)
            scores[season] = crps_of_sum(paths, truth)
    season = best(scores)
    details = {
        "season": season,
        "mean_wquantile_loss_sum_by_season": {str(s): value for s, value in scores.items()},
    }
    return Fitted(_sampler(task, season=season, recent=recent), details)


def _possible(task: Task) -> list[int]:
    """The seasons that the training data are long enough for."""
    enough = len(task.train) if task.histories else 0
    return [s for s in task.seasons if _needed(s, task.horizon, task.cycle) <= enough]


def _sampler(
    task: Task, *, season: int, recent: int | None
) -> Callable[[Window, int, np.random.Generator], Array]:
    enough = _needed(season, task.horizon, task.cycle) <= len(task.train)
    cycle = task.cycle if enough else 1

    def sample(window: Window, num_samples: int, rng: np.random.Generator) -> Array:
        return seasonal_naive(
            window.history,
            task.train,
            season=season,
            horizon=task.horizon,
            num_samples=num_samples,
            rng=rng,
            cycle=cycle,
            gap=window.gap,
            recent=recent,
        )

    return sample


def _check(
    history: Array, train: Array, season: int, horizon: int, num_samples: int, cycle: int
) -> None:
    if history.ndim != 2 or train.ndim != 2 or history.shape[1] != train.shape[1]:
        raise InputError(
            "the seasonal naive forecast needs a history [T, D] and training data [T0, D] of the same "
            f"series, but their shapes are {history.shape} and {train.shape}"
        )
    if min(season, horizon, num_samples, cycle) < 1:
        raise InputError(
            f"season ({season}), horizon ({horizon}), number of paths ({num_samples}) and cycle "
            f"({cycle}) of a seasonal naive forecast must be at least 1"
        )
    if len(history) == 0:
        raise InputError(
            "a seasonal naive forecast has no history to go on from: give at least one step before "
            "the forecast"
        )
    if len(train) < _needed(season, horizon, cycle):
        raise InputError(
            f"a seasonal naive forecast of {horizon} steps with season {season} needs "
            f"{_needed(season, horizon, cycle)} training steps, but there are {len(train)}: choose a "
            "shorter season or horizon"
        )


def _needed(season: int, horizon: int, cycle: int) -> int:
    """Training steps that hold at least one block of differences at every position in the cycle."""
    return season + horizon + cycle - 1


def last_season(history: Array, season: int) -> Array:
    """The last value observed at each position of the season that ends the history, ``[season, D]``."""
    missing = -len(history) % season
    padded = np.pad(history, ((missing, 0), (0, 0)), constant_values=np.nan)
    stacked = padded.reshape(-1, season, history.shape[1])
    newest_first = stacked[::-1]
    last = np.take_along_axis(newest_first, np.isfinite(newest_first).argmax(0)[None], axis=0)[0]
    if season > 1:
        return np.where(np.isfinite(last), last, last_season(history, 1))
    return np.nan_to_num(last)


RANDOM_WALK = Baseline(
    "random walk",
    "The last value plus a contiguous block of past one-step differences of all series, freed of "
    "their mean.",
    True,
    fit_random_walk,
)
RANDOM_WALK_RECENT = Baseline(
    f"random walk, last {RECENT} blocks",
    f"The same from the last {RECENT} blocks of the training data alone, a number fixed beforehand.",
    True,
    partial(fit_random_walk, recent=RECENT),
)
SEASONAL_NAIVE = Baseline(
    "seasonal naive",
    "The value one season before plus a contiguous block of past seasonal differences of all series; the "
    "season is the best on the end of the training data.",
    True,
    fit_seasonal_naive,
)
SEASONAL_NAIVE_RECENT = Baseline(
    f"seasonal naive, last {RECENT} blocks",
    f"The same from the last {RECENT} blocks of the training data alone, a number fixed beforehand.",
    True,
    partial(fit_seasonal_naive, recent=RECENT),
)
