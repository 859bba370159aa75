"""The one loop of an evaluation: every entrant with every seed.

A job is an entrant with a seed. It needs no other job, writes what it finishes into its own folder
``OUT/ENTRANT/seed-K/`` (``paths.npy``, then ``result.json``), and is not run again where these are. Scores
are made of the paths, anew each time.
"""

import json
import logging
import sys
import time
from collections.abc import Generator, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from timediff.benchmark.entrants import Entrant
from timediff.benchmark.executors import Executor, local
from timediff.benchmark.folder import (
    PATHS,
    RESULT,
    load_paths,
    read_paths,
    salvaged,
    save_paths,
    seed_folder,
)
from timediff.benchmark.ours import Trained
from timediff.benchmark.problem import Problem
from timediff.benchmark.record import OURS, Kind, Result, Seconds, SeedResult, as_json
from timediff.benchmark.scoring import grade, merged
from timediff.errors import InputError
from timediff.frequency import quiet_business_days
from timediff.tools.files import write_text

__all__ = ["Finished", "Job", "Setting", "run_entrants", "run_job"]


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
    """One seed of an entrant, and the folder of its results, in that of the run, which is there."""

    entrant: Entrant
    seed: int
    folder: Path

    def __str__(self) -> str:
        """Who with which seed, for those who wait."""
        return f"{self.entrant.title}, seed {self.seed}"


class Finished(NamedTuple):
    """What a job came to, and after recalibration where there is one."""

    result: Result
    recalibrated: Result | None = None


def run_entrants(
    setting: Setting,
    entrants: Sequence[Entrant],
    seeds: Sequence[int],
    out: Path,
    *,
    executor: Executor = local,
) -> tuple[dict[str, Finished], dict[str, str]]:
    """What every entrant came to over its seeds, by name, and why others are left out.

    An entrant that fails with one seed is left out; what it finished with another stays in its folder.

    Raises:
        InputError: The first entrant, which the run is of, has failed.
    """
    jobs = [
        Job(entrant, seed, seed_folder(out, entrant.name, seed))
        for entrant in entrants
        for seed in seeds
    ]
    finished: dict[str, list[Finished]] = {}
    left_out: dict[str, str] = {}
    outcomes: Iterable[Finished | str] = executor(partial(run_job, setting), jobs)
    try:
        for (entrant, _, _), outcome in zip(jobs, outcomes, strict=True):
            _check_there(out)
            if isinstance(outcome, Finished):
                finished.setdefault(entrant.name, []).append(outcome)
            elif entrant is entrants[0]:
                raise InputError(outcome)
            elif entrant.name not in left_out:
                left_out[entrant.name] = outcome
                print(f"{entrant.title} is left out: {outcome}", file=sys.stderr)
    finally:
        if isinstance(outcomes, Generator):
            outcomes.close()  # jobs under way elsewhere are waited for by nobody
    merges = {}
    for name, rows in finished.items():
        after = [row.recalibrated for row in rows if row.recalibrated is not None]
        merges[name] = Finished(
            merged([row.result for row in rows]), merged(after) if after else None
        )
    return {name: merged for name, merged in merges.items() if name not in left_out}, left_out


def run_job(setting: Setting, job: Job) -> Finished | str:
    """What a job came to, from its folder where it is finished; or, in words, why it could not be done."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with quiet_business_days():
            return _finished(setting, job, _stored(setting, job) or _forecast(setting, job))
    except (OSError, MemoryError):
        _check_there(job.folder.parent.parent)
        raise
    except Exception as error:
        # What took long is not to be lost for what others have made.
        if not isinstance(error, InputError) and not job.entrant.foreign:
            raise
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        return kind + " ".join(str(error).split())


def _check_there(out: Path) -> None:
    """Raises `InputError` if somebody has taken the folder away."""
    if not out.is_dir():
        raise InputError(
            f"{out} was moved or deleted while this run was writing to it; run it again, where it can stay"
        )


def _stored(setting: Setting, job: Job) -> dict[str, Any] | None:
    """What is written of a finished job; None if it is not finished, damaged, or of something else."""
    file, again = job.folder / RESULT, "this seed is done again"
    stored = salvaged(file, _read_result, again)
    if stored is not None and stored["source"] == job.entrant.source:
        windows, *rest = setting.problem.truth.shape
        shape = (windows, setting.num_samples, *rest)
        paths = salvaged(job.folder / PATHS, partial(read_paths, shape=shape), again)
        trained = Trained(job.folder, job.seed, "cpu")
        if paths is not None and (job.entrant.kind != "ours" or trained.is_whole(again)):
            return stored
    file.unlink(missing_ok=True)
    return None


def _read_result(file: Path) -> dict[str, Any]:
    stored = json.loads(file.read_text(encoding="utf-8"))
    Seconds(**stored["seconds"])
    return {name: stored[name] for name in ("source", "seconds", "details")}


def _forecast(setting: Setting, job: Job) -> dict[str, Any]:
    """What is to be known of a fit and of its forecasts, whose paths are kept in the folder."""
    (entrant, seed, folder), task = job, setting.problem.task
    print(job, file=sys.stderr)
    _check_there(folder.parent.parent)
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    fitted = entrant.fit(task, seed=seed, folder=folder)
    training = time.perf_counter() - started if fitted.seconds is None else fitted.seconds
    started = time.perf_counter()
    save_paths(folder, fitted.paths(task, num_samples=setting.num_samples, seed=seed))
    sampling = time.perf_counter() - started
    seconds = Seconds(None if entrant.kind == "predictor" else training, sampling)
    return {"source": entrant.source, "seconds": seconds._asdict(), "details": fitted.details}


def _finished(setting: Setting, job: Job, stored: dict[str, Any]) -> Finished:
    """The scores of a job's paths, made anew, and what else is asked for of ours."""
    (entrant, seed, folder), (problem, _, device, asked, windows, diagnosed) = job, setting
    paths, ours = load_paths(folder), entrant.kind == "ours"
    scores = grade(problem, paths, diagnosed=seed == diagnosed)
    kept = {name: scores[name] for name in ("metrics", "aggregates")}
    if not (folder / RESULT).is_file():
        write_text(folder / RESULT, as_json(stored | kept) + "\n")
    trained = Trained(folder, seed, device)
    nll = trained.likelihood(problem.data.test) if ours and asked else None
    after = None
    if ours and windows:
        mapped = trained.recalibrated(paths, problem.task, windows=windows)
        note = (
            "A map of each series and of the sum, fitted on the held-out windows at the end of the "
            f"training data ({windows}); means over the seeds."
        )
        words: tuple[str, str, Kind] = (f"{OURS}, recalibrated", note, "recalibrated")
        after = Result(*words, [seed], **grade(problem, mapped, diagnosed=seed == diagnosed))
    seconds = Seconds(**stored["seconds"])
    row = SeedResult(seed, seconds, details=stored["details"], nll=nll, **kept)
    result = Result(entrant.title, entrant.note, entrant.kind, [seed], **scores)
    whole = result._replace(seconds=seconds, per_seed=[row], nll=nll.scores if nll else {})
    return Finished(whole, after)
