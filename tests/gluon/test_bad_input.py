"""A mistake is answered in one sentence, before any training, with exit status 2."""

import json
import warnings

import numpy as np
import pytest
from processes import run_python
from tiny import HORIZON, TINY, entry, wide_folder

from timediff.cli.evaluate import main


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Runs the command in an empty folder and returns the one line it answers with."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIMEDIFF_DATA", raising=False)
    wide_folder(tmp_path / "good")

    def fit(*_args, **_options):
        raise AssertionError("training was started")

    def run(*args, size=TINY):
        monkeypatch.setattr("lightning.pytorch.Trainer.fit", fit)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore", DeprecationWarning)
            with pytest.raises(SystemExit) as stop:
                main(["--dataset", "good", "--out", "out", *size, *args])
        assert stop.value.code == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert not [w for w in caught if issubclass(w.category, UserWarning)]
        (line,) = captured.err.splitlines()
        assert line.startswith("timediff.evaluate: ") and "Traceback" not in line
        return line

    return run


def test_the_good_folder_would_be_trained_on(refused):
    with pytest.raises(AssertionError, match="training was started"):
        refused()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--frobnicate", "1"], "--frobnicate"),
        (["--model.wings", "2"], "--model.wings"),
        (["--train.seed", "2"], "--train.seed"),
        (["stray"], "stray"),
        (["--num-samples", "0"], "--num-samples is 0"),
        (["--num-samples", "many"], "num_samples"),
        (["--model.hidden_size", "big"], "hidden_size"),
        (["--model.hidden_size", "0"], "hidden_size is 0"),
        (["--model.cell", "rnn"], "cell"),
        (["--model.schedule", "wobbly"], "schedule"),
        (["--model.lags", "[]"], "lags are []"),
        (["--model.lags", "[0, 1]"], "lags are [0, 1]"),
        (["--model.lags", "[-3]"], "lags are [-3]"),
        (["--model.lags", "daily"], "lags"),
        (["--sampling.steps", "6"], "sampling steps is 6"),
        (["--sampling.steps", "0"], "sampling steps is 0"),
        (["--sampling.precision", "bf16", "--model.denoiser", "conv"], "precision is bf16"),
        (["--train.precision", "bf16", "--model.denoiser", "conv"], "precision is bf16"),
        (["--model.beta_end", "1.5"], "beta_end 1.5"),
        (["--model.beta_start", "0"], "beta_start 0"),
        (["--model.beta_start", "0.2"], "beta_start 0.2"),
        (["--model.dropout", "1"], "dropout is 1"),
        (["--model.context_length", "-1"], "context_length is -1"),
        (["--train.ema_decay", "1"], "ema_decay is 1"),
        (["--train.learning_rate", "0"], "learning_rate is 0"),
        (["--train.learning_rate", ".nan"], "learning_rate"),
        (["--train.learning_rate", ".inf"], "learning_rate"),
        (["--train.batch_size", "0"], "batch_size is 0"),
        (["--steps", "0"], "steps is 0"),
        (["--epochs", "0"], "steps is 0"),
        (["--steps", "5", "--epochs", "5"], "--steps and --epochs"),
        (["--time-budget", "soon"], "'soon' is no time; give 90, 90s, 5m or 1h"),
        (["--time-budget", "5m", "--steps", "5"], "--time-budget and --steps or --epochs"),
        (["--time-budget", "5m", "--epochs", "5"], "--time-budget and --steps or --epochs"),
        (["--time-budget", "5m", "--train.steps", "5"], "--time-budget and --steps or --epochs"),
        (["--train.positions", "0"], "positions is 0"),
        (["--train.positions", "1.5"], "positions is 1.5"),
        (["--train.precision", "float16"], "precision"),
        (["--seed", "1", "1"], "seeds [1, 1]"),
        (["--seed", "-1"], "seed"),
        (["--seed", "99999999999999999999"], "seeds [99999999999999999999]"),
        (["--seed", "one"], "seed"),
        (["--validation-windows", "-1"], "--validation-windows is -1"),
        (["--validation-windows", "27"], "no window to train on"),
        (["--train.patience", "3"], "give --validation-windows"),
        (["--dataset", "x" * 5000], "File name too long"),
        (["--dataset", "y/" * 5000], "File name too long"),
        (["--data-dir", "x" * 5000], "File name too long"),
        (["--config", "x" * 5000], "File name too long"),
        (["--out", "x" * 5000], "File name too long"),
        (["--device", "toaster"], "device 'toaster' is not known"),
        (["--device", "cuda:99"], "device cuda:99 is not there"),
        (["--preset", "best"], "preset 'best' is not known"),
        (["--config", "nowhere.yaml"], "there is no file nowhere.yaml"),
        (["--config", "."], "there is no file ."),
        (["--preset", "paper", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--dataset", "elektricity"], "did you mean electricity"),
        (["--dataset", "nowhere/at/all"], "unknown dataset 'nowhere/at/all'"),
        (["--data-dir", "nowhere"], "the data directory nowhere does not exist"),
    ],
)
def test_options(refused, args, said):
    assert said in refused(*args)


@pytest.mark.parametrize("name", ["--time-budget", "--train.time_budget"])
def test_a_budget_that_is_no_time(refused, name):
    assert "time_budget is 0" in refused(name, "0", size=[])


def test_the_data_directory_of_the_environment(refused, monkeypatch):
    monkeypatch.setenv("TIMEDIFF_DATA", "nowhere")
    assert "the data directory nowhere does not exist" in refused()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"modle:\n  cell: gru\n", "modle"),
        (b"model:\n  wings: 2\n", "wings"),
        (b"model:\n  hidden_size: big\n", "hidden_size"),
        (b"preset: best\n", "preset 'best' is not known"),
        (b"foo: [1\n", "onfig"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"just words\n", "onfig"),
        (b"seed: [1\n", "onfig"),
        (b"seed: three\n", "seed"),
        (b"seed: null\n", "seed is null in the configuration file"),
        (b"seed: [null]\n", "seed"),
        (b"model: null\n", "model is None in the configuration file; give its options below it"),
        (b"train: 5\n", "train is 5 in the configuration file"),
        (b"sampling: [1]\n", "sampling is [1] in the configuration file"),
        (b"model:\n  denoiser: null\n", "denoiser is None; it must be one of conv, mlp, attention"),
        (b"model:\n  hidden_size: null\n", "hidden_size is None; it must be a whole number"),
        (b"model:\n  lags: [null]\n", "lags"),
        (b"train:\n  steps_per_epoch: null\nepochs: 3\n", "steps_per_epoch is None"),
        (b"sampling:\n  sampler: null\n", "sampler is None; it must be one of ancestral"),
        (b"sampling:\n  eta: null\n  sampler: ddim\n", "eta is None; it must be a number"),
        (b"device: null\n", "device is null in the configuration file; give a value, or leave"),
        (b"num_samples: null\n", "num_samples is null"),
        (b"baselines: null\n", "baselines is null"),
        (b"rivals: null\n", "rivals is null"),
        (b"report: null\n", "report is null"),
    ],
)
def test_configuration_files(refused, tmp_path, content, said):
    (tmp_path / "options.yaml").write_bytes(content)
    assert said in refused("--config", "options.yaml")


def test_a_file_that_is_no_text_beside_a_preset(refused, tmp_path):
    (tmp_path / "options.yaml").write_bytes(b"\xff\xfe\x00")
    refused("--preset", "paper", "--config", "options.yaml")


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ({"freq": "D"}, "not regular at D"),
        ({"freq": "fortnight"}, "frequency 'fortnight' is not known"),
        ({"prediction_length": 0}, "prediction_length"),
        ({"prediction_length": -3}, "prediction_length"),
        ({"prediction_length": "a day"}, "prediction_length"),
        ({"rolling_windows": 0}, "rolling_windows"),
        ({"rolling_windows": 100}, "has 120 rows"),
    ],
)
def test_metadata(refused, tmp_path, meta, said):
    wide_folder(tmp_path / "bad", **meta)
    assert said in refused("--dataset", "bad")


def spoil(name, content):
    def spoiled(folder):
        wide_folder(folder)
        (folder / name).write_text(content)

    return spoiled


def remove(name):
    def removed(folder):
        wide_folder(folder)
        (folder / name).unlink()

    return removed


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda f: wide_folder(f, values=np.full((120, 3), np.nan)), "every value of"),
        (lambda f: wide_folder(f, length=3 * HORIZON), "no window to train on"),
        (lambda f: wide_folder(f, length=2 * HORIZON), "rows of training"),
        (lambda f: wide_folder(f, length=0), "has no rows"),
        (remove("meta.json"), "meta.json is missing"),
        (remove("data.csv"), "holds no dataset"),
        (spoil("meta.json", "{"), "cannot be read as JSON"),
        (spoil("data.csv", "time,a\n2020-01-01,x\n"), "not numeric"),
        (spoil("data.csv", ""), "data.csv"),
        (lambda f: f.mkdir(), "holds no dataset"),
    ],
    ids=[
        *("all missing", "one horizon", "too short", "no rows", "no metadata", "no table"),
        *("broken metadata", "words", "empty table", "empty folder"),
    ],
)
def test_data(refused, tmp_path, make, said):
    make(tmp_path / "bad")
    assert said in refused("--dataset", "bad")


def missing(rows, columns=slice(None)):
    values = entry(dim=3, length=120)["target"].T
    values[rows, columns] = np.nan
    return values


NET = {"aggregates": {"net": {"unit": "kW", "weights": {"load 0": 1, "load 2": -1}}}}
UNSCORABLE = {
    "no truth": (
        lambda f: wide_folder(f, values=missing(slice(-8, None))),
        "of the truth is missing",
    ),
    "no aggregate": (
        lambda f: wide_folder(f, values=missing(slice(-8, None), 2), **NET),
        "aggregate net: the weighted sum is observed at no step",
    ),
}


@pytest.mark.parametrize(("make", "said"), UNSCORABLE.values(), ids=UNSCORABLE)
def test_what_cannot_be_scored_is_not_trained(refused, tmp_path, make, said):
    make(tmp_path / "bad")
    line = refused("--dataset", "bad")
    assert said in line and "dataset bad" in line
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_scored_leaves_an_earlier_run_alone(refused, tmp_path):
    result = tmp_path / "out" / "timediff" / "seed-1" / "result.json"
    result.parent.mkdir(parents=True)
    result.write_text("{}")
    settings = {"dataset": "good", "checksum": "", "model": {}, "train": {}}
    (tmp_path / "out" / "settings.json").write_text(json.dumps(settings))
    make, said = UNSCORABLE["no truth"]
    make(tmp_path / "bad")
    assert said in refused("--dataset", "bad") and result.is_file()


@pytest.mark.parametrize("length", [4, 3, 1])
def test_a_test_series_without_history(refused, tmp_path, length):
    folder = tmp_path / "bad"
    values = entry(dim=2, length=60)["target"]
    for split, rows in {"train": values, "test": values[:, :length]}.items():
        (folder / split).mkdir(parents=True)
        lines = [json.dumps({"start": "2020-01-06", "target": row.tolist()}) for row in rows]
        (folder / split / "data.json").write_text("\n".join(lines))
    (folder / "metadata.json").write_text('{"freq": "h", "prediction_length": 4}')
    assert f"test window 0 of bad has {length} steps" in refused("--dataset", "bad")


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_an_output_that_cannot_be_written(refused, tmp_path, out):
    (tmp_path / "file").touch()
    assert f"cannot write to {out}" in refused("--out", out)


def test_settings_of_a_run_that_cannot_be_read(refused, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "settings.json").write_text("{")
    assert "settings.json" in refused("--resume")


def test_a_real_process_says_one_line_and_ends_with_2(tmp_path):
    wide_folder(tmp_path / "bad", prediction_length=0)
    done = run_python("timediff.evaluate", tmp_path, "--dataset", "bad")
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "prediction_length" in line


def test_numbers_of_a_gluonts_folder_that_contradict_each_other(refused, tmp_path):
    folder = tmp_path / "bad"
    (folder / "train").mkdir(parents=True)
    (folder / "test").mkdir()
    (folder / "metadata.json").write_text('{"freq": "h", "prediction_length": 4}')
    row = json.dumps({"start": "2020-01-06", "target": entry(dim=1)["target"][0].tolist()})
    (folder / "train" / "data.json").write_text(f"{row}\n{row}\n")
    (folder / "test" / "data.json").write_text(f"{row}\n{row}\n{row}\n")
    assert "2 training and 3 test series" in refused("--dataset", "bad")
