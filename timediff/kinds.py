"""Values held against type annotations, and what both are called in a sentence.

What is of the kind of an annotation comes back in Python's own types: numbers of numpy become int and float,
arrays and tuples the list that is asked for.
"""

import reprlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

__all__ = ["MisfitError", "plain", "shortened", "shown", "words"]


class MisfitError(Exception):
    """A value is not of the kind of its annotation."""


#: What the kinds of single values are called.
_CALLED: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a text",
}
_CALLED |= {type(None): "None", dict: "a mapping", list: "a list", tuple: "a list"}
_CALLED |= {Path: "a path", Mapping: "a mapping", Sequence: "a list", Hashable: "a name"}
_CALLED |= {Callable: "a function"}


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxdict = 8
        self.maxstring = self.maxother = 80


def shown(value: Any) -> str:
    """A value in a sentence: as it is written where that is short, else what it is."""
    plainly = isinstance(value, str | bytes | Real | PathLike | dict | list | tuple | None)
    if not plainly or hasattr(value, "_fields"):
        return _called(type(value))
    try:
        return shortened(_Short().repr(value), 200)
    except Exception:  # a number of more digits than Python writes, or an object of the user's
        return _called(type(value))


def _called(kind: Any) -> str:
    name = getattr(kind, "__name__", str(kind))
    return f"{'an' if name[0] in 'AEIOaeiou' else 'a'} {name}"


def shortened(text: str, most: int = 80) -> str:
    """A text in one line of no more letters."""
    line = " ".join(text[: 10 * most].split())
    return line if len(line) <= most else f"{line[: most - 3]}..."


def plain(value: Any, kind: Any) -> Any:
    """A value of the kind of an annotation, in Python's own types.

    Raises:
        MisfitError: It is of another kind.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return plain(value, arguments[0])
    if origin in (Union, UnionType):
        for one in arguments:
            try:
                return plain(value, one)
            except MisfitError:
                pass
        raise MisfitError
    if origin is Literal:
        return _literal(value, arguments)
    if origin in (list, Sequence):
        return [plain(item, arguments[0]) for item in _items(value)]
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise MisfitError
        return {plain(key, arguments[0]): item for key, item in value.items()}
    if origin is Callable:
        kind = Callable
    # Other annotations, Any among them, allow everything.
    return _single(value, kind) if isinstance(kind, type) and kind is not Any else value


def _literal(value: Any, choices: tuple[Any, ...]) -> Any:
    for choice in choices:
        if isinstance(value, type(choice)) and value == choice:
            return choice
    raise MisfitError


def _items(value: Any) -> Sequence[Any]:
    """The items of a list, a tuple or an array."""
    items = value.tolist() if hasattr(value, "tolist") else value
    if (
        not isinstance(items, Sequence)
        or isinstance(items, str | bytes)
        or hasattr(items, "_fields")
    ):
        raise MisfitError
    return items


def _single(value: Any, kind: type) -> Any:
    truth = type(value).__name__ in ("bool", "bool_")  # Python's, or numpy's
    if kind is bool and truth:
        return bool(value)
    if kind is Path and isinstance(value, str | PathLike):
        return Path(value)
    if kind in (int, float):
        if truth or not isinstance(value, Integral if kind is int else Real):
            raise MisfitError
        try:
            return kind(value)  # type: ignore[call-overload]
        except OverflowError:
            raise MisfitError from None
    if getattr(kind, "_is_protocol", False):
        return value
    if kind is bool or not isinstance(value, kind):
        raise MisfitError
    return str(value) if kind is str else value


def words(kind: Any, *, many: bool = False) -> str:
    """What the values of an annotation are called."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return words(arguments[0], many=many)
    if origin in (Union, UnionType):
        return " or ".join(words(one, many=many) for one in arguments)
    if origin in (list, Sequence):
        of = "" if arguments[0] is Any else f" of {words(arguments[0], many=True)}"
        return f"{'lists' if many else 'a list'}{of}"
    if origin is Literal:
        choices = [str(choice) for choice in arguments]
        return f"one of {', '.join(choices)}" if len(choices) > 1 else f'"{choices[0]}"'
    kind = origin or kind
    word = _CALLED.get(kind, _called(kind))
    return f"{word.removeprefix('a ')}s" if many and kind in (int, float, str) else word
