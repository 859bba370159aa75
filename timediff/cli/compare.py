"""``timediff compare A/ B/ ...``: records of `timediff.evaluate` side by side, on the terminal and as a page.

Where two runs forecast the same windows of the same data, their losses are compared window by window; where
they did not, a sentence says so.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from timediff.cli.base import Parser, fail, import_plugins, run_command
from timediff.errors import InputError
from timediff.registry import METRICS
from timediff.report.columns import aligned

if TYPE_CHECKING:
    from timediff.benchmark.record import Record

__all__ = ["PROGRAM", "as_html", "as_text", "fact_rows", "main", "make_parser", "score_rows"]

PROGRAM = "timediff compare"


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


def score_rows(runs: Mapping[str, "Record"]) -> list[list[str]]:
    """Title of each score and its value in each run, in the order of `timediff.registry.METRICS`."""
    from timediff.report import scores

    results = [record.evaluated for record in runs.values()]
    names = [name for name in METRICS if any(name in result.metrics for result in results)]
    return scores.score_rows(names, results)


def fact_rows(runs: Mapping[str, "Record"]) -> list[list[str]]:
    """What was forecast and how, for each run."""
    from timediff.report import numbers

    columns = [
        {
            "dataset": record.dataset.name,
            "model": record.evaluated.title,
            "windows": str(record.dataset.windows),
            "paths": str(record.num_samples),
            "seeds": str(len(record.evaluated.seeds)),
            "preset": record.preset if record.evaluated.kind == "ours" else numbers.DASH,
            "seconds, all seeds": numbers.seconds(record.evaluated.seconds.total),
            "timediff": record.versions.get("timediff", numbers.DASH),
        }
        for record in runs.values()
    ]
    return [[name, *(column[name] for column in columns)] for name in columns[0]]


def as_text(runs: Mapping[str, "Record"]) -> str:
    """The table for a terminal."""
    from timediff.benchmark.comparison import compare
    from timediff.report import comparisons as paired

    comparisons, sentences = compare(runs)
    parts = [aligned([["", *runs], *fact_rows(runs)]), aligned(score_rows(runs))]
    if comparisons:
        parts.append(paired.as_text(comparisons, ours=next(iter(runs))))
    return "\n\n".join([*map("\n".join, parts), *sentences])


def as_html(runs: Mapping[str, "Record"]) -> str:
    """The same as a self-contained page."""
    from timediff.benchmark.comparison import compare
    from timediff.report import comparisons as paired
    from timediff.report.html import escape, page, table

    comparisons, sentences = compare(runs)
    head = ["", *runs]
    body = "<h2>Runs</h2>\n" + table(head, fact_rows(runs), caption="What was run")
    body += "<h2>Scores</h2>\n" + table(
        head, score_rows(runs), caption="Mean ± standard error over seeds, where there are several"
    )
    if comparisons or sentences:
        body += "<h2>Paired comparisons</h2>\n"
    if comparisons:
        body += paired.as_html(comparisons, ours=next(iter(runs)))
    body += "".join(f"<p>{escape(sentence)}</p>\n" for sentence in sentences)
    return page("Forecasts compared", body)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of the command."""
    parser = make_parser()
    try:
        args = parser.parse_args(import_plugins(sys.argv[1:] if argv is None else argv))
    except InputError as error:
        fail(PROGRAM, str(error))

    def work() -> None:
        from timediff.benchmark.comparison import read_runs

        runs = read_runs(args.runs)
        text = as_text(runs)
        if args.out is not None:
            _write(args.out, as_html(runs))
        print(text)
        if args.out is not None:
            print(f"\npage  {args.out}")

    return run_command(PROGRAM, work)


def _write(out: Path, text: str) -> None:
    from timediff.tools.files import write_text

    if out.is_dir():
        raise InputError(f"{out} is a folder; give --out a file such as {out / 'compare.html'}")
    write_text(out, text)


if __name__ == "__main__":
    sys.exit(main())
