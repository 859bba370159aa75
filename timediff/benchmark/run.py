"""The one loop of an evaluation: every entrant with every seed.

A job is an entrant with a seed. It needs no other job, writes what it finishes into its own folder
``OUT/ENTRANT/seed-K/`` (``paths.npy``, then ``result.json``), and is not run again where these are. Scores
are made of the paths, anew each time.
"""

import json
import logging
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from timediff.benchmark.entrants import Entrant
from timediff.benchmark.executors import Executor, local
from timediff.benchmark.folder import PATHS, paths_of, save_paths
from timediff.benchmark.ours import likelihood, recalibration
from timediff.benchmark.recalibration import recalibrate
from timediff.benchmark.record import Seconds, SeedResult, as_json
from timediff.benchmark.scoring import Problem, Scores, grade
from timediff.errors import InputError
from timediff.frequency import quiet_business_days
from timediff.tools.files import write_text

RESULT = "result.json"


class Setting(NamedTuple):
    """What all jobs of a run share.

    Args:
        problem: What is forecast.
        num_samples: Sample paths per window.
        device: What the likelihood and the recalibration of ours run on.
        nll: Whether ours has its likelihood.
        recalibrated_on: Validation windows that ours is recalibrated on; 0 for no recalibration.
        diagnosed: The seed whose paths are diagnosed; None for no diagnosis.
    """

    problem: Problem
    num_samples: int
    device: str = "cpu"
    nll: bool = False
    recalibrated_on: int = 0
    diagnosed: int | None = None


class Job(NamedTuple):
    """One seed of an entrant, and the folder of its results."""

    entrant: Entrant
    seed: int
    folder: Path


class Finished(NamedTuple):
    """What a job came to."""

    result: SeedResult
    scores: Scores
    recalibrated: Scores | None = None


def seed_folder(out: Path, name: str, seed: int) -> Path:
    """Where the results of an entrant with a seed are."""
    return out / name / f"seed-{seed}"


def run_entrants(
    setting: Setting,
    entrants: Sequence[Entrant],
    seeds: Sequence[int],
    out: Path,
    *,
    executor: Executor = local,
) -> tuple[dict[str, list[Finished]], dict[str, str]]:
    """What every entrant came to with each seed, by name, and why others are left out.

    An entrant that fails with one seed is left out; what it finished with another stays in its folder.

    Raises:
        InputError: The first entrant, which the run is of, has failed.
    """
    jobs = [
        Job(entrant, seed, seed_folder(out, entrant.name, seed))
        for entrant in entrants
        for seed in seeds
    ]
    finished: dict[str, list[Finished]] = {entrant.name: [] for entrant in entrants}
    left_out: dict[str, str] = {}
    outcomes = executor(partial(run_job, setting), jobs)
    for (entrant, _, _), outcome in zip(jobs, outcomes, strict=True):
        if isinstance(outcome, Finished):
            finished[entrant.name].append(outcome)
        elif entrant is entrants[0]:
            raise InputError(outcome)
        elif entrant.name not in left_out:
            left_out[entrant.name] = outcome
            print(f"{entrant.title} is left out: {outcome}", file=sys.stderr)
    return {name: one for name, one in finished.items() if name not in left_out}, left_out


def run_job(setting: Setting, job: Job) -> Finished | str:
    """What a job came to, from its folder if it is finished; or, in a sentence, why it could not be."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    entrant, seed, folder = job
    with quiet_business_days():
        stored = _stored(job)
        if stored is None:
            try:
                stored = _forecast(setting, job)
            except (OSError, MemoryError):
                raise
            except Exception as error:
                # What took long is not to be lost for what others have made.
                if not isinstance(error, InputError) and not entrant.foreign:
                    raise
                kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
                return kind + " ".join(str(error).split())
        diagnosed = seed == setting.diagnosed
        scores = grade(setting.problem, paths_of(folder), diagnosed=diagnosed)
        if not (folder / RESULT).is_file():
            kept = {"metrics": scores.metrics, "aggregates": scores.aggregates}
            write_text(folder / RESULT, as_json(stored | kept) + "\n")
        nll = recalibrated = None
        if entrant.kind == "ours" and setting.nll:
            nll = likelihood(folder, setting.problem.data.test, seed=seed, device=setting.device)
        if entrant.kind == "ours" and setting.recalibrated_on:
            paths = _recalibrated(setting, job)
            recalibrated = grade(setting.problem, paths, diagnosed=diagnosed)
    result = SeedResult(
        seed,
        Seconds(**stored["seconds"]),
        scores.metrics,
        scores.aggregates,
        stored["details"],
        nll,
    )
    return Finished(result, scores, recalibrated)


def _recalibrated(setting: Setting, job: Job) -> np.ndarray:
    """The paths ``[W, S, T, D]`` of a job of ours through the map fitted on its validation windows."""
    fitted = recalibration(
        job.folder,
        setting.problem.task,
        seed=job.seed,
        validation_windows=setting.recalibrated_on,
        num_samples=setting.num_samples,
        device=setting.device,
    )
    return recalibrate(fitted, paths_of(job.folder))


def _stored(job: Job) -> dict[str, Any] | None:
    """What is written of a finished job; None if it is not finished, or of other paths."""
    file = job.folder / RESULT
    if not file.is_file() or not (job.folder / PATHS).is_file():
        file.unlink(missing_ok=True)
        return None
    stored = json.loads(file.read_text(encoding="utf-8"))
    if stored["source"] != job.entrant.source:
        file.unlink()
        return None
    return stored


def _forecast(setting: Setting, job: Job) -> dict[str, Any]:
    """Fits, keeps the paths of all windows, and returns what is to be known of it."""
    entrant, seed, folder = job
    task = setting.problem.task
    print(f"{entrant.title}, seed {seed}", file=sys.stderr)
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    fitted = entrant.fit(task, seed=seed, folder=folder)
    training: float | None = time.perf_counter() - started
    if entrant.kind == "predictor":
        training = None
    elif fitted.seconds is not None:
        training = fitted.seconds
    started = time.perf_counter()
    paths = fitted.paths(task, num_samples=setting.num_samples, seed=seed)
    seconds = Seconds(training, time.perf_counter() - started)
    expected = (len(task.histories), setting.num_samples, task.horizon, len(task.columns))
    if paths.shape != expected:
        raise InputError(
            f"{entrant.title} gives paths of shape {paths.shape} where [windows, num_samples, "
            f"prediction_length, series] is {expected}"
        )
    save_paths(folder, paths)
    return {
        "seed": seed,
        "source": entrant.source,
        "seconds": seconds._asdict(),
        "details": fitted.details,
    }
