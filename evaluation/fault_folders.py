"""Folders of predictors that a stranger's hand or a bad disk has changed, one place at a time.

A predictor is saved once. A folder is a copy of it with one value of predictor.json replaced by a huge, odd
or missing one, or with a file cut short or left out; some are whole. It has to load, or be refused in one
sentence, in little time and memory (`outcomes`).
"""

import json
import resource
import shutil
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fault_frames import SMALL, hushed

from timediff import TimeGradEstimator, TimeGradPredictor, TrainConfig
from timediff.errors import InputError

VALUES = (10**9, 99_999, 0, -1, 2.5, 1e308, None, "x", [], {})
#: Shares of a file that are left of it.
CUTS = (0.0, 0.01, 0.5, 0.99)

Change = Callable[[Path], None]


def saved(folder: Path) -> None:
    """A predictor of three hourly series."""
    rng = np.random.default_rng(1)
    target = 10 + np.sin(np.arange(400) / 4 + np.arange(3)[:, None]) + rng.normal(size=(3, 400))
    estimator = TimeGradEstimator(
        prediction_length=4,
        freq="h",
        model=SMALL,
        train=TrainConfig(steps=2, steps_per_epoch=2, batch_size=8, seed=1),
        progress=False,
    )
    entry = {"start": pd.Period("2024-01-01", "h"), "target": target}
    estimator.train([entry]).serialize(folder)


def _places(content: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the values of a JSON are."""
    inner = content.items() if isinstance(content, dict) else enumerate(content)
    for name, value in inner:
        yield (*place, name)
        if isinstance(value, dict | list):
            yield from _places(value, (*place, name))


def _replacing(place: tuple[Any, ...], value: Any) -> Change:
    def change(folder: Path) -> None:
        file = folder / "predictor.json"
        content = json.loads(file.read_text())
        inner = content
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = value
        file.write_text(json.dumps(content))

    return change


def _cutting(name: str, share: float) -> Change:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(share * len(content))])

    return change


def changes(folder: Path) -> Iterator[tuple[str, Change | None]]:
    """What is changed, by name; None for nothing."""
    content = json.loads((folder / "predictor.json").read_text())
    count = 0
    for place in _places(content):
        for value in (VALUES[(count + k) % len(VALUES)] for k in range(3)):
            count += 1
            yield f"{'.'.join(map(str, place))} = {value!r}", _replacing(place, value)
            if count % 10 == 0:
                yield "nothing", None
    for file in sorted(path.name for path in folder.iterdir()):
        for share in CUTS:
            yield f"{share:g} of {file}", _cutting(file, share)
        yield f"no {file}", lambda folder, file=file: (folder / file).unlink()  # type: ignore[misc]


def outcomes(work: Path) -> list[dict[str, Any]]:
    """What becomes of each folder, its seconds, and by how many bytes the process grew."""
    whole, found = work / "whole", []
    with hushed(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        saved(whole)
        TimeGradPredictor.deserialize(whole)
        for what, change in changes(whole):
            folder = work / "folder"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(whole, folder)
            if change is not None:
                change(folder)
            before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
            kind, said = "loads", ""
            try:
                TimeGradPredictor.deserialize(folder)
            except InputError as error:
                kind, said = "refused", str(error)
            except Exception:
                kind, said = "traceback", traceback.format_exc(limit=-2)
            if kind == "refused" and "\n" in said:
                kind = "traceback"  # not one sentence
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            seconds = time.monotonic() - began
            found.append(
                {
                    "what": what,
                    "kind": kind,
                    "said": said,
                    "seconds": seconds,
                    "bytes": 1024 * grown,
                }
            )
    return found
