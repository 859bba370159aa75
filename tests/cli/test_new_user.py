"""What a new user stumbles over: told before training, in words of the command, and quiet when asked."""

import warnings
from pathlib import Path

import pandas as pd
import pytest
from tiny import HORIZON, QUIET

from timediff import Forecaster
from timediff.cli import forecast, train
from timediff.cli.said import kept_lines
from timediff.cli.tables import told
from timediff.errors import InputError

pytestmark = QUIET


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def table():
    index = pd.date_range("2024-01-05", periods=60, freq="h", name="time")
    return pd.DataFrame({"a": 1.0 + index.hour, "b": 2.0 + index.hour}, index)


def test_a_future_that_is_too_short_is_refused_before_the_training(here, capsys, monkeypatch):
    frame = table().assign(t=1.0)
    frame.to_csv("data.csv")
    later = pd.date_range(frame.index[-1], periods=HORIZON, freq="h")[1:]
    pd.DataFrame({"t": 1.0}, pd.Index(later, name="time")).to_csv("future.csv")
    monkeypatch.setattr(Forecaster, "fit", lambda *_, **__: pytest.fail("it was trained"))
    words = ("--horizon", str(HORIZON), "--futr", "t", "--futr-file", "future.csv")
    with pytest.raises(SystemExit) as stopped:
        forecast.main(["data.csv", *words])
    assert stopped.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "the file of --futr-file has no 't' at" in said and "get_missing" not in said


def test_a_series_of_a_long_table_that_is_to_be_an_input_is_told_the_way(here, capsys):
    stamps = pd.date_range("2024-01-05", periods=60, freq="h")
    parts = [pd.DataFrame({"unique_id": name, "ds": stamps, "y": 1.0}) for name in "ab"]
    pd.concat(parts).to_csv("long.csv", index=False)
    with pytest.raises(SystemExit):
        forecast.main(["long.csv", "--horizon", "4", "--hist", "a"])
    assert "a table with a column for each series" in capsys.readouterr().err


def test_quiet_keeps_warnings_for_the_log_and_python_names_become_those_of_the_command(
    capsys, tmp_path
):
    for quiet in (True, False):
        log = tmp_path / f"{quiet}.log"
        with kept_lines("timediff predict", log, quiet=quiet), told(Path("new.csv")):
            warnings.warn("the history of frame is shorter; set tz=UTC", stacklevel=1)
        expected = "the history of new.csv is shorter; set --tz UTC"
        assert expected in log.read_text()
        assert (expected in capsys.readouterr().err) is not quiet
    with pytest.raises(InputError, match=r"^new\.csv has no series"), told(Path("new.csv")):
        raise InputError("the frame has no series")


@pytest.mark.parametrize("main", [forecast.main, train.main])
def test_a_quiet_command_says_nothing_of_warnings(here, capsys, monkeypatch, main):
    def warned(*_, **__):
        warnings.warn("something odd", stacklevel=1)
        raise InputError("stopped")

    table().to_csv("data.csv")
    monkeypatch.setattr(Forecaster, "fit", warned)
    out = {forecast.main: "forecast.csv", train.main: "model"}[main]
    words = ["data.csv", "--horizon", str(HORIZON), "--out", out, "--quiet", "--log-file", "log"]
    with pytest.raises(SystemExit):
        main(words)
    said = capsys.readouterr().err
    assert "something odd" not in said and "stopped" in said
    assert "something odd" in Path("log").read_text()
