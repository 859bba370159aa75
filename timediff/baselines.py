r"""Seasonal naive forecasts with a joint bootstrap: the baseline that a model has to beat.

The forecast of a step is the value one season before it plus a seasonal difference
:math:`d_s = y_s - y_{s-m}` of the past, where :math:`m` is the season in steps. A path takes the
differences of one contiguous block of training steps, the same block for all series, so it keeps
the dependence between series and along the horizon without estimating anything.

Axes: ``W`` windows, ``S`` sample paths, ``T`` time steps, ``D`` series; NaN is a missing value.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from timediff.errors import InputError
from timediff.metrics import mean_wquantile_loss, sum_over_dimensions

Array = NDArray[np.floating]


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

    Returns:
        ``[S, horizon, D]`` in the precision of ``history``.
    """
    _check(history, train, season, horizon, num_samples, cycle)
    history = np.asarray(history, dtype=np.result_type(history, np.float32))
    differences = np.nan_to_num(train[season:] - train[:-season])
    if season == 1:
        differences -= differences.mean(axis=0)
    starts = np.arange(len(differences) - horizon + 1)
    starts = starts[(starts + season - len(train) - gap) % cycle == 0]
    blocks = np.resize(rng.permutation(starts), num_samples)  # [S]

    last = _last_season(history, season)  # [season, D]
    paths = np.empty((num_samples, horizon, history.shape[1]), dtype=history.dtype)
    for h in range(horizon):
        before = paths[:, h - season] if h >= season else last[h]
        paths[:, h] = before + differences[blocks + h]
    return paths


def best_seasonal_naive(
    train: Array,
    histories: Sequence[Array],
    truth: Array,
    *,
    gaps: Sequence[int],
    seasons: Sequence[int],
    num_samples: int,
    seed: int,
) -> tuple[Array, dict[int, float]]:
    """Paths of the season that does best on the test windows, and the score of every candidate.

    The season is chosen in hindsight, by ``mean_wquantile_loss`` of the sum: an advantage that a
    baseline may have and a model may not. The differences come from the training data alone. Blocks
    start at the forecast's position in the shortest season. Where the training data are too short for
    every candidate, the forecast is a random walk, season 1.

    Args:
        train: Training data, ``[T0, D]``.
        histories: What was observed before each test window, ``[T, D]`` each.
        truth: What happened, ``[W, H, D]``.
        gaps: Steps from the end of the training data to the end of each history.
        seasons: Candidates, in steps, for instance ``(24, 168)``.
        num_samples: Sample paths.
        seed: Seed of all random numbers.

    Returns:
        Paths ``[W, S, H, D]``, and each candidate's score in the order of merit, the best first.
    """
    _check_windows(histories, truth, gaps, seasons)
    horizon = truth.shape[1]
    cycle = min(seasons)
    candidates = [season for season in seasons if len(train) >= _needed(season, horizon, cycle)]
    if not candidates:
        candidates, cycle = [1], 1
    forecasts: dict[int, Array] = {}
    scores: dict[int, float] = {}
    for season in candidates:
        paths = [
            seasonal_naive(
                history,
                train,
                season=season,
                horizon=horizon,
                num_samples=num_samples,
                rng=np.random.default_rng([seed, window]),
                cycle=cycle,
                gap=gap,
            )
            for window, (history, gap) in enumerate(zip(histories, gaps, strict=True))
        ]
        forecasts[season] = np.stack(paths)
        value = mean_wquantile_loss(*sum_over_dimensions(forecasts[season], truth))
        scores[season] = value if np.isfinite(value) else np.inf
    ranked = dict(sorted(scores.items(), key=lambda item: item[1]))
    return forecasts[next(iter(ranked))], ranked


def _check(
    history: Array, train: Array, season: int, horizon: int, num_samples: int, cycle: int
) -> None:
    if history.ndim != 2 or train.ndim != 2 or history.shape[1] != train.shape[1]:
        raise InputError(
            "The seasonal naive forecast needs a history [T, D] and training data [T0, D] of the same "
            f"series, but their shapes are {history.shape} and {train.shape}."
        )
    if min(season, horizon, num_samples, cycle) < 1:
        raise InputError(
            f"Season ({season}), horizon ({horizon}), number of paths ({num_samples}) and cycle "
            f"({cycle}) of a seasonal naive forecast must be at least 1."
        )
    if len(history) == 0:
        raise InputError(
            "A seasonal naive forecast has no history to go on from: give at least one step before "
            "the forecast."
        )
    if len(train) < _needed(season, horizon, cycle):
        raise InputError(
            f"A seasonal naive forecast of {horizon} steps with season {season} needs "
            f"{_needed(season, horizon, cycle)} training steps, but there are {len(train)}: choose a "
            "shorter season or horizon."
        )


def _check_windows(
    histories: Sequence[Array], truth: Array, gaps: Sequence[int], seasons: Sequence[int]
) -> None:
    if truth.ndim != 3 or not len(truth) == len(histories) == len(gaps):
        raise InputError(
            "The best seasonal naive forecast needs truth [W, H, D] and one history and gap for each "
            f"of its windows, but there are {len(histories)} histories and {len(gaps)} gaps for "
            f"truth of shape {truth.shape}."
        )
    horizon = truth.shape[1]
    if not seasons or min(horizon, *seasons) < 1:
        raise InputError(
            f"The best seasonal naive forecast needs seasons and a horizon of at least 1 step, not "
            f"{tuple(seasons)} and {horizon}."
        )


def _needed(season: int, horizon: int, cycle: int) -> int:
    """Training steps that hold at least one block of differences at every position in the cycle."""
    return season + horizon + cycle - 1


def _last_season(history: Array, season: int) -> Array:
    """The last value observed at each position of the season that ends the history, ``[season, D]``."""
    missing = -len(history) % season
    padded = np.pad(history, ((missing, 0), (0, 0)), constant_values=np.nan)
    stacked = padded.reshape(-1, season, history.shape[1])
    newest_first = stacked[::-1]
    last = np.take_along_axis(newest_first, np.isfinite(newest_first).argmax(0)[None], axis=0)[0]
    if season > 1:
        return np.where(np.isfinite(last), last, _last_season(history, 1))
    return np.nan_to_num(last)
