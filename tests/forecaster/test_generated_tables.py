"""The judge of generated tables: right where all is right, and not where a label, value or name is not."""

import sys
from pathlib import Path

import pandas as pd
import pytest
from tiny import QUIET

pytestmark = [QUIET, pytest.mark.filterwarnings("ignore::UserWarning")]
EVALUATION = Path(__file__).resolve().parents[2] / "evaluation"


@pytest.fixture(scope="module")
def judge():
    sys.path.insert(0, str(EVALUATION))
    try:
        import generated_tables
    finally:
        sys.path.remove(str(EVALUATION))
    return generated_tables


def turn(judge, defect):
    """The first table with a defect."""
    return next(n for n in range(200) if judge.make(n).defect == defect)


@pytest.mark.parametrize("defect", ["none", "grouped", "inputs", "local", "fixed", "covariates"])
def test_valid_tables_are_forecast(judge, defect):
    assert judge.outcome(turn(judge, defect))["outcome"] == "right"


@pytest.mark.parametrize("defect", ["twice", "word", "no_zone", "other_series", "no_future"])
def test_what_was_planted_is_named(judge, defect, monkeypatch):
    number = turn(judge, defect)
    assert judge.outcome(number)["outcome"] == "right"
    case = judge.make(number)
    monkeypatch.setattr(judge, "make", lambda _: case._replace(names_it="no such words"))
    assert judge.outcome(number)["outcome"] == "not named"


def test_wrong_labels_values_and_silence_are_seen(judge, monkeypatch):
    number = next(n for n in range(200) if len(judge.make(n).names) > 1 and not n % 56)
    case = judge.make(number)
    for wrong in (case._replace(names=case.names[::-1]), case._replace(ahead=case.ahead[::-1])):
        monkeypatch.setattr(judge, "make", lambda _, wrong=wrong: wrong)
        if len(case.ahead) > 1 or wrong.names != case.names:
            assert judge.outcome(number)["outcome"] == "wrong labels"
    monkeypatch.setattr(judge, "make", lambda _: case._replace(names_it="anything"))
    assert judge.outcome(number)["outcome"] == "not refused"
    cells = pd.MultiIndex.from_product([case.names, range(judge.PATHS), case.ahead])
    frame = cells.to_frame(index=False, name=["unique_id", "sample_id", "ds"]).assign(TimeGrad=1.0)
    assert judge.faults(frame, case) == "right"
    frame.loc[3, "TimeGrad"] = float("inf")
    assert judge.faults(frame, case) == "not finite"


def test_every_kind_of_table_and_frequency_has_its_turn(judge):
    cases = [judge.make(n) for n in range(400)]
    assert len({case.defect for case in cases}) == 28
    assert len({case.freq for case in cases}) == 24
