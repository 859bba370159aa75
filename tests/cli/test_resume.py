"""``forecast --resume`` and ``train --resume``: a training that was stopped ends as if it had never been."""

import errno
import os
import signal
from pathlib import Path

import pandas as pd
import pytest
from processes import run_python
from tiny import HORIZON, MODEL, QUIET, entry

from timediff import ModelConfig
from timediff.cli import forecast, train
from timediff.errors import InputError
from timediff.training import checkpoints
from timediff.training.module import TimeGradModule

pytestmark = QUIET
CHANGED = {k: v for k, v in MODEL._asdict().items() if v != getattr(ModelConfig(), k)}
OPTIONS = [str(word) for name, value in CHANGED.items() for word in (f"--model.{name}", value)]
OPTIONS += ["--train.steps", "9", "--train.steps_per_epoch", "3", "--train.batch_size", "4"]
FORECAST = ["data.csv", "--horizon", str(HORIZON), "--num-samples", "20", *OPTIONS]
TRAIN = ["data.csv", "--horizon", str(HORIZON), "--out", "model", *OPTIONS]
STATES = Path(".forecast.csv.training")
GOES_ON = "what was trained is kept: the same command with --resume goes on from there"


def table(*, seed=0, length=60):
    stamps = pd.date_range("2024-01-05", periods=length, freq="h", name="ds")
    values = entry(length=length, seed=seed)["target"].T
    return pd.DataFrame(values, index=stamps, columns=["a", "b", "c"])


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A working folder with a table."""
    monkeypatch.chdir(tmp_path)
    table().to_csv("data.csv")
    outside = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield tmp_path
    signal.signal(signal.SIGINT, outside)


def run(capsys, main, words):
    """Exit status, stdout, lines of stderr."""
    capsys.readouterr()
    try:
        status = main(words)
    except SystemExit as stop:
        status = stop.code
    out, said = capsys.readouterr()
    return status, out, said.splitlines()


@pytest.fixture
def steps(monkeypatch):
    """The steps that are taken; what is asked for is done in those that a test names."""
    taken, step = [], TimeGradModule.training_step
    taken_at = {}

    def counted(self, batch, batch_idx):
        taken.append(batch_idx)
        taken_at.pop(len(taken), lambda: None)()
        return step(self, batch, batch_idx)

    monkeypatch.setattr(TimeGradModule, "training_step", counted)
    taken_now = type("Steps", (), {"taken": taken, "at": taken_at})
    return taken_now


def send(number):
    return lambda: os.kill(os.getpid(), number)


def contents(place):
    place = Path(place)
    files = sorted(place.rglob("*")) if place.is_dir() else [place]
    return {path.name: path.read_bytes() for path in files if path.is_file()}


def uninterrupted(capsys, main, words, out):
    """What a command writes that is left alone; removed from its place."""
    assert run(capsys, main, words)[0] == 0
    whole = contents(out)
    os.rename(out, "elsewhere")
    return whole


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_a_forecast_that_was_stopped_goes_on_within_the_epoch_to_the_same_end(
    capsys, steps, number, status
):
    whole = uninterrupted(capsys, forecast.main, FORECAST, "forecast.csv")
    steps.taken.clear()
    steps.at[5] = send(number)
    ended, out, said = run(capsys, forecast.main, FORECAST)
    assert (ended, out) == (status, "")
    assert said[-1] == f"timediff forecast: interrupted; {GOES_ON}"
    assert sorted(os.listdir()) == [".forecast.csv.training", "data.csv", "elsewhere"]
    ended, out, said = run(capsys, forecast.main, [*FORECAST, "--resume"])
    assert (ended, out) == (0, "forecast.csv\n") and "training goes on from step 5" in said
    assert contents("forecast.csv") == whole and len(steps.taken) == 9
    assert sorted(os.listdir()) == ["data.csv", "elsewhere", "forecast.csv"]


@pytest.mark.parametrize("warm", [False, True], ids=["anew", "--from"])
def test_a_model_that_was_stopped_goes_on_to_the_same_end(capsys, steps, warm):
    words = TRAIN
    if warm:
        assert run(capsys, train.main, [*TRAIN, "--out", "before"])[0] == 0
        words = [*TRAIN, "--from", "before"]
        table(length=70).to_csv("data.csv")
    whole = uninterrupted(capsys, train.main, words, "model")
    steps.taken.clear()
    steps.at[5] = send(signal.SIGTERM)
    status, _, said = run(capsys, train.main, words)
    before = "; before is as it was" if warm else ""
    assert status == 143 and said[-1] == (
        f"timediff train: interrupted; no model was written{before}; the same command with --resume goes on "
        "with the training"
    )
    assert not Path("model").exists()
    assert run(capsys, train.main, [*words, "--resume"])[0] == 0
    assert contents("model") == whole and len(steps.taken) == 9
    assert not Path(".model.training").exists()
    if warm:  # another model to begin with is another training
        steps.at[14] = send(signal.SIGTERM)
        assert run(capsys, train.main, words)[0] == 143
        assert run(capsys, train.main, [*TRAIN, "--out", "before", "--seed", "2"])[0] == 0
        status, _, said = run(capsys, train.main, [*words, "--resume"])
        assert status == 2 and "(--from changed)" in said[-1]


KILLED = """
import os, signal, sys
from timediff.cli.forecast import main
from timediff.training import checkpoints
from timediff.training.module import TimeGradModule
checkpoints.PAUSE = checkpoints.SPARING = 0
step, taken = TimeGradModule.training_step, []
def killed(self, batch, batch_idx):
    taken.append(batch_idx)
    if len(taken) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, batch_idx)
TimeGradModule.training_step = killed
main(sys.argv[1:])
"""


def test_a_forecast_that_was_killed_goes_on_from_the_last_state(capsys, steps, here):
    whole = uninterrupted(capsys, forecast.main, FORECAST, "forecast.csv")
    steps.taken.clear()
    (here / "killed.py").write_text(KILLED)
    home = str(Path(__file__).resolve().parents[2])
    sys_path = {"PYTHONPATH": home}
    done = run_python(here / "killed.py", here, *FORECAST, **sys_path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    status, _, said = run(capsys, forecast.main, [*FORECAST, "--resume"])
    assert status == 0 and "training goes on from step 4" in said and len(steps.taken) == 5
    assert contents("forecast.csv") == whole and not STATES.exists()


def test_a_disk_that_fills_keeps_the_state_before(capsys, steps, monkeypatch):
    whole = uninterrupted(capsys, forecast.main, FORECAST, "forecast.csv")
    write = Path.write_bytes

    def full(path, content):
        if list(STATES.glob("checkpoints/*step=6.ckpt")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        status, _, said = run(capsys, forecast.main, FORECAST)
    assert status == 1
    assert said[-1] == f"timediff forecast: no space left to write; free some; {GOES_ON}"
    assert run(capsys, forecast.main, [*FORECAST, "--resume"])[0] == 0
    assert contents("forecast.csv") == whole and not STATES.exists()


def stopped(capsys, steps, *more):
    """A forecast that was stopped in its fifth step."""
    steps.taken.clear()
    steps.at[5] = send(signal.SIGTERM)
    assert run(capsys, forecast.main, [*FORECAST, *more])[0] == 143
    assert STATES.is_dir()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--train.batch_size", "8"], "--train.batch_size"),
        (["--model.hidden_size", "4", "--seed", "2"], "--model.hidden_size, --train.seed"),
        (["--horizon", "3"], "--horizon"),
        (["--tz", "Europe/Berlin"], "--tz"),
        ([], "DATA"),
    ],
)
def test_other_data_or_options_are_refused_by_name_and_the_state_stays(capsys, steps, words, named):
    stopped(capsys, steps)
    before = contents("data.csv")["data.csv"]
    if not words:
        table(seed=1).to_csv("data.csv")
    status, out, said = run(capsys, forecast.main, [*FORECAST, *words, "--resume"])
    assert (status, out) == (2, "") and said[-1] == (
        f"timediff forecast: the training to go on with was another ({named} changed); give the same data "
        "and options, or leave out --resume to begin anew."
    )
    Path("data.csv").write_bytes(before)
    assert run(capsys, forecast.main, [*FORECAST, "--resume"])[0] == 0 and len(steps.taken) == 9


def test_what_a_training_does_not_depend_on_may_change(capsys, steps):
    words = ["--paths", "--sampling.steps", "3"]
    whole = uninterrupted(capsys, forecast.main, [*FORECAST, *words], "forecast.csv")
    stopped(capsys, steps)
    os.rename("data.csv", "moved.csv")
    words = ["moved.csv", *FORECAST[1:], *words, "--resume"]
    assert run(capsys, forecast.main, words)[0] == 0
    assert contents("forecast.csv") == whole and len(steps.taken) == 9


def test_without_resume_all_begins_anew_and_that_is_told(capsys, steps):
    stopped(capsys, steps)
    steps.taken.clear()
    status, _, said = run(capsys, forecast.main, FORECAST)
    assert status == 0 and len(steps.taken) == 9 and not STATES.exists()
    assert "the training that was stopped is given up; --resume would have gone on with it" in said
    status, _, said = run(capsys, forecast.main, [*FORECAST, "--resume"])
    assert status == 0 and "there is no training to go on with; it begins anew" in said
    assert len(steps.taken) == 18 and not STATES.exists()


def test_damaged_states_are_named_and_left(capsys, steps):
    whole = uninterrupted(capsys, forecast.main, FORECAST, "forecast.csv")
    stopped(capsys, steps)
    last = STATES / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    status, _, said = run(capsys, forecast.main, [*FORECAST, "--resume"])
    assert status == 0 and contents("forecast.csv") == whole
    assert [line.split("/checkpoints/")[-1] for line in said if "cannot be read" in line] == [
        "epoch=0-step=3.ckpt"
    ]
    assert "training goes on from step 3" in said
    stopped(capsys, steps)
    (STATES / "settings.json").write_text("{")
    status, _, said = run(capsys, forecast.main, [*FORECAST, "--resume"])
    assert status == 2 and "settings.json cannot be read" in said[-1]


def test_a_mistake_told_after_training_costs_no_second_one(capsys, steps, monkeypatch):
    def refused(*_, **__):
        raise InputError("no forecast can be made")

    whole = uninterrupted(capsys, forecast.main, FORECAST, "forecast.csv")
    steps.taken.clear()
    with monkeypatch.context() as patched:
        patched.setattr(forecast, "deliver", refused)
        status, _, said = run(capsys, forecast.main, FORECAST)
    assert status == 2 and said[-2] == GOES_ON and "no forecast" in said[-1]
    assert len(steps.taken) == 9
    assert run(capsys, forecast.main, [*FORECAST, "--resume"])[0] == 0
    assert contents("forecast.csv") == whole and len(steps.taken) == 9 and not STATES.exists()


def test_two_commands_do_not_share_states(capsys, steps):
    said = []
    steps.at[5] = lambda: said.append(run(capsys, forecast.main, [*FORECAST, "--resume"]))
    assert run(capsys, forecast.main, FORECAST)[0] == 0
    ((status, _, lines),) = said
    assert status == 2 and "another run is writing to" in lines[-1]


def test_a_command_that_was_stopped_before_its_first_state_leaves_nothing(capsys, steps):
    def interrupted():
        raise KeyboardInterrupt

    steps.at[1] = interrupted
    status, _, said = run(capsys, forecast.main, FORECAST)
    assert status == 130 and "nothing was written; the same command starts again" in said[-1]
    assert os.listdir() == ["data.csv"]


def test_states_within_an_epoch_are_kept_by_commands_too(capsys, steps, monkeypatch):
    monkeypatch.setattr(checkpoints, "PAUSE", 0.0)
    monkeypatch.setattr(checkpoints, "SPARING", 0.0)
    kept = []
    steps.at[3] = lambda: kept.append(checkpoints.read_state(STATES / "checkpoints" / "last.ckpt"))
    assert run(capsys, forecast.main, FORECAST)[0] == 0
    assert kept[0]["global_step"] == 2
