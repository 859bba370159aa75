"""Draws how far apart the two fixed variances of the reverse step are: posterior variance over beta.

python evaluation/variances.py [--out evaluation/results/variances.png]

For linear and cosine chains of several lengths; the numbers behind the curves go to a JSON file of the same
name. The linear chains have the betas of Ho et al. (2020) scaled by 1000 / N, so that all of them end in the
same noise. Source: Nichol & Dhariwal (2021), arXiv:2102.09672, figure 1.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from timediff.diffusion.schedule import make_schedule
from timediff.report.plots import BLUE, INK, save_figure

LENGTHS = (25, 100, 400, 1600)
TITLES = {"linear": r"Linear $\beta$", "cosine": r"Cosine $\bar{\alpha}$"}


def ratio(name: str, num_steps: int) -> NDArray[np.float64]:
    r""":math:`\tilde\beta_n / \beta_n` of the steps 1 .. N, ``[N]``."""
    schedule = make_schedule(
        name, num_steps=num_steps, beta_start=0.1 / num_steps, beta_end=20 / num_steps
    )
    small, large = (
        np.array(schedule.floats[key][1:], dtype=np.float64)
        for key in ("posterior_variance", "beta")
    )
    return small / large


def numbers(values: NDArray[np.float64]) -> dict[str, Any]:
    """What is worth reading off a curve, JSON-ready: single steps, and where the two are nearly one."""
    steps = [n for n in (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000) if n < len(values)]
    return {
        "ratio_at_step": {str(n): round(float(values[n - 1]), 6) for n in (*steps, len(values))},
        "mean_ratio": round(float(values.mean()), 6),
        "steps_below": {
            str(bound): int((values < bound).sum()) for bound in (0.5, 0.9, 0.95, 0.99)
        },
    }


def draw(curves: dict[str, dict[int, NDArray[np.float64]]]) -> Figure:
    """A panel for each schedule, a curve for each length; 1200 x 500 pixels."""
    figure = Figure(figsize=(12, 5), dpi=100, layout="constrained")
    panels = figure.subplots(1, len(curves), sharey=True)
    for axes, (name, by_length) in zip(panels, curves.items(), strict=True):
        for rank, (length, values) in enumerate(by_length.items()):
            share = np.arange(1, length + 1) / length
            # Longer chains darker, so that order is seen without reading the legend.
            alpha = 0.3 + 0.7 * rank / (len(by_length) - 1)
            axes.plot(share, values, color=BLUE, alpha=alpha, lw=1.8, label=f"$N = {length}$")
            axes.plot(share[:10], values[:10], "o", color=BLUE, alpha=alpha, ms=3.5, mew=0)
        axes.axhline(1, color=INK, lw=0.8, ls=":", zorder=0)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_title(TITLES[name], loc="left", fontsize=12)
        axes.set_xlabel("$n\\,/\\,N$", fontsize=12)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#DDDDDD", lw=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=10)
    panels[0].set_ylabel(r"$\tilde{\beta}_n\,/\,\beta_n$", fontsize=12)
    figure.suptitle(
        "The longer the chain, the smaller the share of steps at which the two fixed variances differ",
        x=0.01,
        ha="left",
        fontsize=14,
        fontweight="bold",
    )
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=11
    )
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("evaluation/results/variances.png"))
    out = parser.parse_args().out
    curves = {name: {length: ratio(name, length) for length in LENGTHS} for name in TITLES}
    save_figure(draw(curves), out)
    record = {
        name: {f"N={length}": numbers(values) for length, values in by_length.items()}
        for name, by_length in curves.items()
    }
    out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"wrote {out} and {out.with_suffix('.json')}")


if __name__ == "__main__":
    main()
