"""Peak memory of one forecast, in a process of its own, against the bound that the library states.

    python evaluation/benchmarks/memory.py default 370 [--device cpu] [--threads 2]

prints it as JSON: growth of the process's resident memory over what it is after a small forecast (Linux),
on a GPU what PyTorch allocated. The paper's chain is cut to two steps: memory does not grow with them.
"""

import argparse
import ctypes
import gc
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from contenders import PATHS, WINDOWS, forecast, hourly, make_predictor

from timediff.gluon.predictor import TimeGradPredictor
from timediff.timegrad.noise import PATHS_PER_STREAM


def stated_bound(predictor: TimeGradPredictor, *, windows: int, paths: int) -> int:
    """Bytes that the library says a forecast takes: the paths of one chunk, and all those it returns."""
    model = predictor.prediction_net
    per_path = model.bytes_per_path()
    streams = windows * -(-paths // PATHS_PER_STREAM)
    chunk = min(max(1, int(predictor.memory // (per_path * PATHS_PER_STREAM))), streams)
    returned = streams * PATHS_PER_STREAM * model.shape.horizon * model.shape.target_dim * 4
    return chunk * PATHS_PER_STREAM * per_path + returned


def peak_growth(run: Callable[[], Any], device: str) -> int:
    """Bytes by which memory grows at most while it runs."""
    gc.collect()
    if device.startswith("cuda"):
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    # What earlier work left free goes back to the system, and the high-water mark down to now.
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    run()
    return _resident("VmHWM") - before


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def in_fresh_process(preset: str, dim: int, *, device: str, threads: int) -> dict[str, Any]:
    """What this file prints, from a process that did nothing else."""
    options = [preset, str(dim), "--device", device, "--threads", str(threads)]
    done = subprocess.run(
        [sys.executable, __file__, *options], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset")
    parser.add_argument("dim", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    steps = 2 if options.preset == "paper" else None
    predictor = make_predictor(options.preset, options.dim, device=options.device, steps=steps)
    entries = hourly(options.dim, windows=WINDOWS)
    small = make_predictor(options.preset, 8, device=options.device, steps=steps)
    forecast(small, hourly(8))()
    peak = peak_growth(forecast(predictor, entries), options.device)
    bound = stated_bound(predictor, windows=WINDOWS, paths=PATHS)
    print(json.dumps({"peak_bytes": peak, "bound_bytes": bound, "ratio": peak / bound}))


if __name__ == "__main__":
    main()
