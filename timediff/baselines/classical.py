"""AutoETS and AutoARIMA of every series by itself, through statsforecast, made joint by a copula.

Each model is fitted once, to the end of the training data, and then brought to the past of every window with
its parameters as they are. Where the season is too long for it, or is none of its own, the series is first
freed of its mean at each position of the season.

Axes: ``S`` sample paths, ``T`` time steps, ``D`` series; NaN is a missing value.
"""

from typing import Any

import numpy as np

from timediff.baselines.base import COPULA, Baseline
from timediff.baselines.naive import last_season
from timediff.baselines.task import Array, Fitted, Task, Window, bounds
from timediff.tools.progress import progress_bar

__all__ = ["AUTO_ARIMA", "AUTO_ETS", "ETS_SEASON", "STEPS", "fit_arima", "fit_ets"]

#: Steps of the end of the past that a model is fitted to and brought to.
STEPS = 1000
#: Longest season of AutoETS of its own.
ETS_SEASON = 24
#: From the two-sided 80 % interval of a normal distribution to its standard deviation.
_SPREAD = 2 * 1.2815515655446004


def fit_ets(task: Task, *, seed: int, progress: bool) -> Fitted:
    """AutoETS, with a season of its own up to `ETS_SEASON` steps."""
    own = task.cycle if task.cycle <= ETS_SEASON else 1
    return _fit(task, "AutoETS", own_season=own, progress=progress)


def fit_arima(task: Task, *, seed: int, progress: bool) -> Fitted:
    """AutoARIMA without a season of its own, which would take hours."""
    return _fit(task, "AutoARIMA", own_season=1, progress=progress)


def _fit(task: Task, kind: str, *, own_season: int, progress: bool) -> Fitted:
    from statsforecast import models

    position = task.cycle if own_season == 1 else 1
    low, high = bounds(task.train)
    train = _complete(task.train[-STEPS:], task.cycle)
    level = _levels(train, position)
    fitted: list[Any] = []
    with progress_bar(kind, total=train.shape[1], shown=progress) as bar:
        for series in (train - level[np.arange(-len(train), 0) % position]).T:
            model = getattr(models, kind)(season_length=own_season)
            fitted.append(_fitted(model, series.astype(np.float64)))
            bar.update(1)

    def sample(window: Window, num_samples: int, rng: np.random.Generator) -> Array:
        past = _complete(window.history[-STEPS:], task.cycle)
        at = np.arange(window.gap - len(past), window.gap + task.horizon) % position
        past = past - level[at[: len(past)]]
        forecasts = [
            _forecast(model, series.astype(np.float64), task.horizon)
            for model, series in zip(fitted, past.T, strict=True)
        ]
        mean, deviation = (
            np.stack(part, axis=-1) for part in zip(*forecasts, strict=True)
        )  # [T, D]
        noise = rng.standard_normal((num_samples, *mean.shape))
        return np.clip(mean + level[at[len(past) :]] + deviation * noise, low, high)

    details = {"steps": STEPS, "own_season": own_season, "season_of_means": position}
    return Fitted(sample, details)


def _fitted(model: Any, series: Array) -> Any:
    """The fitted model; None for a series that it cannot be fitted to, whose last value is then held."""
    if np.ptp(series) == 0:
        return None
    try:
        return model.fit(series)
    except MemoryError:
        raise
    except Exception:  # statsforecast has no errors of its own for what it cannot fit
        return None


def _forecast(model: Any, past: Array, horizon: int) -> tuple[Array, Array]:
    """Mean and standard deviation of the steps that follow, ``[T]`` each."""
    if model is not None:
        try:
            forecasts = model.forward(past, h=horizon, level=[80])
            mean = np.asarray(forecasts["mean"])
            deviation = (np.asarray(forecasts["hi-80"]) - np.asarray(forecasts["lo-80"])) / _SPREAD
            if np.isfinite(mean).all() and np.isfinite(deviation).all():
                return mean, np.maximum(deviation, 0)
        except MemoryError:
            raise
        except Exception:  # nor for what it cannot forecast
            pass
    steps = np.diff(past)
    deviation = np.std(steps) if len(steps) else 0.0
    return np.full(horizon, past[-1]), deviation * np.sqrt(np.arange(1, horizon + 1))


def _levels(train: Array, season: int) -> Array:
    """Mean at each position, that of the step after training first, ``[season, D]``; 0 for no season."""
    if season == 1:
        return np.zeros((1, train.shape[1]))
    return np.stack([train[::-1][season - 1 - k :: season].mean(axis=0) for k in range(season)])


def _complete(values: Array, season: int) -> Array:
    """A missing value is the one a season before, else the series' last before, else its next, else 0."""
    values = np.array(values, dtype=np.float64)
    for t in np.flatnonzero(np.isnan(values).any(axis=1)):
        known = last_season(values[:t], season)[0] if t else np.full(values.shape[1], np.nan)
        values[t] = np.where(np.isnan(values[t]), known, values[t])
    return np.nan_to_num(values)


AUTO_ETS = Baseline(
    "AutoETS, copula",
    f"AutoETS of statsforecast on the last {STEPS} steps of each series, normal margins. {COPULA}",
    False,
    fit_ets,
    copula=True,
    needs=("statsforecast",),
)
AUTO_ARIMA = Baseline(
    "AutoARIMA, copula",
    "AutoARIMA of statsforecast, without season of its own, on the last "
    f"{STEPS} steps of each series freed of its mean at each position in the shortest season, normal "
    f"margins. {COPULA}",
    False,
    fit_arima,
    copula=True,
    needs=("statsforecast",),
)
