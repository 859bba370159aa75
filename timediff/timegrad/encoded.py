"""Windows as the model sees them: with their true future in training, or up to their first step."""

from typing import NamedTuple

import torch
from torch import Tensor

from timediff.networks.encoder import Decoder, State

__all__ = ["EncodedPast", "TeacherForced"]


class TeacherForced(NamedTuple):
    """Windows as the model sees them with every step's true past.

    Its K steps are those of context and horizon, or of the horizon alone where innovations are modelled.

    Attributes:
        x0: What is modelled, scaled values or innovations, ``[B, K, D]``; 0 where it is not known.
        observed: Where it is known, bool ``[B, K, D]``.
        cond: What each step is conditioned on, ``[B, K, cond_size]``.
        scale: Data units of one unit of it, ``[B, K, D]``, or ``[B, 1, D]`` where all steps have the same.
    """

    x0: Tensor
    observed: Tensor
    cond: Tensor
    scale: Tensor

    def at(self, positions: Tensor) -> "TeacherForced":
        """The steps ``positions [B, K]`` of each window alone."""
        rows = torch.arange(len(positions), device=positions.device)[:, None]
        x0, observed, cond = (part[rows, positions] for part in self[:3])
        scale = self.scale if self.scale.shape[1] == 1 else self.scale[rows, positions]
        return TeacherForced(x0, observed, cond, scale)


class EncodedPast(NamedTuple):
    """Windows as the model sees them before it draws their first step.

    Attributes:
        decoder: The encoder, with all it needs to know of them.
        state: The encoder's, after the context.
        loc: What scaled 0 stands for, ``[B, T, D]``, or ``[B, 1, D]`` where all steps have the same.
        scale: Data units of one scaled unit, likewise.
        start: What the changes of the first cycle are added to, ``[B, cycle, D]``; None for values.
        mean: The linear forecast in scaled units, ``[B, T, D]``; None without one.
        repeated: As in `Batch`.
    """

    decoder: Decoder
    state: State
    loc: Tensor
    scale: Tensor
    start: Tensor | None
    mean: Tensor | None = None
    repeated: Tensor | None = None

    def loc_at(self, t: int) -> Tensor:
        """The location of step t, ``[B, D]``."""
        return self.loc[:, min(t, self.loc.shape[1] - 1)]

    def repeated_at(self, t: int) -> Tensor | None:
        """The value repeated at step t, ``[B, D]``."""
        return None if self.repeated is None else self.repeated[:, t]

    def scale_at(self, t: int) -> Tensor:
        """The scale of step t, ``[B, D]``."""
        return self.scale[:, min(t, self.scale.shape[1] - 1)]
