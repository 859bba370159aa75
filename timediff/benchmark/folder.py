"""The folder of one evaluation: who may write into it, what is in it already, and its files.

``OUT/ENTRANT/seed-K/`` holds what is finished of an entrant with a seed, ``settings.json`` what all of it was
made with; the other files are made of these, anew each time.

Axes: ``W`` windows, ``S`` sample paths, ``T`` time steps of the forecast, ``D`` series.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from timediff.data.dataset import Dataset
from timediff.errors import InputError
from timediff.tools.files import tidy, whole, write_text

__all__ = [
    "KEYS",
    "PATHS",
    "RESULT",
    "RESULTS",
    "load_paths",
    "locked",
    "prepare",
    "read_paths",
    "salvaged",
    "save_paths",
    "seed_folder",
    "stamps",
    "write_forecasts",
]

if sys.platform != "win32":
    import fcntl

_Value = TypeVar("_Value")

KEYS = ("seed", "window", "sample_id", "time")
"""Columns of ``forecasts.parquet`` before those of the series."""
#: Files of a finished seed; the second is written last.
PATHS, RESULT = "paths.npy", "result.json"
#: Folders in that of a seed that files are written into, itself among them.
_INNER = (".", "predictor", "checkpoints")
#: What is made of the results of entrants, anew each time.
RESULTS = (
    *("record.json", "table.txt", "forecasts.parquet"),
    *("forecast.png", "nll.png", "report.html", "series.html"),
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
        _tidy_all(out)
        yield


def _tidy_all(out: Path) -> None:
    """Removes what a killed run left half-written."""
    inner = [seed / name for seed in _folders(out, "*/seed-*") for name in _INNER]
    for folder in (out, *inner):
        tidy(folder, own=True)


def prepare(out: Path, settings: dict[str, Any], names: Iterable[str], *, resume: bool) -> None:
    """Empties the output folder of an earlier run's results, or checks that it can be resumed.

    Args:
        out: The folder.
        settings: What has to stay the same for a result to be the same.
        names: Of the entrants that are to write into it.
        resume: Whether what is finished is kept.

    Raises:
        InputError: What is there was made with other settings, or is not ours.
    """
    file = out / "settings.json"
    before = _stored_settings(file)
    here = {*names, *(before or {}).get("entrants", ())}
    if resume and file.is_file():
        if before is None:
            raise InputError(f"{file} cannot be read as settings of a run; choose another --out")
        changed = [name for name in settings if settings[name] != before.get(name)]
        if changed:
            raise InputError(
                f"{out} was made with other settings ({', '.join(changed)} changed); "
                "give the same ones to resume, or another --out"
            )
        if old := _folders(out, "seed-*"):
            raise InputError(
                f"{old[0]} was made by an earlier version, from which this one cannot go on; leave out "
                "--resume to replace it, or choose another --out"
            )
    else:
        _empty(out, here, ours=before is not None)
        here = set(names)
    write_text(file, json.dumps({**settings, "entrants": sorted(here)}, indent=1) + "\n")


def _empty(out: Path, names: set[str], *, ours: bool) -> None:
    """Removes the results of an earlier run: those of these entrants, and what a version before left."""
    folders = [folder for folder in _folders(out, "*/seed-*") if folder.parent.name in names]
    if ours:
        folders += _folders(out, "seed-*")
    elif folders:
        raise InputError(
            f"{folders[0]} is in the way and does not look like ours, as no settings.json of a run "
            "stands beside it; move it or choose another --out"
        )
    if folders:
        print(f"replacing the results of an earlier run in {out}", file=sys.stderr)
    for folder in folders:
        shutil.rmtree(folder)
    # Where version 0.1.0 kept those of baselines, and each picture of its report.
    before = [*out.glob("baselines/*.npy"), *out.glob("baselines/*.json"), *out.glob("plots/*.png")]
    for file in before if ours else ():
        file.unlink()
    for name in RESULTS:
        (out / name).unlink(missing_ok=True)


def _folders(out: Path, pattern: str) -> list[Path]:
    """Folders of seeds."""
    paths = (path for path in out.glob(pattern) if path.name.removeprefix("seed-").isdecimal())
    return sorted(filter(Path.is_dir, paths))


def _stored_settings(file: Path) -> dict[str, Any] | None:
    """Settings of an earlier run; None where there are none that we wrote."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    ours = isinstance(stored, dict) and {"dataset", "checksum", "model", "train"} <= stored.keys()
    return stored if ours else None


def write_forecasts(out: Path, data: Dataset, paths: Mapping[int, np.ndarray]) -> None:
    """All paths ``[W, S, T, D]`` of each seed in one table: `KEYS`, then one column per series."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [*KEYS, *_series_names(data.columns)]
    writer = None
    with whole(out / "forecasts.parquet") as part:
        for seed, windows in paths.items():
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


def seed_folder(out: Path, name: str, seed: int) -> Path:
    """Where the results of an entrant with a seed are."""
    return out / name / f"seed-{seed}"


def load_paths(folder: Path) -> np.ndarray:
    """The paths ``[W, S, T, D]`` of a seed's folder, as a memory map."""
    return read_paths(folder / PATHS)


def read_paths(file: Path, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Paths ``[W, S, T, D]`` of a file, as a memory map.

    Raises:
        ValueError: They are cut, or of another shape than they should have.
    """
    paths = np.load(file, mmap_mode="r")
    if shape is not None and paths.shape != shape:
        raise ValueError(f"{paths.shape}, not {shape}")
    return paths


def save_paths(folder: Path, paths: np.ndarray) -> None:
    """Writes paths ``[W, S, T, D]`` as they are, whole or not at all."""
    with whole(folder / PATHS) as part:
        np.save(part, np.asarray(paths))


def salvaged(file: Path, read: Callable[[Path], _Value], otherwise: str) -> _Value | None:
    """What ``read`` gives of a file; None where it is not there, or cannot be read, which is told.

    Args:
        file: Or a folder.
        read: May fail in any way.
        otherwise: What is done about the damage.
    """
    if not file.exists():
        return None
    try:
        return read(file)
    except Exception:  # a damaged file may fail in any way
        print(f"{file} cannot be read; {otherwise}", file=sys.stderr)
        return None
