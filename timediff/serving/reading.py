"""Items of a request read as what a forecast is made from, each held against the model that is served.

Axes: ``T`` known steps, ``H`` steps of the forecast, ``D`` channels.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from timediff.data.steps import Clock
from timediff.errors import InputError
from timediff.forecaster.drawing import Asked
from timediff.forecaster.frames import Array, some
from timediff.forecaster.known import Known, Layout
from timediff.forecaster.rows import read_stamps
from timediff.frequency import quiet_business_days, to_period_freq
from timediff.kinds import shown
from timediff.serving.served import Served
from timediff.serving.wire import Item, Parameters

__all__ = ["asked_for", "check_frequency"]


def check_frequency(served: Served, parameters: Parameters) -> None:
    """Raises `InputError` if another frequency than the model's is asked for."""
    given, own = parameters.frequency, served.fitted.layout.freq
    if given is not None and _offset(given) != _offset(own):
        raise InputError(
            f"parameters.frequency is {given!r}, but the model's is {own!r}; give the series at that"
        )


def _offset(freq: str) -> pd.offsets.BaseOffset:
    with quiet_business_days():
        return pd.Period("2000-01-01", freq=to_period_freq(freq)).freq


def asked_for(served: Served, item: Item, steps: int, where: str) -> tuple[Asked, Any]:
    """The forecast that an item asks for, and the group that it is of.

    Args:
        served: The model.
        item: From the request.
        steps: H.
        where: What sentences call the item.

    Raises:
        InputError: It does not fit the model.
    """
    layout = served.fitted.layout
    group = _group(served, item, where)
    target = _target(served, item, where)
    clock = _clock(served.clock, item.start, len(target), steps, where)
    length = len(target)
    past = _covariates(
        layout, item.past_covariates, layout.hist, length, f"{where}.past_covariates"
    )
    both = _covariates(
        layout, item.future_covariates, layout.futr, length + steps, f"{where}.future_covariates"
    )
    for name, values in both.items():
        if np.isnan(values[length:]).any():
            step = int(np.argmax(np.isnan(values[length:]).reshape(steps, -1).any(axis=1)))
            raise InputError(
                f"{where}.future_covariates[{name!r}] is null at step {length + step}, which is to be "
                "forecast; give it a value"
            )
    if item.static_covariates:
        raise InputError(
            f"{where} has static_covariates, but the model knows those of its training data; leave them out"
        )
    static = served.fitted.known[group].static if layout.stat else {}
    dynamic = {name: values[:length] for name, values in both.items()} | past
    ahead = {name: values[length:] for name, values in both.items()}
    return Asked(Known(target, clock, dynamic, static), steps, ahead), group


def _group(served: Served, item: Item, where: str) -> Any:
    """The group of the training data, or another, that an item is of; None where there are none."""
    layout, groups = served.fitted.layout, list(served.fitted.known)
    if layout.columns.group is None:
        if item.group is not None:
            raise InputError(f"{where} has a group, but the model has none; leave it out")
        return None
    if not isinstance(item.group, str | int) or isinstance(item.group, bool):
        raise InputError(
            f"{where}.group is {shown(item.group)}; name one, such as {some(groups)}, as the model has groups"
        )
    own = {str(group): group for group in groups}
    if layout.stat and str(item.group) not in own:
        raise InputError(
            f"{where}.group is {shown(item.group)}, whose static covariates the model does not know; give "
            f"one of {some(groups)}"
        )
    return own.get(str(item.group), item.group)


def _target(served: Served, item: Item, where: str) -> Array:
    """The values ``[T, D]``, NaN where missing."""
    names = served.fitted.layout.names
    _check_widths(item.target, len(names), f"{where}.target", names)
    if item.channels is not None and list(map(str, item.channels)) != list(map(str, names)):
        raise InputError(
            f"{where}.channels are {some(item.channels)}, but the model's are {some(names)}; give them in "
            "this order"
        )
    if len(item.target) < served.history_length:
        raise InputError(
            f"{where}.target has {len(item.target)} steps, but the model looks back over "
            f"{served.history_length}; give as many, with null where unknown"
        )
    values = np.array(item.target, dtype=np.float64)
    if np.isnan(values).all():
        raise InputError(f"{where}.target has null only; give at least one value")
    return values


def _check_widths(rows: list[list[Any]], width: int, what: str, names: list[Any]) -> None:
    for place, row in enumerate(rows):
        if len(row) != width:
            raise InputError(
                f"{what}[{place}] has {len(row)} channels, but the model has {width} ({some(names)}); give "
                "each row all of them"
            )


def _clock(clock: Clock, start: str | None, length: int, steps: int, where: str) -> Clock:
    """The clock of a history whose first step is at a stamp."""
    what = f"{where}.start"
    if start is None:
        raise InputError(
            f"{where} has no start, and the model goes by the calendar; give the stamp of its first row"
        )
    if not re.match(r"\d{4}-?\d\d", start):  # pandas knows "now", too
        raise InputError(f"{what} is {shown(start)}; write it as 2024-01-31T13:00:00")
    column = pd.Series([start])
    try:
        (step,), (off,) = clock.steps(read_stamps(column, clock, what))
        with quiet_business_days():
            moved = clock._replace(start=clock.start + int(step))
        moved.stamps(length + steps, 1)
    except (OverflowError, pd.errors.OutOfBoundsDatetime):
        raise InputError(
            f"{what} is {shown(start)}, from which the calendar is too short for the steps; give another"
        ) from None
    if off:
        raise InputError(
            f"{what} is {shown(start)}, between the steps of the model at {clock.start.freqstr}, such as "
            f"{moved.stamps(0, 1)[0].isoformat()}; write it as these are"
        )
    return moved


def _covariates(
    layout: Layout, given: Mapping[str, list[Any]], names: list[str], length: int, what: str
) -> dict[str, Array]:
    """Covariates by name as the model takes them, ``[length]`` or ``[length, D]``."""
    if unknown := [name for name in given if name not in names]:
        raise InputError(
            f"{what} has {shown(unknown[0])}, which the model was not trained with "
            f"({some(names) if names else 'it takes none'}); leave it out"
        )
    if missing := [name for name in names if name not in given]:
        raise InputError(f"{what} has no {missing[0]!r}, which the model takes; give it")
    return {name: _covariate(layout, name, given[name], length, what) for name in names}


def _covariate(layout: Layout, name: str, rows: list[Any], length: int, what: str) -> Array:
    place = f"{what}[{name!r}]"
    if len(rows) != length:
        raise InputError(f"{place} has {len(rows)} steps; give it {length}")
    wide = any(isinstance(row, list) for row in rows)
    if wide and not all(isinstance(row, list) for row in rows):
        raise InputError(f"{place} has values and lists; give values, or rows of all channels")
    if wide:
        _check_widths(rows, layout.width, place, layout.names)
    categories = name in layout.categories
    cells = [cell for row in rows for cell in row] if wide else rows
    kinds = str if categories else (int, float)
    for cell in cells:
        if cell is not None and (not isinstance(cell, kinds) or isinstance(cell, bool)):
            must = "a category as text" if categories else "a number"
            raise InputError(f"{place} has {shown(cell)}; each must be {must} or null")
    try:
        values = np.array(rows, dtype=object if categories else np.float64)
    except OverflowError:
        raise InputError(f"{place} has a number that is too large; give smaller ones") from None
    numbers = layout.numbered(name, values, what)
    return layout.spread(name, numbers, list(range(layout.width)), what)
