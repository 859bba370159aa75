"""TimeGrad as an entrant: its training, its paths, their likelihood, and their recalibration.

What takes long is written into the folder of its seed as soon as it is finished, so that an interrupted run
loses at most one epoch: ``checkpoints/last.ckpt`` while training, then ``predictor/``, and ``nll.json`` and
``recalibration.json`` where they are asked for.
"""

import json
import math
import time
import warnings
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from gluonts.torch.model.estimator import TrainOutput

from timediff.baselines.external import multivariate, paths_of_all
from timediff.baselines.task import Array, Fitted, Task
from timediff.benchmark.folder import salvaged
from timediff.benchmark.recalibration import (
    Recalibration,
    fit_recalibration,
    from_json,
    recalibrate,
    to_json,
)
from timediff.benchmark.record import Likelihood, as_json
from timediff.config import Preset
from timediff.data.entry import Entry, hold_out, split_windows
from timediff.gluon.estimator import TimeGradEstimator
from timediff.gluon.predictor import TimeGradPredictor
from timediff.tools.files import write_text
from timediff.training.checkpoints import latest_state

__all__ = ["Trained", "fit_ours"]


def fit_ours(
    task: Task,
    *,
    seed: int,
    folder: Path,
    options: Preset,
    validation_windows: int,
    device: str,
    first_seed: int,
) -> Fitted:
    """The trained predictor, which is kept in the folder of the seed too, as is what training goes on from.

    The first seed of a run warns of data and options, which are the same for all.
    """
    assert task.training is not None
    estimator = _estimator(task, options, seed=seed, device=device, folder=folder)
    training, held = hold_out(task.training, task.horizon, validation_windows)
    output, seconds = _train(estimator, training, held, folder=folder, quiet=seed != first_seed)
    predictor = output.predictor
    predictor.to(device)
    predictor.serialize(folder / "predictor")
    network = predictor.prediction_net
    details = {
        "steps": output.trainer.global_step,
        "network_calls": network.network_calls(predictor.sampling),
        "parameters": sum(p.numel() for p in network.parameters()),
        "shape": network.shape.plain(),
        "history": output.trained_net.history,
        **predictor.choices,
    }

    bulk = partial(paths_of_all, predictor)
    return Fitted(multivariate(predictor, task.columns), details, bulk, seconds)


class Trained(NamedTuple):
    """What `fit_ours` left in the folder of a seed, for what else is asked for of it."""

    folder: Path
    seed: int
    device: str

    def predictor(self) -> TimeGradPredictor:
        """The trained predictor."""
        return TimeGradPredictor.deserialize(self.folder / "predictor", device=self.device)

    def is_whole(self, otherwise: str) -> bool:
        """Whether the predictor can be read, if there is one; that it cannot is told."""
        place = self.folder / "predictor"
        return not place.exists() or (
            salvaged(place, lambda _: self.predictor(), otherwise) is not None
        )

    def likelihood(self, test: list[Entry]) -> Likelihood:
        """Bound and likelihood of the test windows per dimension, kept in the folder."""
        file = self.folder / "nll.json"
        stored = salvaged(file, _read_likelihood, "it is computed again")
        if stored is not None:
            return stored
        write_text(file, as_json(_likelihood(self.predictor(), test, self.seed)) + "\n")
        return _read_likelihood(file)

    def recalibrated(self, paths: Array, task: Task, *, windows: int) -> Array:
        """The paths after the map fitted on so many validation windows, which is kept in the folder."""
        file, predictor = self.folder / "recalibration.json", self.predictor()
        fitted = salvaged(file, _read_recalibration, "it is fitted again")
        if fitted is None:
            assert task.training is not None
            _, held = hold_out(task.training, task.horizon, windows)
            known, truth = split_windows(held, task.horizon)
            forecasts = predictor.predict(known, paths.shape[1], seed=self.seed)
            fitted = fit_recalibration(
                np.stack([forecast.samples for forecast in forecasts]), truth
            )
            write_text(file, to_json(fitted) + "\n")
        return predictor.supported(recalibrate(fitted, paths))


def _read_likelihood(file: Path) -> Likelihood:
    return Likelihood(**json.loads(file.read_text()))


def _read_recalibration(file: Path) -> Recalibration:
    return from_json(file.read_text())


def _likelihood(predictor: TimeGradPredictor, test: list[Entry], seed: int) -> Likelihood:
    density, left_out = predictor.density(test, seed=seed)
    shape = predictor.prediction_net.shape
    entries = shape.horizon * shape.target_dim
    terms = (density.bound.mean(dim=-1) / entries).tolist()
    log_scale = float(density.log_scale.mean()) / entries
    bound, nll = sum(terms) + log_scale, float(density.nll.mean()) / entries
    windows = len(density.nll)
    error = float(density.nll_error.square().sum().sqrt()) / windows / entries
    scores: dict[str, float | None] = {
        "bound": bound,
        "bound_bits": bound / math.log(2),
        "nll": nll,
        "nll_bits": nll / math.log(2),
        "nll_error": error,
    }
    return Likelihood(scores, terms, log_scale, windows, left_out)


def _estimator(
    task: Task, options: Preset, *, seed: int, device: str, folder: Path
) -> TimeGradEstimator:
    kind, _, index = device.partition(":")
    return TimeGradEstimator(
        prediction_length=task.horizon,
        freq=task.begin.freqstr,
        target_dim=len(task.columns),
        model=options.model,
        train=options.train._replace(seed=seed),
        sampling=options.sampling,
        trainer_kwargs={
            "default_root_dir": str(folder),
            "accelerator": {"cuda": "gpu"}.get(kind, kind),
            "devices": [int(index or 0)] if kind == "cuda" else 1,
        },
    )


def _train(
    estimator: TimeGradEstimator,
    training: Entry,
    held: list[Entry],
    *,
    folder: Path,
    quiet: bool,
) -> tuple[TrainOutput, float]:
    """The trained network, and the seconds it took, those before an interrupt included."""
    checkpoint = latest_state(folder)
    spent = folder / "seconds.json"
    seconds = salvaged(spent, _read_seconds, "the seconds before are not counted") or 0.0
    started = time.perf_counter()
    try:
        with warnings.catch_warnings():
            for message in ("some series say little", "after .* diffusion steps") if quiet else ():
                warnings.filterwarnings("ignore", message=message)
            output = estimator.train_model([training], held or None, ckpt_path=checkpoint)
    finally:
        seconds += time.perf_counter() - started
        write_text(spent, json.dumps(seconds))
    return output, seconds


def _read_seconds(file: Path) -> float:
    return float(json.loads(file.read_text()))
