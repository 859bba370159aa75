"""``timediff distill FOLDER --dataset NAME --out FOLDER``: few network calls a time step.

This module only reads the command line; `timediff.gluon.distill` does the work and is imported when the
options are known to make sense.
"""

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from timediff.checks import check_distillation
from timediff.cli.base import Parser, import_plugins, run_command
from timediff.config import STUDENT_STEPS, DistillConfig
from timediff.errors import InputError
from timediff.options import fields_of
from timediff.tools.device import check_device, device_of

__all__ = ["PROGRAM", "main", "make_parser"]

PROGRAM = "timediff distill"


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=PROGRAM,
        allow_abbrev=False,
        description="Distils a trained predictor into one that forecasts with few network calls a time step: "
        "16 steps of its chain are halved until --steps are left.",
    )
    parser.add_argument("predictor", type=Path, help="folder that a predictor was saved to")
    parser.add_argument(
        "--dataset", required=True, help="name or folder; best what it was trained on"
    )
    parser.add_argument("--data-dir", type=Path, help="folder of datasets; default $TIMEDIFF_DATA")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the student")
    parser.add_argument(
        "--steps",
        type=int,
        default=STUDENT_STEPS,
        help="network calls a time step, a power of two (default %(default)s)",
    )
    for name, field in fields_of(DistillConfig).items():
        parser.add_argument(
            "--" + name.replace("_", "-"),
            type=int if field.default is None else type(field.default),
            default=field.default,
            help=field.help + ("" if field.default is None else " (default %(default)s)"),
        )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = make_parser()
    try:
        args = parser.parse_args(import_plugins(sys.argv[1:] if argv is None else argv))
    except InputError as error:
        parser.error(str(error))
    config = DistillConfig(*(getattr(args, name) for name in DistillConfig._fields))
    saved: list[int | None] = []

    def work() -> None:
        check_distillation(args.steps, config)
        _check_folders(args)
        _run(args, config, saved)
        print(f"{args.out}: forecasts with {saved[-1]} network calls a time step")

    return run_command(PROGRAM, work, kept=lambda: _kept(args, saved))


def _check_folders(args: argparse.Namespace) -> None:
    check_device(args.device)
    if not args.predictor.is_dir():
        raise InputError(f"there is no folder {args.predictor}; give one a predictor was saved to")
    if not (args.predictor / "gluonts-config.json").is_file():
        raise InputError(
            f"{args.predictor} holds no gluonts-config.json; give a folder that a predictor was saved to"
        )
    if args.out.exists() and not (args.out.is_dir() and _unused(args.out)):
        raise InputError(f"{args.out} is there already; give --out a new folder")


def _unused(folder: Path) -> bool:
    # The lock is what a run leaves that was stopped before it had anything to save.
    return all(path.name == ".lock" for path in folder.iterdir())


def _kept(args: argparse.Namespace, saved: list[int | None]) -> str:
    if not saved:
        return "no halving was finished, so there is nothing to keep"
    return (
        f"{args.out} holds the student of {saved[-1]} steps; it can be the predictor to go on from, "
        "with another --out"
    )


def _run(args: argparse.Namespace, config: DistillConfig, saved: list[int | None]) -> None:
    """Distils; writes every student over the one before and notes its steps in ``saved``."""
    from timediff.data.dataset import load_dataset

    with warnings.catch_warnings():
        # About the clock of the test windows, which are not looked at here.
        warnings.simplefilter("ignore", UserWarning)
        data = load_dataset(args.dataset, data_dir=args.data_dir)

    # Seconds that a mistake in the arguments need not wait for.
    from timediff.benchmark.folder import locked
    from timediff.gluon.distill import halvings
    from timediff.gluon.predictor import TimeGradPredictor

    teacher = TimeGradPredictor.deserialize(args.predictor, device=device_of(args.device))
    students = halvings(teacher, data.train, args.steps, config=config)
    with locked(args.out):
        for student in students:
            student.serialize(args.out)
            saved.append(student.sampling.steps)


if __name__ == "__main__":
    sys.exit(main())
