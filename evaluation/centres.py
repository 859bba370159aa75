"""What the linear forecaster of the default goes by, and what else was tried: variants without a network.

python evaluation/centres.py --data-dir FOLDER [--jobs 2]

The windows are those of adaptive.py: seven data sets that end before the rolling origins, the last 14
horizons forecast after one fit on what precedes them. Paths are the baseline "adaptive linear": a forecast of
the mean plus error trajectories. Pools are half of its paths and half of another forecaster's. Scores are
ratios to the one of the default, geometric means over the data sets. Writes the record
evaluation/results/centres.json.
"""

import math
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from adaptive import ROLLING, SCORES, SETS, WINDOWS
from study import RESULTS, cached, finish, parser_of, processes
from torch import Tensor

from timediff import load_dataset, score
from timediff.benchmark.problem import make_problem
from timediff.data.entry import hold_out
from timediff.gluon import linear
from timediff.registry import BASELINES
from timediff.timegrad import centre
from timediff.timegrad.batch import Batch, Shape

SHOWN = (*SCORES, "coverage_90_sum")
#: Also told: the CRPS of the sum at the first step.
FIRST = "first step"
PATHS = 100
_regressors = centre.regressors


def columns(shape: Shape) -> dict[str, list[int]]:
    """The columns of `regressors` by what they are made of."""
    groups = {"constant": 1, "own": 4, "common": 3 if shape.target_dim > 1 else 0}
    groups |= {"cycle": 2 if shape.cycle > 1 else 0, "long cycle": len(shape.cycles[1:])}
    found, at = {}, 0
    for name, count in groups.items():
        found[name] = list(range(at, at + count))
        at += count
    found["profiles"] = []
    for cycle, _ in shape.profiles:
        found["long cycle" if cycle in shape.cycles[1:] else "profiles"].append(at)
        at += 1
    found["long cycle"] += range(at, centre.regressor_count(shape))
    return found


def without(*names: str) -> Callable[[Batch, Shape], Tensor]:
    """Regressors of which some are nothing."""

    def some(batch: Batch, shape: Shape) -> Tensor:
        found = _regressors(batch, shape).clone()
        groups = columns(shape)
        found[..., [column for name in names for column in groups[name]]] = 0.0
        return found

    return some


def equal_weights(batch: Batch, shape: Shape) -> Tensor:
    """What all series do together is their plain mean."""
    assert batch.scale is not None
    return _regressors(batch._replace(scale=torch.ones_like(batch.scale)), shape)


class Variant(NamedTuple):
    """What differs from the default's.

    Args:
        regressors: What is known at the origin.
        centre: Other values in `timediff.timegrad.centre`.
        linear: Other values in `timediff.gluon.linear`.
        pooled: Forecaster that half of the paths are of.
    """

    regressors: Callable[[Batch, Shape], Tensor] | None = None
    centre: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    linear: dict[str, Any] = {}  # noqa: RUF012
    pooled: str | None = None


VARIANTS = {
    "default": Variant(),
    "all series together: plain mean": Variant(equal_weights),
    "without all series together": Variant(without("common")),
    "without the long cycle": Variant(without("long cycle")),
    "without other profiles": Variant(without("profiles")),
    "without the last days": Variant(without("cycle")),
    "the units' location alone": Variant(
        without("own", "common", "cycle", "long cycle", "profiles")
    ),
    "one regression for all series": Variant(centre={"PENALTIES": (1e6,)}),
    "each series by itself": Variant(centre={"PENALTIES": (1e-3,)}),
    "stronger prior of all": Variant(centre={"_POOLED": 0.1}),
    "1500 origins": Variant(linear={"ORIGINS": 1500}),
    "half ridge VAR": Variant(pooled="var"),
    "half random walk": Variant(pooled="random_walk"),
}


def run(data_dir: Path, name: str, of: str) -> dict[str, float]:
    """Scores of a variant on one data set."""
    variant = VARIANTS[of]
    data = load_dataset(name, data_dir=data_dir)
    # Test windows are the last horizons of the rolling ones.
    rest, _ = hold_out(data.train[0], data.prediction_length, ROLLING - len(data.test))
    training, windows = hold_out(rest, data.prediction_length, WINDOWS)
    problem = make_problem(data._replace(train=[training], test=windows, aggregates={}))
    with ExitStack() as stack:
        for module, changed in ((centre, variant.centre), (linear, variant.linear)):
            for option, value in changed.items():
                stack.enter_context(patch.object(module, option, value))
        if variant.regressors is not None:
            stack.enter_context(patch.object(centre, "regressors", variant.regressors))
        names = ["adaptive_linear", *([variant.pooled] if variant.pooled else [])]
        count = PATHS // len(names)
        paths = np.concatenate(
            [
                BASELINES[each].forecast(problem.task, num_samples=count, seed=1, progress=False)
                for each in names
            ],
            axis=1,
        )
    scores = score(paths, problem.truth)
    first = score(paths[:, :, :1], problem.truth[:, :1])
    return {**{shown: scores[shown] for shown in SHOWN}, FIRST: first[SCORES[0]]}


def main() -> int:
    parser = parser_of(__doc__, "runs/centres")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each")
    parser.add_argument("--out", type=Path, default=RESULTS / "centres.json")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    with processes(options.jobs) as pool:
        jobs = {
            (variant, name): pool.submit(
                cached,
                options.work / f"{name}-{variant.replace(' ', '_')}.json",
                partial(run, options.data_dir, name, variant),
            )
            for variant in VARIANTS
            for name in SETS
        }
        results: dict[str, dict[str, Any]] = {variant: {} for variant in VARIANTS}
        for (variant, name), job in jobs.items():
            results[variant][name] = job.result()
            print(f"{name}, {variant}: {results[variant][name][SCORES[0]]:.4f}", flush=True)
    summary = {}
    for variant, of_sets in results.items():
        summary[variant] = {
            SHOWN[-1]: sum(row[SHOWN[-1]] for row in of_sets.values()) / len(of_sets)
        }
        for shown in (*SCORES, FIRST):
            logs = [
                math.log(row[shown] / results["default"][n][shown]) for n, row in of_sets.items()
            ]
            summary[variant][shown] = math.exp(sum(logs) / len(logs))
    finish({"windows": WINDOWS, "summary": summary, "results": results}, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
