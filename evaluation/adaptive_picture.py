"""Draws docs/adaptive.png: the units of 0.1.0 beside those of the adaptive normalisation.

python evaluation/adaptive_picture.py
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from timediff import load_dataset
from timediff.timegrad.normalisation.adaptive import units

OUT = Path(__file__).resolve().parent.parent / "docs" / "adaptive.png"
SERIES = {"load_7": "load of home 7, kWh", "solar_3": "solar power of home 3, W per kW"}
LAST_DAYS = 14
INK, BAND, LINE = "#1f2937", "#9ecae1", "#08519c"


def main() -> None:
    data = load_dataset("citylearn2022")
    target = data.train[0]["target"].T.astype(float)  # [T, D]
    shown = slice(len(target) - 24 * LAST_DAYS, len(target))
    days = np.arange(24 * LAST_DAYS) / 24
    figure, axes = plt.subplots(
        len(SERIES), 2, figsize=(11, 5.2), sharex=True, sharey="row", layout="constrained"
    )
    for row, (name, title) in zip(axes, SERIES.items(), strict=True):
        series = target[:, [data.columns.index(name)]]
        own = units(series, cycle=24, half_life=4.0, scale_half_life=8.0)
        mean, size = series.mean(), series.std()
        pairs = (
            (np.full(len(days), mean), np.full(len(days), size)),
            (own.location[shown, 0], own.scale[shown, 0]),
        )
        heads = ("one mean and deviation (0.1.0)", "adaptive location and scale")
        for axis, (location, scale), head in zip(row, pairs, heads, strict=True):
            axis.fill_between(days, location - scale, location + scale, color=BAND, lw=0)
            axis.plot(days, location, color=LINE, lw=1.2)
            axis.plot(days, series[shown, 0], color=INK, lw=0.9)
            axis.set_title(f"{title}: {head}", fontsize=9.5, loc="left")
            axis.margins(x=0)
            axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("day of the last two weeks of training")
    figure.savefig(OUT, dpi=110)


if __name__ == "__main__":
    main()
