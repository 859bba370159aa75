"""Makes `data.parquet`, `covariates.parquet`, `meta.json` and `LICENSE` of this folder.

Run `python datasets/citylearn2022/prepare.py`, with `--wheel FILE` where the CityLearn wheel is at
hand; otherwise pip downloads it (78 MB). Values are taken as they are.
"""

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd

from timediff.data.readers.contents import checksum
from timediff.data.readers.wide_table import read_wide

HERE = Path(__file__).resolve().parent
REQUIREMENT = "CityLearn==2.2b0"
WHEEL_SHA256 = "5195d412841914e74299cfae46fab7f0f9eebcb6238397a2ef894680763e24e7"
INSIDE = "citylearn/data/datasets/citylearn_challenge_2022_phase_all"
HOMES = range(1, 18)
# The first row is month 7, hour 24, weekday 7: the last hour of 31 July, a Sunday in 2016.
START = "2016-07-31 23:00"
# The *_predicted_6h/12h/24h columns are these four, moved by 6, 12 and 24 rows.
COVARIATES = [
    "outdoor_dry_bulb_temperature",
    "outdoor_relative_humidity",
    "diffuse_solar_irradiance",
    "direct_solar_irradiance",
]


def download(folder: Path) -> Path:
    """The wheel, fetched by pip into `folder`."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "-d", str(folder), REQUIREMENT]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def tables(wheel: zipfile.ZipFile) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Loads and generation ``[8760, 34]``, and the weather ``[8760, 4]``."""

    def read(name: str) -> pd.DataFrame:
        return pd.read_csv(io.BytesIO(wheel.read(f"{INSIDE}/{name}.csv")))

    homes = {home: read(f"Building_{home}") for home in HOMES}
    columns = {f"load_{home}": homes[home]["non_shiftable_load"] for home in HOMES}
    columns |= {f"solar_{home}": homes[home]["solar_generation"] for home in HOMES}
    data, weather = pd.DataFrame(columns), read("weather")[COVARIATES]
    index = pd.date_range(START, periods=len(data), freq="h")
    return data.astype("float32").set_axis(index), weather.astype("float32").set_axis(index)


def net_load_weights(wheel: zipfile.ZipFile) -> dict[str, float]:
    """Weights of the total load minus the total solar power, in kWh per hour.

    A solar column is in W per kW of installed power, so it counts with the home's kW / 1000.
    """
    schema = json.loads(wheel.read(f"{INSIDE}/schema.json"))
    weights = {f"load_{home}": 1.0 for home in HOMES}
    for home in HOMES:
        power = schema["buildings"][f"Building_{home}"]["pv"]["attributes"]["nominal_power"]
        weights[f"solar_{home}"] = -power / 1000
    return weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, help="CityLearn-2.2b0-py3-none-any.whl")
    path = parser.parse_args().wheel
    with tempfile.TemporaryDirectory() as temporary:
        path = path or download(Path(temporary))
        content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != WHEEL_SHA256:
        raise SystemExit(f"{path} is not the wheel of {REQUIREMENT}: its SHA-256 differs")
    with zipfile.ZipFile(io.BytesIO(content)) as wheel:
        data, weather = tables(wheel)
        weights = net_load_weights(wheel)
        (HERE / "LICENSE").write_bytes(wheel.read("CityLearn-2.2b0.dist-info/LICENSE"))
    data.to_parquet(HERE / "data.parquet", compression="zstd")
    weather.to_parquet(HERE / "covariates.parquet", compression="zstd")
    meta: dict[str, Any] = {
        "name": "citylearn2022",
        "freq": "H",
        "prediction_length": 24,
        "rolling_windows": 7,
        "source": f"PyPI {REQUIREMENT}, {INSIDE}",
        "licence": "MIT",
        "covariates": COVARIATES,
        "aggregates": {"net_load": {"unit": "kWh per hour", "weights": weights}},
    }
    (HERE / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")
    contents = read_wide(HERE)
    meta["checksum"] = checksum([contents.train, *contents.test])
    (HERE / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")
    print(meta["checksum"])


if __name__ == "__main__":
    main()
