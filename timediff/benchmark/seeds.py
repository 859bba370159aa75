"""One seed of an evaluation, from training to paths, or from a predictor that was trained before.

Everything that takes long is written down as soon as it is finished, in one folder per seed, so an
interrupted run loses at most one epoch: ``DIR/seed-1/`` holds ``checkpoints/last.ckpt`` while training, then
``predictor/``, ``paths.npy`` and ``result.json``.
"""

import json
import math
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from gluonts.torch.model.estimator import TrainOutput

from timediff.baselines import Task, draw
from timediff.baselines.external import fit_predictor, load_predictor
from timediff.benchmark.folder import save_paths
from timediff.benchmark.recalibration import fit_recalibration, from_json, recalibrate, to_json
from timediff.benchmark.record import mean_entrant
from timediff.benchmark.scoring import Exam, grade, split
from timediff.config import Options
from timediff.data.dataset import Dataset
from timediff.gluon.estimator import TimeGradEstimator
from timediff.gluon.predictor import TimeGradPredictor
from timediff.tools.device import device_of
from timediff.tools.files import plain, write_text


def seed_folder(options: Options, seed: int) -> Path:
    """Where a seed writes."""
    return options.out / f"seed-{seed}"


def make_estimator(
    options: Options, data: Dataset, seed: int, device: str, *, out: Path
) -> TimeGradEstimator:
    """The estimator of one seed."""
    kind, _, index = device.partition(":")
    return TimeGradEstimator(
        prediction_length=data.prediction_length,
        freq=data.train[0]["start"].freqstr,
        target_dim=len(data.columns),
        model=options.model,
        train=options.train._replace(seed=seed),
        sampling=options.sampling,
        trainer_kwargs={
            "default_root_dir": str(out),
            "accelerator": {"cuda": "gpu"}.get(kind, kind),
            "devices": [int(index or 0)] if kind == "cuda" else 1,
        },
    )


def run_seed(options: Options, exam: Exam, task: Task, seed: int, device: str) -> dict[str, Any]:
    """Result of one seed, from what is stored if it is there already; its scores are always made anew."""
    folder = seed_folder(options, seed)
    finished = folder / "result.json"
    if finished.is_file():
        result = json.loads(finished.read_text())
    else:
        if len(options.seeds) > 1:
            print(f"seed {seed}", file=sys.stderr)
        folder.mkdir(exist_ok=True)
        run = _forecast_with if options.predictor else _train_and_forecast
        paths, result = run(options, exam.data, task, seed, device)
        save_paths(folder / "paths.npy", paths)
    paths = np.load(folder / "paths.npy", mmap_mode="r")
    result |= grade(exam, paths)
    if not finished.is_file():
        kept = {k: v for k, v in result.items() if k not in ("protocols", "windows")}
        write_text(finished, json.dumps(plain(kept), indent=1) + "\n")
    return _with_density(options, exam.data, result)


def _train_and_forecast(
    options: Options, data: Dataset, task: Task, seed: int, device: str
) -> tuple[np.ndarray, dict[str, Any]]:
    """Paths ``[W, S, T, D]``, and what is to be known of the training."""
    known, _ = split(data.test, data.prediction_length)
    output, training_seconds = _train(options, data, seed, device)
    predictor, started = output.predictor, time.perf_counter()
    predictor.to(device)
    forecasts = predictor.predict(known, options.num_samples, seed=seed)
    paths = np.stack([forecast.samples for forecast in forecasts])  # [W, S, T, D]
    sampling_seconds = time.perf_counter() - started
    predictor.serialize(seed_folder(options, seed) / "predictor")
    network = predictor.prediction_net
    return paths, {
        "seed": seed,
        "seconds": {"training": training_seconds, "sampling": sampling_seconds},
        "steps": output.trainer.global_step,
        "network_calls": network.network_calls(predictor.sampling),
        "parameters": sum(p.numel() for p in network.parameters()),
        "shape": network.shape._asdict(),
        "history": output.trained_net.history,
    }


def _forecast_with(
    options: Options, data: Dataset, task: Task, seed: int, device: str
) -> tuple[np.ndarray, dict[str, Any]]:
    """Paths of the predictor that was given, and what is to be known of it."""
    assert options.predictor is not None
    predictor = load_predictor(options.predictor, device=device)
    fitted, started = fit_predictor(predictor, task), time.perf_counter()
    paths = draw(fitted, task, num_samples=options.num_samples, seed=seed, name="sampling")
    network = getattr(predictor, "prediction_net", None)
    size = None if network is None else sum(p.numel() for p in network.parameters())
    return paths, {
        "seed": seed,
        "seconds": {"training": None, "sampling": time.perf_counter() - started},
        "predictor": fitted.details,
        **{"steps": None, "network_calls": None, "parameters": size},
    }


def recalibrated(options: Options, exam: Exam, device: str) -> dict[str, Any]:
    """Our scores before and after recalibration on the validation windows: means over the seeds."""
    before, after = [], []
    for seed in options.seeds:
        folder = seed_folder(options, seed)
        file = folder / "recalibration.json"
        if not file.is_file():
            predictor = TimeGradPredictor.deserialize(folder / "predictor", device=device)
            _, held = hold_out(exam.data, options.validation_windows)
            known, truth = split(held or [], exam.data.prediction_length)
            found = predictor.predict(known, options.num_samples, seed=seed)
            fitted = fit_recalibration(np.stack([one.samples for one in found]), truth)
            write_text(file, to_json(fitted) + "\n")
        before.append(grade(exam, np.load(folder / "paths.npy", mmap_mode="r")))
        after.append(grade(exam, recalibrated_paths(options, seed)))
    own = mean_entrant(after)
    return {
        "title": "timediff, recalibrated",
        "note": "A map of each series and of the sum, fitted on the held-out windows at the end of the "
        f"training data ({options.validation_windows}); means over the seeds.",
        "before": mean_entrant(before)["metrics"],
        "after": own["metrics"],
        "after_se": own["metrics_se"],
        "aggregates": own["aggregates"],
        "protocols": own["protocols"],
    }


def recalibrated_paths(options: Options, seed: int) -> np.ndarray:
    """A seed's paths ``[W, S, T, D]`` through the map that `recalibrated` has written."""
    folder = seed_folder(options, seed)
    fitted = from_json((folder / "recalibration.json").read_text())
    return recalibrate(fitted, np.load(folder / "paths.npy", mmap_mode="r"))


def _with_density(options: Options, data: Dataset, result: dict[str, Any]) -> dict[str, Any]:
    """The result of a seed with its likelihood, from the trained predictor, if it is asked for."""
    if not options.nll:
        return result
    folder = seed_folder(options, result["seed"])
    file = folder / "nll.json"
    if not file.is_file():
        device = device_of(options.device)
        predictor = TimeGradPredictor.deserialize(folder / "predictor", device=device)
        found = _density(data, predictor, result["seed"])
        write_text(file, json.dumps(plain(found), indent=1) + "\n")
    return {**result, "nll": json.loads(file.read_text())}


def _density(data: Dataset, predictor: TimeGradPredictor, seed: int) -> dict[str, Any]:
    """Bound and likelihood of the test windows per dimension, and the terms of the bound."""
    density, left_out = predictor.density(data.test, seed=seed)
    shape = predictor.prediction_net.shape
    entries = shape.horizon * shape.target_dim
    terms = (density.bound.mean(dim=-1) / entries).tolist()
    log_scale = float(density.log_scale.mean()) / entries
    bound, nll = sum(terms) + log_scale, float(density.nll.mean()) / entries
    windows = len(density.nll)
    error = float(density.nll_error.square().sum().sqrt()) / windows / entries
    return {
        "scores": {
            "bound": bound,
            "bound_bits": bound / math.log(2),
            "nll": nll,
            "nll_bits": nll / math.log(2),
            "nll_error": error,
        },
        "terms": terms,
        "log_scale": log_scale,
        "windows": windows,
        "left_out": left_out,
    }


def _train(options: Options, data: Dataset, seed: int, device: str) -> tuple[TrainOutput, float]:
    """The trained network, and the seconds it took, those before an interrupt included."""
    folder = seed_folder(options, seed)
    folder.mkdir(exist_ok=True)
    checkpoint, spent = folder / "checkpoints" / "last.ckpt", folder / "seconds.json"
    seconds = json.loads(spent.read_text()) if spent.is_file() else 0.0
    training, validation = hold_out(data, options.validation_windows)
    estimator = make_estimator(options, data, seed, device, out=folder)
    said = (
        ["some series say little", "after .* diffusion steps"] if seed != options.seeds[0] else []
    )
    started = time.perf_counter()
    try:
        with warnings.catch_warnings():
            for message in said:
                warnings.filterwarnings("ignore", message=message)
            output = estimator.train_model(
                training, validation, ckpt_path=checkpoint if checkpoint.is_file() else None
            )
    finally:
        seconds += time.perf_counter() - started
        write_text(spent, json.dumps(seconds))
    return output, seconds


def hold_out(data: Dataset, held: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]] | None]:
    """Training entries named by column, and ``held`` validation entries cut from their end."""
    (entry,) = data.train
    entry = {**entry, "info": {"columns": data.columns}}
    horizon = data.prediction_length
    if not held:
        return [entry], None
    whole = entry["target"]
    ends = [whole.shape[1] - horizon * k for k in range(held, -1, -1)]
    first, *rest = ({**entry, "target": whole[:, :end]} for end in ends)
    return [first], rest
