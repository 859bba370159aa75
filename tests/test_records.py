"""The documents say what the records say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from timediff.metrics import METRICS

ROOT = Path(__file__).resolve().parents[1]
RECORDS = sorted((ROOT / "evaluation" / "results").glob("*/record.json"))


def test_tables_are_what_the_records_say():
    done = subprocess.run(
        [sys.executable, str(ROOT / "evaluation" / "tables.py"), "--check"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_record_is_whole(path):
    record = json.loads(path.read_text())
    assert set(record["metrics"]) == set(METRICS)
    assert [result["seed"] for result in record["per_seed"]] == record["seeds"]
    assert record["commit"] and record["hardware"] and record["versions"]["torch"]
    assert set(METRICS) <= set(record["baselines"]["seasonal_naive"])
    assert (ROOT / "evaluation" / "configs" / f"{path.parent.name}.yaml").is_file()
