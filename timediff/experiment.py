"""One evaluation from data to record: what ``python -m timediff.evaluate`` does.

What cannot be trained on or scored is refused first. Everything that takes long is written down as
soon as it is finished, one folder per seed, so an interrupted run loses at most one epoch:
``DIR/seed-1/`` holds ``checkpoints/last.ckpt`` while training, then ``predictor/``, ``paths.npy`` and
``result.json``.
"""

import json
import logging
import math
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gluonts.torch.model.estimator import TrainOutput

from timediff.baselines import best_seasonal_naive
from timediff.config import Options
from timediff.datasets import Dataset, load_dataset
from timediff.errors import InputError
from timediff.estimator import TimeGradEstimator
from timediff.frequency import quiet_business_days, seasons
from timediff.metrics import score, score_aggregate
from timediff.outputs import locked, prepare, stamps, write_forecasts, write_text
from timediff.plots import bound_figure, forecast_figure, save_figure
from timediff.predictor import TimeGradPredictor
from timediff.record import as_json, as_text, make_record, plain


def run(options: Options) -> dict[str, Any]:
    """Trains, forecasts and scores every seed; writes record, forecasts and picture; returns the record.

    Raises:
        InputError: Something in the options or the data does not make sense, said before training.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    device, out = _device(options.device), options.out
    with quiet_business_days():
        data = load_dataset(
            options.dataset, data_dir=options.data_dir, align_clock=options.align_clock
        )
        _check(options, data)
        known, truth = split(data.test, data.prediction_length)
        naive, baseline = _baseline(options, data, known, truth)
        with locked(out):
            prepare(options, data)
            results = [_run_seed(options, data, seed, device) for seed in options.seeds]
            share = float(np.isfinite(truth).mean())
            record = make_record(
                options, data, results, baseline=baseline, observed_share=share, device=device
            )
            write_text(out / "record.json", as_json(record) + "\n")
            write_text(out / "table.txt", as_text(record, out) + "\n")
            paths = [
                np.load(_folder(options, s) / "paths.npy", mmap_mode="r") for s in options.seeds
            ]
            write_forecasts(options, data, paths)
            _draw(options, data, np.asarray(paths[0][-1]), naive)
            if options.nll:
                found = [result["nll"] for result in results]
                figure = bound_figure(
                    np.asarray([one["terms"] for one in found], dtype=float),
                    log_scale=np.asarray([one["log_scale"] for one in found]),
                    title=f"{data.name}: variational bound",
                )
                save_figure(figure, out / "nll.png")
    return record


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda"):
        found = torch.cuda.device_count()
        if int(name.partition(":")[2] or 0) >= found:
            raise InputError(
                f"device {name} is not there ({found} CUDA devices found); use --device cpu"
            )
    return name


def _check(options: Options, data: Dataset) -> None:
    """Everything that can be known to make training fail before it does."""
    _estimator(options, data, options.seeds[0], "cpu", out=options.out)
    train = data.train[0]["target"].shape[1] - options.validation_windows * data.prediction_length
    if train <= data.prediction_length:
        raise InputError(
            f"{data.name} has {max(train, 0)} training steps left for a horizon of "
            f"{data.prediction_length}, so there is no window to train on; "
            "give more data or fewer --validation-windows"
        )
    if options.nll and all(
        np.isnan(one).any() for one in split(data.test, data.prediction_length)[1]
    ):
        raise InputError(
            f"every test window of {data.name} has missing targets, so there is no likelihood to report; "
            "leave out --nll"
        )
    if options.validation_windows and options.model.schedule == "learned":
        raise InputError(
            "a learned schedule has no validation loss that compares between epochs; leave out "
            "--validation-windows, or choose another schedule"
        )


def split(windows: list[dict[str, Any]], horizon: int) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Entries with what is known before each window, and the truth ``[W, T, D]``."""
    known = [{**entry, "target": entry["target"][:, :-horizon]} for entry in windows]
    return known, np.stack([entry["target"][:, -horizon:].T for entry in windows])


def _baseline(
    options: Options, data: Dataset, known: list[dict[str, Any]], truth: np.ndarray
) -> tuple[np.ndarray, dict[str, Any]]:
    """The seasonal naive paths of the last window, ``[S, T, D]``, and the scores of all windows."""
    train = data.train[0]
    try:
        naive, by_season = best_seasonal_naive(
            train["target"].T,
            [entry["target"].T for entry in known],
            truth,
            gaps=[_end(entry) - _end(train) for entry in known],
            seasons=seasons(data.freq),
            num_samples=options.num_samples,
            seed=options.seeds[0],
        )
        scores = {**score(naive, truth), "aggregates": _aggregates(data, naive, truth)}
    except InputError as error:
        raise InputError(f"dataset {data.name} cannot be scored: {error}") from error
    return naive[-1], {
        "season": next(iter(by_season)),
        "mean_wquantile_loss_sum_by_season": {str(s): value for s, value in by_season.items()},
        **scores,
    }


def _end(entry: dict[str, Any]) -> int:
    """The first step after an entry, counted from the calendar's origin."""
    # Ordinals count base units: two for each step of a period of "2h".
    return entry["start"].ordinal // entry["start"].freq.n + entry["target"].shape[1]


def _aggregates(data: Dataset, paths: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    scores = {}
    for name, aggregate in data.aggregates.items():
        try:
            values = score_aggregate(paths, truth, weights=aggregate.weights)
        except InputError as error:
            raise InputError(f"aggregate {name}: {error}") from error
        scores[name] = {"unit": aggregate.unit, **values}
    return scores


def _folder(options: Options, seed: int) -> Path:
    return options.out / f"seed-{seed}"


def _estimator(
    options: Options, data: Dataset, seed: int, device: str, *, out: Path
) -> TimeGradEstimator:
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


def _run_seed(options: Options, data: Dataset, seed: int, device: str) -> dict[str, Any]:
    """Result of one seed, as stored if it is there already."""
    folder = _folder(options, seed)
    finished = folder / "result.json"
    if finished.is_file():
        return _with_density(options, data, json.loads(finished.read_text()))
    if len(options.seeds) > 1:
        print(f"seed {seed}", file=sys.stderr)
    known, truth = split(data.test, data.prediction_length)
    output, training_seconds = _train(options, data, seed, device)
    predictor, started = output.predictor, time.perf_counter()
    predictor.to(device)
    forecasts = predictor.predict(known, options.num_samples, seed=seed)
    paths = np.stack([forecast.samples for forecast in forecasts])  # [W, S, T, D]
    sampling_seconds = time.perf_counter() - started
    predictor.serialize(folder / "predictor")
    partial = folder / "paths.partial.npy"
    np.save(partial, paths.astype(np.float32))
    os.replace(partial, folder / "paths.npy")
    network = predictor.prediction_net
    result = {
        "seed": seed,
        "metrics": score(paths, truth),
        "aggregates": _aggregates(data, paths, truth),
        "seconds": {"training": training_seconds, "sampling": sampling_seconds},
        "steps": output.trainer.global_step,
        "network_calls": network.network_calls(predictor.sampling),
        "parameters": sum(p.numel() for p in network.parameters()),
        "shape": network.shape._asdict(),
        "history": output.trained_net.history,
    }
    write_text(finished, json.dumps(plain(result), indent=1) + "\n")
    return _with_density(options, data, result)


def _with_density(options: Options, data: Dataset, result: dict[str, Any]) -> dict[str, Any]:
    """The result of a seed with its likelihood, from the trained predictor, if it is asked for."""
    if not options.nll:
        return result
    folder = _folder(options, result["seed"])
    file = folder / "nll.json"
    if not file.is_file():
        device = _device(options.device)
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
    folder = _folder(options, seed)
    folder.mkdir(exist_ok=True)
    checkpoint, spent = folder / "checkpoints" / "last.ckpt", folder / "seconds.json"
    seconds = json.loads(spent.read_text()) if spent.is_file() else 0.0
    training, validation = hold_out(data, options.validation_windows)
    estimator = _estimator(options, data, seed, device, out=folder)
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


def _draw(options: Options, data: Dataset, paths: np.ndarray, naive: np.ndarray) -> None:
    """The last window: paths of the first seed and of the baseline, ``[S, T, D]``."""
    entry, horizon = data.test[-1], data.prediction_length
    shown = entry["target"][:, -5 * horizon :].T
    figure = forecast_figure(
        shown[:-horizon],
        shown[-horizon:],
        paths,
        columns=data.columns,
        stamps=stamps(entry, len(shown)),
        title=f"{data.name}: last test window",
        baseline=naive,
        baseline_name="seasonal naive",
    )
    save_figure(figure, options.out / "forecast.png")
