"""How much scores vary with the sample paths: their Monte-Carlo error by number of paths and kind of noise.

    python evaluation/monte_carlo.py --data-dir FOLDER

forecasts the test windows with the default model (of ``evaluation/solvers.py``, trained if it is not there)
20 times with each kind of noise, and scores 20, 50, 100 and 200 paths of each forecast. The spread of a score
over these 20 is its Monte-Carlo error, its mean is what so many paths lead one to expect. Writes
``evaluation/results/monte_carlo.json`` and ``monte_carlo.png``.
"""

from pathlib import Path
from typing import Any

import numpy as np
from solvers import style, trained
from study import RESULTS, finish, forecast, parser_of

from timediff import load_dataset
from timediff.benchmark.problem import make_problem
from timediff.metrics import score
from timediff.registry import METRICS
from timediff.timegrad.noise import NOISES

DATASETS = ("citylearn2022", "rts_gmlc")
COUNTS, REPEATS = (20, 50, 100, 200), 20
#: Scores that tables and pictures show; the record has all of `METRICS`.
SCORES = {
    "mean_wquantile_loss_sum": "CRPS_sum",
    "mean_wquantile_loss": "CRPS",
    "energy_score": "energy score",
    "nd": "ND",
    "coverage_90": "90 % coverage",
}


def rows(name: str, data_dir: Path, work: Path) -> list[dict[str, Any]]:
    """Mean and standard deviation of each score, for each kind of noise and number of paths."""
    data = load_dataset(name, data_dir=data_dir)
    problem = make_problem(data)
    predictor, found = trained(name, data_dir, work), []
    for kind in NOISES:
        predictor.sampling = predictor.sampling._replace(noise=kind)
        scores: dict[int, list[dict[str, float]]] = {count: [] for count in COUNTS}
        for seed in range(REPEATS):
            drawn = forecast(
                predictor, data.test, data.prediction_length, num_samples=max(COUNTS), seed=seed
            )
            for count in COUNTS:
                own = score(drawn.paths[:, :count], drawn.truth, seasonal_error=problem.seasonal)
                scores[count].append(own)
        for count in COUNTS:
            values = {s: np.array([each[s] for each in scores[count]]) for s in METRICS}
            row = {
                "noise": kind,
                "paths": count,
                "mean": {s: float(v.mean()) for s, v in values.items()},
                "error": {s: float(v.std(ddof=1)) for s, v in values.items()},
            }
            found.append(row)
            cells = "  ".join(f"{row['mean'][s]:.4f} ± {row['error'][s]:.5f}" for s in SCORES)
            print(f"{name:14s} {kind:12s} {count:4d} paths  {cells}", flush=True)
    return found


def draw(results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """A panel for each data set and score: relative Monte-Carlo error against paths."""
    from matplotlib.figure import Figure

    from timediff.report.plots import save_figure

    shown = ("mean_wquantile_loss_sum", "energy_score", "nd")
    figure = Figure(figsize=(13, 4 * len(results)), dpi=100, layout="constrained")
    panels = figure.subplots(len(results), len(shown), squeeze=False)
    for (name, found), line in zip(results.items(), panels, strict=True):
        for key, axes in zip(shown, line, strict=True):
            for kind, colour in zip(NOISES, ("#0072B2", "#D55E00", "#009E73"), strict=True):
                own = [row for row in found if row["noise"] == kind]
                errors = [100 * row["error"][key] / row["mean"][key] for row in own]
                counts = [row["paths"] for row in own]
                axes.plot(counts, errors, color=colour, marker="o", label=kind)
            style(axes, f"{name}: {SCORES[key]}", "sample paths", COUNTS)
            axes.set(yscale="log", ylabel="Monte-Carlo error, % of the score")
    panels[0, 0].legend(frameon=False)
    save_figure(figure, path)


def main() -> None:
    args = parser_of(__doc__, "runs/solvers").parse_args()
    results = {name: rows(name, args.data_dir, args.work) for name in DATASETS}
    record = {
        "command": "python evaluation/monte_carlo.py --data-dir FOLDER",
        "repeats": REPEATS,
        "shown": list(SCORES),
        "results": results,
    }
    finish(record, RESULTS / "monte_carlo.json", threads=None)
    draw(results, RESULTS / "monte_carlo.png")


if __name__ == "__main__":
    main()
