"""Units of the adaptive normalisation of whole series, ready to be cut into windows."""

import copy

import numpy as np
import torch
from torch import Tensor

from timediff.data.entry import begin
from timediff.gluon.entries import Series
from timediff.timegrad.batch import Batch, Shape
from timediff.timegrad.normalisation.adaptive import (
    ahead,
    filled,
    parts,
    recent_mean,
    repeated,
)
from timediff.timegrad.normalisation.base import LARGEST, is_flat

__all__ = ["AdaptiveTables"]


class AdaptiveTables:
    """Units of the adaptive normalisation of every row of series laid end to end, and of rows after each.

    Args:
        all_series: What `read_dataset` returns.
        shape: Sizes of a window.
        blank: Unobserved rows before each series.
        beyond: Rows after each series, of its horizon, that have units too.
        firsts: The first step of each series that windows see; there are no rows of those before.
    """

    def __init__(
        self,
        all_series: list[Series],
        shape: Shape,
        *,
        blank: int,
        beyond: int,
        firsts: list[int] | None = None,
    ) -> None:
        self.shape = shape
        firsts = firsts or [0] * len(all_series)
        patterned = bool(shape.profiles) and len(shape.cycles) > 1
        rows = sum(blank + len(series.values) + beyond for series in all_series) - sum(firsts)
        count = 6 + len(shape.profiles) + patterned
        columns = np.full((count, rows, shape.target_dim), np.nan)
        positions = np.empty(rows, np.int64)
        row = blank
        for series, first in zip(all_series, firsts, strict=True):
            values = np.where(series.observed, series.values, np.nan)
            own, instead = parts(
                values,
                cycle=shape.cycle,
                half_life=shape.half_life,
                scale_half_life=shape.scale_half_life,
                first=first,
            )
            means = [
                recent_mean(values, cycle=int(cycle), half_life=half_life, first=first)[0]
                for cycle, half_life in shape.profiles
            ]
            # What the past of a window shows, once for all windows.
            length = len(values) - first
            location, scale = (part[:length] for part in filled(own, instead))
            shown = [values[first:], means[-1][:length]] if patterned else [values[first:]]
            shown = [(part - location) / scale for part in shown]
            repeats = repeated(values, cycle=shape.cycle, first=first)
            tables = [*own, *instead, repeats, *means, *shown]
            for column, table in zip(columns, tables, strict=True):
                known = table[: length + beyond]
                column[row : row + len(known)] = known
            steps = np.arange(-blank, length + beyond)
            positions[row - blank : row + length + beyond] = (
                begin(series.entry) + first + steps
            ) % shape.cycle
            row += length + beyond + blank
        self.position = torch.from_numpy(positions)
        self.location, self.scale, self.mean, self.spread, same, *rest = map(
            torch.from_numpy, columns
        )
        self.repeated, self.profiles = same, rest[: len(shape.profiles)]
        deviation, *pattern = (part.float() for part in rest[len(shape.profiles) :])
        self.deviation, self.pattern = deviation, pattern[0] if patterned else None

    def to(self, device: torch.device) -> "AdaptiveTables":
        """These tables on a device."""
        moved = copy.copy(self)
        names = ("location", "scale", "mean", "spread", "repeated", "deviation", "position")
        for name in names:
            setattr(moved, name, getattr(self, name).to(device))
        moved.pattern = None if self.pattern is None else self.pattern.to(device)
        moved.profiles = [profile.to(device) for profile in self.profiles]
        return moved

    def batch(self, features: Tensor, origins: Tensor, future: Tensor | None = None) -> Batch:
        """Windows in these units.

        Args:
            features: Of context and horizon.
            origins: Rows of the first steps ahead, ``[B]``.
            future: Values of the steps ahead, NaN where unknown, ``[B, T, D]``; without one, None. The first
                moves of a series that was flat before count as unknown.
        """
        shape, dtype = self.shape, torch.get_default_dtype()

        def near(cycle: int) -> Tensor:
            steps = torch.from_numpy(ahead(0, shape.horizon, cycle)).to(origins.device)
            return origins[:, None] + steps

        here = near(shape.cycle)
        location, scale = self.location[here], self.scale[here]  # [B, T, D]
        # What earlier cycles say nothing of has what all steps before the origin say.
        location = torch.where(location.isnan(), self.mean[origins][:, None], location)
        scale = torch.where(scale.isnan(), self.spread[origins][:, None], scale)
        past = torch.arange(-shape.history_length, 0, device=origins.device)
        deviation = self.deviation[origins[:, None] + past].clamp(-LARGEST, LARGEST)
        if future is not None:
            moves = ((future - location) / scale).float()
            # A flat past has no unit to measure the first move in.
            flat = is_flat(torch.stack([location, scale]))
            moves = moves.masked_fill(flat & (moves.abs() > LARGEST), torch.nan)
            deviation = torch.cat([deviation, moves], dim=1)
        columns = [
            ((profile[near(int(cycle))] - location) / scale).nan_to_num(0.0, 0.0, 0.0)
            for profile, (cycle, _) in zip(self.profiles, shape.profiles, strict=True)
        ]
        pattern = None
        if self.pattern is not None:
            pattern = self.pattern[origins[:, None] + past[-shape.cycle :]].nan_to_num(
                0.0, 0.0, 0.0
            )
            pattern = pattern.clamp(-LARGEST, LARGEST).to(dtype)
        # A series of which nothing was seen yet is forecast around 0, in units of 1.
        known = location.isfinite()
        return Batch(
            deviation.nan_to_num(0.0).to(dtype),
            ~deviation.isnan(),
            features,
            torch.where(known, location, 0.0),
            torch.where(known, scale, 1.0),
            torch.stack(columns, dim=-1).clamp(-LARGEST, LARGEST).to(dtype) if columns else None,
            pattern,
            self.position[origins],
            self.repeated[here],
        )
