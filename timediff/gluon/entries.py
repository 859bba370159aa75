"""GluonTS data entries, read and checked."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Set
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from timediff.data.entry import (
    OF_TARGET,
    check_entry,
    columns_of,
    dynamic_fields,
    entries_of,
    entry_name,
)
from timediff.errors import InputError
from timediff.frequency import quiet_business_days, to_period_freq
from timediff.tools.numbers import LARGEST_VALUE, first_too_large, numbers

__all__ = [
    "Series",
    "batches_of",
    "changes",
    "check_series",
    "read_dataset",
    "read_entry",
    "series_names",
    "warn_of_poor_dimensions",
    "warn_of_short_history",
    "warn_of_unused_fields",
]


class Series(NamedTuple):
    """A data entry, read and checked.

    Attributes:
        values: float64 ``[T, D]``, 0 where unobserved.
        observed: bool ``[T, D]``.
        start: First period.
        entry: The GluonTS entry it came from.
    """

    values: np.ndarray
    observed: np.ndarray
    start: pd.Period
    entry: Mapping[str, Any]

    @property
    def name(self) -> str:
        return entry_name(self.entry)


def read_entry(entry: Mapping[str, Any]) -> Series:
    """A GluonTS entry (target ``[D, T]``, or ``[T]`` for one dimension) as a `Series`.

    Raises:
        InputError: No target, no start, or a target that is not numeric.
    """
    check_entry(entry)
    name, columns = entry_name(entry), columns_of(entry)
    target = numbers(entry["target"], f"the target of {name}")
    if target.ndim not in (1, 2):
        raise InputError(f"the target of {name} has {target.ndim} axes; it must be [D, T] or [T]")
    start = entry["start"]
    if not isinstance(start, pd.Period):
        raise InputError(
            f"the start of {name} is a {type(start).__name__}; it must be a pandas.Period"
        )
    values = np.atleast_2d(target).T  # [T, D]
    if columns is not None and len(columns) != values.shape[1]:
        raise InputError(
            f"info of {name} names {len(columns)} columns, and its target has {values.shape[1]} dimensions; "
            "give each a name"
        )
    if (place := first_too_large(values)) is not None:
        step, d = place
        with quiet_business_days():
            stamp = start + step
        raise InputError(
            f"the target of {name} has {values[place]:g} in {series_names(entry, values.shape[1])[d]} at "
            f"{stamp} (step {step}); values must be below {LARGEST_VALUE:g}: give NaN where unknown, or a "
            "larger unit"
        )
    observed = ~np.isnan(values)
    return Series(np.where(observed, values, 0.0), observed, start, entry)


def series_names(entry: Mapping[str, Any], dim: int) -> list[str]:
    """What sentences call the series of an entry: its ``info`` has their names under "columns"."""
    return columns_of(entry) or [f"dimension {d}" for d in range(dim)]


def read_dataset(
    dataset: Iterable[Mapping[str, Any]],
    *,
    freq: str | None = None,
    target_dim: int | None = None,
    what: str = "training data",
) -> list[Series]:
    """The entries of a dataset, checked to agree in dimension and frequency.

    Raises:
        InputError: The dataset is empty, or an entry differs from the first or from what was given.
    """
    all_series = [read_entry(entry) for entry in entries_of(dataset, what)]
    if not all_series:
        raise InputError(f"the {what} holds no series")
    freq = to_period_freq(freq or all_series[0].start.freqstr)
    target_dim = target_dim or all_series[0].values.shape[1]
    for series in all_series:
        check_series(series, freq=freq, target_dim=target_dim, what=what)
    return all_series


def batches_of(
    dataset: Iterable[Mapping[str, Any]],
    size: int,
    *,
    freq: str,
    target_dim: int,
    names: list[str] | None = None,
) -> Iterator[list[Series]]:
    """The entries of a dataset to forecast, checked, so many at a time.

    Raises:
        InputError: An entry is none, or does not fit the model.
    """

    what = "data to forecast"

    def checked() -> Iterator[Series]:
        for series in map(read_entry, entries_of(dataset, what)):
            check_series(series, freq=freq, target_dim=target_dim, what=what)
            _check_names(series, names)
            yield series

    all_series = checked()
    while batch := list(islice(all_series, size)):
        yield batch


def check_series(series: Series, *, freq: str, target_dim: int, what: str) -> None:
    """Raises `InputError` unless the series has this frequency and dimension."""
    its_freq = to_period_freq(series.start.freqstr)
    if _anchored(its_freq) != _anchored(freq):
        raise InputError(
            f"{series.name} of the {what} has frequency {its_freq}, not {freq}; "
            "resample it or give its own freq"
        )
    dim = series.values.shape[1]
    if dim != target_dim:
        raise InputError(
            f"{series.name} of the {what} has {dim} dimensions, not {target_dim}; "
            "group the series into one entry of shape [D, T]"
        )


def _check_names(series: Series, names: list[str] | None) -> None:
    """Raises `InputError` if the dimensions have other names than in training, or another order."""
    own = columns_of(series.entry)
    if names is None or own is None:
        return
    for place, (name, wanted) in enumerate(zip(own, names, strict=False)):
        if name != wanted:
            raise InputError(
                f"dimension {place} of {series.name} is {name!r}, but {wanted!r} in the training data; give "
                "the dimensions in the order of training"
            )


def warn_of_short_history(all_series: list[Series], *, needed: int) -> None:
    """Warns of series that are shorter than what the model looks back over, by their names."""
    if short := [series.name for series in all_series if len(series.values) < needed]:
        warnings.warn(
            f"the history of {_some(short)} is shorter than the {needed} steps that the model looks back "
            "over; what comes before it counts as missing",
            stacklevel=2,
        )


def _anchored(freq: str) -> str:
    """The frequency with its anchor: ``Q`` and ``Y`` end with December, ``W`` with Sunday."""
    return freq + {"W": "-SUN", "Q": "-DEC", "Y": "-DEC"}.get(freq.lstrip("0123456789"), "")


def warn_of_poor_dimensions(all_series: list[Series], *, horizon: int) -> None:
    """Warns, once, of dimensions and series that carry little or no information, by their names.

    Raises:
        InputError: Nothing was observed at all.
    """
    observed = np.concatenate([series.observed for series in all_series])
    values = np.concatenate([series.values for series in all_series])
    counts = observed.sum(axis=0)
    if not counts.any():
        raise InputError(
            "every value of the training data is missing; give at least one observed series"
        )
    low = np.where(observed, values, np.inf).min(axis=0)
    high = np.where(observed, values, -np.inf).max(axis=0)
    names = series_names(all_series[0].entry, len(counts))
    groups = {
        "never observed": [names[d] for d in np.flatnonzero(counts == 0)],
        "constant": [names[d] for d in np.flatnonzero((counts > horizon) & (low == high))],
        "short": [names[d] for d in np.flatnonzero((counts > 0) & (counts <= horizon))]
        + [s.name for s in all_series if len(s.values) <= horizon and len(all_series) > 1],
    }
    clauses = [f"{kind}: {_some(members)}" for kind, members in groups.items() if members]
    if clauses:
        warnings.warn(
            f"some series say little ({'; '.join(clauses)}): "
            "their forecasts are finite, but not to be relied on",
            stacklevel=2,
        )


def warn_of_unused_fields(all_series: list[Series], used: Set[str] = frozenset()) -> None:
    """Warns, once, of covariates that are not used, by their names: nobody should think that they were."""
    names = {name for series in all_series for name in dynamic_fields(series.entry)}
    if fields := sorted(names - set(OF_TARGET) - used):
        warnings.warn(f"covariates are not used ({', '.join(fields)})", stacklevel=2)


def _some(names: list[str], limit: int = 10) -> str:
    rest = len(names) - limit
    return ", ".join(map(str, names[:limit])) + (f" and {rest} more" if rest > 0 else "")


def changes(all_series: list[Series], lag: int) -> tuple[Tensor, Tensor]:
    """Changes over ``lag`` steps of all series (for 0 the values), and where they are known, ``[T, D]``."""
    values, known = [], []
    for series in all_series:
        before = slice(max(len(series.values) - lag, 0))
        known.append(series.observed[lag:] & series.observed[before])
        values.append(series.values[lag:] - series.values[before] if lag else series.values)
    return torch.from_numpy(np.concatenate(values)), torch.from_numpy(np.concatenate(known))
