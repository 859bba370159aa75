"""``timediff train DATA --horizon 24 --out model``: a model for later forecasts."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser

from timediff.cli.base import fail, import_plugins
from timediff.cli.configs import ConfigParser, configs_of, parse_with_preset
from timediff.cli.jobs import (
    add_training_options,
    check_outputs,
    chosen,
    fit,
    plan,
    report,
    trained,
)
from timediff.cli.models import saved_model
from timediff.cli.resuming import Training, add_resume, settings_of
from timediff.cli.said import run_kept
from timediff.config import Preset
from timediff.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from timediff.forecaster.forecaster import Forecaster

__all__ = ["PROGRAM", "main", "make_parser"]

PROGRAM = "timediff train"


def make_parser(preset: str) -> ArgumentParser:
    """The command line, with the defaults of a preset."""
    parser = ConfigParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} DATA --horizon STEPS --out MODEL [OPTION ...]",
        description="Trains on all rows of a table and keeps the model in a folder, from "
        "which timediff predict forecasts without training.",
        epilog="examples:\n"
        f"  {PROGRAM} data.csv --horizon 24 --out model\n"
        f"  {PROGRAM} new.csv --from model --out newer --steps 50",
    )
    parser.add_argument("data", type=Path, help="CSV, Parquet or Feather file")
    parser.add_argument(
        "--horizon", type=int | None, help="steps to forecast; that of --from where this is given"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument(
        "--from",
        dest="from_model",
        type=Path | None,
        help="folder of a saved model, whose weights, network and columns training goes on with",
    )
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
    try:
        check_outputs(args, folder="--out")
    except InputError as error:
        fail(PROGRAM, str(error))
    training = Training(args.out)

    def kept() -> str:
        before = (
            f"no model was written{f'; {args.from_model} is as it was' if args.from_model else ''}"
        )
        if training.is_kept:
            return f"{before}; the same command with --resume goes on with the training"
        return f"{before}; the same command starts again"

    work = lambda: _work(args, configs, training)  # noqa: E731
    return run_kept(PROGRAM, work, log_file=args.log_file, quiet=args.quiet, kept=kept)


def _work(args: Any, configs: Preset, training: Training) -> None:
    configs = chosen(args, configs)
    if args.from_model is not None:
        configs = _as_before(args, configs)
    elif args.horizon is None:
        raise InputError("--horizon says how many steps to forecast; give it")
    planned = plan(args, configs, f"for {args.horizon} steps: training")

    def make(forecaster: "Forecaster", frame: "pd.DataFrame", state: Path | None) -> "Forecaster":
        if args.from_model is not None:
            before = type(forecaster).load(args.from_model, progress=not args.quiet)
            before.train, before.trainer_kwargs = configs.train, forecaster.trainer_kwargs
            return before.update(frame, ckpt_path=state)
        return fit(args, planned, forecaster, frame, state)

    settings = settings_of(args, planned.configs)
    with training.held(settings, resume=args.resume, quiet=args.quiet):
        forecaster = trained(args, planned, training, make)
        forecaster.save(args.out, overwrite=True)
    done = {
        "read": planned.known,
        "horizon": args.horizon,
        "seed": args.seed,
        "choices": forecaster.choices,
        "model": args.out,
    }
    report(args, done, files=("model",), began=planned.began)


def _as_before(args: Any, configs: Preset) -> Preset:
    """The configurations of the saved model, trained as is asked for now; its columns and horizon too."""
    before = saved_model(args.from_model, "--from")
    horizon = before.horizon
    if args.horizon not in (None, horizon):
        raise InputError(
            f"--horizon is {args.horizon}, but {args.from_model} forecasts {horizon} steps; leave it out"
        )
    args.horizon = before.horizon
    for name, value in before.reading.items():
        args[name] = value
    return configs._replace(model=before.model, sampling=before.sampling)


if __name__ == "__main__":
    sys.exit(main())
