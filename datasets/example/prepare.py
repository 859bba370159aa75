"""Writes `homes.csv`, the table of the README's first screen, from the embedded set citylearn2022.

python datasets/example/prepare.py
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent / "citylearn2022"
HOMES = (1, 2, 8, 9, 10, 11, 13, 16)
#: Standard time of the homes, in which the source counts, and the zone whose clock they live by.
STANDARD, ZONE = "Etc/GMT+8", "America/Los_Angeles"
FIRST, LAST = "2016-10-30 00:00", "2017-03-19 23:00"


def net_load() -> pd.DataFrame:
    """Load less solar power of each home in kWh per hour, stamped by the clock on its wall."""
    data = pd.read_parquet(SOURCE / "data.parquet").astype(np.float64)
    weights = json.loads((SOURCE / "meta.json").read_text())["aggregates"]["net_load"]["weights"]
    table = pd.DataFrame(
        {f"home_{k}": data[f"load_{k}"] + weights[f"solar_{k}"] * data[f"solar_{k}"] for k in HOMES}
    )
    table.index = table.index.tz_localize(STANDARD).tz_convert(ZONE).rename("time")
    return table.loc[FIRST:LAST].round(3)


def with_gaps(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The table as a logger leaves it: an outage and single rows absent, single cells and a day of one home
    empty."""
    rng = np.random.default_rng(seed)
    table = table.copy()
    rows, homes = table.shape
    table.iloc[1200:1224, 2] = np.nan
    cells = rng.choice(rows * homes, size=60, replace=False)
    table = table.mask(np.isin(np.arange(rows * homes), cells).reshape(rows, homes))
    outage = np.arange(2000, 2012)
    single = rng.choice(rows - 200, size=28, replace=False)  # the last week is whole
    return table.drop(index=table.index[np.union1d(outage, single)])


if __name__ == "__main__":
    with_gaps(net_load()).to_csv(HERE / "homes.csv", lineterminator="\n")
