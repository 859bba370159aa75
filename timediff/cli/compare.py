"""``timediff compare A/ B/ ...``: records of `timediff.evaluate` side by side, on the terminal and as a page.

Where two runs forecast the same windows of the same data, their losses are compared window by window; where
they did not, a sentence says so.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from timediff.cli.base import Parser, fail
from timediff.errors import InputError
from timediff.metrics import title_of
from timediff.registry import METRICS
from timediff.report.columns import aligned

PROGRAM = "timediff compare"


class Run(NamedTuple):
    """A record and what it is called."""

    label: str
    record: dict[str, Any]


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=PROGRAM,
        allow_abbrev=False,
        description="Puts records side by side. The first is what the others are compared with, window by "
        "window where they forecast the same data.",
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folder with a record.json, or the file"
    )
    parser.add_argument("--out", type=Path, help="HTML page to write as well")
    return parser


def read_runs(places: Sequence[Path]) -> list[Run]:
    """Records of folders or files, named by the shortest ends of their paths that tell them apart.

    Raises:
        InputError: A record is missing, is none, or was written by an earlier version.
    """
    labels = _labels([place.parent if place.name == "record.json" else place for place in places])
    return [Run(label, _read(place)) for label, place in zip(labels, places, strict=True)]


def _read(place: Path) -> dict[str, Any]:
    from timediff.benchmark.record import FORMAT

    file = place / "record.json" if place.is_dir() else place
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"there is no record at {file}; give a folder that timediff evaluate wrote"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read as a record ({error})") from error
    if not isinstance(record, dict) or not {"dataset", "metrics", "seeds"} <= record.keys():
        raise InputError(f"{file} is no record; give a folder that timediff evaluate wrote")
    if record.get("format") != FORMAT:
        raise InputError(f"{file} was written by an earlier version; evaluate again to compare it")
    return record


def _labels(places: Sequence[Path]) -> list[str]:
    whole = [place.resolve().parts for place in places]
    for count in range(1, max(map(len, whole)) + 1):
        ends = ["/".join(parts[-count:]) for parts in whole]
        if len(set(ends)) == len(ends):
            return ends
    raise InputError("the same record is given twice; give each once")


def score_rows(runs: Sequence[Run]) -> list[list[str]]:
    """Title of each score and its value in each run, in the order of `timediff.registry.METRICS`."""
    from timediff.report.html import with_error

    names = [name for name in METRICS if any(name in run.record["metrics"] for run in runs)]
    rows = []
    for name in names:
        cells = []
        for _, record in runs:
            value, error = record["metrics"].get(name), record.get("metrics_se", {}).get(name)
            cells.append(with_error(value, error))
        rows.append([title_of(name), *cells])
    return rows


def fact_rows(runs: Sequence[Run]) -> list[list[str]]:
    """What was forecast and how, for each run."""
    from timediff.report.entrants import seconds_of
    from timediff.report.html import number

    facts = {
        "dataset": lambda r: r["dataset"]["name"],
        "model": lambda r: str(r.get("title", "timediff")),
        "windows": lambda r: str(r["dataset"]["windows"]),
        "paths": lambda r: str(r["num_samples"]),
        "seeds": lambda r: str(len(r["seeds"])),
        "preset": lambda r: str("–" if _given(r) else r.get("preset", "–")),
        "seconds, all seeds": lambda r: number(seconds_of(r), 1),
        "timediff": lambda r: str(r.get("versions", {}).get("timediff", "–")),
    }
    return [[name, *(find(run.record) for run in runs)] for name, find in facts.items()]


def _given(record: dict[str, Any]) -> bool:
    """Whether it is of a predictor that was given, to which no preset belongs."""
    return record.get("config", {}).get("predictor") is not None


def differences(runs: Sequence[Run]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Paired comparisons of the first run with each other one, and sentences about those not to be had."""
    from timediff.metrics.paired import compare

    first, *others = runs
    found, said = {}, []
    for run in others:
        reason = _unlike(first, run)
        if reason:
            said.append(
                f"{first.label} and {run.label} are not compared window by window: {reason}."
            )
            continue
        mine, theirs = (_losses(one.record) for one in (first, run))
        overlap = max(_overlap(one.record) for one in (first, run))
        found[run.label] = compare(mine, theirs, overlap=overlap).as_dict()
    return found, said


def _unlike(a: Run, b: Run) -> str:
    """Why two runs cannot be compared window by window; empty if they can."""
    one, other = a.record["dataset"], b.record["dataset"]
    if one["checksum"] != other["checksum"]:
        same = one["name"] == other["name"]
        what = f"both of {one['name']}, but with other values" if same else (
            f"of {one['name']} and of {other['name']}"
        )  # fmt: skip
        return f"they are {what}, so their scores say nothing about which is better"
    without = [run.label for run in (a, b) if not _losses(run.record)]
    if without:
        return f"{' and '.join(without)} has no losses per window"
    if len(_losses(a.record)) != len(_losses(b.record)) or any(
        one[key] != other[key] for key in ("windows", "prediction_length", "train_length")
    ):
        return "they forecast other windows"
    return ""


def _losses(record: dict[str, Any]) -> list[float]:
    from timediff.benchmark.record import COMPARED, OURS

    losses = record.get("windows", {}).get(OURS, {}).get(COMPARED, [])
    return [float("nan") if value is None else value for value in losses]


def _overlap(record: dict[str, Any]) -> int:
    """Of its windows; records of earlier versions have no stride, but say it of their comparisons."""
    from timediff.metrics.paired import overlapping

    data = record["dataset"]
    if "stride" in data:
        return overlapping(prediction_length=data["prediction_length"], stride=data["stride"])
    return max((one["overlap"] for one in record.get("comparisons", {}).values()), default=0)


def as_text(runs: Sequence[Run]) -> str:
    """The table for a terminal."""
    from timediff.report.sections import COMPARISON_HEAD, comparison_cells

    found, said = differences(runs)
    head = ["", *(run.label for run in runs)]
    parts = [aligned([head, *fact_rows(runs)]), aligned(score_rows(runs))]
    if found:
        rows = [[label, *comparison_cells(one)] for label, one in found.items()]
        title = f"CRPS_sum window by window: {runs[0].label}"
        parts.append([title, *aligned([["against", *COMPARISON_HEAD], *rows])])
    return "\n\n".join([*map("\n".join, parts), *said])


def as_html(runs: Sequence[Run]) -> str:
    """The same as a self-contained page."""
    from timediff.report.html import escape, page, table
    from timediff.report.sections import comparison_table

    found, said = differences(runs)
    head = ["", *(run.label for run in runs)]
    body = "<h2>Runs</h2>\n" + table(head, fact_rows(runs), caption="What was run")
    body += "<h2>Scores</h2>\n" + table(
        head, score_rows(runs), caption="Mean ± standard error over seeds, where there are several"
    )
    if found or said:
        body += "<h2>Paired comparisons</h2>\n"
    if found:
        body += comparison_table(found, {label: label for label in found}, ours=runs[0].label)
    body += "".join(f"<p>{escape(sentence)}</p>\n" for sentence in said)
    return page("Forecasts compared", body)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = make_parser()
    args = parser.parse_args(argv)
    try:
        runs = read_runs(args.runs)
        text = as_text(runs)
        if args.out is not None:
            _write(args.out, as_html(runs))
    except InputError as error:
        fail(PROGRAM, str(error), hint="")  # of the data mostly, and with a way out of its own
    except KeyboardInterrupt:
        print(f"\n{PROGRAM}: interrupted", file=sys.stderr)
        return 130
    print(text)
    if args.out is not None:
        print(f"\npage  {args.out}")
    return 0


def _write(out: Path, text: str) -> None:
    from timediff.report.html import write_page

    if out.is_dir():
        raise InputError(f"{out} is a folder; give --out a file such as {out / 'compare.html'}")
    write_page(out, text)


if __name__ == "__main__":
    sys.exit(main())
