"""The one cut of a GluonTS entry: all fields with a time axis are cut alike, and ``start`` moves along.

Time is the last axis of such a field. What is only known of the past (``observed_values``,
``past_feat_dynamic_real``, ...) ends with the target. Fields known ahead (``feat_dynamic_real``,
``time_feat``, ...) may go on after it, for the steps of a forecast.

Axes: ``W`` windows, ``T`` time steps, ``D`` series.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from numbers import Integral
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd

from timediff.errors import InputError
from timediff.frequency import quiet_business_days
from timediff.kinds import MisfitError, plain, shortened, shown, words
from timediff.tools.numbers import plain_array

__all__ = [
    "OF_TARGET",
    "Entry",
    "begin",
    "check_dataset",
    "check_entry",
    "columns_of",
    "cut_entry",
    "dynamic_fields",
    "end",
    "entries_of",
    "entry_name",
    "hold_out",
    "known_ahead",
    "noise_seed",
    "split_windows",
]

Entry = dict[str, Any]

#: The target, and the fields that say which of its entries are known.
OF_TARGET = ("target", "observed_values", "is_pad")
#: Covariates that do not have "feat_dynamic" in their names.
_OTHERS = ("time_feat", "dynamic_feat")


def dynamic_fields(entry: Mapping[str, Any]) -> list[str]:
    """Names of the fields of an entry that have a time axis."""
    return [
        name
        for name, values in entry.items()
        if values is not None and (name in (*OF_TARGET, *_OTHERS) or "feat_dynamic" in name)
    ]


def known_ahead(field: str) -> bool:
    """Whether a field with a time axis may go on after the target."""
    return field not in OF_TARGET and "past" not in field


def entry_name(entry: Mapping[str, Any]) -> str:
    """The name that a sentence calls an entry by, in no more than 80 letters."""
    name = entry.get("item_id")
    return "series" if name is None or name == "" else shortened(str(name))


def columns_of(entry: Mapping[str, Any]) -> list[str] | None:
    """The names of an entry's dimensions, which its ``info`` may have under "columns"."""
    columns = (entry.get("info") or {}).get("columns")
    return None if columns is None or not len(columns) else [str(name) for name in columns]


def check_dataset(dataset: Any, what: str) -> None:
    """Raises `InputError` for what is no dataset, such as a frame, a single entry or a name."""
    if hasattr(dataset, "train") and hasattr(dataset, "test"):
        advice = "give its train or test"
    elif hasattr(dataset, "columns"):
        advice = "give GluonTS entries, or the frame to timediff.Forecaster"
    elif isinstance(dataset, Mapping) and "target" in dataset:
        raise InputError(f"the {what} is a single entry; give a list with it")
    elif isinstance(dataset, str | bytes | PathLike):
        advice = "give GluonTS entries, load_dataset(...).train say"
    elif isinstance(dataset, Mapping) or not isinstance(dataset, Iterable):
        advice = "give a list of GluonTS entries"
    else:
        return
    raise InputError(f"the {what} is {shown(dataset)}; {advice}")


def entries_of(dataset: Any, what: str) -> Iterator[Mapping[str, Any]]:
    """The entries of a dataset, each checked when it is its turn.

    Raises:
        InputError: It is no dataset, or an entry is none.
    """
    check_dataset(dataset, what)
    return _entries(dataset, what)


def _entries(dataset: Iterable[Any], what: str) -> Iterator[Mapping[str, Any]]:
    for number, entry in enumerate(dataset):
        if not isinstance(entry, Mapping):
            raise InputError(
                f"entry {number} of the {what} is {shown(entry)}; give a mapping with start and target"
            )
        check_entry(entry)
        yield entry


def cut_entry(
    entry: Mapping[str, Any], begin: int | None = None, end: int | None = None, *, ahead: int = 0
) -> Entry:
    """The steps of an entry from one to before another, in all its fields; other fields are as they were.

    Args:
        entry: A GluonTS entry, target ``[D, T]`` or ``[T]``.
        begin: The first step, counted from the entry's first, or where negative from the end of its target.
        end: The first step left out, counted likewise.
        ahead: Steps from ``end`` on that fields known ahead keep.

    Raises:
        InputError: A field has neither as many steps as the target nor, if it is known ahead, those of a
            horizon more; or it does not reach so far ahead.
    """
    fields = _arrays(entry, ahead)
    length = fields["target"].shape[-1]
    first, stop, _ = slice(begin, end).indices(length)
    stop = max(first, stop)
    parts = {}
    for name, values in fields.items():
        until = stop + ahead if known_ahead(name) else stop
        if until > values.shape[-1]:
            raise InputError(
                f"{name} of {entry_name(entry)} has {values.shape[-1]} steps, but {until} are needed for "
                f"{ahead} steps ahead of step {stop}; give it the steps of the horizon too"
            )
        parts[name] = values[..., first:until]
    if not first:
        return {**entry, **parts}
    with quiet_business_days():
        return {**entry, "start": entry["start"] + first, **parts}


def split_windows(
    entries: Iterable[Mapping[str, Any]], horizon: int
) -> tuple[list[Entry], np.ndarray]:
    """Entries without their last ``horizon`` steps, and what happened in these, ``[W, T, D]``.

    Fields known ahead keep the steps of the horizon.

    Raises:
        InputError: An entry is not longer than the horizon, or cannot be cut.
    """
    known, truth = [], []
    for entry in entries:
        _leave_some(entry, horizon)
        known.append(cut_entry(entry, end=-horizon, ahead=horizon))
        truth.append(np.atleast_2d(cut_entry(entry, begin=-horizon)["target"]).T)
    return known, np.stack(truth)


def hold_out(entry: Mapping[str, Any], horizon: int, windows: int) -> tuple[Entry, list[Entry]]:
    """An entry without its last ``windows`` horizons, and as many entries, each a horizon longer.

    Raises:
        InputError: The entry is not longer than these horizons, or cannot be cut.
    """
    length = _leave_some(entry, windows * horizon)
    ends = range(length - windows * horizon, length + 1, horizon)
    training, *held = (cut_entry(entry, end=end) for end in ends)
    return training, held


def begin(entry: Mapping[str, Any]) -> int:
    """The first step of an entry, counted from the calendar's origin."""
    # Ordinals count base units: two for each step of a period of "2h".
    return int(entry["start"].ordinal // entry["start"].freq.n)


def end(entry: Mapping[str, Any]) -> int:
    """The first step after an entry, counted likewise."""
    return begin(entry) + int(np.shape(entry["target"])[-1])


def noise_seed(seed: int, start: pd.Period, *, item_id: Any, place: int) -> int:
    """The seed of one forecast, below 2**62: whatever else is forecast with it, its noise is the same.

    Args:
        seed: Of all forecasts.
        start: First period of this one.
        item_id: Whose it is. Two forecasts of one item that begin together have the same noise.
        place: Among the forecasts, by which it is told where there is no item_id.
    """
    whose = f"place {place}" if item_id is None else f"item {item_id}"
    text = f"{seed} {start.ordinal} {whose}"
    digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 2


def check_entry(entry: Mapping[str, Any]) -> None:
    """Raises `InputError` unless there are a start and a target, and what names the entry is of use."""
    item_id, info = entry.get("item_id"), entry.get("info")
    if not isinstance(item_id, str | Integral | None):
        raise InputError(
            f"the item_id of an entry is {shown(item_id)}; give a text, or leave it out"
        )
    if not isinstance(info, Mapping | None):
        raise InputError(
            f"info of {entry_name(entry)} is {shown(info)}; give a mapping, or leave it out"
        )
    for name, kind in (("columns", list[Any]), ("covariates", dict[str, list[Any]])):
        inner = (info or {}).get(name)
        try:
            plain(inner, kind | None)
        except MisfitError:
            raise InputError(
                f"info of {entry_name(entry)} has {shown(inner)} as {name!r}; it must be {words(kind)}"
            ) from None
    for field in ("start", "target"):
        if entry.get(field) is None:
            raise InputError(
                f"{entry_name(entry)} has no field {field!r}; a GluonTS entry needs start and target"
            )


def _leave_some(entry: Mapping[str, Any], steps: int) -> int:
    """The length of an entry, which is longer than so many steps."""
    length = cut_entry(entry)["target"].shape[-1]
    if length <= steps:
        raise InputError(
            f"{entry_name(entry)} has {length} steps, and nothing is left of it without its last {steps}; "
            "give a longer one, or fewer or shorter windows"
        )
    return length


def _arrays(entry: Mapping[str, Any], ahead: int) -> dict[str, np.ndarray]:
    """The fields with a time axis: as long as the target, or longer by the steps of one horizon."""
    check_entry(entry)
    fields = {name: _array(entry, name) for name in dynamic_fields(entry)}
    lengths = {name: values.shape[-1] for name, values in fields.items()}
    length = lengths["target"]
    # Where no steps are to be kept ahead, the field that goes on longest says what the horizon is.
    horizon = ahead or max(lengths.values()) - length
    for name, steps in lengths.items():
        more = horizon if known_ahead(name) else 0
        if steps not in (length, length + more):
            raise InputError(
                f"{name} of {entry_name(entry)} has {steps} steps, but its target {length}; give it as many"
                + (f", or {length + more} with the {more} steps of the horizon" if more else "")
            )
    return fields


def _array(entry: Mapping[str, Any], name: str) -> np.ndarray:
    try:
        values = plain_array(entry[name], f"{name} of {entry_name(entry)}")
    except InputError:
        raise
    except ValueError as error:  # rows of different lengths
        raise InputError(
            f"{name} of {entry_name(entry)} is no array ({error}); give it rows of one length"
        ) from error
    if not values.ndim:
        raise InputError(
            f"{name} of {entry_name(entry)} is a single value; give it one for each step"
        )
    return values
