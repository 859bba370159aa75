"""Options of model, training and sampling, which every command that trains has in common.

Their defaults are those of a preset, which is therefore looked for first; a configuration file may name it.
"""

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

from timediff.checks import read_fields
from timediff.cli.base import add_fields, add_sampler_options, fail
from timediff.config import ModelConfig, Preset, SamplingConfig, TrainConfig, with_options
from timediff.errors import InputError
from timediff.kinds import shown
from timediff.presets import PRESETS
from timediff.registry import SAMPLERS

__all__ = [
    "LENGTHS",
    "ConfigParser",
    "add_config",
    "add_configs",
    "add_lengths",
    "add_plugin",
    "add_threads",
    "configs_of",
    "parse_with_preset",
    "seconds",
]

#: Options that say how long training is. One on the command line stands against all in a file.
LENGTHS = ("--steps", "--epochs", "--time-budget", "--train.steps", "--train.time_budget")


class _Help(DefaultHelpFormatter):
    """Help without what stands there already: the choices of an option, and the code of its type."""

    def _get_type_str(self, action: argparse.Action) -> str | None:
        text = super()._get_type_str(action)
        return None if text is None or text.startswith(("Literal[", "<")) else text

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Examples keep their lines."""
        return text if text.startswith("examples:") else super()._fill_text(text, width, indent)


class ConfigParser(ArgumentParser):
    """A command line with configuration files, whose mistakes are answered in one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Help, allow_abbrev=False, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """One line instead of the whole usage: what is wrong, and where the way out is described."""
        fail(str(self.prog), " ".join(message.split()))

    def parse_string(self, content: str, *args: Any, **kwargs: Any) -> Namespace:
        """The options in the text of a file, where a single seed needs no brackets."""
        content = re.sub(
            r"^seed:[ \t]*(-?\d+)[ \t]*(#.*)?$", r"seed: [\1]", content, flags=re.MULTILINE
        )
        return super().parse_string(content, *args, **kwargs)


def seconds(text: object) -> float:
    """A time such as 90, 90s, 5m or 1h."""
    match = re.fullmatch(r"(\d+|\d*\.\d+)([smh]?)", str(text).strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give 90, 90s, 5m or 1h, say")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def add_config(parser: Any) -> None:
    """Adds ``--config``."""
    parser.add_argument(
        "--config",
        action="config",
        help="YAML file with any of these options; those on the command line win",
    )


def add_lengths(parser: Any) -> None:
    """Adds the short ways to say how long training is."""
    parser.add_argument("--steps", type=int | None, help="optimiser steps; short for --train.steps")
    parser.add_argument(
        "--epochs", type=int | None, help="the same in epochs of --train.steps_per_epoch steps"
    )
    parser.add_argument(
        "--time-budget",
        type=seconds,
        help="the same in wall-clock time of each training, such as 90, 90s, 5m or 1h",
    )


def add_threads(parser: Any) -> None:
    """Adds ``--threads``."""
    parser.add_argument(
        "--threads",
        type=int | None,
        help="of each training on a CPU, in place of the quickest of a few timed steps; short for "
        "--train.threads",
    )


def add_plugin(parser: Any) -> None:
    """Adds ``--plugin`` to the help; `timediff.cli.base.import_plugins` has taken it out before."""
    parser.add_argument(
        "--plugin",
        metavar="MODULE",
        action="append",
        help="module that registers parts of your own (timediff.register); may be repeated",
    )


def add_configs(parser: Any, preset: str) -> None:
    """Adds all options of network, training and sampling, with the defaults of a preset."""
    chosen = PRESETS[preset]
    network, training, sampling = map(
        parser.add_argument_group, ("the network", "its training", "how its paths are drawn")
    )
    add_fields(network, chosen.model, prefix="model.")
    add_fields(training, chosen.train, prefix="train.", skip={"seed"})
    add_fields(sampling, chosen.sampling, prefix="sampling.", skip={"options"})
    add_sampler_options(sampling, prefix="sampling.")


def parse_with_preset(
    program: str, make_parser: Callable[[str], ArgumentParser], argv: Sequence[str]
) -> tuple[Namespace, argparse.Namespace]:
    """The options, with defaults of the preset that they name, and those that the command line itself has."""
    early = _early(program, argv)
    preset = _preset(program, early)
    parser = make_parser(preset)
    parsed = parser.parse_args(list(argv))
    _check_no_nulls(program, parser.get_defaults(), parsed)
    if parsed.preset != preset:
        fail(program, "the preset in a configuration file must be a line such as preset: paper")
    return parsed, early


def _check_no_nulls(program: str, defaults: Namespace, parsed: Namespace) -> None:
    """Fails if the configuration file has null where a value is needed; single fields are checked later."""
    groups = {"model", "train", "sampling"} & set(parsed.keys(branches=True))
    for name in groups:
        if not isinstance(parsed[name], Namespace):
            fail(
                program,
                f"{name} is {shown(parsed[name])} in the configuration file; give its options below it",
            )
    for name, default in defaults.items():
        if "." not in name and default is not None and parsed[name] is None:
            fail(
                program,
                f"{name} is null in the configuration file; give a value, or leave the line out",
            )


def _early(program: str, argv: Sequence[str]) -> argparse.Namespace:
    """What the command line itself has of the options that depend on where they are."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--preset", *LENGTHS, "--threads", "--train.threads"):
        first.add_argument(name)
    first.add_argument("--config", type=Path)
    first.error = lambda message: fail(program, message)  # type: ignore[method-assign]
    return first.parse_known_args(list(argv))[0]


def _preset(program: str, early: argparse.Namespace) -> str:
    """The preset that the command line, or else the configuration file, names."""
    preset = early.preset
    if early.config is not None:
        try:
            there = early.config.is_file()
            text = early.config.read_text(encoding="utf-8") if there else ""
        except (OSError, ValueError) as error:
            fail(program, f"{early.config} cannot be read ({error}); give a YAML file")
        if not there:
            fail(
                program,
                f"there is no file {early.config}; give a YAML file such as those in evaluation/configs",
            )
        match = re.search(r"""^preset:\s*["']?([^\s"'#]+)""", text, flags=re.MULTILINE)
        preset = preset or (match and match[1])
    if preset is None:
        return "default"
    if preset not in PRESETS:
        fail(program, f"preset {preset!r} is not known; choose one of {', '.join(PRESETS)}")
    return preset


def configs_of(program: str, parsed: Namespace, early: argparse.Namespace) -> Preset:
    """Model, training and sampling that were asked for."""
    try:
        model = read_fields(ModelConfig(**parsed.model.as_dict()))
        train = read_fields(TrainConfig(**parsed.train.as_dict()))
        SAMPLERS.check(parsed.sampling.sampler, option="sampler")
    except InputError as error:
        fail(program, str(error))
    steps, budget = _length(program, parsed, early)
    return Preset(
        model,
        train._replace(steps=steps, time_budget=budget, threads=_threads(parsed, early)),
        _sampling(parsed),
    )


def _length(program: str, parsed: Namespace, early: argparse.Namespace) -> tuple[int, float | None]:
    """Optimiser steps and time budget: what the command line says, else the file, else the preset."""
    steps, epochs, budget = parsed.steps, parsed.epochs, parsed.time_budget
    train_budget = parsed.train.time_budget
    here = {name for name in LENGTHS if getattr(early, name[2:].replace("-", "_")) is not None}
    if here:
        steps = steps if "--steps" in here else None
        epochs = epochs if "--epochs" in here else None
        budget = budget if "--time-budget" in here else None
        train_budget = train_budget if "--train.time_budget" in here else None
    budget = train_budget if budget is None else budget
    if steps is not None and epochs is not None:
        fail(program, "--steps and --epochs say the same in two ways; give one of them")
    if budget is not None and (steps is not None or epochs is not None or "--train.steps" in here):
        fail(
            program,
            "--time-budget and --steps or --epochs both say how long training is; give one of them",
        )
    if epochs is not None:
        steps = epochs * parsed.train.steps_per_epoch
    return parsed.train.steps if steps is None else steps, budget


def _threads(parsed: Namespace, early: argparse.Namespace) -> int | None:
    """Threads of training: what the command line says, else the file."""
    here = getattr(early, "train.threads") is not None and early.threads is None
    return parsed.train.threads if here or parsed.threads is None else parsed.threads


def _sampling(parsed: Namespace) -> SamplingConfig:
    """The preset's sampling with what was asked for; its options are those of its own sampler."""
    values, preset = parsed.sampling.as_dict(), PRESETS[parsed.preset].sampling
    fields = {name: values.pop(name) for name in SamplingConfig._fields if name in values}
    options = (preset.options or {}) if fields["sampler"] == preset.sampler else {}
    return with_options(SamplingConfig(**fields), options | values)
