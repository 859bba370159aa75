"""Errors of the linear forecast as they were: whole trajectories of past origins, each of which makes a path.

A path is the linear forecast plus the errors of all leads and series of one past origin, whose window was not
fitted to. So its margins, and its dependence over series and steps, are those of the past. Origins have the
position of the forecast's in the cycle, where there are enough of them.

Axes: ``N`` origins, ``B`` windows, ``S`` paths, ``T`` leads, ``D`` series.
"""

from typing import Any

import torch
from torch import Tensor, nn

from timediff.timegrad.batch import Batch

__all__ = ["FEWEST", "NUMBERS", "Trajectories", "filled", "from_network", "in_phase", "picks"]

#: Trajectories at the forecast's position in the cycle below which those of all positions serve.
FEWEST = 20
#: Numbers that a model keeps of them, at most.
NUMBERS = 5e6


def in_phase(positions: Tensor, position: int) -> Tensor:
    """Those of the origins at ``positions [N]`` whose errors a forecast from a position takes, ``[M]``."""
    same = torch.nonzero(positions == position)[:, 0]
    return same if len(same) >= FEWEST else torch.arange(len(positions))


def filled(errors: Tensor, known: Tensor, positions: Tensor) -> Tensor:
    """Errors whose unknown entries are those of other origins.

    In a short gap they are those of the origin before, or else after it. More than T origins from any that is
    known, as where a series begins later than others, they are of all origins that know the whole series,
    each as often, at the same position in the cycle where these are enough: those of a single one would be
    an atom of the forecast. Takers and givers are matched in order of the sum of the other series'
    errors, so that what is common to the series stays so.

    Args:
        errors: In scaled units, ``[N, T, D]``.
        known: Which of them are, bool ``[N, T, D]``. A series and lead that is never known has errors 0.
        positions: Of the origins in the cycle, ``[N]``.
    """
    count, horizon, _ = errors.shape
    order = torch.arange(count)[:, None, None].expand(errors.shape)
    before = torch.where(known, order, -1).cummax(dim=0).values
    after = torch.where(known, order, count).flip(0).cummin(dim=0).values.flip(0)
    source = torch.where(before >= 0, before, after)
    never = source == count
    found = torch.where(never, 0.0, errors.gather(0, source.clamp(max=count - 1)))
    absent = (((source - order).abs() > horizon) & ~never).any(dim=1)  # [N, D]
    whole = known.all(dim=1)
    patterns, which = absent.unique(dim=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        rows = torch.nonzero(which == number)[:, 0]
        common = found[:, :, ~pattern].sum(dim=(1, 2))
        series = torch.nonzero(pattern)[:, 0]
        together = bool(whole[:, series].all(dim=1).any())
        for own in [series] if together else series.split(1):
            givers = torch.nonzero(whole[:, own].all(dim=1))[:, 0]
            if not len(own) or not len(givers):
                continue
            place = positions[rows]
            enough = (positions[givers] == place[:, None]).sum(dim=1) >= FEWEST
            for position in torch.where(enough, place, -1).unique().tolist():
                takers = rows[place == position] if position >= 0 else rows[~enough]
                taken = givers[in_phase(positions[givers], position)]
                taken = taken[common[taken].argsort(stable=True)]
                takers = takers[common[takers].argsort(stable=True)]
                nth = (2 * torch.arange(len(takers)) + 1) * len(taken) // (2 * len(takers))
                block = found[takers]
                block[:, :, own] = torch.where(
                    known[takers][:, :, own], block[:, :, own], found[taken[nth]][:, :, own]
                )
                found[takers] = block
    return found


def from_network(num_samples: int, share: float) -> Tensor:
    """Which of the paths a network draws that has a share of them, as even as can be, bool ``[S]``."""
    place = torch.arange(num_samples + 1).double()
    return (place * share + 1e-9).floor().diff() > 0


def picks(count: int, num_samples: int, seed: int) -> Tensor:
    """Which of ``count`` past errors paths are made of, integer ``[S]``; none twice before all were once."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + 999_983) % 2**63)
    rounds = -(-num_samples // count)
    drawn = torch.cat([torch.randperm(count, generator=generator) for _ in range(rounds)])
    return drawn[:num_samples]


class Trajectories(nn.Module):
    """What past forecasts were wrong by, and how many of the paths are made of it."""

    errors: Tensor
    positions: Tensor
    share: Tensor

    def __init__(self, horizon: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("errors", torch.zeros(0, horizon, dim, dtype=torch.float16))
        self.register_buffer("positions", torch.zeros(0, dtype=torch.long))
        #: Of the paths, those that are not the network's.
        self.register_buffer("share", torch.zeros(()))

    def keep(self, errors: Tensor, known: Tensor, positions: Tensor) -> None:
        """Keeps errors ``[N, T, D]`` in scaled units and their origins' positions in the cycle, ``[N]``."""
        self.errors = filled(errors, known, positions).to(self.errors)
        self.positions = positions.to(self.positions)

    def draw(self, batch: Batch, mean: Tensor, window: int, num_samples: int, seed: int) -> Tensor:
        """Scaled values ``[S, T, D]`` around the linear forecast ``mean [B, T, D]`` of a window."""
        position = 0 if batch.position is None else int(batch.position[window])
        at = in_phase(self.positions.cpu(), position)
        errors = self.errors[at.to(self.errors.device)].to(mean)
        drawn = picks(len(at), num_samples, seed).to(mean.device)
        return mean[window] + (errors - errors.mean(dim=0))[drawn]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # As many as were kept.
        for name in ("errors", "positions"):
            kept, own = state_dict.get(prefix + name), getattr(self, name)
            if kept is not None and kept.shape[1:] == own.shape[1:]:
                setattr(self, name, own.new_empty(kept.shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)
