"""``timediff verify FORECAST ACTUALS``: scores of an archived forecast when the truth is there.

Of joint paths all scores are told, those of the sum and the energy score among them; of mean and intervals
only what these say.
"""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser

from timediff.cli.base import fail, import_plugins
from timediff.cli.configs import ConfigParser, add_config, add_plugin
from timediff.cli.jobs import add_output_options, check_outputs
from timediff.cli.said import run_kept, say
from timediff.cli.tables import add_table_options, facts, lines_of, read_table, reading_of, told
from timediff.errors import InputError
from timediff.report.columns import aligned
from timediff.tools.files import plain

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from timediff.data.table import Table

__all__ = ["PROGRAM", "main", "make_parser", "truth_at"]

PROGRAM = "timediff verify"
#: Column of the forecast in frames (`timediff.forecaster.forecast.MODEL`).
_MODEL = "TimeGrad"


def make_parser() -> ArgumentParser:
    """The command line."""
    parser = ConfigParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} FORECAST ACTUALS [OPTION ...]",
        description="Scores a forecast that was written against what happened. Scores of "
        "the sum of the series and of the joint distribution need the paths (--paths).",
        epilog=f"examples:\n  {PROGRAM} paths.parquet new.csv\n  {PROGRAM} forecast.csv new.csv --json",
    )
    parser.add_argument("data", type=Path, metavar="FORECAST", help="file that was written")
    parser.add_argument("actuals", type=Path, help="table with what happened, other rows left out")
    add_output_options(parser)
    add_config(parser)
    add_plugin(parser)
    add_table_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of the command."""
    try:
        argv = import_plugins(sys.argv[1:] if argv is None else argv)
    except InputError as error:
        fail(PROGRAM, str(error))
    args = make_parser().parse_args(list(argv))
    try:
        check_outputs(args)
    except InputError as error:
        fail(PROGRAM, str(error))
    return run_kept(
        PROGRAM,
        lambda: _work(args),
        log_file=args.log_file,
        quiet=args.quiet,
        kept=lambda: "nothing was written",
    )


def _work(args: Any) -> None:
    import numpy as np

    reading = reading_of(args)
    actuals = read_table(args.actuals, reading)
    for line in lines_of(facts(args.actuals, actuals)):
        say(line, quiet=args.quiet)
    frame = _forecast(args.data, reading.id_col, reading.time_col)
    names = frame[reading.id_col].astype(str)
    order = list(dict.fromkeys(names))
    stamps = frame[reading.time_col]
    truth = truth_at(stamps[names == order[0]].drop_duplicates(), order, actuals, str(args.data))
    if np.isnan(truth).all():
        raise InputError(
            f"{args.actuals} has no value at the steps of {args.data}, {stamps.iloc[0]} to "
            f"{stamps.iloc[-1]}; give the table of a later day"
        )
    shape = (len(order), -1, len(truth))
    if "sample_id" in frame.columns:
        from timediff.metrics import score
        from timediff.registry import METRICS

        paths = frame[_MODEL].to_numpy(np.float64).reshape(shape).transpose(1, 2, 0)
        if "weight" in frame.columns:
            raise InputError(
                f"{args.data} has paths with weights; verify the forecast before reduction"
            )
        scores = score(paths[None], truth[None])
        titles = {name: METRICS[name].title for name in scores}
    else:
        columns = {
            name: frame[name].to_numpy(np.float64).reshape(len(order), len(truth)).T
            for name in frame.columns
            if name.startswith(_MODEL)
        }
        scores = _marginal(columns, truth)
        titles = {name: name.replace("_", " ") for name in scores}
        say(
            "the file has no paths, so there are no scores of the sum and of the joint distribution; "
            "forecast with --paths for these",
            quiet=args.quiet,
        )
    observed = int(np.isfinite(truth).sum())
    scores = {name: value for name, value in scores.items() if np.isfinite(value)}
    if args.json:
        result = {"forecast": str(args.data), "actuals": str(args.actuals), "scores": scores}
        print(json.dumps(plain(result | {"observed": observed, "values": truth.size}), indent=1))
        return
    rows = [[titles[name], f"{value:.4g}"] for name, value in scores.items()]
    print("\n".join(aligned([["score", "value"], *rows])))
    print(f"{observed} of {truth.size} values were observed")


def _forecast(path: Path, id_col: str, time_col: str) -> "pd.DataFrame":
    """A frame that was written, in the order of series, paths and steps."""
    import pandas as pd

    from timediff.data.readers.file import frame_of

    with told():
        frame, _ = frame_of(path, id_col=id_col, separator=",", decimal=".")
    if missing := [name for name in (id_col, time_col, _MODEL) if name not in frame.columns]:
        raise InputError(
            f"{path} has no column {missing[0]!r}; give a file that timediff forecast or predict wrote"
        )
    if not pd.api.types.is_datetime64_any_dtype(frame[time_col]):
        frame[time_col] = [pd.Timestamp(text) for text in frame[time_col]]
    # Stamps of daylight saving have two offsets in a CSV, and sort by their instants.
    keys = [id_col, *(["sample_id"] if "sample_id" in frame.columns else [])]
    counts = frame.groupby(keys, sort=False)[time_col].count()
    if counts.nunique() > 1:
        raise InputError(f"{path} has not as many rows of each series and path; write it again")
    return frame.sort_values([*keys, time_col], kind="stable").reset_index(drop=True)


def truth_at(
    stamps: "pd.Series", names: Sequence[str], actuals: "Table", what: str
) -> "np.ndarray[Any, Any]":
    """What happened at some stamps, ``[T, D]``, NaN where it is not known.

    Raises:
        InputError: A stamp or series is none of the table's.
    """
    import numpy as np
    import pandas as pd

    places = {name: i for i, name in enumerate(actuals.names)}
    if missing := [name for name in names if name not in places]:
        raise InputError(f"the actuals have no series {missing[0]!r}, which {what} has; give it")
    zone = actuals.clock.tz
    aware = stamps.iloc[0].tzinfo is not None
    if aware != (zone is not None):
        raise InputError(
            f"the stamps of {what} have {'a' if aware else 'no'} zone, those of the actuals "
            f"{'none' if aware else zone}; give both in one way (--tz)"
        )
    index = pd.DatetimeIndex(pd.to_datetime(list(stamps), utc=aware)).as_unit("ns")
    steps, off = actuals.clock.steps(index.tz_convert(zone) if aware else index)
    if off.any():
        raise InputError(
            f"{what} has a step at {stamps.iloc[int(np.argmax(off))]}, which is none of the actuals' at "
            f"{actuals.clock.start.freqstr}; give actuals of the same steps"
        )
    truth = np.full((len(steps), len(names)), np.nan)
    inside = (steps >= 0) & (steps < len(actuals.values))
    columns = np.array([places[name] for name in names])
    truth[inside] = actuals.values[np.ix_(steps[inside], columns)]
    return truth


def _marginal(columns: "dict[str, np.ndarray[Any, Any]]", truth: Any) -> dict[str, float]:
    """Scores of mean, median and intervals, over the observed values."""
    import numpy as np

    known = np.isfinite(truth)
    y = truth[known]
    size = float(np.abs(y).sum())
    scores = {
        "mean_absolute_error_of_the_median": float(
            np.abs(columns[f"{_MODEL}-median"][known] - y).mean()
        ),
        "root_mean_squared_error_of_the_mean": float(
            np.sqrt(((columns[_MODEL][known] - y) ** 2).mean())
        ),
    }
    if size:
        error = np.abs(columns[f"{_MODEL}-median"][known] - y).sum()
        scores["nd_of_the_median"] = float(error / size)
    for name, low in columns.items():
        if match := re.fullmatch(rf"{_MODEL}-lo-(.+)", name):
            high = columns[f"{_MODEL}-hi-{match[1]}"]
            low, high = low[known], high[known]
            scores[f"coverage_{match[1]}"] = float(((low <= y) & (y <= high)).mean())
            alpha = 1 - float(match[1]) / 100
            below, above = np.maximum(low - y, 0), np.maximum(y - high, 0)
            scores[f"interval_score_{match[1]}"] = float(
                (high - low + 2 / alpha * (below + above)).mean()
            )
    return scores


if __name__ == "__main__":
    sys.exit(main())
