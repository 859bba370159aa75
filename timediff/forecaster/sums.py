"""Sums of series and of steps, path by path.

Axes: ``T`` time steps, ``D`` series.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from timediff.errors import InputError
from timediff.forecaster.frames import Array, eager, numbers

__all__ = ["summing_matrix", "sums_of_steps"]


def summing_matrix(S_df: Any, names: Sequence[Any]) -> tuple[Array, list[Any]]:
    """Weights ``[nodes, D]`` and the names of the nodes of what `hierarchicalforecast` makes in `aggregate`.

    Raises:
        InputError: The columns are not those of the series, or hold no finite numbers.
    """
    # Its sparse matrix (``sparse_s=True``) makes a frame of itself.
    table = eager(S_df.to_frame() if type(S_df).__name__ == "SMatrix" else S_df, "S_df")
    first, *columns = table.columns
    wanted = [str(name) for name in names]
    if missing := [name for name in wanted if name not in columns]:
        raise InputError(
            f"S_df has no column for the series {', '.join(missing[:5])}; give one, of zeros to leave it out"
        )
    if unknown := [name for name in columns if name not in wanted]:
        raise InputError(
            f"S_df has columns that are no series of the forecast ({', '.join(unknown[:5])}); leave them out"
        )
    matrix = np.stack([numbers(table, name, "S_df") for name in wanted], axis=1)
    if not np.isfinite(matrix).all():
        raise InputError("S_df has a weight that is missing or infinite; give 0 for no part")
    return matrix, table[first].to_list()


def sums_of_steps(values: Array, steps: int) -> Array:
    """Sums over so many steps in a row, counted from the last one: float64 ``[..., T // steps, D]``."""
    left_out = values.shape[-2] % steps
    kept = values[..., left_out:, :].astype(np.float64)
    return kept.reshape(*kept.shape[:-2], -1, steps, kept.shape[-1]).sum(axis=-2)
