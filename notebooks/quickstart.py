# %% [markdown]
# # Quickstart
#
# A joint forecast of 34 hourly series, the plug load and solar power of 17 homes, by the usual
# steps of GluonTS: train on a dataset, forecast, score against what happened. It takes about a
# minute on one core. Run it as a notebook or as a script (percent format);
# `TIMEDIFF_NOTEBOOK_STEPS` sets how long it trains.

# %%
# %matplotlib inline
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from gluonts.evaluation import MultivariateEvaluator, make_evaluation_predictions

from timediff import TimeGradEstimator, TimeGradPredictor, TrainConfig, load_dataset, score
from timediff.data.entry import split_windows
from timediff.report.plots import BLUE, INK, VERMILLION, forecast_figure, save_figure

# Optimiser steps. More of them fit the data better, up to a point: look at the scores.
STEPS = int(os.environ.get("TIMEDIFF_NOTEBOOK_STEPS", "500"))
OUT = Path(os.environ.get("TIMEDIFF_NOTEBOOK_OUT", "runs/quickstart"))
OUT.mkdir(parents=True, exist_ok=True)
plt.rcParams["date.converter"] = "concise"

# %% [markdown]
# ## Data
#
# `train` is an ordinary GluonTS dataset: a list of entries with a `start` and a `target` of shape
# `[D, T]`. Here it is one entry of about a year. `test` has one entry for each of the last seven
# days, whose last 24 hours are to be forecast. (For a table of one's own see the notebook
# `own_dataframe`.)

# %%
data = load_dataset("citylearn2022")
horizon = data.prediction_length
entry = data.train[0]
print("train:", entry["start"], entry["target"].shape)
print("test: ", [len(entry["target"].T) for entry in data.test], "hours")
print("series:", *data.columns[:2], "...", data.columns[-1])

# %% [markdown]
# ## Train
#
# Frequency, number of series, lags and calendar features are read from the data.

# %%
estimator = TimeGradEstimator(
    prediction_length=horizon,
    train=TrainConfig(steps=STEPS, seed=1),
    trainer_kwargs={"default_root_dir": str(OUT)},
)
predictor = estimator.train(data.train)

# %% [markdown]
# ## Forecast
#
# GluonTS cuts the last 24 hours off each test entry and asks the predictor for them. A forecast is
# a set of sample paths `[S, T, D]` over all series together.

# %%
torch.manual_seed(1)
forecasts, series = make_evaluation_predictions(data.test, predictor=predictor, num_samples=100)
forecasts, series = list(forecasts), list(series)
print(forecasts[0].start_date, forecasts[0].samples.shape)

# %% [markdown]
# The last of the seven days: the sum of all series above, three single ones below. The interval of
# a sum is that of the summed paths.

# %%
last = series[-1]  # a DataFrame of history and truth, [Th + T, D]
figure = forecast_figure(
    last.to_numpy()[:-horizon],
    last.to_numpy()[-horizon:],
    forecasts[-1].samples,
    columns=data.columns,
    stamps=last.index.to_timestamp(),
    title="Load (kWh per hour) and solar power (W per kW installed) of the last day",
)
save_figure(figure, OUT / "last_day.png")
figure

# %% [markdown]
# ## Score
#
# GluonTS's evaluator and ours read the same forecasts and agree. `mean_wquantile_loss_sum` is the
# number that papers call CRPS_sum. Lower is better.

# %%
evaluator = MultivariateEvaluator(
    quantiles=np.arange(1, 20) / 20, target_agg_funcs={"sum": np.sum}, num_workers=0
)
by_gluonts, _ = evaluator(iter(series), iter(forecasts))
paths = np.stack([forecast.samples for forecast in forecasts])  # [W, S, T, D]
truth = np.stack([frame.to_numpy()[-horizon:] for frame in series])  # [W, T, D]
ours = score(paths, truth)

names = {
    "mean_wquantile_loss_sum": "m_sum_mean_wQuantileLoss",
    "mean_wquantile_loss": "mean_wQuantileLoss",
    "nd": "ND",
    "nrmse": "NRMSE",
}
table = pd.DataFrame(
    {
        "timediff": {name: ours[name] for name in names},
        "GluonTS": {name: by_gluonts[theirs] for name, theirs in names.items()},
    }
)
assert np.allclose(table["timediff"], table["GluonTS"], rtol=1e-4)
table.round(4)

# %% [markdown]
# What GluonTS's evaluator does not have: the ensemble CRPS, the energy score of the joint
# distribution, and the share of truths inside the central intervals, which should be near 0.5 and
# 0.9.

# %%
others = ["crps", "crps_sum", "energy_score", "coverage_50", "coverage_90"]
pd.Series(ours)[[*others, "coverage_50_sum", "coverage_90_sum"]].round(3).to_frame("timediff")

# %% [markdown]
# ## What only joint paths can say
#
# The net load of all homes, load minus solar, is a sum over 34 dependent series. To the left, ten
# paths of it; to the right, the energy of the whole day, a number of each path. Shuffling the paths
# of each series keeps the forecast of every single series as it is, but loses that they go
# together: the result is too sure of itself. The notebook `net_load` goes on from here.

# %%
weights = data.aggregates["net_load"].weights
net = paths[-1] @ weights  # [S, T]
rng = np.random.default_rng(0)
columns = [rng.permutation(paths[-1, :, :, d]) for d in range(len(weights))]
shuffled = np.stack(columns, axis=-1) @ weights

figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4), layout="constrained")
hours = forecasts[-1].index.to_timestamp()
left.plot(hours, net[:10].T, color=BLUE, lw=0.8)
left.plot(hours, truth[-1] @ weights, color=INK, lw=2, label="observed")
left.set(title="Net load: ten paths", ylabel="kWh per hour")
bins = np.histogram_bin_edges(net.sum(axis=1), bins=20)
right.hist(net.sum(axis=1), bins=bins, color=BLUE, alpha=0.7, label="joint paths")
right.hist(
    shuffled.sum(axis=1), bins=bins, histtype="step", color=VERMILLION, lw=2, label="shuffled"
)
right.axvline((truth[-1] @ weights).sum(), color=INK, lw=2, label="observed")
right.set(title="Net energy of the day", xlabel="kWh", ylabel="paths")
for axes in (left, right):
    axes.legend(frameon=False)
figure.savefig(OUT / "net_load.png")

# %% [markdown]
# ## Keep
#
# A predictor is saved as JSON and safetensors. The one that is loaded gives the same paths for the
# same seed.

# %%
predictor.serialize(OUT / "predictor")
loaded = TimeGradPredictor.deserialize(OUT / "predictor")
known, _ = split_windows(data.test, horizon)
first, again = (
    next(each.predict(known, num_samples=100, seed=1, progress=False))
    for each in (predictor, loaded)
)
assert np.allclose(first.samples, again.samples, rtol=1e-4, atol=1e-3)
print(sorted(path.name for path in (OUT / "predictor").iterdir()))
