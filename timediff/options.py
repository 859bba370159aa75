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
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin

from timediff.errors import InputError
from timediff.kinds import MisfitError, plain, shown, words

__all__ = [
    "Between",
    "Choice",
    "Count",
    "F",
    "Layers",
    "NotNegative",
    "Option",
    "Positive",
    "Seed",
    "Share",
    "Threads",
    "Whole",
    "Width",
    "arguments_of",
    "fields_of",
    "option_of",
    "options_in_source",
    "options_of",
    "read_kinds",
    "within_limits",
]

F = TypeVar("F", bound=Callable[..., Any])
_Values = TypeVar("_Values", bound=Any)


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
            return f"lie in {left}{self.low:.10g}, {self.high:.10g}{right}"
        if self.low == 0:
            return "be positive" if self.without else "not be negative"
        return f"be at least {self.low:g}" if self.low > -math.inf else "be finite"


class Choice(NamedTuple):
    """The kind of part that a text names: a key of `timediff.registry.TABLES`."""

    kind: str


Whole = Annotated[int, Between(1)]
NotNegative = Annotated[float, Between(0)]
Positive = Annotated[float, Between(0, without="low")]
#: A part of a whole, below 1.
Share = Annotated[float, Between(0, 1, without="high")]
# Sizes above these are mistakes that would take all memory.
#: Of what has a weight for each pair.
Width = Annotated[int, Between(1, 10_000)]
#: Of layers.
Layers = Annotated[int, Between(1, 1_000)]
#: Of steps, windows or paths that are held at a time.
Count = Annotated[int, Between(1, 1_000_000)]
Seed = Annotated[int | None, Between(0, 2**63, without="high")]
#: Of torch; more are a mistake, and a system would refuse them.
Threads = Annotated[int | None, Between(1, 1_024)]


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

    def read(self, value: Any) -> Any:
        """A value in Python's own types.

        Raises:
            InputError: It is of another kind than the annotation names, or beyond the limits.
        """
        try:
            value = plain(value, self.type)
        except MisfitError:
            raise InputError(
                f"{self.name} is {shown(value)}; it must be {words(self.type)}{_part_of(value, self.type)}"
            ) from None
        if self.limits is not None and value is not None and not self.limits.holds(value):
            raise InputError(f"{self.name} is {shown(value)}; it must {self.limits}")
        return value


def _part_of(value: Any, kind: Any) -> str:
    """The way out where a part of a named tuple is meant: the model of a preset."""
    fields = getattr(value, "_fields", ())
    own = [
        name for name in fields if isinstance(kind, type) and isinstance(getattr(value, name), kind)
    ]
    return f": give its {own[0]}" if own else ""


def read_kinds(values: _Values) -> _Values:
    """A named tuple with the values of all fields in Python's own types.

    Raises:
        InputError: One is not of the kind of its annotation.
    """
    fields = fields_of(type(values))
    return values._replace(
        **{name: field.read(getattr(values, name)) for name, field in fields.items()}
    )


def options_of(part: Callable[..., Any]) -> dict[str, Option]:
    """The keyword-only arguments of a function or class by name, those without a default left out."""
    try:
        signature = inspect.signature(part, eval_str=True)
    except NameError:  # an annotation names something imported for the type checker only
        signature = inspect.signature(part)
    descriptions = arguments_of(inspect.getdoc(part) or "")
    return {
        p.name: option_of(p.name, p.annotation, p.default, descriptions)
        for p in signature.parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
    }


def fields_of(config: Any) -> dict[str, Option]:
    """The fields of a named tuple by name."""
    descriptions = arguments_of(inspect.getdoc(config) or "")
    defaults = config._field_defaults
    return {
        name: option_of(name, annotation, defaults.get(name), descriptions)
        for name, annotation in config.__annotations__.items()
    }


def option_of(
    name: str, annotation: Any, default: Any = None, descriptions: Mapping[str, str] | None = None
) -> Option:
    """An argument or field from its annotation."""
    extras: list[Any] = []
    if get_origin(annotation) is Annotated:
        annotation, *extras = get_args(annotation)
    if isinstance(annotation, str):
        annotation = Any
    elif annotation in (inspect.Parameter.empty, None):
        annotation = Any if default is None else type(default)
    limits = next((extra for extra in extras if isinstance(extra, Between)), None)
    kind = next((extra.kind for extra in extras if isinstance(extra, Choice)), None)
    return Option(name, annotation, default, limits, kind, (descriptions or {}).get(name, ""))


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
            options[argument.arg] = option_of(argument.arg, annotation, value, descriptions)
    return options


def within_limits(part: F) -> F:
    """The function, with its options checked at every call against the limits in its annotations."""
    options = options_of(part)

    @wraps(part)
    def checked(*args: Any, **values: Any) -> Any:
        for name, value in list(values.items()):
            if name in options:
                values[name] = options[name].read(value)
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
