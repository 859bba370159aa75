"""How few network calls cost nothing: samplers with few steps against 100 of the same weights.

    python evaluation/few_steps.py --data-dir FOLDER

trains the default model once on each data set, on what comes before its last 48 horizons. Every candidate
then forecasts the first 24 of these (five sampling seeds, 100 paths) and is compared with 100 ancestral
steps from the same weights, seeds and windows, as a ratio of scores. Chosen is the candidate with the fewest
calls whose mean ratio is at most 1.01 on every set, in CRPS_sum, energy score and ND. It is confirmed on the
last 24, which played no part in the choice: the mean ratio, and the upper end of its 95 % interval by
bootstrap over the windows. Writes ``evaluation/results/few_steps.json`` and prints the table.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from study import RESULTS, cached, finish, forecast, kept, parser_of, processes, train

from timediff import TimeGradPredictor, TrainConfig, load_dataset, score
from timediff.config import flat_sampling
from timediff.data.entry import cut_entry, hold_out

DATASETS = {"citylearn2022": 500, "rts_gmlc": 1000, "exchange_rate": 500}
ORIGINS, SEEDS, PATHS = 24, (1, 2, 3, 4, 5), 100
SCORES = {
    "mean_wquantile_loss_sum": "CRPS_sum",
    "energy_score": "energy score",
    "nd": "ND",
}
ALLOWED = 1.01
BASE: dict[str, Any] = {"steps": 100, "spacing": "uniform", "extrapolation": 0.0}
COUNTS = {0.0: (5, 6, 8, 16), 0.5: (4, 5, 6, 8), 1.0: (5, 6, 8)}
CANDIDATES: list[dict[str, Any]] = [
    {"steps": steps, "spacing": spacing, "extrapolation": extrapolation}
    for extrapolation, counts in COUNTS.items()
    for spacing in ("uniform", "quadratic")
    for steps in counts
]


def name_of(options: dict[str, Any]) -> str:
    return "{spacing}, extrapolation {extrapolation:g} @ {steps}".format(**options)


def window_scores(paths: np.ndarray, truth: np.ndarray) -> dict[str, dict[str, list[float]]]:
    """Numerator and denominator of each score in every window, and its share covered at 90 %."""
    sizes = {
        "mean_wquantile_loss_sum": np.abs(truth.sum(axis=-1)).sum(axis=-1),
        "energy_score": np.sqrt((truth**2).sum(axis=-1)).sum(axis=-1),
        "nd": np.abs(truth).sum(axis=(-1, -2)),
    }
    each = [score(paths[w : w + 1], truth[w : w + 1]) for w in range(len(truth))]
    found = {
        name: {
            "error": [one[name] * float(sizes[name][w]) for w, one in enumerate(each)],
            "size": sizes[name].tolist(),
        }
        for name in SCORES
    }
    found["coverage_90"] = {
        "error": [one["coverage_90"] for one in each],
        "size": [1.0] * len(each),
    }
    return found


def forecasts(
    dataset: str, options: dict[str, Any], first: bool, data_dir: Path, work: Path
) -> list[dict[str, Any]]:
    """`window_scores` of every sampling seed; from their file if they are there already."""
    part = "choice" if first else "confirmation"
    file = work / f"{dataset}-{part}-{name_of(options).replace(' ', '')}.json"
    return cached(file, partial(_forecasts, dataset, options, first, data_dir, work))


def _forecasts(
    dataset: str, options: dict[str, Any], first: bool, data_dir: Path, work: Path
) -> list[dict[str, Any]]:
    data = load_dataset(dataset, data_dir=data_dir)
    whole, horizon = data.test[-1], data.prediction_length
    last = whole["target"].shape[1] - (ORIGINS * horizon if first else 0)
    windows = [cut_entry(whole, end=last - k * horizon) for k in reversed(range(ORIGINS))]
    predictor = TimeGradPredictor.deserialize(work / dataset, device="cpu")
    predictor.sampling = flat_sampling(options)
    scores = []
    for seed in SEEDS:
        drawn = forecast(predictor, windows, horizon, num_samples=PATHS, seed=seed)
        scores.append(window_scores(drawn.paths, drawn.truth))
    return scores


def train_once(dataset: str, data_dir: Path, work: Path) -> None:
    """Trains on what precedes all origins, unless a predictor is there already."""

    def make() -> TimeGradPredictor:
        data = load_dataset(dataset, data_dir=data_dir)
        horizon = data.prediction_length
        entry, _ = hold_out(data.test[-1], horizon, 2 * ORIGINS)
        return train([entry], horizon, train=TrainConfig(steps=DATASETS[dataset], seed=1)).predictor

    kept(work / dataset, make)


def ratio(ours: list[dict[str, Any]], base: list[dict[str, Any]], name: str) -> dict[str, float]:
    """Score over score, mean over seeds, with a 95 % interval by bootstrap over windows."""

    def errors(found: list[dict[str, Any]]) -> np.ndarray:
        return np.array([seed[name]["error"] for seed in found])  # [seeds, windows]

    one, other = errors(ours), errors(base)
    rng = np.random.default_rng(1)
    chosen = rng.integers(one.shape[1], size=(2000, one.shape[1]))
    boot = (one[:, chosen].sum(axis=-1) / other[:, chosen].sum(axis=-1)).mean(axis=0)
    per_seed = one.sum(axis=1) / other.sum(axis=1)
    low, high = np.quantile(boot, (0.025, 0.975))
    size = np.array([seed[name]["size"] for seed in base]).sum(axis=1)
    return {
        "ratio": float(per_seed.mean()),
        "low": float(low),
        "high": float(high),
        "score": float((one.sum(axis=1) / size).mean()),
        "of_100": float((other.sum(axis=1) / size).mean()),
    }


def compared(ours: list[dict[str, Any]], base: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {name: ratio(ours, base, name) for name in SCORES}
    for key, each in (("coverage_90", ours), ("coverage_90_of_100", base)):
        found[key] = float(np.mean([seed["coverage_90"]["error"] for seed in each]))
    return found


def chosen(table: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The first candidate, by calls, that costs nothing on any set; else the one that costs least."""

    def worst(options: dict[str, Any]) -> float:
        return max(table[d][name_of(options)][s]["ratio"] for d in table for s in SCORES)

    fit = [options for options in CANDIDATES if worst(options) <= ALLOWED]
    if not fit:
        return min(CANDIDATES, key=worst)
    return min(fit, key=lambda options: (options["steps"], worst(options)))


def as_text(record: dict[str, Any]) -> str:
    lines = []
    for part in ("choice", "confirmation"):
        for dataset, rows in record[part].items():
            lines.append(f"\n{dataset}, {part}: ratio to 100 ancestral steps [95 %]")
            for name, row in rows.items():
                cells = "".join(
                    f"  {SCORES[s]} {row[s]['score']:.4f} {row[s]['ratio']:.3f} "
                    f"[{row[s]['low']:.3f}, {row[s]['high']:.3f}]"
                    for s in SCORES
                )
                lines.append(f"{name:30s}{cells}  cover {row['coverage_90']:.3f}")
    return "\n".join([*lines, f"\nchosen: {name_of(record['chosen'])}"])


def main() -> None:
    parser = parser_of(__doc__, "runs/few_steps")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    where = (args.data_dir, args.work)
    with processes(args.jobs) as pool:
        for training in [pool.submit(train_once, name, *where) for name in DATASETS]:
            training.result()

        def table(options: list[dict[str, Any]], *, first: bool) -> dict[str, dict[str, Any]]:
            jobs = {
                (d, name_of(one)): pool.submit(forecasts, d, one, first, *where)
                for one in [BASE, *options]
                for d in DATASETS
            }
            return {
                d: {
                    name_of(one): compared(
                        jobs[d, name_of(one)].result(), jobs[d, name_of(BASE)].result()
                    )
                    for one in options
                }
                for d in DATASETS
            }

        choice = table(CANDIDATES, first=True)
        best = chosen(choice)
        confirmation = table([best], first=False)
    record = {
        "command": "python evaluation/few_steps.py --data-dir FOLDER",
        "origins": ORIGINS,
        "sampling_seeds": SEEDS,
        "training_steps": DATASETS,
        "choice": choice,
        "chosen": best,
        "confirmation": confirmation,
    }
    finish(record, RESULTS / "few_steps.json")
    print(as_text(record))


if __name__ == "__main__":
    main()
