"""Several processes that train one model: each has a share of the windows and of the random numbers.

The numbers of a step are drawn by every process for the windows of all of them, from generators in the same
state, and each keeps its own: so the losses of a seed do not depend on how many processes share a batch.
"""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from timediff.errors import InputError

__all__ = ["Share", "check_share"]


class Share(TorchFunctionMode):
    """Inside, random tensors with a row for each window are the rows of one rank in those of all ranks.

    Numbers that torch's recurrent layers draw for their dropout are not: every process draws those of its own
    windows only, after which the numbers of an epoch are others than in a single process.

    Args:
        rank: From 0.
        ranks: How many there are.
        rows: Windows of each.
    """

    def __init__(self, rank: int, ranks: int, rows: int) -> None:
        super().__init__()
        self.own, self.rows, self.ranks = slice(rank * rows, (rank + 1) * rows), rows, ranks

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is torch.randn_like:
            (like,) = args
            return self._drawn(torch.randn, like.shape, dtype=like.dtype, device=like.device)
        if function in (torch.rand, torch.randn):
            return self._drawn(function, args if isinstance(args[0], int) else args[0], **kwargs)
        if function is torch.randint:
            *ends, size = args
            return self._drawn(lambda size, **k: torch.randint(*ends, size, **k), size, **kwargs)
        return function(*args, **kwargs)

    def _drawn(self, function: Any, size: Any, **options: Any) -> Tensor:
        size = tuple(size)
        if size[:1] != (self.rows,):  # one number for all windows
            return function(size, **options)
        return function((self.ranks * self.rows, *size[1:]), **options)[self.own]


def check_share(batch_size: int, ranks: int) -> None:
    """Raises `InputError` unless the windows of a step can be shared evenly."""
    if batch_size % ranks:
        raise InputError(
            f"batch_size is {batch_size}, which {ranks} processes cannot share evenly; give a multiple of "
            f"{ranks}"
        )
