"""An exported model draws the predictor's paths for the same noise, with numpy and onnxruntime alone."""

import json
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from groups import contracts, cross_checks, invariances
from tiny import MODEL, QUIET, TRAIN, entry, estimator, paths

import timediff
from timediff.cli.main import main
from timediff.config import ModelConfig, SamplingConfig
from timediff.errors import InputError
from timediff.exported.noise import noise_of
from timediff.exported.runner import FACTS, NUMBERS, Runner
from timediff.exported.write import export

pytestmark = [
    QUIET,
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
HORIZON = 6
SMALL = {
    **{"num_layers": 2, "hidden_size": 8, "cond_size": 5, "denoiser_layers": 1},
    **{"denoiser_width": 8, "diffusion_steps": 20},
}
OTHER = MODEL._replace(**SMALL, context_length=10, condition_dropout=0.1)


class Case(NamedTuple):
    """A network, how its paths are drawn, and what else its predictor is made with."""

    model: ModelConfig
    sampling: SamplingConfig = SamplingConfig()
    share: float | None = None
    freq: str = "h"
    lead_time: int = 0


CASES = {
    "default": Case(ModelConfig(**SMALL, cycles=[24, 48]), share=0.5),
    "attention": Case(
        ModelConfig(**SMALL, denoiser="attention"), SamplingConfig("heun", 2), share=1.0
    ),
    "differences": Case(
        OTHER._replace(
            scaling="std", cell="lstm", difference=3, denoiser="conv", variance="learned"
        ),
        SamplingConfig("ancestral", 3, options={"extrapolation": 0.2}),
        lead_time=2,
    ),
    "years": Case(
        OTHER._replace(
            scaling="mean", difference=1, self_conditioning=True, schedule="ve", lags=[9]
        ),
        SamplingConfig("sde-dpm++", 3, guidance=0.5),
        freq="Y",
    ),
}


def data(freq="h", *, length=24 * 21, seed=0):
    """A positive series with gaps, one far from zero, and one that sits at zero at night."""
    made = entry(3, length, freq=freq, seed=seed)
    target = made["target"].astype(float)
    target[0, 30:33], target[1] = np.nan, 500 + 20 * target[1]
    target[2] = np.where(np.arange(length) % 24 < 6, 0.0, target[2])
    return {**made, "target": target}


def trained(folder, case):
    """A predictor whose network is far from its start."""
    options = {"prediction_length": HORIZON, "lead_time": case.lead_time, "model": case.model}
    train = TRAIN._replace(steps=1, held_out=0)
    entries = [data(case.freq, length=24 * 21 if case.freq == "h" else 80)]
    predictor = estimator(folder, train=train, **options).train(entries)
    torch.manual_seed(0)
    network = predictor.prediction_net
    for weight in network.parameters():
        weight.add_(0.1 * torch.randn_like(weight))
    if case.share is not None:
        network.use(case.share)
    predictor.sampling = case.sampling
    return predictor


def exported(predictor, folder):
    pytest.importorskip("onnxscript", reason="exporting needs the extra 'export'")
    pytest.importorskip("onnxruntime", reason="exported models are run by the extra 'runner'")
    export(predictor, folder)
    return Runner(folder)


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    """A predictor, its export, and the folder of that."""
    folder = tmp_path_factory.mktemp("default")
    predictor = trained(folder, CASES["default"])
    return predictor, exported(predictor, folder / "out"), folder / "out"


def check_same(predictor, runner, given, *, num_samples, seed):
    expected = paths(predictor, [given], num_samples=num_samples, seed=seed)[0]
    noise = noise_of(predictor, given, num_samples, seed=seed)
    past, start = given["target"].T, given["start"].start_time.to_datetime64()
    found = runner.forecast(past, start, num_samples=num_samples, noise=noise)
    scale = np.nanstd(given["target"], axis=1)
    assert found.shape == expected.shape and found.dtype == np.float64
    # A series of nothing but zeros has no scale.
    assert (np.abs(found - expected) <= 1e-5 * scale + 1e-20).all()
    assert num_samples == 1 or (expected.std(axis=0) > 1e-3 * scale).any()
    return found


@cross_checks
@pytest.mark.parametrize("length", [24 * 21, 100, 5], ids=lambda n: f"{n} steps")
def test_paths_are_those_of_the_predictor_for_the_same_noise(default, length):
    predictor, runner, _ = default
    given = data(length=length, seed=length)
    found = check_same(predictor, runner, given, num_samples=23, seed=4)
    assert runner.facts["network_share"] == 0.5 and (found[:, :, 0] >= 0).all()


@cross_checks
@pytest.mark.parametrize("case", [case for case in CASES if case != "default"])
def test_other_networks_samplers_and_normalisations_are_exported_too(case, tmp_path):
    predictor = trained(tmp_path, CASES[case])
    runner = exported(predictor, tmp_path / "out")
    for num_samples, length in ((12, 80), (1, 30)):
        given = data(CASES[case].freq, length=length, seed=length)
        check_same(predictor, runner, given, num_samples=num_samples, seed=2)


@cross_checks
def test_paths_of_past_errors_alone_are_those_of_the_predictor(default):
    predictor, runner, _ = default
    facts = runner.facts
    try:
        predictor.prediction_net.use(0.0)
        runner.facts = facts | {"network_share": 0.0}
        check_same(predictor, runner, data(), num_samples=50, seed=3)
    finally:
        predictor.prediction_net.use(0.5)
        runner.facts = facts


@contracts
def test_the_runner_loads_neither_torch_nor_gluonts_nor_pandas(default, tmp_path):
    _, runner, folder = default
    given = data()
    np.save(tmp_path / "past.npy", given["target"].T)
    code = (
        "import sys, numpy as np\n"
        "for name in ('torch', 'gluonts', 'lightning', 'pandas', 'scipy', 'onnx'):\n"
        "    sys.modules[name] = None  # an import of it fails\n"
        "from timediff.exported.runner import Runner\n"
        f"runner = Runner({str(folder)!r})\n"
        f"past = np.load({str(tmp_path / 'past.npy')!r})\n"
        "paths = runner.forecast(past, '2020-01-06T00', num_samples=9, seed=1)\n"
        f"np.save({str(tmp_path / 'paths.npy')!r}, paths)\n"
        "loaded = {name.partition('.')[0] for name, it in sys.modules.items() if it is not None}\n"
        "print(*sorted(loaded - set(sys.stdlib_module_names)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"numpy", "onnxruntime", "timediff"} <= set(done.stdout.split())
    assert not set(done.stdout.split()) & {"torch", "gluonts", "lightning", "pandas", "safetensors"}
    own = runner.forecast(given["target"].T, given["start"].start_time, num_samples=9, seed=1)
    assert np.array_equal(np.load(tmp_path / "paths.npy"), own)


@invariances
def test_own_random_numbers_make_the_same_distribution(default):
    predictor, runner, _ = default
    given = data()
    expected = paths(predictor, [given], num_samples=400, seed=1)[0]
    past, start = given["target"].T, "2020-01-06"
    found = runner.forecast(past, start, num_samples=400, seed=1)
    again, other = (runner.forecast(past, start, num_samples=400, seed=s) for s in (1, 2))
    assert np.array_equal(found, again) and not np.array_equal(found, other)
    error = np.sqrt((found.var(axis=0) + expected.var(axis=0)) / 400)
    assert (np.abs(found.mean(axis=0) - expected.mean(axis=0)) <= 5 * error + 1e-9).all()


@contracts
def test_what_does_not_fit_the_model_is_refused(default):
    _, runner, _ = default
    past, start = data()["target"].T, "2020-01-06T00:00"
    for bad, words in {
        "[T, D] with D = 3": past[:, :2],
        "T of 1 at least": past[:0],
        "not numeric": [["a", "b", "c"]],
        "is a frame; give its values": pd.DataFrame(past),
        "at step 7": np.where(np.arange(len(past))[:, None] == 7, np.inf, past),
    }.items():
        with pytest.raises(InputError, match=bad.replace("[", r"\[").replace("]", r"\]")):
            runner.forecast(words, start)
    with pytest.raises(InputError, match="give a stamp"):
        runner.forecast(past, "soon")
    with pytest.raises(InputError, match="num_samples"):
        runner.forecast(past, start, num_samples=0)
    noise = runner._drawn(5, 10, 20, 1)
    with pytest.raises(InputError, match="11 paths take"):
        runner.forecast(past, start, num_samples=11, noise=noise)
    with pytest.raises(InputError, match="picks of noise"):
        runner.forecast(
            past, start, num_samples=10, noise=noise._replace(picks=noise.picks + 10**6)
        )


@contracts
def test_what_cannot_be_exported_is_refused_in_a_sentence(default, tmp_path):
    predictor, _, _ = default
    kept = predictor.sampling
    for name, value in {"noise": "antithetic", "precision": "bf16"}.items():
        predictor.sampling = kept._replace(**{name: value})
        with pytest.raises(InputError, match=rf"sampling\.{name} is '{value}'.*; set"):
            export(predictor, tmp_path / "out")
    predictor.sampling = kept
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="no exported model; choose another"):
        export(predictor, tmp_path)
    with pytest.raises(InputError, match="give a trained TimeGradPredictor or Forecaster"):
        export(3, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt"]


@contracts
def test_what_cannot_be_traced_is_refused_and_leaves_nothing(default, tmp_path, monkeypatch):
    def failing(*_, **options):
        raise RuntimeError("len of a symbol\n  in line 3")

    monkeypatch.setattr(torch.export, "export", failing)
    with pytest.raises(
        InputError, match=r"^past\.onnx could not be exported \(RuntimeError: len of"
    ):
        export(default[0], tmp_path / "out")
    assert not list(tmp_path.iterdir())


@contracts
def test_files_say_nothing_of_the_machine(default):
    *_, folder = default
    for file in folder.glob("*.onnx"):
        assert b"site-packages" not in file.read_bytes() and b".py" not in file.read_bytes()


@contracts
def test_a_model_with_covariates_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    known = {"feat_dynamic_real": rng.normal(size=(1, 100))}
    options = {"model": MODEL, "train": TRAIN._replace(steps=1)}
    predictor = estimator(tmp_path, **options).train([entry(2, 100, **known)])
    with pytest.raises(InputError, match=r"covariates \(feat_dynamic_real\).*; train one without"):
        export(predictor, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@contracts
def test_a_damaged_folder_is_refused(default, tmp_path):
    with pytest.raises(InputError, match=r"holds no exported\.json"):
        Runner(tmp_path)
    *_, folder = default
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    facts = json.loads((tmp_path / FACTS).read_text())
    (tmp_path / FACTS).write_text(json.dumps(facts | {"format": 99}))
    with pytest.raises(InputError, match="format 99; this version reads 1"):
        Runner(tmp_path)
    (tmp_path / FACTS).write_text(json.dumps(facts))
    graph = (tmp_path / "step.onnx").read_bytes()
    for name, content in {FACTS: b"{", NUMBERS: b"PK", "step.onnx": graph[:1000]}.items():
        kept = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"cannot be read \(.*; give a folder as timediff"):
            Runner(tmp_path)
        (tmp_path / name).write_bytes(kept)
    Runner(tmp_path)


@cross_checks
def test_the_command_exports_what_a_forecaster_saved(tmp_path, capsys):
    pytest.importorskip("onnxscript", reason="exporting needs the extra 'export'")
    pytest.importorskip("onnxruntime", reason="exported models are run by the extra 'runner'")
    index = pd.date_range("2024-03-28", periods=200, freq="h", tz="Europe/Berlin", name="ds")
    frame = pd.DataFrame(data(length=200)["target"].T, index=index, columns=["a", "b", "c"])
    forecaster = timediff.Forecaster(ModelConfig(**SMALL), TRAIN._replace(steps=1), progress=False)
    forecaster.fit(frame, h=HORIZON).save(tmp_path / "model")
    assert main(["export", str(tmp_path / "model"), str(tmp_path / "out")]) == 0
    assert "out: " in capsys.readouterr().out
    runner = Runner(tmp_path / "out")
    assert runner.facts["names"] == ["a", "b", "c"]
    assert runner.facts["prediction_length"] == HORIZON
    predictor = forecaster.predictor
    known = {
        "item_id": "frame",
        "start": pd.Period("2024-03-28", "h"),
        "target": frame.to_numpy().T,
    }
    check_same(predictor, runner, known, num_samples=10, seed=1)
    expected = forecaster.forecast(n_paths=10, seed=1).paths
    noise = noise_of(predictor, known, 10, seed=1)
    found = runner.forecast(frame.to_numpy(), "2024-03-28T00", num_samples=10, noise=noise)
    assert np.abs(found - expected).max() <= 1e-5 * np.nanstd(frame.to_numpy(), axis=0).max()
    with pytest.raises(SystemExit):
        main(["export", str(tmp_path), str(tmp_path / "other")])
    assert "holds no predictor.json; give a folder" in capsys.readouterr().err
