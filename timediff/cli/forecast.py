"""``timediff forecast DATA --horizon 24``: train on a table and forecast what follows its last row.

This module only reads the command line and the table; torch is imported when these are known to make sense.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser

from timediff.cli.base import fail, import_plugins
from timediff.cli.configs import ConfigParser, configs_of, parse_with_preset
from timediff.cli.jobs import (
    Plan,
    add_forecast_options,
    add_training_options,
    check_outputs,
    chosen,
    fit,
    plan,
    report,
    trained,
)
from timediff.cli.resuming import Training, add_resume, settings_of
from timediff.cli.said import run_kept, say
from timediff.cli.tables import add_future_file, read_future, reading_of, told
from timediff.cli.written import draw, write_frame
from timediff.config import Preset
from timediff.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from timediff.forecaster.forecaster import Forecaster

__all__ = ["PROGRAM", "deliver", "main", "make_parser"]

PROGRAM = "timediff forecast"
_EXAMPLES = """examples:
  timediff forecast data.csv --horizon 24 --plot forecast.png
  timediff forecast data.csv --horizon 24 --out paths.parquet --paths --save model
  timediff forecast sales.csv --horizon 14 --id-col store --time-col day --target-col sold
  timediff forecast load.csv --horizon 24 --futr temperature --futr-file tomorrow.csv --tz Europe/Berlin"""


def make_parser(preset: str) -> ArgumentParser:
    """The command line, with the defaults of a preset."""
    parser = ConfigParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} DATA --horizon STEPS [OPTION ...]",
        description="Trains on all rows of a table, long or wide, and forecasts what follows the last one: a "
        "table with mean, median and intervals of each series and step, or the joint sample paths.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("data", type=Path, help="CSV, Parquet or Feather file")
    parser.add_argument("--horizon", type=int, required=True, help="steps to forecast")
    add_forecast_options(parser)
    parser.add_argument(
        "--save", type=Path | None, help="folder for the model, for timediff predict and train"
    )
    add_future_file(parser)
    add_resume(parser)
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
    saved: list[Path] = []
    training = Training(args.out)

    def kept() -> str:
        if saved:
            return f"the model is kept: timediff predict {saved[0]} --out {args.out} goes on"
        if training.is_kept:
            return "what was trained is kept: the same command with --resume goes on from there"
        return (
            "nothing was written; the same command starts again, a shorter one with --time-budget"
        )

    try:
        check_outputs(args, folder="--save")
    except InputError as error:
        fail(PROGRAM, str(error))
    work = lambda: _work(args, configs, training, saved)  # noqa: E731
    return run_kept(PROGRAM, work, log_file=args.log_file, quiet=args.quiet, kept=kept)


def _work(args: Any, configs: Preset, training: Training, saved: list[Path]) -> None:
    configs = chosen(args, configs)
    if bool(args.futr) != (args.futr_file is not None):
        raise InputError("--futr and --futr-file go together; give both, or neither")
    reading = reading_of(args)
    future = None if args.futr_file is None else read_future(args.futr_file, reading)
    planned = plan(args, configs, f"forecasting {args.horizon} steps: training")
    if future is not None:
        _check_future(args, planned, future)
    settings = settings_of(args, planned.configs)
    with training.held(settings, resume=args.resume, quiet=args.quiet):
        forecaster = trained(args, planned, training, partial(fit, args, planned))
        try:
            if args.save is not None:
                forecaster.save(args.save, overwrite=True)
                saved.append(args.save)
            with told(args.data):
                deliver(args, forecaster, None, future, planned.known, began=planned.began)
        except InputError:  # of what the training does not look at
            say(
                "what was trained is kept: the same command with --resume goes on from there",
                quiet=args.quiet,
            )
            raise


def _check_future(args: Any, planned: Plan, future: "pd.DataFrame") -> None:
    """Raises `InputError` for a future that the forecast could not be made with, before the training."""
    from timediff.data.readers.layout import roles_of
    from timediff.forecaster.frames import Columns
    from timediff.forecaster.reading import read_training
    from timediff.forecaster.rows import future_covariates

    reading = reading_of(args)
    frame = planned.table.to_frame(roles_of(reading))
    columns = Columns(reading.id_col, reading.time_col, reading.target_col)
    exogenous = (reading.futr, reading.hist, args.stat)
    with told(args.data):
        known, layout, _ = read_training(
            frame, planned.static, columns, planned.known["freq"], reading.tz, *exogenous
        )
        for one in known.values():
            future_covariates(future, one, layout, args.horizon)


def deliver(
    args: Any,
    forecaster: "Forecaster",
    frame: "pd.DataFrame | None",
    future: "pd.DataFrame | None",
    known: dict[str, Any],
    *,
    began: float,
) -> None:
    """Draws a forecast, writes it, and says where it is.

    Args:
        args: Of the command.
        forecaster: A trained one.
        frame: What is forecast from, if it is not the training data.
        future: Covariates known ahead.
        known: What was read.
        began: When the command did.
    """
    forecast = forecaster.forecast(frame, future, n_paths=args.num_samples, seed=args.seed)
    table: Any = (
        forecast.to_frame() if args.paths else forecast.to_quantile_frame(level=args.levels)
    )
    write_frame(table, args.out)
    if args.plot is not None:
        draw(forecast, args.plot)
    done = {
        "read": known,
        "horizon": len(forecast.stamps),
        "first": str(forecast.stamps[0]),
        "last": str(forecast.stamps[-1]),
        "num_samples": args.num_samples,
        "seed": args.seed,
        "choices": forecaster.choices,
        "out": args.out,
        "plot": args.plot,
        "model": args.get("save"),
    }
    report(args, done, files=("out", "plot", "model"), began=began)


if __name__ == "__main__":
    sys.exit(main())
