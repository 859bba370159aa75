"""How well ten scenarios stand for a thousand paths, on simulated days: against ten random paths.

python evaluation/scenarios.py [--seeds 0 1 2 3 4]

A day of hours for several series: a profile, and errors that persist from hour to hour and are shared by the
series. Writes the record evaluation/results/scenarios.json; `python evaluation/tables.py` writes its table.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from study import RESULTS, finish, mean_of

from timediff import Forecast
from timediff.forecaster.scenarios import distances, energy_distance, points_of

PATHS, STEPS, CHOSEN, DRAWS = 1000, 24, 10, 100
#: Series, persistence and correlation of their errors.
PROCESSES = ((1, 0.9, 0.0), (8, 0.95, 0.8), (8, 0.9, 0.5), (8, 0.7, 0.3), (34, 0.9, 0.5))


def simulated(dim: int, persistence: float, correlation: float, seed: int) -> np.ndarray:
    """Paths ``[S, T, D]``."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(1, 5, size=dim)
    profile = 1 + 0.4 * np.sin(2 * np.pi * np.arange(STEPS) / 24)
    root = np.linalg.cholesky(correlation + (1 - correlation) * np.eye(dim))
    noise = rng.normal(size=(STEPS, PATHS, dim)) @ root.T
    errors = np.zeros_like(noise)
    for t in range(STEPS):
        errors[t] = persistence * errors[t - 1] + np.sqrt(1 - persistence**2) * noise[t]
    return level * profile[:, None] + 0.25 * level * errors.transpose(1, 0, 2)


def run(dim: int, persistence: float, correlation: float, seed: int) -> dict[str, float]:
    """What ten scenarios of one simulated forecast are worth."""
    paths = simulated(dim, persistence, correlation, seed)
    stamps = pd.date_range("2024-01-01", periods=STEPS, freq="h")
    whole = Forecast(paths, [f"series {d}" for d in range(dim)], stamps)
    begun = time.perf_counter()
    few = whole.representatives(CHOSEN)
    seconds = time.perf_counter() - begun
    chosen = [int(np.flatnonzero((paths == path).all(axis=(1, 2)))[0]) for path in few.paths]
    assert few.weights is not None
    rng = np.random.default_rng(seed)
    draws = [rng.choice(PATHS, CHOSEN, replace=False) for _ in range(DRAWS)]
    found = {"seconds": seconds}
    spaces = {"ratio": points_of(paths, whole.mean), "euclidean": paths.reshape(PATHS, -1)}
    for name, points in spaces.items():
        distance, masses = distances(points), np.full(PATHS, 1 / PATHS)

        def of(places: Any, weights: Any, distance: Any = distance, masses: Any = masses) -> float:
            own = np.zeros(PATHS)
            own[places] = weights
            return energy_distance(distance, masses, own)

        random = np.median([of(draw, 1 / CHOSEN) for draw in draws])
        found[name] = float(of(chosen, few.weights) / random)
    total, few_total = whole.aggregate(), few.aggregate()
    found["mean_off"] = float(np.abs(few_total.mean - total.mean).mean() / total.mean.mean())
    low, high = total.quantile([0.05, 0.95])
    few_low, few_high = few_total.quantile([0.05, 0.95])
    found["width"] = float((few_high - few_low).mean() / (high - low).mean())
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, default=RESULTS / "scenarios.json")
    options = parser.parse_args()
    results = []
    for dim, persistence, correlation in PROCESSES:
        found = [run(dim, persistence, correlation, seed) for seed in options.seeds]
        row = {name: mean_of([each[name] for each in found]) for name in found[0]}
        process = {"dim": dim, "persistence": persistence, "correlation": correlation}
        results.append({**process, **row})
        print(process, {name: round(value["mean"], 3) for name, value in row.items()}, flush=True)
    sizes = {"paths": PATHS, "steps": STEPS, "chosen": CHOSEN, "draws": DRAWS}
    finish({**sizes, "seeds": options.seeds, "results": results}, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
