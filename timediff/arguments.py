"""Arguments of public functions, held against their annotations before anything is done with them."""

import inspect
from collections.abc import Mapping
from functools import wraps
from typing import Any

from timediff.checks import CONFIGS, read_fields
from timediff.errors import InputError
from timediff.kinds import shown
from timediff.options import F, Option, option_of

__all__ = ["checked"]


def checked(function: F) -> F:
    """The function, called with what its annotations name, in Python's own types.

    Numbers of numpy become Python's, and so do the values of configurations, whose limits are checked too.
    GluonTS's ``validated`` is to come after it: that turns 2.5 into 2.

    Raises:
        InputError: An argument is missing, unknown, of another kind, or beyond its limits.
    """
    signature = inspect.signature(function)
    makes = function.__name__ == "__init__"
    own_name = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]
    options = {
        parameter.name: option_of(parameter.name, parameter.annotation)
        for parameter in signature.parameters.values()
        if parameter.annotation is not parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }

    @wraps(function)
    def call(*args: Any, **values: Any) -> Any:
        try:
            bound = signature.bind(*args, **values)
        except TypeError as error:
            name = type(args[0]).__name__ if makes and args else own_name
            raise InputError(_misplaced(name, options, values) or f"{name}: {error}") from None
        for argument, value in bound.arguments.items():
            if argument in options:
                value = options[argument].read(value)
                bound.arguments[argument] = (
                    read_fields(value) if isinstance(value, CONFIGS) else value
                )
        return function(*bound.args, **bound.kwargs)

    return call  # type: ignore[return-value]


def _misplaced(name: str, options: Mapping[str, Option], values: Mapping[str, Any]) -> str:
    """The sentence on an argument that is a field of a configuration; empty without one."""
    for argument, value in values.items():
        for option in options.values():
            if argument not in options and argument in getattr(option.type, "_fields", ()):
                config = option.type.__name__
                return (
                    f"{name} has no argument {argument}, which is a field of {config}; give "
                    f"{option.name}={config}({argument}={shown(value)})"
                )
    return ""
