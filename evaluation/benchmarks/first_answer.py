"""Seconds of ``timediff forecast`` on the example table: to its plan, and to forecast and picture.

    python evaluation/benchmarks/first_answer.py [--rounds 3] [--steps STEPS]

The plan is the line that tells what will be done and how long it takes; before it the table was read. Every
round is a fresh process, with the files read from the disk before. Run it on an idle machine of two cores.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from timediff.tools.files import plain, write_text
from timediff.tools.machine import commit, hardware

#: Seconds to the plan, and to the end.
ANSWER, FORECAST = 5.0, 60.0
HERE = Path(__file__).parent
DATA = HERE.parents[1] / "datasets" / "example" / "homes.csv"


def timed(folder: Path, *more: str) -> dict[str, float]:
    """Seconds of one process to its plan and to its end, and the CPU seconds of all."""
    out, plot = folder / "forecast.csv", folder / "forecast.png"
    command = [sys.executable, "-m", "timediff", "forecast", str(DATA), "--horizon", "24"]
    command += ["--out", str(out), "--plot", str(plot), *more]
    before, began, answer = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), None
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if answer is None and line.startswith("forecasting 24 steps"):
                answer = time.monotonic() - began
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process.returncode == 0 and answer is not None and out.is_file() and plot.is_file()
    cpu = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    out.unlink()
    plot.unlink()
    return {"answer": answer, "forecast": seconds, "cpu": cpu}


def run(rounds: int, steps: int | None) -> dict[str, Any]:
    """The record."""
    more = [] if steps is None else ["--steps", str(steps)]
    with tempfile.TemporaryDirectory(prefix="timediff-") as place:
        timed(Path(place), "--steps", "1")  # files are read from the disk, and compiled, once
        seconds = [timed(Path(place), *more) for _ in range(rounds)]
    return {
        "seconds": {name: median(each[name] for each in seconds) for name in seconds[0]},
        "rounds": seconds,
        "targets": {"answer": ANSWER, "forecast": FORECAST},
        "steps": steps,
        "threads_given": os.environ.get("OMP_NUM_THREADS"),
        "commit": commit(),
        "hardware": hardware("cpu"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--steps",
        type=int,
        help="of training; those of the default when left out, as the record is of",
    )
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "first_answer.json")
    options = parser.parse_args()
    record = plain(run(options.rounds, options.steps))
    write_text(options.out, json.dumps(record, indent=1) + "\n")
    seconds = record["seconds"]
    print(
        f"{seconds['answer']:.1f} s to the plan (target {ANSWER:g}), {seconds['forecast']:.1f} s to forecast "
        f"and picture (target {FORECAST:g}), {seconds['cpu']:.1f} CPU seconds"
    )


if __name__ == "__main__":
    main()
