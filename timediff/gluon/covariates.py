"""Covariates of series laid end to end, cut into windows as `timediff.gluon.windows` cuts the target.

Axes: ``B`` windows, ``C`` steps of context, ``T`` leads, ``D`` series, ``J`` columns, ``S`` either D or, for
columns that all series share, 1.
"""

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from timediff.gluon.entries import Series
from timediff.gluon.fields import absent, column, read_fields, spread_over
from timediff.timegrad.batch import Batch, Covariate, Shape
from timediff.timegrad.normalisation.adaptive import ahead, recent_mean
from timediff.timegrad.normalisation.base import LARGEST

if TYPE_CHECKING:
    from timediff.gluon.units import AdaptiveTables

__all__ = ["CovariateTables"]


class _Group(NamedTuple):
    """Columns that all series share, or of which each has its own.

    Attributes:
        covariates: What they are, J of them.
        values: In units of the training data, NaN where unknown, of all rows, ``[rows, S, J]``.
        location: Their adaptive location, likewise; None with another normalisation.
        change: ``[S, J]``.
    """

    covariates: list[Covariate]
    values: Tensor
    location: Tensor | None
    change: Tensor


class CovariateTables:
    """Covariates of every row of series laid end to end, as in `timediff.gluon.windows`.

    Args:
        all_series: What `read_dataset` returns.
        shape: Sizes of a window.
        blank: Rows before each series.
        beyond: Rows after each series.
        forecast: Whether the steps of the horizon must be known after each series.

    Raises:
        InputError: A series lacks a field that the model was trained with, or it does not fit.
    """

    def __init__(
        self,
        all_series: list[Series],
        shape: Shape,
        *,
        blank: int,
        beyond: int,
        forecast: bool = False,
    ) -> None:
        self.shape = shape
        self.groups = []
        needed = shape.horizon if forecast else 0
        fields = [read_fields(series, shape.covariates, needed=needed) for series in all_series]
        for own in (False, True):
            covariates = [one for one in shape.covariates if one.own is own]
            if not covariates:
                continue
            width = shape.target_dim if own else 1
            rows: list[list[np.ndarray]] = [[], []]
            for series, read in zip(all_series, fields, strict=True):
                length = len(series.values) + beyond
                values = np.stack(
                    [column(read, one, series, length, width) for one in covariates],
                    axis=-1,
                )  # [T, S, J]
                location = np.full_like(values, np.nan)
                if shape.cycles:
                    means, _ = recent_mean(
                        values.reshape(len(values), -1),
                        cycle=shape.cycle,
                        half_life=shape.half_life,
                    )
                    location = means[: len(values)].reshape(values.shape)
                    for j, one in enumerate(covariates):
                        if one.indicator:  # its location is that it is not there
                            location[..., j] = absent(one, width)
                before = np.full((blank, *values.shape[1:]), np.nan)
                rows[0] += [before, values]
                rows[1] += [before, location]
            tables = [torch.from_numpy(np.concatenate(part)).float() for part in rows]
            change = np.stack([spread_over(one.change, width) for one in covariates], axis=-1)
            change = np.where(change > 0, change, 1.0)
            self.groups.append(
                _Group(
                    covariates,
                    tables[0],
                    tables[1] if shape.cycles else None,
                    torch.from_numpy(change).float(),
                )
            )
        self.spread = torch.tensor(shape.spread)

    def to(self, device: torch.device) -> "CovariateTables":
        """These tables on a device."""
        moved = copy.copy(self)
        moved.spread = self.spread.to(device)
        moved.groups = [
            group._replace(
                values=group.values.to(device),
                location=None if group.location is None else group.location.to(device),
                change=group.change.to(device),
            )
            for group in self.groups
        ]
        return moved

    def added(self, batch: Batch, origins: Tensor, units: "AdaptiveTables | None") -> Batch:
        """Windows with their covariates.

        Args:
            batch: Without.
            origins: Rows of the first steps ahead, ``[B]``.
            units: Of the series in the same rows; None with another normalisation.
        """
        dtype = batch.features.dtype
        steps = torch.arange(-self.shape.context_length, self.shape.horizon, device=origins.device)
        rows = origins[:, None] + steps
        for group in self.groups:
            values = group.values[rows]
            # What is known of the past alone enters a step by its last value before it.
            before = group.values[torch.minimum(rows, origins[:, None]) - 1]
            known = torch.tensor([one.ahead for one in group.covariates], device=origins.device)
            values = (
                torch.where(known, values, before).nan_to_num(0.0).to(dtype)
            )  # [B, C + T, S, J]
            if group.covariates[0].own:
                batch = batch._replace(own=values)
            else:
                features = torch.cat([batch.features, values[:, :, 0]], dim=-1)
                batch = batch._replace(features=features)
        if units is None or batch.scale is None:
            return batch
        columns = [
            part for group in self.groups for part in self._regressors(group, batch, origins, units)
        ]
        like = batch.scale.shape
        return batch._replace(
            regressors=torch.stack([part.expand(like) for part in columns], dim=-1).to(dtype)
        )

    def _regressors(
        self, group: _Group, batch: Batch, origins: Tensor, units: "AdaptiveTables"
    ) -> Iterable[Tensor]:
        """What `timediff.timegrad.centre.covariate_count` lists, ``[B, T, D or 1]`` each."""
        shape, cycle = self.shape, self.shape.cycle
        assert batch.location is not None and batch.scale is not None
        near = origins[:, None] + torch.from_numpy(ahead(0, shape.horizon, cycle)).to(
            origins.device
        )
        leads = torch.arange(shape.horizon, device=origins.device)
        steps = origins[:, None] + leads
        day = cycle if cycle > 1 else 24
        past = origins[:, None] + torch.arange(-day, 0, device=origins.device)

        def deviation(rows: Tensor, of: Tensor) -> Tensor:
            assert group.location is not None
            away = (group.values[rows] - group.location[of]) / group.change
            return away.nan_to_num(0.0).clamp(-LARGEST, LARGEST)

        def in_units(away: Tensor, scale: Tensor) -> Tensor:
            """Deviations whose effect is in the data's units, as multiples of the scale of the series."""
            share = (self.spread / scale).nan_to_num(0.0)[..., None]
            return (away * share).clamp(-LARGEST, LARGEST).float()

        value = group.values[steps].nan_to_num(0.0)
        free = deviation(steps, near)
        effect = in_units(free, batch.scale)
        recent = in_units(deviation(past, past), units.scale[past])  # [B, day, D, J]
        last, mean = (
            part[:, None].expand_as(effect) for part in (recent[:, -1], recent.mean(dim=1))
        )
        tail = [last, mean] + ([recent[:, leads % cycle]] if cycle > 1 else [])
        for j, one in enumerate(group.covariates):
            if one.fixed:
                parts = [value]
            elif one.indicator and one.ahead:
                parts = [effect]
            else:
                parts = ([value, free, effect] if one.ahead else []) + tail
            yield from (part[..., j] for part in parts)
