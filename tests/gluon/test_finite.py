"""Numbers that are none stop where they arise: in training, in files, in entries, in forecasts."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import HORIZON, MODEL, QUIET, TRAIN, entry, estimator, paths

from timediff import TimeGradPredictor, load_dataset
from timediff.config import DistillConfig, ModelConfig
from timediff.errors import InputError
from timediff.gluon.distill import distill
from timediff.gluon.rolled import rolled

pytestmark = QUIET
HUGE = TRAIN._replace(steps=30, steps_per_epoch=30, learning_rate=1e30, gradient_clip=0.0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A predictor of the default kind, whose model has all the tensors that there are."""
    model = ModelConfig(num_layers=1, hidden_size=6, denoiser_width=8, denoiser_layers=1)
    series = entry(length=400, feat_dynamic_real=entry(dim=1, length=400 + HORIZON)["target"])
    return estimator(tmp_path_factory.mktemp("made"), model=model).train([series])


@pytest.fixture
def saved(trained, tmp_path):
    trained.serialize(tmp_path)
    return tmp_path


def test_training_that_diverges_stops_in_its_epoch(tmp_path):
    made = estimator(tmp_path, train=HUGE._replace(steps=300))
    with pytest.raises(InputError, match=r"training diverged by step 30: .*lower learning_rate"):
        made.train([entry()])
    assert not list(tmp_path.rglob("*.ckpt"))


def test_the_last_good_state_is_kept_and_named(tmp_path, monkeypatch):
    from timediff.training.module import TimeGradModule

    step = TimeGradModule.training_step

    def poisoned(self, batch, batch_idx):
        return step(self, batch, batch_idx) * (float("nan") if self.current_epoch == 2 else 1)

    monkeypatch.setattr(TimeGradModule, "training_step", poisoned)
    last = tmp_path / "checkpoints" / "last.ckpt"
    with pytest.raises(
        InputError, match=r"diverged by step 9: .*the state before is in .*\.ckpt"
    ) as caught:
        estimator(tmp_path, train=TRAIN._replace(steps=15)).train([entry()])
    assert str(tmp_path / "checkpoints") in str(caught.value)
    kept = torch.load(last, weights_only=True)
    assert kept["global_step"] == 6
    assert all(
        value.isfinite().all() for name, value in kept["state_dict"].items() if "bounds" not in name
    )


def test_a_distillation_that_diverges_is_told(trained):
    config = DistillConfig(train_steps=5, batch_size=4, learning_rate=1e30)
    series = entry(length=400, feat_dynamic_real=entry(dim=1, length=400 + HORIZON)["target"])
    with pytest.raises(InputError, match=r"distillation to 8 steps diverged.*lower learning_rate"):
        distill(trained, [series], 4, config=config, progress=False)


TENSORS = [
    *(
        "training_scale",
        "training_level",
        "support.bounds",
        "centre.coefficients",
        "innovations.size",
    ),
    *("trajectories.errors", "trajectories.share", "denoiser.share", "denoiser.variances"),
    *("encoder.rnn.weight_ih_l0", "condition.bias"),
]


@pytest.mark.parametrize("name", TENSORS)
def test_a_folder_with_a_nan_in_any_tensor_is_refused(saved, name):
    tensors = load_file(saved / "weights.safetensors")
    tensors[name].view(-1)[-1] = float("nan")
    save_file(tensors, saved / "weights.safetensors")
    with pytest.raises(
        InputError, match=f"in .* is damaged: its {name} .*; give a folder as it was saved"
    ):
        TimeGradPredictor.deserialize(saved)


@pytest.mark.parametrize(
    "name", ["training_scale", "innovations.size", "innovations.step_size", "denoiser.variances"]
)
def test_a_folder_with_a_scale_of_zero_is_refused(saved, name):
    tensors = load_file(saved / "weights.safetensors")
    tensors[name].view(-1)[-1] = 0
    save_file(tensors, saved / "weights.safetensors")
    with pytest.raises(InputError, match=f"its {name} holds a scale that is not above zero"):
        TimeGradPredictor.deserialize(saved)


@pytest.mark.parametrize("name", ["training_scale", "training_level"])
def test_a_folder_with_a_location_or_scale_beyond_all_data_is_refused(saved, name):
    tensors = load_file(saved / "weights.safetensors")
    tensors[name].view(-1)[-1] = 1e308
    save_file(tensors, saved / "weights.safetensors")
    with pytest.raises(InputError, match=f"its {name} holds NaN or infinity"):
        TimeGradPredictor.deserialize(saved)


@pytest.mark.parametrize(("row", "value"), [(0, 1e308), (0, np.inf), (1, -1e308), (0, np.nan)])
def test_a_folder_with_bounds_beyond_all_data_is_refused(saved, row, value):
    tensors = load_file(saved / "weights.safetensors")
    tensors["support.bounds"][row, 0] = value
    if row:
        tensors["support.bounds"][0, 0] = -np.inf
    save_file(tensors, saved / "weights.safetensors")
    with pytest.raises(InputError, match=r"is damaged: its support\.bounds are "):
        TimeGradPredictor.deserialize(saved)


@pytest.mark.parametrize("value", [float("nan"), 1e308, -1.0, 0.0])
def test_a_folder_with_an_impossible_spread_is_refused(saved, value):
    content = json.loads((saved / "predictor.json").read_text())
    content["shape"]["spread"][0] = value
    (saved / "predictor.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="is damaged: its spread holds"):
        TimeGradPredictor.deserialize(saved)


@pytest.mark.parametrize("part", ["location", "scale", "change"])
@pytest.mark.parametrize("value", [float("nan"), 1e308])
def test_a_folder_with_an_impossible_covariate_is_refused(saved, part, value):
    content = json.loads((saved / "predictor.json").read_text())
    content["shape"]["covariates"][0][part] = [value]
    (saved / "predictor.json").write_text(json.dumps(content))
    with pytest.raises(
        InputError, match=f"its {part} of feat_dynamic_real, row 0 holds NaN or infinity"
    ):
        TimeGradPredictor.deserialize(saved)


def test_a_model_with_a_nan_in_memory_does_not_predict(tmp_path):
    made = estimator(tmp_path).train([entry()])
    next(made.prediction_net.encoder.parameters()).view(-1)[0] = float("nan")
    for call in (
        lambda: made.predict([entry()], 10, progress=False),
        lambda: made.density([entry()], progress=False),
        lambda: made.future([entry()]),
    ):
        with pytest.raises(InputError, match=r"the model cannot forecast: its encoder.* holds NaN"):
            call()


def test_a_forecast_beyond_float32_is_refused_by_name(tmp_path):
    made = estimator(tmp_path, model=MODEL._replace(scaling="mean")).train([entry()])
    made.prediction_net.denoiser.output.bias.fill_(3e38)
    with pytest.raises(InputError, match=r"the forecast of a is not finite: .*larger unit"):
        paths(made, [entry()])


@pytest.mark.parametrize("value", [np.inf, 1e39])
def test_training_refuses_what_no_float32_holds(tmp_path, value):
    target = entry()["target"].astype(np.float64)
    target[1, 7] = value
    for made in (estimator(tmp_path).train, estimator(tmp_path / "b").train_model):
        with pytest.raises(InputError, match=r"target of a has .* in dimension 1 at .*\(step 7\)"):
            made([entry() | {"target": target}])
    with pytest.raises(InputError, match=r"target of a has .* in dimension 1 at .*\(step 7\)"):
        estimator(tmp_path / "c").train([entry()], [entry() | {"target": target}])
    predictor = estimator(tmp_path / "d").train([entry()])
    with pytest.raises(InputError, match=r"target of a has .* in dimension 1 at .*\(step 7\)"):
        paths(predictor, [entry() | {"target": target}])


@pytest.mark.parametrize("word", ["1e39", "Infinity", "-1e18"])
def test_a_gluonts_folder_names_line_and_step(tmp_path, word):
    rows = json.dumps({"start": "2020-01-06", "target": entry(dim=1)["target"][0].tolist()})
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "data.json").write_text(rows + "\n")
    bad = rows.replace('"target": [', f'"target": [1, 2, {word}, ')
    (tmp_path / "train" / "data.json").write_text(f"{bad}\n")
    (tmp_path / "metadata.json").write_text('{"freq": "h", "prediction_length": 4}')
    with pytest.raises(
        InputError, match=r"line 1 of .*data.json has .* at step 2; values must be below"
    ):
        load_dataset(str(tmp_path))


def objects(values) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = list(values)
    return array


#: Rows of 60 cells that numpy reads as numbers with a loss.
LOSSES = {
    "masked": (np.ma.masked_array(np.ones(60), np.arange(60) == 3), "is a masked array"),
    "complex": (np.ones(60) + 1j, "complex numbers"),
    "stamps": (np.arange(60).astype("datetime64[h]"), "holds stamps"),
    "objects: complex": (objects(np.ones(60) + 1j), "complex numbers"),
    "objects: stamps": (objects(np.arange(60).astype("datetime64[h]")), "holds stamps"),
    "objects: durations": (objects(np.arange(60).astype("timedelta64[h]")), "holds durations"),
    "objects: texts": (objects(["1.5"] * 60), "holds text"),
}


@pytest.mark.parametrize(("row", "match"), LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("joint", [False, True])
def test_cells_that_would_lose_something_are_refused(joint, row, match, tmp_path):
    pair = [entry(1) | {"item_id": name, "target": np.arange(60.0)} for name in "ab"]
    made = estimator(tmp_path, joint=joint)
    with pytest.raises(InputError, match=rf"target of b .*{match}"):
        made.train([pair[0], pair[1] | {"target": row}])


@pytest.mark.parametrize(("row", "match"), [LOSSES["masked"], LOSSES["complex"], LOSSES["stamps"]])
def test_no_such_cell_passes_into_a_longer_forecast(row, match, tmp_path):
    made = estimator(tmp_path).train([entry(1)])
    with pytest.raises(InputError, match=match):
        rolled(made, entry(1) | {"target": row}, HORIZON + 1, num_samples=2, progress=False)
