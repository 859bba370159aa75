"""Rows of a frame put at the steps of a forecast.

Axes: ``H`` steps of the forecast, ``D`` series.
"""

from typing import Any

import numpy as np
import pandas as pd

from timediff.data.readers.columns import covariate
from timediff.data.steps import Clock
from timediff.errors import InputError
from timediff.forecaster.frames import Array, as_pandas, some
from timediff.forecaster.known import Known, Layout

__all__ = ["future_covariates", "known_targets", "missing_rows", "read_stamps"]


def future_covariates(frame: Any, known: Known, layout: Layout, horizon: int) -> dict[str, Array]:
    """The covariates known ahead at the steps of a forecast, ``[H]`` common to all series or ``[H, D]``.

    Rows of other steps are left out.

    Raises:
        InputError: A column, row or value is missing, or a category is new.
    """
    what = "futr_df"
    if frame is None:
        raise InputError(
            f"the forecast needs the future of {some(layout.futr)}; give futr_df "
            "(make_future_dataframe has its rows)"
        )
    table = as_pandas(frame, what)
    if missing := [name for name in layout.futr if name not in table.columns]:
        raise InputError(
            f"futr_df has no column {missing[0]!r}; its columns are {some(list(table.columns))}"
        )
    steps, series = _places(table, known, layout, what)
    inside = (steps >= 0) & (steps < horizon)
    stamps = known.stamps(len(known.values), horizon)
    result = {}
    for name in layout.futr:
        if series is None and name not in layout.common:
            raise InputError(
                f"futr_df has no column {layout.columns.id!r}, but each series has its own {name!r}; give it"
            )
        read = covariate(table[name], f"column {name!r} of {what}")
        cells = layout.numbered(name, read, what)
        values = np.full((horizon, layout.width), np.nan)
        values[steps[inside], slice(None) if series is None else series[inside]] = (
            cells[inside, None] if series is None else cells[inside]
        )
        values = layout.spread(name, values, list(range(layout.width)), what)
        if np.isnan(values).any():
            step, *place = np.argwhere(np.isnan(values))[0]
            who = f" of {layout.names[place[0]]!r}" if place else ""
            raise InputError(
                f"futr_df has no {name!r}{who} at {stamps[step]}; give each of the {horizon} steps a value "
                "(get_missing_future lists the rows that are not there)"
            )
        result[name] = values
    return result


def known_targets(frame: Any, known: Known, layout: Layout, horizon: int) -> Array:
    """Values that are given of a forecast, ``[H, D]``, NaN where they are not.

    Args:
        frame: Long, or wide with a column for each series of which something is given.
        known: What precedes the forecast.
        layout: What the model was trained on.
        horizon: H.

    Raises:
        InputError: A row is of no step or series of the forecast.
    """
    what = "known"
    table = as_pandas(frame, what)
    steps, series = _places(table, known, layout, what)
    if ((steps < 0) | (steps >= horizon)).any():
        row = int(np.argmax((steps < 0) | (steps >= horizon)))
        first, last = known.stamps(len(known.values), horizon)[[0, -1]]
        raise InputError(
            f"row {row + 1} of known is none of the forecast's steps, which are {first} to {last}; leave "
            "it out"
        )
    values = np.full((horizon, layout.width), np.nan)
    if series is not None:
        if layout.columns.target not in table.columns:
            raise InputError(
                f"known has no column {layout.columns.target!r}; put the given values there"
            )
        values[steps, series] = _numbers(table, layout.columns.target, what)
        return values
    places = {str(name): d for d, name in enumerate(layout.names)}
    for column in table.columns:
        if column == layout.columns.time:
            continue
        if str(column) not in places:
            raise InputError(
                f"known has the column {column!r}, which is no series of the model ({some(layout.names)}); "
                "leave it out"
            )
        values[steps, places[str(column)]] = _numbers(table, column, what)
    return values


def missing_rows(
    frame: Any, known: Known, layout: Layout, horizon: int
) -> tuple[np.ndarray, np.ndarray]:
    """Series and steps of the forecast of which a frame has no row, in their order."""
    table = as_pandas(frame, "futr_df")
    steps, series = _places(table, known, layout, "futr_df")
    there = np.zeros((layout.width, horizon), dtype=bool)
    inside = (steps >= 0) & (steps < horizon)
    if series is None:
        there[:, steps[inside]] = True
    else:
        there[series[inside], steps[inside]] = True
    missing_series, missing_steps = np.nonzero(~there)
    return missing_series, missing_steps


def _places(
    table: pd.DataFrame, known: Known, layout: Layout, what: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Step of the forecast of each row, and its series; None for rows that are of all series.

    Raises:
        InputError: A stamp is none of the clock's, a series is unknown, or a row is there twice.
    """
    columns = layout.columns
    if columns.time in table.columns:
        column = table[columns.time]
    elif isinstance(table.index, pd.DatetimeIndex | pd.PeriodIndex):
        column = table.index.to_series()
    else:
        raise InputError(f"{what} has no column {columns.time!r}; put the stamps there")
    steps, off = known.clock.steps(read_stamps(column, known.clock, what))
    if off.any():
        row = int(np.argmax(off))
        raise InputError(
            f"row {row + 1} of {what} is at {column.iloc[row]}, between the steps of the data at "
            f"{layout.freq}; write the stamps as the data do"
        )
    steps = steps - len(known.values)
    if columns.id not in table.columns:
        _check_once(steps, table, what)
        return steps, None
    places = {str(name): d for d, name in enumerate(layout.names)}
    found = table[columns.id].astype(str).map(places)
    if found.isna().any():
        name = table[columns.id][found.isna()].iloc[0]
        raise InputError(
            f"{what} has the series {name!r}, which the model was not trained on ({some(layout.names)}); "
            "leave it out"
        )
    series = np.asarray(found, dtype=int)
    _check_once(steps * len(layout.names) + series, table, what)
    return steps, series


def read_stamps(column: pd.Series, clock: Clock, what: str) -> pd.DatetimeIndex:
    """A column of stamps, in the zone of a clock.

    Raises:
        InputError: One cannot be read, is missing, or has no hour or more than one there.
    """
    if isinstance(column.dtype, pd.PeriodDtype):
        column = column.dt.to_timestamp()
    try:
        stamps = pd.DatetimeIndex(pd.to_datetime(column, format="ISO8601"))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"the stamps of {what} cannot be read, such as {column.iloc[0]!r}; write them as 2024-01-31 13:00"
        ) from error
    if stamps.hasnans:
        raise InputError(
            f"row {int(np.argmax(stamps.isna())) + 1} of {what} has no stamp; give it one"
        )
    if stamps.tz is not None and clock.tz is None:
        raise InputError(
            f"the stamps of {what} have a zone, but those of the data none; take it away"
        )
    if stamps.tz is None and clock.tz is not None:
        stamps = stamps.tz_localize(clock.tz, ambiguous="NaT", nonexistent="NaT")
        if stamps.hasnans:
            row = int(np.argmax(stamps.isna()))
            raise InputError(
                f"{column.iloc[row]} of {what} is not one hour of {clock.tz}; write stamps with "
                "their zone"
            )
    return stamps.as_unit("ns")


def _check_once(rows: np.ndarray, table: pd.DataFrame, what: str) -> None:
    twice = pd.Series(rows).duplicated()
    if twice.any():
        raise InputError(
            f"row {int(np.argmax(twice)) + 1} of {what} is of the same step as one before; keep one of them"
        )


def _numbers(table: pd.DataFrame, column: Any, what: str) -> Array:
    values = covariate(table[column], f"column {column!r} of {what}")
    if values.dtype == object:
        raise InputError(f"column {column!r} of {what} is not numeric; give numbers")
    return values
