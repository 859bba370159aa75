"""``timediff COMMAND ...``: one name for the commands of the library.

Each command is a module of its own with a function ``main(argv)``, imported when it is called for, so that
``--help`` is answered at once.
"""

import sys
from collections.abc import Sequence

from timediff import __version__
from timediff.cli.base import fail, import_plugins, read_by
from timediff.errors import InputError
from timediff.registry import COMMANDS

__all__ = ["main", "usage"]


def usage() -> str:
    """What ``--help`` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name.ljust(width)}  {part.summary}" for name, part in COMMANDS.parts.items()]
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
    return read_by(lambda: _called(argv))


def _called(argv: Sequence[str] | None) -> int:
    try:
        arguments = import_plugins(sys.argv[1:] if argv is None else argv)
    except InputError as error:
        fail("timediff", str(error))
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
    return COMMANDS[command](rest)


if __name__ == "__main__":
    sys.exit(main())
