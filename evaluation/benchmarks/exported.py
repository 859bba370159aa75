"""Size and speed of an exported model beside those of the predictor it was made of, in one run.

    python evaluation/benchmarks/exported.py [--dims 8 83 370] [--rounds 7]

For each number of series a model is trained for three steps on data made here, with the network drawing all
paths, and exported (extras "export" and "runner"). Then both draw a day of 100 paths from the same noise in
turns, one thread each, and fresh processes that load a model and forecast once take turns likewise. Times of
two runs are not to be compared, the ratios of one are.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch

from timediff import TimeGradEstimator, TrainConfig, export
from timediff.exported.noise import noise_of
from timediff.exported.runner import Runner
from timediff.gluon.paths import PathPredictor
from timediff.tools.files import plain, write_text
from timediff.tools.machine import commit, hardware

#: Largest difference of two paths from the same noise, in standard deviations of their series.
TARGET = 1e-5
PATHS, HORIZON = 100, 24
HERE = Path(__file__).parent
#: What a fresh process does: load, forecast, and say its seconds, memory, and what of others it loaded.
_FRESH = """
import sys, time
from pathlib import Path
began = time.perf_counter()
import numpy as np
folder, data = sys.argv[1:]
past = np.load(data)
{work}
seconds = time.perf_counter() - began
homes = {{Path(m.__file__).parent for n, m in list(sys.modules.items())
         if "." not in n and getattr(m, "__file__", None) and "site-packages" in m.__file__}}
files = {{f for home in homes if home.name != "site-packages" for f in home.rglob("*") if f.is_file()}}
size = sum(f.stat().st_size for f in files)
# Not ru_maxrss, which begins with that of the process that started this one.
(peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(seconds, int(peak) * 1024, size)
"""
_WORK = {
    "torch": """import pandas as pd
from timediff.gluon.paths import PathPredictor
predictor = PathPredictor.deserialize(Path(folder), device="cpu")
entry = {{"start": pd.Period("2024-01-01", "h"), "target": past.T, "item_id": "a"}}
list(predictor.predict([entry], {paths}, seed=1, progress=False))""",
    "exported": """from timediff.exported.runner import Runner
Runner(folder).forecast(past, "2024-01-01", num_samples={paths}, seed=1)""",
}


def made(dims: int) -> dict[str, Any]:
    """An entry of 40 days: daily waves and noise."""
    rng, t = np.random.default_rng(0), np.arange(40 * 24)
    values = 2 + np.sin(2 * np.pi * t / 24) + 0.2 * rng.normal(size=(dims, len(t)))
    return {"item_id": "a", "start": pd.Period("2024-01-01", "h"), "target": values}


def trained(entry: dict[str, Any], folder: Path) -> PathPredictor:
    """A predictor whose network draws all paths."""
    estimator = TimeGradEstimator(
        prediction_length=HORIZON,
        train=TrainConfig(steps=3, seed=1, threads=1, held_out=0),
        progress=False,
        trainer_kwargs={"accelerator": "cpu", "default_root_dir": str(folder)},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.train([entry])


def folder_size(folder: Path) -> int:
    """Bytes of its files."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def in_turns(works: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each, one after another in every round, after a first time that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for count in range(rounds + 1):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            if count:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def fresh(kind: str, folder: Path, data: Path) -> list[float]:
    """Seconds, largest memory and bytes of the packages that one process loaded."""
    code = _FRESH.format(work=_WORK[kind].format(paths=PATHS))
    command = [sys.executable, "-c", code, str(folder), str(data)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(word) for word in done.stdout.split()]


def compared(dims: int, rounds: int) -> dict[str, Any]:
    """What is measured with so many series."""
    with tempfile.TemporaryDirectory(prefix="timediff-") as place:
        folder, entry = Path(place), made(dims)
        predictor = trained(entry, folder / "training")
        predictor.serialize(folder / "torch")
        began = time.perf_counter()
        export(predictor, folder / "exported")
        export_seconds = time.perf_counter() - began
        np.save(folder / "past.npy", entry["target"].T)
        runner, noise = Runner(folder / "exported"), noise_of(predictor, entry, PATHS, seed=1)
        drawn: dict[str, Any] = {}

        def by_torch() -> None:
            (forecast,) = predictor.predict([entry], PATHS, seed=1, progress=False)
            drawn["torch"] = forecast.samples

        def by_runner() -> None:
            past = entry["target"].T
            drawn["exported"] = runner.forecast(past, "2024-01-01", num_samples=PATHS, noise=noise)

        own = {
            "exported": lambda: runner.forecast(entry["target"].T, "2024-01-01", num_samples=PATHS)
        }
        seconds = in_turns({"torch": by_torch, **own}, rounds)
        by_runner()
        off = np.abs(drawn["exported"] - drawn["torch"]).max(axis=(0, 1)) / entry["target"].std(
            axis=1
        )
        starts: dict[str, list[list[float]]] = {"torch": [], "exported": []}
        for count in range(min(rounds, 3) + 1):
            for kind, found in starts.items():
                measured = fresh(kind, folder / kind, folder / "past.npy")
                if count:  # files are read from the disk, and compiled, once
                    found.append(measured)
        names = ("start_seconds", "start_bytes", "package_bytes")
        columns = {
            kind: {
                name: median(column)
                for name, column in zip(names, zip(*rows, strict=True), strict=True)
            }
            for kind, rows in starts.items()
        }
        for kind, its in columns.items():
            its["seconds"] = median(seconds[kind])
            its["model_bytes"] = folder_size(folder / kind)
        ratios = {
            name: columns["exported"][name] / columns["torch"][name] for name in columns["torch"]
        }
        return {
            **columns,
            "ratio": ratios,
            "off": float(off.max()),
            "export_seconds": export_seconds,
        }


def run(dims: list[int], rounds: int) -> dict[str, Any]:
    """The record."""
    import onnxruntime

    torch.set_num_threads(1)
    return {
        "results": {str(d): compared(d, rounds) for d in dims},
        "paths": PATHS,
        "horizon": HORIZON,
        "rounds": rounds,
        "target": {"off": TARGET},
        "versions": {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__},
        "threads_given": os.environ.get("OMP_NUM_THREADS"),
        "commit": commit(),
        "hardware": hardware("cpu"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[8, 83, 370])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "exported.json")
    options = parser.parse_args()
    record = plain(run(options.dims, options.rounds))
    write_text(options.out, json.dumps(record, indent=1) + "\n")
    for dims, found in record["results"].items():
        ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in found["ratio"].items())
        print(
            f"D = {dims}: exported / torch: {ratios}; paths {found['off']:.1e} apart (<= {TARGET:g})"
        )


if __name__ == "__main__":
    main()
