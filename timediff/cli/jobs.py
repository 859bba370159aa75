"""What the commands that train on a table and forecast have in common."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from timediff.checks import check_options
from timediff.cli.configs import (
    add_config,
    add_configs,
    add_lengths,
    add_plugin,
    add_threads,
)
from timediff.cli.estimate import Cost, bytes_of, check_memory, estimate
from timediff.cli.resuming import Training
from timediff.cli.said import say
from timediff.cli.tables import (
    add_static_file,
    add_table_options,
    facts,
    lines_of,
    read_static,
    read_table,
    reading_of,
    told,
)
from timediff.cli.written import check_file, check_folder
from timediff.config import Preset
from timediff.errors import InputError, check_whole
from timediff.presets import PRESETS
from timediff.tools.files import plain

if TYPE_CHECKING:
    import pandas as pd

    from timediff.data.table import Table
    from timediff.forecaster.forecaster import Forecaster

__all__ = [
    "Plan",
    "add_forecast_options",
    "add_output_options",
    "add_training_options",
    "check_outputs",
    "chosen",
    "fit",
    "plan",
    "report",
    "trained",
]


class Plan(NamedTuple):
    """What is read, and what will be done with it.

    Args:
        table: What was read.
        static: Covariates that do not change, a row for each series, if there are such.
        known: The same in plain values (`timediff.cli.tables.facts`).
        configs: Of the model; with the seed.
        cost: What it takes.
        began: When.
    """

    table: "Table"
    static: "pd.DataFrame | None"
    known: dict[str, Any]
    configs: Preset
    cost: Cost
    began: float


def add_output_options(parser: Any) -> None:
    """Adds ``--quiet``, ``--log-file`` and ``--json``."""
    parser.add_argument("--quiet", action="store_true", help="say nothing but mistakes")
    parser.add_argument(
        "--log-file", type=Path | None, help="keep what is said there too, without bars"
    )
    parser.add_argument("--json", action="store_true", help="print only one JSON object on stdout")


def add_forecast_options(parser: Any) -> None:
    """Adds what a forecast is, and where it goes."""
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("forecast.csv"),
        help="table of the forecast: .csv, .parquet or .feather",
    )
    parser.add_argument(
        "--plot",
        type=Path | None,
        help="picture of it: .png, .svg, .pdf, or .html to look about in (extra [interactive])",
    )
    parser.add_argument(
        "--levels",
        type=float,
        nargs="+",
        metavar="PERCENT",
        default=[50.0, 90.0],
        help="central intervals in percent",
    )
    parser.add_argument(
        "--paths",
        action="store_true",
        help="write the joint sample paths, numbered by sample_id, in place of mean and intervals",
    )
    parser.add_argument("--num-samples", type=int, default=100, help="sample paths")


def add_training_options(parser: Any, preset: str) -> None:
    """Adds how the table is read, the model is trained, and what is said."""
    parser.add_argument(
        "--preset",
        default=preset,
        choices=tuple(PRESETS),
        help="where the defaults of network, training and sampling come from",
    )
    parser.add_argument("--seed", type=int, default=1, help="of training and paths")
    add_lengths(parser)
    add_threads(parser)
    parser.add_argument(
        "--max-memory",
        type=bytes_of,
        metavar="SIZE",
        help="refuse to begin where more is expected, such as 2GB",
    )
    add_output_options(parser)
    add_config(parser)
    add_plugin(parser)
    add_table_options(parser)
    add_static_file(parser)
    add_configs(parser, preset)


def check_outputs(args: Any, *, folder: str | None = None) -> None:
    """Raises `InputError` for what cannot be written.

    Args:
        args: Of the command.
        folder: Option of the folder that a model is saved to.
    """
    names = ("data", "futr_file", "stat_file", "log_file")
    read: list[Path | None] = [args[name] for name in names if name in args]
    if "levels" in args:
        check_file("--out", args.out, read=read)
        check_file("--plot", args.plot, read=[*read, args.out])
        check_whole("--num-samples", args.num_samples)
        for percent in args.levels:
            if not 0 < percent < 100:
                raise InputError(
                    f"--levels has {percent:g}; give percent between 0 and 100, such as 50 90"
                )
    if args.log_file is not None:
        check_file("--log-file", args.log_file, read=read[:-1])
    if folder is not None:
        check_folder(folder, args[folder.strip("-")])


def chosen(args: Any, configs: Preset) -> Preset:
    """The configurations with the seed.

    Raises:
        InputError: A value makes no sense.
    """
    if not 0 <= args.seed < 2**63:
        raise InputError(f"--seed is {args.seed}; it must lie in 0 .. 2**63 - 1")
    configs = configs._replace(train=configs.train._replace(seed=args.seed))
    check_options(*configs)
    return configs


def plan(args: Any, configs: Preset, doing: str) -> Plan:
    """Reads the table, and says what was read, what will be done and how long it takes.

    Args:
        args: Of the command.
        configs: Of the model.
        doing: What will be done, with {steps} and so on.

    Raises:
        InputError: The table cannot be read, or does not allow this.
    """
    began = time.monotonic()
    check_whole("--horizon", args.horizon)
    if bool(args.stat) != (args.stat_file is not None):
        raise InputError("--stat and --stat-file go together; give both, or neither")
    static = None if args.stat_file is None else read_static(args.stat_file, reading_of(args))
    table = read_table(args.data, reading_of(args))
    known = facts(args.data, table)
    for line in lines_of(known):
        say(line, quiet=args.quiet)
    steps, series = table.values.shape
    if steps <= args.horizon:
        raise InputError(
            f"{args.data} has {steps} steps, which leaves no window to train on for --horizon "
            f"{args.horizon}; give more rows or a shorter horizon"
        )
    check_options(*configs, target_dim=series)
    cost = estimate(configs, series=series, steps=steps, horizon=args.horizon)
    check_memory(cost, args.max_memory)
    length = f"{configs.train.steps} steps"
    if configs.train.time_budget is not None:
        length = f"{configs.train.time_budget:g} s"
    begin = f"{doing} the {args.preset} preset on all rows for {length} (seed {args.seed})"
    say(f"{begin}; {cost}", quiet=args.quiet)
    return Plan(table, static, known, configs, cost, began)


@contextmanager
def _quiet_checkpoints() -> Iterator[None]:
    """Keeps training from telling of checkpoints: how a command goes on is for it to say."""
    logger = logging.getLogger("timediff.training.fit")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def fit(
    args: Any,
    planned: Plan,
    forecaster: "Forecaster",
    frame: "pd.DataFrame",
    state: Path | None,
) -> "Forecaster":
    """A forecaster that learns from a frame, as the options say."""
    reading = reading_of(args)
    return forecaster.fit(
        frame,
        planned.static,
        h=args.horizon,
        freq=planned.known["freq"],
        tz=reading.tz,
        id_col=reading.id_col,
        time_col=reading.time_col,
        target_col=reading.target_col,
        futr_exog_list=reading.futr,
        hist_exog_list=reading.hist,
        stat_exog_list=args.stat,
        ckpt_path=state,
    )


def trained(
    args: Any,
    planned: Plan,
    training: Training,
    make: Callable[["Forecaster", Any, Path | None], "Forecaster"],
) -> "Forecaster":
    """The forecaster that ``make`` trains on the frame of the table, on from a state if there is one."""
    from timediff.data.readers.layout import roles_of
    from timediff.forecaster.forecaster import Forecaster

    state = training.state(quiet=args.quiet)
    with _quiet_checkpoints(), told(args.data):
        forecaster = Forecaster(
            *planned.configs,
            progress=not args.quiet,
            trainer_kwargs={"default_root_dir": str(training.folder)},
        )
        forecaster = make(forecaster, planned.table.to_frame(roles_of(reading_of(args))), state)
    forecaster.trainer_kwargs = None
    if args.max_memory is not None:
        predictor = forecaster.predictor
        predictor.memory = min(predictor.memory, args.max_memory / 4)
    return forecaster


def report(args: Any, done: dict[str, Any], *, files: Sequence[str], began: float) -> None:
    """Prints what was done: the names of the files, or with ``--json`` all of it.

    Args:
        args: Of the command.
        done: Plain values and paths.
        files: Which of these are files that were written, or None.
        began: When the command did.
    """
    done = {**done, "seconds": round(time.monotonic() - began, 2)}
    say(f"done in {done['seconds']:.0f} s", quiet=args.quiet)
    paths = {name: str(value) for name, value in done.items() if isinstance(value, Path)}
    if args.json:
        print(json.dumps(plain({**done, **paths}), indent=1, default=str))
        return
    for name in files:
        if name in paths:
            print(paths[name])
