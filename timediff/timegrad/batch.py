"""Windows of data as tensors, and the differences of them that are modelled."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Batch", "Covariate", "Shape", "differenced", "integrate", "last_observed"]


class Covariate(NamedTuple):
    """One column of numbers that are known beside the target, and its statistics in the training data.

    Args:
        field: The field of the data that it is a row of, or "holidays:" and a country.
        row: Which row, from 0.
        own: Whether each series has values of its own.
        category: The category whose presence the column tells; None for a row of numbers.
        location: Mean, of each series if these have their own, else one number.
        scale: Standard deviation, likewise.
        change: Standard deviation of the change over a cycle in units of the scale, likewise.
    """

    field: str
    row: int
    own: bool
    category: int | None
    location: list[float]
    scale: list[float]
    change: list[float]

    @property
    def ahead(self) -> bool:
        """Whether it is known over the horizon."""
        return "past" not in self.field

    @property
    def fixed(self) -> bool:
        """Whether it does not change with time."""
        return "static" in self.field

    @property
    def indicator(self) -> bool:
        """Whether it tells if something is there, and not how much."""
        return self.category is not None


class Shape(NamedTuple):
    """Sizes that follow from the data, which nobody needs to give.

    Args:
        target_dim: D.
        horizon: Steps T after the known past, lead time included.
        context_length: Steps C that the encoder reads.
        lags: Lags in steps, ascending.
        num_features: Calendar features F.
        difference: As in `ModelConfig`.
        cycles: Steps of the cycles that the adaptive normalisation knows, such as ``[24, 168]``; ``[1]`` for
            none, and empty with another normalisation.
        half_life: Of the adaptive location, in cycles.
        scale_half_life: Of the adaptive scale, in cycles.
        profiles: Cycle and half-life of further profiles that the linear centre sees.
        covariates: What is known beside the target.
        spread: Standard deviation of the change of each series over a cycle in the training data, where
            there are covariates.
    """

    target_dim: int
    horizon: int
    context_length: int
    lags: list[int]
    num_features: int
    difference: int = 0
    cycles: list[int] = []  # noqa: RUF012 (never changed)
    half_life: float = 4.0
    scale_half_life: float = 8.0
    profiles: list[list[float]] = []  # noqa: RUF012
    covariates: list[Covariate] = []  # noqa: RUF012
    spread: list[float] = []  # noqa: RUF012

    def plain(self) -> dict[str, Any]:
        """Its fields as JSON has them."""
        return self._asdict() | {"covariates": [one._asdict() for one in self.covariates]}

    @property
    def own(self) -> int:
        """Covariates of which each series has its own values."""
        return sum(covariate.own for covariate in self.covariates)

    @property
    def common(self) -> int:
        """Covariates that all series share."""
        return len(self.covariates) - self.own

    @property
    def cycle(self) -> int:
        """Steps of the shortest cycle; 1 for none."""
        return self.cycles[0] if self.cycles else 1

    @property
    def history_length(self) -> int:
        """Steps of the past that a window holds."""
        reach = max(2 * self.cycle, *self.cycles, 24) if self.cycles else 0
        return max(self.context_length + max(self.lags) + self.difference, reach)


class Batch(NamedTuple):
    """Windows, padded on the left with unobserved steps where a series is short.

    Attributes:
        target: ``[B, P, D]``, float64 in the data's own units: the past (`Shape.history_length` steps) and,
            for training, the future.
        observed: Which entries of it are known, bool ``[B, P, D]``. Others may hold anything.
        features: Calendar features of context and horizon, and covariates that all series share,
            ``[B, C + T, F + F_common]``.
        location: What 0 of the target stands for at each step of the horizon, float64
            ``[B, T, D]``; None where the target is in the data's own units.
        scale: Data units of its unit, likewise.
        profiles: How far each of `Shape.profiles` lies from the location, in units of the scale,
            ``[B, T, D, J]``.
        pattern: Where the last of `Shape.profiles` lay in each of the last steps of a cycle, likewise,
            ``[B, cycle, D]``; None with a single cycle.
        position: Of the first step ahead in the shortest cycle of the clock, integer ``[B]``.
        repeated: The value that each series had at each position of the horizon in all of its last cycles,
            NaN where it had several, ``[B, T, D]``; None where the target is in the data's own units.
        own: Covariates of each series of context and horizon, ``[B, C + T, D, F_own]``; None without any.
        regressors: What the linear centre is told of covariates at each lead, ``[B, T, D, K']``; None without
            any, and with another normalisation.
    """

    target: Tensor
    observed: Tensor
    features: Tensor
    location: Tensor | None = None
    scale: Tensor | None = None
    profiles: Tensor | None = None
    pattern: Tensor | None = None
    position: Tensor | None = None
    repeated: Tensor | None = None
    own: Tensor | None = None
    regressors: Tensor | None = None

    def to(self, device: Any) -> "Batch":
        """These windows on a device."""
        return self._map(lambda part: part.to(device))

    def rows(self, index: Any) -> "Batch":
        """Some of the windows."""
        return self._map(lambda part: part[index])

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        return Batch(*(None if part is None else change(part) for part in self))  # type: ignore[arg-type]


def differenced(batch: Batch, lag: int) -> tuple[Tensor, Tensor]:
    """The series that is modelled and where it is known; unknown entries are 0."""
    target, observed = batch.target, batch.observed
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
