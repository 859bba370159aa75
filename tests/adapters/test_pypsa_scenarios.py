"""Scenarios for PyPSA in files: as its stochastic networks have them."""

import numpy as np
import pandas as pd
import pytest

from timediff import Forecast, InputError
from timediff.adapters.pypsa import write_pypsa

NAMES = ["town", "village", "roof"]


def forecast(*, count=200, stamps=None, **options):
    rng = np.random.default_rng(0)
    common = rng.normal(size=(count, 6, 1))
    paths = common + 0.5 * rng.normal(size=(count, 6, 3)) + [10, 5, 1]
    stamps = pd.date_range("2024-03-31", periods=6, freq="h") if stamps is None else stamps
    return Forecast(paths, NAMES, stamps, **options)


def written(made, folder, **options):
    write_pypsa(made, folder, **({"loads": NAMES[:2], "generators": {"roof": 4.0}} | options))
    return {path.stem: pd.read_parquet(path) for path in folder.iterdir()}


@pytest.mark.contracts
def test_frames_are_snapshots_by_scenario_and_name(tmp_path):
    few = forecast().representatives(4)
    tables = written(few, tmp_path / "day")
    scenarios, loads = tables["scenarios"], tables["loads-p_set"]
    np.testing.assert_array_equal(scenarios["weight"], few.weights)
    assert loads.columns.names == ["scenario", "name"] and loads.index.name == "snapshot"
    assert list(loads.columns.unique("scenario")) == list(scenarios["scenario"])
    assert list(loads.index) == list(few.stamps)
    for s, scenario in enumerate(scenarios["scenario"]):
        np.testing.assert_array_equal(loads[scenario], few.paths[s][:, :2])
    assert tables["generators"].to_dict("list") == {"name": ["roof"], "p_nom": [4.0]}


@pytest.mark.invariances
def test_a_scenario_is_one_joint_path_of_loads_and_generators(tmp_path):
    few = forecast().representatives(5)
    tables = written(few, tmp_path / "day")
    sun = tables["generators-p_max_pu"]
    assert (sun.to_numpy() >= 0).all()
    for s, scenario in enumerate(tables["scenarios"]["scenario"]):
        power = 4.0 * sun[scenario, "roof"]
        np.testing.assert_allclose(power, np.maximum(few.paths[s, :, 2], 0))


@pytest.mark.contracts
def test_paths_without_weights_have_the_same(tmp_path):
    tables = written(forecast(count=8), tmp_path / "day", generators=None)
    assert set(tables) == {"scenarios", "loads-p_set"}
    assert (tables["scenarios"]["weight"] == 1 / 8).all()


@pytest.mark.contracts
def test_snapshots_are_utc_where_stamps_have_a_zone(tmp_path):
    stamps = pd.date_range("2024-03-31", periods=6, freq="h", tz="Europe/Berlin")
    index = written(forecast(count=3, stamps=stamps), tmp_path / "day")["loads-p_set"].index
    assert index.tz is None and index[0] == pd.Timestamp("2024-03-30 23:00")
    assert (np.diff(index) == pd.Timedelta("1h")).all()


@pytest.mark.contracts
def test_earlier_scenarios_are_replaced_and_nothing_else(tmp_path):
    (tmp_path / "day").mkdir()
    written(forecast(count=3), tmp_path / "day")
    assert set(written(forecast(count=2), tmp_path / "day", generators=None)) == {
        "scenarios",
        "loads-p_set",
    }
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter").write_text("dear")
    with pytest.raises(InputError, match="holds something else"):
        written(forecast(count=2), tmp_path / "other")


@pytest.mark.contracts
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"loads": [], "generators": None}, "no series is a load or a generator"),
        ({"loads": ["city"]}, "no series 'city'"),
        ({"loads": NAMES}, "'roof' is a load and a generator"),
        ({"generators": {"roof": 0.0}}, "give its capacity, above 0"),
        ({"generators": {"roof": float("nan")}}, "give its capacity, above 0"),
    ],
)
def test_a_mistake_gets_a_sentence(options, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        written(forecast(count=2), tmp_path / "day", **options)
