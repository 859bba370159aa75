#!/usr/bin/env bash
# statsforecast 2.1.1: AutoETS simulates zeros with a season above 24 steps, and no trend where it is not damped.
#
# `fit` takes a season of any length and `predict` repeats it, but the sample paths of `simulate` are 0 at every
# step once the model's season is longer than 24: with a wave between 80 and 120 the forecast of the mean has it,
# while all paths are 0 for a season of 25 or 48. And a fitted additive trend that is not damped, which `predict`
# follows (130 to 149 in 10 steps of 2), leaves the paths at the last level. No warning in either case, and the
# shapes are right. Seen with Python 3.11; the script fails where this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet statsforecast==2.1.1 "pandas==2.3.3" "numpy==2.4.6"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
from statsforecast.models import AutoETS

rng = np.random.default_rng(1)
for season in (24, 25, 48):
    t = np.arange(12 * season)
    wave = 100 + 20 * np.sin(2 * np.pi * t / season) + rng.normal(size=len(t))
    model = AutoETS(season_length=season, model="ANA").fit(wave)
    mean = model.predict(h=season)["mean"]
    paths = np.asarray(model.simulate(h=season, n_paths=5, seed=1))
    print(season, "mean", mean.min().round(), mean.max().round(), "paths", paths.min().round(), paths.max().round())
    assert paths.shape == (5, season) and mean.min() < 85 and mean.max() > 115
    assert (paths == 0).all() if season > 24 else (paths > 60).all()

line = 10 + 2.0 * np.arange(60) + rng.normal(size=60)
model = AutoETS(season_length=1, model="AAN", damped=False).fit(line)
mean = model.predict(h=10)["mean"]
paths = np.asarray(model.simulate(h=10, n_paths=2000, seed=1)).mean(axis=0)
print("mean", mean.round(), "mean of paths", paths.round())
assert mean[-1] - mean[0] > 15 and abs(paths[-1] - paths[0]) < 1
PYTHON
