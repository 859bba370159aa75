"""``python -m timediff.evaluate --dataset NAME``: train, forecast, score, and write it all down.

This module only reads the command line; `timediff.benchmark.evaluation` does the work and is imported when
the options are known to make sense, so that ``--help`` and mistakes are answered at once.
"""

import argparse
import errno
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

from timediff.cli import base as terminal
from timediff.config import ModelConfig, RunConfig, SamplingConfig, TrainConfig
from timediff.errors import InputError
from timediff.presets import PRESETS

PROGRAM = "timediff.evaluate"
#: Options that say how long training is. One on the command line stands against all in a file.
LENGTHS = ("--steps", "--epochs", "--time-budget", "--train.steps", "--train.time_budget")


class _Help(DefaultHelpFormatter):
    """Help without what stands there already: the choices of an option, and the code of its type."""

    def _get_type_str(self, action: argparse.Action) -> str | None:
        said = super()._get_type_str(action)
        return None if said is None or said.startswith(("Literal[", "<function")) else said


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


def fail(message: str, *, hint: str = " See --help.") -> NoReturn:
    """Says what is wrong in one sentence and stops with status 2."""
    terminal.fail(PROGRAM, message, hint=hint)


def seconds(text: object) -> float:
    """A time such as 90, 90s, 5m or 1h."""
    match = re.fullmatch(r"(\d+|\d*\.\d+)([smh]?)", str(text).strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give 90, 90s, 5m or 1h, say")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


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
    parser.add_class_arguments(ModelConfig, "model", help="the network")
    parser.add_class_arguments(TrainConfig, "train", skip={"seed"}, help="its training")
    parser.add_class_arguments(SamplingConfig, "sampling", help="how its paths are drawn")
    chosen = PRESETS[preset]
    parser.set_defaults({f"model.{k}": v for k, v in chosen.model._asdict().items()})
    parser.set_defaults({f"sampling.{k}": v for k, v in chosen.sampling._asdict().items()})
    train = {k: v for k, v in chosen.train._asdict().items() if k != "seed"}
    parser.set_defaults({f"train.{k}": v for k, v in train.items()})
    return parser


def _add_run(parser: ArgumentParser, preset: str) -> None:
    """The options of a run, beside those of the network and its training."""
    parser.add_argument(
        "--dataset",
        default="citylearn2022",
        help="name (see python -m timediff.datasets) or folder",
    )
    parser.add_argument(
        "--data-dir", type=Path | None, help="folder of datasets; default $TIMEDIFF_DATA"
    )
    parser.add_argument(
        "--out", type=Path | None, help="folder for the results; default runs/DATASET-PRESET"
    )
    parser.add_argument(
        "--preset",
        default=preset,
        choices=tuple(PRESETS),
        help="defaults of --model, --train and --sampling: ours, or the published TimeGrad",
    )
    parser.add_argument(
        "--config",
        action="config",
        help="YAML file with any of these options; those on the command line win",
    )
    parser.add_argument("--seed", type=int, nargs="+", default=[1], help="one run for each")
    parser.add_argument("--steps", type=int | None, help="optimiser steps; short for --train.steps")
    parser.add_argument(
        "--epochs", type=int | None, help="the same in epochs of --train.steps_per_epoch steps"
    )
    parser.add_argument(
        "--time-budget",
        type=seconds,
        help="the same in wall-clock time of each training, such as 90, 90s, 5m or 1h",
    )
    parser.add_argument("--num-samples", type=int, default=100, help="sample paths per window")
    parser.add_argument(
        "--validation-windows",
        type=int,
        default=0,
        help="horizons at the end of the training data held out to choose the best epoch",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1")
    parser.add_argument(
        "--align-clock",
        action="store_true",
        help="move test stamps that disagree with the training data",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from what an interrupted run left in --out"
    )
    parser.add_argument(
        "--nll",
        action="store_true",
        help="report the variational bound and the likelihood of the test windows too",
    )
    parser.add_argument(
        "--baselines",
        default="fast",
        choices=("all", "fast", "none"),
        help="what to compare with: those that take seconds, or everything installed, which takes minutes",
    )
    parser.add_argument(
        "--predictor",
        type=Path | None,
        help="folder of a serialized GluonTS predictor to score in place of training, ours or any other; one "
        "that is not ours runs what its files name, so give only folders that you trust",
    )
    parser.add_argument(
        "--rivals",
        type=Path,
        nargs="+",
        default=[],
        help="folders of serialized GluonTS predictors to put beside the baselines, trusted like --predictor",
    )
    parser.add_argument(
        "--windows",
        type=int | None,
        help="test windows, cut anew from the whole data; those of the dataset when left out",
    )
    parser.add_argument(
        "--stride", type=int | None, help="steps between these; the horizon when left out"
    )
    parser.add_argument(
        "--history", type=int | None, help="steps before each of these; all when left out"
    )
    parser.add_argument(
        "--recalibrate",
        action="store_true",
        help="score the paths recalibrated on the --validation-windows too",
    )
    parser.add_argument(
        "--no-report", action="store_true", help="leave out report.html, plots and the diagnosis"
    )
    parser.add_argument("--json", action="store_true", help="print only the record, as JSON")


def parse(argv: Sequence[str]) -> tuple[RunConfig, bool]:
    """Options and whether only JSON is wanted."""
    said = _said(argv)
    preset = _preset(said)
    parsed = make_parser(preset).parse_args(list(argv))
    if parsed.preset != preset:
        fail("the preset in a configuration file must be a line such as preset: paper")
    return _options(parsed, length=_length(parsed, said)), bool(parsed.json)


def _said(argv: Sequence[str]) -> argparse.Namespace:
    """What the command line itself says of the options that depend on where they were given."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--preset", *LENGTHS):
        first.add_argument(name)
    first.add_argument("--config", type=Path)
    first.error = lambda message: fail(message)  # type: ignore[method-assign]
    return first.parse_known_args(list(argv))[0]


def _preset(said: argparse.Namespace) -> str:
    """The preset that the command line, or else the configuration file, names."""
    preset = said.preset
    if said.config is not None:
        try:
            found = said.config.is_file()
            text = said.config.read_text(encoding="utf-8") if found else ""
        except (OSError, ValueError) as error:
            fail(f"{said.config} cannot be read ({error}); give a YAML file")
        if not found:
            fail(
                f"there is no file {said.config}; give a YAML file such as those in evaluation/configs"
            )
        match = re.search(r"""^preset:\s*["']?([^\s"'#]+)""", text, flags=re.MULTILINE)
        preset = preset or (match and match[1])
    if preset is None:
        return "default"
    if preset not in PRESETS:
        fail(f"preset {preset!r} is not known; choose one of {', '.join(PRESETS)}")
    return preset


def _length(parsed: Namespace, said: argparse.Namespace) -> tuple[int, float | None]:
    """Optimiser steps and time budget: what the command line says, else the file, else the preset."""
    steps, epochs, budget = parsed.steps, parsed.epochs, parsed.time_budget
    own_budget = parsed.train.time_budget
    here = {name for name in LENGTHS if getattr(said, name[2:].replace("-", "_")) is not None}
    if here:
        steps = steps if "--steps" in here else None
        epochs = epochs if "--epochs" in here else None
        budget = budget if "--time-budget" in here else None
        own_budget = own_budget if "--train.time_budget" in here else None
    budget = own_budget if budget is None else budget
    if steps is not None and epochs is not None:
        fail("--steps and --epochs say the same in two ways; give one of them")
    if budget is not None and (steps is not None or epochs is not None or "--train.steps" in here):
        fail(
            "--time-budget and --steps or --epochs both say how long training is; give one of them"
        )
    if epochs is not None:
        steps = epochs * parsed.train.steps_per_epoch
    return parsed.train.steps if steps is None else steps, budget


def _options(parsed: Namespace, *, length: tuple[int, float | None]) -> RunConfig:
    steps, budget = length
    train = TrainConfig(**parsed.train.as_dict())._replace(steps=steps, time_budget=budget)
    if parsed.num_samples < 1:
        fail(f"--num-samples is {parsed.num_samples}; it must be at least 1")
    if parsed.validation_windows < 0:
        fail(f"--validation-windows is {parsed.validation_windows}; it must not be negative")
    if train.patience > 0 and not parsed.validation_windows:
        fail(
            f"--train.patience is {train.patience}, but nothing is held out to stop by; "
            "give --validation-windows too"
        )
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", parsed.device):
        fail(f"device {parsed.device!r} is not known; choose auto, cpu, cuda or cuda:N")
    if len(set(parsed.seed)) < len(parsed.seed) or not all(0 <= s < 2**63 for s in parsed.seed):
        fail(f"seeds {parsed.seed} must differ and lie in 0 .. 2**63 - 1")
    _check_windows(parsed)
    config = RunConfig(
        dataset=parsed.dataset,
        data_dir=parsed.data_dir,
        out=parsed.out,
        seed=parsed.seed,
        num_samples=parsed.num_samples,
        validation_windows=parsed.validation_windows,
        device=parsed.device,
        align_clock=parsed.align_clock,
        resume=parsed.resume,
        preset=parsed.preset,
        nll=bool(parsed.nll),
        model=ModelConfig(**parsed.model.as_dict()),
        train=train,
        sampling=SamplingConfig(**parsed.sampling.as_dict()),
        baselines=parsed.baselines,
        predictor=parsed.predictor,
        windows=parsed.windows,
        stride=parsed.stride,
        history=parsed.history,
        recalibrate=bool(parsed.recalibrate),
        report=not parsed.no_report,
        rivals=parsed.rivals,
    )
    return config._replace(out=config.folder)


def _check_windows(parsed: Namespace) -> None:
    """What the options say of windows and of what is not trained has to make sense together."""
    for name in ("windows", "stride", "history"):
        value = getattr(parsed, name)
        if value is not None and value < 1:
            fail(f"--{name} is {value}; it must be at least 1")
        if value is not None and parsed.windows is None:
            fail(f"--{name} is about windows cut anew; give --windows too")
    if parsed.recalibrate:
        from timediff.benchmark.recalibration import MIN_PATHS, MIN_WINDOWS

        given = {"validation-windows": MIN_WINDOWS, "num-samples": MIN_PATHS}
        for name, least in given.items():
            value = getattr(parsed, name.replace("-", "_"))
            if value < least:
                fail(f"--recalibrate needs --{name} of at least {least}, and it is {value}")
    for name in ("nll", "recalibrate"):
        if parsed.predictor is not None and getattr(parsed, name):
            fail(f"--{name} is for models that are trained here; leave it or --predictor out")


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """One line, without the place in the code that nobody at a terminal asked for."""
    print(f"{PROGRAM}: {message}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    options, as_json = parse(argv)
    try:
        from timediff.benchmark.evaluation import evaluate
        from timediff.benchmark.record import as_json as record_json
        from timediff.report.text import as_text
        from timediff.report.write import write_results

        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            record = evaluate(options, draw=write_results).record
    except InputError as error:
        fail(str(error), hint="")  # of the data mostly, and with a way out of its own
    except KeyboardInterrupt:
        print(
            f"\n{PROGRAM}: interrupted; the same command with --resume goes on from {options.out}",
            file=sys.stderr,
        )
        return 130
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(
            f"{PROGRAM}: no space left to write {options.out}; what was finished is kept: free some, then "
            "give the same command with --resume",
            file=sys.stderr,
        )
        return 1
    print(record_json(record) if as_json else as_text(record, options.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
