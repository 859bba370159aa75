"""A predictor saved over another one: whenever the process ends, one of the two is there."""

import os

import numpy as np
import pytest
from groups import contracts
from tiny import QUIET, entry, estimator, paths

from timediff import TimeGradPredictor, TrainConfig
from timediff.tools import files

pytestmark = [QUIET, contracts]
DATA = [entry()]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lightning")
    return [
        estimator(folder, train=TrainConfig(steps=1, steps_per_epoch=1, seed=seed)).train(DATA)
        for seed in (1, 2)
    ]


def loaded(folder):
    return paths(TimeGradPredictor.deserialize(folder, device="cpu"), DATA)


@pytest.mark.parametrize("moved", range(4))
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_save_that_ends_early_leaves_one_of_two_predictors(
    both, tmp_path, monkeypatch, moved, moment
):
    old, new = both
    old.serialize(tmp_path / "saved")
    replace, count = os.replace, []

    def ending(source, target):
        if moment == "after":
            replace(source, target)
        if len(count) == moved:
            raise KeyboardInterrupt
        count.append(target)
        if moment == "before":
            replace(source, target)

    monkeypatch.setattr(files.os, "replace", ending)
    if moved < 3:
        with pytest.raises(KeyboardInterrupt):
            new.serialize(tmp_path / "saved")
    else:
        new.serialize(tmp_path / "saved")
    monkeypatch.undo()
    switched = moved == 3 or (moved == 2 and moment == "after")
    np.testing.assert_array_equal(loaded(tmp_path / "saved"), paths((old, new)[switched], DATA))
    for predictor in (old, new):  # and what is saved afterwards leaves nothing over
        predictor.serialize(tmp_path / "saved")
        np.testing.assert_array_equal(loaded(tmp_path / "saved"), paths(predictor, DATA))
    assert len(list((tmp_path / "saved").iterdir())) == 3


def test_weights_of_a_name_that_is_not_ours_are_refused(both, tmp_path):
    both[0].serialize(tmp_path / "saved")
    file = tmp_path / "saved" / "predictor.json"
    file.write_text(file.read_text().replace("weights.safetensors", "../weights.safetensors"))
    with pytest.raises(
        ValueError, match=r"names weights '\.\./weights\.safetensors'; give a folder"
    ):
        TimeGradPredictor.deserialize(tmp_path / "saved")
