"""Tables in files that the command line forecasts, each in a process of its own, as a user would."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from fault_frames import SMALL

from timediff import ModelConfig

#: Seconds of one command, at most, and how many run side by side.
LONGEST, TOGETHER = 600, 2
ENDINGS = (".csv", ".parquet", ".csv", ".feather")
_READERS: dict[str, Callable[[Path], Any]] = {
    ".csv": lambda path: pd.read_csv(path, dtype={"unique_id": str}),
    ".parquet": pd.read_parquet,
    ".feather": pd.read_feather,
}
_TINY = [
    f"--model.{name}={value}"
    for name, value in SMALL._asdict().items()
    if value != getattr(ModelConfig(), name)
]


class Answer(NamedTuple):
    """What a command came to.

    Args:
        kind: "forecast", "refused" in one sentence, or the fault.
        said: The sentence, or what is wrong.
        table: The forecast.
    """

    kind: str
    said: str
    table: pd.DataFrame | None = None


def write(frame: pd.DataFrame, path: Path) -> None:
    """Writes a frame without its index by the ending of a file."""
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_feather(path)


def forecast(data: Path, out: Path, horizon: int, *options: str, zone: Any = None) -> Answer:
    """The answer of ``timediff forecast`` with the network of `fault_frames` and a few steps.

    Args:
        data: The table.
        out: Of the forecast.
        horizon: Steps of it.
        options: More of the command line.
        zone: Of the stamps that are expected; a CSV has their offsets only.
    """
    words = [*("--horizon", str(horizon), "--out", str(out), "--quiet"), *_TINY, *options]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "timediff", "forecast", str(data), *words],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            timeout=LONGEST,
        )
    except subprocess.TimeoutExpired:
        return Answer("no end", f"not in {LONGEST} s")
    lines = done.stderr.strip().splitlines() or [""]
    if "Traceback" in done.stderr:
        return Answer("traceback", lines[-1])
    if done.returncode == 2:
        # A warning may come first; it begins in the same way.
        told = [line for line in lines if line.startswith("timediff forecast: ")]
        one = (
            told == lines
            and lines[-1].endswith(".")
            and len(lines[-1]) < 500
            and not done.stdout
            and not out.exists()
        )
        return Answer("refused" if one else "no sentence", lines[-1] if one else done.stderr)
    if done.returncode:
        return Answer(f"status {done.returncode}", lines[-1])
    try:
        table = _READERS[out.suffix](out)
        stamps = pd.to_datetime(table["ds"], utc=zone is not None)
        if zone is not None:
            stamps = stamps.dt.tz_convert(zone)
        return Answer("forecast", done.stderr.strip(), table.assign(ds=stamps))
    except Exception as error:  # whatever is wrong with the file
        return Answer("no table", f"{type(error).__name__}: {error}")


def side_by_side(work: Callable[[int], Any], numbers: Iterable[int]) -> list[Any]:
    """What some numbers come to, in their order; the work waits for a process."""
    with ThreadPoolExecutor(TOGETHER) as pool:
        return list(pool.map(work, numbers))


def flags(options: dict[str, Sequence[str] | str | None]) -> list[str]:
    """Options of a command line, without those that are empty."""
    words: list[str] = []
    for name, value in options.items():
        if value:
            words += [f"--{name}", *([value] if isinstance(value, str) else map(str, value))]
    return words
