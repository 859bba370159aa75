"""What is no dataset, no entry or no option of a trainer is refused in one sentence, before training."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.plugins import DoublePrecision
from tiny import HORIZON, QUIET, TRAIN, entry, estimator

import timediff
from timediff import SamplingConfig, TrainConfig
from timediff.errors import InputError

pytestmark = QUIET


@pytest.fixture(autouse=True)
def no_training(monkeypatch, request):
    """Training, where it begins, is a failure of the test."""

    def fit(*_args, **_options):
        raise AssertionError("training was started")

    if "plain" not in request.fixturenames:
        monkeypatch.setattr("lightning.pytorch.Trainer.fit", fit)


def sentence(call, *args, **values):
    with pytest.raises(InputError) as caught:
        call(*args, **values)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    return str(caught.value)


FRAME = pd.DataFrame({"a": np.arange(60.0)})
#: What is given as a dataset, and what is said of it.
DATASETS = {
    "a frame": (FRAME, "is a DataFrame; give GluonTS entries, or the frame to timediff.Forecaster"),
    "one entry": (entry(), "is a single entry; give a list with it"),
    "a mapping": ({"a": FRAME}, "give a list of GluonTS entries"),
    "a name": ("exchange_rate", "is 'exchange_rate'; give GluonTS entries, load_dataset(...)"),
    "a dataset": (timediff.load_dataset("oracle-2x300"), "is a Dataset; give its train or test"),
    "nothing": (None, "is None; give a list of GluonTS entries"),
    "a number": (5, "is 5; give a list of GluonTS entries"),
    "an array": (np.arange(60.0), "entry 0 of"),
    "a list of arrays": ([np.arange(60.0)], "entry 0 of"),
    "a list of nothing": ([entry(), None], "entry 1 of"),
}


@pytest.mark.parametrize(("dataset", "said"), DATASETS.values(), ids=DATASETS)
def test_what_is_no_dataset_is_not_trained_on(tmp_path, dataset, said):
    small = estimator(tmp_path)
    assert said in sentence(small.train, dataset)
    if dataset is not None:
        assert said.replace("training", "validation") in sentence(small.train, [entry()], dataset)
    assert said in sentence(estimator(tmp_path, joint=True).train, dataset)


@pytest.mark.parametrize(("dataset", "said"), DATASETS.values(), ids=DATASETS)
def test_what_is_no_dataset_is_not_forecast(plain, dataset, said):
    assert said in sentence(lambda: list(plain.predict(dataset, 2, progress=False)))
    assert said in sentence(plain.density, dataset, progress=False)
    assert said in sentence(timediff.distill, plain, dataset, steps=1, progress=False)


def test_entries_that_are_mappings_of_another_kind_are_read(plain):
    wrapped = MappingProxyType(entry())
    assert not isinstance(wrapped, dict) and isinstance(wrapped, Mapping)
    forecasts = [list(plain.predict(d, 2, seed=1, progress=False)) for d in ([wrapped], [entry()])]
    assert np.array_equal(forecasts[0][0].samples, forecasts[1][0].samples)


ODD = {
    "array": ({"item_id": np.arange(3)}, "the item_id of an entry is a ndarray"),
    "list": ({"item_id": [1]}, "the item_id of an entry is [1]"),
    "nan": ({"item_id": float("nan")}, "the item_id of an entry is nan"),
    "info": ({"info": "x"}, "info of a is 'x'; give a mapping"),
    "columns": (
        {"info": {"columns": "abc"}},
        "info of a has 'abc' as 'columns'; it must be a list",
    ),
    "count": ({"info": {"columns": ["x"]}}, "info of a names 1 columns, and its target has 3"),
    "covariates": ({"info": {"covariates": 5}}, "info of a has 5 as 'covariates'"),
    "gradients": ({"target": torch.zeros(3, 60, requires_grad=True)}, "give its detach()"),
}


@pytest.mark.parametrize(("fields", "said"), ODD.values(), ids=ODD)
def test_odd_fields_are_named(tmp_path, plain, fields, said):
    assert said in sentence(estimator(tmp_path).train, [entry() | fields])
    assert said in sentence(lambda: list(plain.predict([entry() | fields], 2, progress=False)))


@pytest.mark.parametrize("item_id", [0, np.int64(7), "", None, "name"])
def test_names_of_entries_may_be_numbers(plain, item_id):
    (forecast,) = plain.predict([entry(item_id=item_id)], 2, progress=False)
    assert forecast.samples.shape == (2, HORIZON, 3)


def test_a_name_of_a_megabyte_is_shown_in_short(tmp_path):
    long = entry(item_id="x" * 10**6) | {"target": "text"}
    assert "xxx..." in sentence(estimator(tmp_path).train, [long])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"acelerator": "cpu"}, "'acelerator', which is no option of lightning.pytorch.Trainer; "),
        ({"wings": 2}, "leave it out"),
        ({"max_steps": 0}, "max_steps of trainer_kwargs is 0"),
        ({"max_steps": -1}, "max_steps of trainer_kwargs is -1"),
        ({"max_epochs": 0}, "max_epochs of trainer_kwargs is 0"),
        ({"max_epochs": -1}, "max_epochs of trainer_kwargs is -1"),
        ({"max_epochs": 2.5}, "max_epochs of trainer_kwargs is 2.5"),
    ],
)
def test_options_of_the_trainer_are_refused_when_they_are_given(tmp_path, options, said):
    assert said in sentence(estimator, tmp_path, trainer_kwargs=options)
    assert said in sentence(timediff.Forecaster, trainer_kwargs=options)


@pytest.mark.parametrize("options", [{"accelerator": "steam"}, {"devices": "many"}])
def test_what_lightning_refuses_is_one_sentence(tmp_path, options):
    small = estimator(tmp_path, trainer_kwargs=options)
    assert "trainer_kwargs are refused by lightning" in sentence(small.train, [entry()])


def test_no_keyword_of_train_is_passed_over(tmp_path):
    assert "'num_epochs'" in sentence(estimator(tmp_path).train, [entry()], num_epochs=5)
    said = sentence(estimator(tmp_path).train_from, "model", [entry()])
    assert said == "predictor is 'model'; it must be a PyTorchPredictor"


@pytest.mark.parametrize("seed", [np.int64(0), np.uint8(3), np.int32(2**31 - 1)])
def test_seeds_of_numpy_are_those_of_python(tmp_path, plain, seed):
    numbers = [
        next(plain.predict([entry()], 2, seed=one, progress=False)).samples
        for one in (seed, int(seed))
    ]
    assert np.array_equal(*numbers)
    assert type(estimator(tmp_path, train=TrainConfig(seed=seed)).train_config.seed) is int


@pytest.mark.parametrize("device", [torch.device("cpu"), "cpu", "auto"])
def test_devices_by_name_or_as_torch_has_them(plain, tmp_path, device):
    plain.serialize(str(tmp_path))
    assert type(plain).deserialize(str(tmp_path), device=device).device in ("cpu", "cuda")


@pytest.mark.parametrize(
    ("device", "said"),
    [
        (None, "device is None; it must be a text or a device"),
        (5, "device is 5; it must be a text or a device"),
        ("toaster", "device 'toaster' is not known"),
        ("cuda:99", "device cuda:99 is not there"),
    ],
)
def test_devices_that_are_none(plain, tmp_path, device, said):
    plain.serialize(tmp_path)
    assert said in sentence(type(plain).deserialize, tmp_path, device=device)


def test_sampling_that_is_none(plain):
    for sampling, said in [
        (None, "sampling is None; it must be a SamplingConfig"),
        ("ddim", "sampling is 'ddim'"),
        (SamplingConfig(steps=2.5), "sampling steps is 2.5"),
    ]:
        plain.sampling = sampling
        assert said in sentence(lambda: list(plain.predict([entry()], 2, progress=False)))


def test_sampling_in_numbers_of_numpy_is_saved(plain, tmp_path):
    plain.sampling = SamplingConfig("ddim", steps=np.int64(3), options={"eta": np.float32(0.5)})
    plain.serialize(tmp_path)
    back = type(plain).deserialize(tmp_path, device="cpu").sampling
    assert back == SamplingConfig("ddim", steps=3, options={"eta": 0.5})


def test_paths_that_are_no_numbers_are_not_supported(plain):
    assert "detach()" in sentence(plain.supported, torch.zeros(3, requires_grad=True))
    assert "not numeric" in sentence(plain.supported, "x")


def test_a_long_horizon_is_refused_before_the_network_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr("timediff.gluon.estimator.TimeGrad", None)
    said = sentence(estimator(tmp_path, prediction_length=999_999).train, [entry()])
    assert "no series is longer than the horizon of 999999 steps (the longest has 60)" in said


#: Options of Lightning's trainer that this training does not work with, with validation data.
UNFIT = {
    "64-true": ({"precision": "64-true"}, "precision of trainer_kwargs is 64-true"),
    "64": ({"precision": 64}, "choose one of 32-true, bf16-mixed, 16-mixed"),
    "bf16-true": ({"precision": "bf16-true"}, "precision of trainer_kwargs is bf16-true"),
    "plugin": ({"plugins": DoublePrecision()}, "precision of trainer_kwargs is 64-true"),
    "every second": (
        {"check_val_every_n_epoch": 2},
        "check_val_every_n_epoch of trainer_kwargs is 2",
    ),
    "half an epoch": ({"val_check_interval": 0.5}, "val_check_interval of trainer_kwargs is 0.5"),
    "no validation": ({"limit_val_batches": 0}, "limit_val_batches of trainer_kwargs is 0"),
    "no training": ({"limit_train_batches": 0}, "limit_train_batches of trainer_kwargs is 0"),
}


@pytest.mark.parametrize("patience", [0, 1])
@pytest.mark.parametrize(("options", "said"), UNFIT.values(), ids=UNFIT)
def test_options_that_training_does_not_work_with_are_named(tmp_path, options, said, patience):
    config = TRAIN._replace(patience=patience)
    small = estimator(tmp_path, train=config, trainer_kwargs=options)
    assert said in sentence(small.train, [entry()], [entry()])


@pytest.mark.parametrize("callback", ["foo", 5, EarlyStopping])
def test_callbacks_are_objects_of_lightning(tmp_path, callback):
    for callbacks in (callback, [callback]):
        said = sentence(estimator, tmp_path, trainer_kwargs={"callbacks": callbacks})
        assert "give a lightning.pytorch.Callback" in said


def test_a_callback_that_monitors_what_is_not_measured(tmp_path):
    options = {"callbacks": EarlyStopping("val_loss")}
    said = sentence(estimator(tmp_path, trainer_kwargs=options).train, [entry()])
    assert said.startswith("EarlyStopping of trainer_kwargs monitors val_loss")


def test_a_refused_trainer_leaves_no_folder_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    options = {"default_root_dir": None, "precision": "64-true"}
    sentence(estimator(tmp_path, trainer_kwargs=options).train, [entry()])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options", [{"max_time": {"seconds": 0}}, {"limit_val_batches": 0.0001}], ids=str
)
def test_what_lightning_notices_in_training_is_one_sentence_too(plain, tmp_path, options):
    """Training is not stopped here, as the predictor is asked for."""
    said = sentence(estimator(tmp_path, trainer_kwargs=options).train, [entry()], [entry()])
    assert "max_time of trainer_kwargs" in said or "limit_val_batches" in said


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", 32])
def test_precisions_that_leave_the_weights_train(plain, tmp_path, precision):
    trained = estimator(tmp_path, trainer_kwargs={"precision": precision}).train([entry()])
    (forecast,) = trained.predict([entry()], 2, seed=1, progress=False)
    assert np.isfinite(forecast.samples).all()
