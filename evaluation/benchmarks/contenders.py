"""What `speed.py` times: the reference, the paper's preset and the default, on the same synthetic data.

Data is hourly and weights are random: speed depends on neither.
"""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback
from machine import synchronize
from operators import flops
from reference import Reference, Windows, make_optimizer, training_step

from timediff.data.entry import Entry, cut_entry
from timediff.frequency import default_difference, default_lags, num_time_features
from timediff.gluon.entries import read_dataset
from timediff.gluon.estimator import TimeGradEstimator
from timediff.gluon.predictor import TimeGradPredictor
from timediff.gluon.windows import WindowData, forecast_batch
from timediff.presets import PRESETS
from timediff.timegrad.batch import Batch, Shape
from timediff.timegrad.model import TimeGrad

FREQ, HORIZON, PATHS, WINDOWS, BATCH = "h", 24, 100, 7, 64


def hourly(dim: int, *, windows: int = 1) -> list[Entry]:
    """Entries of the same series, each a day longer than the one before."""
    hours = 24 * (40 + windows)
    rng = np.random.default_rng(0)
    daily = np.sin(2 * np.pi * (np.arange(hours) / 24 + rng.random((dim, 1)))) + 2
    target = (daily + 0.2 * rng.normal(size=(dim, hours))).astype(np.float32)
    start = pd.Period("2024-01-01", freq=FREQ)
    whole = {"start": start, "target": target}
    ends = (hours - 24 * i for i in reversed(range(windows)))
    return [{**cut_entry(whole, end=end), "item_id": str(end)} for end in ends]


def shape_of(dim: int, *, horizon: int, difference: int) -> Shape:
    """Sizes of the data for a model of this horizon; context and lags stay those of the whole one."""
    return Shape(
        dim, horizon, HORIZON, default_lags(FREQ), num_time_features(FREQ), difference=difference
    )


def make_predictor(
    preset: str, dim: int, *, device: str, horizon: int = HORIZON, steps: int | None = None
) -> TimeGradPredictor:
    """The preset's predictor with random weights, and with other sampling steps where they are given."""
    config, sampling = PRESETS[preset].model, PRESETS[preset].sampling
    difference = default_difference(FREQ) if config.difference is None else config.difference
    torch.manual_seed(0)
    model = TimeGrad(config, shape_of(dim, horizon=horizon, difference=difference)).to(device)
    return TimeGradPredictor(
        model,
        sampling=sampling if steps is None else sampling._replace(steps=steps),
        freq=FREQ,
        prediction_length=horizon,
        device=device,
    )


def forecast(predictor: TimeGradPredictor, entries: list[Entry]) -> Callable[[], None]:
    """All of a forecast, from GluonTS entries to sample paths, ready to be run."""

    def run() -> None:
        for _ in predictor.predict(entries, PATHS, seed=1, progress=False):
            pass

    return run


def network_calls(predictor: TimeGradPredictor) -> int:
    """Network calls of a forecast, as the library tells them."""
    return predictor.prediction_net.network_calls(predictor.sampling)


def forecast_flops(preset: str, dim: int, *, windows: int) -> int:
    """Floating-point operations of the products and convolutions of a forecast.

    Counted while two and three steps of the chain run on the CPU: the rest of them cost the same.
    """
    entries, few = hourly(dim, windows=windows), []
    for steps in (2, 3):
        predictor = make_predictor(preset, dim, device="cpu", steps=steps)
        few.append((network_calls(predictor), flops(forecast(predictor, entries))))
    (fewer, low), (more, high) = few
    calls = network_calls(make_predictor(preset, dim, device="cpu"))
    return low + (calls - fewer) * (high - low) // (more - fewer)


def moved(batch: Batch, device: str) -> Windows:
    return Windows(*(x.to(device) for x in batch))


def make_reference(dim: int, *, device: str, horizon: int = HORIZON) -> Reference:
    shape = shape_of(dim, horizon=horizon, difference=0)
    torch.manual_seed(0)
    return Reference(
        dim,
        lags=shape.lags,
        horizon=horizon,
        context=shape.context_length,
        num_features=shape.num_features,
        cell=PRESETS["paper"].model.cell,
        steps=PRESETS["paper"].model.diffusion_steps,
    ).to(device)


def reference_forecast(dim: int, *, device: str, horizon: int = HORIZON) -> Callable[[], Any]:
    """100 paths of one window by the reference, ready to be run."""
    model = make_reference(dim, device=device, horizon=horizon).eval()
    shape = shape_of(dim, horizon=horizon, difference=0)
    windows = moved(forecast_batch(read_dataset(hourly(dim)), shape), device)
    return lambda: model.sample(windows, paths=PATHS)


def reference_training_step(dim: int, *, device: str) -> Callable[[], Any]:
    """One training step of the reference on a batch that is there already, ready to be run."""
    model = make_reference(dim, device=device).train()
    data = WindowData(read_dataset(hourly(dim)), shape_of(dim, horizon=HORIZON, difference=0))
    windows = moved(data.windows(data.starts[:BATCH]), device)
    optimizer = make_optimizer(model)
    return lambda: training_step(model, optimizer, windows)


class _Ends(Callback):
    """When each training step ended."""

    def __init__(self, device: str) -> None:
        self.device, self.seconds = device, []

    def on_train_batch_end(self, *_: Any) -> None:
        synchronize(self.device)
        self.seconds.append(time.perf_counter())


def training_seconds(preset: str, dim: int, *, device: str, steps: int) -> list[float]:
    """Seconds of each training step but the first two, as the estimator takes them.

    From one step's end to the next: cutting the windows, forward and backward pass, clipping, optimiser,
    learning rate and running average.
    """
    ends = _Ends(device)
    options = PRESETS[preset]
    estimator = TimeGradEstimator(
        prediction_length=HORIZON,
        model=options.model,
        train=options.train._replace(
            steps=steps, steps_per_epoch=steps, batch_size=BATCH, patience=0, seed=1
        ),
        progress=False,
        trainer_kwargs={
            "accelerator": "gpu" if device.startswith("cuda") else "cpu",
            "devices": 1,
            "enable_checkpointing": False,
            "callbacks": [ends],
        },
    )
    estimator.train(hourly(dim))
    return [later - earlier for earlier, later in pairwise(ends.seconds[1:])]
