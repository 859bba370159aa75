"""What training data and options do not allow together, and what is to be said of them before training."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from timediff.config import ModelConfig, TrainConfig
from timediff.errors import InputError
from timediff.frequency import adaptive_cycles, default_difference
from timediff.gluon.entries import Series
from timediff.gluon.support import check_declared
from timediff.timegrad.batch import Shape
from timediff.timegrad.model import TimeGrad

__all__ = [
    "MOST_SIGNAL_LEFT",
    "check_training",
    "filled_in",
    "warn_of_signal",
    "warn_of_univariate",
]

#: Share of the data's variance at the end of the chain from which forecasts go visibly wrong.
MOST_SIGNAL_LEFT = 0.1


def filled_in(
    model: ModelConfig, all_series: list[Series], *, freq: str, horizon: int, before: Shape | None
) -> ModelConfig:
    """The network with difference and cycles as the data suggest, where they are left out.

    Args:
        model: What was asked for.
        all_series: Training data.
        freq: Of it.
        horizon: Steps that the model samples.
        before: Sizes of the predictor whose weights training begins with.
    """
    difference, cycles = model.difference, model.cycles
    longest = max(len(series.values) for series in all_series)
    if difference is None and before is not None:
        difference = before.difference
    if model.scaling == "adaptive":
        difference = difference or 0
        if cycles is None:
            cycles = (before.cycles if before else None) or adaptive_cycles(freq, longest)
    if difference is None:
        difference = default_difference(freq)
        if longest < 2 * difference + horizon:
            difference = 0
    return model._replace(difference=difference, cycles=cycles)


def check_training(
    all_series: list[Series],
    shape: Shape,
    model: ModelConfig,
    train: TrainConfig,
    *,
    validated: bool,
) -> None:
    """Raises `InputError` for what the data and the options do not allow together."""
    if train.patience and not validated:
        raise InputError(
            "patience stops on the validation loss; give validation data, or patience 0"
        )
    if validated and model.schedule == "learned":
        raise InputError(
            "a learned schedule moves the levels that a validation loss would be measured at, so no two "
            "epochs compare; leave out validation data, or choose another schedule"
        )
    longest = max(len(series.values) for series in all_series)
    if longest <= shape.horizon:
        raise InputError(
            f"no series is longer than the horizon of {shape.horizon} steps (the longest has {longest}), so "
            "there is no window to train on; give longer series or a shorter horizon"
        )
    if longest <= shape.difference:
        raise InputError(
            f"difference is {shape.difference}, but the longest series has {longest} steps; "
            "give a smaller one, or 0"
        )
    if model.bounds is not None:
        check_declared(all_series, model.bounds)


def warn_of_signal(model: TimeGrad) -> None:
    """Warns if the chain ends before the data are gone."""
    last = model.schedule.points[-1]
    left = (last.alpha / last.norm) ** 2
    if left > MOST_SIGNAL_LEFT:
        warnings.warn(
            f"after {model.config.diffusion_steps} diffusion steps {left:.0%} of the data's variance "
            "is left, but sampling starts from pure noise: raise beta_end, or have more "
            "diffusion_steps and choose fewer sampling steps",
            stacklevel=5,
        )


def warn_of_univariate(entries: Sequence[Mapping[str, Any]]) -> None:
    """Warns that entries are examples of one model, and their forecasts independent."""
    warnings.warn(
        f"the {len(entries)} entries are of one dimension each, so this is one univariate model for all of "
        "them, and their forecasts are independent; joint=True makes a joint model, joint=False says so",
        stacklevel=4,
    )
