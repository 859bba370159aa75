"""The documents say what the records say."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from timediff.metrics import METRICS
from timediff.record import TITLES

ROOT = Path(__file__).resolve().parents[1]
RECORDS = sorted((ROOT / "evaluation" / "results").glob("*/record.json"))


def test_tables_are_what_the_records_say():
    done = subprocess.run(
        [sys.executable, str(ROOT / "evaluation" / "tables.py"), "--check"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def script(name):
    """A script of evaluation/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "evaluation" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_details_show_every_score_under_its_title():
    scores = {name: 0.25 + i / 100 for i, name in enumerate(METRICS)}
    net = {"net": {"unit": "kW", "crps_units": 7.5}}
    record = {
        "folder": "x",
        "dataset": {"name": "x", "series": 2, "prediction_length": 4, "windows": 1},
        "metrics": scores,
        "metrics_se": dict.fromkeys(METRICS),
        "aggregates": net,
        "per_seed": [{"seed": 1, "metrics": scores, "aggregates": net, "steps": 5}],
        "baselines": {"seasonal_naive": {"metrics": scores, "season": 24, "aggregates": net}},
        "seconds": {"training": 1.0, "sampling": 1.0},
        **{"num_samples": 100, "parameters": 7, "network_calls": 400},
        "hardware": {"device": "cpu", "threads": 2, "cpu": "a processor"},
    }
    text = script("tables").details([record])
    for name, title in TITLES.items():
        assert f"| {title} | {scores[name]:.4f} |" in text
    assert "| CRPS of net, kW | 7.5000 |" in text


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ([{"finite": True}, {"refused": "too short"}], 0),
        ([{"finite": True}, {"finite": False}], 1),
        ([{"refused": "too short"}, {"refused": "too short"}], 1),
    ],
)
def test_finite_says_by_its_status_whether_all_is_well(tmp_path, monkeypatch, rows, status):
    finite = script("finite")
    (tmp_path / "data" / "x").mkdir(parents=True)
    todo = iter(rows)
    monkeypatch.setattr(finite, "check", lambda name, *_: {"dataset": name, **next(todo)})
    monkeypatch.setattr(finite, "PRESETS", {"a": None, "b": None})
    out = tmp_path / "new" / "folder" / "finite.json"
    arguments = ["finite", "--data-dir", str(tmp_path / "data"), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    assert finite.main() == status
    assert len(json.loads(out.read_text())) == len(rows)


def scored(crps_sum, *, training_seconds=10.0):
    """What `summary` says of runs with this CRPS_sum."""
    studies = script("studies")
    metrics = dict.fromkeys(studies.SHOWN, 0.5) | {studies.SCORE: crps_sum}
    seconds = {"training": training_seconds, "sampling": 2.0}
    return studies.summary([{"metrics": metrics, "seconds": seconds, "steps": 7}] * 3)


def conducted(name, scores, seconds=lambda variant: 10.0):
    """Record of a study whose variants have these scores, and what it ran on which windows."""
    studies, asked = script("studies"), []

    def table(variants, *, test):
        asked.append((test, variants))
        return {
            d: {
                v: scored(scores[v], training_seconds=seconds(options))
                for v, options in named.items()
            }
            for d, named in variants.items()
        }

    return studies.conduct(name, studies.study(name, 500, 120.0), table), asked


def test_the_smallest_width_within_one_per_cent_is_chosen():
    record, asked = conducted("width", {"32": 1.1, "64": 0.908, "128": 1.0, "256": 0.9})
    assert record["choice"] == "64"
    assert record["relative"] == pytest.approx({"32": 1.1, "64": 0.908, "128": 1.0, "256": 0.9})
    # Test windows last, once, with no more than the default and the choice.
    assert [test for test, _ in asked] == [False, True]
    assert {d: list(named) for d, named in asked[1][1].items()} == {
        d: ["128", "64"] for d in script("studies").DATASETS
    }


def test_smaller_shares_are_also_trained_as_long_as_the_whole():
    scores = {"1": 1.0, "0.5": 1.2, "0.25": 1.3, "0.5, same time": 0.9, "0.25, same time": 1.1}
    record, asked = conducted("positions", scores, lambda v: 10 * v.train["positions"] ** 0.5)
    more = asked[1][1]["rts_gmlc"]
    assert more["0.5, same time"].train == {"steps": 707, "positions": 0.5}
    assert more["0.25, same time"].train == {"steps": 1000, "positions": 0.25}
    assert record["choice"] == "0.5, same time"
    assert list(record["test"]["rts_gmlc"]) == ["1", "0.5, same time"]
    assert json.loads(json.dumps(record))["variants"]["rts_gmlc"]["1"]["train"]["steps"] == 500


def test_kinds_of_denoisers_have_the_same_time():
    record, _ = conducted("denoiser", {"conv": 1.2, "mlp": 1.0, "attention": 1.1})
    times = {v["train"]["time_budget"] for v in record["variants"]["rts_gmlc"].values()}
    assert times == {120.0} and record["choice"] == "mlp"
    assert list(record["test"]["rts_gmlc"]) == ["mlp"]


def test_a_study_is_shown_when_its_record_is_there(tmp_path, monkeypatch):
    tables = script("tables")
    monkeypatch.setattr(tables, "HERE", tmp_path)
    assert tables.study("width") is None
    record, _ = conducted("width", {"32": 1.1, "64": 0.908, "128": 1.0, "256": 0.9})
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "width.json").write_text(json.dumps(record))
    text = tables.study("width")
    assert "| 64 | 0.9080 ± 0.0000 |" in text and "| 7 | 10 | 2.0 |" in text
    assert "Chosen (the smallest within 1 % of the best): 64." in text


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_record_is_whole(path):
    record = json.loads(path.read_text())
    assert set(record["metrics"]) == set(METRICS)
    assert [result["seed"] for result in record["per_seed"]] == record["seeds"]
    assert record["commit"] and record["hardware"] and record["versions"]["torch"]
    assert set(METRICS) <= set(record["baselines"]["seasonal_naive"])
    assert (ROOT / "evaluation" / "configs" / f"{path.parent.name}.yaml").is_file()
