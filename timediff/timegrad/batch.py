"""Windows of data as tensors, and the differences of them that are modelled."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Batch", "Shape", "differenced", "integrate", "last_observed"]


class Shape(NamedTuple):
    """Sizes that follow from the data, which nobody needs to give.

    Args:
        target_dim: D.
        horizon: Steps T after the known past, lead time included.
        context_length: Steps C that the encoder reads.
        lags: Lags in steps, ascending.
        num_features: Calendar features F.
        difference: As in `ModelConfig`.
    """

    target_dim: int
    horizon: int
    context_length: int
    lags: list[int]
    num_features: int
    difference: int = 0

    @property
    def history_length(self) -> int:
        """Steps of the past that a window holds."""
        return self.context_length + max(self.lags) + self.difference


class Batch(NamedTuple):
    """Windows, padded on the left with unobserved steps where a series is short.

    Attributes:
        target: ``[B, P, D]``: the past (`Shape.history_length` steps) and, for training, the future.
        observed: Which entries of it are known, bool ``[B, P, D]``. Others may hold anything.
        features: Calendar features of context and horizon, ``[B, C + T, F]``.
    """

    target: Tensor
    observed: Tensor
    features: Tensor


def differenced(batch: Batch, lag: int) -> tuple[Tensor, Tensor]:
    """The series that is modelled and where it is known; unknown entries are 0."""
    target, observed, _ = batch
    target = torch.where(observed, target, 0.0)
    if not lag:
        return target, observed
    both = observed[:, lag:] & observed[:, :-lag]
    return torch.where(both, target[:, lag:] - target[:, :-lag], 0.0), both


def integrate(changes: Tensor, start: Tensor, rows: Tensor) -> None:
    """Changes ``[T, R, D]`` into values, in place; those of the first cycle are added to ``start``.

    Args:
        changes: Of each path.
        start: Of each window, ``[B, cycle, D]``.
        rows: The window of each path, ``[R]``.
    """
    cycle = start.shape[1]
    for t in range(len(changes)):
        changes[t] += start[rows, t] if t < cycle else changes[t - cycle]


def last_observed(batch: Batch, *, cycle: int, default: Tensor) -> Tensor:
    """The last known value at each place of a cycle, else of its dimension, ``[B, cycle, D]``."""
    missing = -batch.target.shape[1] % cycle
    target = F.pad(batch.target, (0, 0, missing, 0)).unflatten(1, (-1, cycle))  # [B, C, cycle, D]
    observed = F.pad(batch.observed, (0, 0, missing, 0)).unflatten(1, (-1, cycle))
    order = torch.arange(1, target.shape[1] + 1, device=target.device)[:, None, None]
    last = (observed * order).amax(dim=1, keepdim=True)  # 0 where nothing was observed
    value = target.gather(1, (last - 1).clamp(min=0))[:, 0]
    elsewhere = last_observed(batch, cycle=1, default=default) if cycle > 1 else default
    return torch.where(last[:, 0] > 0, value, elsewhere)
