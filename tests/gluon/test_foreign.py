"""Folders of strangers: whatever their files say, one sentence, and no more memory than they are large."""

import json
import tracemalloc

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import QUIET, entry, estimator, paths

from timediff import SamplingConfig, TimeGradPredictor
from timediff.config import ModelConfig
from timediff.errors import InputError
from timediff.tools.files import LARGEST_JSON

pytestmark = QUIET


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    model = ModelConfig(num_layers=1, hidden_size=6, denoiser_width=8, denoiser_layers=1)
    return estimator(tmp_path_factory.mktemp("made"), model=model).train([entry(length=400)])


@pytest.fixture
def saved(trained, tmp_path):
    trained.serialize(tmp_path)
    return tmp_path


def edit(folder, *place, value):
    path = folder / "predictor.json"
    content = json.loads(path.read_text())
    inner = content
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    path.write_text(json.dumps(content))


def refusal(folder):
    """The sentence of a folder, which is short and took no memory worth the name."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as caught:
            TimeGradPredictor.deserialize(folder)
        assert tracemalloc.get_traced_memory()[1] < 5e7
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 700 and "\n" not in str(caught.value)
    return str(caught.value)


GREAT = 10**9


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("model", "diffusion_steps"), GREAT, "it must lie in [1, 1000000]"),
        (("model", "diffusion_steps"), 10**6, "diffusion_steps is 1000000, but its chain has 100"),
        (("shape", "target_dim"), GREAT, "follows from the options"),
        (("model", "denoiser_layers"), 10**7, "it must lie in [1, 1000]"),
        (("model", "denoiser_layers"), 900, "too few for 901 layers"),
        (("model", "num_layers"), 500, "too few for 501 layers"),
        (("model", "hidden_size"), 10**4, "follows from the options"),
        (("model", "hidden_size"), GREAT, "it must lie in [1, 10000]"),
        (("model", "cond_size"), 10**4, "follows from the options"),
        (("model", "denoiser_width"), 10**4, "follows from the options"),
        (("shape", "context_length"), GREAT, "context_length is 1000000000"),
        (("shape", "horizon"), GREAT, "its horizon is 1000000000, but prediction_length"),
        (("prediction_length",), GREAT, "but prediction_length and lead_time are 1000000000"),
        (("shape", "lags"), [GREAT], "lags are [1000000000]"),
        (("shape", "cycles"), [GREAT], "cycle 1000000000 is"),
        (("shape", "num_features"), 10**6, "follows from the options"),
    ],
)
def test_sizes_are_held_against_the_header_first(saved, place, value, said):
    edit(saved, *place, value=value)
    assert said in refusal(saved)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("prediction_length",), 5.5, "prediction_length is 5.5; it must be a whole number"),
        (("prediction_length",), None, "prediction_length is None"),
        (("batch_size",), 0, "batch_size is 0; it must be a whole number of at least 1"),
        (("lead_time",), -1, "lead_time is -1"),
        (("freq",), 5, "freq is 5; it must be a text"),
        (("freq",), "fortnight", "frequency 'fortnight' is not known"),
        (("memory",), float("nan"), "memory is nan"),
        (("memory",), "all", "memory is 'all'"),
        (("distilled",), 1.5, "distilled is 1.5"),
        (("choices",), [1], "choices are no mapping"),
        (("model", "hidden_size"), "6", "hidden_size is '6'; it must be a whole number"),
        (("model", "dropout"), None, "dropout is None; it must be a number"),
        (("model", "self_conditioning"), 1, "self_conditioning is 1; it must be True or False"),
        (("model", "lags"), [1.5], r"lags is [1.5]; it must be a list of whole numbers or None"),
        (("model", "holidays"), 5, "holidays is 5; it must be a text or None"),
        (("model", "denoiser"), None, "denoiser"),
        (("shape", "target_dim"), 3.0, "target_dim is 3.0; it must be a whole number"),
        (("shape", "cycles"), "24", "cycles is '24'; it must be a list of whole numbers"),
        (("shape", "profiles"), [["a"]], "profiles is [['a']]"),
        (("shape", "profiles", 0, 0), float("nan"), "profiles hold [nan, "),
        (("shape", "profiles", 0, 0), 0, "profiles hold [0, "),
        (("shape", "profiles", 0, 0), 1e308, "profiles hold [1e+308, "),
        (("shape", "profiles", 0, 1), 0.0, "a half-life above 0"),
        (("shape", "profiles", 0, 1), float("inf"), "a half-life above 0"),
        (("shape", "context_length"), 0, "context_length is 0; it must be a whole number of at"),
        (("shape", "difference"), -1, "difference is -1; it must be a whole number of at least 0"),
        (("sampling", "steps"), 2.5, "steps is 2.5"),
        (("sampling",), None, "cannot be read"),
        (("chain",), {"alpha": "x"}, "diffusion_steps is 100, but its chain has 0"),
    ],
)
def test_wrong_kinds_are_refused_by_name(saved, place, value, said):
    edit(saved, *place, value=value)
    assert said in refusal(saved)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("condition.weight", torch.int8),
        ("training_scale", torch.bool),
        ("support.whole", torch.float32),
    ],
)
def test_weights_of_another_kind_are_refused(saved, name, dtype):
    tensors = load_file(saved / "weights.safetensors")
    tensors[name] = tensors[name].to(dtype)
    save_file(tensors, saved / "weights.safetensors")
    assert f"holds {name} as" in refusal(saved)


def test_weights_of_less_precision_are_read(saved, trained):
    tensors = load_file(saved / "weights.safetensors")
    tensors["condition.weight"] = tensors["condition.weight"].half()
    save_file(tensors, saved / "weights.safetensors")
    back = TimeGradPredictor.deserialize(saved).prediction_net.condition.weight
    assert torch.equal(back, trained.prediction_net.condition.weight.half().float())


def test_as_many_past_errors_are_read_as_there_are_and_of_one_number(saved):
    tensors = load_file(saved / "weights.safetensors")
    for name in ("trajectories.errors", "trajectories.positions"):
        tensors[name] = torch.cat([tensors[name], tensors[name][:7]])
    save_file(tensors, saved / "weights.safetensors")
    network = TimeGradPredictor.deserialize(saved).prediction_net
    assert len(network.trajectories.errors) == len(tensors["trajectories.positions"])
    tensors["trajectories.positions"] = tensors["trajectories.positions"][1:].clone()
    save_file(tensors, saved / "weights.safetensors")
    assert "trajectories.positions" in refusal(saved)


@pytest.mark.parametrize("change", ["lack", "have"])
def test_tensors_too_many_or_too_few_are_named(saved, change):
    tensors = load_file(saved / "weights.safetensors")
    if change == "lack":
        del tensors["condition.bias"]
    else:
        tensors["wings"] = torch.zeros(2)
    save_file(tensors, saved / "weights.safetensors")
    assert ("lacks condition.bias" if change == "lack" else "holds wings") in refusal(saved)


@pytest.mark.parametrize("name", ["predictor.json", "gluonts-config.json"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "damaged"),
        ("9" * 10_000, "damaged"),
        (" " * (LARGEST_JSON + 1), "is the most"),
    ],
    ids=["nested", "digits", "large"],
)
def test_json_is_read_with_limits(saved, name, text, said):
    (saved / name).write_text(text)
    assert said in refusal(saved)


def test_whether_to_compile_is_the_choice_of_who_loads(trained, saved):
    before = trained.sampling
    trained.sampling = SamplingConfig(steps=3, compile=True)
    try:
        trained.serialize(saved)
    finally:
        trained.sampling = before
    back = TimeGradPredictor.deserialize(saved)
    assert back.sampling == SamplingConfig(steps=3)


def test_the_folder_as_it_was_saved_gives_the_same_paths(trained, saved):
    back = TimeGradPredictor.deserialize(saved)
    assert (paths(back, [entry(length=400)]) == paths(trained, [entry(length=400)])).all()


@pytest.mark.parametrize("value", [{}, [], None, 3.5])
@pytest.mark.parametrize("name", ["kind", "name", "version"])
def test_a_part_without_a_name_is_refused(saved, name, value):
    edit(saved, "parts", 0, name, value=value)
    assert f"names a part whose {name} is" in refusal(saved)
