"""``timediff export MODEL OUT``: a saved model as ONNX, to be run without torch."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from timediff.cli.base import Parser, import_plugins, run_command
from timediff.errors import InputError
from timediff.tools.files import size_of

__all__ = ["PROGRAM", "main", "make_parser"]

PROGRAM = "timediff export"


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = Parser(
        prog=PROGRAM,
        allow_abbrev=False,
        description="Writes a saved model as graphs of ONNX and the numbers around them. "
        "timediff.exported.runner forecasts with them, by numpy and onnxruntime alone.",
    )
    parser.add_argument("model", type=Path, help="folder that a model or a predictor was saved to")
    parser.add_argument("out", type=Path, help="folder to write; an earlier export is replaced")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of the command."""
    parser = make_parser()
    try:
        args = parser.parse_args(import_plugins(sys.argv[1:] if argv is None else argv))
    except InputError as error:
        parser.error(str(error))
    return run_command(PROGRAM, lambda: _work(args.model, args.out))


def _work(model: Path, out: Path) -> None:
    folder = model / "predictor" if (model / "forecaster.json").is_file() else model
    if not (folder / "predictor.json").is_file():
        raise InputError(
            f"{model} holds no predictor.json; give a folder that a model or a predictor was saved to"
        )
    # Seconds that a mistake in the arguments need not wait for.
    from timediff.exported.write import check_folder, export
    from timediff.gluon.paths import PathPredictor

    check_folder(out)
    export(PathPredictor.deserialize(folder, device="cpu"), out)
    size = sum(file.stat().st_size for file in out.iterdir())
    print(f"{out}: {size_of(size)}, to be run by timediff.exported.runner")


if __name__ == "__main__":
    sys.exit(main())
