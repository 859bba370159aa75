"""The chance that a total goes beyond a limit at some step of a forecast, for every limit.

Axes: ``S`` sample paths, ``T`` time steps, ``D`` series. The peak of a total is that of whole paths, and
cannot be read off intervals of steps or series.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timediff.data.readers.contents import Aggregate

__all__ = ["SUM", "exceedance", "peaks", "totals"]

#: Name of the plain sum of all series.
SUM = "sum of all series"
_LEVELS = 100


def totals(
    values: NDArray[Any], aggregates: Mapping[str, Aggregate], observed: NDArray[Any]
) -> dict[str, NDArray[Any]]:
    """The sum over the series that are observed at all, and weighted sums, ``[..., T]`` by name.

    Args:
        values: Paths ``[S, T, D]``, or a history or truth ``[T, D]``, whose gaps are gaps of the sums.
        aggregates: Weighted sums.
        observed: Whether each series is ever observed, ``[D]``.
    """
    values = np.asarray(values, dtype=np.float64)
    sums = {SUM: values[..., observed].sum(axis=-1)}
    for name, aggregate in aggregates.items():
        part = aggregate.weights != 0
        sums[name] = values[..., part] @ aggregate.weights[part]
    return sums


def exceedance(
    paths: NDArray[Any], truth: NDArray[Any], aggregates: Mapping[str, Aggregate]
) -> dict[str, dict[str, Any]]:
    """For each total: limits, the chance that each is exceeded at some step, and what the truth reached.

    Args:
        paths: Of one window, ``[S, T, D]``.
        truth: What happened, ``[T, D]``, NaN where missing.
        aggregates: Weighted sums by name.

    Returns:
        By name of the total ``limits``, ``chance`` and ``reached``, which is None where a step is missing;
        nothing where nothing was observed.
    """
    observed = np.isfinite(truth).any(axis=0)
    if not observed.any():
        return {}
    happened = totals(truth, aggregates, observed)
    found = {}
    for name, total in totals(paths, aggregates, observed).items():
        limits, chance = peaks(total)
        reached = happened[name].max()
        found[name] = {
            "limits": [float(f"{limit:.5g}") for limit in limits],
            "chance": [float(f"{share:.5g}") for share in chance],
            "reached": float(f"{reached:.5g}") if np.isfinite(reached) else None,
        }
    return found


def peaks(total: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Limits and the share of paths ``[S, T]`` of which the highest value is above each, both rising limits.

    With many paths these are as many limits as matter for a picture.
    """
    highest = np.sort(total.max(axis=-1))
    ends = np.linspace(0, len(highest) - 1, min(len(highest), _LEVELS + 1)).round().astype(int)
    limits = highest[ends]
    return limits, (highest > limits[:, None]).mean(axis=-1)
