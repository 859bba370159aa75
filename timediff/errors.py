"""The one exception a user is meant to read, and the check that raises it most."""

from numbers import Integral
from typing import Any

from timediff.kinds import shown

__all__ = ["InputError", "check_whole"]


class InputError(ValueError):
    """A mistake of the user: one sentence that says what, where, and the way out.

    It begins in lower case and has no full stop, as it may become a part of another sentence.
    The command line prints it and exits with status 2; in Python it is an ordinary `ValueError`.
    """


def check_whole(name: str, value: Any, *, least: int = 1, or_else: str = "") -> None:
    """Raises `InputError` unless the value is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InputError(
            f"{name} is {shown(value)}; it must be a whole number of at least {least}{or_else}"
        )
