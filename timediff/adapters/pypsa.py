"""Scenarios for stochastic networks of PyPSA, in Parquet files.

PyPSA from 1.4 on requires pandas 3, which GluonTS forbids: they cannot be in one environment, and files pass
between the two. They need neither this package nor PyPSA to be read, only ``pandas.read_parquet``.

Axes: ``S`` paths, which are scenarios there, ``T`` steps, which are snapshots there.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from timediff.arguments import checked
from timediff.errors import InputError
from timediff.forecaster.forecast import Forecast
from timediff.forecaster.frames import Array, some
from timediff.tools.files import whole_folder

__all__ = ["FILES", "write_pypsa"]

_SCENARIOS, _LOADS, _AVAILABLE, _RATED = (
    "scenarios.parquet",
    "loads-p_set.parquet",
    "generators-p_max_pu.parquet",
    "generators.parquet",
)
#: What is written; the names of time series are those of PyPSA's own folders.
FILES = {_SCENARIOS, _LOADS, _AVAILABLE, _RATED}


@checked
def write_pypsa(
    forecast: Forecast,
    folder: str | Path,
    *,
    loads: Sequence[Any] = (),
    generators: Mapping[Any, float] | None = None,
) -> None:
    """Writes a folder of scenarios, whole or not at all; an earlier one of these is replaced.

    - ``scenarios.parquet``: ``scenario`` ("s0" and so on) and its ``weight``, that of the path, or 1 / S.
    - ``loads-p_set.parquet`` and ``generators-p_max_pu.parquet``: ``snapshot`` by ``(scenario, name)``, as
      ``n.c.loads.dynamic.p_set`` is after ``n.set_scenarios``.
    - ``generators.parquet``: ``name`` and ``p_nom``.

    A scenario is one joint path over all loads, generators and snapshots. Snapshots have no zone in PyPSA:
    they are UTC where stamps have one.

    Args:
        forecast: Few paths, as `Forecast.representatives` gives them: PyPSA solves all scenarios at once.
        folder: Where to.
        loads: Series that are loads of these names, in the network's units of power.
        generators: Series that are what generators of these names could produce, with the ``p_nom`` of each
            in the same units; what is below 0 counts as 0.

    Raises:
        InputError: A series is not in the forecast or is none of these, a ``p_nom`` is not positive, or
            something else is in the folder.
    """
    generators = generators or {}
    _check(forecast, loads, generators)
    path = Path(folder)
    if path.exists() and not (path.is_dir() and {file.name for file in path.iterdir()} <= FILES):
        raise InputError(f"{path} is there and holds something else; choose another path")
    names = [f"s{i}" for i in range(len(forecast.paths))]
    weights = forecast.weights
    if weights is None:
        weights = np.full(len(names), 1 / len(names))
    tables = {_SCENARIOS: pd.DataFrame({"scenario": names, "weight": weights})}
    if loads:
        tables[_LOADS] = _frame(forecast, names, loads, np.ones(len(loads)))
    if generators:
        table = _frame(forecast, names, list(generators), np.array(list(generators.values())))
        tables[_AVAILABLE] = table.clip(lower=0)
        rated = {"name": list(map(str, generators)), "p_nom": list(map(float, generators.values()))}
        tables[_RATED] = pd.DataFrame(rated)
    with whole_folder(path) as part:
        for name, table in tables.items():
            table.to_parquet(part / name)


def _check(forecast: Forecast, loads: Sequence[Any], generators: Mapping[Any, float]) -> None:
    known = list(forecast.names)
    wanted = [*loads, *generators]
    if not wanted:
        raise InputError(
            f"no series is a load or a generator; name some of {some(known)} as loads or generators"
        )
    if unknown := [name for name in wanted if name not in known]:
        raise InputError(f"the forecast has no series {unknown[0]!r}; its series are {some(known)}")
    if twice := [name for name in loads if name in generators]:
        raise InputError(f"{twice[0]!r} is a load and a generator; leave it out of one of them")
    if empty := [name for name, p_nom in generators.items() if not p_nom > 0]:
        raise InputError(
            f"p_nom of generator {empty[0]!r} is {generators[empty[0]]}; give its capacity, above 0"
        )


def _frame(
    forecast: Forecast, scenarios: list[str], series: Sequence[Any], units: Array
) -> pd.DataFrame:
    """Paths of some series, each divided by its unit, snapshots by (scenario, name)."""
    known = list(forecast.names)
    paths = forecast.paths[:, :, [known.index(name) for name in series]] / units  # [S, T, names]
    columns = pd.MultiIndex.from_product(
        [scenarios, list(map(str, series))], names=["scenario", "name"]
    )
    values = paths.transpose(1, 0, 2).reshape(paths.shape[1], -1).astype(np.float64)
    return pd.DataFrame(values, index=_snapshots(forecast.stamps), columns=columns)


def _snapshots(stamps: pd.Index) -> pd.DatetimeIndex:
    if isinstance(stamps, pd.PeriodIndex):
        stamps = stamps.to_timestamp()
    stamps = pd.DatetimeIndex(stamps)
    if stamps.tz is not None:
        stamps = stamps.tz_convert("UTC").tz_localize(None)
    return stamps.rename("snapshot")
