"""``timediff predict MODEL [DATA]``: the forecast of a saved model, without training."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from timediff.cli.base import fail, import_plugins
from timediff.cli.configs import ConfigParser, add_config, add_plugin
from timediff.cli.forecast import deliver
from timediff.cli.jobs import add_forecast_options, add_output_options, check_outputs
from timediff.cli.models import saved_model
from timediff.cli.said import run_kept, say
from timediff.cli.tables import (
    add_future_file,
    add_table_options,
    facts,
    lines_of,
    read_future,
    read_table,
    reading_of,
    told,
)
from timediff.errors import InputError

__all__ = ["PROGRAM", "main", "make_parser"]

PROGRAM = "timediff predict"


def make_parser() -> ArgumentParser:
    """The command line."""
    parser = ConfigParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} MODEL [DATA] [OPTION ...]",
        description="Forecasts with a saved model what follows a table, or the training data, "
        "without training. Columns, frequency and zone are those of the training.",
        epilog="examples:\n"
        f"  {PROGRAM} model new.csv --out forecast.parquet --plot forecast.png\n"
        f"  {PROGRAM} model new.csv --paths --num-samples 1000 --seed 7",
    )
    parser.add_argument("model", type=Path, help="folder that a model was saved to")
    parser.add_argument(
        "data",
        type=Path | None,
        nargs="?",
        help="CSV, Parquet or Feather file; by default the training data",
    )
    add_forecast_options(parser)
    add_future_file(parser)
    parser.add_argument("--seed", type=int, default=1, help="of the paths")
    add_output_options(parser)
    add_config(parser)
    add_plugin(parser)
    add_table_options(parser, fixed=True)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of the command."""
    try:
        argv = import_plugins(sys.argv[1:] if argv is None else argv)
    except InputError as error:
        fail(PROGRAM, str(error))
    args = make_parser().parse_args(list(argv))
    try:
        check_outputs(args)
    except InputError as error:
        fail(PROGRAM, str(error))
    return run_kept(
        PROGRAM,
        lambda: _work(args),
        log_file=args.log_file,
        quiet=args.quiet,
        kept=lambda: f"the model in {args.model} is as it was; the same command starts again",
    )


def _work(args: Any) -> None:
    began = time.monotonic()
    saved = saved_model(args.model, "MODEL")
    if not 0 <= args.seed < 2**63:
        raise InputError(f"--seed is {args.seed}; it must lie in 0 .. 2**63 - 1")
    reading = reading_of(args)._replace(**saved.reading)
    if bool(reading.futr) != (args.futr_file is not None):
        need = f"needs the future of {', '.join(reading.futr)}" if reading.futr else "takes none"
        raise InputError(
            f"the model in {args.model} {need}; {'give' if reading.futr else 'leave out'} --futr-file"
        )
    future = None if args.futr_file is None else read_future(args.futr_file, reading)
    frame, known = None, dict[str, Any]()
    if args.data is not None:
        table = read_table(args.data, reading)
        known = facts(args.data, table)
        for line in lines_of(known):
            say(line, quiet=args.quiet)
        from timediff.data.readers.layout import roles_of

        frame = table.to_frame(roles_of(reading))
    say(f"forecasting {saved.horizon} steps with {args.model}, without training", quiet=args.quiet)

    from timediff.forecaster.forecaster import Forecaster

    with told(args.data):
        forecaster = Forecaster.load(args.model, progress=not args.quiet)
        deliver(args, forecaster, frame, future, known, began=began)


if __name__ == "__main__":
    sys.exit(main())
