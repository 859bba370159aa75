"""What a command says on stderr, and the file that may keep it.

Bars are for terminals: elsewhere, and in the file, there are whole lines without control characters.
"""

import io
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TextIO

from timediff.cli.base import fail, run_command
from timediff.errors import InputError

__all__ = ["kept_lines", "run_kept", "say"]

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


class _Said(io.TextIOBase):
    """A stream that passes on to a terminal all, and to others and a file whole lines.

    Where ``only`` is not empty the stream has no more than the lines that begin so; the file has all.
    """

    def __init__(self, stream: TextIO, file: TextIO | None, only: str) -> None:
        self.stream, self.file, self.only = stream, file, only
        self.line, self.after_bar = "", False

    def isatty(self) -> bool:
        return not self.only and self.stream.isatty()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.isatty():
            self.stream.write(text)
        if text.startswith("\r"):  # a bar, as tqdm draws it; its line break comes by itself
            self.after_bar = True
        elif not (self.after_bar and not text.strip()):
            self.after_bar = False
            *lines, self.line = (self.line + text).split("\n")
            for line in lines:
                self._keep(_CONTROL.sub("", line))
        return len(text)

    def flush(self) -> None:
        self.stream.flush()

    def close_line(self) -> None:
        """Ends a line that has no end yet."""
        if self.line:
            self.write("\n")

    def _keep(self, line: str) -> None:
        if not line.strip():
            return
        if not self.isatty() and line.startswith(self.only):
            self.stream.write(line + "\n")
        if self.file is not None:
            self.file.write(line + "\n")
            self.file.flush()


@contextmanager
def kept_lines(
    program: str, log_file: Path | None = None, *, quiet: bool = False
) -> Iterator[None]:
    """Has stderr, and a warning in one line, go through here in the context.

    Args:
        program: What a line of a warning begins with.
        log_file: Keeps all lines, and is written anew.
        quiet: Pass on what the program itself says, mistakes mostly, and nothing else.

    Raises:
        InputError: The file cannot be written.
    """

    def show(message: Warning | str, *_: object, **__: object) -> None:
        # With quiet, what does not begin with the program's name goes to the file alone.
        print(f"{'warning' if quiet else program}: {message}", file=sys.stderr)

    file = None
    if log_file is not None:
        try:
            file = log_file.open("w", encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"the log file {log_file} cannot be written ({error.strerror}); choose another"
            ) from None
    said = _Said(sys.stderr, file, f"{program}: " if quiet else "")
    with warnings.catch_warnings(), redirect_stderr(said):
        warnings.showwarning = show
        try:
            yield
        finally:
            said.close_line()
            if file is not None:
                file.close()


def run_kept(
    program: str,
    work: Callable[[], None],
    *,
    log_file: Path | None,
    kept: Callable[[], str],
    quiet: bool = False,
) -> int:
    """`run_command` with what it says kept in a file."""
    try:
        context = kept_lines(program, log_file, quiet=quiet)
        context.__enter__()
    except InputError as error:
        fail(program, str(error))
    try:
        return run_command(program, work, kept=kept)
    finally:
        context.__exit__(None, None, None)


def say(text: str, *, quiet: bool = False) -> None:
    """A line on stderr."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)
