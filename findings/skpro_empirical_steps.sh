#!/usr/bin/env bash
# skpro 2.16.0: a sample of an Empirical distribution of paths is no path.
#
# skpro.distributions.Empirical holds paths over time, a row for each path and step, and `sample` is to draw from
# them. Unless time_indep=False is given, which is not the default, every step is drawn from another path: of two
# paths, one at 0 and one at 1 throughout, 7 of 8 samples of four steps are at both. Margins, quantiles and
# scores are right, and so is the dependence between columns within a step, so nothing looks wrong; sums and
# maxima over the horizon come out as if steps were independent. Seen with Python 3.11; the script fails where
# this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet skpro==2.16.0 "pandas==2.3.3" "numpy==2.4.6"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import pandas as pd
from skpro.distributions import Empirical

rows = pd.MultiIndex.from_product([[0, 1], range(4)], names=["path", "step"])
low_and_high = np.repeat([0.0, 1.0], 4)
paths = pd.DataFrame({"a": low_and_high, "b": low_and_high}, index=rows)
for options, expected in (({}, 7 / 8), ({"time_indep": False}, 0.0)):
    np.random.seed(1)
    drawn = Empirical(paths, **options).sample(400)
    mixed = (drawn["a"].groupby(level=0).nunique() > 1).mean()
    print(options or "default", f"samples that are at 0 and at 1: {mixed:.3f}")
    assert abs(mixed - expected) < 0.05 and (drawn["a"] == drawn["b"]).all()
PYTHON
