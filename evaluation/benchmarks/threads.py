"""Seconds of a training with chosen threads, one and two, alone and beside busy processes, in one run.

    python evaluation/benchmarks/threads.py [--dataset citylearn2022] [--steps 200] [--busy 4] [--rounds 3]

Each training is in a process of its own, whose threads sleep while they wait, as in the commands of timediff;
one more has two threads and torch's way of waiting, as before. All of a round follow one another, so ratios
are of trainings that were neighbours; those that count are medians over the rounds. Best on a machine that
does nothing else.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from timediff.tools.files import plain, write_text
from timediff.tools.machine import commit, hardware

#: What is trained with: the threads that are told, and how they wait (None: torch's own ways).
TRAININGS: dict[str, tuple[int | None, str | None]] = {
    "chosen": (None, "PASSIVE"),
    "one": (1, "PASSIVE"),
    "two": (2, "PASSIVE"),
    "before": (2, None),
}
#: Times the better of one and two threads that a training may take beside busy processes, and alone.
TARGETS = {"busy": 1.2, "alone": 1.0}
HERE = Path(__file__).parent
_GIVEN = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def train(dataset: str, data_dir: Path | None, steps: int, threads: int | None) -> dict[str, Any]:
    """Seconds of one training in this process, the choice included, and the threads it had."""
    from timediff import TimeGradEstimator, TrainConfig, load_dataset

    data = load_dataset(dataset, data_dir=data_dir)
    made = TimeGradEstimator(
        data.prediction_length,
        train=TrainConfig(steps=steps, seed=1, held_out=0, threads=threads),
        trainer_kwargs={"accelerator": "cpu"},
        progress=False,
    )
    entries = list(data.train)
    started, worked = time.perf_counter(), time.process_time()
    predictor = made.train_model(entries).predictor
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - worked,
        "threads": predictor.choices["threads"],
    }


def in_process(options: argparse.Namespace, threads: int | None, wait: str | None) -> Any:
    """The same in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name not in _GIVEN}
    if wait is not None:
        environment["OMP_WAIT_POLICY"] = wait
    line = [sys.executable, __file__, "--train", json.dumps(threads), "--steps", str(options.steps)]
    line += ["--dataset", options.dataset]
    if options.data_dir is not None:
        line += ["--data-dir", str(options.data_dir)]
    done = subprocess.run(line, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that do nothing but compute."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def ratios_of(trainings: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Seconds of each training of a round over those of the better of one and two threads."""
    best = min(trainings[name]["seconds"] for name in ("one", "two"))
    return {name: training["seconds"] / best for name, training in trainings.items()}


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The record, written after every round."""
    loads: dict[str, Any] = {}
    record = {
        "dataset": options.dataset,
        "steps": options.steps,
        "busy": options.busy,
        "loads": loads,
        "targets": TARGETS,
        "commit": commit(),
        "hardware": hardware("cpu"),
    }
    for load, count in (("alone", 0), ("busy", options.busy)):
        rounds: list[dict[str, Any]] = []
        with busy(count):
            for number in range(options.rounds):
                names = list(TRAININGS) if number % 2 == 0 else list(reversed(TRAININGS))
                done = {name: in_process(options, *TRAININGS[name]) for name in names}
                rounds.append({name: done[name] for name in TRAININGS})
                print(load, json.dumps(plain(rounds[-1])), file=sys.stderr)
                ratios = [ratios_of(each) for each in rounds]
                loads[load] = {
                    "rounds": rounds,
                    "ratios": {name: median(each[name] for each in ratios) for name in TRAININGS},
                }
                write_text(options.out, json.dumps(plain(record), indent=1) + "\n")
    return record


def show(record: dict[str, Any]) -> None:
    """Prints the ratios."""
    for load, measured in record["loads"].items():
        print(f"{load}: seconds over those of the better of one and two threads")
        for name, ratio in measured["ratios"].items():
            seconds = median(each[name]["seconds"] for each in measured["rounds"])
            threads = [each[name]["threads"] for each in measured["rounds"]]
            print(f"  {name:8} {ratio:6.3f}  ({seconds:.3g} s, threads {threads})")
        print(f"  target   {record['targets'][load]:6.3f}  (chosen)")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", default="citylearn2022")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--busy", type=int, default=4, help="processes beside the training")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "threads.json")
    parser.add_argument("--train", help=argparse.SUPPRESS)  # the process of one training
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # not to leave busy processes behind
    if options.train is not None:
        threads = json.loads(options.train)
        print(json.dumps(train(options.dataset, options.data_dir, options.steps, threads)))
        return
    show(run(options))


if __name__ == "__main__":
    main()
