"""Scores of the paths of an entrant, and their means over its seeds.

Axes: ``W`` windows, ``S`` sample paths, ``T`` time steps, ``D`` series; NaN is a missing value.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from timediff.benchmark.diagnosis import diagnose
from timediff.benchmark.exceedance import exceedance
from timediff.benchmark.folder import stamps
from timediff.benchmark.problem import Problem, aggregate_scores
from timediff.benchmark.record import Result, Seconds, Values
from timediff.metrics import score, window_losses
from timediff.metrics.protocols import protocol_table

__all__ = ["grade", "mean", "merged", "standard_error"]


def grade(problem: Problem, paths: np.ndarray, *, diagnosed: bool = False) -> dict[str, Any]:
    """The fields of a `Result` that are scores of paths ``[W, S, T, D]``, with a diagnosis or without."""
    losses = window_losses(paths, problem.truth)
    return {
        "metrics": score(paths, problem.truth, seasonal_error=problem.seasonal),
        "aggregates": aggregate_scores(problem.data, paths, problem.truth),
        "protocols": protocol_table(paths, problem.truth),
        "windows": {name: loss.tolist() for name, loss in losses.items()},
        "diagnosis": _diagnosis(problem, paths) if diagnosed else None,
    }


def merged(results: Sequence[Result]) -> Result:
    """The result of an entrant over its seeds, of one of each seed: means, and all that is known of each."""
    parts = {part: [getattr(result, part) for result in results] for part in Result._fields}
    means = {
        part: mean(parts[part]) for part in ("metrics", "aggregates", "protocols", "windows", "nll")
    }
    return results[0]._replace(
        **means,
        seeds=[seed for seeds in parts["seeds"] for seed in seeds],
        metrics_se=standard_error(parts["metrics"]),
        nll_se=standard_error(parts["nll"]),
        seconds=Seconds(*map(_sum, zip(*parts["seconds"], strict=True))),
        per_seed=[row for rows in parts["per_seed"] for row in rows],
    )


def mean(values: Sequence[Any]) -> Any:
    """Means over seeds of all numbers in dictionaries or lists, NaN where a seed has none; words stay."""
    first = values[0]
    if isinstance(first, dict):
        return {name: mean([value[name] for value in values]) for name in first}
    if isinstance(first, list):
        return [mean(numbers) for numbers in zip(*values, strict=True)]
    return first if isinstance(first, str) else float(np.mean([_number(value) for value in values]))


def standard_error(rows: Sequence[Values]) -> Values:
    """Standard errors of the means; None for a single seed, which says nothing about them."""
    if len(rows) < 2:
        return dict.fromkeys(rows[0])
    columns = {name: [_number(row[name]) for row in rows] for name in rows[0]}
    with np.errstate(invalid="ignore"):  # an infinite score has no error
        return {
            name: float(np.std(column, ddof=1) / math.sqrt(len(rows)))
            for name, column in columns.items()
        }


def _diagnosis(problem: Problem, paths: np.ndarray) -> dict[str, Any]:
    data = problem.data
    times = np.stack([stamps(entry, data.prediction_length) for entry in data.test])
    found = diagnose(paths, problem.truth, columns=data.columns, stamps=times, progress=True)
    last = exceedance(np.asarray(paths[-1]), problem.truth[-1], data.aggregates)
    return found | {"exceedance": last}


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _number(value: float | None) -> float:
    return math.nan if value is None else value
