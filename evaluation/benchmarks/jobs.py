"""What a job of an evaluation costs beside its own work: here, in two processes, as tasks of Ray, in one run.

    python evaluation/benchmarks/jobs.py [--empty 1000] [--real 40] [--workers 2]

The overhead is the mean time between the end of a job and the beginning of the next in the same process, the
start the time to the beginning of the first. Empty jobs do nothing; real ones forecast the test windows of a
dataset by a random walk, write the paths, and score them. Best on a machine that does nothing else.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from timediff.baselines import BASELINES
from timediff.benchmark.entrants import from_baseline
from timediff.benchmark.executors import Executor, local
from timediff.benchmark.folder import seed_folder
from timediff.benchmark.problem import make_problem
from timediff.benchmark.run import Finished, Job, Setting, run_job
from timediff.benchmark.workers import Workers
from timediff.data.dataset import load_dataset
from timediff.tools.files import plain, write_text
from timediff.tools.machine import commit, hardware

HERE = Path(__file__).parent
WALK = "random_walk"


class Timed(NamedTuple):
    """When a job began and ended, in seconds since 1970, and in which process."""

    process: int
    began: float
    ended: float


def timed(work: Callable[[Any], Any], job: Any) -> Timed:
    """A job with a clock."""
    began = time.time()
    work(job)
    return Timed(os.getpid(), began, time.time())


def empty(job: int) -> None:
    """Nothing."""


def real(setting: Setting, job: Job) -> None:
    """A job of the one loop."""
    done = run_job(setting, job)
    assert isinstance(done, Finished), done


def measure(executor: Executor, work: Callable[[Any], Any], jobs: Sequence[Any]) -> dict[str, Any]:
    """Seconds of the start, of a job, and between jobs."""
    called = time.time()
    done = list(executor(partial(timed, work), jobs))
    seconds = time.time() - called
    processes = {each.process for each in done}
    gaps = [
        after.began - before.ended
        for process in processes
        for before, after in pairwise(sorted(each for each in done if each.process == process))
    ]
    return {
        "jobs": len(jobs),
        "processes": len(processes),
        "seconds": seconds,
        "start": min(each.began for each in done) - called,
        "job": mean(each.ended - each.began for each in done),
        "overhead": mean(gaps) if gaps else None,
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The record."""
    ways: dict[str, Executor] = {
        "one process": local,
        "local": Workers(options.workers, threads=1),
    }
    left_out = {}
    if find_spec("ray") is None:
        left_out["ray"] = "Ray is not installed (extra [ray])"
        print(f"ray is left out: {left_out['ray']}", file=sys.stderr)
    else:
        ways["ray"] = Workers(options.workers, on="ray", threads=1)
    setting = Setting(make_problem(load_dataset(options.dataset)), num_samples=20)
    measured: dict[str, Any] = {}
    for way, executor in ways.items():
        walk = from_baseline(WALK, BASELINES[WALK])  # anew, without what it was fitted to before
        with tempfile.TemporaryDirectory() as out:
            jobs = [Job(walk, k, seed_folder(Path(out), WALK, k)) for k in range(options.real)]
            measured[way] = {
                "empty": measure(executor, empty, range(options.empty)),
                "real": measure(executor, partial(real, setting), jobs),
            }
    return {
        "dataset": options.dataset,
        "workers": options.workers,
        "ways": measured,
        "left_out": left_out,
        "commit": commit(),
        "hardware": hardware("cpu"),
    }


def show(record: dict[str, Any]) -> None:
    """Prints it."""
    for way, kinds in record["ways"].items():
        for kind, found in kinds.items():
            gap = "-" if found["overhead"] is None else f"{found['overhead']:.2g} s"
            print(
                f"{way:12} {kind:6} overhead {gap} a job, of {found['job']:.2g} s itself; start "
                f"{found['start']:.2g} s ({found['jobs']} jobs in {found['processes']} processes)"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", default="citylearn2022")
    parser.add_argument("--empty", type=int, default=1000, help="empty jobs")
    parser.add_argument("--real", type=int, default=40, help="real jobs")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "jobs.json")
    options = parser.parse_args()
    record = plain(run(options))
    write_text(options.out, json.dumps(record, indent=1) + "\n")
    show(record)


if __name__ == "__main__":
    main()
