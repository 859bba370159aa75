"""Configurations that answer a field they do not have in one sentence, which names whose it is."""

import difflib
from collections.abc import Iterable, Mapping
from functools import wraps
from typing import Any

from timediff.errors import InputError
from timediff.kinds import shown
from timediff.registry import SAMPLERS

__all__ = ["answering"]


def answering(*configs: Any) -> None:
    """Has named tuples raise `InputError` for fields that are not theirs, when made or replaced.

    They stay what they are otherwise: signature, annotations and pickles are those of named tuples.

    Args:
        configs: Classes of named tuples, one of which may have what another is given.
    """
    for config in configs:
        _answer(config, configs)


def _answer(config: Any, configs: Iterable[Any]) -> None:
    make, replace = config.__new__, config._replace

    @wraps(make)
    def made(cls: Any, *args: Any, **values: Any) -> Any:
        _check(config, configs, values)
        try:
            return make(cls, *args, **values)
        except TypeError as error:
            raise InputError(f"{config.__name__}: {str(error).partition('() ')[2]}") from None

    @wraps(replace)
    def replaced(self: Any, /, **values: Any) -> Any:
        _check(config, configs, values)
        return replace(self, **values)

    config.__new__, config._replace = staticmethod(made), replaced


def _check(config: Any, configs: Iterable[Any], values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if name not in config._fields:
            raise InputError(
                f"{config.__name__} has no field {name}{_way_out(config, configs, name, shown(value))}"
            )


def _way_out(config: Any, configs: Iterable[Any], name: str, value: str) -> str:
    for other in configs:
        if name in other._fields:
            kind = other.__name__
            return f", which is one of {kind}; give {kind}({name}={value})"
    samplers = [sampler for sampler in SAMPLERS if name in SAMPLERS.options(sampler)]
    if samplers:
        kind = "SamplingConfig"
        given = f'sampler="{samplers[0]}", options={{"{name}": {value}}}'
        return f", an option of the sampler {' and '.join(samplers)}; give {kind}({given})"
    every = [field for each in (config, *configs) for field in each._fields]
    close = difflib.get_close_matches(name, every, n=1)
    if not close:
        return "; leave it out"
    if close[0] in config._fields:
        return f"; {close[0]} is one"
    (kind, *_) = (each.__name__ for each in configs if close[0] in each._fields)
    return f"; {close[0]} of {kind} is one"
