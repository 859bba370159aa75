"""The record of an evaluation: what was run on what, how it scored, and the table a person reads.

A record is a dictionary of plain values, the same for the same options and data but for seconds,
commit and machine.
"""

import json
import math
import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from timediff import __version__
from timediff.config import Options
from timediff.data.dataset import Dataset
from timediff.metrics import definitions
from timediff.metrics.paired import compare, overlapping
from timediff.metrics.protocols import PROTOCOLS
from timediff.tools.files import plain
from timediff.tools.machine import commit, hardware

NLL = {
    "bound": "variational bound on the negative log-likelihood of the test windows, nats per dimension: "
    "mean over windows, steps and series, on the data's own scale",
    "bound_bits": "the same in bits",
    "nll": "negative log-likelihood by the probability-flow ODE from the first noise level, in nats per "
    "dimension",
    "nll_bits": "the same in bits",
    "nll_error": "standard error of the estimated trace in it, 0 where the trace is exact (D <= 64)",
}


#: Of what each seed has beside these.
NLL_PARTS = {
    "terms": "terms L_0 .. L_N of the bound in scaled units, nats per dimension",
    "log_scale": "what the data's own scale adds to their sum, which is then the bound",
}


NLL_TITLES = {
    "bound": "variational bound",
    "nll": "negative log-likelihood (ODE)",
    "nll_error": "standard error of its trace",
}


FORMAT = 2


#: The score that entrants are ordered and compared by, window by window.
COMPARED = "mean_wquantile_loss_sum"


#: Names of entrants: ours, and the one that knows the process of the data, where it is known. What no
#: forecaster can know has a name that begins like the latter.
OURS, FLOOR = "timediff", "oracle"


_PACKAGES = ("torch", "gluonts", "lightning", "numpy", "pandas")


def make_record(
    options: Options,
    data: Dataset,
    results: list[dict[str, Any]],
    *,
    baselines: dict[str, dict[str, Any]],
    observed_share: float,
    stride: int,
    device: str,
) -> dict[str, Any]:
    """The record of one result per seed: means, standard errors, and all that led to them.

    Args:
        options: What was asked for.
        data: What was forecast.
        results: Of `timediff.benchmark.seeds.run_seed`.
        baselines: Of `timediff.benchmark.rivals.run_baselines`.
        observed_share: Share of the truth that is not missing.
        stride: Steps between windows, the fewest.
        device: What the network ran on.
    """
    density = {}
    if options.nll:
        scores = [result["nll"]["scores"] for result in results]
        density = {
            "nll": mean(scores),
            "nll_se": standard_error(scores),
            "nll_definitions": NLL | NLL_PARTS,
        }
    apart = ("windows", "protocols")
    ours = mean_entrant(results)
    entrants = {OURS: ours, **baselines}
    windows = {name: one["windows"] for name, one in entrants.items()}
    first = results[0].get("predictor")
    return {
        "format": FORMAT,
        "title": OURS if first is None else first["class"],
        "dataset": {**_dataset(data), "stride": stride},
        "observed_share": observed_share,
        "preset": options.preset,
        "config": _config(options),
        "seeds": options.seeds,
        "num_samples": options.num_samples,
        "metrics": ours["metrics"],
        "metrics_se": ours["metrics_se"],
        **density,
        "aggregates": ours["aggregates"],
        "per_seed": [{k: v for k, v in one.items() if k not in apart} for one in results],
        "network_calls": results[0]["network_calls"],
        "parameters": results[0]["parameters"],
        "seconds": {
            part: _sum([r["seconds"][part] for r in results]) for part in ("training", "sampling")
        },
        "baselines": {
            name: {k: v for k, v in one.items() if k not in apart}
            for name, one in baselines.items()
        },
        "protocols": {name: one["protocols"] for name, one in entrants.items()},
        "windows": windows,
        "comparisons": _comparisons(windows, data.prediction_length, stride),
        "definitions": definitions(),
        "protocol_definitions": {name: one.description for name, one in PROTOCOLS.items()},
        "versions": {
            "python": platform.python_version(),
            "timediff": __version__,
            **{name: version(name) for name in _PACKAGES},
        },
        "commit": commit(),
        "hardware": hardware(device),
    }


def as_json(record: dict[str, Any]) -> str:
    """The record as strict JSON: a score that is not defined is null."""
    return json.dumps(plain(record), indent=1)


def mean(rows: Sequence[dict[str, float | None]]) -> dict[str, float]:
    """Of each score over the seeds."""
    return {name: float(np.mean([_number(row[name]) for row in rows])) for name in rows[0]}


def standard_error(rows: Sequence[dict[str, float | None]]) -> dict[str, float | None]:
    """Of the mean over seeds; None for a single seed, which says nothing about it."""
    if len(rows) < 2:
        return dict.fromkeys(rows[0])
    return {
        name: float(np.std([_number(row[name]) for row in rows], ddof=1) / math.sqrt(len(rows)))
        for name in rows[0]
    }


def _dataset(data: Dataset) -> dict[str, Any]:
    return {
        "name": data.name,
        "series": len(data.columns),
        "freq": data.freq,
        "prediction_length": data.prediction_length,
        "windows": len(data.test),
        "train_length": data.train[0]["target"].shape[1],
        "checksum": data.checksum,
        "verified": data.verified,
        "source": data.source,
        "licence": data.licence,
        "published": [entry._asdict() for entry in data.published],
    }


def _config(options: Options) -> dict[str, Any]:
    return {
        "model": options.model._asdict(),
        "train": {k: v for k, v in options.train._asdict().items() if k != "seed"},
        "sampling": options.sampling.flat(),
        "validation_windows": options.validation_windows,
        "align_clock": options.align_clock,
        "windows": options.windows,
        "stride": options.stride,
        "history": options.history,
        "predictor": None if options.predictor is None else str(options.predictor),
        "rivals": [str(folder) for folder in options.rivals],
    }


def mean_entrant(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Scores, protocols and window losses as one entrant's: means over the seeds."""
    metrics, windows = [result["metrics"] for result in results], results[0]["windows"]
    return {
        "metrics": mean(metrics),
        "metrics_se": standard_error(metrics),
        "aggregates": {
            name: {"unit": one["unit"], **_mean_aggregate(results, name)}
            for name, one in results[0]["aggregates"].items()
        },
        "protocols": mean([result["protocols"] for result in results]),
        "windows": {
            name: np.mean([result["windows"][name] for result in results], axis=0).tolist()
            for name in windows
        },
    }


def _comparisons(
    windows: dict[str, dict[str, list[float]]], horizon: int, stride: int
) -> dict[str, dict[str, Any]]:
    """Ours against each other entrant, by the losses of `COMPARED` in each window."""
    overlap = overlapping(prediction_length=horizon, stride=stride)
    ours = windows[OURS][COMPARED]
    return {
        name: compare(ours, losses[COMPARED], overlap=overlap).as_dict()
        for name, losses in windows.items()
        if name != OURS
    }


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _mean_aggregate(results: list[dict[str, Any]], name: str) -> dict[str, float]:
    scores = [result["aggregates"][name] for result in results]
    return mean([{k: v for k, v in each.items() if k != "unit"} for each in scores])


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
