"""GluonTS data entries, read and checked."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from timediff.errors import InputError
from timediff.frequency import to_period_freq


class Series(NamedTuple):
    """One data entry.

    Attributes:
        values: float32 ``[T, D]``, 0 where unobserved.
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
        return str(self.entry.get("item_id") or "series")


def read_entry(entry: Mapping[str, Any]) -> Series:
    """A GluonTS entry (target ``[D, T]``, or ``[T]`` for one dimension) as a `Series`.

    Raises:
        InputError: No target, no start, or a target that is not numeric.
    """
    name = entry.get("item_id") or "series"
    for field in ("start", "target"):
        if field not in entry:
            raise InputError(
                f"{name} has no field {field!r}; a GluonTS entry needs start and target"
            )
    try:
        target = np.asarray(entry["target"], dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"the target of {name} is not numeric ({error})") from error
    if target.ndim not in (1, 2):
        raise InputError(f"the target of {name} has {target.ndim} axes; it must be [D, T] or [T]")
    values = np.atleast_2d(target).T  # [T, D]
    observed = np.isfinite(values)
    start = entry["start"]
    if not isinstance(start, pd.Period):
        raise InputError(
            f"the start of {name} is a {type(start).__name__}; it must be a pandas.Period"
        )
    return Series(np.where(observed, values, np.float32(0)), observed, start, entry)


def read_dataset(
    dataset: Iterable[Mapping[str, Any]],
    *,
    freq: str | None = None,
    target_dim: int | None = None,
    what: str = "training data",
) -> list[Series]:
    """Every entry of a dataset, checked to agree in dimension and frequency.

    Raises:
        InputError: The dataset is empty, or an entry differs from the first or from what was given.
    """
    series = [read_entry(entry) for entry in dataset]
    if not series:
        raise InputError(f"the {what} holds no series")
    freq = to_period_freq(freq or series[0].start.freqstr)
    target_dim = target_dim or series[0].values.shape[1]
    for one in series:
        check_series(one, freq=freq, target_dim=target_dim, what=what)
    return series


def check_series(series: Series, *, freq: str, target_dim: int, what: str) -> None:
    """Raises `InputError` unless the series has this frequency and dimension."""
    found = to_period_freq(series.start.freqstr)
    if _anchored(found) != _anchored(freq):
        raise InputError(
            f"{series.name} of the {what} has frequency {found}, not {freq}; "
            "resample it or give its own freq"
        )
    dim = series.values.shape[1]
    if dim != target_dim:
        raise InputError(
            f"{series.name} of the {what} has {dim} dimensions, not {target_dim}; "
            "group the series into one entry of shape [D, T]"
        )


def _anchored(freq: str) -> str:
    """``Q`` and ``Y`` are periods that end with December, ``W`` with Sunday."""
    return freq + {"W": "-SUN", "Q": "-DEC", "Y": "-DEC"}.get(freq.lstrip("0123456789"), "")


def warn_of_poor_dimensions(series: list[Series], *, horizon: int) -> None:
    """One warning that names what carries little or no information.

    Raises:
        InputError: Nothing was observed at all.
    """
    observed = np.concatenate([one.observed for one in series])
    values = np.concatenate([one.values for one in series])
    counts = observed.sum(axis=0)
    if not counts.any():
        raise InputError(
            "every value of the training data is missing; give at least one observed series"
        )
    low = np.where(observed, values, np.inf).min(axis=0)
    high = np.where(observed, values, -np.inf).max(axis=0)
    columns = (series[0].entry.get("info") or {}).get("columns")
    names = columns or [f"dimension {d}" for d in range(len(counts))]
    groups = {
        "never observed": [names[d] for d in np.flatnonzero(counts == 0)],
        "constant": [names[d] for d in np.flatnonzero((counts > horizon) & (low == high))],
        "short": [names[d] for d in np.flatnonzero((counts > 0) & (counts <= horizon))]
        + [one.name for one in series if len(one.values) <= horizon and len(series) > 1],
    }
    told = [f"{kind}: {_some(members)}" for kind, members in groups.items() if members]
    if told:
        warnings.warn(
            f"some series say little ({'; '.join(told)}): "
            "their forecasts are finite, but not to be relied on",
            stacklevel=2,
        )


def warn_of_unused_fields(series: list[Series]) -> None:
    """One warning that names covariates: nobody should think that they were used."""
    fields = sorted({name for one in series for name in one.entry if "feat_dynamic" in name})
    if fields:
        warnings.warn(f"covariates are not used ({', '.join(fields)})", stacklevel=2)


def _some(names: list[str], limit: int = 10) -> str:
    rest = len(names) - limit
    return ", ".join(map(str, names[:limit])) + (f" and {rest} more" if rest > 0 else "")


def changes(series: list[Series], lag: int) -> tuple[Tensor, Tensor]:
    """Changes over ``lag`` steps of all series (for 0 the values), and where they are known, ``[T, D]``."""
    values = [one.values for one in series]
    known = [one.observed[lag:] & one.observed[: max(len(one.values) - lag, 0)] for one in series]
    if lag:
        values = [x[lag:] - x[: max(len(x) - lag, 0)] for x in values]
    return torch.from_numpy(np.concatenate(values)), torch.from_numpy(np.concatenate(known))
