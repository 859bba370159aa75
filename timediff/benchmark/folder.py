"""The folder of one evaluation: who may write into it, what is in it already, and its files.

Axes: ``W`` windows, ``S`` sample paths, ``T`` time steps of the forecast, ``D`` series.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from timediff.config import Options
from timediff.data.dataset import Dataset
from timediff.errors import InputError
from timediff.tools.files import whole, write_text

if sys.platform != "win32":
    import fcntl

KEYS = ("seed", "window", "sample", "time")
"""Columns of ``forecasts.parquet`` before those of the series."""
BASELINE_FOLDER = "baselines"
"""Where the paths of baselines are kept, ``NAME.npy`` and ``NAME.json``."""


#: What is made of seeds and baselines, anew each time.
RESULTS = (
    *("record.json", "table.txt", "forecasts.parquet"),
    *("forecast.png", "nll.png", "report.html"),
)


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Makes the output folder and holds it for one run alone, where the system has such locks."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
        lock = (out / ".lock").open("w")
    except OSError as error:
        raise InputError(
            f"cannot write to {out} ({error.strerror}); choose another --out"
        ) from error
    with lock:
        if sys.platform != "win32":
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"another run is writing to {out}; wait for its end or choose another --out"
                ) from None
            except OSError:
                pass  # a file system without locks
        yield


def prepare(options: Options, data: Dataset) -> None:
    """Empties the output folder of an earlier run's results, or checks that it can be resumed."""
    settings, file = _settings(options, data), options.out / "settings.json"
    before = _stored_settings(file)
    if options.resume and file.is_file():
        if before is None:
            raise InputError(f"{file} cannot be read as settings of a run; choose another --out")
        changed = [name for name in settings if settings[name] != before.get(name)]
        if changed:
            raise InputError(
                f"{options.out} was made with other settings ({', '.join(changed)} changed); "
                "give the same ones to resume, or another --out"
            )
        return
    folders = sorted(
        folder
        for folder in options.out.glob("seed-*")
        if folder.name.removeprefix("seed-").isdecimal() and folder.is_dir()
    )
    if folders and before is None:
        raise InputError(
            f"{folders[0]} is in the way and does not look like ours, as no settings.json of a run "
            "stands beside it; move it or choose another --out"
        )
    if folders:
        print(f"replacing the results of an earlier run in {options.out}", file=sys.stderr)
    for folder in folders:
        shutil.rmtree(folder)
    stale = options.out / BASELINE_FOLDER
    for file in [*stale.glob("*.npy"), *stale.glob("*.json")]:
        file.unlink()
    for name in RESULTS:
        (options.out / name).unlink(missing_ok=True)
    write_text(file, json.dumps(settings, indent=1) + "\n")


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
        "sampling": options.sampling.flat(),
        # None unless asked for, as in the settings of runs that were older than these options.
        "windows": options.windows,
        "stride": options.stride,
        "history": options.history,
        "predictor": None if options.predictor is None else str(options.predictor),
    }


def _stored_settings(file: Path) -> dict[str, Any] | None:
    """Settings of an earlier run; None where there are none that we wrote."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    ours = isinstance(stored, dict) and {"dataset", "checksum", "model", "train"} <= stored.keys()
    return stored if ours else None


def write_forecasts(options: Options, data: Dataset, paths: list[np.ndarray]) -> None:
    """All paths in one table: seed, window, sample, period, then one column per series."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [*KEYS, *_series_names(data.columns)]
    writer = None
    with whole(options.out / "forecasts.parquet") as part:
        for seed, windows in zip(options.seeds, paths, strict=True):
            for window, (samples, entry) in enumerate(zip(windows, data.test, strict=True)):
                count, horizon, dim = samples.shape
                keys = [
                    np.full(count * horizon, seed),
                    np.full(count * horizon, window),
                    np.repeat(np.arange(count), horizon),
                    np.tile(stamps(entry, horizon), count),
                ]
                flat = np.asarray(samples).reshape(-1, dim)
                table = pa.table([*map(pa.array, keys), *map(pa.array, flat.T)], names=names)
                writer = writer or pq.ParquetWriter(part, table.schema, compression="zstd")
                writer.write_table(table)
        assert writer is not None
        writer.close()


def _series_names(columns: list[str]) -> list[str]:
    """Names of the series, with ``_`` behind one that is the name of a key."""
    taken, names = {*KEYS, *columns}, []
    for name in columns:
        if name in KEYS:
            while name in taken:
                name += "_"
            taken.add(name)
        names.append(name)
    return names


def stamps(entry: dict[str, Any], steps: int) -> np.ndarray:
    """Start times of the last steps of an entry."""
    first = entry["start"] + (entry["target"].shape[1] - steps)
    return pd.period_range(first, periods=steps).to_timestamp().to_numpy()


def paths_file(options: Options, name: str) -> Path:
    """Where the paths of a baseline are kept."""
    return options.out / BASELINE_FOLDER / f"{name}.npy"


def save_paths(file: Path, paths: np.ndarray) -> None:
    """Writes paths ``[W, S, T, D]`` as float32, whole or not at all."""
    with whole(file) as part:
        np.save(part, np.asarray(paths, dtype=np.float32))
