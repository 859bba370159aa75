"""From GluonTS data entries to tensors, and from tensors to windows.

All series are laid end to end in one tensor, each preceded by unobserved steps, and a batch is one
gather: no per-window Python.
"""

import copy
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from timediff.batch import Batch, Shape
from timediff.errors import InputError
from timediff.frequency import quiet_business_days, time_features, to_period_freq


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


class WindowData:
    """All series end to end, ready to be cut into windows.

    Args:
        series: What `read_dataset` returns.
        shape: Sizes of a window.

    Attributes:
        starts: For each window that training may use, the row of its first forecast step.
        ends: For each series long enough, the row of the first step of its last window.
    """

    def __init__(self, series: list[Series], shape: Shape) -> None:
        past, horizon = shape.history_length, shape.horizon
        self.shape = shape
        values, observed, features, starts, ends = [], [], [], [], []
        row = 0
        for one in series:
            length, dim = one.values.shape
            blank = np.zeros((past, dim), np.float32)
            values += [blank, one.values]
            observed += [blank.astype(bool), one.observed]
            with quiet_business_days():
                first = one.start - past
            features.append(time_features(first, past + length))
            row += past
            # Only series too short for one whole window are padded; at least one known step must be left.
            earliest = min(past, length - horizon)
            if earliest >= 1:
                starts.append(np.arange(row + earliest, row + length - horizon + 1))
                ends.append(row + length - horizon)
            row += length
        self.target = torch.from_numpy(np.concatenate(values))  # [rows, D]
        self.observed = torch.from_numpy(np.concatenate(observed))
        self.features = torch.from_numpy(np.concatenate(features))
        self.starts = torch.from_numpy(np.concatenate(starts)) if starts else torch.zeros(0).long()
        self.ends = torch.tensor(ends, dtype=torch.long)

    def to(self, device: torch.device) -> "WindowData":
        """The same, with the data on this device."""
        moved = copy.copy(self)
        moved.target, moved.observed = self.target.to(device), self.observed.to(device)
        moved.features = self.features.to(device)
        return moved

    def windows(self, starts: Tensor) -> Batch:
        """The windows whose forecasts begin at the rows ``starts``, future included, all on one device."""
        past, context, horizon = (
            self.shape.history_length,
            self.shape.context_length,
            self.shape.horizon,
        )
        rows = starts[:, None] + torch.arange(-past, horizon, device=starts.device)  # [B, P]
        near = starts[:, None] + torch.arange(-context, horizon, device=starts.device)
        dtype = torch.get_default_dtype()
        return Batch(
            self.target[rows].to(dtype), self.observed[rows], self.features[near].to(dtype)
        )


class TrainingWindows:
    """Random windows, a fixed number of batches per epoch.

    The windows of an epoch are a function of the seed, the rank and the epoch, so a resumed run sees
    what an uninterrupted one would have seen, and ranks differ.

    Args:
        data: Where to cut.
        batch_size: Windows per batch.
        batches: Batches per epoch.
        module: Knows the seed, the epoch, the rank and the device, which the windows are made on.
    """

    def __init__(self, data: WindowData, *, batch_size: int, batches: int, module: Any) -> None:
        self.data, self.batch_size, self.batches, self.module = data, batch_size, batches, module

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Batch]:
        module = self.module
        rng = np.random.default_rng([module.seed, module.current_epoch, module.global_rank])
        # All of the data moves there once an epoch, so that no step waits for its windows to cross over.
        data = self.data.to(module.device)
        for _ in range(self.batches):
            chosen = rng.integers(len(data.starts), size=self.batch_size)
            yield data.windows(data.starts[torch.from_numpy(chosen)].to(module.device))


class LastWindows:
    """The last window of every series, in order: the validation set.

    Args:
        data: Where to cut.
        batch_size: Windows per batch.
    """

    def __init__(self, data: WindowData, *, batch_size: int) -> None:
        self.data, self.batch_size = data, batch_size

    def __len__(self) -> int:
        return -(-len(self.data.ends) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for starts in self.data.ends.split(self.batch_size) if len(self.data.ends) else ():
            yield self.data.windows(starts)


def forecast_batch(series: list[Series], shape: Shape) -> Batch:
    """The windows that end where the series end, without a future."""
    past, dim, near = shape.history_length, shape.target_dim, shape.context_length + shape.horizon
    target = np.zeros((len(series), past, dim), np.float32)
    observed = np.zeros((len(series), past, dim), bool)
    features = np.zeros((len(series), near, shape.num_features), np.float32)
    for i, one in enumerate(series):
        known = min(past, len(one.values))
        if known:
            target[i, -known:] = one.values[-known:]
            observed[i, -known:] = one.observed[-known:]
        with quiet_business_days():
            first = one.start + (len(one.values) - shape.context_length)
        features[i] = time_features(first, near)
    dtype = torch.get_default_dtype()
    return Batch(
        torch.from_numpy(target).to(dtype),
        torch.from_numpy(observed),
        torch.from_numpy(features).to(dtype),
    )
