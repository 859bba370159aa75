"""Reads wide tables: `data.parquet` or `data.csv`, one row per time step, one column per series.

A `meta.json` beside the table says what the table cannot: frequency, horizon, number of test
windows. Optional keys are name, source, licence, checksum, and aggregates (weighted sums to score).

Axes: D series, T time steps.
"""

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from timediff.data.entry import cut_entry
from timediff.data.readers.contents import Aggregate, Contents, read_json_object, whole_number
from timediff.data.readers.frame import off_beat, series_of
from timediff.errors import InputError
from timediff.frequency import quiet_business_days, to_period_freq

__all__ = ["META_HELP", "is_wide", "read_wide"]

META_HELP = (
    'write at least {"freq": "h", "prediction_length": 24, "rolling_windows": 7} '
    "with the values of your data into it"
)


def is_wide(folder: Path) -> bool:
    """Whether the folder holds a wide table, with or without its metadata."""
    return any((folder / name).is_file() for name in ("data.parquet", "data.csv"))


def read_wide(folder: Path) -> Contents:
    """Contents of a folder with a wide table and `meta.json`.

    The last ``rolling_windows * prediction_length`` rows are held out: training ends before them,
    window k ends k horizons later, the last one at the end of the data.

    Raises:
        InputError: The table or its metadata is missing, irregular, or too short.
    """
    path = folder / "meta.json"
    meta = read_json_object(path, advice=META_HELP)
    for key in ("freq", "prediction_length", "rolling_windows"):
        if key not in meta:
            raise InputError(f"{path} lacks {key}: {META_HELP}")
    freq = to_period_freq(meta["freq"])
    horizon = whole_number(meta, "prediction_length", path)
    windows = whole_number(meta, "rolling_windows", path)

    table_path, table = _read_table(folder)
    stamps = _stamps(table.index, table_path)
    start = _regular_start(stamps, freq=freq, path=table_path)
    if not len(table.columns):
        raise InputError(
            f"{table_path} has no series: put one column per series after the timestamps"
        )
    values = series_of(table, str(table_path))  # [D, T]
    held_out = windows * horizon
    if values.shape[1] < held_out + horizon:
        raise InputError(
            f"{table_path} has {values.shape[1]} rows, but {windows} windows of {horizon} steps and "
            f"at least {horizon} rows of training need {held_out + horizon}: lower rolling_windows "
            f"or prediction_length in {path}"
        )
    ends = range(values.shape[1] - held_out, values.shape[1] + 1, horizon)
    whole = {"start": start, "target": values}
    train, *test = (
        {**cut_entry(whole, end=end), "item_id": name}
        for name, end in zip(["train", *(f"test_{k}" for k in range(windows))], ends, strict=True)
    )
    columns = [str(column) for column in table.columns]
    aggregates = _aggregates(meta.get("aggregates", {}), columns, path)
    return Contents(str(meta["freq"]), horizon, columns, train, test, meta, aggregates)


def _read_table(folder: Path) -> tuple[Path, pd.DataFrame]:
    """The table with its stamps, still unchecked, as index."""
    path = folder / "data.parquet"
    if not path.is_file():
        path = folder / "data.csv"
    try:
        if path.suffix == ".csv":
            return path, pd.read_csv(path, index_col=0)
        table = pd.read_parquet(path)
    except FileNotFoundError:
        raise InputError(f"{folder} has neither data.parquet nor data.csv: put one there") from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())  # some reasons of pyarrow have many lines
        form = ", with commas between cells and points in numbers" if path.suffix == ".csv" else ""
        raise InputError(f"{path} cannot be read ({reason}): write it again{form}") from None
    if isinstance(table.index, pd.PeriodIndex):
        table.index = table.index.to_timestamp()
    elif pd.api.types.is_numeric_dtype(table.index) and len(table.columns):
        table = table.set_index(table.columns[0])
    return path, table


def _stamps(index: pd.Index, path: Path) -> pd.DatetimeIndex:
    if pd.api.types.is_numeric_dtype(index) and len(index):
        raise InputError(
            f"the first column of {path} holds numbers such as {index[0]}: put timestamps there"
        )
    try:
        with warnings.catch_warnings(action="ignore"):  # what it warns of is checked below
            stamps = pd.DatetimeIndex(pd.to_datetime(index))
        bad = stamps.isna()
        aware = stamps.tz is not None
    except (ValueError, TypeError):
        # Either a text that is no date, or stamps of several time zones, which pandas refuses.
        bad = pd.to_datetime(index, errors="coerce", utc=True, format="mixed").isna()
        aware = not bad.any() and any(re.search(r"\d(Z|[+-]\d\d:?\d\d)$", str(x)) for x in index)
        if not aware and not bad.any():
            raise InputError(
                f"the timestamps of {path} are not all written alike, such as {index[0]!r} and "
                f"{index[-1]!r}: write them as 2024-01-31 13:00"
            ) from None
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"row {row + 1} of {path} has {index[row]!r} where a timestamp is needed: "
            "write it as 2024-01-31 13:00"
        )
    if aware:
        raise InputError(
            f"the timestamps of {path} have a time zone: convert them to UTC or to local standard "
            "time and write them without zone"
        )
    return stamps


def _regular_start(stamps: pd.DatetimeIndex, *, freq: str, path: Path) -> pd.Period:
    """First period of stamps that follow each other at `freq`, or an error at the first that fails."""
    if not len(stamps):
        raise InputError(f"{path} has no rows: put at least one per time step there")
    with quiet_business_days():
        start, bad = off_beat(stamps, freq)
        if not bad.any():
            return start
    row = int(np.argmax(bad))
    before, here = stamps[row - 1], stamps[row]
    if here == before:
        raise InputError(f"{path} has the stamp {here} twice: keep one row per time step")
    if here < before:
        raise InputError(f"{path} goes back from {before} to {here}: sort its rows by time")
    raise InputError(
        f"{path} is not regular at {freq}: after {before} comes {here}; correct freq in meta.json, "
        "or put in the missing rows with empty cells"
    )


def _aggregates(stated: Any, columns: list[str], path: Path) -> dict[str, Aggregate]:
    aggregates = {}
    position = {column: i for i, column in enumerate(columns)}
    try:
        for name, entry in stated.items():
            weights = np.zeros(len(columns))
            for column, weight in entry["weights"].items():
                weights[position[column]] = float(weight)
            aggregates[name] = Aggregate(weights, str(entry["unit"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"aggregates in {path} cannot be used ({error!r}): write "
            '{"name": {"unit": "kW", "weights": {"column": 1.0}}} with columns of the table'
        ) from None
    return aggregates
