"""``python -m timediff.distill FOLDER --dataset NAME --out FOLDER``: few network calls a time step.

This module only reads the command line; `timediff.gluon.distill` does the work and is imported when the
options are known to make sense.
"""

import argparse
import errno
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from timediff.checks import check_distillation
from timediff.cli.base import Parser
from timediff.config import STUDENT_STEPS, DistillConfig
from timediff.errors import InputError

PROGRAM = "timediff.cli.distill"


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=PROGRAM,
        allow_abbrev=False,
        description="Distils a trained predictor into one that forecasts with few network calls a time step: "
        "16 steps of its chain are halved until --steps are left.",
    )
    config = DistillConfig()
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
    options = {
        "train_steps": "optimiser steps of every halving",
        "batch_size": "windows per optimiser step",
        "learning_rate": "first learning rate of every halving",
        "seed": "of windows and noise",
    }
    for name, said in options.items():
        default = getattr(config, name)
        parser.add_argument(
            "--" + name.replace("_", "-"),
            type=type(default),
            default=default,
            help=f"{said} (default {default})",
        )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = make_parser()
    args = parser.parse_args(argv)
    config = DistillConfig(*(getattr(args, name) for name in DistillConfig._fields))
    saved: list[int | None] = []
    try:
        check_distillation(args.steps, config)
        _check_folders(args)
        _run(args, config, saved)
    except InputError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print(f"\n{PROGRAM}: interrupted; {_kept(args, saved)}", file=sys.stderr)
        return 130
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(
            f"{PROGRAM}: no space left to write {args.out}; free some and start again",
            file=sys.stderr,
        )
        return 1
    print(f"{args.out}: forecasts with {saved[-1]} network calls a time step")
    return 0


def _check_folders(args: argparse.Namespace) -> None:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", args.device):
        raise InputError(f"device {args.device!r} is not known; choose auto, cpu, cuda or cuda:N")
    if not args.predictor.is_dir():
        raise InputError(f"there is no folder {args.predictor}; give one a predictor was saved to")
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
    import torch

    from timediff.benchmark.folder import locked
    from timediff.data.dataset import load_dataset
    from timediff.gluon.distill import halvings
    from timediff.gluon.predictor import TimeGradPredictor

    if int(args.device.partition(":")[2] or 0) >= max(torch.cuda.device_count(), 1):
        raise InputError(f"device {args.device} is not there; give --device cpu")
    teacher = TimeGradPredictor.deserialize(args.predictor, device=args.device)
    with warnings.catch_warnings():
        # About the clock of the test windows, which are not looked at here.
        warnings.simplefilter("ignore", UserWarning)
        data = load_dataset(args.dataset, data_dir=args.data_dir)
    students = halvings(teacher, data.train, args.steps, config=config)
    with locked(args.out):
        for student in students:
            student.serialize(args.out)
            saved.append(student.sampling.steps)


if __name__ == "__main__":
    sys.exit(main())
