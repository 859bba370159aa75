"""Seconds and memory of training and forecast against the number of series, up to 10,000, on a CPU.

    python evaluation/benchmarks/wide.py [--dims 625 1250 2500 5000 10000] [--steps 10]

Each number of series has a process of its own: the default on 41 days of hourly data, a few optimiser steps,
all that comes before and after them (the linear forecaster, its Gaussian process, the windows that it is
weighed on), and 100 paths of a day. Peak memory is that of the whole process, less what it has after the
imports. The slope of log seconds and log bytes against log D is that of the line through those of at least
1,000 series, 1 where time is proportional to D; the target is at most 1.1.
"""

import argparse
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from timediff.tools.files import plain, write_text
from timediff.tools.machine import commit, hardware

HERE = Path(__file__).parent
#: Series from which on the slope is told, and its target.
LARGE, TARGET = 1000, 1.1
PARTS = ("training_seconds", "forecast_seconds", "peak_bytes")


def slope(dims: list[int], values: list[float]) -> float:
    """Slope of log value against log D, of the line of least squares."""
    return float(np.polyfit(np.log(dims), np.log(values), 1)[0])


def resident(name: str) -> int:
    """Bytes of this process that Linux tells under a name."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def measured(dim: int, *, steps: int, threads: int) -> dict[str, Any]:
    """One number of series, in this process."""
    import torch
    from contenders import FREQ, HORIZON, PATHS, hourly

    from timediff import PRESETS, TimeGradEstimator

    torch.set_num_threads(threads)
    warnings.simplefilter("ignore")
    before = resident("VmRSS")
    (entry,) = hourly(dim)
    started = time.perf_counter()
    estimator = TimeGradEstimator(
        HORIZON,
        freq=FREQ,
        train=PRESETS["default"].train._replace(steps=steps, steps_per_epoch=steps, seed=1),
        progress=False,
        trainer_kwargs={"accelerator": "cpu", "devices": 1},
    )
    predictor = estimator.train([entry])
    trained = time.perf_counter()
    predictor.prediction_net.use(
        1.0
    )  # all paths by the network, whatever so few steps have made of it
    (forecast,) = predictor.predict([entry], PATHS, seed=1, progress=False)
    done = time.perf_counter()
    assert np.isfinite(forecast.samples).all()
    return {
        "dim": dim,
        "training_seconds": trained - started,
        "forecast_seconds": done - trained,
        "peak_bytes": resident("VmHWM") - before,
    }


def in_fresh_process(dim: int, *, steps: int, threads: int) -> dict[str, Any]:
    """What `measured` says, in a process that did nothing else."""
    options = ["--one", str(dim), "--steps", str(steps), "--threads", str(threads)]
    done = subprocess.run(
        [sys.executable, __file__, *options], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def record_of(rows: list[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """The record of the numbers of series that are done."""
    large = [row for row in rows if row["dim"] >= LARGE]
    dims = [row["dim"] for row in large]
    slopes = (
        {part: slope(dims, [row[part] for row in large]) for part in PARTS}
        if len(large) > 1
        else {}
    )
    return {
        "steps": options.steps,
        "threads": options.threads,
        "rows": rows,
        "slopes": slopes,
        "target": TARGET,
        "commit": commit(),
        "hardware": hardware("cpu"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[625, 1250, 2500, 5000, 10000])
    parser.add_argument("--steps", type=int, default=10, help="optimiser steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "wide.json")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(measured(options.one, steps=options.steps, threads=options.threads)))
        return
    rows = []
    for dim in sorted(options.dims):
        rows.append(in_fresh_process(dim, steps=options.steps, threads=options.threads))
        print(
            f"D = {dim}: training {rows[-1]['training_seconds']:.3g} s, forecast "
            f"{rows[-1]['forecast_seconds']:.3g} s, {rows[-1]['peak_bytes'] / 1e9:.3g} GB",
            flush=True,
        )
        record = record_of(rows, options)
        write_text(options.out, json.dumps(plain(record), indent=1) + "\n")
    for part, found in record["slopes"].items():
        print(f"slope of log {part} against log D: {found:.3g} (target <= {TARGET})")


if __name__ == "__main__":
    main()
