"""Options of parts and configurations: type, default, limits and help, read from signatures and docstrings.

A signature is the only place of its options: the command line, the checks and saved predictors ask here.
Limits stand in an annotation, ``eta: Annotated[float, Between(0, 1)] = 0.0``, and so does the kind of part
that a text names, ``sampler: Annotated[str, Choice("sampler")] = "ancestral"``.
"""

import ast
import inspect
import math
import re
from collections.abc import Callable, Mapping
from functools import cache, wraps
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from timediff.errors import InputError

__all__ = [
    "Between",
    "Choice",
    "F",
    "Option",
    "arguments_of",
    "check_kinds",
    "fields_of",
    "options_in_source",
    "options_of",
    "within_limits",
]

F = TypeVar("F", bound=Callable[..., Any])


class Between(NamedTuple):
    """Limits of a number.

    Args:
        low: Least value.
        high: Greatest value.
        without: Which of the two is excluded: "low", "high" or "both".
    """

    low: float = -math.inf
    high: float = math.inf
    without: str = ""

    def holds(self, value: float) -> bool:
        """Whether a number lies between the limits; NaN does not, nor does infinity."""
        above = self.low < value if self.without in ("low", "both") else self.low <= value
        below = value < self.high if self.without in ("high", "both") else value <= self.high
        return above and below and abs(value) < math.inf

    def __str__(self) -> str:
        if self.high < math.inf:
            left = "(" if self.without in ("low", "both") else "["
            right = ")" if self.without in ("high", "both") else "]"
            return f"lie in {left}{self.low:g}, {self.high:g}{right}"
        if self.low == 0:
            return "be positive" if self.without else "not be negative"
        return f"be at least {self.low:g}" if self.low > -math.inf else "be finite"


class Choice(NamedTuple):
    """The kind of part that a text names: a key of `timediff.registry.TABLES`."""

    kind: str


class Option(NamedTuple):
    """An argument of a part or a field of a configuration.

    Args:
        name: Its name.
        type: Its annotation without limits and kind.
        default: Its value when left out.
        limits: Between which it lies, if it is a number and not None.
        kind: Kind of part that it names, if it names one.
        help: What it does.
    """

    name: str
    type: Any
    default: Any
    limits: Between | None
    kind: str | None
    help: str

    def check_kind(self, value: Any) -> None:
        """Raises `InputError` unless a value is of the kind that the annotation names."""
        if not _fits(value, self.type):
            shown = repr(value)
            shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
            raise InputError(f"{self.name} is {shown}; it must be {_words(self.type)}")

    def check(self, value: Any) -> None:
        """Raises `InputError` unless a value is a number of the right type between the limits."""
        types = get_args(self.type) or (self.type,)
        if value is None and type(None) in types:
            return
        if int in types and (isinstance(value, bool) or not isinstance(value, Integral)):
            raise InputError(f"{self.name} is {value!r}; it must be a whole number")
        if float in types and (isinstance(value, bool) or not isinstance(value, Real)):
            raise InputError(f"{self.name} is {value!r}; it must be a number")
        if self.limits is not None and not self.limits.holds(
            int(value) if isinstance(value, Integral) else float(value)
        ):
            raise InputError(f"{self.name} is {value}; it must {self.limits}")


def check_kinds(values: Any) -> None:
    """Raises `InputError` for the first field of a named tuple that is not of the kind of its annotation."""
    for name, field in fields_of(type(values)).items():
        field.check_kind(getattr(values, name))


#: What the kinds of single values are called.
_CALLED = {int: "a whole number", float: "a number", bool: "True or False", str: "a text"}
_CALLED |= {type(None): "None", dict: "a mapping", list: "a list", tuple: "a list"}


def _fits(value: Any, kind: Any) -> bool:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _fits(value, arguments[0])
    if origin is Literal:
        return value in arguments
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in arguments)
    if origin is list:
        return isinstance(value, list | tuple) and all(_fits(v, arguments[0]) for v in value)
    if kind in (int, float):
        number = Integral if kind is int else Real
        return isinstance(value, number) and not isinstance(value, bool)
    kind = origin or kind
    return isinstance(value, kind) if isinstance(kind, type) else True


def _words(kind: Any, *, many: bool = False) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _words(arguments[0], many=many)
    if origin in (Union, UnionType):
        return " or ".join(_words(one, many=many) for one in arguments)
    if origin is list:
        return f"{'lists' if many else 'a list'} of {_words(arguments[0], many=True)}"
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    kind = origin or kind
    word = _CALLED.get(kind, f"a {getattr(kind, '__name__', kind)}")
    return f"{word.removeprefix('a ')}s" if many and kind in (int, float, str) else word


def options_of(part: Callable[..., Any]) -> dict[str, Option]:
    """The keyword-only arguments of a function or class by name, those without a default left out."""
    try:
        signature = inspect.signature(part, eval_str=True)
    except NameError:  # an annotation names something imported for the type checker only
        signature = inspect.signature(part)
    descriptions = arguments_of(inspect.getdoc(part) or "")
    return {
        p.name: _option(p.name, p.annotation, p.default, descriptions)
        for p in signature.parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
    }


def fields_of(config: Any) -> dict[str, Option]:
    """The fields of a named tuple by name."""
    descriptions = arguments_of(inspect.getdoc(config) or "")
    defaults = config._field_defaults
    return {
        name: _option(name, annotation, defaults.get(name), descriptions)
        for name, annotation in config.__annotations__.items()
    }


def _option(name: str, annotation: Any, default: Any, descriptions: Mapping[str, str]) -> Option:
    extras: list[Any] = []
    if get_origin(annotation) is Annotated:
        annotation, *extras = get_args(annotation)
    if annotation in (inspect.Parameter.empty, None) or isinstance(annotation, str):
        annotation = type(default)
    limits = next((extra for extra in extras if isinstance(extra, Between)), None)
    kind = next((extra.kind for extra in extras if isinstance(extra, Choice)), None)
    return Option(name, annotation, default, limits, kind, descriptions.get(name, ""))


@cache
def options_in_source(target: str) -> dict[str, Option]:
    """`options_of` a part of this package, "module:object", without importing it: torch takes seconds."""
    module, _, name = target.partition(":")
    home = Path(__file__).resolve().parent.joinpath(*module.split(".")[1:])
    file = home / "__init__.py" if home.is_dir() else home.with_suffix(".py")
    body = ast.parse(file.read_text(encoding="utf-8")).body
    node = next(n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == name)
    descriptions = arguments_of(ast.get_docstring(node) or "")
    if isinstance(node, ast.ClassDef):
        node = next(n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
    # The names that annotations of options are made of.
    names = {"Annotated": Annotated, "Between": Between, "math": math}
    names |= {kind.__name__: kind for kind in (int, float, bool, str)}
    options = {}
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if default is not None:
            annotation = argument.annotation and eval(ast.unparse(argument.annotation), {}, names)
            value = ast.literal_eval(default)
            options[argument.arg] = _option(argument.arg, annotation, value, descriptions)
    return options


def within_limits(part: F) -> F:
    """The function, with its options checked at every call against the limits in its annotations."""
    options = options_of(part)

    @wraps(part)
    def checked(*args: Any, **values: Any) -> Any:
        for name, value in values.items():
            if name in options:
                options[name].check(value)
        return part(*args, **values)

    return checked  # type: ignore[return-value]


def arguments_of(docstring: str) -> dict[str, str]:
    """Description of each argument by name, from the section ``Args:`` of a docstring, in one line each."""
    descriptions: dict[str, str] = {}
    section, name = False, ""
    for line in inspect.cleandoc(docstring).splitlines():
        if line and not line.startswith(" "):
            section = line == "Args:"
        elif section and (match := re.match(r"    (\w+): (.*)", line)):
            name, descriptions[match[1]] = match[1], match[2]
        elif section and name and line.strip():
            descriptions[name] += " " + line.strip()
    return descriptions
