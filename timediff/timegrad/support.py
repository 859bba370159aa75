"""What values the paths of each series take: bounds, whole numbers, and values that it sits at.

Three properties are read off the training data. A series that was never negative has paths of at least 0,
which gives zero the mass of all that would lie below. One of whole numbers alone has paths of whole numbers.
And one that sits at a value, such as solar power at night or an idle station, has exactly that value at the
positions of the cycle where it had no other in its last cycles (`repeated`), if in the training data such a
value was left again in no more than one of fifty cases.

Axes: ``T`` steps, ``D`` series.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from timediff.timegrad.normalisation.adaptive import Array, repeated

__all__ = ["SURE", "Support", "stays"]

#: Share of the cases in which a repeated value was there again that makes it the forecast.
SURE = 0.98


class Support(nn.Module):
    """Values that paths may take; all, until it is told of some.

    Args:
        dim: D.

    Attributes:
        bounds: Least and greatest value of each series, float64 ``[2, D]``.
        whole: Series of whole numbers, bool ``[D]``.
        sits: Series that stay at a value that they repeat, bool ``[D]``.
    """

    bounds: Tensor
    whole: Tensor
    sits: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        ends = torch.tensor([-torch.inf, torch.inf], dtype=torch.float64)[:, None]
        self.register_buffer("bounds", ends.expand(2, dim).contiguous())
        self.register_buffer("whole", torch.zeros(dim, dtype=torch.bool))
        self.register_buffer("sits", torch.zeros(dim, dtype=torch.bool))

    def learn(self, values: Tensor, known: Tensor) -> None:
        """Reads bounds and whole numbers off the training data.

        Args:
            values: ``[N, D]``.
            known: Which of them are observed, bool ``[N, D]``.
        """
        seen = known.any(dim=0)
        never_negative = seen & ((values >= 0) | ~known).all(dim=0)
        self.bounds[0] = torch.where(never_negative, 0.0, -torch.inf)
        # A constant series, which may be one that was not switched on yet, says nothing of fractions.
        least = torch.where(known, values, torch.inf).amin(dim=0)
        constant = ((values == least) | ~known).all(dim=0)
        self.whole.copy_(seen & ~constant & ((values == values.round()) | ~known).all(dim=0))

    def learn_repeats(self, all_values: Iterable[Array], *, cycle: int, horizon: int) -> None:
        """Reads off the training data which series stay at a value that they repeat.

        Args:
            all_values: Of each entry, NaN where missing, ``[T, D]``.
            cycle: In steps.
            horizon: Steps of a forecast.
        """
        cases = [stays(values, cycle=cycle, horizon=horizon) for values in all_values]
        stayed, asked = (sum(counts) for counts in zip(*cases, strict=True))
        # By the rule of succession, so that few cases are not enough.
        self.sits.copy_(torch.from_numpy(stayed >= SURE * (asked + 1)))

    def declare(self, bounds: list[list[float | None]]) -> None:
        """Sets bounds given by hand, ``[low, high]`` for each series or one for all; None is no bound."""
        ends = torch.tensor(
            [
                [-torch.inf if low is None else low, torch.inf if high is None else high]
                for low, high in bounds
            ],
            dtype=torch.float64,
        )
        self.bounds.copy_(ends.t().expand(2, self.bounds.shape[1]))

    def forward(self, values: Tensor, repeated: Tensor | None = None) -> Tensor:
        """Values ``[..., D]`` as near to these as the support allows.

        Args:
            values: ``[..., D]``.
            repeated: As in `Batch`, to broadcast against the values.
        """
        values = torch.where(self.whole, values.round(), values)
        if repeated is not None:
            values = torch.where(self.sits & ~repeated.isnan(), repeated, values)
        return values.clamp(self.bounds[0], self.bounds[1])


def stays(values: Array, *, cycle: int, horizon: int) -> tuple[Array, Array]:
    """In how many cases a repeated value was there again at the end of a horizon, and of how many, ``[D]``.

    Args:
        values: NaN where missing, ``[T, D]``.
        cycle: In steps.
        horizon: In steps; beyond a cycle its last cycle is asked.
    """
    later = values[(-(-horizon // cycle) - 1) * cycle :]
    before = repeated(values, cycle=cycle)[: len(later)]
    return (before == later).sum(axis=0), ((before == before) & (later == later)).sum(axis=0)
