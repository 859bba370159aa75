"""Which values of `timediff.config` make sense, by themselves and together."""

import math
from collections.abc import Callable
from typing import Any, get_args

from timediff.config import (
    RECALIBRATION_PATHS,
    RECALIBRATION_WINDOWS,
    DistillConfig,
    ModelConfig,
    RunConfig,
    SamplingConfig,
    TrainConfig,
)
from timediff.errors import InputError
from timediff.options import fields_of
from timediff.registry import SAMPLERS, TABLES
from timediff.tools.device import check_device

__all__ = [
    "check_distillation",
    "check_fields",
    "check_options",
    "check_precision",
    "check_run",
    "check_sampler_options",
    "check_sampling",
]


def check_fields(config: Any, **names: str) -> None:
    """Raises `InputError` for the first field of a configuration outside its limits or choices.

    Args:
        config: A named tuple.
        names: What to call fields whose own names would say too little.
    """
    for field in fields_of(type(config)).values():
        value = getattr(config, field.name)
        choices = [choice for choice in get_args(field.type) if isinstance(choice, str)]
        if field.kind is not None:
            TABLES[field.kind].check(value, option=field.name)
        elif choices and value not in choices:
            raise InputError(f"{field.name} is {value!r}; it must be one of {', '.join(choices)}")
        elif field.limits is not None:
            field._replace(name=names.get(field.name, field.name)).check(value)
        elif not isinstance(config, RunConfig):
            field.check_kind(value)


def check_run(config: RunConfig, *, name_of: Callable[[str], str] = str) -> None:
    """Raises `InputError` for what makes no sense in the options of a run, by themselves and together.

    Args:
        config: Checked in every field, model, training and sampling too.
        name_of: What a field is called in messages.
    """
    check_device(config.device)
    check_fields(config, **{name: name_of(name) for name in config._fields})
    check_options(config.model, config.train, config.sampling)
    seeds = config.seed
    if not seeds or len(set(seeds)) < len(seeds) or not all(0 <= s < 2**63 for s in seeds):
        raise InputError(f"seeds {seeds} must differ and lie in 0 .. 2**63 - 1")
    if config.train.patience > 0 and not config.validation_windows:
        raise InputError(
            f"{name_of('train.patience')} is {config.train.patience}, but nothing is held out to stop by; "
            f"give {name_of('validation_windows')} too"
        )
    for name in ("stride", "history"):
        if getattr(config, name) is not None and config.windows is None:
            raise InputError(
                f"{name_of(name)} is about windows cut anew; give {name_of('windows')} too"
            )
    for name in ("nll", "recalibrate"):
        if config.predictor is not None and getattr(config, name):
            raise InputError(
                f"{name_of(name)} is for models that are trained here; leave it or "
                f"{name_of('predictor')} out"
            )
    if config.recalibrate:
        least = {"validation_windows": RECALIBRATION_WINDOWS, "num_samples": RECALIBRATION_PATHS}
        for name, count in least.items():
            if getattr(config, name) < count:
                raise InputError(
                    f"{name_of('recalibrate')} needs {name_of(name)} of at least {count}, and it is "
                    f"{getattr(config, name)}"
                )


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
    for name, value in sizes.items():
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}; it must be positive")
    check_fields(model)
    check_fields(train)
    if model.lags is not None and (not model.lags or min(model.lags) < 1):
        raise InputError(f"lags are {model.lags}; they must be whole numbers of at least 1")
    _check_adaptive(model)
    _check_bounds(model, sizes.get("target_dim"))
    check_precision(train.precision, model)
    check_sampling(sampling, model)
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


def _check_adaptive(model: ModelConfig) -> None:
    """Raises `InputError` for options that contradict the adaptive scaling or a linear centre."""
    if model.cycles is not None and (
        not model.cycles or min(model.cycles) < 1 or sorted(set(model.cycles)) != model.cycles
    ):
        raise InputError(
            f"cycles are {model.cycles}; they must be whole numbers of at least 1, ascending; [1] for none"
        )
    if model.scaling == "adaptive" and model.difference:
        raise InputError(
            f"scaling is adaptive and difference is {model.difference}; deviations from the last cycles are "
            "no values to take differences of: choose one"
        )
    if model.centre == "linear" and model.scaling != "adaptive":
        raise InputError(
            f"centre is linear and scaling is {model.scaling}; the linear forecaster needs the adaptive "
            "scaling"
        )


def _check_bounds(model: ModelConfig, dim: int | None) -> None:
    """Raises `InputError` unless the bounds are pairs in order, one or as many as there are series."""
    bounds = model.bounds
    if bounds is None:
        return
    if not all(_are_ends(pair) for pair in bounds):
        raise InputError(
            f"bounds are {bounds}; they must be pairs [low, high] with low below high, None for no bound: "
            "[[0, None]], say"
        )
    if not bounds or len(bounds) not in (1, dim or len(bounds)):
        raise InputError(
            f"bounds has {len(bounds)} pairs; give one for all series, or one for each of the {dim}"
        )


def _are_ends(pair: list[float | None]) -> bool:
    """Whether these are two finite numbers, the least first, or None in their places."""
    ends = [end for end in pair if end is not None]
    return len(pair) == 2 and all(map(math.isfinite, ends)) and ends == sorted(set(ends))


def check_precision(precision: str, model: ModelConfig) -> None:
    """Raises `InputError` if the network does not work in this precision."""
    if precision == "bf16" and model.denoiser == "conv":
        raise InputError(
            "precision is bf16 and denoiser is conv, whose few channels gain nothing by it; choose "
            "float32, or another denoiser"
        )


def check_sampling(sampling: SamplingConfig, model: ModelConfig) -> None:
    """Raises `InputError` if these options make no sense, or not for this model."""
    check_fields(sampling, steps="sampling steps")
    check_sampler_options(sampling.sampler, sampling.options or {})
    check_precision(sampling.precision, model)
    if sampling.steps is not None and sampling.steps > model.diffusion_steps:
        raise InputError(
            f"sampling steps is {sampling.steps}; the chain has only {model.diffusion_steps} steps"
        )
    if sampling.guidance and not model.condition_dropout:
        raise InputError(
            f"guidance is {sampling.guidance}, but the model was trained without condition_dropout; "
            "train it with 0.1, or leave guidance out"
        )


def check_sampler_options(sampler: str, values: dict[str, Any]) -> None:
    """Raises `InputError` for an option that the sampler does not have, or outside its limits."""
    options = SAMPLERS.options(sampler)
    for name, value in values.items():
        if name in options and name not in ModelConfig._fields:
            options[name].check(value)
            continue
        readers = [reader for reader in SAMPLERS if name in SAMPLERS.options(reader)]
        if not readers or name in ModelConfig._fields:
            raise InputError(
                f"{name} is no option of the sampler {sampler}; leave it out of its options"
            )
        raise InputError(
            f"{name} is {value}, which only {' and '.join(readers)} read; leave it out for {sampler}"
        )


def check_distillation(steps: int, config: DistillConfig) -> None:
    """Raises `InputError` for the first option of a distillation that makes no sense."""
    if not isinstance(steps, int):
        raise InputError(f"steps is {steps!r}; it must be a whole number")
    if steps < 1:
        raise InputError(f"steps is {steps}; it must be positive")
    check_fields(config)
    if steps & (steps - 1):
        raise InputError(
            f"steps is {steps}; it must be a power of two, as every halving halves them"
        )
