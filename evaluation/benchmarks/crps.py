"""Ensemble CRPS against properscoring, and the memory that every score takes.

    python evaluation/benchmarks/crps.py [--out evaluation/results/crps.json]

The ratio of seconds is that of one run on one machine with one thread. Memory is the growth of the
process's resident memory beyond the input (Linux), for one window of 1000 paths, 24 steps and 2000
series; the variogram score of all pairs looks at one of the steps, as its memory does not grow with them.
"""

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import properscoring
import torch
from machine import MIB, seconds_of, timed
from memory import peak_growth

from timediff import metrics
from timediff.tools.machine import commit, hardware

TARGETS = {"times_faster": 50, "crps_mib": 100, "any_mib": 2048}
SPEED_SHAPE, MEMORY_SHAPE = (100, 24, 370), (1000, 24, 2000)


def forecast(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Paths ``[S, T, D]`` in float32, as they are stored, and truth ``[T, D]`` with a few gaps."""
    rng = np.random.default_rng(1)
    truth = rng.normal(size=shape[1:])
    truth[rng.random(truth.shape) < 0.01] = np.nan
    return rng.standard_normal(shape, dtype=np.float32), truth


def against_properscoring(shape: tuple[int, int, int]) -> dict[str, Any]:
    """Seconds and memory of both on the same complete data in float64, and how far their values differ."""
    paths, truth = forecast(shape)
    paths, truth = paths.astype(np.float64), np.nan_to_num(truth)
    last = np.moveaxis(paths, 0, -1)
    found: dict[str, np.ndarray] = {}

    def ours() -> None:
        found["ours"] = metrics.crps_ensemble(paths, truth)

    def theirs() -> None:
        found["theirs"] = properscoring.crps_ensemble(truth, last)

    ours()
    memory = {"ours": peak_growth(ours, "cpu"), "properscoring": peak_growth(theirs, "cpu")}
    before, slow, after = (
        timed(ours, "cpu", budget=2),
        seconds_of(theirs, "cpu"),
        timed(ours, "cpu", budget=2),
    )
    seconds = max(before["seconds"], after["seconds"])
    return {
        "shape": shape,
        "seconds": {"ours": seconds, "properscoring": slow},
        "times_faster": slow / seconds,
        "peak_mib": {name: size / MIB for name, size in memory.items()},
        "largest_relative_difference": float(np.abs(found["ours"] / found["theirs"] - 1).max()),
    }


def scores(paths: np.ndarray, truth: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Every function of `timediff.metrics` that takes paths."""
    rng = np.random.default_rng(2)
    both, windows = (paths, truth), (paths[None], truth[None])
    complete = (windows[0], np.nan_to_num(windows[1]))
    weights = np.ones(truth.shape[-1])
    return {
        "average_rank": lambda: metrics.average_rank(*both, rng=rng),
        "band_depth_rank": lambda: metrics.band_depth_rank(*both, rng=rng),
        "brier_score": lambda: metrics.brier_score(*both, threshold=0.5),
        "central_interval": lambda: metrics.central_interval(paths, level=0.9),
        "correlation_error": lambda: metrics.correlation_error(*both),
        "covariance_shrinkage": lambda: metrics.covariance_shrinkage(*both),
        "covered": lambda: metrics.covered(*both, level=0.9),
        "covered_by_rank": lambda: metrics.covered_by_rank(*both, level=0.9),
        "covered_jointly": lambda: metrics.covered_jointly(*both, level=0.9),
        "crps_ensemble": lambda: metrics.crps_ensemble(*both),
        "dawid_sebastiani": lambda: metrics.dawid_sebastiani(*both),
        "energy_score": lambda: metrics.energy_score(*both),
        "interval_score": lambda: metrics.interval_score(*both, level=0.9),
        "mean_quantile_loss": lambda: metrics.mean_quantile_loss(*both),
        "mean_wquantile_loss": lambda: metrics.mean_wquantile_loss(*both),
        "median": lambda: metrics.median(paths),
        "monte_carlo_error": lambda: metrics.monte_carlo_error(*windows, groups=2),
        "newsvendor_cost": lambda: metrics.newsvendor_cost(*both, under=9, over=1),
        "peaks": lambda: metrics.peaks(*both),
        "pit": lambda: metrics.pit(*both, rng=rng),
        "quantile_loss": lambda: metrics.quantile_loss(*both),
        "reliability": lambda: metrics.reliability(*both, levels=metrics.LEVELS),
        "runs_below": lambda: metrics.runs_below(*both, threshold=0.0),
        "score": lambda: metrics.score(*windows, seasonal_error=weights),
        "score_aggregate": lambda: metrics.score_aggregate(*complete, weights=weights),
        "sharpness": lambda: metrics.sharpness(paths, level=0.9),
        "sum_over_dimensions": lambda: metrics.sum_over_dimensions(*both),
        "threshold_weighted_crps": lambda: metrics.threshold_weighted_crps(*both, threshold=0.5),
        "variogram_score": lambda: metrics.variogram_score(paths[:, :1], truth[:1]),
        "window_losses": lambda: metrics.window_losses(*windows),
    }


def peaks(shape: tuple[int, int, int]) -> dict[str, float]:
    """MiB beyond the input of each score."""
    found = {}
    for name, run in scores(*forecast(shape)).items():
        found[name] = peak_growth(run, "cpu") / MIB
        print(f"{name}: {found[name]:.0f} MiB", file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="file of the record")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    speed, memory = against_properscoring(SPEED_SHAPE), peaks(MEMORY_SHAPE)
    met = {
        "times_faster": speed["times_faster"] >= TARGETS["times_faster"],
        "crps_mib": speed["peak_mib"]["ours"] <= TARGETS["crps_mib"],
        "any_mib": max(memory.values()) <= TARGETS["any_mib"],
    }
    record = {
        "crps_ensemble": speed,
        "peak_mib": {"shape": MEMORY_SHAPE, "of": memory},
        "targets": TARGETS,
        "met": met,
        "versions": {name: version(name) for name in ("numpy", "properscoring")}
        # properscoring compiles its loops where numba is installed.
        | {"numba": version("numba") if importlib.util.find_spec("numba") else None},
        "commit": commit(),
        "hardware": hardware("cpu"),
    }
    text = json.dumps(record, indent=1) + "\n"
    if out is not None:
        out.write_text(text)
    print(text, end="")
    sys.exit(0 if all(met.values()) else 1)


if __name__ == "__main__":
    main()
