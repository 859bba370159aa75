"""Forecasts of what is known, and of rolling windows of it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from narwhals.typing import IntoDataFrame

from timediff.data.entry import Entry
from timediff.data.rolling import cut, window_origins
from timediff.errors import InputError
from timediff.forecaster.forecast import Forecast
from timediff.forecaster.frames import Array, make_frame
from timediff.forecaster.known import Known, Layout, entry_of, read_known
from timediff.frequency import quiet_business_days
from timediff.gluon.predictor import TimeGradPredictor

__all__ = ["Fitted", "draw", "read_more", "windows_frame"]


class Fitted(NamedTuple):
    """What training leaves behind.

    Attributes:
        predictor: The model.
        known: The training data.
        layout: How later frames must look.
        kind: Kind of the training frame.
    """

    predictor: TimeGradPredictor
    known: Known
    layout: Layout
    kind: str


def read_more(df: Any, fitted: Fitted) -> tuple[Known, list[str]]:
    """What is known in a frame that is not the training data, and what is to be said of it.

    Raises:
        InputError: The frame does not fit what the model was trained on.
    """
    layout = fitted.layout
    known, _, notes = read_known(
        df,
        columns=layout.columns,
        freq=layout.freq,
        tz=layout.tz,
        futr=layout.futr,
        hist=layout.hist,
        layout=layout,
    )
    needed = fitted.predictor.prediction_net.shape.history_length
    if len(known.values) < min(needed, len(fitted.known.values)):
        raise InputError(
            f"the frame has {len(known.values)} steps, but the model looks back over {needed}; give as many"
        )
    return known._replace(static=fitted.known.static), notes


def draw(
    fitted: Fitted,
    entry: Entry,
    past: Known,
    *,
    n_paths: int,
    seed: int | None,
    progress: bool,
    known_future: Array | None = None,
    num_particles: int = 1000,
) -> Forecast:
    """The forecast of an entry that was made of what is known."""
    predictor, length = fitted.predictor, len(past.values)
    (drawn,) = predictor.predict(
        [entry],
        n_paths,
        known_future=known_future,
        num_particles=num_particles,
        seed=seed,
        progress=progress,
    )
    return Forecast(
        drawn.samples,
        fitted.layout.names,
        past.stamps(length, predictor.prediction_length),
        history=past.values,
        history_stamps=past.stamps(0, length),
        start=drawn.start_date,
        columns=fitted.layout.columns,
        kind=fitted.kind,
    )


def windows_frame(
    fit: Callable[[Entry], Fitted],
    known: Known,
    layout: Layout,
    *,
    h: int,
    windows: int,
    stride: int,
    refit: bool,
    columns: Callable[[Forecast], Mapping[str, Array]],
    n_paths: int,
    seed: int | None,
    progress: bool,
) -> IntoDataFrame:
    """A long frame of rolling windows: names, stamps, ``cutoff``, columns of the forecasts, and the truth.

    Args:
        fit: Trains on an entry.
        known: All data; the last window ends with them.
        layout: What their covariates are.
        h: Steps of a window.
        windows: How many.
        stride: Steps from one to the next.
        refit: Whether to train before each window.
        columns: Of a forecast, ``[H, D]`` each.
        n_paths: S.
        seed: Of the paths.
        progress: Show progress bars.

    Raises:
        InputError: The data are too short for the windows.
    """
    whole = entry_of(known, layout)
    id_col, time_col, target_col = layout.columns
    tables = []
    with quiet_business_days():
        origins = window_origins(
            whole, horizon=h, windows=windows, stride=stride, history="expanding"
        )
        fitted = fit(cut(whole, origins[0]))
        for origin in origins:
            if refit and origin != origins[0]:
                fitted = fit(cut(whole, origin))
            entry = cut(whole, origin, ahead=h if layout.futr else 0)
            past = known._replace(values=known.values[:origin])
            forecast = draw(fitted, entry, past, n_paths=n_paths, seed=seed, progress=progress)
            truth = {target_col: known.values[origin : origin + h]}
            rows = forecast.labelled({**columns(forecast), **truth})
            cutoff = known.stamps(origin - 1, 1)[np.zeros(len(rows[id_col]), dtype=int)]
            first = {id_col: rows[id_col], time_col: rows[time_col], "cutoff": cutoff}
            tables.append(pd.DataFrame(first | rows))
    return make_frame(pd.concat(tables, ignore_index=True), fitted.kind)
