r"""The adaptive linear forecaster: a ridge regression for every lead and series on what the origin knows.

In units of `timediff.timegrad.normalisation.adaptive` the series are deviations d from what they did at the
same positions of their last cycles. The forecast of lead h, direct and not iterated, is

.. math:: \hat d_{o+h} = \beta_h^\top f(o, h)

of a constant, the last two deviations, their means over a quarter and a whole cycle, the last one and the
same means of all series together, weighted by their scales (what their sum goes by: noise of single series
cancels in it), those at the same position one and two cycles and one long cycle (a week) ago, and how far
profiles of other half-lives and of the long cycle lie from the location, the last value and the one a cycle
ago themselves among them; of what the long cycle's profile did not explain lately, the same last value,
means and value of a cycle ago; and of covariates what `covariate_count` lists. The ridge regression of each
series is drawn towards that of all series together; its penalty is the one of the least error on left-out
blocks of origins.

Axes: ``B`` windows, ``P`` steps of the past, ``T`` leads, ``D`` series, ``K`` regressors, ``J`` profiles.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from timediff.timegrad.batch import Batch, Covariate, Shape
from timediff.timegrad.normalisation.base import LARGEST
from timediff.timegrad.wide import WIDE

__all__ = [
    "BLOCKS",
    "PENALTIES",
    "PRODUCTS",
    "LinearCentre",
    "LinearFit",
    "covariate_count",
    "fit_linear",
    "regressor_count",
    "regressors",
]

#: Penalties of the difference of a series' coefficients from those of all, as shares of the number of rows.
PENALTIES = (0.02, 0.1, 0.4, 1.0)
#: Blocks of origins that are left out in turn.
BLOCKS = 5
#: Numbers that the regressors' products may hold where there are more than `WIDE` series: so many leads are
#: fitted at a time.
PRODUCTS = 1e8
#: Penalty of the coefficients of all series together.
_POOLED = 1e-3
#: Share of the largest scale below which series say nothing together.
_TINY = 1e-30


def regressor_count(shape: Shape) -> int:
    """K."""
    patterned = bool(shape.profiles) and len(shape.cycles) > 1
    seasonal = 2 if shape.cycle > 1 else 0
    common = 3 if shape.target_dim > 1 else 0
    count = (
        5
        + common
        + seasonal
        + len(shape.cycles[1:])
        + len(shape.profiles)
        + (4 if patterned else 0)
    )
    return count + sum(covariate_count(covariate, shape) for covariate in shape.covariates)


def covariate_count(covariate: Covariate, shape: Shape) -> int:
    """How many regressors there are of a covariate.

    Of one that does not change with time its value. Of an indicator known ahead whether it is there, in units
    of the series, and no more: there are few holidays to learn from. Of others known ahead the value, and its
    deviation from its own adaptive location, in units of its own and in those of the series; of all others
    the last deviation in units of the series, the mean of those of the last cycle, and the one a cycle ago.
    """
    if covariate.fixed or (covariate.indicator and covariate.ahead):
        return 1
    return (3 if covariate.ahead else 0) + (3 if shape.cycle > 1 else 2)


def regressors(batch: Batch, shape: Shape, leads: slice = slice(None)) -> Tensor:
    """What is known at the origin about each lead, ``[B, T, D, K]``.

    Args:
        batch: Windows with or without a future, in units of the adaptive normalisation, 0 where unknown.
        shape: Sizes of the data.
        leads: Those wanted, of all T.
    """
    size = (len(batch.features), shape.horizon, shape.target_dim)
    columns = [column.expand(size)[:, leads] for column in _columns(batch, shape)]
    return torch.stack(columns, dim=-1)


def _columns(batch: Batch, shape: Shape) -> list[Tensor]:
    """The K regressors, ``[B, T, D]``, or ``[B, 1, D]`` for those that are the same at all leads."""
    past = torch.where(batch.observed, batch.target, 0.0)[:, : shape.history_length]
    past = past.to(batch.features.dtype)
    horizon, end = shape.horizon, shape.history_length
    leads = torch.arange(horizon, device=past.device)
    day = shape.cycle if shape.cycle > 1 else 24
    spans = [min(n, end) for n in (1, max(day // 4, 2), day)]

    def recent(series: Tensor) -> list[Tensor]:
        return [series[:, -n:].mean(dim=1, keepdim=True) for n in spans]

    last, *means = recent(past)
    columns = [torch.ones_like(last), last, past[:, -2, None], *means]
    if shape.target_dim > 1:
        known = batch.observed[:, :end]
        # A sum goes by its large series.
        scale = torch.ones_like(last[:, 0]) if batch.scale is None else batch.scale.mean(dim=1)
        weights = (scale / scale.amax(dim=-1, keepdim=True)).to(past)[..., None]  # [B, D, 1]
        common = past @ weights / (known.to(weights) @ weights).clamp(min=_TINY)  # [B, P, 1]
        columns += [mean.expand_as(last) for mean in recent(common)]
    if shape.cycle > 1:
        since = (
            leads // shape.cycle + 1
        ) * shape.cycle  # whole cycles that reach back behind the origin
        columns += [past[:, end + leads - back] for back in (since, since + shape.cycle)]
    for cycle in shape.cycles[1:]:
        since = (leads // cycle + 1) * cycle
        columns.append(past[:, end + leads - since])
    if batch.profiles is not None:
        columns += batch.profiles.unbind(dim=-1)
    if batch.pattern is not None:
        seen = batch.observed[:, end - shape.cycle : end]
        left = torch.where(seen, past[:, -shape.cycle :] - batch.pattern, 0.0)
        columns += [*recent(left), left[:, leads % shape.cycle]]
    if batch.regressors is not None:
        columns += batch.regressors.unbind(dim=-1)
    return columns


class LinearCentre(nn.Module):
    """The forecast of the mean at every lead, a linear function of `regressors`.

    Args:
        shape: Sizes of the data.
    """

    coefficients: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        size = (shape.horizon, shape.target_dim, regressor_count(shape))
        self.register_buffer("coefficients", torch.zeros(size))

    def forward(self, batch: Batch) -> Tensor:
        """Means in scaled units, ``[B, T, D]``."""
        columns, by_column = _columns(batch, self.shape), self.coefficients.permute(2, 0, 1)
        same = [k for k, column in enumerate(columns) if column.shape[1] == 1]
        rest = [k for k, column in enumerate(columns) if column.shape[1] > 1]
        shared = torch.stack([columns[k][:, 0] for k in same])  # [K', B, D]
        mean = torch.bmm(shared.permute(2, 1, 0), by_column[same].permute(2, 0, 1))  # [D, B, T]
        mean = mean.permute(1, 2, 0).contiguous()
        for k, coefficients in zip(rest, by_column[rest], strict=True):
            mean.addcmul_(columns[k], coefficients)
        return mean


class LinearFit(NamedTuple):
    """A fitted `LinearCentre`.

    Attributes:
        coefficients: ``[T, D, K]``.
        penalty: The penalty that was chosen.
        left_out: The coefficients without each block of origins, ``[BLOCKS, T, D, K]``.
    """

    coefficients: Tensor
    penalty: float
    left_out: Tensor

    def errors(self, parts: Iterable[tuple[int, Batch]], shape: Shape) -> Tensor:
        """Errors by the coefficients without their own block, ``[N, T, D]``; 0 where unknown.

        Args:
            parts: Windows with their future, each with its block.
            shape: Sizes of the data.
        """
        errors = []
        for block, batch in parts:
            mean = torch.einsum("bhdk,hdk->bhd", regressors(batch, shape), self.left_out[block])
            known = batch.observed[:, -shape.horizon :]
            truth = batch.target[:, -shape.horizon :].clamp(-LARGEST, LARGEST)
            errors.append(torch.where(known, truth - mean, 0.0))
        return torch.cat(errors)


def fit_linear(parts: Callable[[], Iterable[tuple[int, Batch]]], shape: Shape) -> LinearFit:
    """Coefficients of every lead and series.

    Args:
        parts: Gives the windows to fit, a few at a time, each few with the number of their block. It is
            called once, but for more series than `WIDE`.
        shape: Sizes of the data.
    """
    size = shape.horizon
    if shape.target_dim > WIDE:
        size = max(1, int(PRODUCTS // (BLOCKS * shape.target_dim * regressor_count(shape) ** 2)))
    found = [
        _fit_leads(parts(), shape, slice(first, min(first + size, shape.horizon)))
        for first in range(0, shape.horizon, size)
    ]
    best = min(PENALTIES, key=lambda penalty: sum(some[penalty].error for some in found))
    return LinearFit(
        torch.cat([some[best].coefficients for some in found]),
        best,
        torch.cat([some[best].left_out for some in found], dim=1),
    )


class _Tried(NamedTuple):
    """What one penalty makes of some leads: as in `LinearFit`, and the squared error of left-out blocks."""

    coefficients: Tensor
    left_out: Tensor
    error: float


def _fit_leads(
    parts: Iterable[tuple[int, Batch]], shape: Shape, leads: slice
) -> dict[float, _Tried]:
    """The fits of some leads, by penalty."""
    count, by_lead = regressor_count(shape), (leads.stop - leads.start, shape.target_dim)
    size = (BLOCKS, by_lead[0] * by_lead[1], count)
    gram, moment = torch.zeros(*size, count).double(), torch.zeros(*size, 1).double()
    square, rows = torch.zeros(size[:2]).double(), torch.zeros(size[:2]).double()
    for block, batch in parts:
        future = slice(shape.history_length + leads.start, shape.history_length + leads.stop)
        known = batch.observed[:, future].flatten(1).to(batch.target)  # [B, T * D]
        truth = batch.target[:, future].clamp(-LARGEST, LARGEST)
        target = truth.flatten(1) * known
        x = regressors(batch, shape, leads).flatten(1, 2).transpose(0, 1)  # [T * D, B, K]
        weighted = (x * known.t()[..., None]).transpose(1, 2)
        gram[block] += (weighted @ x).double().cpu()
        moment[block] += (weighted @ target.t()[..., None]).double().cpu()
        square[block] += target.square().sum(dim=0).double().cpu()
        rows[block] += known.sum(dim=0).double().cpu()

    def solved(without: int | None = None) -> dict[float, Tensor]:
        """Coefficients by penalty, sums over blocks being the same for all."""
        kept = [b for b in range(BLOCKS) if b != without]
        g, m, n = (part[kept].sum(dim=0) for part in (gram, moment, rows))
        eye = torch.eye(count).double()
        whole = n.unflatten(0, by_lead).sum(dim=1).clamp(min=1)[:, None, None]
        pooled = torch.linalg.solve(
            g.unflatten(0, by_lead).sum(dim=1) + _POOLED * whole * eye,
            m.unflatten(0, by_lead).sum(dim=1),
        )
        towards = pooled.repeat_interleave(shape.target_dim, dim=0)
        found = {}
        for penalty in PENALTIES:
            weight = penalty * n.clamp(min=1)[:, None, None]
            found[penalty] = torch.linalg.solve(g + weight * eye, m + weight * towards)[..., 0]
        return found

    def left_out_error(coefficients: list[Tensor]) -> float:
        error = square.sum()
        for block, b in enumerate(coefficients):
            error += ((b[:, None] @ gram[block])[:, 0] * b).sum() - 2 * (
                moment[block][..., 0] * b
            ).sum()
        return float(error)

    whole, without = solved(), [solved(without=block) for block in range(BLOCKS)]
    dtype, tried = torch.get_default_dtype(), {}
    for penalty in PENALTIES:
        left_out = [found[penalty] for found in without]
        tried[penalty] = _Tried(
            whole[penalty].unflatten(0, by_lead).to(dtype),
            torch.stack(left_out).unflatten(1, by_lead).to(dtype),
            left_out_error(left_out),
        )
    return tried
