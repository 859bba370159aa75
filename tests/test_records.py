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
        "baselines": {"seasonal_naive": {**scores, "season": 24, "aggregates": net}},
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


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_record_is_whole(path):
    record = json.loads(path.read_text())
    assert set(record["metrics"]) == set(METRICS)
    assert [result["seed"] for result in record["per_seed"]] == record["seeds"]
    assert record["commit"] and record["hardware"] and record["versions"]["torch"]
    assert set(METRICS) <= set(record["baselines"]["seasonal_naive"])
    assert (ROOT / "evaluation" / "configs" / f"{path.parent.name}.yaml").is_file()
