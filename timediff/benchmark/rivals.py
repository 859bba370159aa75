"""The baselines of an evaluation: each is run once, and its paths are kept beside those of the seeds.

``DIR/baselines/`` holds ``NAME.npy``, the paths, and ``NAME.json``, what led to them, as soon as a baseline
is finished, so that a resumed run does not repeat it.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from timediff.baselines import BASELINES, Fitted, Task, chosen, draw
from timediff.baselines.external import fit_predictor, load_predictor
from timediff.baselines.task import Fit
from timediff.benchmark.folder import BASELINE_FOLDER, paths_file, save_paths
from timediff.benchmark.record import FLOOR
from timediff.benchmark.scoring import Exam, grade, split
from timediff.config import Options
from timediff.data.dataset import Dataset
from timediff.data.oracle.dataset import is_oracle, true_paths
from timediff.errors import InputError
from timediff.tools.files import plain, write_text

#: Entrants that know the process of the data, where there is one.
ORACLES = {
    FLOOR: (
        "oracle",
        "Paths from the true distribution of the future given the observed past: the floor, which "
        "nothing that sees the past alone can beat in expectation.",
    ),
    "oracle_regime": (
        "oracle that knows the regime",
        "The same, given the hidden regime too, which no forecaster can see: not the floor.",
    ),
}


def run_baselines(
    options: Options, exam: Exam, task: Task
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Everything the record says of each baseline and its scores, by name, and why others are left out.

    A baseline of another library that fails in a way of its own is left out, too: what took long is not to be
    lost for it.
    """
    names, left_out = chosen(options.baselines)
    for name, reason in left_out.items():
        print(f"{_title(name)} is left out: {reason}", file=sys.stderr)
    folder = options.out / BASELINE_FOLDER
    folder.mkdir(exist_ok=True)
    margins: dict[Fit, tuple[Fitted, float]] = {}
    found: dict[str, dict[str, Any]] = {}
    given = predictors(options)
    for name in [*_oracles(options, exam.data), *names, *given]:
        file = folder / f"{name}.json"
        stored = json.loads(file.read_text()) if file.is_file() else {}
        same = stored.get("seed") == options.seeds[0] and stored.get("folder") == (
            str(given[name]) if name in given else None
        )
        if not same or not paths_file(options, name).is_file():
            try:
                paths, stored = _run(name, options, exam.data, task, margins)
            except Exception as error:
                ours = name in ORACLES or (name not in given and BASELINES[name].fast)
                if isinstance(error, OSError | MemoryError) or (
                    ours and not isinstance(error, InputError)
                ):
                    raise
                kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
                left_out[name] = kind + " ".join(str(error).split())
                print(f"{_title(name)} is left out: {left_out[name]}", file=sys.stderr)
                continue
            save_paths(paths_file(options, name), paths)
            write_text(file, json.dumps(plain(stored), indent=1) + "\n")
        graded = grade(exam, np.load(paths_file(options, name), mmap_mode="r"))
        found[name] = {"title": _title(name), **stored, **graded}
    return found, left_out


def _oracles(options: Options, data: Dataset) -> list[str]:
    known, _ = split(data.test, data.prediction_length)
    return list(ORACLES) if options.baselines != "none" and is_oracle(known) else []


def predictors(options: Options) -> dict[str, Path]:
    """Folders of the serialized predictors to compare with, by their names in the record.

    Raises:
        InputError: Two of them would have one name.
    """
    named = {f"predictor-{folder.resolve().name}": folder for folder in options.rivals}
    if len(named) < len(options.rivals):
        raise InputError(
            "two folders of --rivals have one name, so a table would mix them; rename one"
        )
    return named


def _title(name: str) -> str:
    if name in ORACLES:
        return ORACLES[name][0]
    return BASELINES[name].title if name in BASELINES else name


def _run(
    name: str, options: Options, data: Dataset, task: Task, margins: dict[Fit, tuple[Fitted, float]]
) -> tuple[np.ndarray, dict[str, Any]]:
    """Paths of a baseline, and what led to them; `margins` has what was trained for another already."""
    seed, count, started = options.seeds[0], options.num_samples, time.perf_counter()
    if name in ORACLES:
        known, _ = split(data.test, data.prediction_length)
        paths = true_paths(
            known,
            horizon=data.prediction_length,
            num_samples=count,
            seed=seed,
            knows_regime=name == "oracle_regime",
        )
        seconds = {"training": 0.0, "sampling": time.perf_counter() - started}
        return paths, {"note": ORACLES[name][1], "seed": seed, "seconds": seconds}
    given = predictors(options)
    if name in given:
        return _run_predictor(given[name], options, task)
    baseline = BASELINES[name]
    print(baseline.title, file=sys.stderr)
    if baseline.fit not in margins:
        margin = baseline.fit(task, seed=seed, progress=True)
        margins[baseline.fit] = margin, time.perf_counter() - started
    margin, spent = margins[baseline.fit]
    started = time.perf_counter()
    fitted = baseline.prepare(task, seed=seed, margins=margin)
    trained = time.perf_counter()
    paths = draw(fitted, task, num_samples=count, seed=seed)
    seconds = {
        "training": spent + trained - started,
        "sampling": time.perf_counter() - trained,
    }
    return paths, {"note": baseline.note, "seed": seed, "seconds": seconds, **fitted.details}


def _run_predictor(folder: Path, options: Options, task: Task) -> tuple[np.ndarray, dict[str, Any]]:
    """The same of a serialized predictor."""
    fitted = fit_predictor(load_predictor(folder), task)
    seed, started = options.seeds[0], time.perf_counter()
    paths = draw(fitted, task, num_samples=options.num_samples, seed=seed)
    return paths, {
        "title": f"{fitted.details['class']} ({folder.resolve().name})",
        "note": f"A predictor that was trained before, from the folder {folder}.",
        "folder": str(folder),
        "seed": seed,
        "seconds": {"training": None, "sampling": time.perf_counter() - started},
        **fitted.details,
    }
