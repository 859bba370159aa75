"""The support of a model from its training data and from what is declared of it."""

import numpy as np

from timediff.config import ModelConfig
from timediff.errors import InputError
from timediff.gluon.entries import Series, changes, series_names
from timediff.timegrad.batch import Shape
from timediff.timegrad.support import Support

__all__ = ["check_declared", "make_support"]


def make_support(all_series: list[Series], config: ModelConfig, shape: Shape) -> Support:
    """What the paths of a model keep to.

    Args:
        all_series: The training data.
        config: Says what is read off them, and declares bounds.
        shape: Sizes of a window.
    """
    support = Support(shape.target_dim)
    if config.support == "auto":
        support.learn(*changes(all_series, 0))
        if shape.cycles:
            support.learn_repeats(
                (np.where(series.observed, series.values, np.nan) for series in all_series),
                cycle=shape.cycle,
                horizon=shape.horizon,
            )
    if config.bounds is not None:
        support.declare(config.bounds)
    return support


def check_declared(all_series: list[Series], bounds: list[list[float | None]]) -> None:
    """Raises `InputError` for the first series with a value outside of its declared bounds."""
    dim = all_series[0].values.shape[1]
    support = Support(dim)
    support.declare(bounds)
    low, high = support.bounds.double().numpy()
    for series in all_series:
        outside = series.observed & ((series.values < low) | (series.values > high))
        if outside.any():
            step, d = np.argwhere(outside)[0]
            name = series_names(series.entry, dim)[d]
            raise InputError(
                f"{series.name} of the training data holds {series.values[step, d]:g} in {name}, outside of "
                f"the bounds {low[d]:g} to {high[d]:g}; give wider bounds, or leave the value out as NaN"
            )
