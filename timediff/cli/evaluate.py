"""``timediff evaluate --dataset NAME``: train, forecast, score, and write it all down.

This module only reads the command line; `timediff.benchmark.evaluation` does the work and is imported when
the options are known to make sense, so that ``--help`` and mistakes are answered at once.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from jsonargparse import ActionYesNo, ArgumentParser

from timediff.checks import check_run
from timediff.cli import base
from timediff.cli.base import import_plugins
from timediff.cli.configs import (
    ConfigParser,
    add_config,
    add_configs,
    add_lengths,
    add_plugin,
    add_threads,
    configs_of,
    parse_with_preset,
)
from timediff.cli.jobs import add_output_options, check_outputs
from timediff.cli.said import run_kept
from timediff.cli.tables import add_table_options, reading_of, told
from timediff.config import Preset, RunConfig
from timediff.errors import InputError
from timediff.options import fields_of
from timediff.presets import PRESETS

if TYPE_CHECKING:
    from timediff.benchmark.executors import Executor

__all__ = ["PROGRAM", "fail", "flag", "main", "make_parser", "parse"]

PROGRAM = "timediff.evaluate"


def fail(message: str) -> NoReturn:
    """Stops with status 2 after one sentence that says what is wrong."""
    base.fail(PROGRAM, message)


def flag(name: str) -> str:
    """The option of a field of `RunConfig`."""
    return "--" + name.replace("_", "-")


def make_parser(preset: str) -> ArgumentParser:
    """The command line, with the defaults of a preset."""
    parser = ConfigParser(
        prog=PROGRAM,
        usage="timediff evaluate [OPTION ...]",
        description="Trains a forecaster on a dataset, forecasts its test windows, and scores the sample "
        "paths against what happened and against baselines. After the options of a run come those of the "
        "network (--model.), its training (--train.) and sampling (--sampling.).",
    )
    _add_run(parser, preset)
    add_configs(parser, preset)
    return parser


def _add_run(parser: ArgumentParser, preset: str) -> None:
    """The options of a run: the fields of `RunConfig`, and what only a command line has."""
    for name, field in fields_of(RunConfig).items():
        default: Any = preset if name == "preset" else field.default
        options: dict[str, Any] = {"default": default, "help": field.help}
        if name in ("table", "model", "train", "sampling"):
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
    add_table_options(parser)
    add_config(parser)
    add_lengths(parser)
    add_threads(parser)
    parser.add_argument(
        "--workers",
        type=int | None,
        help="run so many entrants and seeds side by side, in processes with --threads each, or their "
        "share of the processors; what is finished is kept, and what a dead process did is done again",
    )
    parser.add_argument(
        "--on",
        choices=("local", "ray"),
        default="local",
        help="what --workers are: processes of this machine, or tasks of Ray (extra [ray])",
    )
    add_plugin(parser)
    add_output_options(parser)


def parse(argv: Sequence[str]) -> tuple[RunConfig, Any]:
    """What the run is asked to do, and the whole command line, which says what is to be printed."""
    parsed, early = parse_with_preset(PROGRAM, make_parser, argv)
    values = {
        name: parsed[name] for name in RunConfig._fields if name not in (*Preset._fields, "table")
    }
    values["table"] = reading_of(parsed)
    config = RunConfig(**values, **configs_of(PROGRAM, parsed, early)._asdict())
    try:
        check_outputs(parsed)
        check_run(config, name_of=flag)
    except InputError as error:
        fail(str(error))
    return config._replace(out=config.folder), parsed


def _executor(parsed: Any, threads: int | None) -> "Executor":
    """What runs the jobs of the run.

    Raises:
        InputError: The options make no sense, or Ray is not installed.
    """
    from timediff.benchmark.executors import local
    from timediff.benchmark.workers import Workers

    if parsed.workers is None:
        if parsed.on != "local":
            raise InputError(
                "--on says where --workers are; give their number, such as --workers 2"
            )
        return local
    if parsed.on == "ray" and parsed.device != "cpu":
        raise InputError("tasks of Ray ask for CPUs only; give --device cpu to --on ray")
    return Workers(parsed.workers, on=parsed.on, threads=threads)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of the command."""
    try:
        argv = import_plugins(sys.argv[1:] if argv is None else argv)
    except InputError as error:
        fail(str(error))
    config, parsed = parse(argv)
    try:
        executor = _executor(parsed, config.train.threads)
    except InputError as error:
        fail(str(error))

    def work() -> None:
        from timediff.benchmark.problem import pose

        with told():
            problem = pose(config)
        # Seconds that a mistake in the data need not wait for.
        from timediff.benchmark.evaluation import evaluate
        from timediff.benchmark.record import as_json
        from timediff.report.text import as_text
        from timediff.report.write import write_results

        done = evaluate(config, problem=problem, executor=executor, draw=write_results)
        record = done.record
        print(as_json(record) if parsed.json else as_text(record, config.folder))

    kept = f"the same command with --resume goes on from {config.folder}"
    return run_kept(PROGRAM, work, log_file=parsed.log_file, quiet=parsed.quiet, kept=lambda: kept)


if __name__ == "__main__":
    sys.exit(main())
