"""Score against network calls: every sampler on the same trained weights.

    python evaluation/solvers.py --data-dir FOLDER

trains the default model once on each data set (as its configuration in ``evaluation/configs`` says, seed 1),
then forecasts the test windows with each sampler at 2 to 100 calls of the network per time step, two
sampling seeds each. A sampler that needs several calls a step gets the most steps that fit into the calls.
Writes ``evaluation/results/solvers.json`` and ``solvers.png``.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from study import RESULTS, finish, forecast, kept, parser_of, train

from timediff import SamplingConfig, TimeGradPredictor, TrainConfig, load_dataset
from timediff.diffusion.samplers.rehearsal import rehearse
from timediff.diffusion.schedule import make_schedule
from timediff.diffusion.spacing import respace
from timediff.metrics import score
from timediff.registry import SAMPLERS

HERE = Path(__file__).resolve().parent
DATASETS = ("citylearn2022", "exchange_rate")
CALLS = (2, 5, 10, 15, 20, 25, 50, 100)
SEEDS = (1, 2)
SCORES = {"mean_wquantile_loss_sum": "CRPS_sum", "energy_score": "energy score"}
SHOWN = (*SCORES, "nd", "coverage_90")
SOLVERS = {
    "ancestral": SamplingConfig(spacing="uniform"),
    "ancestral, quadratic": SamplingConfig(spacing="quadratic"),
    "ancestral, log-SNR": SamplingConfig(spacing="log-snr"),
    "ddim": SamplingConfig(sampler="ddim", spacing="uniform"),
    "ddim, eta 0.5": SamplingConfig(sampler="ddim", spacing="uniform", options={"eta": 0.5}),
    "dpm++ 2": SamplingConfig(sampler="dpm++", spacing="log-snr"),
    "dpm++ 3": SamplingConfig(sampler="dpm++", spacing="log-snr", options={"order": 3}),
    "sde-dpm++ 1": SamplingConfig(sampler="sde-dpm++", spacing="log-snr", options={"order": 1}),
    "sde-dpm++ 2": SamplingConfig(sampler="sde-dpm++", spacing="log-snr"),
    "heun": SamplingConfig(sampler="heun", spacing="log-snr"),
    "langevin": SamplingConfig(sampler="langevin", spacing="log-snr"),
    "predictor-corrector": SamplingConfig(sampler="predictor-corrector", spacing="uniform"),
}


def trained(name: str, data_dir: Path, work: Path) -> TimeGradPredictor:
    """The default model of a data set; from ``work`` if it was trained before."""

    def make() -> TimeGradPredictor:
        data = load_dataset(name, data_dir=data_dir)
        config = (HERE / "configs" / f"{name}-default.yaml").read_text()
        steps = re.search(r"^steps: (\d+)", config, flags=re.MULTILINE)
        options = TrainConfig(seed=1)
        if steps:
            options = options._replace(steps=int(steps[1]))
        return train(data.train, data.prediction_length, train=options).predictor

    return kept(work / name, make)


#: Of a chain on which calls are counted, where they do not matter.
BETAS = {"beta_start": 1e-4, "beta_end": 0.1}


def within(sampling: SamplingConfig, calls: int) -> SamplingConfig | None:
    """The sampler with the most steps that take no more calls; None if not even one step does."""
    sampler, chain = SAMPLERS[sampling.sampler], make_schedule("linear", num_steps=calls, **BETAS)
    fitting = [
        steps
        for steps in range(1, calls + 1)
        if rehearse(sampler, respace(chain, steps)).calls <= calls
    ]
    return sampling._replace(steps=fitting[-1]) if fitting else None


def rows(name: str, data_dir: Path, work: Path) -> list[dict[str, Any]]:
    """Scores of every sampler at every number of calls."""
    data = load_dataset(name, data_dir=data_dir)
    predictor, found = trained(name, data_dir, work), []
    for solver, sampling in SOLVERS.items():
        for calls in CALLS:
            predictor.sampling = within(sampling, calls) or sampling
            if predictor.sampling.steps is None:
                continue
            scores = []
            for seed in SEEDS:
                drawn = forecast(
                    predictor, data.test, data.prediction_length, num_samples=100, seed=seed
                )
                scores.append(score(drawn.paths, drawn.truth))
            network = predictor.prediction_net
            row = {
                "solver": solver,
                "sampling": predictor.sampling.flat(),
                "budget": calls,
                "calls": network.network_calls(predictor.sampling) // network.shape.horizon,
                **{s: float(np.mean([each[s] for each in scores])) for s in SHOWN},
                "per_seed": {s: [each[s] for each in scores] for s in SHOWN},
            }
            found.append(row)
            values = "  ".join(f"{row[s]:.4f}" for s in SHOWN)
            print(f"{name:14s} {solver:20s} {row['calls']:4d} calls  {values}", flush=True)
    return found


def draw(results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """A panel for each data set and score, a line for each sampler."""
    from matplotlib.figure import Figure

    from timediff.report.plots import save_figure

    figure = Figure(figsize=(13, 5 * len(results)), dpi=100, layout="constrained")
    panels = figure.subplots(len(results), len(SCORES), squeeze=False)
    # Okabe and Ito's colours; stochastic samplers solid, deterministic ones dashed.
    colours = ["#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#CC79A7", "#882255"]
    colours += ["#009E73", "#117733", "#F0A0A0", "#999999", "#222222", "#661100"]
    for (name, found), line in zip(results.items(), panels, strict=True):
        for (key, title), axes in zip(SCORES.items(), line, strict=True):
            best = min(row[key] for row in found)
            for solver, colour in zip(SOLVERS, colours, strict=True):
                own = [row for row in found if row["solver"] == solver]
                still = solver in ("ddim", "dpm++ 2", "dpm++ 3", "heun")
                axes.plot(
                    [row["calls"] for row in own],
                    [row[key] for row in own],
                    color=colour,
                    ls="--" if still else "-",
                    marker="o",
                    ms=3.5,
                    lw=1.5,
                    label=solver,
                )
            axes.set_ylim(0.97 * best, 1.45 * best)
            style(axes, f"{name}: {title}", "calls of the network per time step", CALLS)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
    save_figure(figure, path)


def style(axes: Any, title: str, xlabel: str, counts: Sequence[int]) -> None:
    """Title, grid and a logarithmic axis of counts, each with its mark."""
    axes.set(xscale="log", title=title, xlabel=xlabel)
    axes.set_xticks(counts, [str(count) for count in counts], minor=False)
    axes.set_xticks([], minor=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#DDDDDD", lw=0.6, which="both")


def main() -> None:
    args = parser_of(__doc__, "runs/solvers").parse_args()
    results = {name: rows(name, args.data_dir, args.work) for name in DATASETS}
    record = {
        "command": "python evaluation/solvers.py --data-dir FOLDER",
        "sampling_seeds": SEEDS,
        "budgets": CALLS,
        "results": results,
    }
    finish(record, RESULTS / "solvers.json", threads=None)
    draw(results, RESULTS / "solvers.png")


if __name__ == "__main__":
    main()
