"""From GluonTS data entries to tensors, and from tensors to windows.

All series are laid end to end in one tensor, each preceded by unobserved steps, and a batch is one
gather: no per-window Python.
"""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from timediff.data.entry import begin
from timediff.frequency import quiet_business_days, time_features
from timediff.gluon.covariates import CovariateTables
from timediff.gluon.entries import Series
from timediff.gluon.units import AdaptiveTables
from timediff.timegrad.batch import Batch, Shape

__all__ = [
    "FIFTH",
    "LastWindows",
    "TrainingWindows",
    "WindowData",
    "features_of",
    "forecast_batch",
    "longest",
]

#: One part in so many of a series is held out, at most.
FIFTH = 5


def features_of(series: Series, *, first: int, length: int) -> np.ndarray:
    """Features of ``length`` steps, of the calendar, float32 ``[length, F]``.

    Training and forecasts both have them from here; covariates are further columns
    (`timediff.gluon.covariates`).

    Args:
        series: The series, ``series.entry`` with all its fields.
        first: The first step, counted from the start of the series; it may be negative, and the last beyond
            its end.
        length: How many.
    """
    with quiet_business_days():
        start = series.start + first
    return time_features(start, length)


class WindowData:
    """All series end to end, ready to be cut into windows.

    Args:
        all_series: What `read_dataset` returns.
        shape: Sizes of a window.

    Attributes:
        starts: For each window that training may use, the row of its first forecast step.
        ends: For each series long enough, the row of the first step of its last window.
    """

    def __init__(self, all_series: list[Series], shape: Shape) -> None:
        past, horizon = shape.history_length, shape.horizon
        self.shape = shape
        values, observed, features, starts, ends = [], [], [], [], []
        row = 0
        for series in all_series:
            length, dim = series.values.shape
            blank = np.zeros((past, dim))
            values += [blank, series.values]
            observed += [blank.astype(bool), series.observed]
            features.append(features_of(series, first=-past, length=past + length))
            row += past
            # A series too short for one whole window is padded, if a step of it is known before the horizon.
            earliest = min(past, length - horizon)
            if earliest >= 1:
                # From the second cycle on, where the series holds enough of them: the first has no units.
                settled = (
                    max(earliest, shape.cycle) if length > 4 * shape.cycle + horizon else earliest
                )
                starts.append(np.arange(row + settled, row + length - horizon + 1))
                ends.append(row + length - horizon)
            row += length
        self.target = torch.from_numpy(np.concatenate(values))  # [rows, D]
        self.observed = torch.from_numpy(np.concatenate(observed))
        self.features = torch.from_numpy(np.concatenate(features))
        self.starts = torch.from_numpy(np.concatenate(starts)) if starts else torch.zeros(0).long()
        self.ends = torch.tensor(ends, dtype=torch.long)
        self.first = past
        self.lengths = torch.tensor([len(series.values) for series in all_series])
        self.tables = (
            AdaptiveTables(all_series, shape, blank=past, beyond=0) if shape.cycles else None
        )
        self.covariates = (
            CovariateTables(all_series, shape, blank=past, beyond=0) if shape.covariates else None
        )

    def to(self, device: torch.device) -> "WindowData":
        """These data on a device."""
        moved = copy.copy(self)
        moved.target, moved.observed = self.target.to(device), self.observed.to(device)
        moved.features = self.features.to(device)
        moved.tables = None if self.tables is None else self.tables.to(device)
        moved.covariates = None if self.covariates is None else self.covariates.to(device)
        return moved

    def hold_out(self, count: int) -> tuple["WindowData", Tensor]:
        """These data without windows that reach into the last ones of each series, and these.

        Args:
            count: Windows of each series; fewer where they would be more than a fifth of it. Those of which
                less than half is known are passed over.

        Returns:
            Data to train on, and the rows of the first forecast steps of the windows held out.
        """
        horizon = self.shape.horizon
        kept, held = torch.ones(len(self.starts), dtype=torch.bool), []
        row = 0
        for length in self.lengths.tolist():
            end = row + self.first + length
            firsts = torch.arange(end - length // (FIFTH * horizon) * horizon, end, horizon)
            steps = firsts[:, None] + torch.arange(horizon)
            firsts = firsts[self.observed[steps].float().mean(dim=(1, 2)) >= 0.5][-count:]
            for at in firsts:
                kept &= (self.starts <= at - horizon) | (self.starts >= at + horizon)
            held.append(firsts)
            row = end
        rest = copy.copy(self)
        rest.starts = self.starts[kept]
        return rest, torch.cat(held) if held else self.starts[:0]

    def windows(self, starts: Tensor) -> Batch:
        """The windows whose forecasts begin at the rows ``starts``, future included, all on one device."""
        batch = self._of_target(starts)
        return (
            batch if self.covariates is None else self.covariates.added(batch, starts, self.tables)
        )

    def _of_target(self, starts: Tensor) -> Batch:
        """The same without covariates."""
        past, horizon = self.shape.history_length, self.shape.horizon
        rows = starts[:, None] + torch.arange(-past, horizon, device=starts.device)  # [B, P]
        dtype = torch.get_default_dtype()
        features = self.features[rows[:, past - self.shape.context_length :]].to(dtype)
        if self.tables is None:
            return Batch(self.target[rows], self.observed[rows], features)
        steps = rows[:, past:]
        future = torch.where(self.observed[steps], self.target[steps], torch.nan)
        return self.tables.batch(features, starts, future)


class TrainingWindows:
    """Random windows, a fixed number of batches per epoch.

    The windows of an epoch are a function of the seed and the epoch, so a resumed run sees what an
    uninterrupted one would have seen; of several processes each takes its share of every batch.

    Args:
        data: Where to cut.
        batch_size: Windows per batch, of all processes together.
        batches: Batches per epoch.
        module: Knows the seed, the epoch, how many of its batches were done before, the rank among how many,
            and the device, which the windows are made on.
    """

    def __init__(self, data: WindowData, *, batch_size: int, batches: int, module: Any) -> None:
        self.data, self.batch_size, self.batches, self.module = data, batch_size, batches, module

    def of(self, module: Any, *, batches: int) -> "TrainingWindows":
        """Windows of the same data for another module."""
        return TrainingWindows(
            self.data, batch_size=self.batch_size, batches=batches, module=module
        )

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Batch]:
        module = self.module
        rng = np.random.default_rng([module.seed, module.current_epoch, 0])
        size = self.batch_size // module.ranks
        own = slice(module.global_rank * size, (module.global_rank + 1) * size)
        # All of the data moves there once an epoch, so that no step waits for its windows to cross over.
        data = self.data.to(module.device)
        for number in range(self.batches):
            chosen = rng.integers(len(data.starts), size=self.batch_size)
            if number < module.begun:
                continue
            yield data.windows(data.starts[torch.from_numpy(chosen[own])].to(module.device))


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


def longest(all_series: list[Series]) -> tuple[list[Series], list[int]]:
    """The series that begin no other, and for each of all the place of one that it begins, or is.

    Units of a step follow from the steps before it, so that windows of one history can share its units.
    """
    order = sorted(range(len(all_series)), key=lambda i: -len(all_series[i].values))
    found: list[Series] = []
    places = [0] * len(all_series)
    alike: dict[tuple[int, bytes], list[int]] = {}
    for i in order:
        series, length = all_series[i], len(all_series[i].values)
        kin = alike.setdefault((begin(series.entry), series.values[:1].tobytes()), [])
        for place in kin:
            other = found[place]
            if np.array_equal(other.values[:length], series.values) and np.array_equal(
                other.observed[:length], series.observed
            ):
                places[i] = place
                break
        else:
            places[i] = len(found)
            kin.append(len(found))
            found.append(series)
    return found, places


def forecast_batch(all_series: list[Series], shape: Shape) -> Batch:
    """The windows that end where the series end, without a future."""
    past, near = shape.history_length, shape.context_length + shape.horizon
    target = np.zeros((len(all_series), past, shape.target_dim))
    observed = np.zeros(target.shape, bool)
    features = np.zeros((len(all_series), near, shape.num_features), np.float32)
    for i, series in enumerate(all_series):
        length = len(series.values)
        known = min(past, length)
        if known:
            target[i, -known:] = series.values[-known:]
            observed[i, -known:] = series.observed[-known:]
        features[i] = features_of(series, first=length - shape.context_length, length=near)
    dtype = torch.get_default_dtype()
    # What comes after each series: the steps that units are known of, and those that covariates are.
    beyond = max(*shape.cycles, shape.horizon if shape.covariates else 0, 0)
    places = list(range(len(all_series)))
    laid, firsts = all_series, [0] * len(all_series)
    if shape.cycles and not shape.covariates:
        laid, places = longest(all_series)
        firsts = [len(series.values) for series in laid]
        for series, place in zip(all_series, places, strict=True):
            firsts[place] = max(min(firsts[place], len(series.values) - past), 0)
    sizes = [past + len(series.values) - first for series, first in zip(laid, firsts, strict=True)]
    ends = torch.tensor([size + beyond for size in sizes]).cumsum(0)
    behind = [
        len(laid[place].values) - len(series.values)
        for series, place in zip(all_series, places, strict=True)
    ]
    origins, tables = ends[places] - beyond - torch.tensor(behind), None
    near_features = torch.from_numpy(features).to(dtype)
    if shape.cycles:
        tables = AdaptiveTables(laid, shape, blank=past, beyond=beyond, firsts=firsts)
        batch = tables.batch(near_features, origins)
    else:
        batch = Batch(torch.from_numpy(target), torch.from_numpy(observed), near_features)
    if not shape.covariates:
        return batch
    covariates = CovariateTables(all_series, shape, blank=past, beyond=beyond, forecast=True)
    return covariates.added(batch, origins, tables)
