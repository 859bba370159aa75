# %% [markdown]
# # A table of one's own
#
# From a CSV with gaps and a time zone to the joint forecast of what follows it, and back to frames: paths,
# quantiles, sums, scenarios. Run it as a notebook or as a script (percent format);
# `TIMEDIFF_NOTEBOOK_STEPS` sets how long it trains.

# %%
# %matplotlib inline
import os
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from timediff import Forecaster, TrainConfig

STEPS = int(os.environ.get("TIMEDIFF_NOTEBOOK_STEPS", "200"))
OUT = Path(os.environ.get("TIMEDIFF_NOTEBOOK_OUT", "runs/own_dataframe"))
OUT.mkdir(parents=True, exist_ok=True)
plt.rcParams["date.converter"] = "concise"

# %% [markdown]
# ## The table
#
# Net load (kW) of eight homes in California, a column for each, stamps with their offset from UTC. Rows are
# absent, cells are empty, and the clock changes twice. Here is where your own file goes. Long tables, a row
# for each series and hour, are read as well.

# %%
HERE = Path(globals().get("__file__", "notebooks/own_dataframe.py")).resolve().parent
CSV = HERE.parent / "datasets" / "example" / "homes.csv"
table = pd.read_csv(CSV)
print(table.shape, table.isna().sum().sum(), "empty cells")
table.head(3)

# %% [markdown]
# ## To a forecast
#
# Absent rows become missing values, which are not trained on and need not be filled in; what was found is
# said in one line each. The last day is kept back, to look at afterwards. In use, `known` is all there is.

# %%
HORIZON = 24
known, truth = table.iloc[:-HORIZON], table.iloc[-HORIZON:]
forecaster = Forecaster(
    train=TrainConfig(steps=STEPS, seed=1), trainer_kwargs={"default_root_dir": str(OUT)}
)
forecaster.fit(known, h=HORIZON, time_col="time", tz="America/Los_Angeles")
forecast = forecaster.forecast(n_paths=500, seed=1)
print(forecast.paths.shape, forecast.stamps[0], "to", forecast.stamps[-1])

# %%
figure = forecast.plot(series=["home_1", "home_8"], title="Eight homes", unit="kW")
figure.savefig(OUT / "forecast.png")
figure

# %% [markdown]
# ## Frames
#
# Quantiles of each series and hour, in the columns of Nixtla's libraries:

# %%
forecast.to_quantile_frame(level=[90]).head(3).round(2)

# %% [markdown]
# All paths, a row for each series, hour and path. Rows of one `sample_id` are one joint future of all homes,
# so what is asked of several homes or hours is asked of each path first. This form goes to disk and to other
# tools.

# %%
paths = forecast.to_frame()
paths.to_parquet(OUT / "paths.parquet")
paths.head(3).round(2)

# %% [markdown]
# ## Sums, and other questions about many hours or homes

# %%
total = forecast.aggregate()  # the sum of all homes in each path
energy = forecast.sum_over(HORIZON).aggregate()  # of the whole day
peak = forecast.probability(lambda paths: (paths.sum(axis=2) > 15).any(axis=1))
back = forecast.probability(lambda paths: (paths.sum(axis=2) < -10).any(axis=1))
answers = {
    "net energy of the day, 5 % quantile (kWh)": energy.quantile(0.05).item(),
    "net energy of the day, 95 % quantile (kWh)": energy.quantile(0.95).item(),
    "probability of an hour above 15 kW": peak,
    "probability of an hour that gives back more than 10 kW": back,
}
pd.Series(answers).round(2).to_frame("answer")

# %% [markdown]
# The other order is wrong. Adding up the quantiles of homes and hours assumes that everything is high at
# once, and its interval is far too wide.

# %%
low, high = (forecast.quantile(level).sum() for level in (0.05, 0.95))
figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
axes.hist(energy.paths.ravel(), bins=30, alpha=0.7, label="paths")
axes.axvspan(*energy.quantile([0.05, 0.95]).ravel(), alpha=0.15, label="90 % of them")
axes.axvline(low, color="tab:red", ls="--", label="quantiles added up")
axes.axvline(high, color="tab:red", ls="--")
axes.axvline(truth.drop(columns="time").sum().sum(), color="black", label="what happened")
axes.set(title="Net energy of the day", xlabel="kWh", ylabel="paths")
axes.legend(frameon=False)
figure.savefig(OUT / "net.png")

# %% [markdown]
# ## Few scenarios
#
# For a programme that takes ten futures with their probabilities in place of 500:

# %%
few = forecast.representatives(10)
pd.DataFrame({"probability": few.weights, "energy, kWh": few.paths.sum(axis=(1, 2))}).round(2)

# %% [markdown]
# ## The next day
#
# When new rows have come in, the same model is asked again; it need not be trained anew for each day. It can
# be saved and loaded, too.

# %%
forecaster.save(OUT / "model", overwrite=True)
again = Forecaster.load(OUT / "model", progress=False)
following = again.predict(table, n_paths=100, seed=1)
following.iloc[10:13].round(2)
