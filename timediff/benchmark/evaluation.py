"""One evaluation from its options to its record: what the command ``timediff evaluate`` computes.

What cannot be trained on or scored is refused first; `timediff.benchmark.run` does the work; the record is
made of what it finished.
"""

import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from timediff import __version__
from timediff.arguments import checked
from timediff.baselines import BASELINES
from timediff.benchmark.entrants import Entrant, entrants_of
from timediff.benchmark.executors import Executor, local
from timediff.benchmark.folder import (
    PATHS,
    load_paths,
    locked,
    prepare,
    seed_folder,
    write_forecasts,
)
from timediff.benchmark.problem import Problem, pose, stride_of
from timediff.benchmark.record import (
    COMPARED,
    NLL,
    NLL_PARTS,
    DataFacts,
    Record,
    as_json,
    read_record,
)
from timediff.benchmark.run import Finished, Setting, run_entrants
from timediff.config import RunConfig
from timediff.data.dataset import Dataset
from timediff.frequency import quiet_business_days
from timediff.metrics import definitions, monte_carlo_error
from timediff.metrics.monte_carlo import FEWEST
from timediff.metrics.paired import compare, overlapping
from timediff.metrics.protocols import PROTOCOLS
from timediff.reading import differing
from timediff.tools.device import device_of
from timediff.tools.files import check_space, write_text
from timediff.tools.machine import commit, hardware

__all__ = ["Evaluation", "evaluate"]

_PACKAGES = ("torch", "gluonts", "lightning", "numpy", "pandas")


class Evaluation(NamedTuple):
    """What an evaluation came to.

    Args:
        out: Its folder.
        record: Its record, which is in the folder too.
        data: What was forecast.
        truth: What happened, ``[W, T, D]``.
        paths: Paths ``[W, S, T, D]`` of each entrant with the first seed, as memory maps.
    """

    out: Path
    record: Record
    data: Dataset
    truth: np.ndarray
    paths: Mapping[str, np.ndarray]


@checked
def evaluate(
    config: RunConfig,
    *,
    problem: Problem | None = None,
    entrants: Sequence[Entrant] = (),
    executor: Executor = local,
    draw: Callable[..., Any] | None = None,
) -> Evaluation:
    """Fits, forecasts and scores every entrant with every seed, and writes record and forecasts.

    Args:
        config: What is asked for.
        problem: `timediff.benchmark.problem.pose` of the options, if that is known already.
        entrants: More than it names, such as `timediff.benchmark.entrants.as_entrant` makes.
        executor: What runs the jobs.
        draw: Called with the fields of the evaluation while its folder is held, to draw a report of it.

    Raises:
        InputError: Something in the options or the data does not make sense, said before training, or the
            first entrant cannot forecast.
    """
    device, out, first = device_of(config.device), config.folder, config.seed[0]
    with quiet_business_days():
        problem = problem or pose(config)
        everyone, missing = entrants_of(config, problem.task, device=device, more=entrants)
        setting = Setting(
            problem,
            config.num_samples,
            device,
            nll=config.nll,
            recalibrated_on=config.validation_windows if config.recalibrate else 0,
            diagnosed=first if config.report else None,
        )
        names = [entrant.name for entrant in everyone]
        with locked(out):
            prepare(out, _settings(config, problem.data), names, resume=config.resume)
            for name, reason in missing.items():
                print(f"{BASELINES[name].title} is left out: {reason}", file=sys.stderr)
            _check_room(out, setting, names, config.seed)
            finished, failed = run_entrants(setting, everyone, config.seed, out, executor=executor)
            paths = {name: load_paths(seed_folder(out, name, first)) for name in finished}
            record = _record(config, setting, finished, missing | failed, paths[names[0]])
            write_text(out / "record.json", as_json(record) + "\n")
            evaluation = Evaluation(out, read_record(out), problem.data, problem.truth, paths)
            if draw is not None:
                draw(*evaluation)
            # Last, as it takes the most space.
            ours = {seed: load_paths(seed_folder(out, names[0], seed)) for seed in config.seed}
            write_forecasts(out, problem.data, ours)
    return evaluation


def _check_room(out: Path, setting: Setting, names: Sequence[str], seeds: Sequence[int]) -> None:
    """Raises `InputError` unless there is space for the paths; a training looks after its own."""
    paths = 4 * setting.num_samples * setting.problem.truth.size
    jobs = [seed_folder(out, name, seed) for name in names for seed in seeds]
    files = sum(not (folder / PATHS).is_file() for folder in jobs)
    # The table of the paths of ours comes last.
    check_space(out, paths * (files + len(seeds)), "the paths of this run take")


def _options(config: RunConfig) -> dict[str, Any]:
    """All options that paths depend on, but for the seeds."""
    names = ("validation_windows", "align_clock", "windows", "stride", "history")
    said = differing(config.table)
    return {
        "model": config.model._asdict(),
        "train": {k: v for k, v in config.train._asdict().items() if k != "seed"},
        "sampling": config.sampling.flat(),
        **{name: getattr(config, name) for name in names},
        "predictor": None if config.predictor is None else str(config.predictor),
        **({"table": {name: getattr(config.table, name) for name in said}} if said else {}),
    }


def _used(config: RunConfig) -> dict[str, Any]:
    """The options of the record: None for what nothing was made with, or not with that.

    Of a time budget, what each seed made of it is in its details, as ``steps``.
    """
    options = {**_options(config), "rivals": [str(folder) for folder in config.rivals]}
    if config.predictor is not None:
        options |= {"model": None, "train": None, "sampling": None}
    elif config.train.time_budget is not None:
        options["train"] |= {"steps": None}
    return options


def _settings(config: RunConfig, data: Dataset) -> dict[str, Any]:
    """What has to stay the same for a result to be the same."""
    facts = {"dataset": config.dataset, "checksum": data.checksum}
    return {**facts, "num_samples": config.num_samples, **_options(config)}


def _record(
    config: RunConfig,
    setting: Setting,
    finished: Mapping[str, Finished],
    left_out: dict[str, str],
    paths: np.ndarray,
) -> Record:
    """The record of what was finished; the paths are of the first entrant with the first seed."""
    problem, (first, *others) = setting.problem, finished
    results, stride = (
        {name: merged.result for name, merged in finished.items()},
        stride_of(problem.task),
    )
    if config.report and config.num_samples >= FEWEST:
        errors = monte_carlo_error(paths, problem.truth, seasonal_error=problem.seasonal)
        results[first] = results[first]._replace(metrics_mc_error=dict(errors))
    overlap = overlapping(prediction_length=problem.task.horizon, stride=stride)
    losses = {name: result.windows[COMPARED] for name, result in results.items()}
    return Record(
        dataset=_facts(problem.data, stride),
        preset="" if config.predictor is not None else config.preset,
        config=_used(config),
        num_samples=config.num_samples,
        entrants=results,
        comparisons={
            name: compare(losses[first], losses[name], overlap=overlap) for name in others
        },
        left_out=left_out,
        recalibration=finished[first].recalibrated,
        observed_share=float(np.isfinite(problem.truth).mean()),
        definitions=definitions(),
        protocol_definitions={name: protocol.description for name, protocol in PROTOCOLS.items()},
        nll_definitions=NLL | NLL_PARTS if setting.nll else {},
        versions={
            "python": platform.python_version(),
            "timediff": __version__,
            **{name: version(name) for name in _PACKAGES},
        },
        commit=commit(),
        hardware=hardware(setting.device),
    )


def _facts(data: Dataset, stride: int) -> DataFacts:
    same = ("name", "freq", "prediction_length", "checksum", "verified", "source", "licence")
    return DataFacts(
        series=len(data.columns),
        windows=len(data.test),
        train_length=data.train[0]["target"].shape[1],
        stride=stride,
        published=data.published,
        **{name: getattr(data, name) for name in same},
    )
