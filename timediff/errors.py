"""The one exception a user is meant to read, and the check that raises it most."""

import re
from numbers import Integral
from typing import Any

from timediff.kinds import shown

__all__ = ["InputError", "bounded", "check_whole"]


#: Characters of a word and of a sentence, at most: names in a file may be of any length.
_LONGEST_WORD, _LONGEST = 300, 2000


def bounded(sentence: str) -> str:
    """A sentence of bounded length, whose way out stays at its end."""
    if len(sentence) > _LONGEST_WORD:
        sentence = re.sub(
            rf"\S{{{_LONGEST_WORD},}}", lambda word: f"{word[0][:80]}...{word[0][-40:]}", sentence
        )
    if len(sentence) > _LONGEST:
        sentence = f"{sentence[: _LONGEST // 2]} ... {sentence[-_LONGEST // 3 :]}"
    return sentence


class InputError(ValueError):
    """A mistake of the user: one sentence that says what, where, and the way out.

    It begins in lower case and has no full stop, as it may become a part of another sentence.
    The command line prints it and exits with status 2; in Python it is an ordinary `ValueError`.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(bounded(sentence))


def check_whole(name: str, value: Any, *, least: int = 1, or_else: str = "") -> None:
    """Raises `InputError` unless the value is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InputError(
            f"{name} is {shown(value)}; it must be a whole number of at least {least}{or_else}"
        )
