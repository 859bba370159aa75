"""``timediff evaluate --dataset NAME``: train, forecast, score, and write it all down.

This module only reads the command line; `timediff.benchmark.evaluation` does the work and is imported when
the options are known to make sense, so that ``--help`` and mistakes are answered at once.
"""

import argparse
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args

from jsonargparse import ActionYesNo, ArgumentParser, DefaultHelpFormatter, Namespace

from timediff.checks import check_run
from timediff.cli import base
from timediff.cli.base import add_fields, add_sampler_options, import_plugins, run_command
from timediff.config import ModelConfig, RunConfig, SamplingConfig, TrainConfig, with_options
from timediff.errors import InputError
from timediff.options import fields_of
from timediff.presets import PRESETS

__all__ = ["LENGTHS", "PROGRAM", "fail", "flag", "main", "make_parser", "parse", "seconds"]

PROGRAM = "timediff.evaluate"
#: Options that say how long training is. One on the command line stands against all in a file.
LENGTHS = ("--steps", "--epochs", "--time-budget", "--train.steps", "--train.time_budget")


class _Help(DefaultHelpFormatter):
    """Help without what stands there already: the choices of an option, and the code of its type."""

    def _get_type_str(self, action: argparse.Action) -> str | None:
        text = super()._get_type_str(action)
        return None if text is None or text.startswith(("Literal[", "<")) else text


class _Parser(ArgumentParser):
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """One line instead of the whole usage: what is wrong, and where the way out is described."""
        fail(" ".join(message.split()))

    def parse_string(self, content: str, *args: Any, **kwargs: Any) -> Namespace:
        """The options in the text of a file, where a single seed needs no brackets."""
        content = re.sub(
            r"^seed:[ \t]*(-?\d+)[ \t]*(#.*)?$", r"seed: [\1]", content, flags=re.MULTILINE
        )
        return super().parse_string(content, *args, **kwargs)


def fail(message: str) -> NoReturn:
    """Stops with status 2 after one sentence that says what is wrong."""
    base.fail(PROGRAM, message)


def seconds(text: object) -> float:
    """A time such as 90, 90s, 5m or 1h."""
    match = re.fullmatch(r"(\d+|\d*\.\d+)([smh]?)", str(text).strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give 90, 90s, 5m or 1h, say")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def flag(name: str) -> str:
    """The option of a field of `RunConfig`."""
    return "--" + name.replace("_", "-")


def make_parser(preset: str) -> ArgumentParser:
    """The command line, with the defaults of a preset."""
    parser = _Parser(
        prog=PROGRAM,
        usage="timediff evaluate [OPTION ...]",
        formatter_class=_Help,
        allow_abbrev=False,
        description="Trains a forecaster on a dataset, forecasts its test windows, and scores the sample "
        "paths against what happened and against baselines. After the options of a run come those of the "
        "network (--model.), its training (--train.) and sampling (--sampling.).",
    )
    _add_run(parser, preset)
    chosen = PRESETS[preset]
    network, training, sampling = map(
        parser.add_argument_group, ("the network", "its training", "how its paths are drawn")
    )
    add_fields(network, chosen.model, prefix="model.")
    add_fields(training, chosen.train, prefix="train.", skip={"seed"})
    add_fields(sampling, chosen.sampling, prefix="sampling.", skip={"options"})
    add_sampler_options(sampling, prefix="sampling.")
    return parser


def _add_run(parser: ArgumentParser, preset: str) -> None:
    """The options of a run: the fields of `RunConfig`, and what only a command line has."""
    for name, field in fields_of(RunConfig).items():
        default: Any = preset if name == "preset" else field.default
        options: dict[str, Any] = {"default": default, "help": field.help}
        if name in ("model", "train", "sampling"):
            continue
        if name == "preset":
            options["choices"] = tuple(PRESETS)
        elif field.type is bool and default:
            options["action"] = ActionYesNo(no_prefix="no-")
        elif field.type is bool:
            options["action"] = "store_true"
        elif isinstance(default, list):
            options |= {"type": get_args(field.type)[0], "nargs": "+"}
        else:
            options["type"] = field.type
        parser.add_argument(flag(name), **options)
    parser.add_argument(
        "--config",
        action="config",
        help="YAML file with any of these options; those on the command line win",
    )
    parser.add_argument("--steps", type=int | None, help="optimiser steps; short for --train.steps")
    parser.add_argument(
        "--epochs", type=int | None, help="the same in epochs of --train.steps_per_epoch steps"
    )
    parser.add_argument(
        "--time-budget",
        type=seconds,
        help="the same in wall-clock time of each training, such as 90, 90s, 5m or 1h",
    )
    parser.add_argument(
        "--plugin",
        metavar="MODULE",
        action="append",
        help="module that registers parts of your own (timediff.register); may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print only the record, as JSON")


def parse(argv: Sequence[str]) -> tuple[RunConfig, bool]:
    """What the run is asked to do, and whether only JSON is wanted."""
    early = _early(argv)
    preset = _preset(early)
    parsed = make_parser(preset).parse_args(list(argv))
    if parsed.preset != preset:
        fail("the preset in a configuration file must be a line such as preset: paper")
    return _config(parsed, length=_length(parsed, early)), bool(parsed.json)


def _early(argv: Sequence[str]) -> argparse.Namespace:
    """What the command line itself has of the options that depend on where they are."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--preset", *LENGTHS):
        first.add_argument(name)
    first.add_argument("--config", type=Path)
    first.error = lambda message: fail(message)  # type: ignore[method-assign]
    return first.parse_known_args(list(argv))[0]


def _preset(early: argparse.Namespace) -> str:
    """The preset that the command line, or else the configuration file, names."""
    preset = early.preset
    if early.config is not None:
        try:
            there = early.config.is_file()
            text = early.config.read_text(encoding="utf-8") if there else ""
        except (OSError, ValueError) as error:
            fail(f"{early.config} cannot be read ({error}); give a YAML file")
        if not there:
            fail(
                f"there is no file {early.config}; give a YAML file such as those in evaluation/configs"
            )
        match = re.search(r"""^preset:\s*["']?([^\s"'#]+)""", text, flags=re.MULTILINE)
        preset = preset or (match and match[1])
    if preset is None:
        return "default"
    if preset not in PRESETS:
        fail(f"preset {preset!r} is not known; choose one of {', '.join(PRESETS)}")
    return preset


def _length(parsed: Namespace, early: argparse.Namespace) -> tuple[int, float | None]:
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
        fail("--steps and --epochs say the same in two ways; give one of them")
    if budget is not None and (steps is not None or epochs is not None or "--train.steps" in here):
        fail(
            "--time-budget and --steps or --epochs both say how long training is; give one of them"
        )
    if epochs is not None:
        steps = epochs * parsed.train.steps_per_epoch
    return parsed.train.steps if steps is None else steps, budget


def _config(parsed: Namespace, *, length: tuple[int, float | None]) -> RunConfig:
    steps, budget = length
    values = {name: parsed[name] for name in RunConfig._fields}
    values["model"] = ModelConfig(**parsed.model.as_dict())
    train = TrainConfig(**parsed.train.as_dict())
    values["train"] = train._replace(steps=steps, time_budget=budget)
    values["sampling"] = _sampling(parsed)
    config = RunConfig(**values)
    try:
        check_run(config, name_of=flag)
    except InputError as error:
        fail(str(error))
    return config._replace(out=config.folder)


def _sampling(parsed: Namespace) -> SamplingConfig:
    """The preset's sampling with what was asked for; its options are those of its own sampler."""
    values, preset = parsed.sampling.as_dict(), PRESETS[parsed.preset].sampling
    fields = {name: values.pop(name) for name in SamplingConfig._fields if name in values}
    options = (preset.options or {}) if fields["sampler"] == preset.sampler else {}
    return with_options(SamplingConfig(**fields), options | values)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """One line, without the place in the code that nobody at a terminal asked for."""
    print(f"{PROGRAM}: {message}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of the command."""
    try:
        argv = import_plugins(sys.argv[1:] if argv is None else argv)
    except InputError as error:
        fail(str(error))
    config, as_json = parse(argv)

    def work() -> None:
        from timediff.benchmark.problem import pose

        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            problem = pose(config)
            # Seconds that a mistake in the data need not wait for.
            from timediff.benchmark.evaluation import evaluate
            from timediff.benchmark.record import as_json as record_json
            from timediff.report.text import as_text
            from timediff.report.write import write_results

            record = evaluate(config, problem=problem, draw=write_results).record
        print(record_json(record) if as_json else as_text(record, config.folder))

    kept = f"the same command with --resume goes on from {config.folder}"
    return run_command(PROGRAM, work, kept=lambda: kept)


if __name__ == "__main__":
    sys.exit(main())
