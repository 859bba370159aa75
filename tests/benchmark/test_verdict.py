"""Whom a record says to use: cases by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
from made_records import a_record, dataset, normal_forecast, read_back

from timediff.benchmark.record import COMPARED, Seconds, read_record
from timediff.benchmark.verdict import Bands, rival, verdict
from timediff.report.opening import main_scores, sentences


@pytest.fixture(scope="module")
def made():
    paths, truth = normal_forecast(3)
    return read_back(a_record(dataset(truth), truth, paths, paths + 1))


def compared(record, *, ratio, interval=None, seconds=(10.0, 1.0), too_few=False):
    """The record with another comparison with its only rival."""
    comparison = record.comparisons["naive"]._replace(
        ratio=ratio, ratio_interval=interval, too_few=too_few, windows=40, wins=26
    )
    entrants = {
        name: entrant._replace(seconds=Seconds(spent, 0.0), seeds=[1])
        for (name, entrant), spent in zip(record.entrants.items(), (*seconds, 0.0), strict=True)
    }
    return record._replace(comparisons={"naive": comparison}, entrants=entrants)


@pytest.mark.oracles
@pytest.mark.parametrize(
    ("case", "use", "told"),
    [
        ({"ratio": 0.8, "interval": (0.7, 0.9)}, "timediff", True),
        ({"ratio": 1.2, "interval": (1.1, 1.3)}, "naive <one>", True),
        ({"ratio": 0.98, "interval": (0.9, 1.1)}, "naive <one>", False),
        ({"ratio": 1.02, "interval": (0.9, 1.1), "seconds": (1.0, 10.0)}, "timediff", False),
        ({"ratio": 0.98, "too_few": True}, "timediff", None),
        ({"ratio": 1.02, "too_few": True}, "naive <one>", None),
        ({"ratio": math.nan, "too_few": True}, None, None),
    ],
)
def test_the_better_is_used_and_where_chance_explains_it_the_cheaper(made, case, use, told):
    found = verdict(compared(made, **case))
    assert (found.use, found.told) == (use, told)
    said = " ".join(sentences(compared(made, **case)))
    assert said.count(". ") == 1 and said.endswith(".")  # two sentences
    assert ("too few to be sure" in said) == (told is None and use is not None)
    assert ("may be chance" in said) == (told is False)
    if not math.isnan(case["ratio"]):
        assert said.startswith(
            "Against naive <one>, timediff is better in 26 of 40 windows and has "
        )


@pytest.mark.oracles
def test_the_rival_is_the_best_that_does_not_know_the_answer(made):
    assert made.entrants["oracle"].kind == "oracle" and rival(made) == "naive"
    naive = made.entrants["naive"]
    better = naive._replace(title="better", metrics=naive.metrics | {COMPARED: 1e-6})
    more = made._replace(entrants={**made.entrants, "better": better})
    assert rival(more) == "better" and verdict(more).others == 2
    assert "(the best of 2 others)" in sentences(more)[0]
    ours = next(iter(made.entrants))
    alone = made._replace(entrants={ours: made.evaluated}, comparisons={})
    assert rival(alone) is None and "--baselines fast" in sentences(alone)[1]


@pytest.mark.contracts
def test_every_kept_record_has_a_verdict_and_main_scores():
    places = sorted((Path(__file__).parents[2] / "evaluation" / "results").glob("*/record.json"))
    assert len(places) > 10
    for place in places:
        record = read_record(place)
        stands, advice = sentences(record)
        assert record.evaluated.title in stands and advice.endswith(".")
        assert "nan" not in stands and record.entrants[rival(record)].kind != "oracle"
        assert main_scores(record).count('scope="row"') == 5


@pytest.mark.oracles
def test_bands_are_judged_by_what_chance_leaves_them(made):
    assert Bands(0.8, 0.9, (0.85, 0.95)).fault == "too narrow"
    assert Bands(0.97, 0.9, (0.85, 0.95)).fault == "too wide"
    assert Bands(0.88, 0.9, (0.85, 0.95)).fault == Bands(0.1, 0.9).fault == ""
    coverage = made.evaluated.diagnosis["coverage"]
    found = verdict(made).bands
    assert found.share == coverage["each"][1]
    assert found.chance == tuple(end[1] for end in coverage["chance"]["each"])
    narrow = made.evaluated._replace(diagnosis=None)
    entrants = {**made.entrants, next(iter(made.entrants)): narrow}
    old = verdict(made._replace(entrants=entrants)).bands
    assert old.chance is None and np.isclose(old.share, narrow.metrics["coverage_90"])
