"""One evaluation from data to record: what ``python -m timediff.evaluate`` does.

Everything that takes long is written down as soon as it is finished, one folder per seed, so an
interrupted run loses at most one epoch: ``DIR/seed-1/`` holds ``checkpoints/last.ckpt`` while training,
then ``predictor/``, ``paths.npy`` and ``result.json``.
"""

import json
import logging
import math
import os
import platform
import shutil
import subprocess
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from timediff import frequency
from timediff.baselines import best_seasonal_naive
from timediff.config import Options
from timediff.datasets import Dataset, load_dataset
from timediff.errors import InputError
from timediff.estimator import TimeGradEstimator
from timediff.metrics import METRICS, score, score_aggregate
from timediff.plots import forecast_figure, save_figure


def run(options: Options) -> dict[str, Any]:
    """Trains, forecasts and scores every seed; writes record, forecasts and picture; returns the record.

    Raises:
        InputError: Something in the options or the data does not make sense, said before training.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    device = _device(options.device)
    data = _load(options)
    history, truth = _split(data)
    _check(options, data)
    _prepare(options, data)

    results = []
    for seed in options.seeds:
        results.append(_run_seed(options, data, truth, seed, device))
    paths = [np.load(_folder(options, seed) / "paths.npy", mmap_mode="r") for seed in options.seeds]
    naive, seasons = best_seasonal_naive(
        data.train[0]["target"].T,
        history,
        truth,
        seasons=frequency.seasons(data.freq),
        num_samples=options.num_samples,
        seed=options.seeds[0],
    )
    record = _record(options, data, truth, results, device)
    record["baselines"] = {
        "seasonal_naive": {
            "season": next(iter(seasons)),
            "mean_wquantile_loss_sum_by_season": {str(k): v for k, v in seasons.items()},
            **score(naive, truth),
            **_aggregates(data, naive, truth),
        }
    }
    _write_forecasts(options, data, paths)
    _draw(options, data, history, truth, paths[0], naive)
    _write(options.out / "table.txt", as_text(record, options.out) + "\n")
    _write(options.out / "record.json", as_json(record) + "\n")
    return record


def as_json(record: dict[str, Any]) -> str:
    """The record as strict JSON: a score that is not defined is null."""
    return json.dumps(_plain(record), indent=1)


def as_text(record: dict[str, Any], out: Path) -> str:
    """The table a person reads, and where everything is."""
    baseline = record["baselines"]["seasonal_naive"]
    published = {entry["metric"]: entry for entry in record["dataset"]["published"]}
    season = f"season {baseline['season']}" if baseline["season"] > 1 else "random walk"
    rows = [("", "timediff", f"seasonal naive ({season})", "published" if published else "")]
    for name in METRICS:
        value = f"{record['metrics'][name]:.4f}"
        if record["metrics_se"][name] is not None:
            value += f" ± {record['metrics_se'][name]:.4f}"
        entry = published.get(name)
        theirs = f"{entry['value']:g} ± {entry['error']:g}" if entry else ""
        rows.append((_TITLES.get(name, name), value, f"{baseline[name]:.4f}", theirs))
    for name, ours in record["aggregates"].items():
        unit = ours["unit"]
        rows.append(
            (
                f"CRPS of {name} ({unit})",
                f"{ours['crps_units']:.4f}",
                f"{baseline['aggregates'][name]['crps_units']:.4f}",
                "",
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    seconds, dataset = record["seconds"], record["dataset"]
    seeds = ", ".join(map(str, record["seeds"]))
    head = (
        f"{dataset['name']}: {dataset['series']} series, horizon {dataset['prediction_length']}, "
        f"{dataset['windows']} windows, {record['num_samples']} paths, "
        f"{'seeds' if len(record['seeds']) > 1 else 'seed'} {seeds}"
    )
    tail = [
        f"training {seconds['training']:.0f} s, sampling {seconds['sampling']:.1f} s, "
        f"{record['network_calls']} network calls per forecast, on {record['hardware']['device']}",
        *(f"published: {entry['model']}, {entry['source']}" for entry in published.values()),
        f"table    {out / 'table.txt'}",
        f"record   {out / 'record.json'}",
        f"picture  {out / 'forecast.png'}",
        f"paths    {out / 'forecasts.parquet'}",
    ]
    return "\n".join([head, "", *lines, "", *tail])


_TITLES = {
    "mean_wquantile_loss_sum": "CRPS_sum as published (mean_wquantile_loss_sum)",
    "mean_wquantile_loss": "CRPS as published (mean_wquantile_loss)",
    "crps": "CRPS (ensemble)",
    "crps_sum": "CRPS_sum (ensemble)",
    "energy_score": "energy score",
    "nd": "ND",
    "nrmse": "NRMSE",
    "coverage_50": "50 % coverage",
    "coverage_90": "90 % coverage",
    "coverage_50_sum": "50 % coverage of the sum",
    "coverage_90_sum": "90 % coverage of the sum",
}


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


def _load(options: Options) -> Dataset:
    with warnings.catch_warnings():
        # Business-day periods are on their way out of pandas, but a benchmark set is made of them.
        warnings.filterwarnings(
            "ignore", message=".*BDay freq is deprecated.*", category=FutureWarning
        )
        return load_dataset(
            options.dataset, data_dir=options.data_dir, align_clock=options.align_clock
        )


def _split(data: Dataset) -> tuple[list[np.ndarray], np.ndarray]:
    """What is known before each test window, ``[T, D]`` each, and the truth ``[W, H, D]``."""
    horizon = data.prediction_length
    history = [entry["target"][:, :-horizon].T for entry in data.test]
    return history, np.stack([entry["target"][:, -horizon:].T for entry in data.test])


def _check(options: Options, data: Dataset) -> None:
    """Everything that can be known to fail before training does."""
    for seed in options.seeds[:1]:
        _estimator(options, data, seed, "cpu", out=options.out)
    train = data.train[0]["target"].shape[1] - options.validation_windows * data.prediction_length
    if train <= data.prediction_length:
        raise InputError(
            f"{data.name} has {max(train, 0)} training steps left for a horizon of "
            f"{data.prediction_length}, so there is no window to train on; "
            "give more data or fewer --validation-windows"
        )


def _prepare(options: Options, data: Dataset) -> None:
    """Makes the output folder; keeps what is in it only for ``--resume``."""
    settings = _settings(options, data)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        probe = options.out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"cannot write to {options.out} ({error.strerror}); choose another --out"
        ) from error
    stored = options.out / "settings.json"
    if options.resume and stored.is_file():
        try:
            before = json.loads(stored.read_text())
        except ValueError as error:
            raise InputError(
                f"{stored} cannot be read ({error}); start again without --resume"
            ) from error
        changed = [name for name in settings if settings[name] != before.get(name)]
        if changed:
            raise InputError(
                f"{options.out} was made with other settings ({', '.join(changed)} changed); "
                "give the same ones to resume, or another --out"
            )
    else:
        for folder in options.out.glob("seed-*"):
            if folder.name.removeprefix("seed-").isdigit():
                shutil.rmtree(folder)
        _write(stored, json.dumps(settings, indent=1) + "\n")


def _settings(options: Options, data: Dataset) -> dict[str, Any]:
    """What has to stay the same for a result to be the same."""
    return {
        "dataset": options.dataset,
        "checksum": data.checksum,
        "num_samples": options.num_samples,
        "validation_windows": options.validation_windows,
        "align_clock": options.align_clock,
        "model": options.model._asdict(),
        "train": options.train._asdict(),
    }


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
        trainer_kwargs={
            "default_root_dir": str(out),
            "accelerator": {"cuda": "gpu"}.get(kind, kind),
            "devices": [int(index or 0)] if kind == "cuda" else 1,
        },
    )


def _run_seed(
    options: Options, data: Dataset, truth: np.ndarray, seed: int, device: str
) -> dict[str, Any]:
    folder = _folder(options, seed)
    finished = folder / "result.json"
    if finished.is_file():
        return json.loads(finished.read_text())
    if len(options.seeds) > 1:
        print(f"seed {seed}", file=sys.stderr)
    estimator = _estimator(options, data, seed, device, out=folder)
    started = time.perf_counter()
    training, validation = _hold_out(options, data)
    checkpoint = folder / "checkpoints" / "last.ckpt"
    with warnings.catch_warnings():
        # Said by Lightning and pandas about things that are as they should be here.
        known = [".*BDay freq.*", ".*validation_step.*", ".*LeafSpec.*", ".*num_workers.*"]
        if seed != options.seeds[0]:
            known.append("some series say little")  # said for the first seed
        for message in known:
            warnings.filterwarnings("ignore", message=message)
        output = estimator.train_model(
            training, validation, ckpt_path=checkpoint if checkpoint.is_file() else None
        )
        trained = time.perf_counter()
        predictor = output.predictor
        predictor.to(device)
        forecasts = predictor.predict(_without_future(data), options.num_samples, seed=seed)
        paths = np.stack([forecast.samples for forecast in forecasts])  # [W, S, H, D]
    sampled = time.perf_counter()
    predictor.serialize(folder / "predictor")
    partial = folder / "paths.partial.npy"
    np.save(partial, paths.astype(np.float32))
    os.replace(partial, folder / "paths.npy")
    result = {
        "seed": seed,
        "metrics": score(paths, truth),
        **_aggregates(data, paths, truth),
        "seconds": {"training": trained - started, "sampling": sampled - trained},
        "steps": output.trainer.global_step,
        "network_calls": predictor.prediction_net.network_calls,
        "parameters": sum(p.numel() for p in predictor.prediction_net.parameters()),
        "history": output.trained_net.history,
    }
    _write(finished, json.dumps(_plain(result), indent=1) + "\n")
    return result


def _hold_out(
    options: Options, data: Dataset
) -> tuple[list[dict[str, Any]], list[dict[str, Any]] | None]:
    """Training entries named by column, and validation entries cut from their end."""
    entries = [{**entry, "info": {"columns": data.columns}} for entry in data.train]
    held, horizon = options.validation_windows, data.prediction_length
    if not held:
        return entries, None
    whole = entries[0]["target"]
    ends = [whole.shape[1] - horizon * k for k in range(held)][::-1]
    validation = [{**entries[0], "target": whole[:, :end]} for end in ends]
    return [{**entries[0], "target": whole[:, : whole.shape[1] - horizon * held]}], validation


def _without_future(data: Dataset) -> list[dict[str, Any]]:
    return [
        {**entry, "target": entry["target"][:, : -data.prediction_length]} for entry in data.test
    ]


def _aggregates(data: Dataset, paths: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    scores = {
        name: {"unit": aggregate.unit, **score_aggregate(paths, truth, weights=aggregate.weights)}
        for name, aggregate in data.aggregates.items()
    }
    return {"aggregates": scores}


def _record(
    options: Options, data: Dataset, truth: np.ndarray, results: list[dict[str, Any]], device: str
) -> dict[str, Any]:
    metrics = [result["metrics"] for result in results]
    aggregates = {
        name: {
            "unit": results[0]["aggregates"][name]["unit"],
            **_mean(
                [{k: v for k, v in r["aggregates"][name].items() if k != "unit"} for r in results]
            ),
        }
        for name in data.aggregates
    }
    return {
        "dataset": {
            "name": data.name,
            "series": len(data.columns),
            "freq": data.freq,
            "prediction_length": data.prediction_length,
            "windows": len(data.test),
            "train_length": data.train[0]["target"].shape[1],
            "checksum": data.checksum,
            "verified": data.verified,
            "source": data.source,
            "licence": data.licence,
            "published": [entry._asdict() for entry in data.published],
        },
        "observed_share": float(np.isfinite(truth).mean()),
        "preset": options.preset,
        "config": {
            "model": options.model._asdict(),
            "train": {k: v for k, v in options.train._asdict().items() if k != "seed"},
            "validation_windows": options.validation_windows,
            "align_clock": options.align_clock,
        },
        "seeds": options.seeds,
        "num_samples": options.num_samples,
        "metrics": _mean(metrics),
        "metrics_se": _standard_error(metrics),
        "aggregates": aggregates,
        "per_seed": results,
        "network_calls": results[0]["network_calls"],
        "parameters": results[0]["parameters"],
        "seconds": {
            part: sum(result["seconds"][part] for result in results)
            for part in ("training", "sampling")
        },
        "definitions": METRICS,
        "versions": {
            "python": platform.python_version(),
            **{
                name: version(name)
                for name in (
                    "timediff-forecast",
                    "torch",
                    "gluonts",
                    "lightning",
                    "numpy",
                    "pandas",
                )
            },
        },
        "commit": _commit(),
        "hardware": _hardware(device),
    }


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([_number(row[name]) for row in rows])) for name in rows[0]}


def _standard_error(rows: list[dict[str, float]]) -> dict[str, float | None]:
    """Of the mean over seeds; None for a single seed, which says nothing about it."""
    if len(rows) < 2:
        return dict.fromkeys(rows[0])
    return {
        name: float(np.std([_number(row[name]) for row in rows], ddof=1) / math.sqrt(len(rows)))
        for name in rows[0]
    }


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def _commit() -> str | None:
    """The commit this code was checked out at, with ``+`` for changes since; None for an installed wheel."""
    home = Path(__file__).resolve().parents[1]
    if not (home / ".git").exists():
        return None
    try:
        ask = ["git", "-C", str(home)]
        head = subprocess.run(
            [*ask, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            [*ask, "status", "--porcelain", "--", "timediff"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def _hardware(device: str) -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.partition(":")[2].strip()
            for line in info.read_text().splitlines()
            if "model name" in line
        ]
        model = names[0] if names else model
    found = {
        "device": device,
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if device.startswith("cuda"):
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def _write_forecasts(options: Options, data: Dataset, paths: list[np.ndarray]) -> None:
    """All paths in one table: seed, window, sample, period, then one column per series."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    target, partial = options.out / "forecasts.parquet", options.out / "forecasts.partial.parquet"
    writer = None
    for seed, windows in zip(options.seeds, paths, strict=True):
        for window, (samples, entry) in enumerate(zip(windows, data.test, strict=True)):
            count, horizon, dim = samples.shape
            first = entry["start"] + (entry["target"].shape[1] - horizon)
            stamps = pd.period_range(first, periods=horizon).to_timestamp()
            keys = {
                "seed": np.full(count * horizon, seed),
                "window": np.full(count * horizon, window),
                "sample": np.repeat(np.arange(count), horizon),
                "time": np.tile(stamps.to_numpy(), count),
            }
            flat = np.asarray(samples).reshape(-1, dim)
            columns = {name: flat[:, d] for d, name in enumerate(data.columns)}
            table = pa.table({**keys, **columns})
            writer = writer or pq.ParquetWriter(partial, table.schema, compression="zstd")
            writer.write_table(table)
    assert writer is not None
    writer.close()
    os.replace(partial, target)


def _draw(
    options: Options,
    data: Dataset,
    history: list[np.ndarray],
    truth: np.ndarray,
    paths: np.ndarray,
    naive: np.ndarray,
) -> None:
    """The last window of the first seed."""
    entry, horizon = data.test[-1], data.prediction_length
    shown = history[-1][-4 * horizon :]
    first = entry["start"] + (entry["target"].shape[1] - horizon - len(shown))
    figure = forecast_figure(
        shown,
        truth[-1],
        np.asarray(paths[-1]),
        columns=data.columns,
        stamps=pd.period_range(first, periods=len(shown) + horizon).to_timestamp().to_numpy(),
        title=f"{data.name}: last test window",
        baseline=naive[-1],
        baseline_name="seasonal naive",
    )
    save_figure(figure, options.out / "forecast.png")


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    os.replace(partial, path)
