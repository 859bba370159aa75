"""``timediff COMMAND ...``: one name for the commands of the library.

Each command is a module of its own with a function ``main(argv)``, imported when it is called for, so that
``--help`` is answered at once.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from timediff import __version__

COMMANDS = {
    "evaluate": "train, forecast, score; write a record and a report",
    "compare": "put records side by side",
    "distill": "make a predictor that needs few network calls",
    "datasets": "list datasets",
}


def usage() -> str:
    """What ``--help`` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name.ljust(width)}  {said}" for name, said in COMMANDS.items()]
    return "\n".join(
        [
            "usage: timediff COMMAND [OPTION ...]",
            "",
            "Joint probabilistic forecasts of many time series by denoising diffusion.",
            "",
            *lines,
            "",
            "timediff COMMAND --help lists the options of a command; timediff --version the version.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Calls the command that the first argument names; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if command in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    if command == "--version":
        print(__version__)
        return 0
    if command not in COMMANDS:
        known = ", ".join(COMMANDS)
        print(
            f"timediff: {command!r} is no command; choose one of {known}. See --help.",
            file=sys.stderr,
        )
        return 2
    try:
        status = import_module(f"timediff.cli.{command}").main(rest)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads it, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
