"""The command: its options, its record, and what an interrupt leaves behind."""

import contextlib
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Literal, get_args, get_origin

import numpy as np
import pandas as pd
import pytest
import yaml
from gluonts.model.seasonal_naive import SeasonalNaivePredictor
from tiny import HORIZON, QUIET, TINY, entry, wide_folder

import timediff
from timediff.baselines import BASELINES
from timediff.benchmark.record import as_json
from timediff.benchmark.scoring import mean, standard_error
from timediff.cli.evaluate import main, make_parser, parse
from timediff.config import ModelConfig, SamplingConfig, TrainConfig, sampler_defaults
from timediff.data.catalogue import SPECS
from timediff.metrics import score
from timediff.options import fields_of
from timediff.presets import PRESETS
from timediff.registry import METRICS, SAMPLERS, TABLES

pytestmark = QUIET

HOME = Path(__file__).resolve().parents[2]
WINDOWS = 2


def python(*args, **options):
    environment = {**os.environ, "PYTHONPATH": str(HOME)}
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, env=environment, **options
    )


def command(folder, out, *more):
    return ["--dataset", str(folder), "--out", str(out), *TINY, *more]


def run(folder, out, *more):
    """Exit status, stdout and stderr of the command."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        status = main(command(folder, out, *more))
    return status, stdout.getvalue(), stderr.getvalue()


def values(record):
    """What has to be the same whenever and wherever a run is made."""
    kept = {k: v for k, v in record.items() if k not in ("commit", "hardware")}
    kept["entrants"] = {
        name: {k: v for k, v in one.items() if k != "seconds"}
        | {
            "per_seed": [
                {k: v for k, v in row.items() if k != "seconds"} for row in one["per_seed"]
            ]
        }
        for name, one in record["entrants"].items()
    }
    return kept


def record_of(out):
    return json.loads((out / "record.json").read_text())


def ours_of(record):
    return record["entrants"]["timediff"]


def baselines_of(record):
    return {name: one for name, one in record["entrants"].items() if one["kind"] == "baseline"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    aggregates = {"net": {"unit": "kW", "weights": {"load 0": 1, "load 2": -1}}}
    return wide_folder(tmp_path_factory.mktemp("data") / "homes", aggregates=aggregates)


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    """A whole run of two seeds: its folder, and what it printed."""
    out = tmp_path_factory.mktemp("run")
    status, stdout, stderr = run(folder, out, "--seed", "1", "2", "--json")
    assert status == 0
    return out, stdout, stderr


# ---------------------------------------------------------------- options


def test_help_makes_no_warning():
    done = python("-W", "error", "-m", "timediff.evaluate", "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert "--dataset" in done.stdout and "--model.hidden_size" in done.stdout


def test_help_and_mistakes_in_the_arguments_import_neither_torch_nor_gluonts():
    script = """
import sys
from timediff.evaluate import main
for args in (["--help"], ["--nonsense"], ["--num-samples", "0"], ["--device", "tpu"],
             ["--model.lags", "x"], ["--config", "nowhere.yaml"], ["--preset", "nope"]):
    try:
        main(args)
    except SystemExit as stop:
        assert stop.code == (0 if args == ["--help"] else 2), (args, stop.code)
loaded = {"torch", "gluonts", "lightning", "pandas", "matplotlib"} & sys.modules.keys()
assert not loaded, loaded
"""
    done = python("-c", script)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == 6


def another(default, annotation, kind=None):
    """A value that an option may take and that is not its default."""
    if kind is not None:
        return next(choice for choice in TABLES[kind] if choice != default)
    choices = [type_ for type_ in (annotation, *get_args(annotation)) if type_ is not type(None)]
    if get_origin(annotation) is Literal:
        return next(choice for choice in get_args(annotation) if choice != default)
    if list[int] in choices:
        return [1, 5]
    if list[list[float | None]] in choices:
        return [[0.0, None]]
    if str in choices:
        return "DE"
    if bool in choices:
        return not default
    if float in choices:
        return default / 2 if default else 0.25
    assert int in choices, f"say here what another {annotation} is"
    return (default or 0) + 9


@pytest.mark.parametrize("group", ["model", "train", "sampling"])
def test_every_field_of_the_configurations_is_an_option_with_help(group):
    config = {"model": ModelConfig, "train": TrainConfig, "sampling": SamplingConfig}[group]
    fields = fields_of(config)
    fields.pop("seed", None)  # --seed takes several
    fields.pop("options", None)  # each has its own
    actions = {action.dest: action for action in make_parser("default")._actions}
    for name, field in fields.items():
        value = another(field.default, field.type, field.kind)
        needs = ["--validation-windows", "1"]
        if name == "guidance":
            needs += ["--model.condition_dropout", "0.1"]
        before = getattr(PRESETS["default"], group)
        beside = {"difference": {"scaling": "global"}}
        for other, chosen in beside.get(name, {}).items():
            needs += [f"--model.{other}", chosen]
            before = before._replace(**{other: chosen})
        written = json.dumps(value) if isinstance(value, list) else str(value)
        options, _ = parse([f"--{group}.{name}", written, *needs])
        assert getattr(options, group) == before._replace(**{name: value}) != before
        text = actions[f"{group}.{name}"].help
        assert len(text.split()) >= 2, f"--{group}.{name} says only {text!r}"


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_option_of_a_sampler_is_one_of_the_command_line_with_help(sampler):
    actions = {action.dest: action for action in make_parser("default")._actions}
    chosen = ["--sampling.sampler", sampler]
    before = parse(chosen)[0].sampling
    assert before.options is None
    for name, default in sampler_defaults(sampler).items():
        option = SAMPLERS.options(sampler)[name]
        value = another(default, option.type) if option.type is float else 3
        options, _ = parse([*chosen, f"--sampling.{name}", str(value)])
        assert options.sampling == before._replace(options={name: value})
        assert sampler in actions[f"sampling.{name}"].help
        other = next(each for each in SAMPLERS if name not in SAMPLERS.options(each))
        with pytest.raises(SystemExit):
            parse(["--sampling.sampler", other, f"--sampling.{name}", str(value)])


def test_options_of_the_presets_sampler_do_not_go_to_another():
    sampling = parse(["--preset", "paper", "--sampling.sampler", "ddim"])[0].sampling
    assert sampling.options is None and sampling.steps == PRESETS["paper"].sampling.steps


def test_the_seed_of_training_is_given_by_seed_alone():
    with pytest.raises(SystemExit):
        parse(["--train.seed", "3"])
    assert parse(["--seed", "3", "4"])[0].seed == [3, 4]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_sets_all_defaults(preset):
    options, _ = parse(["--preset", preset])
    assert (options.model, options.train, options.sampling) == PRESETS[preset]
    assert options.preset == preset
    assert parse([])[0].model == PRESETS["default"].model


def test_the_command_line_beats_the_file_and_the_file_beats_the_preset(tmp_path):
    file = tmp_path / "options.yaml"
    file.write_text("preset: paper\nseed: [4, 5]\nmodel:\n  hidden_size: 33\n  num_layers: 1\n")
    options, _ = parse(["--config", str(file), "--model.num_layers", "3"])
    paper = PRESETS["paper"].model
    assert options.model == paper._replace(hidden_size=33, num_layers=3)
    assert options.train == PRESETS["paper"].train
    assert options.seed == [4, 5] and options.preset == "paper"
    options, _ = parse(["--config", str(file), "--preset", "default", "--seed", "6"])
    assert options.model == ModelConfig(hidden_size=33, num_layers=1)
    assert options.seed == [6] and options.preset == "default"


@pytest.mark.parametrize("line", ["preset: paper", 'preset: "paper"', "preset: 'paper'  # as is"])
def test_a_preset_in_a_file_may_be_quoted(tmp_path, line):
    file = tmp_path / "options.yaml"
    file.write_text(f"dataset: x\n{line}\n")
    assert parse(["--config", str(file)])[0].model == PRESETS["paper"].model


def test_a_preset_that_only_looks_like_one_is_not_taken_for_the_default(tmp_path, capsys):
    file = tmp_path / "options.yaml"
    file.write_text('{"preset": "paper"}')
    with pytest.raises(SystemExit):
        parse(["--config", str(file)])
    with pytest.raises(SystemExit):
        parse(["--pres", "paper"])
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_steps_and_epochs_are_short_for_training_steps():
    assert parse(["--steps", "70"])[0].train.steps == 70
    assert parse(["--epochs", "3", "--train.steps_per_epoch", "25"])[0].train.steps == 75


@pytest.mark.parametrize(
    ("line", "steps"),
    [
        (["--steps", "20"], 20),
        (["--epochs", "2"], 60),
        (["--train.steps", "40"], 40),
        (["--train.steps", "40", "--epochs", "2"], 60),
        ([], 300),
    ],
)
@pytest.mark.parametrize("content", ["epochs: 10", "steps: 300", "train: {steps: 300}"])
def test_the_length_on_the_command_line_beats_the_one_in_the_file(tmp_path, content, line, steps):
    file = tmp_path / "options.yaml"
    file.write_text(f"{content}\n")
    per_epoch = ["--train.steps_per_epoch", "30"]
    assert parse(["--config", str(file), *per_epoch, *line])[0].train.steps == steps


@pytest.mark.parametrize(
    ("text", "wanted"), [("90", 90), ("90s", 90), ("5m", 300), ("1h", 3600), ("1.5h", 5400)]
)
def test_a_time_budget_is_read_with_its_unit(text, wanted):
    assert parse(["--time-budget", text])[0].train.time_budget == wanted


@pytest.mark.parametrize(
    ("line", "budget"),
    [
        ([], 300),
        (["--steps", "5"], None),
        (["--epochs", "5"], None),
        (["--train.steps", "5"], None),
        (["--time-budget", "2s"], 2),
        (["--train.time_budget", "2"], 2),
    ],
)
@pytest.mark.parametrize("content", ["time_budget: 5m", "train: {time_budget: 300}"])
def test_a_length_on_the_command_line_beats_the_budget_in_the_file(tmp_path, content, line, budget):
    file = tmp_path / "options.yaml"
    file.write_text(f"{content}\n")
    assert parse(["--config", str(file), *line])[0].train.time_budget == budget


@pytest.mark.parametrize("content", ["steps: 3", "epochs: 3"])
def test_a_budget_on_the_command_line_beats_the_length_in_the_file(tmp_path, content):
    file = tmp_path / "options.yaml"
    file.write_text(f"{content}\n")
    train = parse(["--config", str(file), "--time-budget", "5m"])[0].train
    assert train.time_budget == 300 and train.steps == TrainConfig().steps


@pytest.mark.parametrize(
    "line", ["seed: 3", "seed: [3]", "seed:   3   # as always", "seed:\n  - 3"]
)
def test_a_single_seed_in_a_file_needs_no_brackets(tmp_path, line):
    file = tmp_path / "options.yaml"
    file.write_text(f"preset: paper\n{line}\nepochs: 2\n")
    options, _ = parse(["--config", str(file)])
    assert options.seed == [3] and options.train.steps == 200


@pytest.mark.parametrize("file", sorted((HOME / "evaluation" / "configs").glob("*.yaml")))
def test_the_configurations_in_the_repository_are_read(file):
    options, _ = parse(["--config", str(file)])
    content = yaml.safe_load(file.read_text())
    assert options.dataset == content["dataset"]
    assert options.preset == content.get("preset", "default")
    assert options.out.name == file.stem


def test_every_published_set_has_a_configuration_of_the_paper():
    files = {file.stem for file in (HOME / "evaluation" / "configs").glob("*.yaml")}
    assert {f"{name}-paper" for name, spec in SPECS.items() if spec.published} <= files


def test_one_file_may_not_say_the_length_in_two_ways(tmp_path, capsys):
    file = tmp_path / "options.yaml"
    file.write_text("steps: 3\nepochs: 2\n")
    with pytest.raises(SystemExit):
        parse(["--config", str(file)])
    assert "--steps and --epochs" in capsys.readouterr().err


# ---------------------------------------------------------------- the record


def test_only_the_record_goes_to_stdout_and_progress_to_stderr(finished):
    out, stdout, stderr = finished
    assert json.loads(stdout) == record_of(out)
    for said in ("timediff, seed 1\n", "timediff, seed 2\n", "ridge VAR, seed 2\n"):
        assert said in stderr
    assert "\r" not in stderr  # bars are for terminals


def test_the_record_has_what_is_needed_to_repeat_the_run(finished, folder):
    out, _, _ = finished
    record = record_of(out)
    ours = ours_of(record)
    assert record["format"] == 3 and set(ours["metrics"]) == set(METRICS)
    assert ours["metrics_se"].keys() == ours["metrics"].keys()
    fast = {name for name, one in BASELINES.items() if one.fast}
    assert set(baselines_of(record)) == fast
    assert next(iter(record["entrants"])) == "timediff" and len(record["entrants"]) == 1 + len(fast)
    for one in baselines_of(record).values():
        assert set(one["metrics"]) == set(METRICS) and one["title"] and one["note"]
        assert {"training", "sampling"} == set(one["seconds"])
        assert one["aggregates"]["net"]["unit"] == "kW"
    for one in record["entrants"].values():
        assert one.keys() == ours.keys() and one["protocols"] and one["windows"]
    assert set(record["comparisons"]) == fast
    assert record["comparisons"]["var"]["too_few"]
    for name, one in record["entrants"].items():
        assert all(len(values) == WINDOWS for values in one["windows"].values()), name
    dataset = record["dataset"]
    assert dataset["name"] == "homes" and dataset["series"] == 3
    assert dataset["windows"] == WINDOWS and dataset["prediction_length"] == HORIZON
    assert len(dataset["checksum"]) == 64
    assert record["observed_share"] == 1
    assert record["config"]["model"]["hidden_size"] == 6
    assert record["config"]["model"].keys() == set(ModelConfig._fields)
    assert record["config"]["train"].keys() == set(TrainConfig._fields) - {"seed"}
    assert ours["seeds"] == [1, 2] and record["num_samples"] == 20
    assert ours["per_seed"][0]["details"]["network_calls"] == 3 * HORIZON
    assert {"python", "torch", "gluonts", "lightning", "numpy"} <= record["versions"].keys()
    assert record["hardware"]["device"] == "cpu"
    assert ours["seconds"]["training"] > 0 and ours["seconds"]["sampling"] > 0
    assert "commit" in record
    assert ours["aggregates"]["net"]["unit"] == "kW"
    assert record["versions"]["timediff"] == timediff.__version__
    for row in ours["per_seed"]:
        shape = row["details"]["shape"]
        assert shape["lags"] == [1, 3] and shape["difference"] == 0
        assert shape["context_length"] == 6 and shape["target_dim"] == 3


def test_means_errors_and_json_of_scores_that_are_not_defined():
    rows = [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": None}, {"a": 8.0, "b": float("nan")}]
    assert mean(rows)["a"] == 4.0
    assert standard_error(rows)["a"] == pytest.approx(np.sqrt(13 / 3))  # deviations -3, -1, 4
    undefined = {"mean": mean(rows)["b"], "error": standard_error(rows)["b"], "one": (np.inf, 1)}
    assert json.loads(as_json(undefined)) == {"mean": None, "error": None, "one": [None, 1]}
    assert len({score.title for score in METRICS.values()}) == len(METRICS)


def test_means_and_standard_errors_are_those_of_the_seeds(finished):
    """Of ours and of every baseline, which have as many seeds."""
    record = record_of(finished[0])
    for entrant in record["entrants"].values():
        rows = entrant["per_seed"]
        assert [row["seed"] for row in rows] == entrant["seeds"] == [1, 2]
        for name in METRICS:
            one, two = (row["metrics"][name] for row in rows)
            assert entrant["metrics"][name] == pytest.approx((one + two) / 2)
            assert entrant["metrics_se"][name] == pytest.approx(abs(one - two) / 2, abs=1e-12)
        assert rows[0]["metrics"] != rows[1]["metrics"]
        assert entrant["seconds"]["sampling"] == pytest.approx(
            sum(row["seconds"]["sampling"] for row in rows)
        )
    for row in ours_of(record)["per_seed"]:
        assert row["details"]["steps"] == 9 and len(row["details"]["history"]) == 3


def test_nll_is_reported_where_it_is_asked_for(folder, tmp_path, finished, monkeypatch):
    monkeypatch.setattr("timediff.timegrad.density.ODE_STEPS", 4)  # its accuracy is not asserted
    options = ["--seed", "1", "2", "--nll", "--model.beta_end", "0.7", "--model.variance", "large"]
    status, stdout, _ = run(folder, tmp_path / "out", *options)
    assert status == 0
    record = record_of(tmp_path / "out")
    for row in ours_of(record)["per_seed"]:
        nll = row["nll"]
        assert nll["windows"] == WINDOWS and nll["left_out"] == 0
        assert len(nll["terms"]) == 5 + 1
        assert nll["scores"]["bound"] == pytest.approx(sum(nll["terms"]) + nll["log_scale"])
        assert nll["scores"]["nll_bits"] == pytest.approx(nll["scores"]["nll"] / np.log(2))
        assert nll["scores"]["nll_error"] == 0
    one, two = (row["nll"]["scores"]["bound"] for row in ours_of(record)["per_seed"])
    nll = ours_of(record)["nll"]
    assert nll["bound"] == pytest.approx((one + two) / 2) and one != two
    assert ours_of(record)["nll_se"]["bound"] == pytest.approx(abs(one - two) / 2)
    assert set(record["nll_definitions"]) == {*nll, "terms", "log_scale"}
    assert (tmp_path / "out" / "nll.png").stat().st_size > 10_000
    for said in ("variational bound, nats per dimension", "in bits", "2 windows scored, 0 with"):
        assert said in stdout
    # A finished run gains a likelihood, or goes without again, and trains nothing.
    seconds = ours_of(record)["seconds"]
    assert run(folder, tmp_path / "out", *[o for o in options if o != "--nll"], "--resume")[0] == 0
    assert ours_of(record_of(tmp_path / "out"))["nll"] == {}
    for seed in (1, 2):
        (tmp_path / "out" / "timediff" / f"seed-{seed}" / "nll.json").unlink()
    assert run(folder, tmp_path / "out", *options, "--resume")[0] == 0
    again = ours_of(record_of(tmp_path / "out"))
    assert again["nll"] == nll and again["seconds"] == seconds
    assert ours_of(record_of(finished[0]))["nll"] == {} and not (finished[0] / "nll.png").exists()


def forecasts_of(out):
    """Seed -> paths ``[W, S, T, D]``, read from the table."""
    table = pd.read_parquet(out / "forecasts.parquet")
    assert list(table.columns[:4]) == ["seed", "window", "sample_id", "time"]
    ordered = table.sort_values(["seed", "window", "sample_id", "time"])
    return {
        int(seed): rows.to_numpy()[:, 4:].astype(float).reshape(WINDOWS, 20, HORIZON, -1)
        for seed, rows in ordered.groupby("seed")
    }


def test_the_scores_are_those_of_the_forecasts_that_were_written(finished, folder):
    out, _, _ = finished
    table = pd.read_csv(folder / "data.csv", index_col=0, parse_dates=True)
    held_out = table.iloc[-WINDOWS * HORIZON :]
    truth = held_out.to_numpy().reshape(WINDOWS, HORIZON, 3)
    for row in ours_of(record_of(out))["per_seed"]:
        again = score(forecasts_of(out)[row["seed"]], truth)
        told = {
            name: value for name, value in row["metrics"].items() if name not in ("mase", "msis")
        }
        again = {name: again[name] for name in told}
        assert again == pytest.approx(told, rel=1e-5, nan_ok=True)
    written = pd.read_parquet(out / "forecasts.parquet")
    assert list(written.columns[4:]) == list(table.columns)
    np.testing.assert_array_equal(np.unique(written["time"]), held_out.index.to_numpy())


def test_a_table_and_a_picture_are_drawn(finished):
    out, _, _ = finished
    assert (out / "forecast.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    table = (out / "table.txt").read_text()
    record = record_of(out)
    name = "mean_wquantile_loss_sum"
    for one in record["entrants"].values():
        assert f"{one['metrics'][name]:.4f}" in table
        assert f"{one['metrics_se'][name]:.5f}" in table
    for title in (each.title for each in METRICS.values()):
        assert f"\n{title} " in table
    assert max(map(len, table.splitlines()[:12])) <= 100
    for file in ("table.txt", "record.json", "forecast.png", "forecasts.parquet"):
        assert str(out / file) in table
    assert not list(out.rglob("*partial*"))


def test_the_help_is_short_and_says_no_code():
    text = make_parser("default").format_help()
    assert text.startswith("usage: timediff evaluate [OPTION ...]\n\n")
    assert "0x" not in text and "Literal" not in text and "{conv,mlp,attention}" in text


def test_the_table_is_printed_without_json(folder, tmp_path):
    status, stdout, _ = run(folder, tmp_path)
    assert status == 0
    assert stdout == (tmp_path / "table.txt").read_text()
    for one in record_of(tmp_path)["entrants"].values():
        assert one["metrics_se"]["crps"] is None, "one seed says nothing about errors"


def test_the_trained_predictor_is_kept_and_makes_the_same_forecasts(finished, folder):
    from timediff.data.dataset import load_dataset
    from timediff.gluon.predictor import TimeGradPredictor

    out, _, _ = finished
    predictor = TimeGradPredictor.deserialize(out / "timediff" / "seed-2" / "predictor")
    known = [
        {**one, "target": one["target"][:, :-HORIZON]} for one in load_dataset(str(folder)).test
    ]
    forecasts = predictor.predict(known, 20, seed=2, progress=False)
    paths = np.stack([forecast.samples for forecast in forecasts])
    np.testing.assert_allclose(paths, forecasts_of(out)[2], rtol=1e-5)


def test_poor_and_missing_data_are_named_once_and_scored(tmp_path):
    poor = entry(dim=4, length=120)["target"].T
    poor[:, 1], poor[:, 2], poor[-3:, 3], poor[50:60, 0] = 5, np.nan, np.nan, np.nan
    folder = wide_folder(tmp_path / "poor", values=poor)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        status, stdout, stderr = run(folder, tmp_path / "out", "--json", "--seed", "1", "2")
    assert status == 0
    told = [line for line in stderr.splitlines() if "say little" in line]
    assert len(told) == 1 and told[0].startswith("timediff.evaluate: some series")
    assert "load 1" in told[0] and "load 2" in told[0] and "load 3" not in told[0]
    record = json.loads(stdout)
    assert record["observed_share"] == pytest.approx(1 - (8 + 3) / (WINDOWS * HORIZON * 4))
    assert all(np.isfinite(value) for value in ours_of(record)["metrics"].values())


@pytest.mark.parametrize("options", [["--validation-windows", "2", "--train.patience", "1"], []])
def test_one_series(tmp_path, options):
    folder = wide_folder(tmp_path / "one", dim=1)
    status, stdout, _ = run(folder, tmp_path / "out", "--json", *options)
    record = json.loads(stdout)
    assert status == 0 and record["dataset"]["series"] == 1
    ours = ours_of(record)
    assert ours["metrics"]["crps"] == pytest.approx(ours["metrics"]["crps_sum"])
    assert ("val_loss" in ours["per_seed"][0]["details"]["history"][0]) == bool(options)


@pytest.mark.parametrize("count", ["1", "3"])
def test_few_paths_are_reported_without_what_needs_more(folder, tmp_path, count):
    options = [one for one in command(folder, tmp_path) if one != "--no-report"]
    with contextlib.redirect_stdout(io.StringIO()):
        assert main([*options, "--num-samples", count, "--baselines", "none"]) == 0
    ours = ours_of(record_of(tmp_path))
    assert ours["metrics_mc_error"] == {}
    assert (ours["metrics"]["coverage_90_joint"] is None) == (count == "1")
    assert "Monte-Carlo" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("held", [0, 3])
def test_nothing_of_the_future_is_trained_on(folder, tmp_path, monkeypatch, held):
    from timediff.gluon.estimator import TimeGradEstimator

    class Stop(Exception):
        pass

    def watched(self, training_data, validation_data=None, **options):
        raise Stop(training_data, validation_data)

    monkeypatch.setattr(TimeGradEstimator, "train_model", watched)
    with pytest.raises(Stop) as stop:
        run(folder, tmp_path, "--validation-windows", str(held))
    (training,), validation = stop.value.args
    whole = pd.read_csv(folder / "data.csv", index_col=0).to_numpy().T
    test_from = whole.shape[1] - WINDOWS * HORIZON
    end = test_from - held * HORIZON
    np.testing.assert_array_equal(training["target"], whole[:, :end])
    if not held:
        assert validation is None
        return
    ends = [one["target"].shape[1] for one in validation]
    assert ends == [end + HORIZON, end + 2 * HORIZON, test_from]
    for one in validation:
        np.testing.assert_array_equal(one["target"], whole[:, : one["target"].shape[1]])


# ---------------------------------------------------------------- interrupt and resume


@pytest.fixture
def no_training(monkeypatch):
    def fail(*_args, **_options):
        raise AssertionError("trained again")

    monkeypatch.setattr("timediff.gluon.estimator.TimeGradEstimator.train_model", fail)


def interrupt(monkeypatch, *, where):
    """Ctrl-C in the second seed: in the middle of its second epoch, or while it is sampled."""
    from timediff.timegrad.model import TimeGrad
    from timediff.training.module import TimeGradModule

    step, sample, drawn = TimeGradModule.training_step, TimeGrad.draw, []

    def training_step(self, batch, batch_idx):
        if self.seed == 2 and (self.current_epoch, batch_idx) == (1, 1):
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    def sampling(self, *args, **options):
        drawn.append(1)
        if len(drawn) == 2:
            raise KeyboardInterrupt
        return sample(self, *args, **options)

    if where == "training":
        monkeypatch.setattr(TimeGradModule, "training_step", training_step)
    else:
        monkeypatch.setattr(TimeGrad, "draw", sampling)


def count_steps(monkeypatch):
    from timediff.training.module import TimeGradModule

    step, steps = TimeGradModule.training_step, []

    def counted(self, batch, batch_idx):
        steps.append((self.current_epoch, batch_idx))
        return step(self, batch, batch_idx)

    monkeypatch.setattr(TimeGradModule, "training_step", counted)
    return steps


def test_the_steps_of_a_time_budget_are_in_the_record_and_resumed(folder, tmp_path, monkeypatch):
    from timediff.training.budget import Pace

    # A pace that grows from one measurement to the next, as that of a busy machine.
    paces = iter([Pace(0.0, 3000.0, 0.0), Pace(0.0, 2000.0, 0.0)])
    monkeypatch.setattr("timediff.training.budget.measured_pace", lambda *_: next(paces))
    # TINY says how many steps; here the time says it.
    without = [one for one in TINY if one not in ("--train.steps", "9")]
    options = ["--dataset", str(folder), "--out", str(tmp_path), *without, "--seed", "1", "2"]
    options += ["--time-budget", "10h", "--json"]
    with monkeypatch.context() as patch:
        interrupt(patch, where="training")
        with contextlib.redirect_stderr(io.StringIO()) as stderr:
            assert main(options) == 130
    assert "time budget of 36000 s: " in stderr.getvalue()
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        assert main([*options, "--resume"]) == 0
    record = json.loads(stdout.getvalue())
    # 34,200 s after the reserve: 11.4 steps, where 10 are the fewest, and 17.1, in epochs of 3 each.
    assert [row["details"]["steps"] for row in ours_of(record)["per_seed"]] == [12, 15]
    train = record["config"]["train"]
    assert train["time_budget"] == 36000 and train["steps"] is None


@pytest.mark.parametrize("where", ["training", "sampling"])
@pytest.mark.parametrize("validated", [False, True])
def test_an_interrupted_run_that_is_resumed_ends_as_if_nothing_had_happened(
    folder, finished, tmp_path, monkeypatch, where, validated
):
    options = ["--seed", "1", "2", "--json"]
    whole = finished[0]
    if validated:
        options += ["--validation-windows", "1", "--train.patience", "1"]
        whole = tmp_path / "whole"
        assert run(folder, whole, *options)[0] == 0

    out, handler = tmp_path / "out", signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        interrupt(patch, where=where)
        status, stdout, stderr = run(folder, out, *options)
    assert status == 130 and stdout == ""
    assert stderr.splitlines()[-1].endswith(
        f"interrupted; the same command with --resume goes on from {out}"
    )
    assert signal.getsignal(signal.SIGINT) is handler
    assert not (out / "record.json").exists()

    finished_before = (out / "timediff" / "seed-1" / "result.json").stat().st_mtime_ns
    with monkeypatch.context() as patch:
        steps = count_steps(patch)
        status, stdout, stderr = run(folder, out, *options, "--resume")
    assert status == 0
    # Of three epochs of three steps, one was over, or all.
    assert len(steps) == (6 if where == "training" else 0) or validated
    assert len(steps) <= 6
    assert (out / "timediff" / "seed-1" / "result.json").stat().st_mtime_ns == finished_before
    assert values(json.loads(stdout)) == values(record_of(whole))
    for seed, paths in forecasts_of(whole).items():
        np.testing.assert_array_equal(forecasts_of(out)[seed], paths)


def test_what_is_finished_is_not_trained_again(folder, finished, tmp_path, no_training):
    out = tmp_path / "copy"
    shutil.copytree(finished[0], out)
    status, stdout, _ = run(folder, out, "--seed", "1", "2", "--json", "--resume")
    assert status == 0
    assert values(json.loads(stdout)) == values(record_of(finished[0]))


def test_a_seed_can_be_added(folder, finished, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(finished[0], out)
    status, stdout, stderr = run(folder, out, "--seed", "2", "3", "--json", "--resume")
    assert status == 0
    record = json.loads(stdout)
    before = values(record_of(finished[0]))["entrants"]
    for name, one in values(record)["entrants"].items():
        assert one["seeds"] == [2, 3]
        assert one["per_seed"][0] == before[name]["per_seed"][1]
    assert "seed 3" in stderr and "seed 2" not in stderr


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["--train.steps", "12"], "train"),
        (["--model.dropout", "0.3"], "model"),
        (["--num-samples", "40"], "num_samples"),
        (["--validation-windows", "1"], "validation_windows"),
    ],
)
def test_other_settings_cannot_be_resumed(
    folder, finished, tmp_path, capsys, no_training, change, named
):
    out = tmp_path / "copy"
    shutil.copytree(finished[0], out)
    with pytest.raises(SystemExit) as stop:
        main(command(folder, out, "--seed", "1", "2", "--resume", *change))
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"({named} changed)" in line
    assert (out / "timediff" / "seed-1" / "result.json").is_file()


def test_other_data_cannot_be_resumed(finished, tmp_path, capsys, no_training, folder):
    out, other = tmp_path / "copy", tmp_path / "homes"
    shutil.copytree(finished[0], out)
    shutil.copytree(folder, other)
    settings = json.loads((out / "settings.json").read_text())
    (out / "settings.json").write_text(json.dumps(settings | {"dataset": str(other)}))
    wide_folder(other, values=entry(seed=9, length=120)["target"].T)
    with pytest.raises(SystemExit):
        main(command(other, out, "--seed", "1", "2", "--resume"))
    assert "(checksum changed)" in capsys.readouterr().err


RESULTS = ("record.json", "table.txt", "forecasts.parquet", "forecast.png")


class Stop(Exception):
    """Raised where the test has seen enough."""


def stopped(*_args, **_options):
    raise Stop


def test_without_resume_a_run_starts_afresh_and_spares_what_is_not_its_own(
    folder, finished, tmp_path, monkeypatch
):
    out = tmp_path / "copy"
    shutil.copytree(finished[0], out)
    kept = [out / "seed-data", out / "timediff" / "seed-data", out / "notes.txt"]
    kept[0].mkdir()
    kept[1].mkdir()
    kept[2].touch()
    assert all((out / name).is_file() for name in RESULTS)
    monkeypatch.setattr("timediff.gluon.estimator.TimeGradEstimator.train_model", stopped)
    with pytest.raises(Stop):
        run(folder, out, "--seed", "1")
    assert all(path.exists() for path in kept)
    assert not (out / "timediff" / "seed-2").exists() and not (out / "var" / "seed-1").exists()
    assert not (out / "timediff" / "seed-1" / "result.json").exists()
    assert not any((out / name).exists() for name in RESULTS)


@pytest.mark.parametrize("settings", [None, "{", "[]", '{"editor": "dark"}'])
@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_seed_folders_that_are_not_ours_are_never_removed(
    folder, tmp_path, capsys, no_training, settings, resume
):
    precious = tmp_path / "timediff" / "seed-7" / "harvest.csv"
    precious.parent.mkdir(parents=True)
    precious.write_text("1")
    if settings is not None:
        (tmp_path / "settings.json").write_text(settings)
    with pytest.raises(SystemExit) as stop:
        main(command(folder, tmp_path, "--seed", "1", *resume))
    assert stop.value.code == 2 and precious.read_text() == "1"
    (line,) = capsys.readouterr().err.splitlines()
    place = "settings.json" if resume and settings else "timediff/seed-7"
    assert str(tmp_path / place) in line


@pytest.mark.parametrize("resume", [False, True])
def test_what_an_earlier_version_left_is_replaced_but_not_gone_on_from(
    folder, finished, tmp_path, capsys, monkeypatch, resume
):
    out = tmp_path / "old"
    out.mkdir()
    shutil.copyfile(finished[0] / "settings.json", out / "settings.json")
    shutil.copytree(finished[0] / "timediff" / "seed-1", out / "seed-1")
    (out / "baselines").mkdir()
    for name in ("var.npy", "var.json", "notes.txt"):
        (out / "baselines" / name).touch()
    monkeypatch.setattr("timediff.gluon.estimator.TimeGradEstimator.train_model", stopped)
    if not resume:
        with pytest.raises(Stop):
            run(folder, out)
        assert not (out / "seed-1").exists()
        assert [file.name for file in (out / "baselines").iterdir()] == ["notes.txt"]
        return
    with pytest.raises(SystemExit) as stop:
        main(command(folder, out, "--resume"))
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and f"{out / 'seed-1'} was made by an earlier version" in line
    assert (out / "seed-1" / "result.json").is_file()


def test_two_runs_in_one_folder_do_not_mix(folder, tmp_path, capsys, monkeypatch):
    pytest.importorskip("fcntl", reason="no file locks here")
    said = []

    def second_run(*_args, **_options):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(command(folder, tmp_path))
        said.append((stop.value.code, capsys.readouterr().err.splitlines()))
        raise Stop

    monkeypatch.setattr("timediff.gluon.estimator.TimeGradEstimator.train_model", second_run)
    for _ in range(2):  # the lock ends with the run that held it
        with pytest.raises(Stop):
            main(command(folder, tmp_path))
    for status, lines in said:
        assert status == 2 and len(lines) == 1
        assert f"another run is writing to {tmp_path}" in lines[0]
    assert len(said) == 2


def test_seconds_of_training_add_up_over_an_interrupt(folder, tmp_path, monkeypatch):
    from timediff.gluon.estimator import TimeGradEstimator

    train, pause = TimeGradEstimator.train_model, 0.5

    def slow(self, *args, **options):
        time.sleep(pause)
        raise KeyboardInterrupt

    def counted(self, *args, **options):
        started = time.perf_counter()
        output = train(self, *args, **options)
        took.append(time.perf_counter() - started)
        return output

    took = []
    with monkeypatch.context() as patch:
        patch.setattr(TimeGradEstimator, "train_model", slow)
        assert run(folder, tmp_path)[0] == 130
    monkeypatch.setattr(TimeGradEstimator, "train_model", counted)
    status, stdout, _ = run(folder, tmp_path, "--resume", "--json")
    assert status == 0
    assert ours_of(json.loads(stdout))["seconds"]["training"] >= pause + took[0]


def test_the_record_is_written_before_table_and_picture_can_fail(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("timediff.benchmark.evaluation.write_forecasts", stopped)
    with pytest.raises(Stop):
        run(folder, tmp_path)
    assert ours_of(record_of(tmp_path))["metrics"] and (tmp_path / "table.txt").is_file()
    monkeypatch.setattr("timediff.report.write.save_figure", stopped)
    with pytest.raises(Stop):
        run(folder, tmp_path)
    assert ours_of(record_of(tmp_path))["metrics"] and (tmp_path / "table.txt").is_file()
    assert not (tmp_path / "forecast.png").exists()


# ---------------------------------------------------------------- names and clocks


def test_series_named_like_the_keys_of_the_table_are_not_lost(tmp_path):
    values = entry(dim=4, length=120)["target"].T
    folder = wide_folder(tmp_path / "data", values=values)
    names = ["sample_id", "time", "time_", "load"]
    table = pd.read_csv(folder / "data.csv", index_col=0).set_axis(names, axis=1)
    table.to_csv(folder / "data.csv", index_label="stamp")
    assert run(folder, tmp_path / "out")[0] == 0
    written = pd.read_parquet(tmp_path / "out" / "forecasts.parquet")
    assert list(written.columns) == [
        *("seed", "window", "sample_id", "time"),
        *("sample_id_", "time__", "time_", "load"),
    ]
    assert set(written["sample_id"]) == set(range(20))
    assert written["time"].dtype.kind == "M"
    paths = np.load(tmp_path / "out" / "timediff" / "seed-1" / "paths.npy")
    np.testing.assert_array_equal(written.to_numpy()[:, 4:].astype("f8"), paths.reshape(-1, 4))


def test_series_of_one_name_are_told_apart(tmp_path):
    values = entry(dim=3, length=120)["target"]
    folder = gluonts_folder(tmp_path / "data", values, item_ids=["north", "south", "north"])
    assert run(folder, tmp_path / "out")[0] == 0
    written = pd.read_parquet(tmp_path / "out" / "forecasts.parquet")
    assert list(written.columns[4:]) == ["north_0", "south", "north_2"]


def gluonts_folder(path, values, *, item_ids, horizon=HORIZON, skip=0):
    """``values [D, T]`` in the GluonTS layout with two windows, the first `skip` steps on."""
    ends = {"train": [100], "test": [100 + skip + horizon, 100 + skip + 2 * horizon]}
    for split, lengths in ends.items():
        (path / split).mkdir(parents=True)
        lines = [
            json.dumps({"start": "2020-01-06", "item_id": name, "target": row[:end].tolist()})
            for end in lengths
            for name, row in zip(item_ids, values, strict=True)
        ]
        (path / split / "data.json").write_text("\n".join(lines) + "\n")
    meta = {"freq": "h", "prediction_length": horizon}
    (path / "metadata.json").write_text(json.dumps(meta))
    return path


def test_the_baseline_knows_how_far_a_window_is_from_training(tmp_path, monkeypatch):
    seen = []

    def watched(task):
        seen.append(list(task.gaps))
        raise Stop

    monkeypatch.setattr("timediff.benchmark.problem.check_task", watched)
    values = entry(dim=2, length=120)["target"]
    folder = gluonts_folder(tmp_path / "data", values, item_ids=["a", "b"], skip=7)
    with pytest.raises(Stop):
        run(folder, tmp_path / "out")
    with pytest.raises(Stop):
        run(wide_folder(tmp_path / "wide", windows=3), tmp_path / "out")
    assert seen == [[7, 7 + HORIZON], [0, HORIZON, 2 * HORIZON]]


@pytest.mark.filterwarnings("error::FutureWarning")
def test_business_days_are_evaluated_without_a_word_of_pandas(tmp_path):
    folder = wide_folder(tmp_path / "data", freq="B")
    table = pd.read_csv(folder / "data.csv", index_col=0)
    table.index = pd.bdate_range("2020-01-06", periods=len(table), name="time")
    table.to_csv(folder / "data.csv")
    assert run(folder, tmp_path / "out")[0] == 0


def test_a_signal_stops_a_real_run_with_status_130(folder, tmp_path):
    # Started with Python's own handler, whatever the shell did to background jobs.
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from timediff.evaluate import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = command(folder, tmp_path / "out", "--steps", "1000000")
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HOME)},
    )
    try:
        checkpoint = tmp_path / "out" / "timediff" / "seed-1" / "checkpoints" / "last.ckpt"
        deadline = time.monotonic() + 120
        while not checkpoint.is_file() and process.poll() is None:
            assert time.monotonic() < deadline, "no epoch in two minutes"
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    assert stderr.splitlines()[-1].startswith("timediff.evaluate: interrupted; the same command")
    assert "Traceback" not in stderr


def test_a_full_disk_loses_nothing_that_was_finished(folder, finished, tmp_path, monkeypatch):
    save, out = np.save, tmp_path / "out"

    def full(path, array):
        if "seed-2" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        save(path, array)

    options = ["--seed", "1", "2", "--json"]
    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        status, stdout, stderr = run(folder, out, *options)
    assert status == 1 and stdout == "" and "--resume" in stderr.splitlines()[-1]
    assert (out / "timediff" / "seed-1" / "result.json").is_file()
    assert run(folder, out, *options, "--resume")[0] == 0
    assert values(record_of(out)) == values(record_of(finished[0]))


def test_results_that_are_replaced_are_named(folder, tmp_path):
    assert "replacing" not in run(folder, tmp_path)[2]
    assert f"replacing the results of an earlier run in {tmp_path}" in run(folder, tmp_path)[2]


# ---------------------------------------------------------------- baselines, windows, other predictors


def count_runs(monkeypatch):
    """The entrants and seeds that forecast from now on, as they do."""
    from timediff.benchmark import run as loop

    forecast, ran = loop._forecast, []

    def counted(setting, job):
        ran.append((job.entrant.name, job.seed))
        return forecast(setting, job)

    monkeypatch.setattr(loop, "_forecast", counted)
    return ran


def test_a_finished_baseline_is_not_run_again(folder, finished, tmp_path, no_training, monkeypatch):
    out = tmp_path / "copy"
    shutil.copytree(finished[0], out)
    (out / "var" / "seed-2" / "paths.npy").unlink()
    ran = count_runs(monkeypatch)
    status, stdout, _ = run(folder, out, "--seed", "1", "2", "--json", "--resume")
    assert status == 0 and ran == [("var", 2)]
    assert values(json.loads(stdout)) == values(record_of(finished[0]))
    # Another first seed makes other scores of the same paths; none at all are left out of the record.
    assert run(folder, out, "--seed", "2", "--resume")[0] == 0 and len(ran) == 1
    status, stdout, _ = run(folder, out, "--seed", "2", "--resume", "--baselines", "none", "--json")
    record = json.loads(stdout)
    assert list(record["entrants"]) == ["timediff"] and record["comparisons"] == {}


def test_a_fresh_run_makes_its_baselines_anew(folder, finished, tmp_path, monkeypatch):
    out = tmp_path / "copy"
    shutil.copytree(finished[0], out)
    ran = count_runs(monkeypatch)
    assert run(folder, out, "--baselines", "fast")[0] == 0
    assert len(ran) == 1 + len(baselines_of(record_of(out))) == 8


def task_of(folder):
    from timediff.benchmark.problem import make_task
    from timediff.data.dataset import load_dataset

    return make_task(load_dataset(str(folder)))


def test_the_scores_of_a_baseline_are_those_of_its_paths(finished, folder):
    out, _, _ = finished
    record = record_of(out)
    table = pd.read_parquet(out / "forecasts.parquet")
    assert set(table["seed"]) == {1, 2}
    for name, one in baselines_of(record).items():
        for row in one["per_seed"]:
            paths = np.load(out / name / f"seed-{row['seed']}" / "paths.npy")
            assert paths.shape == (WINDOWS, 20, HORIZON, 3) and paths.dtype == np.float64
            again = BASELINES[name].forecast(
                task_of(folder), num_samples=20, seed=row["seed"], progress=False
            )
            np.testing.assert_array_equal(paths, again)


def test_a_folder_from_before_the_baselines_is_resumed_with_all_scores(
    folder, finished, tmp_path, no_training
):
    out = tmp_path / "old"
    shutil.copytree(finished[0], out)
    for name in BASELINES:
        shutil.rmtree(out / name, ignore_errors=True)
    settings = json.loads((out / "settings.json").read_text())
    for name in ("windows", "stride", "history", "predictor", "entrants"):
        del settings[name]
    (out / "settings.json").write_text(json.dumps(settings))
    for seed in (1, 2):
        file = out / "timediff" / f"seed-{seed}" / "result.json"
        result = json.loads(file.read_text())
        result["metrics"] = {"mean_wquantile_loss_sum": 9.0}
        file.write_text(json.dumps(result))
    status, stdout, _ = run(folder, out, "--seed", "1", "2", "--json", "--resume")
    assert status == 0
    assert values(json.loads(stdout)) == values(record_of(finished[0]))


def test_windows_are_cut_anew(folder, tmp_path):
    options = ["--windows", "3", "--stride", "2", "--history", "40"]
    status, stdout, _ = run(folder, tmp_path, *options, "--json")
    record = json.loads(stdout)
    assert status == 0 and record["dataset"]["windows"] == 3
    assert record["dataset"]["train_length"] == 120 - HORIZON - 2 * 2
    assert record["config"]["windows"] == 3 and record["config"]["stride"] == 2
    assert record["comparisons"]["var"]["overlap"] == 1
    whole = pd.read_csv(folder / "data.csv", index_col=0, parse_dates=True)
    times = pd.read_parquet(tmp_path / "forecasts.parquet", columns=["window", "time"])
    assert list(times.groupby("window")["time"].min()) == list(whole.index[[112, 114, 116]])


@pytest.mark.parametrize(
    "options",
    [
        ["--windows", "0"],
        ["--stride", "3"],
        ["--history", "9"],
        ["--recalibrate"],
        ["--baselines", "some"],
        ["--predictor", "x", "--nll"],
        ["--predictor", "nowhere"],
    ],
)
def test_options_that_do_not_fit_are_one_line(folder, tmp_path, capsys, no_training, options):
    with pytest.raises(SystemExit) as stop:
        main(command(folder, tmp_path / "out", *options))
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_our_predictor_is_scored_in_place_of_training(folder, finished, tmp_path, no_training):
    saved = finished[0] / "timediff" / "seed-2" / "predictor"
    options = ["--predictor", str(saved), "--baselines", "none", "--seed", "5", "6", "--json"]
    status, stdout, _ = run(folder, tmp_path, *options)
    record = json.loads(stdout)
    assert status == 0 and list(record["entrants"]) == ["predictor"]
    given = record["entrants"]["predictor"]
    assert (given["title"], given["kind"]) == ("TimeGradPredictor", "predictor")
    assert given["seconds"]["training"] is None
    assert given["per_seed"][0]["details"]["way"] == "multivariate"
    # With a seed of its own the paths are those of the run that trained it.
    assert run(folder, tmp_path / "same", *options[:-3], "2", "--json")[0] == 0
    before = ours_of(record_of(finished[0]))["per_seed"][1]["metrics"]
    after = record_of(tmp_path / "same")["entrants"]["predictor"]["per_seed"][0]["metrics"]
    assert before == after
    np.testing.assert_array_equal(forecasts_of(tmp_path / "same")[2], forecasts_of(finished[0])[2])
    # Nothing was made with the options of a training, or with a preset's.
    assert [record["config"][part] for part in ("model", "train", "sampling")] == [None] * 3
    assert record["preset"] == "" and record["config"]["predictor"] == str(saved)
    assert run(folder, tmp_path, *options, "--resume")[0] == 0
    assert values(record_of(tmp_path)) == values(record)


def test_predictors_of_others_stand_beside_the_baselines(folder, finished, tmp_path, capsys):
    saved = [tmp_path / "repeated", finished[0] / "timediff" / "seed-2" / "predictor"]
    saved[0].mkdir()
    SeasonalNaivePredictor(prediction_length=HORIZON, season_length=8).serialize(saved[0])
    options = ["--baselines", "none", "--json", "--rivals", *map(str, saved)]
    status, stdout, _ = run(folder, tmp_path / "out", *options)
    record = json.loads(stdout)
    assert status == 0 and ours_of(record)["title"] == "timediff"
    titles = {name: one["title"] for name, one in record["entrants"].items() if name != "timediff"}
    assert titles == {
        "predictor-repeated": "SeasonalNaivePredictor (repeated)",
        "predictor-predictor": "TimeGradPredictor (predictor)",
    }
    assert record["comparisons"]["predictor-repeated"]["windows"] == WINDOWS
    # A point forecast: all its paths are one.
    metrics = record["entrants"]["predictor-repeated"]["metrics"]
    assert metrics["crps"] == pytest.approx(metrics["nd"])
    assert "SeasonalNaivePredictor" in (tmp_path / "out" / "table.txt").read_text()
    again = run(folder, tmp_path / "out", *options, "--resume")
    assert again[0] == 0 and values(json.loads(again[1])) == values(record)
    with pytest.raises(SystemExit):
        main(command(folder, tmp_path / "out2", "--rivals", "nowhere"))
    assert "there is no folder nowhere" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
def test_a_deepar_that_is_not_ours_is_scored_series_by_series(folder, tmp_path, no_training):
    from gluonts.torch import DeepAREstimator

    from timediff.baselines.external import fit_predictor, load_predictor
    from timediff.benchmark.problem import make_task
    from timediff.data.dataset import load_dataset
    from timediff.errors import InputError

    data = load_dataset(str(folder))
    series = [
        {"item_id": name, "start": data.train[0]["start"], "target": target}
        for name, target in zip(data.columns, data.train[0]["target"], strict=True)
    ]
    quiet = {"max_epochs": 1, "accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "default_root_dir": str(tmp_path)}
    estimator = DeepAREstimator(
        freq="h",
        prediction_length=HORIZON,
        hidden_size=4,
        num_layers=1,
        num_batches_per_epoch=2,
        trainer_kwargs=quiet,
    )
    saved = tmp_path / "deepar"
    saved.mkdir()
    estimator.train(series).serialize(saved)
    options = ["--predictor", str(saved), "--json"]
    status, stdout, _ = run(folder, tmp_path / "out", *options)
    record = json.loads(stdout)
    given = record["entrants"]["predictor"]
    assert status == 0 and given["per_seed"][0]["details"]["way"] == "univariate"
    assert given["title"] == "DeepAR" and given["seconds"]["training"] is None
    assert given["metrics"]["crps"] < 1 and len(baselines_of(record)) == 7
    shorter = wide_folder(tmp_path / "shorter", prediction_length=3)
    with pytest.raises(SystemExit), contextlib.redirect_stderr(io.StringIO()) as stderr:
        main(command(shorter, tmp_path / "out2", *options))
    assert "forecasts 4 steps, the windows have 3" in stderr.getvalue()
    later = load_predictor(saved)
    later.lead_time = 2
    with pytest.raises(InputError, match="leaves out 2 steps before its forecast"):
        fit_predictor(later, make_task(data))


def test_scores_before_and_after_recalibration_are_in_the_record(folder, tmp_path):
    options = ["--validation-windows", "8", "--recalibrate", "--seed", "1", "2", "--json"]
    status, stdout, _ = run(folder, tmp_path, *options)
    record = json.loads(stdout)
    assert status == 0
    found = record["recalibration"]
    assert found.keys() == ours_of(record).keys() and set(found["metrics"]) == set(METRICS)
    assert found["metrics"] != ours_of(record)["metrics"] and found["seeds"] == [1, 2]
    # The map of each seed is kept, and says how many windows it was fitted on.
    for seed in (1, 2):
        file = tmp_path / "timediff" / f"seed-{seed}" / "recalibration.json"
        assert json.loads(file.read_text())["windows"] == 8
    assert "timediff, recalibrated" in (tmp_path / "table.txt").read_text()
    assert found["diagnosis"] is None
    again = run(folder, tmp_path, *options, "--resume")
    assert again[0] == 0 and values(json.loads(again[1])) == values(record)


def test_bounds_by_hand_are_options_and_part_of_the_record(folder, tmp_path):
    options = ["--model.bounds", "[[null, 3.5]]", "--baselines", "none"]
    status, _, _ = run(folder, tmp_path, *options)
    record = record_of(tmp_path)
    assert status == 0 and record["config"]["model"]["bounds"] == [[None, 3.5]]
    drawn = np.load(tmp_path / "timediff" / "seed-1" / "paths.npy")
    assert drawn.max() == 3.5
    with contextlib.redirect_stderr(io.StringIO()) as stderr, pytest.raises(SystemExit):
        main(command(folder, tmp_path / "out", "--model.bounds", "[[3, 2]]"))
    assert "bounds are [[3.0, 2.0]]" in stderr.getvalue()


def test_the_report_shows_calibration_before_and_after_recalibration(folder, tmp_path):
    options = ["--validation-windows", "8", "--recalibrate", "--baselines", "none"]
    with contextlib.redirect_stdout(io.StringIO()):
        assert (
            main([one for one in command(folder, tmp_path, *options) if one != "--no-report"]) == 0
        )
    found = record_of(tmp_path)["recalibration"]
    coverage = found["diagnosis"]["coverage"]
    assert coverage["each"][1] == pytest.approx(found["metrics"]["coverage_90"], rel=1e-4)
    assert coverage["sum"][1] == pytest.approx(found["metrics"]["coverage_90_sum"], rel=1e-4)
    page = (tmp_path / "report.html").read_text()
    for name in ("pit-each", "pit-sum", "pit-after-each", "pit-after-sum"):
        assert f'id="figure-{name}"' in page
    assert "--baselines fast" in page  # nobody is beside it


def test_report_and_diagnosis_are_written_unless_told_otherwise(folder, finished, tmp_path):
    before = record_of(finished[0])["entrants"].values()
    assert {one["diagnosis"] for one in before} == {None}
    assert not (finished[0] / "report.html").exists()
    out = tmp_path / "copy"
    shutil.copytree(finished[0], out)
    options = [one for one in command(folder, out, "--seed", "1", "2") if one != "--no-report"]
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        assert main([*options, "--resume"]) == 0
    record = record_of(out)
    assert all(one["diagnosis"] for one in record["entrants"].values())
    assert set(ours_of(record)["metrics_mc_error"]) == set(METRICS)
    assert "ridge VAR" in (out / "report.html").read_text()
    assert str(out / "report.html") in stdout.getvalue()


@pytest.mark.filterwarnings("ignore")
def test_a_baseline_that_fails_is_left_out_by_name(
    folder, finished, tmp_path, no_training, monkeypatch
):
    def broken(task, **_options):
        raise ZeroDivisionError("of its own")

    slow = BASELINES["energy"]._replace(fit=broken)
    kept = {name: BASELINES[name] for name in ("var", "auto_ets")} | {"energy": slow}
    monkeypatch.setattr("timediff.benchmark.entrants.BASELINES", kept)
    lacking = {"auto_ets": "it is not installed"}
    monkeypatch.setattr(
        "timediff.benchmark.entrants.chosen", lambda which: (["var", "energy"], dict(lacking))
    )
    out = tmp_path / "copy"
    shutil.copytree(finished[0], out)
    status, stdout, stderr = run(folder, out, "--seed", "1", "2", "--json", "--resume")
    record = json.loads(stdout)
    assert status == 0 and set(baselines_of(record)) == {"var"}
    assert record["left_out"] == lacking | {"energy": "ZeroDivisionError: of its own"}
    assert "energy-score network is left out" in stderr and "AutoETS, copula is left out" in stderr
