"""Tables of single benchmarks: two versions side by side, first answers, exported models beside torch's."""

import json
from pathlib import Path
from typing import Any

from scoreboard import table

from timediff.report.numbers import value

__all__ = ["exported", "starts", "versions"]

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
