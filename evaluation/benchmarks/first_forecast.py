"""CPU seconds of ``timediff predict`` in a fresh process over those of its imports alone, in one run.

    python evaluation/benchmarks/first_forecast.py [--dims 83] [--rounds 5]

A model of so many series is trained for three steps, on data made here, and kept. Then processes that import
torch, pandas and gluonts.model, and processes that forecast a day of 100 paths to a file, take turns.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from timediff.tools.files import plain, write_text
from timediff.tools.machine import commit, hardware

#: Times the CPU seconds of the imports that a forecast may take.
TARGET = 1.5
HERE = Path(__file__).parent
_IMPORTS = [sys.executable, "-c", "import torch, pandas, gluonts.model"]


def write_data(path: Path, dims: int) -> None:
    """A wide table of 40 days: a daily wave and noise."""
    rng, t = np.random.default_rng(0), np.arange(40 * 24)
    values = 2 + np.sin(2 * np.pi * t / 24)[:, None] + 0.2 * rng.normal(size=(len(t), dims))
    index = pd.date_range("2024-01-01", periods=len(t), freq="h", name="time")
    pd.DataFrame(values, index, [f"series {d}" for d in range(dims)]).to_csv(path)


def cpu_seconds(command: list[str]) -> float:
    """CPU seconds, the system's for it included, of a process that ends well."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def run(dims: int, rounds: int) -> dict[str, Any]:
    """The record."""
    timediff = [sys.executable, "-m", "timediff"]
    with tempfile.TemporaryDirectory(prefix="timediff-") as place:
        data, model, out = (Path(place) / name for name in ("data.csv", "model", "forecast.csv"))
        write_data(data, dims)
        train = [str(data), "--horizon", "24", "--out", str(model), "--steps", "3", "--quiet"]
        subprocess.run([*timediff, "train", *train], check=True, stdout=subprocess.DEVNULL)
        forecast = [*timediff, "predict", str(model), str(data), "--out", str(out), "--quiet"]
        for command in (_IMPORTS, forecast):  # files are read from the disk, and compiled, once
            cpu_seconds(command)
        seconds: dict[str, list[float]] = {"imports": [], "forecast": []}
        for _ in range(rounds):
            out.unlink()
            seconds["imports"].append(cpu_seconds(_IMPORTS))
            seconds["forecast"].append(cpu_seconds(forecast))
            assert out.is_file()
    ratios = [b / a for a, b in zip(seconds["imports"], seconds["forecast"], strict=True)]
    return {
        "dims": dims,
        "cpu_seconds": seconds,
        "ratio": median(ratios),
        "ratios": ratios,
        "target": TARGET,
        "threads_given": os.environ.get("OMP_NUM_THREADS"),
        "commit": commit(),
        "hardware": hardware("cpu"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dims", type=int, default=83)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "first_forecast.json")
    options = parser.parse_args()
    record = plain(run(options.dims, options.rounds))
    write_text(options.out, json.dumps(record, indent=1) + "\n")
    print(f"{record['ratio']:.3f} times the imports (target {TARGET}), {record['ratios']}")


if __name__ == "__main__":
    main()
