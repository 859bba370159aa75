"""The leaderboard says what the records of 30 origins say."""

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from timediff.metrics import title_of

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "evaluation" / "results").glob("*-rolling/record.json"))


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "evaluation"))
    return import_module("leaderboard_page")


@pytest.fixture
def runs(page):
    return import_module("tables").read_records(ROOT / "evaluation" / "results")


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_ratios_are_those_of_the_files(page, runs):
    """Geometric means over the sets, by numpy from the files themselves."""
    head, _, *rows = cells(page.overall(runs))
    records = [json.loads(file.read_text()) for file in FILES]
    assert len(records) == 10 and head[0] == "10 sets"
    for score in ("mean_wquantile_loss_sum", "energy_score", "variogram_score"):
        column, logs = head.index(title_of(score)), {}
        for record in records:
            values = {e["title"]: e["metrics"][score] for e in record["entrants"].values()}
            for title, value in values.items():
                logs.setdefault(title, []).append(np.log(value / min(values.values())))
        for row in rows:
            assert float(row[column]) == pytest.approx(np.exp(np.mean(logs[row[0]])), abs=6e-4)
    assert [float(row[1]) for row in rows] == sorted(float(row[1]) for row in rows)


def test_better_and_worse_are_those_of_the_tests(page, runs):
    head, _, *rows = cells(page.overall(runs))
    found = {row[0]: row[head.index("sets better, worse")] for row in rows}
    better = worse = 0
    for file in FILES:
        comparison = json.loads(file.read_text())["comparisons"]["random_walk"]
        if comparison["p_value"] is not None and comparison["p_value"] < 0.05:
            better += comparison["ratio"] > 1
            worse += comparison["ratio"] < 1
    assert found["random walk"] == f"{better}, {worse}"


def test_columns_that_no_record_knows_are_left_out(page):
    rows = [["", "a", "b"], ["x", page.DASH, "1"], ["y", page.DASH, page.DASH]]
    assert page.known(rows) == [["", "b"], ["x", "1"], ["y", page.DASH]]
