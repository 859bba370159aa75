"""How few network calls cost nothing: samplers with few steps against 100 and 6 of the same weights.

    python evaluation/few_steps.py --data-dir FOLDER

trains the default model once on each data set, with all paths the network's, on what comes before its last
90 horizons. The last 30 of these, the rolling origins of its record, play no part here. Every candidate
forecasts the first 30 (two sampling seeds, 100 paths) and is compared with 100 ancestral steps and with 6,
the default of 0.1.0, from the same weights, seeds and windows, as ratios of scores. Chosen is the candidate
with the fewest calls whose mean ratios are at most 1.01 on every set, in CRPS_sum, energy score and ND. It is
confirmed on the 30 origins between, which played no part in the choice, and on one set more: the mean ratio,
and the upper end of its 95 % interval by bootstrap over the windows. Writes
``evaluation/results/few_steps.json`` and ``few_steps.png``, and prints the table.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from study import RESULTS, cached, finish, forecast, kept, parser_of, processes, train

from timediff import TimeGradPredictor, TrainConfig, load_dataset, score
from timediff.config import flat_sampling
from timediff.data.entry import cut_entry, hold_out

DATASETS = ("citylearn2022", "rts_gmlc", "exchange_rate", "ETTh1")
#: Of the sets that are kept out of all choices, one that only confirms.
CONFIRMING = (*DATASETS, "gefcom2012_load20")
#: Horizons at the end of a set that play no part: the rolling origins of its record.
LEFT = 30
ORIGINS, SEEDS, PATHS = 30, (1, 2), 100
SCORES = {
    "mean_wquantile_loss_sum": "CRPS_sum",
    "energy_score": "energy score",
    "nd": "ND",
}
ALLOWED = 1.01
BASE: dict[str, Any] = {"steps": 100, "spacing": "uniform", "extrapolation": 0.0}
SIX: dict[str, Any] = {"steps": 6, "spacing": "quadratic", "extrapolation": 0.5}
ADAMS = {"sampler": "adams-bashforth", "spacing": "angle"}
CANDIDATES: list[dict[str, Any]] = [
    SIX,
    {**SIX, "steps": 3},
    *(
        {**ADAMS, "steps": steps, "order": order, "renewal": renewal}
        for steps, order, renewal in (
            *((1, 1, 0.0), (2, 1, 0.0), (2, 1, 1.0), (2, 2, 0.0), (2, 2, 1.0)),
            *((3, 1, 0.0), (3, 1, 1.0), (3, 2, 0.0), (3, 2, 0.5), (3, 2, 1.0)),
        )
    ),
]


def name_of(options: dict[str, Any]) -> str:
    shown = [options.get("sampler", "ancestral"), options["spacing"]]
    shown += [f"{k} {v:g}" for k, v in options.items() if k not in ("sampler", "spacing", "steps")]
    return f"{', '.join(shown)} @ {options['steps']}"


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
    last = whole["target"].shape[1] - (LEFT + (ORIGINS if first else 0)) * horizon
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
        entry, _ = hold_out(data.test[-1], horizon, LEFT + 2 * ORIGINS)
        # All paths are the network's, so that its sampler is seen.
        return train([entry], horizon, train=TrainConfig(held_out=0, seed=1)).predictor

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
    return {"ratio": float(per_seed.mean()), "low": float(low), "high": float(high)}


def level(found: list[dict[str, Any]], name: str) -> float:
    """A score, mean over seeds."""
    sums = [[sum(seed[name][part]) for part in ("error", "size")] for seed in found]
    return float(np.mean([error / size for error, size in sums]))


def compared(
    ours: list[dict[str, Any]], base: list[dict[str, Any]], six: list[dict[str, Any]]
) -> dict[str, Any]:
    """Scores of a candidate, and their ratios to those of 100 steps and of 6."""
    shown = (*SCORES, "coverage_90")
    return {
        "scores": {name: level(ours, name) for name in shown},
        "of 100": {name: level(base, name) for name in shown},
        "to 100": {name: ratio(ours, base, name) for name in SCORES},
        "to 6": {name: ratio(ours, six, name) for name in SCORES},
    }


def chosen(table: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The first candidate, by calls, that costs nothing on any set; else the one that costs least."""

    def worst(options: dict[str, Any]) -> float:
        rows = [table[d][name_of(options)] for d in table]
        return max(row[to][s]["ratio"] for row in rows for to in ("to 100", "to 6") for s in SCORES)

    fit = [options for options in CANDIDATES if worst(options) <= ALLOWED]
    if not fit:
        return min(CANDIDATES, key=worst)
    return min(fit, key=lambda options: (options["steps"], worst(options)))


def as_text(record: dict[str, Any]) -> str:
    lines = []
    for part in ("choice", "confirmation"):
        for dataset, rows in record[part].items():
            lines.append(f"\n{dataset}, {part}: ratio to 100 ancestral steps and to 6 [95 %]")
            for name, row in rows.items():
                cells = "".join(
                    f"  {SCORES[s]} {row['scores'][s]:.4f} {row['to 100'][s]['ratio']:.3f} "
                    f"{row['to 6'][s]['ratio']:.3f} [{row['to 6'][s]['low']:.3f}, "
                    f"{row['to 6'][s]['high']:.3f}]"
                    for s in SCORES
                )
                covered = row["scores"]["coverage_90"]
                lines.append(f"{name:50s}{cells}  cover {covered:.3f}")
    return "\n".join([*lines, f"\nchosen: {name_of(record['chosen'])}"])


def draw(record: dict[str, Any], path: Path) -> None:
    """CRPS_sum over that of 100 ancestral steps against network calls."""
    from matplotlib.figure import Figure

    from timediff.report.plots import save_figure

    figure = Figure(figsize=(12, 4.6), dpi=100, layout="constrained")
    panels = figure.subplots(1, len(record["choice"]), sharey=True)
    for axes, (dataset, found) in zip(panels, record["choice"].items(), strict=True):
        lines: dict[str, dict[int, float]] = {}
        for name, row in found.items():
            line, calls = name.split(" @ ")
            ratio = row["to 100"]["mean_wquantile_loss_sum"]["ratio"]
            lines.setdefault(line, {})[int(calls)] = ratio
        for line, ratios in sorted(lines.items()):
            style = "--" if line.startswith("ancestral") else "-"
            axes.plot(*zip(*sorted(ratios.items()), strict=True), style, label=line, marker="o")
        axes.axhline(1, color="#888888", lw=0.8)
        axes.set(title=dataset, xlabel="network calls a time step", xticks=[1, 2, 3, 6])
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("CRPS_sum over that of 100 steps")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    save_figure(figure, path)


def main() -> None:
    parser = parser_of(__doc__, "runs/few_steps")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    where = (args.data_dir, args.work)
    with processes(args.jobs) as pool:
        for training in [pool.submit(train_once, name, *where) for name in CONFIRMING]:
            training.result()

        def table(
            options: list[dict[str, Any]], datasets: Sequence[str], *, first: bool
        ) -> dict[str, dict[str, Any]]:
            jobs = {
                (d, name_of(one)): pool.submit(forecasts, d, one, first, *where)
                for d in datasets
                for one in [BASE, SIX, *options]
            }
            found = {key: job.result() for key, job in jobs.items()}
            return {
                d: {
                    name_of(one): compared(
                        *(found[d, name_of(other)] for other in (one, BASE, SIX))
                    )
                    for one in options
                }
                for d in datasets
            }

        choice = table(CANDIDATES, DATASETS, first=True)
        best = chosen(choice)
        confirmation = table([best], CONFIRMING, first=False)
    record = {
        "command": "python evaluation/few_steps.py --data-dir FOLDER",
        "origins": ORIGINS,
        "sampling_seeds": SEEDS,
        "choice": choice,
        "chosen": best,
        "confirmation": confirmation,
    }
    finish(record, RESULTS / "few_steps.json")
    draw(record, RESULTS / "few_steps.png")
    print(as_text(record))


if __name__ == "__main__":
    main()
