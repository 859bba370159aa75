"""Any GluonTS estimator or predictor on rolling windows of a wide table (`timediff.data.rolling`).

Before a window, a model sees what precedes its origin, and nothing else is handed to it.

Axes: ``W`` windows, ``S`` sample paths, ``T`` time steps, ``D`` series; NaN is a missing value.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
from gluonts.model.estimator import Estimator
from gluonts.model.forecast import Forecast
from gluonts.model.predictor import Predictor

from timediff.arguments import checked
from timediff.baselines.external import afresh, paths_of, shown_to
from timediff.data.entry import Entry
from timediff.data.rolling import History, cut, window_origins
from timediff.data.table import read_frame
from timediff.errors import InputError
from timediff.frequency import error_season, quiet_business_days
from timediff.gluon.predictor import TimeGradPredictor
from timediff.metrics import score, seasonal_error
from timediff.options import Between, Count, Whole
from timediff.tools.progress import progress_bar
from timediff.tools.seeding import seeded

__all__ = ["Backtest", "backtest"]


class Backtest(NamedTuple):
    """Forecasts of rolling windows and what happened.

    Args:
        paths: float64 ``[W, S, T, D]``.
        truth: float64 ``[W, T, D]``, NaN where missing.
        origins: The period of each window's first step, ``[W]``.
        columns: Names of the series.
        metrics: Of `timediff.metrics.score`.
    """

    paths: np.ndarray
    truth: np.ndarray
    origins: pd.PeriodIndex
    columns: list[str]
    metrics: dict[str, float]


@checked
def backtest(
    frame: Any,
    forecaster: Estimator | Predictor,
    *,
    windows: Whole,
    stride: Whole,
    freq: str | None = None,
    history: History = "expanding",
    refit: bool = False,
    univariate: bool = False,
    num_samples: Count = 100,
    seed: Annotated[int, Between(0)] = 0,
    progress: bool = True,
) -> Backtest:
    """Forecasts and scores rolling windows of a table.

    An estimator is trained once, on all that precedes the first window, or with ``refit`` before each window
    on what the window's forecast sees. A ``lead_time`` of the forecaster is kept: what it sees, in training
    too, ends so many steps before the origin.

    Args:
        frame: As in `timediff.data.table.read_frame`, wide or long; NaN is a missing value.
        forecaster: A GluonTS estimator or predictor; its ``prediction_length`` is that of the windows.
        windows: W.
        stride: Steps from one origin to the next. Below ``prediction_length`` windows overlap: tell
            `timediff.metrics.paired.compare`.
        freq: Frequency of its stamps; what they suggest when None.
        history: "expanding", or how many steps a forecast may see, and each training with ``refit``.
        refit: Whether an estimator is trained again before each window.
        univariate: Give the forecaster each series as an entry of its own, target ``[T]``, for models of one
            series such as DeepAR; their paths are put side by side.
        num_samples: S.
        seed: Of the global generators of torch, numpy and Python, which are left as they were, and of the
            paths of `TimeGradPredictor`. An estimator with a seed of its own keeps to that in training.
        progress: Show a progress bar of the windows on stderr; what training shows is the estimator's affair.

    Raises:
        InputError: The frame is not regular or too short, an option makes no sense, or the forecasts do
            not fit.
    """
    if refit and isinstance(forecaster, Predictor):
        raise InputError(
            f"refit needs an estimator, and {type(forecaster).__name__} is a predictor, trained already; "
            "give the estimator, or leave refit out"
        )
    horizon, lead = forecaster.prediction_length, forecaster.lead_time
    with quiet_business_days():
        table = read_frame(frame, freq=freq)
        whole, columns = table.entry("frame"), table.names
        origins = window_origins(
            whole, horizon=horizon, windows=windows, stride=stride, history=history, lead=lead
        )
        truth = np.stack([whole["target"][:, o : o + horizon].T for o in origins])
        if np.isnan(truth).all():
            raise InputError(
                "every value in the windows is missing, so there is nothing to score; "
                "choose windows in which something was observed"
            )
        first = cut(whole, origins[0] - lead)
        known = [cut(whole, origin - lead, history) for origin in origins]
        starts = pd.PeriodIndex([whole["start"] + origin for origin in origins])
        paths = np.empty((windows, num_samples, *truth.shape[1:]))
        jobs = [(entry, [entry]) for entry in known] if refit else [(first, known)]
        names = columns if univariate else None
        forecasts = _forecasts(forecaster, jobs, names=names, num_samples=num_samples, seed=seed)
        with progress_bar("backtest", total=windows, shown=progress) as bar:
            for k, parts in enumerate(forecasts):
                paths[k] = _paths(parts, starts[k], paths.shape[1:])
                bar.update(1)
        seasonal = seasonal_error(first["target"].T, season=error_season(first["start"].freqstr))
    metrics = score(paths, truth, seasonal_error=seasonal)
    return Backtest(paths, truth, starts, columns, metrics)


def _forecasts(
    forecaster: Estimator | Predictor,
    jobs: list[tuple[Entry, list[Entry]]],
    *,
    names: list[str] | None,
    num_samples: int,
    seed: int,
) -> Iterator[tuple[Forecast, ...]]:
    """The forecasts of each window; several, one of each series, where these have ``names``.

    Each job is an entry to train on and those to forecast.
    """
    for job, (training, known) in enumerate(jobs):
        with seeded(int(np.random.SeedSequence([seed, job]).generate_state(1)[0])):
            predictor = forecaster
            if isinstance(forecaster, Estimator):
                shown = [shown_to(forecaster, entry) for entry in _entries([training], names)]
                predictor = afresh(forecaster).train(shown)
            # Ours takes a seed, and would show a bar of its own.
            ours = isinstance(predictor, TimeGradPredictor)
            options: dict[str, Any] = {"progress": False, "seed": seed} if ours else {}
            entries = [shown_to(forecaster, entry) for entry in _entries(known, names)]
            forecasts = iter(predictor.predict(entries, num_samples=num_samples, **options))
            series = len(entries) // len(known)
            for _ in known:
                parts = tuple(islice(forecasts, series))
                if len(parts) < series:
                    raise InputError(
                        f"the predictor gives fewer forecasts than the {len(entries)} entries it was given; "
                        "give one that forecasts each of them"
                    )
                yield parts


def _entries(entries: Iterable[Entry], names: list[str] | None) -> Iterator[Entry]:
    """The entries themselves, or the series of each as entries with a target ``[T]``."""
    for entry in entries:
        if names is None:
            yield entry
            continue
        for name, target in zip(names, entry["target"], strict=True):
            yield {**entry, "item_id": name, "target": target}


def _paths(parts: tuple[Forecast, ...], start: pd.Period, shape: tuple[int, ...]) -> np.ndarray:
    """Paths ``[S, T, D]`` of one window."""
    samples = []
    for part in parts:
        paths_of_part = paths_of(part, shape[0])
        if part.start_date != start:
            raise InputError(
                f"the predictor's forecast starts at {part.start_date}, the window at {start}; "
                "give one that forecasts the steps after its data"
            )
        samples.append(paths_of_part.reshape(*paths_of_part.shape[:2], -1))
    paths = np.concatenate(samples, axis=-1)
    if paths.shape != shape:
        raise InputError(
            f"the predictor gives paths of shape {paths.shape} where [num_samples, prediction_length, "
            f"series] is {shape}; models of one series need univariate=True, and some fix num_samples"
        )
    return paths
