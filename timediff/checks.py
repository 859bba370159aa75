"""Which values of `timediff.config` make sense, by themselves and together."""

import math
from collections.abc import Callable
from typing import Any, TypeVar, get_args

from timediff.config import (
    RECALIBRATION_PATHS,
    RECALIBRATION_WINDOWS,
    DistillConfig,
    ModelConfig,
    RunConfig,
    SamplingConfig,
    TrainConfig,
)
from timediff.errors import InputError, check_whole
from timediff.kinds import shown
from timediff.options import fields_of
from timediff.registry import SAMPLERS, TABLES
from timediff.tools.device import check_device

__all__ = [
    "CONFIGS",
    "LONGEST",
    "check_distillation",
    "check_lags",
    "check_options",
    "check_precision",
    "check_run",
    "check_sampling",
    "read_fields",
    "read_sampler_options",
]

CONFIGS = (ModelConfig, TrainConfig, SamplingConfig, DistillConfig, RunConfig)
#: Steps of a lag or a cycle, at most: windows are as long.
LONGEST = 100_000
_STEPS = (SamplingConfig, "steps")
_Config = TypeVar("_Config", bound=Any)


def read_fields(config: _Config, name_of: Callable[[str], str] = str) -> _Config:
    """A configuration with its values in Python's own types, those of configurations in it too.

    Args:
        config: A named tuple of `timediff.config`.
        name_of: What a field is called in messages.

    Raises:
        InputError: It is none, or a field is outside its limits or choices.
    """
    if not isinstance(config, CONFIGS):
        raise InputError(f"{shown(config)} is no configuration; give one of timediff.config")
    values = {}
    for field in fields_of(type(config)).values():
        value = getattr(config, field.name)
        choices = [choice for choice in get_args(field.type) if isinstance(choice, str)]
        if field.type in CONFIGS:
            value = read_fields(field.read(value))
        elif field.kind is not None:
            TABLES[field.kind].check(value, option=field.name)
        elif choices and value not in choices:
            raise InputError(
                f"{field.name} is {shown(value)}; it must be one of {', '.join(choices)}"
            )
        else:
            called = "sampling steps" if (type(config), field.name) == _STEPS else field.name
            value = field._replace(name=name_of(called)).read(value)
        values[field.name] = value
    if isinstance(config, SamplingConfig) and values["options"] is not None:
        values["options"] = read_sampler_options(config.sampler, values["options"])
    return config._replace(**values)


def check_run(config: RunConfig, *, name_of: Callable[[str], str] = str) -> None:
    """Raises `InputError` for what makes no sense in the options of a run, by themselves and together.

    Args:
        config: Checked in every field, model, training and sampling too.
        name_of: What a field is called in messages.
    """
    config = read_fields(config, name_of)
    check_device(config.device)
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
    model: ModelConfig,
    train: TrainConfig,
    sampling: SamplingConfig,
    *,
    target_dim: int | None = None,
) -> None:
    """Raises `InputError` for the first value that makes no sense.

    Args:
        model: Checked in every field.
        train: Checked in every field.
        sampling: Checked in every field, and against the model.
        target_dim: Series, where they are known.
    """
    model, train, sampling = read_fields(model), read_fields(train), read_fields(sampling)
    if model.lags is not None:
        check_lags(model.lags)
    _check_adaptive(model)
    _check_bounds(model, target_dim)
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


def check_lags(lags: list[int]) -> None:
    """Raises `InputError` unless these are lags, or cycles, in measure."""
    if not lags or min(lags) < 1 or max(lags) > LONGEST:
        raise InputError(
            f"lags are {shown(lags)}; they must be whole numbers of at least 1, and of {LONGEST} at most"
        )


def _check_adaptive(model: ModelConfig) -> None:
    """Raises `InputError` for options that contradict the adaptive scaling or a linear centre."""
    cycles = model.cycles
    if cycles is not None and (
        not cycles or cycles[0] < 1 or cycles[-1] > LONGEST or sorted(set(cycles)) != cycles
    ):
        raise InputError(
            f"cycles are {shown(cycles)}; they must be whole numbers from 1 to {LONGEST}, ascending; [1] "
            "for none"
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
            f"bounds are {shown(bounds)}; they must be pairs [low, high] with low below high, None for no "
            "bound: [[0, None]], say"
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
    if not isinstance(sampling, SamplingConfig):
        raise InputError(f"sampling is {shown(sampling)}; it must be a SamplingConfig")
    sampling = read_fields(sampling)
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


def read_sampler_options(sampler: str, values: dict[str, Any]) -> dict[str, Any]:
    """Options of a sampler in Python's own types.

    Raises:
        InputError: The sampler does not have one, or it is outside its limits.
    """
    options, read = SAMPLERS.options(sampler), {}
    for name, value in values.items():
        if name in options and name not in ModelConfig._fields:
            read[name] = options[name].read(value)
            continue
        readers = [reader for reader in SAMPLERS if name in SAMPLERS.options(reader)]
        if not readers or name in ModelConfig._fields:
            raise InputError(
                f"{name} is no option of the sampler {sampler}; leave it out of its options"
            )
        raise InputError(
            f"{name} is {shown(value)}, which only {', '.join(readers)} read; leave it out for {sampler}"
        )
    return read


def check_distillation(steps: int, config: DistillConfig) -> None:
    """Raises `InputError` for the first option of a distillation that makes no sense."""
    check_whole("steps", steps)
    read_fields(config)
    if steps & (steps - 1):
        raise InputError(
            f"steps is {steps}; it must be a power of two, as every halving halves them"
        )
