"""Any GluonTS predictor or estimator as a forecaster of tasks, of all series at once or of one at a time.

Axes: ``S`` sample paths, ``T`` time steps, ``D`` series; NaN is a missing value.
"""

import copy
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor
from gluonts.torch.model.estimator import PyTorchLightningEstimator

from timediff.baselines.task import Array, Entry, Fitted, Task, Window
from timediff.errors import InputError
from timediff.frequency import quiet_business_days
from timediff.gluon.estimator import TimeGradEstimator
from timediff.gluon.foreign import unreadable
from timediff.gluon.predictor import TimeGradPredictor
from timediff.gluon.storage import CLASSES
from timediff.tools.files import read_json
from timediff.tools.seeding import seeded
from timediff.training.trainer import own_options, quiet_lightning

__all__ = [
    "afresh",
    "entries",
    "fit_forecaster",
    "fit_predictor",
    "load_predictor",
    "multivariate",
    "paths_of",
    "paths_of_all",
    "shown_to",
    "train",
    "univariate",
]

_Sampler = Callable[[Window, int, np.random.Generator], Array]


def load_predictor(folder: Path, *, device: str = "cpu") -> Predictor:
    """A predictor from the folder it was serialized to, ours or any of GluonTS.

    Loading one that is not ours runs what its files name: give only folders that you trust.

    Raises:
        InputError: There is none in the folder, or it cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; give one that a predictor was saved to")
    try:
        kind = read_json(folder / "gluonts-config.json")["type"]
    except (OSError, ValueError, LookupError, TypeError):
        raise InputError(
            f"{folder} holds no gluonts-config.json of a predictor; give a folder that predictor.serialize "
            "wrote"
        ) from None
    if kind in CLASSES:
        return TimeGradPredictor.deserialize(folder, device=device)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return Predictor.deserialize(folder, device=device)
            except TypeError:  # not a predictor of torch
                return Predictor.deserialize(folder)
    except InputError:
        raise
    except Exception as error:  # what the files name may fail in any way
        raise unreadable(folder, error) from error


def fit_forecaster(
    forecaster: Predictor | Estimator, task: Task, *, seed: int, univariate: bool = False
) -> Fitted:
    """A predictor, or what an estimator trains, as a forecaster of the task."""
    predictor = forecaster
    if isinstance(forecaster, Estimator):
        predictor = train(forecaster, task, seed=seed, one_by_one=univariate)
    fitted, network = fit_predictor(predictor, task), getattr(predictor, "prediction_net", None)
    size = {} if network is None else {"parameters": sum(p.numel() for p in network.parameters())}
    return fitted._replace(details={**fitted.details, **size})


def train(estimator: Estimator, task: Task, *, seed: int, one_by_one: bool) -> Predictor:
    """The predictor that an estimator makes of the training data, as one entry or an entry of each series.

    Raises:
        InputError: The task was made by hand, and has no entry of all series.
    """
    if one_by_one:
        shown = entries(task.train, task.begin, task.columns)
    elif task.training is not None:
        shown = [task.training]
    else:
        raise InputError(
            "the task was made by hand and has no entry to train on; make it with "
            "timediff.benchmark.scoring.make_task"
        )
    with seeded(seed), quiet_business_days(), quiet_lightning(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return afresh(estimator).train([shown_to(estimator, entry) for entry in shown])


def afresh(estimator: Estimator) -> Estimator:
    """An estimator for one training: GluonTS itself hands worn callbacks to the next one, or loses them."""
    if not isinstance(estimator, PyTorchLightningEstimator):
        return estimator
    copied = copy.copy(estimator)
    copied.trainer_kwargs = own_options(estimator.trainer_kwargs)
    return copied


def fit_predictor(predictor: Predictor, task: Task) -> Fitted:
    """A forecaster that asks the predictor, for all series at once if it can, else for one at a time.

    Raises:
        InputError: Neither works, or its forecasts are of other steps.
    """
    if predictor.prediction_length != task.horizon:
        raise InputError(
            f"the predictor forecasts {predictor.prediction_length} steps, the windows have {task.horizon}; "
            "give one of this horizon"
        )
    if predictor.lead_time:
        raise InputError(
            f"the predictor leaves out {predictor.lead_time} steps before its forecast (lead_time), and the "
            "windows follow what is known at once; give one without, or use timediff.benchmark.backtest"
        )
    reasons = []
    for way in (multivariate, univariate):
        sample, bulk = way(predictor, task.columns), None
        try:
            if isinstance(predictor, TimeGradPredictor):
                bulk = partial(paths_of_all, predictor, one_by_one=way is univariate)
                shape = bulk(_first_window(task), 2, 0, progress=False).shape[1:]
            else:
                shape = sample(task.windows[0], 2, np.random.default_rng(0)).shape
        except Exception as error:  # a predictor may refuse an entry in any way
            reasons.append(" ".join(str(error).split()) or type(error).__name__)
            continue
        if shape[1:] == (task.horizon, len(task.columns)):
            return Fitted(sample, {"class": _name(predictor), "way": way.__name__}, bulk)
        reasons.append(f"its forecasts have the shape {shape}")
    raise InputError(
        f"the predictor forecasts neither all {len(task.columns)} series at once ({reasons[0]}) nor one at a "
        f"time ({reasons[1]}); give one that was trained on this data"
    )


def _name(predictor: Predictor) -> str:
    """Its class, or that of its network where GluonTS has one predictor for all: DeepAR, PatchTST."""
    network = type(getattr(predictor, "prediction_net", None)).__name__
    name_of_class = type(predictor).__name__
    model = network.removesuffix("LightningModule")
    return model if name_of_class == "PyTorchPredictor" and model != network else name_of_class


def _first_window(task: Task) -> Task:
    """The task without its other windows."""
    return task._replace(
        histories=task.histories[:1],
        gaps=task.gaps[:1],
        starts=task.starts[:1],
        known=task.known[:1],
    )


def paths_of_all(
    predictor: TimeGradPredictor,
    task: Task,
    num_samples: int,
    seed: int,
    *,
    one_by_one: bool = False,
    progress: bool = True,
) -> Array:
    """Paths ``[W, S, T, D]`` of all windows: those that the `predict` of ours gives with the seed.

    Args:
        predictor: The model.
        task: Its windows.
        num_samples: S.
        seed: Of the paths.
        one_by_one: Show it an entry of each series, for models of one series.
        progress: Show a progress bar on stderr.
    """
    shown: list[Any] = list(task.known) or [_entry(window) for window in task.windows]
    if one_by_one:
        shown = [one for w in task.windows for one in entries(w.history, w.begin, task.columns)]
    forecasts = predictor.predict(shown, num_samples, seed=seed, progress=progress)
    drawn = np.stack([forecast.samples for forecast in forecasts])
    if not one_by_one:
        return drawn
    by_series = drawn.reshape(len(task.starts), len(task.columns), *drawn.shape[1:3])
    return np.moveaxis(by_series, 1, -1)


def _entry(window: Window) -> dict[str, Any]:
    """A window as a GluonTS entry with all series, target ``[D, T]``."""
    return {"item_id": window.item_id, "start": window.begin, "target": window.history.T}


def multivariate(predictor: Predictor, columns: list[str]) -> _Sampler:
    """Sampler that shows the predictor one entry with all series, target ``[D, T]``."""

    def sample(window: Window, num_samples: int, rng: np.random.Generator) -> Array:
        (paths,) = _predict(predictor, [_entry(window)], num_samples, rng)
        return paths[..., None] if paths.ndim == 2 else paths

    return sample


def univariate(predictor: Predictor, columns: list[str]) -> _Sampler:
    """Sampler that shows the predictor an entry of each series, target ``[T]``, and stacks the forecasts."""

    def sample(window: Window, num_samples: int, rng: np.random.Generator) -> Array:
        shown = entries(window.history, window.begin, columns)
        return np.stack(_predict(predictor, shown, num_samples, rng), axis=-1)

    return sample


def entries(values: Array, begin: pd.Period, columns: list[str]) -> list[dict[str, Any]]:
    """GluonTS entries of one series each, target ``[T]``, with their number as category."""
    return [
        {
            "item_id": column,
            "start": begin,
            "target": series,
            "feat_static_cat": np.array([d]),
        }
        for d, (column, series) in enumerate(zip(columns, values.T, strict=True))
    ]


def shown_to(forecaster: Estimator | Predictor, entry: Entry) -> Entry:
    """An entry for a forecaster: those of others multiply its target, as it is, with float32 weights."""
    if isinstance(forecaster, TimeGradEstimator | TimeGradPredictor):
        return entry
    return {**entry, "target": np.asarray(entry["target"], dtype=np.float32)}


def paths_of(forecast: Any, num_samples: int, rng: np.random.Generator | None = None) -> Array:
    """Sample paths ``[S, T]`` or ``[S, T, D]`` of a forecast of GluonTS.

    Samples are given as they are, and a distribution is drawn from by torch's global generator. Where there
    are fewer or more samples than asked for (one, of a point forecast), and of quantiles, paths are made with
    ``rng``: the samples over and over in random order, or as many quantiles, shuffled at each step. Without
    ``rng`` nothing is made up: samples keep their number, and quantiles are refused.

    Raises:
        InputError: There are quantiles only, and no ``rng``.
    """
    if not hasattr(forecast, "samples") and hasattr(forecast, "to_sample_forecast"):
        forecast = forecast.to_sample_forecast(num_samples)
    if hasattr(forecast, "samples"):
        samples = np.asarray(forecast.samples)
        if rng is None or len(samples) == num_samples:
            return samples
        return samples[np.resize(rng.permutation(len(samples)), num_samples)]
    if rng is None:
        raise InputError(
            f"the predictor gives a {type(forecast).__name__}, which has no sample paths; "
            "give one that draws samples"
        )
    levels = (np.arange(num_samples) + 0.5) / num_samples
    return rng.permuted(np.stack([forecast.quantile(level) for level in levels]), axis=0)


def _predict(
    predictor: Predictor, shown: list[dict[str, Any]], num_samples: int, rng: np.random.Generator
) -> list[Array]:
    """Sample paths of each entry; the random numbers of the global generators follow from `rng`."""
    if isinstance(predictor, TimeGradPredictor):
        seed = int(rng.integers(2**31))
        drawn = predictor.predict(shown, num_samples, seed=seed, progress=False)
        return [np.asarray(forecast.samples) for forecast in drawn]
    shown = [shown_to(predictor, entry) for entry in shown]
    with seeded(int(rng.integers(2**31))), quiet_business_days(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            forecasts = list(predictor.predict(shown, num_samples=num_samples))
        except TypeError:  # one that knows no number of paths
            forecasts = list(predictor.predict(shown))
        return [paths_of(forecast, num_samples, rng) for forecast in forecasts]
