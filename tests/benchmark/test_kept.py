"""An evaluation whose files were damaged, deleted, or found no space: told in a sentence, and done again."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest
from tiny import QUIET, TINY, wide_folder

from timediff.benchmark import run as loop
from timediff.cli.evaluate import main
from timediff.training.module import TimeGradModule

pytestmark = QUIET
HELD = ("--validation-windows", "7", "--nll", "--recalibrate", "--baselines", "fast")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return wide_folder(tmp_path_factory.mktemp("data") / "homes")


def run(data, out, *more):
    """Status and lines of stderr."""
    options = ["--dataset", str(data), "--out", str(out), *TINY, "--seed", "1", *HELD, *more]
    with contextlib.redirect_stderr(io.StringIO()) as stderr, contextlib.redirect_stdout(None):
        try:
            status = main(options)
        except SystemExit as stop:
            status = stop.code
    return status, stderr.getvalue().splitlines()


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "out"
    assert run(data, out)[0] == 0
    return out


@pytest.fixture
def out(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "out")


def numbers(out):
    """The record without what differs from one run to the next."""
    record = json.loads((out / "record.json").read_text())
    del record["hardware"]
    for entrant in record["entrants"].values():
        del entrant["seconds"]
        for row in entrant["per_seed"]:
            del row["seconds"]
    return record


def cut(file, share):
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])


OURS = "timediff/seed-1"


AGAIN = "this seed is done again"


@pytest.mark.parametrize(
    ("name", "share", "then"),
    [
        (f"{OURS}/result.json", 0.0, AGAIN),
        (f"{OURS}/result.json", 0.5, AGAIN),
        (f"{OURS}/paths.npy", 0.5, AGAIN),
        (f"{OURS}/predictor/weights.safetensors", 0.5, AGAIN),
        (f"{OURS}/predictor/predictor.json", 0.0, AGAIN),
        (f"{OURS}/nll.json", 0.5, "it is computed again"),
        (f"{OURS}/recalibration.json", 0.5, "it is fitted again"),
        ("climatology/seed-1/result.json", 0.5, AGAIN),
        ("climatology/seed-1/paths.npy", 0.0, AGAIN),
    ],
)
def test_a_damaged_file_is_noticed_and_made_again(data, finished, out, name, share, then):
    cut(out / name, share)
    whole = {path.relative_to(finished): path for path in finished.rglob("*") if path.is_file()}
    status, said = run(data, out, "--resume")
    place = str(out / name.rpartition("/")[0]) if "predictor/" in name else str(out / name)
    assert [line for line in said if "cannot be read" in line] == [
        f"{place} cannot be read; {then}"
    ]
    assert status == 0 and numbers(out) == numbers(finished)
    # Weights that are written anew have the other of two names.
    left = [path.relative_to(out) for path in out.rglob("*") if path.is_file()]
    same = {path.with_name(path.name.replace("weights-2.", "weights.")) for path in left}
    assert same == whole.keys() and len(left) == len(whole)
    paths = [np.load(folder / OURS / "paths.npy") for folder in (out, finished)]
    np.testing.assert_array_equal(*paths)


def test_a_result_of_another_shape_is_done_again(data, finished, out):
    np.save(out / OURS / "paths.npy", np.zeros((2, 3, 4, 5), np.float32))
    status, said = run(data, out, "--resume")
    assert status == 0 and numbers(out) == numbers(finished)
    assert f"{out / OURS / 'paths.npy'} cannot be read; this seed is done again" in said


def test_training_goes_on_from_the_last_state_that_is_whole(data, finished, out, monkeypatch):
    folder, step, steps = out / OURS / "checkpoints", TimeGradModule.training_step, []
    (out / OURS / "result.json").unlink()
    for share in (0.5, 0.0):
        for file in folder.glob("*.ckpt") if not share else [folder / "last.ckpt"]:
            cut(file, share)
        (out / OURS / "seconds.json").write_text("")

        def counted(self, batch, batch_idx):
            steps.append(batch_idx)
            return step(self, batch, batch_idx)

        monkeypatch.setattr(TimeGradModule, "training_step", counted)
        status, said = run(data, out, "--resume")
        assert status == 0 and numbers(out) == numbers(finished)
        damaged = [line for line in said if "cannot be read" in line]
        assert damaged[-1].endswith(
            "seconds.json cannot be read; the seconds before are not counted"
        )
        if share:
            (best,) = (file for file in folder.iterdir() if file.name != "last.ckpt")
            goes_on = f"training goes on from {best}"
            assert damaged[0] == f"{folder / 'last.ckpt'} cannot be read; {goes_on}"
        else:
            assert damaged[0].endswith("training begins anew") and len(steps) >= 9
        (out / OURS / "result.json").unlink()


def test_what_a_killed_run_left_half_written_is_removed(data, out):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    for place in ("", OURS, f"{OURS}/checkpoints", f"{OURS}/predictor"):
        for pid in (process.pid, os.getpid()):
            (out / place / f".timediff-{pid}-x").write_text("half")
    assert run(data, out, "--resume")[0] == 0
    assert not list(out.rglob(".timediff-*"))


@pytest.mark.parametrize("entrant", ["timediff", "climatology"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_folder_deleted_during_the_run_ends_it_in_a_sentence(
    data, tmp_path, monkeypatch, entrant, moment
):
    forecast, out = loop._forecast, tmp_path / "out"

    def deleting(setting, job):
        if moment == "before" and job.entrant.name == entrant:
            shutil.rmtree(out)
        stored = forecast(setting, job)
        if moment == "after" and job.entrant.name == entrant:
            shutil.rmtree(out)
        return stored

    monkeypatch.setattr(loop, "_forecast", deleting)
    status, said = run(data, out)
    assert status == 2 and not out.exists()
    assert said[-1].startswith("timediff.evaluate: ") and "deleted" in said[-1]


def test_a_folder_deleted_while_training_ends_it_in_a_sentence(data, tmp_path, monkeypatch):
    step, out = TimeGradModule.training_step, tmp_path / "out"

    def deleting(self, batch, batch_idx):
        shutil.rmtree(out, ignore_errors=True)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(TimeGradModule, "training_step", deleting)
    status, said = run(data, out)
    assert status == 2 and not out.exists() and "deleted" in said[-1]


@pytest.mark.parametrize(
    ("free", "what"), [(10**3, "the paths of this run take"), (10**5, "the ch")]
)
def test_space_is_looked_at_before_training(data, tmp_path, monkeypatch, free, what):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - free, free))
    status, said = run(data, tmp_path / "out")
    assert status == 2 and said[-1].startswith(f"timediff.evaluate: {what}")
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_run_that_is_terminated_while_training_goes_on_where_it_was(
    data, finished, tmp_path, monkeypatch
):
    step, out, steps = TimeGradModule.training_step, tmp_path / "out", []

    def counted(self, batch, batch_idx):
        steps.append(batch_idx)
        if len(steps) == 5:
            os.kill(os.getpid(), 15)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(TimeGradModule, "training_step", counted)
    status, said = run(data, out)
    assert status == 143
    assert said[-1] == (
        f"timediff.evaluate: interrupted; the same command with --resume goes on from {out}"
    )
    assert run(data, out, "--resume")[0] == 0 and len(steps) == 9
    assert numbers(out) == numbers(finished)
