"""What the commands share: options made of configurations, mistakes and interrupts answered in one line."""

import argparse
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, NoReturn

from timediff.config import sampler_defaults
from timediff.errors import InputError, bounded
from timediff.options import Option, fields_of
from timediff.registry import SAMPLERS, TABLES, import_plugin

__all__ = [
    "Parser",
    "add_fields",
    "add_sampler_options",
    "fail",
    "import_plugins",
    "read_by",
    "run_command",
]


class Parser(argparse.ArgumentParser):
    """A command line whose mistakes are answered by `fail`, not by the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Stops with status 2."""
        fail(self.prog, message)


def add_fields(parser: Any, config: Any, *, prefix: str, skip: Collection[str] = ()) -> None:
    """Adds an option for each field of a configuration: the text of its docstring is the help.

    Args:
        parser: What to add to: a parser of jsonargparse, or a group of one.
        config: A named tuple, whose values are the defaults.
        prefix: What the names begin with, such as "model.".
        skip: Fields without an option.
    """
    for field in fields_of(type(config)).values():
        if field.name not in skip:
            choices = field.kind and Literal[tuple(TABLES[field.kind])]
            parser.add_argument(
                f"--{prefix}{field.name}",
                type=choices or field.type,
                default=getattr(config, field.name),
                help=field.help,
            )


def add_sampler_options(parser: Any, *, prefix: str) -> None:
    """Adds the options of all samplers, which are in their signatures; those not given are not there."""
    options: dict[str, dict[str, Option]] = {}
    for sampler in SAMPLERS:
        for name in sampler_defaults(sampler):
            options.setdefault(name, {})[sampler] = SAMPLERS.options(sampler)[name]
    for name, readers in options.items():
        first = next(iter(readers.values()))
        defaults = ", ".join(f"{each.default} of {sampler}" for sampler, each in readers.items())
        parser.add_argument(
            f"--{prefix}{name}",
            type=first.type,
            default=argparse.SUPPRESS,
            help=f"{first.help.rstrip('.')} (default: {defaults})",
        )


def import_plugins(argv: Sequence[str]) -> list[str]:
    """The arguments without each ``--plugin MODULE``; the modules are imported, from here too.

    Raises:
        InputError: One of them is not there, or fails.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--plugin", action="append", default=[])
    try:
        plugins, rest = parser.parse_known_args(list(argv))
    except argparse.ArgumentError:
        raise InputError("--plugin needs the name of a module that registers parts") from None
    if plugins.plugin and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for module in plugins.plugin:
        import_plugin(module)
    return rest


def run_command(
    program: str,
    work: Callable[[], None],
    *,
    kept: Callable[[], str] = lambda: "nothing was written",
) -> int:
    """The exit status of a command's work, whose mistakes and interrupts are answered in one line.

    Args:
        program: Its name.
        work: Does it all.
        kept: What is kept of work that was stopped, and how to go on.
    """
    # Threads that wait for one another are to sleep: spinning, they take the processor from those who work.
    # OpenMP reads this once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    stopped_by = signal.SIGINT

    def stop(number: int, frame: object) -> NoReturn:
        nonlocal stopped_by
        stopped_by = signal.SIGTERM
        raise KeyboardInterrupt

    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, stop) if in_main_thread else None
    try:
        work()
    except InputError as error:
        fail(program, str(error), hint="")  # of the data mostly, and with a way out of its own
    except KeyboardInterrupt:
        print(f"\n{program}: interrupted; {kept()}", file=sys.stderr)
        return 128 + stopped_by
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"{program}: no space left to write; free some; {kept()}", file=sys.stderr)
        return 1
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, before)
    return 0


def read_by(command: Callable[[], int]) -> int:
    """The exit status of a command, which whoever reads it, such as head, may have seen enough of."""
    try:
        try:
            return command()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def fail(program: str, message: str, *, hint: str = " See --help.") -> NoReturn:
    """Says what is wrong in one sentence and stops with status 2."""
    print(f"{program}: {bounded(message).rstrip('.')}.{hint}", file=sys.stderr)
    raise SystemExit(2)
