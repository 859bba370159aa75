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

__all__ = ["FEWEST", "NUMBERS", "Trajectories", "filled", "from_network", "in_phase"]

#: Trajectories at the forecast's position in the cycle below which those of all positions serve.
FEWEST = 20
#: Numbers that a model keeps of them, at most.
NUMBERS = 5e6


def in_phase(positions: Tensor, position: int) -> Tensor:
    """Those of the origins at ``positions [N]`` whose errors a forecast from a position takes, ``[M]``."""
    same = torch.nonzero(positions == position)[:, 0]
    return same if len(same) >= FEWEST else torch.arange(len(positions))


def filled(errors: Tensor, known: Tensor) -> Tensor:
    """Errors ``[N, T, D]`` whose unknown entries are those of an origin before, or else after it."""
    order = torch.arange(len(errors))[:, None, None].expand(errors.shape)
    before = torch.where(known, order, -1).cummax(dim=0).values
    after = torch.where(known, order, len(errors)).flip(0).cummin(dim=0).values.flip(0)
    source = torch.where(before >= 0, before, after)
    never = source == len(errors)
    return torch.where(never, 0.0, errors.gather(0, source.clamp(max=len(errors) - 1)))


def from_network(num_samples: int, share: float) -> Tensor:
    """Which of the paths a network draws that has a share of them, as even as can be, bool ``[S]``."""
    place = torch.arange(num_samples + 1).double()
    return (place * share + 1e-9).floor().diff() > 0


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
        self.errors = filled(errors, known).to(self.errors)
        self.positions = positions.to(self.positions)

    def draw(self, batch: Batch, mean: Tensor, window: int, num_samples: int, seed: int) -> Tensor:
        """Scaled values ``[S, T, D]`` around the linear forecast ``mean [B, T, D]`` of a window."""
        position = 0 if batch.position is None else int(batch.position[window])
        at = in_phase(self.positions.cpu(), position)
        generator = torch.Generator().manual_seed((seed * 1_000_003 + 999_983) % 2**63)
        rounds = -(-num_samples // len(at))
        drawn = torch.cat([torch.randperm(len(at), generator=generator) for _ in range(rounds)])
        errors = self.errors[at.to(self.errors.device)].to(mean)
        return mean[window] + (errors - errors.mean(dim=0))[drawn[:num_samples].to(mean.device)]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # As many as were kept.
        for name in ("errors", "positions"):
            kept, own = state_dict.get(prefix + name), getattr(self, name)
            if kept is not None and kept.shape[1:] == own.shape[1:]:
                setattr(self, name, own.new_empty(kept.shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)
