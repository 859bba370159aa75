"""Reads wide tables: `data.parquet` or `data.csv`, one row per time step, one column per series.

A `meta.json` beside the table says what the table cannot: frequency, horizon, number of test
windows. Optional keys are name, source, licence, checksum, unit (of all values) and aggregates
(weighted sums to score).

Axes: D series, T time steps.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from timediff.data.entry import cut_entry
from timediff.data.readers.contents import Aggregate, Contents, read_json_object, whole_number
from timediff.data.readers.file import ENDINGS
from timediff.data.table import read_as
from timediff.errors import InputError, check_whole
from timediff.frequency import to_period_freq
from timediff.kinds import shortened
from timediff.reading import Reading
from timediff.tools.numbers import LARGEST_VALUE

__all__ = ["META_HELP", "TABLES", "WINDOWS", "is_table", "is_wide", "read_table_file", "read_wide"]

TABLES = ("data.parquet", "data.csv")
#: Test windows of a file without metadata.
WINDOWS = 7
META_HELP = (
    'write at least {"freq": "h", "prediction_length": 24, "rolling_windows": 7} '
    "with the values of your data into it"
)


def is_table(name: str) -> bool:
    """Whether a dataset is named by the path of a file with a table."""
    path = Path(name)
    return path.suffix.lower() in ENDINGS and not path.is_dir()


def read_table_file(path: Path, horizon: int | None, reading: Reading) -> Contents:
    """Contents of a CSV, Parquet or Feather file, long or wide, whose last `WINDOWS` horizons are held out.

    Raises:
        InputError: There is no horizon, or the table cannot be read or is too short.

    Warns:
        UserWarning: For each thing that was repaired.
    """
    if horizon is None:
        raise InputError(
            f"{path} does not say how far to forecast; give a horizon, --horizon 24 say"
        )
    check_whole("horizon", horizon)
    advice = "give a shorter horizon, or more rows"
    meta = {"name": path.stem, "source": str(path)}
    return _contents(path, reading, horizon, WINDOWS, meta, advice)


def is_wide(folder: Path) -> bool:
    """Whether the folder holds a wide table, with or without its metadata."""
    return any((folder / name).is_file() for name in TABLES)


def read_wide(folder: Path) -> Contents:
    """Contents of a folder with a wide table and `meta.json`.

    The last ``rolling_windows * prediction_length`` rows are held out: training ends before them,
    window k ends k horizons later, the last one at the end of the data.

    Raises:
        InputError: The table or its metadata is missing, irregular, or too short.

    Warns:
        UserWarning: For each thing that was repaired, such as rows that are absent.
    """
    path = folder / "meta.json"
    meta = read_json_object(path, advice=META_HELP)
    for key in ("freq", "prediction_length", "rolling_windows"):
        if key not in meta:
            raise InputError(f"{path} lacks {key}: {META_HELP}")
    freq = to_period_freq(meta["freq"])
    horizon = whole_number(meta, "prediction_length", path)
    windows = whole_number(meta, "rolling_windows", path)

    names = [name for name in TABLES if (folder / name).is_file()]
    if not names:
        raise InputError(f"{folder} has neither {' nor '.join(TABLES)}: put one there")
    advice = f"lower rolling_windows or prediction_length in {path}"
    reading = Reading(freq=freq)
    contents = _contents(folder / names[0], reading, horizon, windows, meta, advice)
    aggregates = _aggregates(meta.get("aggregates", {}), contents.columns, path)
    return contents._replace(freq=str(meta["freq"]), aggregates=aggregates)


def _contents(
    path: Path, reading: Reading, horizon: int, windows: int, meta: dict[str, Any], advice: str
) -> Contents:
    """A table cut into training and test windows; ``advice`` is given where it is too short."""
    table = read_as(path, reading)
    for note in table.notes:
        warnings.warn(note, stacklevel=2)
    whole = table.entry("data")
    values = whole["target"]  # [D, T]
    held_out = windows * horizon
    if values.shape[1] < held_out + horizon:
        raise InputError(
            f"{path} has {values.shape[1]} rows, but {windows} windows of {horizon} steps and "
            f"at least {horizon} rows of training need {held_out + horizon}: {advice}"
        )
    ends = range(values.shape[1] - held_out, values.shape[1] + 1, horizon)
    train, *test = (
        {**cut_entry(whole, end=end), "item_id": name}
        for name, end in zip(["train", *(f"test_{k}" for k in range(windows))], ends, strict=True)
    )
    if table.clock.tz is not None:
        meta = {**meta, "zone": table.clock.tz}
    return Contents(table.clock.start.freqstr, horizon, table.names, train, test, meta, {})


def _aggregates(stated: Any, columns: list[str], path: Path) -> dict[str, Aggregate]:
    aggregates = {}
    position = {column: i for i, column in enumerate(columns)}
    try:
        for name, entry in stated.items():
            weights = np.zeros(len(columns))
            for column, weight in entry["weights"].items():
                weights[position[column]] = float(weight)
            if not (np.abs(weights) < LARGEST_VALUE).all() or not weights.any():
                raise ValueError(f"weights must be below {LARGEST_VALUE:g} and not all 0")
            aggregates[name] = Aggregate(weights, str(entry["unit"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"aggregates in {path} cannot be used ({shortened(repr(error))}): write "
            '{"name": {"unit": "kW", "weights": {"column": 1.0}}} with columns of the table'
        ) from None
    return aggregates
