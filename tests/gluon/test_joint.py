"""Univariate entries: one joint model of them when asked, else one univariate model that says so."""

import warnings

import numpy as np
import pandas as pd
import pytest
from gluonts.dataset.pandas import PandasDataset
from tiny import HORIZON, QUIET, entry, estimator, paths, period

from timediff import TimeGradPredictor
from timediff.errors import InputError

pytestmark = QUIET
NAMES = ["b", "a", "c"]


def items(*, length=60, names=NAMES, starts=(0, 0, 0), **fields):
    """The dimensions of an entry as entries of their own, some of them beginning later."""
    target = entry(length=length)["target"]
    return [
        {
            "item_id": name,
            "start": period("h") + late,
            "target": target[NAMES.index(name), late:],
            **{key: value[..., late:] for key, value in fields.items()},
        }
        for name, late in zip(names, starts, strict=True)
    ]


@pytest.fixture(scope="module")
def joint(tmp_path_factory):
    return estimator(tmp_path_factory.mktemp("joint"), joint=True).train(items())


def test_a_joint_model_of_items_is_that_of_the_entry_they_make(joint, tmp_path):
    whole = [entry(item_id="joint", info={"columns": NAMES})]
    other = estimator(tmp_path).train(whole)
    found = list(joint.predict(items(), 20, seed=5, progress=False))
    assert [one.item_id for one in found] == NAMES
    np.testing.assert_array_equal(
        np.stack([one.samples for one in found], axis=-1), paths(other, whole)[0]
    )
    assert all(one.samples.shape == (20, HORIZON) for one in found)
    # The predictor of an entry with names takes items too.
    np.testing.assert_array_equal(paths(other, items()), paths(joint, items()))


def test_items_in_another_order_have_the_same_forecasts_by_their_names(joint):
    expected = dict(zip(NAMES, paths(joint, items()), strict=True))
    turned = ["c", "b", "a"]
    found = list(joint.predict(items(names=turned), 20, seed=5, progress=False))
    assert [one.item_id for one in found] == turned
    for one in found:
        np.testing.assert_array_equal(one.samples, expected[one.item_id])


def test_a_saved_joint_model_still_knows_its_items(joint, tmp_path):
    joint.serialize(tmp_path)
    loaded = TimeGradPredictor.deserialize(tmp_path, device="cpu")
    np.testing.assert_array_equal(paths(loaded, items()), paths(joint, items()))


def test_items_are_aligned_by_their_stamps(joint):
    late = items(starts=(0, 7, 0))
    whole = entry(item_id="joint", info={"columns": NAMES})
    whole["target"] = whole["target"].copy()
    whole["target"][1, :7] = np.nan
    np.testing.assert_array_equal(np.moveaxis(paths(joint, late), 0, -1), paths(joint, [whole])[0])
    (first, *_) = joint.predict(late, 10, seed=1, progress=False)
    assert first.start_date == period("h") + 60


def test_covariates_of_items_are_those_of_the_dimensions(tmp_path):
    own = np.random.default_rng(0).normal(size=(1, 60 + HORIZON)).astype("f4")
    model = estimator(tmp_path, joint=True).train(items(feat_dynamic_real=own))
    assert [one.own for one in model.prediction_net.shape.covariates] == [True]
    assert np.isfinite(paths(model, items(feat_dynamic_real=own))).all()
    with pytest.raises(InputError, match="feat_dynamic_real"):
        mixed = [*items(feat_dynamic_real=own)[:2], items()[2]]
        paths(model, mixed)


@pytest.mark.parametrize(
    "dataset",
    [
        items(),
        PandasDataset(
            {
                name: pd.DataFrame(
                    {"target": np.arange(60.0)}, pd.date_range("2024", periods=60, freq="h")
                )
                for name in "ab"
            }
        ),
    ],
    ids=["entries", "pandas"],
)
def test_a_univariate_model_of_several_says_so_in_one_line(tmp_path, dataset):
    with pytest.warns(UserWarning, match="one univariate model for all .* joint=True") as found:
        model = estimator(tmp_path).train(dataset)
    assert all("\n" not in str(warning.message) for warning in found)
    assert model.prediction_net.shape.target_dim == 1
    with warnings.catch_warnings(record=True) as none:
        warnings.simplefilter("always")
        estimator(tmp_path, joint=False).train(dataset)
    assert not [w for w in none if "univariate" in str(w.message)]


def test_a_long_pandas_dataset_becomes_a_joint_model(tmp_path):
    frame = pd.concat(
        pd.DataFrame(
            {"item": one["item_id"], "target": one["target"]},
            index=pd.date_range("2020-01-06", periods=60, freq="h"),
        )
        for one in items()
    )
    dataset = PandasDataset.from_long_dataframe(frame, item_id="item", target="target")
    model = estimator(tmp_path, joint=True).train(dataset)
    assert model.prediction_net.shape.target_dim == 3
    found = list(model.predict(dataset, 10, seed=1, progress=False))
    assert sorted(one.item_id for one in found) == sorted(NAMES)


@pytest.mark.parametrize(
    ("dataset", "sentence"),
    [
        (items()[:2], "no item 'c'"),
        ([*items(), {**items()[0], "item_id": "d"}], "not trained on the item 'd'"),
        ([*items(), items()[0]], "two entries have the item_id 'b'"),
        ([{**one, "item_id": None} for one in items()], "entry 0 has no item_id"),
        (
            [entry(info={"columns": ["a", "b", "c"]})],
            "dimension 0 of a is 'a', but 'b' in the training",
        ),
    ],
)
def test_items_that_do_not_fit_get_one_sentence(joint, dataset, sentence):
    with pytest.raises(InputError, match=sentence):
        list(joint.predict(dataset, 10, progress=False))


def test_targets_of_several_dimensions_are_joint_already(tmp_path):
    with pytest.raises(InputError, match=r"leave it out for targets \[D, T\]"):
        estimator(tmp_path, joint=True).train([entry()])


def test_a_history_shorter_than_the_lags_is_named(joint):
    needed = joint.prediction_net.shape.history_length
    with pytest.warns(UserWarning, match=f"history of joint is shorter than the {needed} steps"):
        paths(joint, items(length=needed - 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths(joint, items(length=needed))
