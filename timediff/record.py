"""The record of an evaluation: what was run on what, how it scored, and the table a person reads.

A record is a dictionary of plain values, the same for the same options and data but for seconds,
commit and machine.
"""

import json
import math
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from timediff import __version__
from timediff.config import Options
from timediff.datasets import Dataset
from timediff.metrics import METRICS, TITLES

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
_PACKAGES = ("torch", "gluonts", "lightning", "numpy", "pandas")


def make_record(
    options: Options,
    data: Dataset,
    results: list[dict[str, Any]],
    *,
    baseline: dict[str, Any],
    observed_share: float,
    device: str,
) -> dict[str, Any]:
    """The record of one result per seed: means, standard errors, and all that led to them."""
    metrics = [result["metrics"] for result in results]
    density = {}
    if options.nll:
        scores = [result["nll"]["scores"] for result in results]
        density = {
            "nll": mean(scores),
            "nll_se": standard_error(scores),
            "nll_definitions": NLL | NLL_PARTS,
        }
    return {
        "dataset": _dataset(data),
        "observed_share": observed_share,
        "preset": options.preset,
        "config": _config(options),
        "seeds": options.seeds,
        "num_samples": options.num_samples,
        "metrics": mean(metrics),
        "metrics_se": standard_error(metrics),
        **density,
        "aggregates": {
            name: {"unit": aggregate.unit, **_mean_aggregate(results, name)}
            for name, aggregate in data.aggregates.items()
        },
        "per_seed": results,
        "network_calls": results[0]["network_calls"],
        "parameters": results[0]["parameters"],
        "seconds": {
            part: sum(r["seconds"][part] for r in results) for part in ("training", "sampling")
        },
        "baselines": {"seasonal_naive": baseline},
        "definitions": METRICS,
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


def as_text(record: dict[str, Any], out: Path) -> str:
    """The table a person reads, and where everything is."""
    rows = _rows(record)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    dataset, seconds, seeds = record["dataset"], record["seconds"], record["seeds"]
    head = (
        f"{dataset['name']}: {dataset['series']} series, horizon {dataset['prediction_length']}, "
        f"{dataset['windows']} windows, {record['num_samples']} paths, "
        f"{'seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))}"
    )
    density = []
    if "nll" in record:
        first = record["per_seed"][0]["nll"]
        density = [
            f"in bits: bound {record['nll']['bound_bits']:.4f}, likelihood "
            f"{record['nll']['nll_bits']:.4f}; {first['windows']} windows scored, "
            f"{first['left_out']} with missing targets left out",
            f"terms    {out / 'nll.png'}",
        ]
    tail = [
        f"training {seconds['training']:.0f} s, sampling {seconds['sampling']:.1f} s, "
        f"{record['network_calls']} network calls per forecast, on {record['hardware']['device']}",
        "CRPS_sum is mean_wquantile_loss_sum, the published definition",
        *(f"published: {entry['model']}, {entry['source']}" for entry in dataset["published"]),
        f"table    {out / 'table.txt'}",
        f"record   {out / 'record.json'}",
        f"picture  {out / 'forecast.png'}",
        f"paths    {out / 'forecasts.parquet'}",
        *density,
    ]
    return "\n".join([head, "", *lines, "", *tail])


def _rows(record: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Head and one line for each score: ours, the baseline's, the published."""
    baseline = record["baselines"]["seasonal_naive"]
    published = {entry["metric"]: entry for entry in record["dataset"]["published"]}
    season = f"season {baseline['season']}" if baseline["season"] > 1 else "random walk"
    rows = [("", "timediff", f"seasonal naive ({season})", "published" if published else "")]
    for name, title in TITLES.items():
        ours, error = record["metrics"][name], record["metrics_se"][name]
        value = f"{ours:.4f}" + (f" ± {error:.4f}" if error is not None else "")
        entry = published.get(name)
        theirs = f"{entry['value']:g} ± {entry['error']:g}" if entry else ""
        rows.append((title, value, f"{baseline[name]:.4f}", theirs))
    for name, ours in record["aggregates"].items():
        naive = baseline["aggregates"][name]["crps_units"]
        title = f"CRPS of {name} ({ours['unit']})"
        rows.append((title, f"{ours['crps_units']:.4f}", f"{naive:.4f}", ""))
    for name, title in NLL_TITLES.items() if "nll" in record else ():
        nats, error = record["nll"][name], record["nll_se"][name]
        value = f"{nats:.4f}" + (f" ± {error:.4f}" if error is not None else "")
        rows.append((f"{title}, nats per dimension", value, "", ""))
    return rows


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


def plain(value: Any) -> Any:
    """The same in types that strict JSON has: what is not finite is None."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def commit() -> str | None:
    """The commit this code was checked out at, with ``+`` for changes since; None for an installed wheel."""
    home = Path(__file__).resolve().parents[1]
    if not (home / ".git").exists():
        return None
    try:
        head, changed = (
            subprocess.run(
                ["git", "-C", str(home), *ask], capture_output=True, text=True, check=True
            ).stdout.strip()
            for ask in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", "timediff"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


def hardware(device: str) -> dict[str, Any]:
    """Device, processor and threads that the seconds belong to."""
    import torch  # not above: those who only read records need not wait for it

    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    found = {
        "device": device,
        "cpu": names[0] if names else model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if device.startswith("cuda"):
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


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
        "sampling": options.sampling._asdict(),
        "validation_windows": options.validation_windows,
        "align_clock": options.align_clock,
    }


def _mean_aggregate(results: list[dict[str, Any]], name: str) -> dict[str, float]:
    scores = [result["aggregates"][name] for result in results]
    return mean([{k: v for k, v in each.items() if k != "unit"} for each in scores])


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
