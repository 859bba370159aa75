"""The window of a forecast in units of the adaptive normalisation, by numpy.

What `timediff.gluon.units.AdaptiveTables` makes of many windows at once, for the last one of a single series.

Axes: ``T`` steps, ``P`` steps of the past that the network sees, ``H`` steps ahead, ``D`` series, ``J``
profiles; NaN is a missing value.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from timediff.timegrad.normalisation.adaptive import ahead, filled, parts, recent_mean, repeated
from timediff.timegrad.normalisation.base import LARGEST

__all__ = ["adaptive_window", "last_rows"]

_Array = NDArray[Any]


def adaptive_window(
    values: _Array, *, history: int, horizon: int, settings: dict[str, Any]
) -> dict[str, _Array]:
    """Fields of a `timediff.timegrad.batch.Batch` without their axis of windows.

    Args:
        values: All that is known, ``[T, D]``.
        history: P.
        horizon: H.
        settings: ``cycles``, ``half_life``, ``scale_half_life`` and ``profiles`` of a
            `timediff.timegrad.batch.Shape`.

    Returns:
        ``target`` and ``observed`` ``[P, D]``, ``location``, ``scale`` and ``repeated`` ``[H, D]``, and where
        the model has them ``profiles [H, D, J]`` and ``pattern [cycle, D]``.
    """
    length, cycles = len(values), settings["cycles"]
    cycle, first = cycles[0], max(length - history, 0)
    own, instead = parts(
        values,
        cycle=cycle,
        half_life=settings["half_life"],
        scale_half_life=settings["scale_half_life"],
        first=first,
    )
    shown = length - first

    def near(rows: _Array, its_cycle: int) -> _Array:
        return rows[ahead(shown, horizon, its_cycle)]

    # What earlier cycles say nothing of has what all steps before the origin say.
    location, scale = (
        np.where(np.isnan(near(part, cycle)), other[shown], near(part, cycle))
        for part, other in zip(own, instead, strict=True)
    )
    unit = filled(own, instead)

    def in_units(rows: _Array) -> _Array:
        return ((rows - unit.location[:shown]) / unit.scale[:shown]).astype(np.float32)

    deviation = last_rows(in_units(values[first:]), history).clip(-LARGEST, LARGEST)
    window = {
        "target": np.nan_to_num(deviation),
        "observed": ~np.isnan(deviation),
        "repeated": near(repeated(values, cycle=cycle, first=first), cycle),
    }
    means = [
        recent_mean(values, cycle=int(its_cycle), half_life=half_life, first=first)[0]
        for its_cycle, half_life in settings["profiles"]
    ]
    if means:
        columns = [
            _plain((near(rows, int(its_cycle)) - location) / scale)
            for rows, (its_cycle, _) in zip(means, settings["profiles"], strict=True)
        ]
        window["profiles"] = np.stack(columns, axis=-1).astype(np.float32)
    if means and len(cycles) > 1:
        window["pattern"] = _plain(last_rows(in_units(means[-1][:shown]), cycle))
    # A series of which nothing was seen yet is forecast around 0, in units of 1.
    known = np.isfinite(location)
    window["location"] = np.where(known, location, 0.0)
    window["scale"] = np.where(known, scale, 1.0)
    return window


def last_rows(rows: _Array, count: int) -> _Array:
    """The last rows, NaN before the first."""
    return np.pad(rows, ((count, 0), (0, 0)), constant_values=np.nan)[-count:]


def _plain(rows: _Array) -> _Array:
    """Rows drawn in, 0 where there is no number."""
    return np.nan_to_num(rows, nan=0.0, posinf=0.0, neginf=0.0).clip(-LARGEST, LARGEST)
