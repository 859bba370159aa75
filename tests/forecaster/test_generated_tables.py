"""The judge of generated tables: right where all is right, and not where a label, value or name is not."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from tiny import QUIET

pytestmark = [QUIET, pytest.mark.filterwarnings("ignore::UserWarning")]
EVALUATION = Path(__file__).resolve().parents[2] / "evaluation"


@pytest.fixture(scope="module")
def judge():
    sys.path.insert(0, str(EVALUATION))
    try:
        import generated_tables
    finally:
        sys.path.remove(str(EVALUATION))
    return generated_tables


def turn(judge, defect):
    """The first table of several series with a defect."""
    cases = ((n, judge.make(n)) for n in range(400))
    return next(n for n, case in cases if case.defect == defect and len(case.names) > 1)


@pytest.mark.parametrize("defect", ["none", "grouped", "inputs", "local", "fixed", "covariates"])
def test_valid_tables_are_forecast(judge, defect):
    assert judge.outcome(turn(judge, defect))["outcome"] == "right"


@pytest.mark.parametrize("defect", ["twice", "word", "no_zone", "other_series", "no_future"])
def test_what_was_planted_is_named(judge, defect, monkeypatch):
    number = turn(judge, defect)
    assert judge.outcome(number)["outcome"] == "right"
    case = judge.make(number)
    monkeypatch.setattr(judge, "make", lambda _: case._replace(names_it="no such words"))
    assert judge.outcome(number)["outcome"] == "not named"


def test_wrong_labels_values_and_silence_are_seen(judge, monkeypatch):
    number = next(n for n in range(200) if len(judge.make(n).names) > 1 and not n % 56)
    case = judge.make(number)
    for wrong in (case._replace(names=case.names[::-1]), case._replace(ahead=case.ahead[::-1])):
        monkeypatch.setattr(judge, "make", lambda _, wrong=wrong: wrong)
        if len(case.ahead) > 1 or wrong.names != case.names:
            assert judge.outcome(number)["outcome"] == "wrong labels"
    monkeypatch.setattr(judge, "make", lambda _: case._replace(names_it="anything"))
    assert judge.outcome(number)["outcome"] == "not refused"
    cells = pd.MultiIndex.from_product([case.names, range(judge.PATHS), case.ahead])
    frame = cells.to_frame(index=False, name=["unique_id", "sample_id", "ds"]).assign(TimeGrad=1.0)
    assert judge.faults(frame, case) == "right"
    frame.loc[3, "TimeGrad"] = float("inf")
    assert judge.faults(frame, case) == "not finite"


def test_every_kind_of_table_and_frequency_has_its_turn(judge):
    cases = [judge.make(n) for n in range(400)]
    assert len({case.defect for case in cases}) == 28
    assert len({case.freq for case in cases}) == 24


REFUSED = "timediff forecast: t.csv has no rows; give some.\n"


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (0, "", "forecast"),
        (2, REFUSED, "refused"),
        (2, f"timediff forecast: a series is constant\n{REFUSED}", "refused"),
        (2, f"first this\n{REFUSED}", "no sentence"),
        (2, "", "no sentence"),
        (2, REFUSED.replace(".\n", "\n"), "no sentence"),
        (2, f"Traceback\n{REFUSED}", "traceback"),
        (1, REFUSED, "status 1"),
        (-9, "", "status -9"),
    ],
)
def test_the_judge_of_commands_tells_what_one_came_to(
    judge, tmp_path, monkeypatch, status, said, kind
):
    import by_command

    out = tmp_path / "f.csv"

    def run(words, **_):
        if status == 0:
            pd.DataFrame({"unique_id": ["1"], "ds": ["2024-01-01 01:00:00+01:00"]}).to_csv(out)
        return subprocess.CompletedProcess(words, status, "", said)

    monkeypatch.setattr(by_command.subprocess, "run", run)
    answer = by_command.forecast(tmp_path / "t.csv", out, 1, zone="Europe/Berlin")
    assert answer.kind == kind
    if kind == "forecast":
        assert list(answer.table["ds"]) == [pd.Timestamp("2024-01-01 01:00", tz="Europe/Berlin")]
        assert list(answer.table["unique_id"]) == ["1"]
        out.write_text("nothing of use")
        monkeypatch.setattr(
            by_command.subprocess,
            "run",
            lambda *_, **__: subprocess.CompletedProcess([], 0, "", ""),
        )
        assert by_command.forecast(tmp_path / "t.csv", out, 1).kind == "no table"


@pytest.mark.parametrize("defect", ["none", "covariates", "fixed", "inputs", "local"])
def test_options_tell_all_of_a_table(judge, tmp_path, monkeypatch, defect):
    """What the command reads of the files is what the table has, so the judge sees the right labels."""
    from timediff.cli.forecast import make_parser
    from timediff.cli.tables import read_future, read_static, read_table, reading_of

    number = turn(judge, defect)
    case = judge.make(number)

    def forecast(data, out, horizon, *words, zone):
        args = make_parser("default").parse_args([str(data), f"--horizon={horizon}", *words])
        reading = reading_of(args)
        table = read_table(data, reading)
        assert table.names == [str(name) for name in case.names]
        assert table.clock.stamps(len(table.values), horizon)[0] == case.ahead[0]
        if case.future is not None:
            assert len(read_future(args.futr_file, reading)) == len(case.future)
            assert list(table.future) == reading.futr == ["warm", "kind"]
        if case.static is not None:
            assert read_static(args.stat_file, reading)["size"].equals(case.static["size"])
        cells = [[str(name) for name in case.names], range(judge.PATHS), case.ahead]
        frame = pd.MultiIndex.from_product(cells).to_frame(
            index=False, name=["unique_id", "sample_id", "ds"]
        )
        return by_command.Answer("forecast", "", frame.assign(TimeGrad=1.0))

    import by_command

    monkeypatch.setattr(judge, "forecast", forecast)
    assert judge.by_command(number, tmp_path)["outcome"] == "right"


@pytest.mark.parametrize("defect", ["twice", "no_zone", "short", "no_value", "word"])
def test_what_was_planted_in_a_file_is_named_by_the_command(
    judge, tmp_path, monkeypatch, capsys, defect
):
    import by_command

    from timediff.cli.forecast import main

    def run(words, **_):
        with pytest.raises(SystemExit) as stop:
            main(words[4:])
        said = capsys.readouterr()
        return subprocess.CompletedProcess(words, stop.value.code, said.out, said.err)

    monkeypatch.setattr(by_command.subprocess, "run", run)
    number = turn(judge, defect)
    assert judge.by_command(number, tmp_path)["outcome"] == "right"
    case = judge.make(number)
    monkeypatch.setattr(judge, "make", lambda _: case._replace(names_it="no such words"))
    assert judge.by_command(number, tmp_path)["outcome"] == "not named"
