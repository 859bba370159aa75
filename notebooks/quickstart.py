# %% [markdown]
# # Quickstart
#
# A joint forecast of 34 hourly series (plug load and solar power of 17 homes), scored against what
# happened. Every cell is an ordinary GluonTS step; run it as a script or as a notebook (percent format).

# %%
import os
from pathlib import Path

import numpy as np
import pandas as pd
from gluonts.dataset.pandas import PandasDataset

from timediff import (
    SamplingConfig,
    TimeGradEstimator,
    TimeGradPredictor,
    TrainConfig,
    load_dataset,
    score,
)
from timediff.plots import forecast_figure, save_figure

# Optimiser steps. More of them fit the data better, up to a point: look at the scores.
STEPS = int(os.environ.get("TIMEDIFF_NOTEBOOK_STEPS", "300"))
OUT = Path(os.environ.get("TIMEDIFF_NOTEBOOK_OUT", "runs/quickstart"))
OUT.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## Data
#
# `train` is a GluonTS dataset with one entry, a target of shape `[D, T]`. `test` has one entry per rolling
# window, whose last 24 hours are to be forecast.

# %%
data = load_dataset("citylearn2022")
horizon = data.prediction_length
print(data.train[0]["target"].shape, len(data.test), data.columns[:2], data.columns[-1])

# %% [markdown]
# ## Train
#
# Frequency, number of series, lags and calendar features are read from the data. Sampling on 20 of the 100
# diffusion steps takes a fifth of the time.

# %%
estimator = TimeGradEstimator(
    prediction_length=horizon,
    sampling=SamplingConfig(steps=20),
    train=TrainConfig(steps=STEPS, seed=1),
    trainer_kwargs={"default_root_dir": str(OUT)},
)
predictor = estimator.train(data.train)

# %% [markdown]
# ## Forecast
#
# Sample paths `[S, T, D]` for each window. The same seed gives the same paths.

# %%
known = [{**entry, "target": entry["target"][:, :-horizon]} for entry in data.test]
forecasts = list(predictor.predict(known, num_samples=100, seed=1))
paths = np.stack([forecast.samples for forecast in forecasts])  # [W, S, T, D]
truth = np.stack([entry["target"][:, -horizon:].T for entry in data.test])  # [W, T, D]
print(paths.shape, forecasts[0].start_date)

# %% [markdown]
# ## Score
#
# Lower is better; coverage should be near 0.5 and 0.9.

# %%
print(pd.Series(score(paths, truth)).round(4).to_string())

# %% [markdown]
# ## What only joint paths can say
#
# The net load of all homes at the evening peak is a sum over 34 dependent series. Its distribution is that of
# the summed paths; shuffling the paths of each series, which keeps every single forecast as it is, loses it.

# %%
weights = data.aggregates["net_load"].weights
hours = pd.period_range(forecasts[0].start_date, periods=horizon).hour
peak = int(np.flatnonzero(hours == 19)[0])
net = paths[0] @ weights  # [S, T]
shuffled = np.random.default_rng(0).permuted(paths[0], axis=0) @ weights
print("90 % range of the net load at 19:00, kWh per hour")
print("  joint paths      ", np.quantile(net[:, peak], [0.05, 0.95]).round(2))
print("  independent paths", np.quantile(shuffled[:, peak], [0.05, 0.95]).round(2))

# %% [markdown]
# ## Look

# %%
history = known[-1]["target"].T[-72:]
figure = forecast_figure(history, truth[-1], paths[-1], columns=data.columns, title="last window")
save_figure(figure, OUT / "quickstart.png")

# %% [markdown]
# ## Keep, and use on a DataFrame of one's own
#
# The saved files are JSON and safetensors. A wide frame goes through GluonTS's `PandasDataset`.

# %%
predictor.serialize(OUT / "predictor")
loaded = TimeGradPredictor.deserialize(OUT / "predictor")
frame = pd.DataFrame(
    known[0]["target"].T,
    columns=data.columns,
    index=pd.period_range(known[0]["start"], periods=known[0]["target"].shape[1]),
)
again = next(loaded.predict(PandasDataset(frame, target=data.columns), num_samples=100, seed=1))
assert np.allclose(again.samples, forecasts[0].samples, rtol=1e-4, atol=1e-3)
print(pd.DataFrame(again.mean, columns=data.columns).iloc[:3, :4].round(2))
