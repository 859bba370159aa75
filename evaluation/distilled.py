"""Score against network calls of distilled predictors: the teacher, its weights in few steps, its students.

    python evaluation/distilled.py --data-dir FOLDER

trains the default model on each data set, three seeds, distils each down to 4, 2 and 1 network calls a
time step, and forecasts the test windows with the teacher as it samples by default, with the teacher's
weights in as few steps of DDIM and of ancestral sampling, and with the students, also with noise. One
thread a run. Finished runs are kept in --work and not repeated. Writes
``evaluation/results/distilled.json`` and prints the table.
"""

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

from study import RESULTS, cached, finish, forecast, mean_of, processes, train

from timediff import SamplingConfig, TimeGradPredictor, TrainConfig, load_dataset, score
from timediff.config import DistillConfig
from timediff.gluon.distill import halvings

DATASETS = ("citylearn2022", "rts_gmlc")
SEEDS = (1, 2, 3)
STEPS = 500
CALLS = (4, 2, 1)
NUM_SAMPLES = 100
SHOWN = ("mean_wquantile_loss_sum", "energy_score", "nd", "coverage_90")


def run(
    work: Path, data_dir: Path | None, dataset: str, seed: int, steps: int, train_steps: int | None
) -> dict[str, Any]:
    """Scores and seconds of a teacher and its students; from its file if it is there already."""
    file = work / f"{dataset}-{steps}-{train_steps or 'default'}-{seed}.json"
    return cached(file, partial(_scored, data_dir, dataset, seed, steps, train_steps))


def _scored(
    data_dir: Path | None, dataset: str, seed: int, steps: int, train_steps: int | None
) -> dict[str, Any]:
    data = load_dataset(dataset, data_dir=data_dir)
    horizon = data.prediction_length
    trained = train(data.train, horizon, train=TrainConfig(steps=steps, seed=seed))
    teacher, seconds = trained.predictor, {"training": trained.seconds}
    rows: dict[str, dict[str, Any]] = {}

    def scored(name: str, predictor: TimeGradPredictor) -> None:
        drawn = forecast(predictor, data.test, horizon, num_samples=NUM_SAMPLES, seed=seed)
        scores = score(drawn.paths, drawn.truth)
        network = predictor.prediction_net
        rows[name] = {
            "calls": network.network_calls(predictor.sampling) // network.shape.horizon,
            "sampling": predictor.sampling.flat(),
            "seconds": drawn.seconds,
            **{name: scores[name] for name in SHOWN},
        }

    default = teacher.sampling
    scored("teacher", teacher)
    for sampler in ("ancestral", "ddim"):
        for calls in CALLS:
            teacher.sampling = SamplingConfig(sampler=sampler, steps=calls, spacing="uniform")
            scored(f"{sampler} {calls}", teacher)
    teacher.sampling = default
    config = DistillConfig(seed=seed)
    if train_steps is not None:
        config = config._replace(train_steps=train_steps)
    began = time.perf_counter()
    spent = 0.0
    for student in halvings(teacher, data.train, min(CALLS), config=config, progress=False):
        spent += time.perf_counter() - began
        calls = student.sampling.steps
        if calls in CALLS:
            seconds[f"distilling to {calls}"] = spent
            scored(f"student {calls}", student)
            if calls > 1:
                # Taught without noise, but free to be sampled with it: is the loss of the ODE won back?
                sampling = student.sampling
                student.sampling = sampling._replace(options={"eta": 1.0})
                scored(f"student {calls}, eta 1", student)
                student.sampling = sampling
        began = time.perf_counter()
    return {"seed": seed, "distillation": config._asdict(), "seconds": seconds, "rows": rows}


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean, standard error and single values over the seeds, row by row."""
    return {
        name: {
            "calls": row["calls"],
            "sampling": row["sampling"],
            **{
                key: mean_of([r["rows"][name][key] for r in results]) for key in (*SHOWN, "seconds")
            },
        }
        for name, row in results[0]["rows"].items()
    }


def as_text(record: dict[str, Any]) -> str:
    lines = []
    for dataset, found in record["results"].items():
        lines.append(f"\n{dataset}, test windows, {len(record['seeds'])} seeds")
        lines.append(f"{'':18s}{'calls':>6s}" + "".join(f"{s[:23]:>24s}" for s in SHOWN))
        for name, row in found["rows"].items():
            cells = "".join(f"{row[s]['mean']:15.4f} ± {row[s]['se']:.4f}" for s in SHOWN)
            seconds = f"{row['seconds']['mean']:8.1f} s"
            lines.append(f"{name:18s}{row['calls']:6d}{cells}{seconds}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data-dir", type=Path, help="folder with rts_gmlc")
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS), help="names or folders")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps of a teacher")
    parser.add_argument("--train-steps", type=int, help="of every halving; default the library's")
    parser.add_argument("--work", type=Path, default=Path("runs/distilled"), help="finished runs")
    parser.add_argument("--out", type=Path, default=RESULTS / "distilled.json")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    with processes(args.jobs) as pool:
        jobs = {
            (d, s): pool.submit(run, args.work, args.data_dir, d, s, args.steps, args.train_steps)
            for s in args.seeds
            for d in args.datasets
        }
        for (d, s), job in jobs.items():
            scores = {name: row[SHOWN[0]] for name, row in job.result()["rows"].items()}
            print(f"{d} {s}: " + "  ".join(f"{k} {v:.4f}" for k, v in scores.items()), flush=True)
    results = {}
    for d in args.datasets:
        found = [jobs[d, s].result() for s in args.seeds]
        results[d] = {
            "rows": summary(found),
            "seconds": {k: mean_of([r["seconds"][k] for r in found]) for k in found[0]["seconds"]},
            "distillation": {k: v for k, v in found[0]["distillation"].items() if k != "seed"},
        }
    record = {
        "command": "python evaluation/distilled.py --data-dir FOLDER",
        "steps": args.steps,
        "seeds": args.seeds,
        "num_samples": NUM_SAMPLES,
        "results": results,
    }
    finish(record, args.out)
    print(as_text(record))


if __name__ == "__main__":
    main()
