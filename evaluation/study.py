"""What the studies of this folder share: training, forecasting and scoring, jobs, files and records.

A job is a function of a module that trains or forecasts and returns plain values; `cached` keeps them in a
file, so that nothing finished is repeated, and `processes` run jobs side by side, one thread each.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from timediff import (
    ModelConfig,
    SamplingConfig,
    TimeGradEstimator,
    TimeGradPredictor,
    TrainConfig,
)
from timediff.data.entry import split_windows
from timediff.tools.files import plain, write_text
from timediff.tools.machine import commit, hardware

RESULTS = Path(__file__).resolve().parent / "results"


class Trained(NamedTuple):
    """A predictor, and the optimiser steps and seconds that it took."""

    predictor: TimeGradPredictor
    steps: int
    seconds: float


class Forecast(NamedTuple):
    """Paths ``[W, S, T, D]`` of windows, what happened ``[W, T, D]``, and the seconds of the paths."""

    paths: np.ndarray
    truth: np.ndarray
    seconds: float


def train(
    entries: Sequence[dict[str, Any]],
    horizon: int,
    *,
    model: ModelConfig = ModelConfig(),  # noqa: B008 (immutable)
    train: TrainConfig,
    sampling: SamplingConfig = SamplingConfig(),  # noqa: B008
) -> Trained:
    """TimeGrad trained on entries, on one thread of the CPU."""
    estimator = TimeGradEstimator(
        prediction_length=horizon,
        model=model,
        train=train,
        sampling=sampling,
        progress=False,
        trainer_kwargs={"accelerator": "cpu"},
    )
    started = time.perf_counter()
    output = estimator.train_model(entries)
    seconds = time.perf_counter() - started
    return Trained(output.predictor, output.trainer.global_step, seconds)


def kept(folder: Path, make: Callable[[], TimeGradPredictor]) -> TimeGradPredictor:
    """The predictor of a folder; made and saved there if there is none."""
    if not folder.is_dir():
        make().serialize(folder)
    return TimeGradPredictor.deserialize(folder, device="cpu")


def forecast(
    predictor: TimeGradPredictor,
    windows: Sequence[dict[str, Any]],
    horizon: int,
    *,
    num_samples: int,
    seed: int,
) -> Forecast:
    """Paths of windows that end with their truth."""
    known, truth = split_windows(windows, horizon)
    started = time.perf_counter()
    forecasts = predictor.predict(known, num_samples, seed=seed, progress=False)
    paths = np.stack([each.samples for each in forecasts])
    return Forecast(paths, truth, time.perf_counter() - started)


def cached(file: Path, make: Callable[[], Any]) -> Any:
    """The plain values of a file; made and written, whole or not at all, if it is not there."""
    if not file.is_file():
        write_text(file, json.dumps(make()))
    return json.loads(file.read_text())


@contextmanager
def processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """So many processes of one thread each: two with two threads would wait for one another."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        yield pool


def mean_of(values: Sequence[float]) -> dict[str, Any]:
    """Mean of the seeds, its standard error, and the values."""
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / max(len(values) - 1, 1))
    return {"mean": mean, "se": spread / math.sqrt(len(values)), "values": list(values)}


def parser_of(description: str | None, work: str) -> argparse.ArgumentParser:
    """The options of every study; the description is the first line of a docstring."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--work", type=Path, default=Path(work), help="finished runs")
    return parser


def finish(record: dict[str, Any], out: Path, *, threads: int | None = 1) -> None:
    """Writes a record with its commit and machine."""
    machine = hardware("cpu")
    if threads is not None:
        machine["threads"] = threads
    content = {**record, "commit": commit(), "hardware": machine}
    write_text(out, json.dumps(plain(content), indent=1) + "\n")
