#!/usr/bin/env bash
# Darts 0.48.1: a regular hourly index with a zone is refused in October and gets an hour too many in March.
#
# Darts says that it removes the zone of an index. It removes it on the local clock, so that hours that are regular
# in time have a gap or stand twice: eight hours over the change to winter time in Berlin are refused, with
# fill_missing_dates=True, which the message asks for, too (duplicate labels); eight hours over the change to
# summer time become nine, one of them missing, and what comes after the change is an hour late for every model
# that counts steps. tz_convert("UTC").tz_localize(None) before is the way. Seen with Python 3.11; the script
# fails where this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet darts==0.48.1 "pandas==2.3.3" "numpy==2.4.6"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import pandas as pd
from darts import TimeSeries


def series(first, **options):
    stamps = pd.date_range(first, periods=8, freq="h", tz="Europe/Berlin")
    assert (np.diff(stamps.asi8) == np.diff(stamps.asi8)[0]).all()
    return TimeSeries.from_dataframe(pd.DataFrame({"y": np.arange(8.0)}, index=stamps), **options)


filled = {"fill_missing_dates": True, "freq": "h"}
for first, options in (("2024-10-26 22:00", {}), ("2024-10-26 22:00", filled), ("2024-03-30 22:00", {})):
    try:
        series(first, **options)
    except ValueError as error:
        print(first, options, str(error)[:70])
    else:
        raise AssertionError("it was taken")
spring = series("2024-03-30 22:00", **filled)
print(spring.values().ravel())
assert len(spring) == 9 and np.isnan(spring.values()).sum() == 1
PYTHON
