"""What each piece of the default is worth: variants without it, on windows before the rolling origins.

python evaluation/adaptive.py --data-dir FOLDER [--seeds 1 2 3] [--jobs 2]

Seven data sets, not the three that are held back from every choice (evaluation/README.md). The data end
before their last 30 horizons, the rolling origins of a release; of what is left the last 14 horizons are
forecast after one training on what precedes them, one thread a run. Scores are ratios to the default's, their
geometric mean over data sets and seeds; so are the seconds of the processor from data to ready predictor.
Finished runs are kept in --work. Writes the record evaluation/results/adaptive.json.
"""

import math
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from study import RESULTS, cached, finish, forecast, parser_of, processes, train

from timediff import ModelConfig, TrainConfig, load_dataset, score
from timediff.data.entry import hold_out

SETS = (
    *("citylearn2022", "rts_gmlc", "traffic_pems20", "ETTh1"),
    *("exchange_rate", "los_speed207", "pm25_beijing36"),
)
ROLLING, WINDOWS = 30, 14
SCORES = ("mean_wquantile_loss_sum", "energy_score")
SHOWN = (*SCORES, "coverage_90", "coverage_90_sum")


class Variant(NamedTuple):
    """What a run differs in from the default, and what its paths are made of (`TimeGrad.use`), if set."""

    model: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    train: dict[str, Any] = {}  # noqa: RUF012
    use: dict[str, Any] | None = None


VARIANTS = {
    "default": Variant(),
    "network alone": Variant(use={"share": 1.0}),
    "half of each": Variant(use={"share": 0.5}),
    "past errors alone": Variant(train={"steps": 1, "steps_per_epoch": 1}, use={"share": 0.0}),
    "Gaussian process": Variant(
        train={"steps": 1, "steps_per_epoch": 1}, use={"share": 0.0, "past_errors": False}
    ),
    "no linear centre": Variant({"centre": "none"}),
    "units of 0.1.0, 200 steps": Variant({"scaling": "global"}),
    "0.1.0": Variant({"scaling": "global", "support": "none"}, {"steps": 1000}),
    "slow scale": Variant({"scale_half_life": 100.0}),
    "half-life 1": Variant({"half_life": 1.0}),
    "half-life 16": Variant({"half_life": 16.0}),
    "lag noise 0.3": Variant({"lag_noise": 0.3}),
    "100 steps": Variant(train={"steps": 100}),
    "400 steps": Variant(train={"steps": 400}),
}


def run(data_dir: Path, name: str, variant: Variant, seed: int) -> dict[str, Any]:
    """Scores of one training on one data set."""
    data = load_dataset(name, data_dir=data_dir)
    horizon = data.prediction_length
    # Test windows are the last horizons of the rolling ones.
    rest, _ = hold_out(data.train[0], horizon, ROLLING - len(data.test))
    training, windows = hold_out(rest, horizon, WINDOWS)
    started = time.process_time()
    trained = train(
        [training],
        horizon,
        model=ModelConfig(**variant.model),
        train=TrainConfig(**variant.train, seed=seed),
    )
    seconds = time.process_time() - started
    if variant.use is not None:
        trained.predictor.prediction_net.use(**variant.use)
    made = forecast(trained.predictor, windows, horizon, num_samples=100, seed=seed)
    scores = score(made.paths, made.truth)
    return {
        **{shown: scores[shown] for shown in SHOWN},
        "seconds": seconds,
        "network_share": trained.predictor.choices.get("network_share"),
    }


def summary(results: dict[str, dict[str, list[dict[str, Any]]]]) -> dict[str, dict[str, float]]:
    """Geometric means of the ratios to the default, and mean coverages, of each variant."""
    rows = {}
    for variant, of_sets in results.items():
        row = {}
        for name in (*SCORES, "seconds"):
            logs = [
                math.log(each[name] / base[name])
                for dataset, runs in of_sets.items()
                for each, base in zip(runs, results["default"][dataset], strict=True)
            ]
            row[name] = math.exp(sum(logs) / len(logs))
        for name in SHOWN[len(SCORES) :]:
            values = [each[name] for runs in of_sets.values() for each in runs]
            row[name] = sum(values) / len(values)
        rows[variant] = row
    return rows


def main() -> int:
    parser = parser_of(__doc__, "runs/adaptive")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each")
    parser.add_argument("--out", type=Path, default=RESULTS / "adaptive.json")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    variants = ["default", *(name for name in options.variants if name != "default")]
    with processes(options.jobs) as pool:
        jobs = {
            (variant, name, seed): pool.submit(
                cached,
                options.work / f"{name}-{variant.replace(' ', '_')}-{seed}.json",
                partial(run, options.data_dir, name, VARIANTS[variant], seed),
            )
            for seed in options.seeds
            for variant in variants
            for name in options.sets
        }
        for (variant, name, seed), job in jobs.items():
            row = job.result()
            print(f"{name}, {variant}, seed {seed}: {row[SCORES[0]]:.4f}", flush=True)
    results = {
        variant: {
            name: [jobs[variant, name, seed].result() for seed in options.seeds]
            for name in options.sets
        }
        for variant in variants
    }
    record = {"windows": WINDOWS, "seeds": options.seeds, "summary": summary(results)}
    finish({**record, "results": results}, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
