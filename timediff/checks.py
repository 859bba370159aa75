"""Which values of `timediff.config` make sense, by themselves and together."""

import math
from typing import get_args

from timediff.config import DistillConfig, ModelConfig, SamplingConfig, TrainConfig
from timediff.errors import InputError

#: Options of `SamplingConfig` that only some samplers read.
SAMPLER_OPTIONS = {
    "extrapolation": ("ancestral",),
    "eta": ("ddim",),
    "order": ("dpm++", "sde-dpm++"),
    "churn": ("heun",),
    "corrections": ("langevin", "predictor-corrector"),
    "snr": ("langevin", "predictor-corrector"),
}


def check_options(
    model: ModelConfig, train: TrainConfig, sampling: SamplingConfig, **sizes: int | None
) -> None:
    """Raises `InputError` for the first value that makes no sense.

    Args:
        model: Checked in every field.
        train: Checked in every field.
        sampling: Checked in every field, and against the model.
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
        "steps": train.steps,
        "time_budget": train.time_budget,
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
        "hybrid_weight": model.hybrid_weight,
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
    check_precision(train.precision, model)
    check_sampling(sampling, model)
    shares = {
        "dropout": model.dropout,
        "condition_dropout": model.condition_dropout,
        "ema_decay": train.ema_decay,
    }
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise InputError(f"{name} is {share}; it must lie in [0, 1)")
    if not 0 < train.positions <= 1:
        raise InputError(f"positions is {train.positions}; it must lie in (0, 1]")
    if train.step_sampling == "importance" and model.schedule == "learned":
        raise InputError(
            "step_sampling is importance and schedule is learned; each evens out the loss over the "
            "steps on its own: choose one"
        )
    if model.schedule not in ("cosine", "jsd") and not 0 < model.beta_start <= model.beta_end < 1:
        raise InputError(
            f"beta_start {model.beta_start} and beta_end {model.beta_end} must satisfy "
            "0 < beta_start <= beta_end < 1"
        )


def check_precision(precision: str, model: ModelConfig) -> None:
    """Raises `InputError` if the network does not work in this precision."""
    if precision == "bf16" and model.denoiser == "conv":
        raise InputError(
            "precision is bf16 and denoiser is conv, whose few channels gain nothing by it; choose "
            "float32, or another denoiser"
        )


def check_sampling(sampling: SamplingConfig, model: ModelConfig) -> None:
    """Raises `InputError` if these options make no sense, or not for this model."""
    for name in ("sampler", "spacing", "noise", "precision"):
        choices = get_args(SamplingConfig.__annotations__[name])
        if getattr(sampling, name) not in choices:
            raise InputError(
                f"{name} is {getattr(sampling, name)!r}; it must be one of {', '.join(choices)}"
            )
    for name in ("steps", "order", "corrections"):
        value = getattr(sampling, name)
        if not (isinstance(value, int) or (name == "steps" and value is None)):
            raise InputError(f"{name} is {value!r}; it must be a whole number")
    for name, samplers in SAMPLER_OPTIONS.items():
        default = SamplingConfig._field_defaults[name]
        if getattr(sampling, name) != default and sampling.sampler not in samplers:
            raise InputError(
                f"{name} is {getattr(sampling, name)}, which only {' and '.join(samplers)} read; leave it "
                f"out for {sampling.sampler}"
            )
    check_precision(sampling.precision, model)
    if sampling.steps is not None and not 0 < sampling.steps < math.inf:
        raise InputError(f"sampling steps is {sampling.steps}; it must be positive")
    if sampling.steps is not None and sampling.steps > model.diffusion_steps:
        raise InputError(
            f"sampling steps is {sampling.steps}; the chain has only {model.diffusion_steps} steps"
        )
    if sampling.order not in (1, 2, 3):
        raise InputError(f"order is {sampling.order}; it must be 1, 2 or 3")
    for name in ("eta", "extrapolation"):
        if not 0 <= getattr(sampling, name) <= 1:
            raise InputError(f"{name} is {getattr(sampling, name)}; it must lie in [0, 1]")
    if not 0 <= sampling.churn < math.inf:
        raise InputError(f"churn is {sampling.churn}; it must not be negative")
    if sampling.corrections < 1:
        raise InputError(f"corrections is {sampling.corrections}; it must be at least 1")
    if sampling.snr is not None and not 0 < sampling.snr < 1:
        raise InputError(f"snr is {sampling.snr}; it must lie between 0 and 1")
    if not math.isfinite(sampling.guidance):
        raise InputError(f"guidance is {sampling.guidance}; it must be finite")
    if sampling.guidance and not model.condition_dropout:
        raise InputError(
            f"guidance is {sampling.guidance}, but the model was trained without condition_dropout; "
            "train it with 0.1, or leave guidance out"
        )


def check_distillation(steps: int, config: DistillConfig) -> None:
    """Raises `InputError` for the first option of a distillation that makes no sense."""
    for name, value in {"steps": steps, **config._asdict()}.items():
        if name != "learning_rate" and not isinstance(value, int):
            raise InputError(f"{name} is {value!r}; it must be a whole number")
        if name != "seed" and not 0 < value < math.inf:
            raise InputError(f"{name} is {value}; it must be positive")
    if steps & (steps - 1):
        raise InputError(
            f"steps is {steps}; it must be a power of two, as every halving halves them"
        )
    if not 0 <= config.seed < 2**63:
        raise InputError(f"seed is {config.seed}; it must lie in 0 .. 2**63 - 1")
