"""What neighbouring libraries do, as docs/traps.md says: a version that behaves otherwise is noticed here."""

import io
import re
from pathlib import Path
from typing import Literal

import holidays
import jsonargparse
import numpy as np
import pandas as pd
import properscoring
import pytest
import safetensors.numpy
import scoringrules
import torch
from gluonts.dataset.common import ListDataset
from gluonts.dataset.multivariate_grouper import MultivariateGrouper
from gluonts.dataset.pandas import PandasDataset
from gluonts.evaluation import MultivariateEvaluator
from gluonts.model.forecast import SampleForecast

PAGE = Path(__file__).parents[1] / "docs" / "traps.md"


def starts(freq, first="2024-01-31", length=8):
    stamps = pd.date_range(first, periods=length, freq=freq)
    frame = pd.DataFrame({"target": np.arange(length)}, index=stamps)
    return [entry["start"] for entry in PandasDataset({"a": frame}, target="target")]


@pytest.mark.parametrize("freq", ["ME", "QE", "YE", "QS", "YS"])
def test_pandas_dataset_refuses_ends(freq):
    with pytest.raises(ValueError, match=r"[Ff]requency|period"):
        starts(freq)
    assert str(starts("MS")[0]) == "2024-02"


def test_pandas_dataset_drops_minutes():
    assert starts("h", "2024-01-31 00:30") == [pd.Period("2024-01-31 00:00", "h")]


def test_list_dataset_drops_offsets():
    def start(given):
        return next(iter(ListDataset([{"start": given, "target": [1.0]}], freq="h")))["start"]

    assert start("2024-01-01T00:00:00+02:00") == start("2024-01-01T00:00:00Z")
    assert start(pd.Period("2024-01-01", "D")).hour == 23


def test_grouper_fills():
    first, second = [1.0, 2.0, 16777217.0], [4.0, 5.0]
    entries = [
        {"start": "2024-01-01 00:00", "target": first},
        {"start": "2024-01-01 01:00", "target": second},
    ]
    grouped = next(iter(MultivariateGrouper()(ListDataset(entries, freq="h"))))["target"]
    assert grouped[0, 2] == 16777216 and grouped[1, 0] == 4.5


def test_evaluator_counts_missing_as_zero():
    rng = np.random.default_rng(0)
    stamps = pd.period_range("2024-01-01", periods=15, freq="h")
    truth, paths = 10 + rng.normal(size=(15, 2)), 10 + rng.normal(size=(100, 12, 2))
    forecast = SampleForecast(paths, start_date=stamps[3])
    evaluator = MultivariateEvaluator(quantiles=[0.5], target_agg_funcs={"sum": np.sum})

    def score(values):
        frame = pd.DataFrame(values, index=stamps)
        return evaluator([frame], [forecast], num_series=1)[0]["m_sum_mean_wQuantileLoss"]

    complete = score(truth)
    truth[-1, 0] = np.nan
    missing = score(truth)
    truth[-1, 0] = 0.0
    assert missing == pytest.approx(score(truth)) and missing > 1.5 * complete


def test_properscoring_ignores_missing_members():
    crps = properscoring.crps_ensemble
    assert crps(0.0, [1.0, 2.0, np.nan]) == crps(0.0, [1.0, 2.0])


def test_scoringrules_has_two_estimators():
    members = np.array([0.0, 1.0, 3.0])
    by = {
        name: float(scoringrules.crps_ensemble(0.5, members, estimator=name))
        for name in ("pwm", "fair", "nrg")
    }
    error, spread = np.abs(members - 0.5).mean(), np.abs(members[:, None] - members).sum()
    assert by["pwm"] == pytest.approx(by["fair"]) == pytest.approx(error - spread / (2 * 3 * 2))
    assert by["nrg"] == pytest.approx(error - spread / (2 * 9))


def test_safetensors_reorders():
    array = np.arange(6.0).reshape(2, 3).T
    back = safetensors.numpy.load(safetensors.numpy.save({"a": array}))["a"]
    assert back.shape == array.shape and not np.array_equal(back, array)


def test_jsonargparse_takes_null():
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--kind", type=Literal["x", "y"], default="x")
    parser.add_argument("--steps", type=int, default=1)
    assert parser.parse_object({"kind": None}).kind is None
    assert parser.parse_args(["--ste", "3"]).steps == 3
    with pytest.raises(jsonargparse.ArgumentError):
        parser.parse_args(["--steps", "1e3"])


def test_holidays_by_utc():
    american = holidays.country_holidays("US")
    evening = pd.Timestamp("2024-07-04 21:00", tz="US/Eastern")
    assert evening in american and evening.tz_convert("UTC") not in american
    assert len(holidays.country_holidays("US", years=1700)) == 0
    with pytest.raises(TypeError):
        _ = np.datetime64("2024-07-04") in american


def test_pandas_weeks_begin():
    week = pd.Period("2026-11-25", "W-WED")
    assert week.to_timestamp() == pd.Timestamp("2026-11-19")
    frame = pd.DataFrame(np.ones((2, 2)), columns=pd.CategoricalIndex(["a", "b"]))
    file = io.BytesIO()
    frame.to_parquet(file)
    with pytest.raises(TypeError):
        pd.read_parquet(file)


def test_torch_draws_by_count():
    def drawn(count):
        return torch.randn(count, generator=torch.Generator().manual_seed(0))

    assert int((drawn(100)[:50] == drawn(50)).sum()) == 34


def test_quantiles_of_paths_are_narrow():
    rng = np.random.default_rng(0)
    paths, truth = rng.normal(size=(100, 20000)), rng.normal(size=20000)
    low, high = np.quantile(paths, [0.05, 0.95], axis=0)
    assert ((low <= truth) & (truth <= high)).mean() == pytest.approx(0.88, abs=0.01)


def test_the_page_names_the_tests():
    named = set(re.findall(r"\| `(\w+)` \|$", PAGE.read_text(), flags=re.MULTILINE))
    here = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert here - {"the_page_names_the_tests"} == named
