"""``timediff check DATA``: what will be read of a table, what to know of it, what training would take."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from timediff.cli.base import fail, import_plugins
from timediff.cli.configs import ConfigParser, configs_of, parse_with_preset
from timediff.cli.estimate import check_memory, estimate
from timediff.cli.jobs import add_training_options, check_outputs
from timediff.cli.said import run_kept
from timediff.cli.tables import facts, lines_of, read_table, reading_of
from timediff.config import Preset
from timediff.errors import InputError
from timediff.tools.files import plain

__all__ = ["PROGRAM", "main", "make_parser"]

PROGRAM = "timediff check"


def make_parser(preset: str) -> ArgumentParser:
    """The command line, with the defaults of a preset."""
    parser = ConfigParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} DATA [OPTION ...]",
        description="Says what will be read of a table, what to know of it (gaps, constant and "
        "copied columns, level shifts, covariates that give the target away), and what training would take. "
        "Nothing is trained.",
        epilog=f"examples:\n  {PROGRAM} data.csv --horizon 24",
    )
    parser.add_argument("data", type=Path, help="CSV, Parquet or Feather file")
    parser.add_argument("--horizon", type=int, default=24, help="steps to forecast")
    add_training_options(parser, preset)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of the command."""
    try:
        argv = import_plugins(sys.argv[1:] if argv is None else argv)
    except InputError as error:
        fail(PROGRAM, str(error))
    args, early = parse_with_preset(PROGRAM, make_parser, argv)
    configs = configs_of(PROGRAM, args, early)
    try:
        check_outputs(args)
    except InputError as error:
        fail(PROGRAM, str(error))
    return run_kept(
        PROGRAM,
        lambda: _work(args, configs),
        log_file=args.log_file,
        quiet=args.quiet,
        kept=lambda: "nothing was written",
    )


def _work(args: Any, configs: Preset) -> None:
    from timediff.data.check import check_table

    table = read_table(args.data, reading_of(args))
    found = check_table(table, args.horizon)
    known = facts(args.data, table)
    cost = estimate(configs, series=known["series"], steps=known["steps"], horizon=args.horizon)
    check_memory(cost, args.max_memory)
    if args.json:
        print(json.dumps(plain({"read": known, "found": found, "cost": cost}), indent=1))
        return
    print("\n".join([*lines_of(known), *(found or ["nothing else to remark"])]))
    print(f"timediff forecast {args.data} --horizon {args.horizon}: {cost}")


if __name__ == "__main__":
    sys.exit(main())
