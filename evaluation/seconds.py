"""Tables of single benchmarks, such as two versions side by side, first answers, threads, jobs."""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from scoreboard import table

from timediff.report.numbers import value

__all__ = ["exported", "jobs", "served", "starts", "threads", "versions", "wide"]

#: Kinds of jobs.
KINDS = ("empty", "real")
RESULTS = Path(__file__).resolve().parent / "results"


def _read(name: str) -> dict[str, Any] | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def versions() -> str | None:
    """Seconds of forecasts and of training steps, now and before; None before the record is made."""
    record = _read("versions")
    if record is None:
        return None
    rows = [["", "seconds now", "seconds before", "times as fast"]]
    for row in record["rows"]:
        what = f"D = {row['dim']}, a training step"
        if row["do"] == "forecast":
            windows = f"{row['windows']} window" + "s" * (row["windows"] > 1)
            what = f"D = {row['dim']}, 100 paths of {windows}"
        rows.append([what, value(row["now"]), value(row["before"]), f"{row['times as fast']:.2f}"])
    return (
        f"{table(rows)}\n\nCommit {record['commit'][:7]} beside {record['before']}, "
        f"{record['threads']} threads; medians of rounds in which both took turns. "
        "All paths are the network's."
    )


def starts() -> str | None:
    """What a first answer takes; None before both records are made."""
    forecast, answer = _read("first_forecast"), _read("first_answer")
    if forecast is None or answer is None:
        return None
    rows = [
        ["", "measured", "target"],
        [
            f"`timediff predict`, D = {forecast['dims']}: CPU seconds over those of the imports",
            f"{forecast['ratio']:.2f}",
            f"<= {forecast['target']}",
        ],
        *(
            [
                f"`timediff forecast` of the example table, seconds to {what}",
                value(answer["seconds"][name]),
                f"<= {answer['targets'][name]:g}",
            ]
            for name, what in (("answer", "the plan"), ("forecast", "forecast and picture"))
        ),
    ]
    return table(rows)


def served() -> str | None:
    """A served model under load; None before the record is made."""
    record = _read("serving")
    if record is None:
        return None
    models = record["models"]

    def row(what: str, cell: Callable[[dict[str, Any]], str]) -> list[str]:
        return [what, *(cell(model) for model in models)]

    rows = [
        row(
            "",
            lambda model: (
                f"{model['model']}: {model['channels']} channels, {model['steps']} steps, "
                f"{model['paths']} paths"
            ),
        ),
        row("requests, clients", lambda model: f"{model['requests']:,}, {model['clients']}"),
        row("requests a second", lambda model: f"{model['requests_per_second']:.1f}"),
    ]
    for name, title in (("median", "median"), ("p99", "99th percentile"), ("most", "slowest")):
        rows.append(
            row(
                f"milliseconds to the answer, {title}",
                lambda model, name=name: f"{model['milliseconds'][name]:.1f}",
            )
        )
    rows += [
        row(
            "memory before, half-way, at the end, MB",
            lambda model: ", ".join(
                f"{model['memory_megabytes'][place]:.0f}"
                for place in (0, len(model["memory_megabytes"]) // 2, -1)
            ),
        ),
        row(
            "broken bodies answered with 422",
            lambda model: (
                f"{model['answers']['broken'].get('422', 0)} of {sum(model['answers']['broken'].values())}"
            ),
        ),
        row(
            "a forecast that ran at SIGTERM, exit status",
            lambda model: f"{model['stop']['answered']}, {model['stop']['exit_status']}",
        ),
    ]
    hardware = record["hardware"]
    return (
        f"{table(rows)}\n\n{hardware['cpu']}, {hardware['cores']} cores, which clients and server share; "
        f"{models[0]['concurrency']} forecast at a time."
    )


def jobs() -> str | None:
    """What a job costs beside its own work; None before the record is made."""
    record = _read("jobs")
    if record is None:
        return None
    rows = [["", "seconds between jobs: empty", "real", "seconds to the first: empty", "real"]]
    for way, kinds in record["ways"].items():
        name = f"{kinds['real']['processes']} processes" if way == "local" else way
        cells = [f"{kinds[kind][part]:.2g}" for part in ("overhead", "start") for kind in KINDS]
        rows.append([name, *cells])
    own = record["ways"]["one process"]["real"]["job"]
    return f"{table(rows)}\n\nA real job, a random walk over {record['dataset']}, takes {own:.2g} s itself."


def peers() -> str | None:
    """Seconds to a score, and of sampling, beside other models; None before the record is made."""
    record = _read("peers")
    if record is None:
        return None
    heads = (f"training s to CRPS_sum {record['score']:g}", "best CRPS_sum", "its training s")
    rows = [["", *heads, "sampling s"]]
    for name, found in record["peers"].items():
        best = min(found["trainings"], key=lambda row: row["CRPS_sum"])
        reached = found["seconds_to_score"]
        cells = ["not reached" if reached is None else f"{reached:.3g}", f"{best['CRPS_sum']:.3g}"]
        seconds = (best["training_seconds"], found["sampling_seconds"])
        rows.append([name, *cells, *(f"{each:.2g}" for each in seconds)])
    packages = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    return (
        f"{table(rows)}\n\n{record['dataset']}, {record['windows']} windows of {record['paths']} paths, "
        f"{record['hardware']['threads']} thread; {packages}."
    )


def threads() -> str | None:
    """Seconds of trainings by their threads, over the least; None before the record is made."""
    record = _read("threads")
    if record is None:
        return None
    rows = [["over the better of one and two", *record["loads"], "seconds, alone"]]
    for name in next(iter(record["loads"].values()))["ratios"]:
        cells = [f"{load['ratios'][name]:.2f}" for load in record["loads"].values()]
        alone = [each[name]["seconds"] for each in record["loads"]["alone"]["rounds"]]
        rows.append([name, *cells, value(median(alone))])
    targets = [f"<= {record['targets'][load]:g}" for load in record["loads"]]
    rows.append(["target of chosen", *targets, ""])
    return (
        f"{table(rows)}\n\n{record['dataset']}, {record['steps']} steps, {record['busy']} busy processes; "
        "before: two threads that spin while they wait."
    )


def wide() -> str | None:
    """Seconds and memory against the number of series; None before the record is made."""
    record = _read("wide")
    if record is None:
        return None
    rows = [["series", "training s", "forecast s", "GB at the most"]]
    for row in record["rows"]:
        gigabytes = f"{row['peak_bytes'] / 1e9:.2f}"
        cells = [value(row[name]) for name in ("training_seconds", "forecast_seconds")]
        rows.append([str(row["dim"]), *cells, gigabytes])
    if record["slopes"]:
        rows.append(
            ["slope from 1,000 on", *(f"{found:.2f}" for found in record["slopes"].values())]
        )
    return (
        f"{table(rows)}\n\nTraining of {record['steps']} steps with all that comes before and after them, "
        f"100 paths of a day, {record['threads']} threads; target of a slope <= {record['target']:g}."
    )


def exported() -> str | None:
    """What an exported model takes beside its predictor; None before the record is made."""
    record = _read("exported")
    if record is None:
        return None
    dims = list(record["results"])
    rows = [["exported / torch", *(f"D = {d}" for d in dims)]]
    for name, what in {
        "seconds": "seconds of a forecast, loaded before",
        "start_seconds": "seconds of a fresh process with one forecast",
        "start_bytes": "largest memory of that process",
        "package_bytes": "size on the disk of the packages that it loads",
        "model_bytes": "size of the model's folder",
    }.items():
        ratios = (record["results"][d]["ratio"][name] for d in dims)
        rows.append([what, *(f"{ratio:.2f}" for ratio in ratios)])
    off = (record["results"][d]["off"] for d in dims)
    rows.append(
        ["largest difference of paths, in deviations of a series", *(f"{o:.0e}" for o in off)]
    )
    with_seconds = (f"{record['results'][d]['export_seconds']:.0f} s (D = {d})" for d in dims)
    return (
        f"{table(rows)}\n\n{record['hardware']['cpu']}, commit {(record['commit'] or '')[:7]}, torch "
        f"{record['versions']['torch']}, onnxruntime {record['versions']['onnxruntime']}. To export took "
        f"{', '.join(with_seconds)}."
    )
