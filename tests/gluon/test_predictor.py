"""Forecasts are a function of data and seed, and a folder of files is only ever data."""

import copy
import functools
import gc
import json
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from gluonts.model.predictor import Predictor
from gluonts.torch.model.predictor import PyTorchPredictor
from processes import run_python
from tiny import HORIZON, MODEL, QUIET, entry, estimator, paths, period, same_weights, weights

from timediff import SamplingConfig, TimeGradPredictor
from timediff.errors import InputError
from timediff.gluon.entries import read_entry
from timediff.gluon.foreign import Unallocated
from timediff.gluon.paths import PathPredictor
from timediff.gluon.storage import OPTIONS
from timediff.gluon.windows import forecast_batch
from timediff.timegrad.batch import Shape
from timediff.timegrad.model import TimeGrad
from timediff.timegrad.noise import PATHS_PER_STREAM

pytestmark = QUIET

DATA = [entry(seed=seed, item_id=f"series {seed}") for seed in range(5)]


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    """Trained so far that its paths differ from the noise they start with."""
    torch.manual_seed(0)
    made = estimator(tmp_path_factory.mktemp("fit"), trainer_kwargs={"max_epochs": 10})
    return made.train(DATA)


@pytest.fixture
def folder(predictor, tmp_path):
    predictor.serialize(tmp_path / "predictor")
    return tmp_path / "predictor"


def remade(predictor, **options):
    return TimeGradPredictor(
        predictor.prediction_net, freq="h", prediction_length=HORIZON, **options
    )


# ---------------------------------------------------------------- paths and seeds


def test_it_is_a_gluonts_predictor(predictor):
    assert isinstance(predictor, PyTorchPredictor)
    assert predictor.network is predictor.prediction_net
    assert predictor.prediction_length == HORIZON and predictor.lead_time == 0


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("memory", [1, 30_000, 1e9])
def test_paths_do_not_depend_on_how_many_are_drawn_at_a_time(predictor, batch_size, memory):
    expected = paths(predictor, DATA, num_samples=70)
    found = paths(remade(predictor, batch_size=batch_size, memory=memory), DATA, num_samples=70)
    # Matrix products of other sizes may round differently.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_the_memory_given_really_splits_the_paths(predictor, monkeypatch):
    sizes, draw = [], TimeGrad.draw
    monkeypatch.setattr(
        TimeGrad,
        "draw",
        lambda *args, **options: draw(*args, **options | {"on_step": sizes.append}),
    )
    paths(remade(predictor, memory=1), DATA[:2], num_samples=60)
    assert sizes == [PATHS_PER_STREAM] * (2 * 6 * HORIZON)
    sizes.clear()
    paths(remade(predictor, memory=1e9), DATA[:2], num_samples=60)
    assert sizes == [2 * 60] * HORIZON


def test_a_forecast_does_not_depend_on_the_series_beside_it(predictor):
    beside = [DATA[0] | {"target": 1e6 * DATA[1]["target"]}, *DATA[1:]]
    np.testing.assert_allclose(paths(predictor, beside)[1:], paths(predictor, DATA)[1:], rtol=1e-5)


@pytest.mark.parametrize("few", [1, 7, 20, 40])
def test_fewer_paths_are_the_first_of_many(predictor, few):
    many = paths(predictor, DATA, num_samples=60)
    np.testing.assert_allclose(
        paths(predictor, DATA, num_samples=few), many[:, :few], rtol=1e-5, atol=1e-5
    )


def test_windows_and_paths_and_seeds_all_differ(predictor):
    same = [DATA[0], DATA[0] | {"item_id": "another"}]
    found = paths(predictor, same, num_samples=60)
    assert len(np.unique(found[..., 0, 0])) == 2 * 60
    other = paths(predictor, same, num_samples=60, seed=6)
    # Single float32 values may meet by chance, paths and values in the same place do not.
    assert not (found == other).any()
    one, two = ({path.tobytes() for path in each.reshape(2 * 60, -1)} for each in (found, other))
    assert len(one) == len(two) == 2 * 60 and not one & two


def test_without_a_seed_forecasts_vary_but_follow_torch(predictor):
    drawn = []
    for before in (3, 3, 4):
        torch.manual_seed(before)
        drawn += [paths(predictor, DATA[:1], seed=None) for _ in range(2)]
    np.testing.assert_array_equal(drawn[0], drawn[2])
    np.testing.assert_array_equal(drawn[1], drawn[3])
    for other in (drawn[1], drawn[4]):
        assert not np.isin(drawn[0], other).any()


def test_drawing_a_forecast_with_a_seed_leaves_the_random_state_of_torch_alone(predictor):
    state = torch.get_rng_state()
    paths(predictor, DATA[:1], seed=5)
    assert torch.equal(state, torch.get_rng_state())


def test_two_forecasts_in_a_row_are_equal_and_leave_the_weights_alone(predictor):
    before = weights(predictor.prediction_net)
    np.testing.assert_array_equal(paths(predictor, DATA), paths(predictor, DATA))
    assert same_weights(before, weights(predictor.prediction_net))


def test_dropout_is_off(tmp_path):
    model = MODEL._replace(num_layers=2, dropout=0.9)
    made = estimator(tmp_path, model=model).train(DATA)
    made.prediction_net.train()
    np.testing.assert_array_equal(paths(made, DATA), paths(made, DATA))


# ---------------------------------------------------------------- what comes back


def test_a_forecast_says_what_it_is_of(predictor):
    info = {"tariff": "night"}
    data = [DATA[0], {**entry(length=33), "item_id": "short", "info": info}, DATA[1]]
    forecasts = list(predictor.predict(iter(data), 20, progress=False))
    assert [f.item_id for f in forecasts] == ["series 0", "short", "series 1"]
    assert [f.start_date for f in forecasts] == [period("h") + n for n in (60, 33, 60)]
    assert forecasts[1].info == info and forecasts[0].info is None
    for forecast in forecasts:
        assert forecast.samples.shape == (20, HORIZON, 3)
        assert forecast.prediction_length == HORIZON


def test_100_paths_when_nothing_is_said(predictor):
    assert next(predictor.predict(DATA, progress=False)).samples.shape[0] == 100
    assert next(predictor.predict(DATA, None, progress=False)).samples.shape[0] == 100


def test_no_data_no_forecasts(predictor):
    assert list(predictor.predict([], 20, progress=False)) == []


def test_the_future_is_not_looked_at_and_the_history_is(predictor):
    longer = DATA[0] | {"target": np.hstack([DATA[0]["target"], np.full((3, 9), 7, "f4")])}
    cut = longer | {"target": longer["target"][:, :-9]}
    np.testing.assert_array_equal(paths(predictor, [cut]), paths(predictor, DATA[:1]))
    assert not np.isin(paths(predictor, [longer]), paths(predictor, [cut])).any()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (entry(freq="D"), "a of the data to forecast has frequency D, not h"),
        (entry(dim=2), "has 2 dimensions, not 3"),
        ({"target": np.zeros((3, 9))}, "no field 'start'"),
    ],
)
def test_data_that_does_not_fit_the_model(predictor, data, said):
    with pytest.raises(InputError, match=said):
        list(predictor.predict([data], 20, progress=False))


@pytest.mark.parametrize("count", [0, -1])
def test_a_number_of_paths_that_is_none_is_refused_at_once(predictor, count):
    with pytest.raises(InputError, match=f"num_samples is {count}"):
        predictor.predict(DATA, count)


def test_progress_is_shown_on_stderr_and_can_be_switched_off(predictor, capfd):
    list(predictor.predict(DATA, 20, progress=False))
    quiet = capfd.readouterr()
    assert quiet.err == quiet.out == ""
    list(predictor.predict(DATA, 20))
    shown = capfd.readouterr()
    total = len(DATA) * 20 * HORIZON
    assert f"{total}/{total}" in shown.err and shown.out == ""


# ---------------------------------------------------------------- compiled chains


def test_a_chain_is_compiled_once_for_each_way_to_sample(predictor, monkeypatch):
    compiled = []

    def compile(chain, **options):
        compiled.append(options)
        return chain

    monkeypatch.setattr(torch, "compile", compile)
    own = remade(predictor, batch_size=1)
    for steps, count in ((2, 1), (2, 1), (3, 2), (2, 2)):
        own.sampling = SamplingConfig(steps=steps, compile=True)
        paths(own, DATA[:2])
        assert len(compiled) == count
    # Another predictor of the same network has chains of its own.
    other = remade(predictor, sampling=SamplingConfig(steps=2, compile=True))
    paths(other, DATA[:1])
    assert len(compiled) == 3


def test_the_network_goes_when_its_predictor_goes(predictor, monkeypatch):
    # Traced as ever, but not translated into C++, which takes ten seconds.
    traced = functools.partial(torch.compile, backend="eager")
    monkeypatch.setattr(torch, "compile", lambda chain, **_: traced(chain))
    network = copy.deepcopy(predictor.prediction_net)
    one = TimeGradPredictor(network, freq="h", prediction_length=HORIZON)
    one.sampling = SamplingConfig(steps=2, compile=True)
    expected = paths(remade(predictor, sampling=SamplingConfig(steps=2)), DATA[:1])
    np.testing.assert_allclose(paths(one, DATA[:1]), expected, rtol=1e-4, atol=1e-4)
    gone = weakref.ref(network)
    del network, one
    gc.collect()
    assert gone() is None


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("load", [TimeGradPredictor.deserialize, Predictor.deserialize])
def test_a_predictor_comes_back_from_its_files(predictor, folder, load):
    back = load(folder)
    assert type(back) is TimeGradPredictor
    assert same_weights(weights(back.prediction_net), weights(predictor.prediction_net))
    assert back.prediction_net.config == predictor.prediction_net.config
    assert back.prediction_net.shape == predictor.prediction_net.shape
    np.testing.assert_array_equal(paths(back, DATA), paths(predictor, DATA))


@pytest.mark.parametrize(
    "model",
    [
        MODEL._replace(denoiser="conv", cell="lstm", schedule="cosine", scaling="mean"),
        MODEL._replace(difference=2, variance="large", lags=None),
        MODEL._replace(variance="learned", parameterisation="x0", self_conditioning=True),
        MODEL._replace(schedule="ve", weighting="min-snr", condition_dropout=0.1),
    ],
)
def test_every_option_comes_back(tmp_path, model):
    made = estimator(tmp_path, model=model, lead_time=2).train(DATA)
    made.batch_size, made.memory = 3, 1e6
    made.sampling = SamplingConfig(
        sampler="sde-dpm++", steps=3, spacing="log-snr", options={"order": 1}
    )
    made.serialize(tmp_path / "predictor")
    back = TimeGradPredictor.deserialize(tmp_path / "predictor")
    for name in ("freq", "prediction_length", "lead_time", "batch_size", "memory", "sampling"):
        assert getattr(back, name) == getattr(made, name)
    np.testing.assert_array_equal(paths(back, DATA), paths(made, DATA))


def test_only_json_and_safetensors_are_written(folder):
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["gluonts-config.json", "predictor.json", "weights.safetensors"]
    for name in names[:2]:
        json.loads((folder / name).read_text())
    # 8 bytes of length, then a JSON header: not a pickle, not a zip.
    content = (folder / names[2]).read_bytes()
    json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])


def test_saving_again_replaces_what_was_there(plain, folder):
    plain.serialize(folder)
    back = TimeGradPredictor.deserialize(folder)
    assert same_weights(weights(back.prediction_net), weights(plain.prediction_net))


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("weights.safetensors", Path.unlink, "holds no weights.safetensors"),
        ("predictor.json", Path.unlink, "holds no predictor.json"),
        ("gluonts-config.json", Path.unlink, "holds no gluonts-config.json"),
        ("weights.safetensors", truncate, "cannot be read"),
        ("weights.safetensors", lambda p: p.write_bytes(b""), "cannot be read"),
        ("weights.safetensors", lambda p: p.write_bytes(b"x" * 99), "cannot be read"),
        ("predictor.json", truncate, "damaged"),
        ("gluonts-config.json", lambda p: p.write_text("{"), "damaged"),
        ("predictor.json", lambda p: p.write_bytes(b"\xff\xfe"), "damaged"),
        ("predictor.json", lambda p: p.write_text("[]"), "has format None"),
        ("predictor.json", lambda p: p.write_text("7"), "has format None"),
        ("predictor.json", lambda p: edit(p, lambda c: c.update(format=99)), "has format 99"),
        ("predictor.json", lambda p: edit(p, lambda c: c.pop("format")), "has format None"),
        ("predictor.json", lambda p: edit(p, lambda c: c.pop("freq")), "cannot be read"),
        ("predictor.json", lambda p: edit(p, lambda c: c.pop("model")), "cannot be read"),
        (
            "predictor.json",
            lambda p: edit(p, lambda c: c["model"].update(hidden_size=9)),
            r"condition.weight of shape \[4, 6\], but \[4, 9\] follows from the options",
        ),
        (
            "predictor.json",
            lambda p: edit(p, lambda c: c["model"].update(dropout=7.0, num_layers=2)),
            "is damaged: dropout is 7",
        ),
        (
            "predictor.json",
            lambda p: edit(p, lambda c: c["model"].update(wings=2)),
            "is damaged: ModelConfig has no field wings",
        ),
        (
            "predictor.json",
            lambda p: edit(p, lambda c: c["shape"].update(lags=[])),
            "is damaged: lags are",
        ),
        (
            "predictor.json",
            lambda p: edit(p, lambda c: c.update(shape=[3])),
            "cannot be read",
        ),
    ],
)
def test_files_that_are_missing_or_damaged(folder, name, damage, said):
    damage(folder / name)
    with pytest.raises(InputError, match=said):
        TimeGradPredictor.deserialize(folder)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="holds no gluonts-config"):
        TimeGradPredictor.deserialize(tmp_path / "nowhere")


def test_configurations_of_sampling_are_keys():
    """Compiled chains are kept by them."""
    one, same = (SamplingConfig("ddim", options={"eta": eta}) for eta in (0.5, 0.5))
    other = SamplingConfig("ddim", options={"eta": 0.25})
    assert one == same and hash(one) == hash(same) and len({one, same, other}) == 2


SAVED = Path(__file__).parent / "saved-0.1.0"


@pytest.mark.parametrize("loader", [TimeGradPredictor, Predictor], ids=["ours", "GluonTS's"])
def test_a_predictor_that_version_0_1_0_saved_gives_its_paths(loader):
    """Folder and paths were made by commit 75b9a99 (tag v0.1.0), with ddim, eta 0.5 and 3 steps."""
    predictor = loader.deserialize(SAVED, device="cpu")
    assert predictor.sampling == SamplingConfig(
        sampler="ddim", steps=3, spacing="quadratic", options={"eta": 0.5}
    )
    network = predictor.prediction_net
    batch = forecast_batch([read_entry(entry())], network.shape)
    # What 0.1.0 made of the seed 5 for the first window.
    options = {"num_samples": 4, "seeds": [5 * 7_919], "sampling": predictor.sampling}
    (found,) = network.draw(batch, **options)
    expected = json.loads((SAVED / "paths.json").read_text())
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_class_that_a_folder_names_is_a_public_one(predictor, tmp_path):
    predictor.serialize(tmp_path / "kept")
    config = json.loads((tmp_path / "kept" / "gluonts-config.json").read_text())
    assert config["type"] == "timediff.TimeGradPredictor"
    again = Predictor.deserialize(tmp_path / "kept", device="cpu")
    assert isinstance(again, TimeGradPredictor)


EVIL = """
from pathlib import Path
Path("marker").touch()
class Predictor:
    pass
"""
LOADING = """
import json, sys
from pathlib import Path
from timediff.errors import InputError
from timediff.gluon.predictor import TimeGradPredictor
for folder in sorted(Path("folders").iterdir()):
    try:
        TimeGradPredictor.deserialize(folder)
    except InputError as error:
        assert "evil.Predictor" in str(error), error
        print(folder.name, "refused")
assert "evil" not in sys.modules and not Path("marker").exists()
import evil
assert Path("marker").exists()  # it could have been imported
"""
NAMED_BY_GLUONTS = {"__kind__": "instance", "class": "evil.Predictor", "args": [], "kwargs": {}}


def test_a_file_cannot_have_a_module_imported(predictor, tmp_path):
    """As GluonTS's own decoder would: it imports what a file names, even from the working folder."""
    changes = {
        "config type": ("gluonts-config.json", lambda c: c.update(type="evil.Predictor")),
        "top level class": ("predictor.json", lambda c: c.update({"class": "evil.Predictor"})),
        "top level kind": ("predictor.json", lambda c: c.update(NAMED_BY_GLUONTS)),
        "in a field": ("predictor.json", lambda c: c.update(freq=NAMED_BY_GLUONTS)),
        "deep": ("predictor.json", lambda c: c["model"].update(lags=[{"a": [NAMED_BY_GLUONTS]}])),
        "type": (
            "predictor.json",
            lambda c: c["shape"].update(lags={"__kind__": "type", "class": "evil.Predictor"}),
        ),
        "deep in config": ("gluonts-config.json", lambda c: c.update(more=[NAMED_BY_GLUONTS])),
    }
    for title, (name, change) in changes.items():
        predictor.serialize(tmp_path / "folders" / title)
        edit(tmp_path / "folders" / title / name, change)
    for name, code in (("evil.py", EVIL), ("loading.py", LOADING)):
        (tmp_path / name).write_text(code)
    done = run_python(tmp_path / "loading.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{title} refused" for title in sorted(changes)]


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_a_device_that_is_not_there_is_named(plain, tmp_path):
    plain.serialize(tmp_path / "kept")
    with pytest.raises(InputError, match="device cuda is not there"):
        TimeGradPredictor.deserialize(tmp_path / "kept", device="cuda")


@pytest.mark.parametrize(
    ("sampling", "said"),
    [
        ({"sampler": "dpm"}, "sampler is 'dpm'"),
        ({"spacing": "logsnr"}, "spacing is 'logsnr'"),
        ({"steps": 2.5}, "steps is 2.5"),
        ({"steps": 99}, "only 5 steps"),
        ({"sampler": "dpm++", "options": {"order": 4}}, "order is 4"),
        ({"sampler": "dpm++", "options": {"order": 2.0}}, "order is 2.0"),
        ({"sampler": "ddim", "options": {"eta": 1.5}}, "eta is 1.5"),
        ({"sampler": "heun", "options": {"churn": -1.0}}, "churn is -1.0"),
        ({"sampler": "langevin", "options": {"corrections": 0}}, "corrections is 0"),
        ({"sampler": "langevin", "options": {"snr": 1.0}}, "snr is 1.0"),
        ({"options": {"eta": 0.5}}, "only ddim read"),
        (
            {"sampler": "ddim", "options": {"order": 3}},
            r"only adams-bashforth, dpm\+\+, sde-dpm\+\+ read",
        ),
        ({"guidance": 1.0}, "without condition_dropout"),
    ],
)
def test_sampling_that_makes_no_sense_is_refused_at_the_call(predictor, sampling, said):
    before = predictor.sampling
    predictor.sampling = SamplingConfig(**sampling)
    try:
        with pytest.raises(InputError, match=said):
            predictor.predict(DATA)
    finally:
        predictor.sampling = before


def test_a_number_of_paths_is_a_whole_number(predictor):
    with pytest.raises(InputError, match=r"num_samples is 2\.5"):
        predictor.predict(DATA, 2.5)


def test_a_predictor_without_lightning_draws_the_same_paths_and_becomes_one_with(
    predictor, tmp_path
):
    predictor.serialize(tmp_path)
    lean = PathPredictor.deserialize(tmp_path, device="cpu")
    assert type(lean) is PathPredictor and isinstance(lean, Predictor)
    assert not isinstance(lean, PyTorchPredictor)
    whole = TimeGradPredictor.of(lean)
    assert whole.prediction_net is lean.prediction_net and TimeGradPredictor.of(whole) is whole
    for name in (*OPTIONS, "sampling", "device"):
        assert getattr(whole, name) == getattr(lean, name)
    expected = paths(predictor, [entry()])
    for one in (lean, whole):
        np.testing.assert_array_equal(paths(one, [entry()]), expected)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("denoiser", ["mlp", "conv", "attention"])
@pytest.mark.parametrize("schedule", ["linear", "learned"])
def test_a_model_is_made_without_memory_for_its_weights(cell, denoiser, schedule):
    config = MODEL._replace(cell=cell, denoiser=denoiser, schedule=schedule)
    shape = Shape(3, HORIZON, 6, [1, 3], 3, 0)
    with Unallocated():
        empty = TimeGrad(config, shape)
    full = TimeGrad(config, shape).state_dict()
    assert {k: (v.shape, v.dtype) for k, v in empty.state_dict().items()} == {
        k: (v.shape, v.dtype) for k, v in full.items()
    }
    assert all(weight.is_meta for weight in empty.parameters())
