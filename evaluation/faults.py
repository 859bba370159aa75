"""What becomes of a run that is killed, whose disk fills, or whose numbers are odd: nothing lost or silent.

python evaluation/faults.py kills|disk|frames|command|folders [--work faults]

`kills`: an evaluation with tiny settings, which keeps a state after every step, is ended by ``kill -9`` at
30 random moments, and again before each bringing of a file to the disk and each move of it to its place. The
same command with ``--resume`` has to come to the very same paths and scores. `disk`: the evaluation runs on
small tmpfs of 10 sizes, once as it is and once without its look at the space, as if another program took
it meanwhile. It has to end with one sentence; on the same disk, made larger, ``--resume`` has to come to the
same result. `frames`: 2,000 frames of numbers that go wrong somewhere (`fault_frames`) are trained on for 5
steps and forecast, or refused, and 100 of them after 200 steps of the default network, whose paths may not be
absurd. `command`: 40 other frames are written to files and forecast by ``python -m timediff forecast``, a
process each, with labels and values as they should be, or refused in one sentence with status 2. `folders`: a
saved predictor with one value or file changed (`fault_folders`) loads or is refused in
one sentence, within 5 seconds and 1 GiB. Each writes its part of the record evaluation/results/faults.json.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from by_command import ENDINGS, forecast, side_by_side, write
from fault_folders import outcomes
from fault_frames import FAULTS, frame_of, outcome, outcome_of_default
from study import RESULTS, processes

from timediff.tools.files import plain, write_text
from timediff.tools.machine import commit, hardware

RANDOM_KILLS, SIZES = 30, 10
FRAMES, TRAINED, COMMANDS = 2000, 100, 40
MOST_SECONDS, MOST_BYTES = 5.0, 2**30
OPTIONS = (
    "--horizon 4 --num-samples 20 --device cpu --no-report --baselines none --seed 1 --model.num_layers 1 "
    "--model.hidden_size 6 --model.cond_size 4 --model.denoiser_layers 1 --model.denoiser_width 8 "
    "--model.diffusion_steps 5 --model.context_length 6 --train.steps 9 --train.steps_per_epoch 3 "
    "--train.batch_size 4"
).split()
FEW = "--train.steps 5 --train.steps_per_epoch 5 --train.batch_size 16 --num-samples 20".split()


def table(folder: Path) -> Path:
    """Three series of 200 hours."""
    rng = np.random.default_rng(1)
    hours = pd.date_range("2024-01-01", periods=200, freq="h", name="time")
    waves = np.sin(np.arange(200)[:, None] / 4 + np.arange(3)) + 0.2 * rng.normal(size=(200, 3))
    file = folder / "waves.csv"
    pd.DataFrame(10 + waves, hours, ["a", "b", "c"]).to_csv(file)
    return file


def begun(data: Path, out: Path, *more: str, killed_at: int = 0, blind: bool = False) -> int:
    """The number of a forked process that evaluates.

    Args:
        data: What on.
        out: Its folder.
        more: Options.
        killed_at: The so-manieth call of a file, at which it kills itself.
        blind: Whether it does not look at the space on the disk.
    """
    process = os.fork()
    if process:
        return process
    status = 70
    try:
        with (data.parent / "said.txt").open("w") as said:
            for stream in (1, 2):
                os.dup2(said.fileno(), stream)
        _kill_at(killed_at, data.parent / "calls.txt")
        from timediff.benchmark import evaluation
        from timediff.cli.evaluate import main
        from timediff.training import checkpoints

        if blind:
            checkpoints.check_space = evaluation.check_space = lambda *_: None  # type: ignore[attr-defined]

        checkpoints.PAUSE = checkpoints.SPARING = 0  # type: ignore[assignment]
        status = main(["--dataset", str(data), "--out", str(out), *OPTIONS, *more])
    except SystemExit as stop:
        status = int(stop.code or 0)
    except BaseException as error:  # a finding, whatever it is
        print("Traceback", repr(error), flush=True)
    finally:
        os._exit(status)


def _kill_at(number: int, count: Path) -> None:
    """Counts the calls that bring files to the disk and to their places, and kills before one of them."""
    calls = 0

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            count.write_text(str(calls))
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **options)

        return called

    if number:
        os.fsync, os.replace = counted(os.fsync), counted(os.replace)


def ended(process: int) -> int:
    """The status of a process, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def result(out: Path) -> Any:
    """Paths and scores, and the names of all files."""
    record = json.loads((out / "record.json").read_text())
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    paths = (out / "timediff" / "seed-1" / "paths.npy").read_bytes()
    (row,) = record["entrants"]["timediff"]["per_seed"]
    return paths, row["metrics"], row["details"], files


def fresh(work: Path) -> Path:
    """A folder for a run that is not there yet."""
    shutil.rmtree(work / "out", ignore_errors=True)
    return work / "out"


def kills(work: Path) -> dict[str, Any]:
    """How many runs did not come to the same result after a kill."""
    data, rng = table(work), random.Random(1)
    for _ in range(2):  # the second has all files of libraries in memory
        started = time.monotonic()
        assert ended(begun(data, fresh(work), killed_at=10**9)) == 0, (
            work / "said.txt"
        ).read_text()
        seconds = time.monotonic() - started
    whole, calls = result(work / "out"), int((work / "calls.txt").read_text())
    lost: list[str] = []
    early, later = 0, 0

    def resume(what: str) -> None:
        status = ended(begun(data, work / "out", "--resume"))
        if status or result(work / "out") != whole:
            lost.append(f"{what}: status {status}")
            print(lost[-1], (work / "said.txt").read_text(), flush=True)

    for _ in range(RANDOM_KILLS):
        moment = rng.uniform(0, seconds)
        process = begun(data, fresh(work))
        time.sleep(moment)
        os.kill(process, signal.SIGKILL)
        if ended(process) == -signal.SIGKILL:
            early += not (work / "out" / "timediff").exists()
        else:
            later += 1
        resume(f"after {moment:.2f} s")
    for number in range(1, calls + 1):
        status = ended(begun(data, fresh(work), killed_at=number))
        assert status == -signal.SIGKILL, status
        resume(f"at call {number}")
    return {
        "seconds of a run": seconds,
        "random moments": RANDOM_KILLS,
        "of them before training": early,
        "of them after the end": later,
        "at calls of files": calls,
        "lost": len(lost),
        "which": lost,
    }


def disk(work: Path) -> dict[str, Any]:
    """What a run says on disks that fill, and whether it goes on once there is space."""
    data, place = table(work), work / "disk"
    assert ended(begun(data, fresh(work))) == 0, (work / "said.txt").read_text()
    whole = result(work / "out")
    used = sum(path.stat().st_size for path in (work / "out").rglob("*") if path.is_file())
    place.mkdir(exist_ok=True)
    rows = []
    for size in np.linspace(8_000, 1.5 * used, SIZES).astype(int):
        for blind in (False, True):
            mounted = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
            subprocess.run(mounted, check=True)
            try:
                status = ended(begun(data, place / "out", blind=blind))
                said = (work / "said.txt").read_text().splitlines() or [""]
                left = sorted(path.name for path in place.rglob(".timediff-*"))
                subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
                again = ended(begun(data, place / "out", "--resume"))
                same = again == 0 and result(place / "out") == whole
            finally:
                subprocess.run(["umount", "-l", str(place)], check=True)
            row = {
                "bytes": int(size),
                "looks at the space": not blind,
                "status": status,
                "says": said[-1].replace(str(place), "DISK") if status else "",
                "traceback": any("Traceback" in line for line in said),
                "left half-written": left,
                "same after space was made": same,
            }
            rows.append(row)
            print(row, flush=True)
    lost = sum(not row["same after space was made"] or row["traceback"] for row in rows)
    return {"mechanism": "tmpfs", "bytes of a run": used, "sizes": rows, "lost": lost}


def frames(work: Path) -> dict[str, Any]:
    """Outcomes of frames of odd numbers."""
    with processes(2) as pool:
        few = list(pool.map(outcome, range(FRAMES), chunksize=20))
        trained = list(pool.map(outcome_of_default, range(TRAINED), chunksize=5))
    part: dict[str, Any] = {}
    for name, found, faults in (
        ("5 steps", few, ("traceback", "not finite")),
        ("200 steps of the default", trained, FAULTS),
    ):
        part[name] = dict(Counter(one.kind for one in found))
        part[f"{name}, faults"] = [
            {"frame": number, **one._asdict()}
            for number, one in enumerate(found)
            if one.kind in faults
        ]
    return part | {"lost": sum(len(found) for name, found in part.items() if "faults" in name)}


def command(work: Path) -> dict[str, Any]:
    """Outcomes of frames in files, forecast by command."""

    def outcome_of_file(number: int) -> dict[str, Any]:
        frame, horizon = frame_of(number)
        data = work / f"frame-{number}{ENDINGS[number % len(ENDINGS)]}"
        out = work / f"forecast-{number}{ENDINGS[-1 - number % len(ENDINGS)]}"
        write(frame.reset_index(), data)
        answer = forecast(data, out, horizon, *FEW)
        kind = answer.kind
        if answer.table is not None:
            kind = judged(answer.table, frame, horizon)
        row = {"frame": number, "file": data.name, "kind": kind, "said": answer.said}
        print(row, flush=True)
        return row

    rows = side_by_side(outcome_of_file, range(FRAMES, FRAMES + COMMANDS))
    faults = [row for row in rows if row["kind"] not in ("right", "refused")]
    return {**Counter(row["kind"] for row in rows), "faults": faults, "lost": len(faults)}


def judged(table: pd.DataFrame, frame: pd.DataFrame, horizon: int) -> str:
    """What is wrong with the labels or numbers of a forecast of a wide frame; "right" for nothing."""
    ahead = pd.date_range(frame.index[-1], periods=horizon + 1, freq=frame.index.freq)[1:]
    cells = pd.MultiIndex.from_product([frame.columns, ahead])
    found = pd.MultiIndex.from_arrays([table["unique_id"].astype(str), table["ds"]])
    if len(found) != len(cells) or not (found == cells).all():
        return "wrong labels"
    numbers = table.drop(columns=["unique_id", "ds"])
    whole = numbers.shape[1] == 6 and np.isfinite(numbers.to_numpy(float)).all()
    return "right" if whole else "not finite"


def folders(work: Path) -> dict[str, Any]:
    """Outcomes of changed folders."""
    found = outcomes(work)
    faults = [
        row
        for row in found
        if row["kind"] == "traceback"
        or row["seconds"] > MOST_SECONDS
        or row["bytes"] > MOST_BYTES
        or (row["what"] == "nothing" and row["kind"] != "loads")
    ]
    return {
        "folders": len(found),
        **Counter(row["kind"] for row in found),
        "most seconds": max(row["seconds"] for row in found),
        "most bytes": max(row["bytes"] for row in found),
        "faults": faults,
        "lost": len(faults),
    }


#: Sub-commands: each a function of a folder to work in that gives its part of the record.
PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "kills": kills,
    "disk": disk,
    "frames": frames,
    "command": command,
    "folders": folders,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument(
        "--work", type=Path, default=Path("faults"), help="runs, removed at the end"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "faults.json")
    options = parser.parse_args()
    work = options.work.resolve() / options.part
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    # So that each run begins at once: forked from a process that has made the slow imports, on one thread.
    import timediff.benchmark.evaluation
    import timediff.report.write  # noqa: F401

    started = time.monotonic()
    part = PARTS[options.part](work)
    part |= {"seconds": time.monotonic() - started, "commit": commit(), "hardware": hardware("cpu")}
    shutil.rmtree(work)
    before = json.loads(options.out.read_text()) if options.out.is_file() else {}
    write_text(options.out, json.dumps(plain({**before, options.part: part}), indent=1) + "\n")
    print({name: value for name, value in part.items() if name not in ("hardware", "sizes")})
    return 0 if part["lost"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
