"""Tiny data and tiny networks: a training takes a fraction of a second."""

import json
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

from timediff.config import ModelConfig, TrainConfig
from timediff.gluon.estimator import TimeGradEstimator

#: What Lightning says of short trainings in a folder that others used before.
QUIET = pytest.mark.filterwarnings(
    "ignore:.*LeafSpec.*",
    "ignore:.*validation_step.*",
    "ignore:Checkpoint directory.*",
    "ignore:.*does not have many workers.*",
    "ignore:.*DataFrame.sum.*",
    "ignore:after 5 diffusion steps.*",
)
HORIZON = 4


class Watching:
    """A callback that tests read: a training has copies of its callbacks, and of these itself."""

    def __deepcopy__(self, memo):
        return self


MODEL = ModelConfig(
    scaling="global",
    variance="small",
    num_layers=1,
    hidden_size=6,
    lags=[1, 3],
    difference=0,
    context_length=6,
    cond_size=4,
    denoiser_layers=1,
    denoiser_width=8,
    diffusion_steps=5,
)
HISTORY = 6 + 3
TRAIN = TrainConfig(steps=6, steps_per_epoch=3, batch_size=4, ema_decay=0.9, seed=1)


def period(freq: str, stamp: str = "2020-01-06") -> pd.Period:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # pandas, about business days
        return pd.Period(stamp, freq=freq)


def entry(dim=3, length=60, *, freq="h", seed=0, item_id="a", **fields) -> dict[str, Any]:
    """Waves with noise, ``[D, T]``."""
    rng = np.random.default_rng(seed)
    t = np.arange(length)
    waves = np.sin(2 * np.pi * (t + np.arange(dim)[:, None]) / 8) + 2
    target = (waves + 0.2 * rng.normal(size=waves.shape)).astype(np.float32)
    return {"item_id": item_id, "start": period(freq), "target": target, **fields}


def estimator(folder, **options) -> TimeGradEstimator:
    """A quiet estimator of tiny size that keeps its checkpoints in ``folder``."""
    trainer = {"default_root_dir": str(folder), "accelerator": "cpu"}
    trainer |= options.pop("trainer_kwargs", {})
    defaults = {"prediction_length": HORIZON, "model": MODEL, "train": TRAIN, "progress": False}
    return TimeGradEstimator(**(defaults | options), trainer_kwargs=trainer)


def weights(network) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in network.state_dict().items()}


def same_weights(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def paths(predictor, dataset, *, num_samples=20, seed=5) -> np.ndarray:
    """Samples of every entry, ``[W, S, T, D]``."""
    forecasts = predictor.predict(dataset, num_samples, seed=seed, progress=False)
    return np.stack([forecast.samples for forecast in forecasts])


def wide_folder(path, *, length=120, dim=3, values=None, windows=2, **meta):
    """A folder with a wide CSV table and its metadata."""
    path.mkdir(parents=True, exist_ok=True)
    values = entry(dim, length)["target"].T if values is None else values
    index = pd.date_range("2020-01-06", periods=len(values), freq="h", name="time")
    columns = [f"load {d}" for d in range(values.shape[1])]
    pd.DataFrame(values, index=index, columns=columns).to_csv(path / "data.csv")
    meta = {"freq": "H", "prediction_length": HORIZON, "rolling_windows": windows, **meta}
    (path / "meta.json").write_text(json.dumps(meta))
    return path


#: Options of the command line that make a run as small as `MODEL` and `TRAIN`.
TINY = [
    *("--num-samples", "20", "--device", "cpu", "--no-report", "--model.num_layers", "1"),
    *(
        "--model.hidden_size",
        "6",
        "--model.lags",
        "[1, 3]",
        "--model.difference",
        "0",
        "--model.scaling",
        "global",
        "--model.context_length",
        "6",
    ),
    *("--model.cond_size", "4", "--model.denoiser_layers", "1", "--model.denoiser_width", "8"),
    *("--model.diffusion_steps", "5", "--train.steps", "9", "--train.steps_per_epoch", "3"),
    *("--train.batch_size", "4", "--train.ema_decay", "0.9"),
]
