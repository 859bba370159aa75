"""AutoETS and AutoARIMA of every series by itself, through statsforecast, whose paths are joined over series.

Each model is fitted once, to the end of the training data. For a window its states are brought to the end of
the window's past, with the parameters and the variance of the fit, and statsforecast's own `simulate` draws
paths over the whole horizon from there. The paths stay whole: only which of them go together is decided over
series, by past errors (`timediff.baselines.copula.pair`).

What statsforecast 2.1 does without a word, and what is done about it here:

- AutoETS fits a season of any length, but simulates zeros where it has one above 24 steps. A longer season is
  taken off beforehand, as the mean at each of its positions.
- AutoETS simulates a trend that is not damped as if there was none: ``phi`` is not a number, and becomes 0.
  It is set to 1.
- The states that a model is brought forward from are those of the first step of its fit, with a season that
  begins there. So the past begins there too, or whole seasons away.
- `simulate` seeds numpy's global generator, which is put back.
- Errors of another distribution than the normal come on top of normal ones in AutoARIMA. They stay normal.

Axes: ``S`` sample paths, ``T`` time steps, ``D`` series; NaN is a missing value.
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from timediff.baselines.base import Baseline
from timediff.baselines.naive import last_season
from timediff.baselines.task import Array, Fitted, Task, Window, bounds
from timediff.tools.progress import progress_bar
from timediff.tools.seeding import seeded

__all__ = ["AUTO_ARIMA", "AUTO_ETS", "ETS_SEASON", "STEPS", "fit_arima", "fit_ets"]

#: Steps of the end of the training data that a model is fitted to.
STEPS = 1000
#: Longest season of AutoETS of its own: the longest that statsforecast simulates.
ETS_SEASON = 24
#: Seasons that these steps must hold for one to be modelled.
_SEASONS = 3


def fit_ets(task: Task, *, seed: int, progress: bool) -> Fitted:
    """AutoETS, with a season of its own up to `ETS_SEASON` steps."""
    return _fit(task, "AutoETS", _ets_after, longest=ETS_SEASON, progress=progress)


def fit_arima(task: Task, *, seed: int, progress: bool) -> Fitted:
    """AutoARIMA without a season of its own, which would take hours."""
    return _fit(task, "AutoARIMA", _arima_after, longest=1, progress=progress)


def _fit(
    task: Task,
    kind: str,
    after: Callable[[Any, Array], Any],
    *,
    longest: int,
    progress: bool,
) -> Fitted:
    from statsforecast import models

    train = _complete(task.train[-STEPS:], task.cycle)
    season = task.cycle if _SEASONS * task.cycle <= len(train) else 1
    own_season = season if season <= longest else 1
    position = season if own_season == 1 else 1
    low, high = bounds(task.train)
    level = _levels(train, position)
    fitted: list[Any] = []
    with progress_bar(kind, total=train.shape[1], shown=progress) as bar:
        for series in (train - level[np.arange(-len(train), 0) % position]).T:
            fitted.append(_fitted(getattr(models, kind)(season_length=own_season), series))
            bar.update(1)

    def sample(window: Window, num_samples: int, rng: np.random.Generator) -> Array:
        past = _complete(window.history[_begin(window, len(train), own_season) :], task.cycle)
        at = np.arange(window.gap - len(past), window.gap + task.horizon) % position
        shape = (num_samples, task.horizon)
        paths = [
            _simulated(model, after, series, shape, rng)
            for model, series in zip(fitted, (past - level[at[: len(past)]]).T, strict=True)
        ]
        return np.clip(np.stack(paths, axis=-1) + level[at[len(past) :]], low, high)

    details = {
        "steps": STEPS,
        "own_season": own_season,
        "season_of_means": position,
        "series_without_model": fitted.count(None),
    }
    return Fitted(sample, details)


def _begin(window: Window, steps: int, season: int) -> int:
    """The step of a history from which on a model fitted to so many steps is brought forward.

    It is the first of the fit; where the window is too early for that, or its history too short, one about as
    many steps before its end, at the first's position in the season.
    """
    first = len(window.history) - window.gap - steps
    latest = max(len(window.history) - steps, 0)
    if 0 <= first <= latest:
        return first
    position = first % season
    return position if position > latest else latest - (latest - position) % season


def _fitted(model: Any, series: Array) -> Any:
    """The fitted model; None for a series that it cannot be fitted to, which then walks at random."""
    if np.ptp(series) == 0:
        return None
    try:
        return model.fit(series)
    except MemoryError:
        raise
    except Exception:  # statsforecast has no errors of its own for what it cannot fit
        return None


def _simulated(
    model: Any,
    after: Callable[[Any, Array], Any],
    past: Array,
    shape: tuple[int, int],
    rng: np.random.Generator,
) -> Array:
    """Paths of the steps that follow the past, ``[S, T]``."""
    count, horizon = shape
    seed = int(rng.integers(2**31))
    if model is not None and np.ptp(past) > 0:
        try:
            with seeded(seed):
                paths = after(model, past).simulate(h=horizon, n_paths=count, seed=seed)
            if np.isfinite(paths).all():
                return paths
        except MemoryError:
            raise
        except Exception:  # nor for what it cannot forecast
            pass
    steps = np.diff(past)
    deviation = np.std(steps) if len(steps) else 0.0
    return past[-1] + deviation * rng.standard_normal(shape).cumsum(axis=1)


def _ets_after(model: Any, past: Array) -> Any:
    """The fitted AutoETS with the states that follow a past."""
    from statsforecast.ets import forward_ets

    fit, moved = model.model_, copy.copy(model)
    moved.model_ = forward_ets(fit, y=past) | {"sigma2": fit["sigma2"]}
    if moved.model_["components"][3] == "N":
        parameters = np.array(moved.model_["par"])
        parameters[3] = 1.0  # phi
        moved.model_["par"] = parameters
    return moved


def _arima_after(model: Any, past: Array) -> Any:
    """The fitted AutoARIMA with the states that follow a past."""
    from statsforecast.arima import forward_arima

    moved = copy.copy(model)
    moved.model_ = forward_arima(model.model_, y=past, method=model.method)
    return moved


def _levels(train: Array, season: int) -> Array:
    """Mean at each position, that of the step after training first, ``[season, D]``; 0 for no season."""
    if season == 1:
        return np.zeros((1, train.shape[1]))
    return np.stack([train[::-1][season - 1 - k :: season].mean(axis=0) for k in range(season)])


def _complete(values: Array, season: int) -> Array:
    """A missing value is the one a season before, else the series' last before, else its next, else 0."""
    values = np.array(values, dtype=np.float64)
    first = np.isfinite(values).argmax(axis=0)
    values = np.where(
        np.arange(len(values))[:, None] < first, np.take_along_axis(values, first[None], 0), values
    )
    for t in np.flatnonzero(np.isnan(values).any(axis=1)):
        known = last_season(values[:t], season)[0] if t else np.full(values.shape[1], np.nan)
        values[t] = np.where(np.isnan(values[t]), known, values[t])
    return np.nan_to_num(values)


_NOTE = (
    f"on the last {STEPS} training steps; paths are simulated with normal errors. Joined over series by the "
    "ranks of its past errors: whole paths, so those of each series are unchanged."
)
AUTO_ETS = Baseline(
    "AutoETS, copula",
    f"AutoETS of statsforecast on each series, {_NOTE}",
    False,
    fit_ets,
    copula=True,
    whole=True,
    deterministic=True,
    needs=("statsforecast",),
)
AUTO_ARIMA = Baseline(
    "AutoARIMA, copula",
    "AutoARIMA of statsforecast, without season of its own, on each series freed of its mean at each "
    f"position in the shortest season, {_NOTE}",
    False,
    fit_arima,
    copula=True,
    whole=True,
    deterministic=True,
    needs=("statsforecast",),
)
