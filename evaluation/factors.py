"""One factor of the diffusion model at a time around the default, then the best of each together.

    python evaluation/factors.py --data-dir FOLDER

trains every variant on what comes before the validation windows (the last 14 horizons of the training data,
which end before the test windows), three seeds each, one thread a run, and scores the validation windows. The
best level of each factor, by mean CRPS_sum over both sets relative to the default's, makes the combination,
which is trained in the same way. Then, once, default and combination are trained on all training data and
score the test windows. Finished runs are kept in --work and not repeated. Writes
``evaluation/results/factors.json`` and prints the table.
"""

import argparse
import json
import math
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DATASETS = ("citylearn2022", "rts_gmlc")
SEEDS = (1, 2, 3)
VALIDATION_WINDOWS = 14
STEPS = 500
SCORE = "mean_wquantile_loss_sum"
SHOWN = (SCORE, "energy_score", "nd", "coverage_90")
DEFAULT = "default"
#: Each factor's levels beside the default's own (v, weighted as noise; small; linear).
FACTORS: dict[str, dict[str, dict[str, Any]]] = {
    "parameterisation": {
        "noise": {"parameterisation": "noise"},
        "x0": {"parameterisation": "x0"},
    },
    "variance": {"large": {"variance": "large"}, "learned": {"variance": "learned"}},
    "schedule": {"cosine": {"schedule": "cosine"}},
}
VARIANTS = {name: options for levels in FACTORS.values() for name, options in levels.items()}


def run(
    work: Path, data_dir: Path, dataset: str, options: dict[str, Any], seed: int, test: bool
) -> dict:
    """Scores of one training; from its file if it is there already."""
    said = "+".join(f"{k}={v}" for k, v in sorted(options.items())) or DEFAULT
    file = work / f"{dataset}-{'test' if test else 'validation'}-{said}-{seed}.json"
    if file.is_file():
        return json.loads(file.read_text())
    import numpy as np
    import torch

    from timediff import TimeGradEstimator, TrainConfig, load_dataset, score
    from timediff.config import ModelConfig
    from timediff.experiment import hold_out, split

    torch.set_num_threads(1)
    data = load_dataset(dataset, data_dir=data_dir)
    training, windows = data.train, data.test
    if not test:
        training, held = hold_out(data, VALIDATION_WINDOWS)
        assert held is not None
        windows = held
    known, truth = split(windows, data.prediction_length)
    estimator = TimeGradEstimator(
        prediction_length=data.prediction_length,
        model=ModelConfig(**options),
        train=TrainConfig(steps=STEPS, seed=seed),
        progress=False,
        trainer_kwargs={"accelerator": "cpu"},
    )
    started = time.perf_counter()
    predictor = estimator.train(training)
    trained = time.perf_counter()
    forecasts = predictor.predict(known, 100, seed=seed, progress=False)
    paths = np.stack([forecast.samples for forecast in forecasts])
    seconds = {"training": trained - started, "sampling": time.perf_counter() - trained}
    result = {"seed": seed, "metrics": score(paths, truth), "seconds": seconds}
    file.write_text(json.dumps(result))
    return result


def summary(results: list[dict]) -> dict[str, Any]:
    """Mean, standard error and single values of the scores shown."""
    found: dict[str, Any] = {}
    for name in SHOWN:
        values = [result["metrics"][name] for result in results]
        mean = sum(values) / len(values)
        spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
        found[name] = {"mean": mean, "se": spread / math.sqrt(len(values)), "values": values}
    found["seconds"] = max(sum(result["seconds"].values()) for result in results)
    return found


def relative(table: dict[str, dict[str, Any]], variant: str) -> float:
    """Mean over the data sets of a variant's score over the default's."""
    ratios = [table[d][variant][SCORE]["mean"] / table[d][DEFAULT][SCORE]["mean"] for d in table]
    return sum(ratios) / len(ratios)


def combination(table: dict[str, dict[str, Any]]) -> tuple[list[str], dict[str, Any]]:
    """The best level of each factor where it beats the default's, and the options they stand for."""
    names, options = [], {}
    for levels in FACTORS.values():
        best = min(levels, key=lambda name: relative(table, name))
        if relative(table, best) < 1:
            names.append(best)
            options |= levels[best]
    return names, options


def as_text(record: dict[str, Any]) -> str:
    lines = []
    for part in ("validation", "test"):
        for dataset, rows in record[part].items():
            lines.append(f"\n{dataset}, {part} windows, {len(SEEDS)} seeds")
            lines.append(f"{'':24s}" + "".join(f"{name[:22]:>24s}" for name in SHOWN))
            for name, row in rows.items():
                cells = "".join(
                    f"{row[score]['mean']:15.4f} ± {row[score]['se']:.4f}" for score in SHOWN
                )
                lines.append(f"{name:24s}{cells}")
    lines.append(f"\ncombination: {', '.join(record['combination']) or 'the default itself'}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with rts_gmlc")
    parser.add_argument("--work", type=Path, default=Path("runs/factors"), help="finished runs")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:

        def table(variants: dict[str, dict[str, Any]], *, test: bool) -> dict[str, dict[str, Any]]:
            jobs = {
                (d, name, seed): pool.submit(run, args.work, args.data_dir, d, options, seed, test)
                for name, options in variants.items()
                for seed in SEEDS
                for d in DATASETS
            }
            for (d, name, seed), job in jobs.items():
                print(f"{d} {name} {seed}: {job.result()['metrics'][SCORE]:.4f}", flush=True)
            return {
                d: {name: summary([jobs[d, name, s].result() for s in SEEDS]) for name in variants}
                for d in DATASETS
            }

        validation = table({DEFAULT: {}, **VARIANTS}, test=False)
        names, options = combination(validation)
        finalists: dict[str, dict[str, Any]] = {DEFAULT: {}}
        if len(names) > 1:
            together = table({"combination": options}, test=False)
            validation = {d: validation[d] | together[d] for d in DATASETS}
        if names:
            finalists["combination"] = options
        test = table(finalists, test=True)
    from timediff.record import commit, hardware

    record = {
        "command": "python evaluation/factors.py --data-dir FOLDER",
        "steps": STEPS,
        "validation_windows": VALIDATION_WINDOWS,
        "factors": FACTORS,
        "validation": validation,
        "combination": names,
        "options": options,
        "test": test,
        "commit": commit(),
        "hardware": {**hardware("cpu"), "threads": 1},
    }
    (HERE / "results" / "factors.json").write_text(json.dumps(record, indent=1) + "\n")
    print(as_text(record))


if __name__ == "__main__":
    main()
