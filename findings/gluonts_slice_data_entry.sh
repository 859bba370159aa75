#!/usr/bin/env bash
# GluonTS 0.17.0: slicing an entry leaves some of its fields with a time axis as long as they were.
#
# slice_data_entry, by which gluonts.dataset.split makes training and test entries, cuts the target and the
# covariates that it knows of. Of an entry with 10 steps cut to its first 6, these come back with all 10 columns:
# observed_values, time_feat and past_feat_dynamic_cat, while feat_dynamic_real, feat_dynamic_cat and
# past_feat_dynamic_real have 6. What is trained on then pairs a step's target with the mask or category of
# another. Seen with Python 3.11; the script fails where this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet gluonts==0.17.0 "pandas==2.3.3" "numpy==2.4.6"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import pandas as pd
from gluonts.dataset.split import slice_data_entry

STEPS, KEPT = 10, 6
axis = np.arange(STEPS)
names = ["feat_dynamic_real", "feat_dynamic_cat", "past_feat_dynamic_real", "past_feat_dynamic_cat"]
names += ["observed_values", "time_feat"]
entry = {"start": pd.Period("2024-01-01", "D"), "target": axis.astype(float)}
entry |= {name: np.stack([axis, axis]) for name in names}
cut = slice_data_entry(entry, slice(0, KEPT))
lengths = {name: int(np.shape(cut[name])[-1]) for name in ["target", *names]}
print(lengths)
assert lengths == {
    "target": KEPT,
    "feat_dynamic_real": KEPT,
    "feat_dynamic_cat": KEPT,
    "past_feat_dynamic_real": KEPT,
    "past_feat_dynamic_cat": STEPS,
    "observed_values": STEPS,
    "time_feat": STEPS,
}, lengths
PYTHON
