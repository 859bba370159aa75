# %% [markdown]
# # Which model is better?
#
# A score means little by itself. Here our model and simple ones, all of them joint forecasts of the
# same 34 series, forecast the same 42 days: scores side by side, differences day by day and whether
# they could be luck, and calibration to look at. Run it as a notebook or as a script (percent
# format); `TIMEDIFF_NOTEBOOK_STEPS` sets how long our model trains. For whole data sets and more
# models: `python -m timediff.evaluate --help`.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from timediff import TimeGradEstimator, TrainConfig, backtest, load_dataset, score
from timediff.baselines import BASELINES, Task
from timediff.frequency import seasons
from timediff.metrics import (
    crps_ensemble,
    pit,
    reliability,
    sharpness,
    sum_over_dimensions,
    window_losses,
)
from timediff.metrics.paired import compare
from timediff.report.plots import BLUE, INK, VERMILLION

STEPS = int(os.environ.get("TIMEDIFF_NOTEBOOK_STEPS", "500"))
OUT = Path(os.environ.get("TIMEDIFF_NOTEBOOK_OUT", "runs/compare_models"))
OUT.mkdir(parents=True, exist_ok=True)
plt.rcParams["date.converter"] = "concise"
DAYS, PATHS = 42, 100

# %% [markdown]
# ## The table
#
# Load and solar power of 17 homes in kWh per hour. Solar power counts as negative load, so that the
# sum over all series, on which many of the scores are taken, is the net load of the street.

# %%
data = load_dataset("citylearn2022")
entry, horizon = data.test[-1], data.prediction_length
frame = pd.DataFrame(
    entry["target"].T * data.aggregates["net_load"].weights,
    index=pd.period_range(entry["start"], periods=entry["target"].shape[1]).to_timestamp(),
    columns=data.columns,
)
frame.sum(axis=1).describe().round(1).to_frame("net load").T

# %% [markdown]
# ## Our forecasts
#
# `backtest` trains once on what comes before the first of the windows, then forecasts each day from
# the evening before. Any GluonTS estimator or predictor can stand here.

# %%
estimator = TimeGradEstimator(
    prediction_length=horizon,
    train=TrainConfig(steps=STEPS, seed=1),
    trainer_kwargs={"default_root_dir": str(OUT)},
)
ours = backtest(frame, estimator, windows=DAYS, stride=horizon, freq="h", num_samples=PATHS, seed=1)
truth = ours.truth
print(ours.paths.shape, ours.origins[0], "to", ours.origins[-1])

# %% [markdown]
# ## Theirs
#
# A `Task` is what a baseline may know: training data and, for each window, what came before it.
# These four take seconds and are joint like ours, so that their net load is a sum of paths, too.

# %%
values, cuts = frame.to_numpy(), [len(frame) - (DAYS - day) * horizon for day in range(DAYS)]
task = Task(
    train=values[: cuts[0]],
    histories=[values[:cut] for cut in cuts],
    gaps=[cut - cuts[0] for cut in cuts],
    horizon=horizon,
    freq="h",
    starts=list(ours.origins),
    seasons=seasons("h"),
    columns=data.columns,
)
entrants = {"timediff": ours.paths}
for name in ("random_walk", "seasonal_naive", "climatology", "var"):
    baseline = BASELINES[name]
    entrants[baseline.title] = baseline.forecast(task, num_samples=PATHS, seed=1, progress=False)
    print(f"{baseline.title}: {baseline.note}")
COLOURS = (BLUE, "#999999", "#E69F00", "#009E73", VERMILLION)
STYLES = {name: {"color": colour} for name, colour in zip(entrants, COLOURS, strict=True)}
STYLES["timediff"]["lw"] = 2.5

# %% [markdown]
# ## Scores
#
# Lower is better, but for the coverages, which should be 0.5 and 0.9. The ending `_sum` is the net
# load. A model can be good at single series and poor at their sum, or the other way round: look at
# more than one number.

# %%
shown = ["mean_wquantile_loss_sum", "crps_sum", "crps", "energy_score", "variogram_score"]
shown += [f"coverage_{level}{ending}" for ending in ("", "_sum") for level in (50, 90)]
scores = pd.DataFrame({name: score(paths, truth) for name, paths in entrants.items()})
scores.loc[shown].T.round(3)

# %% [markdown]
# ## Or was it luck?
#
# The days differ more than the models. So they are compared in pairs: the same day, loss against
# loss. With 42 days there is a test (Diebold and Mariano) and an interval; below 30 there would be
# neither. A ratio below 1 says that ours is better.
#
# In the executed copy, after about a minute of training, ours is ahead of random walk and
# climatology beyond doubt. On the net load it cannot be told from the seasonal naive and the ridge
# VAR, and the VAR is ahead on single series. That is a result, too: on this data, look at simple
# models first, and at longer training.

# %%
losses = {name: window_losses(paths, truth) for name, paths in entrants.items()}
for name in list(entrants)[1:]:
    for loss in ("crps_sum", "crps"):
        found = compare(losses["timediff"][loss], losses[name][loss])
        print(f"{loss:8} timediff against {name}: {found.as_text()}")

# %%
figure, axes = plt.subplots(figsize=(12, 3.8), layout="constrained")
rival = min(list(entrants)[1:], key=lambda name: scores.loc["crps_sum", name])
difference = losses["timediff"]["crps_sum"] - losses[rival]["crps_sum"]
colours = np.where(difference < 0, BLUE, VERMILLION)
axes.bar(ours.origins.to_timestamp(), difference, color=colours)
axes.axhline(difference.mean(), color=INK, ls=":", label="mean")
axes.set(
    ylabel="CRPS of the net load, kWh", title=f"timediff minus {rival}, day by day (below 0: ours)"
)
axes.legend(frameon=False)
figure.savefig(OUT / "differences.png")

# %% [markdown]
# ## Where the loss comes from
#
# CRPS of the net load by the hour of the forecast.

# %%
sums = {name: sum_over_dimensions(paths, truth) for name, paths in entrants.items()}
figure, axes = plt.subplots(figsize=(12, 3.8), layout="constrained")
for name, (x, y) in sums.items():
    each = crps_ensemble(x, y)[..., 0].mean(axis=0)  # [T]
    axes.plot(range(1, horizon + 1), each, label=name, **STYLES[name])
axes.set(
    xlabel=f"hours of the forecast, from {ours.origins[0].strftime('%H:%M')}",
    ylabel="CRPS of the net load, kWh",
)
axes.legend(frameon=False)
figure.savefig(OUT / "by_hour.png")

# %% [markdown]
# ## Calibration, to look at
#
# Above, the rank of the observed net load among the paths (PIT): flat is right, a bowl says that
# the forecast is too sure of itself, a slope that it is off to one side. Below, how often the net
# load stayed below each quantile: the diagonal is right. Sharp is good only if this is in order;
# the mean width of the 90 % interval stands with it.

# %%
levels = np.arange(1, 20) / 20
figure, axes = plt.subplots(
    2, len(sums), figsize=(13, 5.4), layout="constrained", sharey="row", sharex=True
)
for (above, below), (name, (x, y)) in zip(axes.T, sums.items(), strict=True):
    ranks = pit(x, y, rng=np.random.default_rng(1)).ravel()
    above.hist(ranks, bins=10, range=(0, 1), density=True, alpha=0.7, color=STYLES[name]["color"])
    above.axhline(1, color=INK, lw=0.8, ls=":")
    above.set(title=name)
    below.plot(levels, reliability(x, y, levels=levels), marker=".", color=STYLES[name]["color"])
    below.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=":")
    width = sharpness(x, level=0.9)
    below.set(xlabel=f"level (90 % interval: {width:.1f} kWh)")
axes[0, 0].set_ylabel("density of the PIT")
axes[1, 0].set_ylabel("share below the quantile")
figure.savefig(OUT / "calibration.png")
