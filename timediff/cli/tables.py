"""Options that say how a table is read, the table, and what is said of it. Nothing here needs torch."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ActionYesNo

from timediff.errors import InputError
from timediff.reading import Reading

if TYPE_CHECKING:
    import pandas as pd

    from timediff.data.table import Table

__all__ = [
    "add_future_file",
    "add_static_file",
    "add_table_options",
    "facts",
    "lines_of",
    "read_future",
    "read_static",
    "read_table",
    "reading_of",
    "told",
]


def add_table_options(parser: Any, *, fixed: bool = False) -> None:
    """Adds an option for each field of `Reading`, or for those only that a saved model does not fix."""
    from timediff.options import fields_of

    group = parser.add_argument_group("how the table is read")
    for name, field in fields_of(Reading).items():
        if fixed and name in ("id_col", "time_col", "target_col", "futr", "hist", "freq", "tz"):
            continue
        options: dict[str, Any] = {"default": field.default, "help": field.help}
        if name == "day_first":
            options["action"] = ActionYesNo(no_prefix="no-")
        elif isinstance(field.default, list):
            options |= {"type": str, "nargs": "+", "metavar": "COLUMN"}
        else:
            options["type"] = field.type
        group.add_argument("--" + name.replace("_", "-"), **options)


def add_future_file(parser: Any) -> None:
    """Adds ``--futr-file``."""
    parser.add_argument(
        "--futr-file",
        type=Path | None,
        help="CSV, Parquet or Feather file with the covariates of --futr at the steps of the forecast",
    )


def add_static_file(parser: Any) -> None:
    """Adds ``--stat`` and ``--stat-file``."""
    parser.add_argument(
        "--stat", type=str, nargs="+", metavar="COLUMN", default=[], help="columns of --stat-file"
    )
    parser.add_argument(
        "--stat-file",
        type=Path | None,
        help="CSV, Parquet or Feather file with covariates that do not change, a row for each series",
    )


def reading_of(args: Any) -> Reading:
    """How the options say that a table is read."""
    return Reading(**{name: args[name] for name in Reading._fields if name in args})


def read_table(path: Path, reading: Reading) -> "Table":
    """The table in a file.

    Raises:
        InputError: It cannot be read; the way out is told in options of the command line.
    """
    from timediff.data.table import read_as

    with told():
        return read_as(path, reading)


def read_static(path: Path, reading: Reading) -> "pd.DataFrame":
    """The covariates that do not change in a file.

    Raises:
        InputError: It cannot be read.
    """
    from timediff.data.readers.file import frame_of

    with told():
        form = {"separator": reading.separator, "decimal": reading.decimal}
        return frame_of(path, id_col=reading.id_col, **form)[0]


def read_future(path: Path, reading: Reading) -> "pd.DataFrame":
    """The covariates known ahead in a file, stamps read as those of the table.

    Raises:
        InputError: It cannot be read.
    """
    import pandas as pd

    from timediff.data.readers.file import frame_of
    from timediff.data.readers.stamps import read_stamps

    with told():
        frame, _ = frame_of(
            path, id_col=reading.id_col, separator=reading.separator, decimal=reading.decimal
        )
        if not {reading.id_col, reading.time_col} & set(frame.columns):
            frame = frame.rename(columns={frame.columns[0]: reading.time_col})  # as of wide tables
        if reading.time_col in frame.columns:
            column = pd.Index(frame[reading.time_col])
            read = read_stamps(column, what=str(path), tz=reading.tz, day_first=reading.day_first)
            frame[reading.time_col] = read.stamps
    return frame


class told:
    """A context in which the arguments that errors and warnings name become options of the command line.

    Args:
        data: The file that Python calls the frame.
    """

    def __init__(self, data: Path | None = None) -> None:
        self.data, self.before = data, warnings.showwarning

    def __enter__(self) -> None:
        self.before = warnings.showwarning

        def show(message: Warning | str, *rest: Any, **more: Any) -> None:
            text = _in_options(str(message), self.data)
            # As it is where nothing changes: warnings of others may not be made of a text alone.
            if text != str(message):
                message = text if isinstance(message, str) else type(message)(text)
            self.before(message, *rest, **more)

        warnings.showwarning = show

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        warnings.showwarning = self.before
        if isinstance(error, InputError):
            raise InputError(_in_options(str(error), self.data)) from error.__cause__


def _in_options(message: str, data: Path | None = None) -> str:
    if data is not None:
        message = re.sub(r"\bthe frame\b", lambda _: str(data), message)
        message = re.sub(r"\bthe history of frame\b", lambda _: f"the history of {data}", message)
    message = message.replace(" (get_missing_future lists the rows that are not there)", "")
    message = message.replace(" (make_future_dataframe has its rows)", "")
    message = message.replace("day_first as true or false", "--day-first or --no-day-first")
    message = re.sub(r"\b(tz|freq)=(\S+)", r"--\1 \2", message)
    message = re.sub(r"\bgive (freq|separator|decimal|horizon|tz)\b", r"give --\1", message)
    message = re.sub(r"\b(id|time|target)_col\b", r"--\1-col", message)
    message = re.sub(r"\bfutr_df\b", "the file of --futr-file", message)
    message = re.sub(r"\bstatic_df\b", "the file of --stat-file", message)
    return re.sub(r"\bday_first\b", "--day-first", message)


def facts(path: Path, table: "Table") -> dict[str, Any]:
    """What was read, in plain values."""
    import numpy as np

    steps, series = table.values.shape
    first, last = table.clock.stamps(0, 1)[0], table.clock.stamps(steps - 1, 1)[0]
    return {
        "file": str(path),
        "series": series,
        "steps": steps,
        "freq": table.clock.start.freqstr,
        "zone": table.clock.tz,
        "first": str(first),
        "last": str(last),
        "missing": int(np.isnan(table.values).sum()),
        "covariates": [*table.future, *table.past],
        "notes": [_in_options(note) for note in table.notes],
    }


def lines_of(known: Mapping[str, Any]) -> list[str]:
    """What was read, for people."""
    values = known["series"] * known["steps"]
    share = 100 * known["missing"] / values
    zone = f"zone {known['zone']}" if known["zone"] else "no zone"
    lines = [
        f"{known['file']}: {known['series']:,} series of {known['steps']:,} steps at {known['freq']}, "
        f"{known['first']} to {known['last']}, {zone}",
        f"missing: {known['missing']:,} of {values:,} values ({share:.2g} %)",
    ]
    if known["covariates"]:
        lines.append(f"covariates: {', '.join(known['covariates'])}")
    return [*lines, *known["notes"]]
