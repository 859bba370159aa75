"""Univariate entries as the dimensions of one, and a forecast of it as one of each.

Axes: ``S`` sample paths, ``T`` time steps, ``D`` entries, ``F`` covariates.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from gluonts.model.forecast import SampleForecast

from timediff.data.entry import Entry, begin, check_entry, dynamic_fields, entry_name
from timediff.errors import InputError
from timediff.frequency import quiet_business_days
from timediff.tools.numbers import numbers

__all__ = ["are_univariate", "item_ids", "joined", "parted"]

_STATIC = ("feat_static_real", "feat_static_cat")


def are_univariate(entries: Sequence[Mapping[str, Any]]) -> bool:
    """Whether there are entries, all with a target ``[T]``."""
    return bool(entries) and all(np.ndim(entry.get("target", 0)) == 1 for entry in entries)


def item_ids(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of entries.

    Raises:
        InputError: One has no ``item_id``, two have the same, or one has more than one dimension.
    """
    if not are_univariate(entries):
        raise InputError(
            "joint=True makes one model of entries with a target [T] each; leave it out for targets [D, T]"
        )
    names = [str(entry.get("item_id")) for entry in entries]
    if "None" in names:
        raise InputError(
            f"entry {names.index('None')} has no item_id; a joint model tells series by it"
        )
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise InputError(f"two entries have the item_id {twice[0]!r}; give each its own")
    return names


def joined(entries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Entry:
    """One entry ``[D, T]`` of entries ``[T]``, its dimensions in the order of ``names``.

    It begins with the first of them and ends with the last; what others do not know then is missing.

    Raises:
        InputError: An entry is missing or unknown, or they differ in frequency or fields.
    """
    places = {name: i for i, name in enumerate(item_ids(entries))}
    if missing := [name for name in names if name not in places]:
        raise InputError(
            f"the data to forecast have no item {missing[0]!r}, which the joint model was trained on; give "
            "it too"
        )
    if unknown := [name for name in places if name not in names]:
        raise InputError(
            f"the joint model was not trained on the item {unknown[0]!r}; leave it out, or train anew"
        )
    ordered = [entries[places[name]] for name in names]
    first, fields = ordered[0], dynamic_fields(ordered[0])
    for entry in ordered:
        check_entry(entry)
        if entry["start"].freqstr != first["start"].freqstr:
            raise InputError(
                f"{entry_name(entry)} has frequency {entry['start'].freqstr}, and {entry_name(first)} "
                f"{first['start'].freqstr}; a joint model needs one"
            )
        if other := set(dynamic_fields(entry)) ^ set(fields):
            raise InputError(
                f"{entry_name(entry)} and {entry_name(first)} differ in the field {min(other)}; give it to "
                "all items of a joint model, or to none"
            )
    at = np.array([begin(entry) for entry in ordered])
    shifts = at - at.min()
    start = ordered[int(at.argmin())]["start"]
    whole: Entry = {"item_id": "joint", "start": start, "info": {"columns": list(names)}}
    for name in fields:
        parts = [numbers(entry[name], f"the {name} of {entry_name(entry)}") for entry in ordered]
        length = max(s + part.shape[-1] for s, part in zip(shifts, parts, strict=True))
        values = np.full((*parts[0].shape[:-1], len(parts), length), np.nan)
        for d, (shift, part) in enumerate(zip(shifts, parts, strict=True)):
            values[..., d, shift : shift + part.shape[-1]] = part
        whole[name] = values
    for name in _STATIC:
        if first.get(name) is not None:
            rows = [numbers(entry[name], f"the {name} of {entry_name(entry)}") for entry in ordered]
            whole[name] = np.stack(rows, axis=-1)
    return whole


def parted(
    forecast: SampleForecast, entries: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> Iterator[SampleForecast]:
    """The forecast of each entry, in their order: the same paths ``[S, T]``, joint by their numbers."""
    for entry in entries:
        with quiet_business_days():
            yield SampleForecast(
                samples=forecast.samples[..., names.index(str(entry["item_id"]))],
                start_date=forecast.start_date,
                item_id=str(entry["item_id"]),
                info=entry.get("info") or forecast.info,
            )
