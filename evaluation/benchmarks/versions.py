"""The default of this commit beside that of another, in one run: seconds of forecasts and of training steps.

    python evaluation/benchmarks/versions.py [--before 75b9a99] [--dims 8 83 370 963] [--threads 2]

The other commit is checked out by ``git worktree`` for the time of the run and works in the same environment.
Both have a process each that waits for work, and take turns, so that what slows the machine slows both. What
is timed is what a user calls: a predictor's forecast of 100 paths of 24 hours, of one window and of seven of
one history, and `TimeGradEstimator.train_model`, of which a step is the difference between a longer and a
shorter training. Peak memory is that of the process. Needs an idle machine and the history of the repository.
Writes ``evaluation/results/versions.json``.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve()
ROOT = HERE.parents[2]
HORIZON, PATHS, HOURS = 24, 100, 24 * 60
WINDOWS = (1, 7)
#: Optimiser steps of the shorter and the longer training.
STEPS = (5, 25)
TRAINED = (34, 83, 370)


def work(threads: int) -> None:
    """Does what each line of standard input asks for, and answers with a line."""
    import torch

    torch.set_num_threads(threads)
    predictors: dict[int, Any] = {}
    for line in sys.stdin:
        task = json.loads(line)
        dim = task["dim"]
        if task["do"] == "train":
            answer = [_trained(dim, steps)[1] for steps in STEPS]
        else:
            if dim not in predictors:
                predictors[dim] = _trained(dim, 1)[0]
            answer = _forecast_seconds(predictors[dim], dim, task["windows"])
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"answer": answer, "memory": memory}), flush=True)


def _hourly(dim: int) -> dict[str, Any]:
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    daily = np.sin(2 * np.pi * (np.arange(HOURS) / 24 + rng.random((dim, 1)))) + 2
    target = daily + 0.2 * rng.normal(size=(dim, HOURS))
    return {"start": pd.Period("2024-01-01", freq="h"), "target": target, "item_id": "all"}


def _trained(dim: int, steps: int) -> tuple[Any, float]:
    """A predictor whose paths are all the network's, and the seconds of its training."""
    from timediff import TimeGradEstimator, TrainConfig

    options = {"steps": steps, "steps_per_epoch": steps, "seed": 1}
    if "held_out" in TrainConfig._fields:
        options["held_out"] = 0
    estimator = TimeGradEstimator(
        prediction_length=HORIZON,
        freq="h",
        train=TrainConfig(**options),
        progress=False,
        trainer_kwargs={"accelerator": "cpu"},
    )
    started = time.perf_counter()
    output = estimator.train_model([_hourly(dim)])
    return output.predictor, time.perf_counter() - started


def _forecast_seconds(predictor: Any, dim: int, windows: int) -> float:
    whole = _hourly(dim)
    entries = [
        {**whole, "target": whole["target"][:, : HOURS - HORIZON * i]} for i in range(windows)
    ]
    started = time.perf_counter()
    for _ in predictor.predict(entries, PATHS, seed=1, progress=False):
        pass
    return time.perf_counter() - started


class Version:
    """A process that works with the code of one tree."""

    def __init__(self, tree: Path, threads: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(HERE), "--work", str(threads)],
            env={**os.environ, "PYTHONPATH": str(tree), "OMP_WAIT_POLICY": "PASSIVE"},
            cwd=tree,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.memory = 0.0

    def ask(self, **task: Any) -> Any:
        """The answer to a task, and the peak memory of the process with it."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of a version ended with {self.process.wait()}")
        answer = json.loads(line)
        self.memory = answer["memory"]
        return answer["answer"]


@contextmanager
def tree_of(commit: str) -> Iterator[Path]:
    """The files of a commit."""
    with tempfile.TemporaryDirectory(prefix="timediff-") as folder:
        tree = Path(folder) / "tree"
        git = ["git", "-C", str(ROOT), "worktree"]
        made = subprocess.run(
            [*git, "add", "--detach", str(tree), commit], capture_output=True, text=True
        )
        if made.returncode:
            raise SystemExit(
                f"this clone has no commit {commit} to compare with; fetch the whole history "
                f"({made.stderr.strip().splitlines()[-1]})"
            )
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], capture_output=True)


def compared(both: dict[str, Version], rounds: int, **task: Any) -> dict[str, Any]:
    """Medians of both versions, which take turns, and how many times as fast the present one is."""
    seconds: dict[str, list[float]] = {name: [] for name in both}
    for round_ in range(rounds + 1):
        for name, version in both.items():
            answer = version.ask(**task)
            if task["do"] == "train":
                answer = (answer[1] - answer[0]) / (STEPS[1] - STEPS[0])
            if round_:  # the first warms up
                seconds[name].append(answer)
    found: dict[str, Any] = {name: median(values) for name, values in seconds.items()}
    ratios = [old / new for new, old in zip(seconds["now"], seconds["before"], strict=True)]
    return {**task, **found, "times as fast": median(ratios), "of each round": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--before", default="75b9a99")
    parser.add_argument("--dims", type=int, nargs="+", default=[8, 83, 370, 963])
    parser.add_argument("--trained", type=int, nargs="*", default=list(TRAINED))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "evaluation/results/versions.json")
    options = parser.parse_args()
    if options.work is not None:
        work(options.work)
        return
    rows = []
    with tree_of(options.before) as tree:
        both = {
            name: Version(at, options.threads) for name, at in (("now", ROOT), ("before", tree))
        }
        tasks: list[dict[str, Any]] = [
            {"do": "forecast", "dim": dim, "windows": windows}
            for dim in options.dims
            for windows in WINDOWS
        ]
        tasks += [{"do": "train", "dim": dim} for dim in options.trained]
        for task in tasks:
            rows.append(compared(both, options.rounds, **task))
            row = rows[-1]
            print({k: v for k, v in row.items() if k != "of each round"}, flush=True)
        memory = {name: version.memory for name, version in both.items()}
        for version in both.values():
            version.process.terminate()
    from timediff.tools.files import plain, write_text
    from timediff.tools.machine import commit, hardware

    record = {
        "command": f"python evaluation/benchmarks/versions.py --rounds {options.rounds}",
        "before": options.before,
        "threads": options.threads,
        "rows": rows,
        "peak memory": memory,
        "commit": commit(),
        "hardware": hardware("cpu"),
    }
    write_text(options.out, json.dumps(plain(record), indent=1) + "\n")


if __name__ == "__main__":
    main()
