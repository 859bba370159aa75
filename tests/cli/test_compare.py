"""Records side by side, and the one command in front of the others."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import timediff
from timediff.benchmark.comparison import compare as compare_runs
from timediff.benchmark.comparison import read_runs
from timediff.cli import compare
from timediff.cli import main as cli
from timediff.errors import InputError


def record(*, windows=40, better=0.0, seed=0, name="made up", checksum="abc", **changes):
    rng = np.random.default_rng(seed)
    losses = 5 + rng.random(windows) - better
    found = {
        "format": 2,
        "dataset": {
            "name": name, "checksum": checksum, "windows": windows, "prediction_length": 6, "series": 3,
            "train_length": 100, "stride": 6,
        },
        "seeds": [1, 2], "num_samples": 50, "preset": "default",
        "metrics": {"mean_wquantile_loss_sum": float(losses.mean()) / 100, "crps": 0.0567},
        "metrics_se": {"mean_wquantile_loss_sum": 0.0021, "crps": None},
        "seconds": {"training": 10.0, "sampling": 2.5}, "versions": {"timediff": "1.2.3"},
        "windows": {"timediff": {"mean_wquantile_loss_sum": losses.tolist()}},
    }  # fmt: skip
    return found | changes


def write(folder, *records):
    for number, one in enumerate(records):
        (folder / f"run{number}").mkdir()
        (folder / f"run{number}" / "record.json").write_text(json.dumps(one))
    return [folder / f"run{number}" for number in range(len(records))]


@pytest.mark.contracts
def test_runs_on_the_same_windows_are_compared_pair_by_pair(tmp_path):
    a, b = record(better=1.0), record(seed=1)
    text = compare.as_text(read_runs(write(tmp_path, a, b)))
    mine, theirs = (np.mean(r["windows"]["timediff"]["mean_wquantile_loss_sum"]) for r in (a, b))
    assert f"{mine / theirs:.3f}" in text and "40 of 40 windows" in text
    assert "p-value" in text and "too few" not in text and "not compared" not in text
    assert f"{mine / 100:.4f} ± 0.0021" in text and "0.0567" in text and "1.2.3" in text
    head, *rows = text.splitlines()[:4]
    assert head.split() == ["run0", "run1"] and rows[0].split() == ["dataset", *["made", "up"] * 2]


@pytest.mark.contracts
def test_a_predictor_that_was_given_has_its_name_and_no_preset(tmp_path):
    given = record(title="Other", config={"predictor": "folder"})
    runs = read_runs(write(tmp_path, record(), given))
    rows = {name: cells for name, *cells in compare.fact_rows(runs)}
    assert rows["model"] == ["timediff", "Other"] and rows["preset"] == ["default", "–"]


@pytest.mark.contracts
def test_too_few_windows_have_no_p_value(tmp_path):
    runs = read_runs(write(tmp_path, record(windows=7), record(windows=7, seed=1)))
    found, said = compare_runs(runs)
    assert said == [] and found["run1"].too_few and found["run1"].p_value is None
    assert "Too few windows" in compare.as_text(runs)
    page = compare.as_html(runs)
    assert "Too few windows" in page and "Differences per window" in page


@pytest.mark.contracts
@pytest.mark.parametrize(
    "change, reason",
    [
        ({"name": "other", "checksum": "def"}, "of made up and of other"),
        ({"checksum": "def"}, "with other values"),
        ({"windows": 39}, "other windows"),
    ],
)
def test_other_data_or_windows_are_said_to_be_so(tmp_path, change, reason):
    runs = read_runs(write(tmp_path, record(), record(**change)))
    found, said = compare_runs(runs)
    assert found == {} and len(said) == 1 and reason in said[0] and "run0 and run1" in said[0]
    assert said[0] in compare.as_text(runs) and reason in compare.as_html(runs)


@pytest.mark.contracts
def test_as_many_windows_elsewhere_are_other_windows(tmp_path):
    """Windows end with the data: the training data before them say where the first begins."""
    other = record(seed=1)
    other["dataset"] |= {"train_length": 217, "stride": 3}
    found, said = compare_runs(read_runs(write(tmp_path, record(), other)))
    assert found == {} and "other windows" in said[0]


OVERLAPPING = {
    **{"windows": 40, "too_few": True, "difference": 0.0, "ratio": 1.0, "wins": 0},
    **{"differences": [], "overlap": 1},
}


@pytest.mark.contracts
@pytest.mark.parametrize("changes", [{}, {"comparisons": {"var": OVERLAPPING}}])
def test_overlap_is_known_without_baselines(tmp_path, changes):
    runs = [record(**changes), record(seed=1, **changes)]
    for one in runs:
        one["dataset"]["stride"] = 3
    runs = read_runs(write(tmp_path, *runs))
    found = compare_runs(runs)[0]["run1"]
    assert found.overlap == 1 and not found.too_few
    runs = {
        name: one._replace(dataset=one.dataset._replace(stride=1), comparisons={})
        for name, one in runs.items()
    }
    assert compare_runs(runs)[0]["run1"].too_few
    assert "(40 &lt; 120)" in compare.as_html(runs)


@pytest.mark.contracts
def test_a_record_without_losses_per_window_is_shown_but_not_compared(tmp_path):
    bare = record(seconds={"training": None, "sampling": 2.5})
    del bare["windows"]
    found, said = compare_runs(read_runs(write(tmp_path, record(), bare)))
    assert found == {} and "run1 has no losses per window" in said[0]


@pytest.mark.contracts
def test_records_are_compared_in_python_too(tmp_path):
    places = write(tmp_path, record(better=1.0), record(seed=1), record(windows=39))
    found = timediff.compare(places)
    assert list(found.comparisons) == ["run1"] and "other windows" in found.sentences[0]
    assert found.comparisons["run1"].wins == 40
    named = {"mine": read_runs(places)["run0"], "theirs": read_runs(places)["run1"]}
    assert timediff.compare(named).comparisons["theirs"] == found.comparisons["run1"]
    assert timediff.compare(places[:1]) == ({}, [])


@pytest.mark.contracts
def test_labels_are_the_shortest_ends_that_differ(tmp_path):
    for part in ("a/run", "b/run"):
        (tmp_path / part).mkdir(parents=True)
        (tmp_path / part / "record.json").write_text(json.dumps(record()))
    places = [tmp_path / "a" / "run", tmp_path / "b" / "run" / "record.json"]
    assert list(read_runs(places)) == ["a/run", "b/run"]
    with pytest.raises(InputError, match="twice"):
        read_runs([places[0], places[0]])


@pytest.mark.contracts
@pytest.mark.parametrize(
    "text, said",
    [
        (None, "there is no record"),
        ("{", "cannot be read"),
        ("[]", "is no record"),
        (json.dumps(record(format=1)), "earlier version"),
        (json.dumps(record(format=4)), "later version"),
        (json.dumps({"format": 3, "dataset": {}}), "is no record"),
    ],
)
def test_what_is_no_record_is_refused_in_one_line(tmp_path, capsys, text, said):
    if text is not None:
        (tmp_path / "record.json").write_text(text)
    with pytest.raises(SystemExit) as stopped:
        compare.main([str(tmp_path)])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and said in error and error.count("\n") == 1


@pytest.mark.contracts
def test_page_is_written_whole_or_not_at_all(tmp_path, capsys, monkeypatch):
    places = [str(place) for place in write(tmp_path, record(), record(seed=1))]
    page = tmp_path / "page.html"
    assert compare.main([*places, "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>") and "run0" in text and "http" not in text
    assert str(page) in capsys.readouterr().out

    def interrupted(*_):
        raise KeyboardInterrupt

    page.write_text("old")
    monkeypatch.setattr("timediff.tools.files.os.replace", interrupted)
    assert compare.main([*places, "--out", str(page)]) == 130
    assert page.read_text() == "old" and len(list(tmp_path.iterdir())) == 3
    with pytest.raises(SystemExit):
        compare.main([*places, "--out", str(tmp_path)])
    assert "is a folder" in capsys.readouterr().err


@pytest.mark.contracts
def test_one_command_calls_the_others(capsys, monkeypatch, tmp_path):
    called = []
    monkeypatch.setattr("timediff.cli.compare.main", lambda argv: called.append(argv) or 7)
    assert cli.main(["compare", "a", "--out", "b"]) == 7 and called == [["a", "--out", "b"]]
    assert cli.main(["datasets", "--data-dir", str(tmp_path)]) == 0
    assert "exchange_rate" in capsys.readouterr().out
    assert cli.main(["--help"]) == 0
    assert all(command in capsys.readouterr().out for command in ("evaluate",))
    assert cli.main(["--version"]) == 0 and capsys.readouterr().out[0].isdigit()
    assert cli.main(["evalute"]) == 2
    error = capsys.readouterr().err
    assert (
        "'evalute'" in error
        and "forecast, predict, train, check, verify, evaluate, compare" in error
    )
    assert cli.main([]) == 2


@pytest.mark.contracts
def test_a_reader_that_stops_early_is_no_error(tmp_path):
    (run,) = write(tmp_path, record())
    read, written = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "timediff", "compare", str(run)]
    done = subprocess.run(command, stdout=written, stderr=subprocess.PIPE)
    os.close(written)
    assert done.returncode == 1 and done.stderr == b""


@pytest.mark.contracts
@pytest.mark.parametrize("command", ["", *cli.COMMANDS])
def test_help_does_not_wait_for_torch(command):
    code = (
        "import sys\nfrom timediff.cli.main import main\n"
        f"try: main({[command, '--help'] if command else ['--help']!r})\nexcept SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "usage" in done.stdout
