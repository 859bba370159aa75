"""Jobs side by side in processes and on Ray: the record of one process, whichever workers are killed."""

import json
import os
import re
import signal
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import chores
import numpy as np
import pytest
from processes import run_python
from tiny import MODEL, QUIET, TINY, TRAIN, wide_folder

from timediff.benchmark import workers
from timediff.benchmark.entrants import as_entrant, timegrad
from timediff.benchmark.evaluation import evaluate
from timediff.benchmark.workers import RETRIES, Workers
from timediff.cli.evaluate import main
from timediff.config import RunConfig
from timediff.errors import InputError
from timediff.training.module import TimeGradModule

pytestmark = [QUIET, pytest.mark.contracts]
SEEDS = [3, 5]
PLACES = ["local", "ray"]


@pytest.fixture(scope="module")
def ray():
    """A Ray of two processors, whose workers find the tests."""
    ray = pytest.importorskip("ray", reason="Ray is not installed (extra [ray])")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.fixture(params=PLACES)
def on(request):
    """Each place."""
    if request.param == "ray":
        request.getfixturevalue("ray")
    return request.param


def die_once(mark):
    """Kills this process the first time."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


class Counted:
    """Repeats the last value with noise, writes down each fit, and may have its worker killed once."""

    def __init__(self, place, *, deadly):
        self.place, self.deadly = place, deadly

    def fit(self, task, *, seed):
        with (self.place / "fits").open("a") as file:
            file.write(f"{seed}\n")
        self.seed, self.shape = seed, (task.horizon, task.train.shape[1])

    def sample(self, window, num_samples, rng):
        if self.deadly and self.seed == SEEDS[0]:
            die_once(self.place / "sampling")
        return window.history[-1] + rng.normal(size=(num_samples, *self.shape)).cumsum(axis=1)


def fit_deadly(task, *, seed, folder, fit, mark):
    """Ours, whose worker is killed once in the middle of its second epoch."""
    step = TimeGradModule.training_step

    def deadly(module, *arguments):
        if module.trainer.global_step == TRAIN.steps_per_epoch + 1:
            die_once(mark)
        return step(module, *arguments)

    if seed == SEEDS[1]:
        TimeGradModule.training_step = deadly
    try:
        return fit(task, seed=seed, folder=folder)
    finally:
        TimeGradModule.training_step = step


def config_of(folder, out):
    options = {"seed": SEEDS, "num_samples": 12, "report": False, "device": "cpu"}
    train = TRAIN._replace(seed=None)
    return RunConfig(str(folder), None, out, **options, baselines="none", model=MODEL, train=train)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Options and record of one process."""
    place = tmp_path_factory.mktemp("alone")
    config = config_of(wide_folder(place / "homes"), place / "run")
    counted = as_entrant(Counted(place, deadly=False), "counted")
    return config, evaluate(config, entrants=[counted]).record


def test_workers_that_are_killed_cost_nothing_but_time(on, alone, tmp_path, capsys):
    config, expected = alone
    config = config._replace(out=tmp_path / "run")
    ours = timegrad(config, device="cpu")
    fit = partial(fit_deadly, fit=ours.fit, mark=tmp_path / "training")
    deadly = ours._replace(name="deadly", title="deadly", fit=fit)
    counted = as_entrant(Counted(tmp_path, deadly=True), "counted")
    record = evaluate(config, entrants=[deadly, counted], executor=Workers(2, on=on)).record
    assert (tmp_path / "training").exists() and (tmp_path / "sampling").exists()
    for name, other in (("timediff", "timediff"), ("deadly", "timediff"), ("counted", "counted")):
        same, result = expected.entrants[other], record.entrants[name]
        assert result.seeds == SEEDS and result.windows == same.windows
        assert [row.metrics for row in result.per_seed] == [row.metrics for row in same.per_seed]
    said = capsys.readouterr().err
    assert said.count("the worker of deadly, seed 5 died; it is done again") == 1
    assert said.count("the worker of counted, seed 3 died; it is done again") == 1
    finished = [line for line in said.splitlines() if " of 6 done: " in line]
    assert [line.partition(" ")[0] for line in finished] == list("123456")
    assert len({line.partition(": ")[2] for line in finished}) == 6
    fits = tmp_path / "fits"
    assert Counter(fits.read_text().split()) == {"3": 2, "5": 1}
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "run").rglob("result.json")}
    again = evaluate(config._replace(resume=True), entrants=[deadly, counted]).record
    assert len(files) == 6 and {file: file.stat().st_mtime_ns for file in files} == files
    assert Counter(fits.read_text().split()) == {"3": 2, "5": 1}
    assert again.entrants["counted"].metrics == record.entrants["counted"].metrics


def test_workers_have_the_threads_that_are_told(on):
    done = list(Workers(2, on=on, threads=2)(chores.threads, range(2)))
    wait = os.environ["OMP_WAIT_POLICY"]
    assert [variables for _, _, variables in done] == [["2", "2", "2", wait]] * 2
    # Torch takes no more than there are.
    assert {threads for _, threads, _ in done} == {min(2, os.cpu_count())}
    assert os.getpid() not in {process for process, *_ in done}
    assert os.environ["OMP_NUM_THREADS"] == "1"


def test_workers_share_the_processors_unless_told(on, monkeypatch):
    def variable(workers):
        done = list(Workers(workers, on=on)(chores.threads, range(workers)))
        # Ray gives a second job to a worker that is there sooner than it starts another.
        assert on == "ray" or len({process for process, *_ in done}) == workers
        assert {threads for _, threads, _ in done} == {min(int(done[0][2][0]), os.cpu_count())}
        return {variables[0] for _, _, variables in done}

    assert variable(1) == {"1"}  # as the environment has it
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(5)), raising=False)
    # Of five processors here, and of the two that this Ray has.
    assert variable(2) == ({"2"} if on == "local" else {"1"})
    assert variable(1) == ({"5"} if on == "local" else {"2"})


def test_outcomes_are_in_order_and_what_was_said_is_told(on, capsys):
    with pytest.warns(UserWarning) as warned:
        outcomes = list(Workers(2, on=on, threads=1)(chores.spoken, [0, 1, 2]))
    assert outcomes == [0, 1, 4]
    assert sorted(str(one.message) for one in warned) == [f"warned by {job}" for job in range(3)]
    said = capsys.readouterr().err
    assert all(said.count(f"said by {job}\n") == 1 for job in range(3)) and "bar" not in said


def test_an_error_of_a_job_is_that_of_the_run(on):
    with pytest.raises(InputError, match=r"^no such data$"):
        list(Workers(2, on=on, threads=1)(chores.wrong, [1]))


def test_a_job_that_always_kills_its_worker_ends_the_run(on, tmp_path):
    jobs = [tmp_path / "deadly", tmp_path / "a"]
    with pytest.raises(InputError, match=rf"deadly died {RETRIES + 1} times.*fewer workers"):
        list(Workers(2, on=on, threads=1)(chores.deadly, jobs))
    assert [job.read_text() for job in jobs] == ["x" * (RETRIES + 1), "x"]


def test_jobs_are_asked_to_stop_when_nobody_waits(on, tmp_path):
    jobs = [(tmp_path, "short"), (tmp_path, "long")]
    outcomes = Workers(2, on=on, threads=1)(chores.stopped, jobs)
    assert next(outcomes) == "short"
    began = time.monotonic()
    outcomes.close()
    assert (tmp_path / "stopped").exists() and time.monotonic() - began < 50


def gone(process):
    """Whether a process has ended, within half a minute."""
    for _ in range(300):
        try:
            stat = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            return True
        if stat.rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
def test_workers_end_with_a_run_that_is_killed(tmp_path):
    (tmp_path / "killed.py").write_text(
        f"""
import os, pathlib, signal, sys, time
sys.path[:0] = {sys.path!r}
from timediff.benchmark.workers import Workers

def work(job):
    pathlib.Path(f"worker {{os.getpid()}}").touch()
    if job == 1:
        os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)

if __name__ == "__main__":
    list(Workers(2, threads=1)(work, [0, 1]))
"""
    )
    done = run_python(tmp_path / "killed.py", tmp_path)
    assert done.returncode == -signal.SIGKILL
    found = [file.name.split()[1] for file in tmp_path.glob("worker *")]
    assert found and all(gone(process) for process in found)


def test_the_command_has_workers(alone, tmp_path):
    config, _ = alone
    line = [
        "--dataset",
        config.dataset,
        "--out",
        "run",
        *TINY,
        "--seed",
        "3",
        "--baselines",
        "none",
    ]
    done = run_python("timediff.evaluate", tmp_path, *line, "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "1 of 1 done: timediff, seed 3" in done.stderr
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["entrants"]["timediff"]["seeds"] == [3]
    assert np.load(tmp_path / "run" / "timediff" / "seed-3" / "paths.npy").shape[1] == 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--on", "ray"], "--on says where --workers are; give their number"),
        (["--workers", "2", "--on", "ray"], "tasks of Ray ask for CPUs only; give --device cpu"),
        (["--workers", "0"], "workers is 0; it must be at least 1"),
        (["--workers", "2", "--on", "ray", "--device", "cpu"], r"install.* with its extra \[ray\]"),
    ],
)
def test_what_makes_no_sense_is_said_at_once(options, message, monkeypatch, capsys):
    monkeypatch.setattr(workers, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        main(["--dataset", "example", *options])
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert len(said.splitlines()) == 1
    assert re.search(message, said)
