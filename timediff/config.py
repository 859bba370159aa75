"""Every default value, once. These objects go from the command line through the estimator to the
network; they import nothing heavy, so that ``--help`` and argument errors stay instant.
"""

import math
from pathlib import Path
from typing import Literal, NamedTuple

from timediff.errors import InputError


class ModelConfig(NamedTuple):
    """What the network is. The defaults are ours; `PAPER` holds the published TimeGrad.

    Args:
        cell: Recurrent cell of the encoder.
        num_layers: Recurrent layers.
        hidden_size: Cells per recurrent layer, H.
        dropout: Dropout between recurrent layers while training.
        lag_noise: Standard deviation of the noise added to the scaled lags in training. It keeps the
            encoder from knowing single training days by heart, and prepares it for the errors of its own
            draws; 0 for none.
        lags: Past steps the encoder sees at every step; from the frequency when left out.
        context_length: Steps the encoder reads before the forecast; the prediction length when left out.
        scaling: How a window is brought to unit size: mean of |y| over the context, mean and standard
            deviation over the context, mean and standard deviation over the training data, or not at all.
        difference: Model the change since this many steps ago instead of the value, and add the changes
            up in the forecast; 0 for the value itself. When left out: a day of hours or minutes, a week
            of days, a year of months or quarters, else one step; 0 if the series are too short for it.
        cond_size: Size of the condition that the denoiser receives from the encoder.
        denoiser: "conv", the paper's dilated convolution over the dimensions, or "mlp", a residual
            perceptron with adaptive layer norm, made of matrix products only.
        denoiser_layers: Residual blocks of the denoiser.
        denoiser_width: Channels ("conv") or units ("mlp") of a block.
        dilation_cycle: Dilations of the "conv" blocks are 1, 2, 4, .. repeated after this many.
        diffusion_steps: Steps N of the chain.
        schedule: Noise schedule.
        beta_start: First variance of the schedule, where it has one to choose.
        beta_end: Last variance of the schedule, where it has one to choose.
        loss: Error of the predicted noise.
        sampling_steps: Network calls per sampled step, evenly spaced on the chain; N when left out.
        variance: Variance of the reverse steps: the posterior's ("small") or beta ("large").
    """

    cell: Literal["gru", "lstm"] = "gru"
    num_layers: int = 2
    hidden_size: int = 64
    dropout: float = 0.1
    lag_noise: float = 1.0
    lags: list[int] | None = None
    context_length: int | None = None
    scaling: Literal["mean", "std", "global", "none"] = "global"
    difference: int | None = None
    cond_size: int = 100
    denoiser: Literal["conv", "mlp"] = "mlp"
    denoiser_layers: int = 3
    denoiser_width: int = 128
    dilation_cycle: int = 2
    diffusion_steps: int = 100
    schedule: Literal["linear", "quadratic", "constant", "cosine", "sigmoid", "jsd"] = "linear"
    beta_start: float = 1e-4
    beta_end: float = 0.1
    loss: Literal["l1", "l2", "huber"] = "l2"
    sampling_steps: int | None = None
    variance: Literal["small", "large"] = "small"


class TrainConfig(NamedTuple):
    """How the network is trained.

    Args:
        steps: Optimiser steps in all, rounded up so that every epoch has as many.
        steps_per_epoch: Most optimiser steps between two validations, checkpoints and points of the history.
        batch_size: Windows per step.
        learning_rate: Highest learning rate of the one-cycle schedule (Adam).
        weight_decay: L2 penalty of Adam.
        gradient_clip: Largest gradient norm; 0 for no clipping.
        ema_decay: Decay of the running average of the weights that forecasts are made with; 0 for
            the last weights.
        patience: Stop after this many epochs without a better validation loss; 0 to never stop early.
            Needs validation data.
        seed: Of initial weights, windows, noise and dropout; drawn from torch's generator when left out.
    """

    steps: int = 1000
    steps_per_epoch: int = 100
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-6
    gradient_clip: float = 1.0
    ema_decay: float = 0.995
    patience: int = 0
    seed: int | None = None


class Preset(NamedTuple):
    """A model and its training."""

    model: ModelConfig
    train: TrainConfig


PAPER = Preset(
    ModelConfig(
        hidden_size=40,
        lag_noise=0.0,
        scaling="mean",
        difference=0,
        denoiser="conv",
        denoiser_layers=8,
        denoiser_width=8,
    ),
    TrainConfig(steps=2000, learning_rate=1e-2, gradient_clip=0.0, ema_decay=0.0),
)
PRESETS = {"default": Preset(ModelConfig(), TrainConfig()), "paper": PAPER}


class Options(NamedTuple):
    """What one evaluation is asked to do.

    Args:
        dataset: Name, or folder with a wide table or a GluonTS dataset.
        data_dir: Folder of datasets.
        out: Folder for record, forecasts and picture.
        seeds: One training and forecast each.
        num_samples: Sample paths per window.
        validation_windows: Horizons at the end of the training data that are held out to choose the
            best epoch.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        align_clock: Move test stamps that disagree with training.
        resume: Go on from what an interrupted run left in ``out``.
        preset: Where the defaults of model and training came from.
        model: The network.
        train: Its training.
    """

    dataset: str
    data_dir: Path | None
    out: Path
    seeds: list[int]
    num_samples: int
    validation_windows: int
    device: str
    align_clock: bool
    resume: bool
    preset: str
    model: ModelConfig
    train: TrainConfig


def check_options(model: ModelConfig, train: TrainConfig, **sizes: int | None) -> None:
    """Raises `InputError` for the first value that makes no sense.

    Args:
        model: Checked in every field.
        train: Checked in every field.
        sizes: Further numbers that must be positive where they are given.
    """
    positive = {
        **sizes,
        "context_length": model.context_length,
        "num_layers": model.num_layers,
        "hidden_size": model.hidden_size,
        "cond_size": model.cond_size,
        "denoiser_layers": model.denoiser_layers,
        "denoiser_width": model.denoiser_width,
        "dilation_cycle": model.dilation_cycle,
        "diffusion_steps": model.diffusion_steps,
        "sampling_steps": model.sampling_steps,
        "steps": train.steps,
        "steps_per_epoch": train.steps_per_epoch,
        "batch_size": train.batch_size,
        "learning_rate": train.learning_rate,
    }
    for name, value in positive.items():
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} is {value}; it must be positive")
    not_negative = {
        "difference": model.difference or 0,
        "lag_noise": model.lag_noise,
        "patience": train.patience,
        "weight_decay": train.weight_decay,
        "gradient_clip": train.gradient_clip,
    }
    for name, value in not_negative.items():
        if not 0 <= value < math.inf:
            raise InputError(f"{name} is {value}; it must not be negative")
    if train.seed is not None and not 0 <= train.seed < 2**63:
        raise InputError(f"seed is {train.seed}; it must lie in 0 .. 2**63 - 1")
    if model.lags is not None and (not model.lags or min(model.lags) < 1):
        raise InputError(f"lags are {model.lags}; they must be whole numbers of at least 1")
    if model.sampling_steps is not None and model.sampling_steps > model.diffusion_steps:
        raise InputError(
            f"sampling_steps is {model.sampling_steps}; the chain has only {model.diffusion_steps} steps"
        )
    for name, share in (("dropout", model.dropout), ("ema_decay", train.ema_decay)):
        if not 0 <= share < 1:
            raise InputError(f"{name} is {share}; it must lie in [0, 1)")
    if model.schedule not in ("cosine", "jsd") and not 0 < model.beta_start <= model.beta_end < 1:
        raise InputError(
            f"beta_start {model.beta_start} and beta_end {model.beta_end} must satisfy "
            "0 < beta_start <= beta_end < 1"
        )
