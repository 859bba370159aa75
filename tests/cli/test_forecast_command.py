"""From a file to a forecast by command: what is written, said, refused, and how a command ends."""

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from tiny import HORIZON, MODEL, QUIET, entry

from timediff import Forecaster, ModelConfig, TrainConfig
from timediff.cli import check, forecast, predict, train, verify
from timediff.cli import estimate as cost
from timediff.cli.main import main as command
from timediff.cli.said import kept_lines
from timediff.cli.tables import read_table
from timediff.cli.written import check_file
from timediff.errors import InputError
from timediff.metrics import score
from timediff.reading import Reading

pytestmark = QUIET

HOME = Path(__file__).resolve().parents[2]
CHANGED = {k: v for k, v in MODEL._asdict().items() if v != getattr(ModelConfig(), k)}
OPTIONS = [str(word) for name, value in CHANGED.items() for word in (f"--model.{name}", value)]
OPTIONS += ["--train.steps", "2", "--train.batch_size", "4"]
PLAIN = TrainConfig(steps=2, batch_size=4, seed=1)


def table(*, freq="h", tz=None, length=60, start="2024-01-05"):
    stamps = pd.date_range(start, periods=length, freq=freq, tz=tz, name="ds")
    return pd.DataFrame(entry(length=length)["target"].T, index=stamps, columns=["a", "b", "c"])


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with a table."""
    monkeypatch.chdir(tmp_path)
    table(tz="Europe/Berlin").to_csv("data.csv")
    return tmp_path


def run(capsys, main, *words):
    """Exit status, stdout, stderr of a command."""
    capsys.readouterr()
    try:
        status = main([str(word) for word in words])
    except SystemExit as stop:
        status = stop.code
    return status, *capsys.readouterr()


def forecasts(capsys, *words, data="data.csv"):
    """stdout and stderr of a forecast that is made."""
    status, out, said = run(
        capsys, forecast.main, data, "--horizon", HORIZON, *OPTIONS, "--num-samples", 20, *words
    )
    assert status == 0, said
    return out, said


def of_python(frame, *, tz=None):
    forecaster = Forecaster(MODEL, PLAIN, progress=False)
    return forecaster.fit(frame, h=HORIZON, tz=tz).forecast(n_paths=20, seed=1)


READERS = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".feather": pd.read_feather}


@pytest.mark.parametrize("ending", READERS)
def test_a_forecast_is_that_of_python_in_the_tables_zone(here, capsys, ending):
    plot = "f.html" if ending == ".feather" and find_spec("plotly") else "f.png"
    out, said = forecasts(capsys, "--out", f"f{ending}", "--plot", plot, "--levels", 50, 80)
    assert out.splitlines() == [f"f{ending}", plot]
    assert (here / plot).read_bytes()[:4] == (b"\x89PNG" if plot == "f.png" else b"<!DO")
    written = READERS[ending](here / f"f{ending}")
    expected = of_python(table(tz="Europe/Berlin")).to_quantile_frame(level=[50, 80])
    stamps = [pd.Timestamp(stamp) for stamp in written["ds"]]
    assert stamps == list(expected["ds"]) and str(written["ds"][0]).endswith("+01:00")
    numbers = expected.columns[2:]
    assert list(written.columns) == list(expected.columns)
    np.testing.assert_allclose(written[numbers], expected[numbers], rtol=1e-6)
    assert "3 series of 60 steps at h" in said and "zone UTC+01:00" in said
    assert "minutes and" in said


@pytest.mark.parametrize("freq", ["ME", "QE", "W", "30min"])
def test_stamps_go_on_as_the_table_writes_them(here, capsys, freq):
    frame = table(freq=freq)
    frame.to_csv("own.csv")
    forecasts(capsys, data="own.csv")
    written = pd.read_csv("forecast.csv", parse_dates=["ds"])
    following = pd.date_range(frame.index[-1], periods=HORIZON + 1, freq=freq)[1:]
    assert list(written["ds"][:HORIZON]) == list(following)


def test_saved_models_predict_the_same_and_go_on(here, capsys):
    forecasts(capsys, "--save", "model", "--paths", "--out", "one.csv")
    for data in ([], ["data.csv"]):
        words = ["model", *data, "--paths", "--num-samples", 20, "--out", "two.csv", "--quiet"]
        status, _, said = run(capsys, predict.main, *words)
        assert status == 0 and said == ""
        assert (here / "two.csv").read_text() == (here / "one.csv").read_text()
    table(tz="Europe/Berlin", length=80).to_csv("new.csv")
    words = ["new.csv", "--from", "model", "--out", "newer", *OPTIONS]
    assert run(capsys, train.main, *words)[0] == 0
    before, after = (Forecaster.load(name, progress=False) for name in ("model", "newer"))
    assert after.predictor.prediction_length == HORIZON
    stamp = after.forecast(n_paths=1, seed=1).stamps[0]
    assert stamp == pd.Timestamp("2024-01-08 08:00", tz="Europe/Berlin")
    old, new = (f.predictor.prediction_net.state_dict() for f in (before, after))
    name = next(name for name in old if name.startswith("encoder") and "weight" in name)
    fresh = run(capsys, train.main, "new.csv", "--horizon", HORIZON, "--out", "fresh", *OPTIONS)
    assert fresh[0] == 0
    other = Forecaster.load("fresh", progress=False).predictor.prediction_net.state_dict()
    # Two steps move weights a little; a different start of the same seed would be this one's.
    assert not np.array_equal(new[name], other[name]) and not np.array_equal(new[name], old[name])


def test_paths_are_verified_as_the_metrics_say(here, capsys):
    forecasts(capsys, "--paths", "--out", "paths.parquet")
    drawn = of_python(table(tz="Europe/Berlin"))
    later = table(tz="Europe/Berlin", length=70)
    later.iloc[62, 1] = np.nan
    later.to_csv("later.csv")
    status, out, _ = run(capsys, verify.main, "paths.parquet", "later.csv", "--json")
    assert status == 0
    told = json.loads(out)
    truth = later.to_numpy(np.float64)[60 : 60 + HORIZON]
    paths = drawn.paths.astype(np.float64)
    expected = {k: v for k, v in score(paths[None], truth[None]).items() if np.isfinite(v)}
    assert told["scores"] == pytest.approx(expected, rel=1e-5)
    assert told["observed"] == truth.size - 1 and "energy_score" in str(told["scores"])
    # Of intervals only what these say: no sums.
    forecasts(capsys, "--out", "f.csv")
    status, out, said = run(capsys, verify.main, "f.csv", "later.csv", "--json")
    scores = json.loads(out)["scores"]
    known = np.isfinite(truth)
    low, high = drawn.quantile([0.05, 0.95])
    inside = (low[known] <= truth[known]) & (truth[known] <= high[known])
    assert scores["coverage_90"] == pytest.approx(inside.mean())
    error = np.abs(drawn.quantile(0.5) - truth)[known].mean()
    assert scores["mean_absolute_error_of_the_median"] == pytest.approx(error, rel=1e-5)
    assert not [name for name in scores if "sum" in name or "energy" in name] and "--paths" in said
    status, _, said = run(capsys, verify.main, "f.csv", "data.csv")
    assert status == 2 and "has no value at the steps" in said


def test_json_is_all_there_is_on_stdout_and_bars_are_for_terminals(here, capsys):
    out, said = forecasts(capsys, "--json", "--log-file", "log.txt")
    told = json.loads(out)
    assert told["out"] == "forecast.csv" and told["read"]["series"] == 3 and told["plot"] is None
    log = (here / "log.txt").read_text()
    assert said == log and log.isprintable() is False and "\r" not in log and "\x1b" not in log
    assert "sampling" not in said and "3 series" in log
    out, said = forecasts(capsys, "--quiet")
    assert said == "" and out == "forecast.csv\n"


def test_bars_leave_no_trace_in_a_log(tmp_path, capsys):
    with kept_lines("x", tmp_path / "log"):
        for text in ("\rbar: 1", "\rbar: 2", "\n", "said\n", "\x1b[Aup", "\n"):
            sys.stderr.write(text)
    assert (tmp_path / "log").read_text() == "said\nup\n" == capsys.readouterr().err


def test_roles_come_by_flags_or_from_a_file(here, capsys):
    stamps = pd.date_range("2024-01-05", periods=60, freq="h")
    temperature = np.sin(np.arange(60 + HORIZON))
    parts = [
        pd.DataFrame(
            {"home": n, "time": stamps.strftime("%d.%m.%Y %H:%M"), "kw": v, "t": temperature[:60]}
        )
        for n, v in zip("abc", entry()["target"], strict=True)
    ]
    pd.concat(parts).to_csv("long.csv", sep=";", decimal=",", index=False)
    ahead = pd.date_range(stamps[-1], periods=HORIZON + 1, freq="h")[1:]
    future = pd.DataFrame({"time": ahead.strftime("%d.%m.%Y %H:%M"), "t": temperature[60:]})
    future.to_csv("future.csv", sep=";", decimal=",", index=False)
    flags = ["--id-col", "home", "--time-col", "time", "--target-col", "kw", "--futr", "t"]
    flags += ["--separator", ";", "--decimal", ",", "--day-first", "--futr-file", "future.csv"]
    forecasts(capsys, *flags, data="long.csv")
    first = (here / "forecast.csv").read_text()
    assert first.startswith("home,time,TimeGrad,") and "2024-01-07 12:00:00" in first
    roles = {"id_col": "home", "time_col": "time", "target_col": "kw", "futr": ["t"]}
    roles |= {"separator": ";", "decimal": ",", "day_first": True, "futr_file": "future.csv"}
    (here / "roles.yaml").write_text(yaml.safe_dump(roles))
    forecasts(capsys, "--config", "roles.yaml", data="long.csv")
    assert (here / "forecast.csv").read_text() == first
    status, _, said = run(
        capsys, forecast.main, "long.csv", "--horizon", HORIZON, *flags[:-2], *OPTIONS
    )
    assert status == 2 and "--futr-file" in said


def test_what_does_not_change_is_told_by_a_file(here, capsys):
    sites = pd.DataFrame({"unique_id": list("abc"), "height": [1.0, 20, 300], "kind": list("xyx")})
    sites.to_csv("sites.csv", index=False)
    static = ["--stat", "height", "kind", "--stat-file", "sites.csv"]
    forecasts(capsys, *static)
    told = (here / "forecast.csv").read_text()
    by_hand = Forecaster(MODEL, PLAIN).fit(
        table(), sites, h=HORIZON, stat_exog_list=["height", "kind"]
    )
    wanted = by_hand.forecast(n_paths=20, seed=1).to_quantile_frame(level=[50, 90])
    np.testing.assert_allclose(
        pd.read_csv("forecast.csv")["TimeGrad"], wanted["TimeGrad"], rtol=1e-4
    )
    forecasts(capsys)
    assert (here / "forecast.csv").read_text() != told
    sites.iloc[:2].to_csv("sites.csv", index=False)
    status, _, said = run(
        capsys, forecast.main, "data.csv", "--horizon", HORIZON, *static, *OPTIONS
    )
    assert status == 2 and "the file of --stat-file has 0 rows of the series 'c'" in said


def test_check_says_what_will_be_read_and_what_is_odd(here, capsys):
    frame = table()
    frame["d"], frame["copy"] = 5.0, frame["a"]
    frame.drop(frame.index[20]).to_csv("odd.csv")
    status, out, said = run(capsys, check.main, "odd.csv", "--horizon", HORIZON)
    assert status == 0 and said == ""
    assert "5 series of 60 steps" in out and "1 of 60 rows" in out
    assert "constant: d" in out and "copies: copy of a" in out and "minutes and" in out
    told = json.loads(run(capsys, check.main, "odd.csv", "--json")[1])
    assert told["cost"]["memory"] > 1e8 and len(told["found"]) >= 3


MISTAKES = [
    (["nowhere.csv"], "nowhere.csv does not exist"),
    (["data.csv", "--horizon", "0"], "--horizon is 0"),
    (["data.csv", "--horizon", "60"], "no window to train on"),
    (["data.csv", "--out", "data.csv"], "which is read"),
    (["data.csv", "--out", "f.xlsx"], ".csv, .parquet, .feather"),
    (["data.csv", "--out", "no/f.csv"], "make it first"),
    (["data.csv", "--plot", "f.gif"], ".png"),
    (["data.csv", "--levels", "0"], "--levels has 0"),
    (["data.csv", "--save", "."], "no model that was saved"),
    (["data.csv", "--max-memory", "1MB"], "--max-memory is 0.001 GB"),
    (["data.csv", "--max-memory", "much"], "--max-memory"),
    (["data.csv", "--seed", "-1"], "--seed is -1"),
    (["data.csv", "--futr", "wind"], "--futr-file"),
    (["data.csv", "--stat", "height"], "--stat-file"),
    (["data.csv", "--freq", "5h"], "--freq"),
    (["data.csv", "--model.hidden_size", "0"], "hidden_size"),
    (["clock.csv"], "--tz Europe/Berlin"),
    (["days.csv"], "--day-first"),
]


def test_a_page_that_nothing_can_draw_is_refused_before_training(here, monkeypatch):
    monkeypatch.setattr("timediff.report.interactive.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"timediff-forecast\[interactive\]"):
        check_file("--plot", Path("f.html"), read=[])


def test_mistakes_are_one_sentence_before_torch(here):
    clock = table(tz="Europe/Berlin", length=100, start="2024-10-26")
    clock.tz_localize(None).to_csv("clock.csv")
    days = table(length=12).set_index(
        pd.Index([f"0{i % 9 + 1}.0{i % 9 + 1}.2024" for i in range(12)])
    )
    days.index = [f"{i + 1:02d}.{i + 1:02d}.2024" for i in range(12)]
    days.to_csv("days.csv")
    lines = [[*(["--horizon", "6"] if "--horizon" not in w else []), *w] for w, _ in MISTAKES]
    script = f"""
import sys
from timediff.cli.forecast import main
for line in {lines!r}:
    print("#", file=sys.stderr)
    try:
        main(line)
    except SystemExit as stop:
        assert stop.code == 2, (line, stop.code)
    else:
        raise AssertionError(line)
assert not {{"torch", "gluonts", "lightning", "matplotlib"}} & sys.modules.keys()
"""
    environment = {**os.environ, "PYTHONPATH": str(HOME)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    answers = done.stderr.split("#\n")[1:]
    for (words, said), answer in zip(MISTAKES, answers, strict=True):
        last = answer.splitlines()[-1]
        assert last.startswith("timediff forecast: ") and said in last, (words, answer)


def test_what_this_machine_has_no_memory_for_is_not_begun(here, capsys, monkeypatch):
    words = ["data.csv", "--horizon", HORIZON, *OPTIONS]
    monkeypatch.setattr(cost, "memory_of_machine", lambda: 5e8)
    status, _, said = run(capsys, forecast.main, *words)
    assert status == 2 and "GB of memory would be needed, and this machine has 0.5 GB" in said
    assert run(capsys, forecast.main, *words, "--max-memory", "2GB")[0] == 0
    monkeypatch.setattr(cost, "memory_of_machine", lambda: None)
    assert run(capsys, forecast.main, *words)[0] == 0


def test_the_memory_of_this_machine_is_known():
    memory = cost.memory_of_machine()
    assert memory is None or 1e8 < memory < 1e14


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_training_says_what_is_kept(here, capsys, monkeypatch, number):
    from timediff.training.module import TimeGradModule

    outside = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(TimeGradModule, "training_step", lambda *_: os.kill(os.getpid(), number))
    try:
        words = ["forecast", "data.csv", "--horizon", HORIZON, *OPTIONS]
        status, out, said = run(capsys, command, *words)
    finally:
        signal.signal(signal.SIGINT, outside)
    assert status == 128 + number and out == ""
    assert said.splitlines()[-1] == (
        "timediff forecast: interrupted; what was trained is kept: the same command with --resume goes on "
        "from there"
    )
    assert "checkpoints" not in said and sorted(os.listdir()) == [
        ".forecast.csv.training",
        "data.csv",
    ]


def test_a_predict_on_another_table_is_refused(here, capsys):
    forecasts(capsys, "--save", "model")
    table(tz="Europe/Berlin").drop(columns="b").to_csv("less.csv")
    status, _, said = run(capsys, predict.main, "model", "less.csv")
    assert status == 2 and "has no series 'b'" in said
    status, _, said = run(capsys, predict.main, "nowhere")
    assert status == 2 and "holds no forecaster.json" in said


def test_frames_of_a_table_are_read_back(here):
    read = read_table(here / "data.csv", Reading(tz="Europe/Berlin"))
    frame = read.to_frame()
    wide = frame.pivot(index="ds", columns="unique_id", values="y")
    np.testing.assert_array_equal(wide.to_numpy(), read.values)
    assert list(wide.index) == list(table(tz="Europe/Berlin").index)
