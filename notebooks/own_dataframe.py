# %% [markdown]
# # A DataFrame of one's own
#
# From a wide table with gaps, one column per series, through GluonTS's `PandasDataset` to a joint
# forecast, and back to DataFrames: paths, quantiles, sums. Run it as a notebook or as a script
# (percent format); `TIMEDIFF_NOTEBOOK_STEPS` sets how long it trains.

# %%
# %matplotlib inline
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from gluonts.dataset.pandas import PandasDataset

from timediff import TimeGradEstimator, TrainConfig, load_dataset
from timediff.report.plots import BLUE, INK, VERMILLION, forecast_figure, save_figure

STEPS = int(os.environ.get("TIMEDIFF_NOTEBOOK_STEPS", "500"))
OUT = Path(os.environ.get("TIMEDIFF_NOTEBOOK_OUT", "runs/own_dataframe"))
OUT.mkdir(parents=True, exist_ok=True)
plt.rcParams["date.converter"] = "concise"

# %% [markdown]
# ## The table
#
# This cell stands for your own file. It writes one as a logger might leave it: load (kW) and solar
# power (kW) of three homes, with rows that are absent, cells that are empty, a panel that came in
# the autumn, and a meter that fell silent ten hours before the end.

# %%
data = load_dataset("citylearn2022")
target = data.test[-1]["target"].T  # [T, 34]
stamps = pd.period_range(data.test[-1]["start"], periods=len(target)).to_timestamp()
table = pd.DataFrame(target, index=stamps.rename("time"), columns=data.columns, dtype=float)
table = table[["load_1", "load_2", "load_5", "solar_1", "solar_2", "solar_5"]]
table[["solar_1", "solar_2", "solar_5"]] *= 0.004  # W per kW installed, of 4 kW

rng = np.random.default_rng(1)
table = table.mask(rng.random(table.shape) < 0.02)
table.loc[:"2016-10-15", "solar_5"] = np.nan
table.iloc[-34:-24, 1] = np.nan
table = table.drop(table.index[8600:8612]).drop(rng.choice(table.index[:8500], 40, replace=False))
table.to_csv(OUT / "homes.csv")

# %% [markdown]
# ## Stamps
#
# A model of hourly data needs a row for every hour. What is absent becomes a row of `NaN`, and
# `NaN` is a missing value: it is not trained on, not scored, and need not be filled in. Three
# things to look after:
#
# - **Order and doubles**: sort the index; two rows of the same time must become one.
# - **Time zones**: local time has a day of 23 and one of 25 hours. Convert to UTC and drop the
#   zone: `frame.tz_convert("UTC").tz_localize(None)`.
# - **Months, quarters, years**: pandas's `ME`, `QE` and `YE` are refused by `PandasDataset`. Give
#   it periods: `frame.to_period("M")`.

# %%
frame = pd.read_csv(OUT / "homes.csv", index_col="time", parse_dates=True)
print(len(frame), "rows, frequency", frame.index.freq)
frame = frame.sort_index()
frame = frame[~frame.index.duplicated(keep="last")].asfreq("h")
print(len(frame), "rows, frequency", frame.index.freqstr)
frame.isna().mean().rename("missing").round(3).to_frame().T

# %% [markdown]
# ## To a forecast
#
# The last day is kept back, to look at afterwards. In use, `known` is all there is.

# %%
horizon = 24
known, truth = frame.iloc[:-horizon], frame.iloc[-horizon:]
dataset = PandasDataset(known, target=list(known.columns))

estimator = TimeGradEstimator(
    prediction_length=horizon,
    train=TrainConfig(steps=STEPS, seed=1),
    trainer_kwargs={"default_root_dir": str(OUT)},
)
predictor = estimator.train(dataset)
forecast = next(predictor.predict(dataset, num_samples=500, seed=1))
print(forecast.start_date, forecast.samples.shape)

# %%
figure = forecast_figure(
    known.to_numpy(),
    truth.to_numpy(),
    forecast.samples,
    columns=list(frame.columns),
    stamps=frame.index,
    series=[1, 0, 5],
    unit="kW",
    title="Three homes, with gaps",
)
save_figure(figure, OUT / "forecast.png")
figure

# %% [markdown]
# ## Back to a DataFrame
#
# All 500 paths as a wide frame, one row for each path and hour. Power is never negative, which the
# model does not know, so what little lies below zero is cut off. Paths go to disk and to other
# tools in this form.

# %%
times = forecast.index.to_timestamp()
index = pd.MultiIndex.from_product([range(forecast.num_samples), times], names=["path", "time"])
wide = pd.DataFrame(forecast.samples.reshape(len(index), -1), index=index, columns=frame.columns)
wide = wide.clip(lower=0)
wide.to_parquet(OUT / "paths.parquet")
wide.head(3).round(3)

# %% [markdown]
# The same as a long frame:

# %%
long = wide.rename_axis(columns="series").stack().rename("kW").reset_index()
long.head(3).round(3)

# %% [markdown]
# Quantiles of each series and hour: over the paths, at one time.

# %%
levels = [0.05, 0.5, 0.95]
quantiles = wide.groupby("time").quantile(levels).unstack()  # columns: series, level
quantiles.iloc[10:14, :6].round(2)

# %% [markdown]
# ## Sums, and other questions about many hours or series
#
# First reckon with the paths, then take quantiles. Paths are joint draws, so any function of one is
# a draw of that function: the net load of the three homes in an hour, their energy over the day,
# the highest hour of the day.

# %%
sign = pd.Series({name: 1.0 if name.startswith("load") else -1.0 for name in wide})
net = wide @ sign  # index: path, time
net.groupby("time").quantile(levels).unstack().iloc[10:14].round(2)

# %%
energy = net.groupby("path").sum()
peak, trough = net.groupby("path").max(), net.groupby("path").min()
hour = net.groupby("path").idxmax().map(lambda place: place[1].hour)
answers = {
    "net energy of the day, 5 % quantile (kWh)": energy.quantile(0.05),
    "net energy of the day, 95 % quantile (kWh)": energy.quantile(0.95),
    "probability of an hour that gives back more than 5 kW": (trough < -5).mean(),
    "probability of an hour above 10 kW": (peak > 10).mean(),
    "most frequent hour of the peak": hour.mode()[0],
}
pd.Series(answers).round(2).to_frame("answer")

# %% [markdown]
# The other order is wrong. Adding up the quantiles of series and hours assumes that everything is
# high at once, and its interval is far too wide.

# %%
at = quantiles.sum().unstack()  # quantiles added up over the hours: series, level
loads, panels = sign.index[sign > 0], sign.index[sign < 0]
low = at.loc[loads, 0.05].sum() - at.loc[panels, 0.95].sum()
high = at.loc[loads, 0.95].sum() - at.loc[panels, 0.05].sum()

figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4), layout="constrained")
band = net.groupby("time").quantile([0.05, 0.25, 0.5, 0.75, 0.95]).unstack()
for a, b, alpha in ((0.05, 0.95, 0.18), (0.25, 0.75, 0.35)):
    left.fill_between(band.index, band[a], band[b], color=BLUE, alpha=alpha, lw=0)
left.plot(band.index, band[0.5], color=BLUE, label="forecast")
left.plot(truth.index, truth @ sign, color=INK, marker=".", label="observed")
left.set(title="Net load of the three homes", ylabel="kW")
left.legend(frameon=False)
right.hist(energy, bins=30, color=BLUE, alpha=0.7, label="paths")
right.axvspan(*energy.quantile([0.05, 0.95]), color=BLUE, alpha=0.15, label="90 % of them")
right.axvline(low, color=VERMILLION, ls="--", label="quantiles added up")
right.axvline(high, color=VERMILLION, ls="--")
right.set(title="Net energy of the day", xlabel="kWh", ylabel="paths")
right.legend(frameon=False)
figure.savefig(OUT / "net.png")

# %% [markdown]
# ## The next day
#
# When new rows have come in, the same predictor is asked again; it need not be trained anew for
# each day.

# %%
tomorrow = PandasDataset(frame, target=list(frame.columns))
following = next(predictor.predict(tomorrow, num_samples=100, seed=1, progress=False))
print(following.start_date)
pd.DataFrame(following.mean, index=following.index, columns=frame.columns).iloc[10:13].round(2)
