"""Scenarios of a forecast in a stochastic network of PyPSA: written here, read and solved in its environment.

python3 -m venv runs/pypsa && runs/pypsa/bin/python -m pip install pypsa==1.4.0
python evaluation/pypsa_network.py --python runs/pypsa/bin/python

The default forecasts a day of load and solar power of the embedded homes, ten weighted paths stand for all,
and `timediff.adapters.pypsa.write_pypsa` writes them. With the other Python, `pypsa_solve.py` beside this,
which knows pandas and PyPSA only, builds a network of the files: how much capacity to build where what lacks
is dear. Its answer is compared with what numpy finds on the same paths. Writes evaluation/results/pypsa.json.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pypsa_solve import BUILT, LACKING, RUN
from study import RESULTS, finish

from timediff import Forecast, Forecaster, TrainConfig
from timediff.adapters.pypsa import write_pypsa

HERE = Path(__file__).resolve().parent
HOMES = HERE.parent / "datasets" / "citylearn2022"


def scenarios(steps: int, seed: int) -> tuple[Forecast, float]:
    """Ten weighted paths of the homes' load and solar power, and the most power that the sun gave."""
    frame = pd.read_parquet(HOMES / "data.parquet")
    units = json.loads((HOMES / "meta.json").read_text())["aggregates"]["net_load"]["weights"]
    solar = [name for name in frame if name.startswith("solar")]
    loads = [name for name in frame if name.startswith("load")]
    sums = pd.DataFrame({"name": ["homes", "roofs"]})
    for name in frame:
        sums[name] = [float(name in loads), abs(units[name]) if name in solar else 0.0]
    train = TrainConfig(steps=steps, seed=seed)
    forecaster = Forecaster(train=train, progress=False).fit(frame, h=24)
    forecast = forecaster.forecast(n_paths=500, seed=seed).aggregate(sums)
    assert forecast.history is not None
    return forecast.representatives(10), float(forecast.history[:, 1].max())


def by_hand(few: Forecast) -> dict[str, float]:
    """The best capacity on these paths, which is one of their net loads, and its expected cost."""
    assert few.weights is not None
    homes, roofs = few.paths[:, :, 0], np.maximum(few.paths[:, :, 1], 0)
    lacks = np.maximum(homes - roofs, 0)

    def cost(built: float) -> float:
        served = np.minimum(lacks, built)
        hours = RUN * served + LACKING * (lacks - served)
        return BUILT * built + float(few.weights @ hours.sum(axis=1))

    best = min(np.unique(np.append(lacks, 0)), key=cost)
    return {"built": float(best), "cost": cost(best)}


def solved(python: str, folder: Path) -> dict[str, Any]:
    """What PyPSA makes of the files."""
    line = [python, str(HERE / "pypsa_solve.py"), str(folder)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True, help="of the environment that PyPSA is in")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "pypsa.json")
    options = parser.parse_args()
    few, peak = scenarios(options.steps, options.seed)
    with tempfile.TemporaryDirectory() as folder:
        write_pypsa(few, Path(folder) / "day", loads=["homes"], generators={"roofs": peak})
        theirs = solved(options.python, Path(folder) / "day")
    ours = by_hand(few)
    print("PyPSA", theirs, "\nby hand", ours)
    same = {name: bool(np.isclose(theirs[name], ours[name], rtol=1e-5)) for name in ours}
    finish({"steps": options.steps, "pypsa": theirs, "by_hand": ours, "same": same}, options.out)
    return int(not all(same.values()))


if __name__ == "__main__":
    sys.exit(main())
