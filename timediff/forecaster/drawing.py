"""Forecasts of what is known, and of rolling windows of it.

Axes: ``S`` sample paths, ``T`` known steps, ``H`` steps of the model's horizon, ``D`` series.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from narwhals.typing import IntoDataFrame

from timediff.data.entry import Entry
from timediff.data.rolling import window_origins
from timediff.errors import InputError
from timediff.forecaster.forecast import Forecast
from timediff.forecaster.frames import Array, groups_of, make_frame, some, whose
from timediff.forecaster.known import Known, Layout, entry_of
from timediff.forecaster.reading import read_known
from timediff.forecaster.rows import future_covariates, known_targets
from timediff.frequency import quiet_business_days
from timediff.gluon.paths import PathPredictor
from timediff.gluon.rolled import rolled

__all__ = ["Asked", "Fitted", "asked_of", "draw", "read_more", "windows_frame"]


class Fitted(NamedTuple):
    """What training leaves behind.

    Attributes:
        predictor: The model.
        known: The training data of each group.
        layout: How later frames must look.
        kind: Kind of the training frame.
    """

    predictor: PathPredictor
    known: dict[Any, Known]
    layout: Layout
    kind: str

    @property
    def has_data(self) -> bool:
        """Whether the training data are there."""
        return any(len(known.values) for known in self.known.values())

    @property
    def history_length(self) -> int:
        """Steps that a history must have: what the model looks back over, or all it was trained on."""
        needed: int = self.predictor.prediction_net.shape.history_length
        if not self.has_data:
            return needed
        return min(needed, max(len(known.values) for known in self.known.values()))


class Asked(NamedTuple):
    """A forecast that is asked for.

    Attributes:
        past: What is known before it.
        steps: Its length.
        future: Covariates known ahead at its steps.
        given: Values that its paths agree with, ``[steps, D]``, NaN where there are none; None for nothing.
    """

    past: Known
    steps: int
    future: dict[str, Array]
    given: Array | None = None


def read_more(df: Any, fitted: Fitted, *, whole: bool = True) -> tuple[dict[Any, Known], list[str]]:
    """What is known in a frame that is not the training data, and what is to be said of it.

    Args:
        df: The frame.
        fitted: What it must fit.
        whole: Whether it is all that a forecast is made from, or goes on where the training data end.

    Raises:
        InputError: The frame does not fit what the model was trained on.
    """
    layout = fitted.layout
    read, _, notes = read_known(
        df,
        columns=layout.columns,
        freq=layout.freq,
        tz=layout.tz,
        futr=layout.futr,
        hist=layout.hist,
        layout=layout,
    )
    known = {}
    for group, one in read.items():
        if whole and len(one.values) < fitted.history_length:
            needed = fitted.predictor.prediction_net.shape.history_length
            raise InputError(
                f"{whose('the frame', group)} has {len(one.values)} steps, but the model looks back over "
                f"{needed}; give as many"
            )
        if layout.stat and group not in fitted.known:
            raise InputError(
                f"group {group!r} has no static covariates, as the model was not trained on it; leave it out"
            )
        known[group] = one._replace(static=fitted.known[group].static) if layout.stat else one
    return known, notes


def asked_of(
    fitted: Fitted,
    known: dict[Any, Known],
    group: Any,
    steps: int,
    *,
    futr_df: Any = None,
    given: Any = None,
    ragged: bool = False,
) -> Asked:
    """The forecast of a group.

    Args:
        fitted: The model.
        known: What is known of each group.
        group: Which of them.
        steps: Steps of the forecast after the last known one.
        futr_df: Covariates known ahead.
        given: Frame of values that the paths agree with.
        ragged: Whether it begins after the last step of which all series are known.

    Raises:
        InputError: A frame does not fit the model, or the end is too ragged for it.
    """
    layout, horizon, past = fitted.layout, fitted.predictor.prediction_length, known[group]
    future: dict[str, Array] = {}
    if layout.futr:
        parts = {group: None} if futr_df is None else groups_of(futr_df, layout.columns, "futr_df")
        if group not in parts:
            raise InputError(f"futr_df has no group {group!r}; give its rows")
        future = future_covariates(parts[group], past, layout, steps)
    values = {} if given is None else groups_of(given, layout.columns, "known")
    if unknown := [name for name in values if name not in known]:
        raise InputError(
            f"known has the group {unknown[0]!r}, which the frame has not; leave it out"
        )
    own = known_targets(values[group], past, layout, steps) if group in values else None
    asked = Asked(past, steps, future, own)
    if ragged:
        asked = _from_common_end(asked, layout, horizon, whose("the frame", group))
    if asked.given is not None and np.isfinite(asked.given[horizon:]).any():
        raise InputError(
            f"known has values after the first {horizon} steps of the forecast, which are all that the "
            "model was trained for; leave them out"
        )
    return asked


def _from_common_end(asked: Asked, layout: Layout, horizon: int, what: str) -> Asked:
    """The forecast that begins after the last step of which all series are known, the others given."""
    past, values = asked.past, asked.past.values
    there = np.isfinite(values)
    seen = there.any(axis=0)
    last = len(values) - 1 - there[::-1].argmax(axis=0)
    end = int(last[seen].min()) + 1
    tail = len(values) - end
    if tail > horizon:
        late = [name for name, step in zip(layout.names, last, strict=True) if step == end - 1]
        raise InputError(
            f"{some(late)} of {what} ends {tail} steps before others, but the horizon is "
            f"{horizon}; leave ragged out, by which these steps are missing values"
        )
    if not tail:
        return asked
    own = np.full((asked.steps, values.shape[1]), np.nan) if asked.given is None else asked.given
    return Asked(
        past.before(end),
        tail + asked.steps,
        {name: np.concatenate([past.dynamic[name][end:], v]) for name, v in asked.future.items()},
        np.concatenate([values[end:], own]),
    )


def draw(
    fitted: Fitted,
    asked: Asked,
    group: Any = None,
    *,
    n_paths: int,
    seed: int | None,
    progress: bool,
    num_particles: int = 1000,
) -> Forecast:
    """The forecast of a group, or where there are none.

    Raises:
        InputError: As `TimeGradPredictor.predict` does.
    """
    layout, past = fitted.layout, asked.past
    drawn = rolled(
        fitted.predictor,
        entry_of(past, layout, asked.future, group=group),
        asked.steps,
        num_samples=n_paths,
        seed=seed,
        known_future=_given(asked, fitted.predictor.prediction_length),
        num_particles=num_particles,
        progress=progress,
    )
    return Forecast(
        drawn.samples,
        layout.names,
        past.stamps(len(past.values), asked.steps),
        history=past.values,
        history_stamps=past.stamps(0, len(past.values)),
        start=drawn.start_date,
        columns=layout.columns,
        kind=fitted.kind,
        group=group,
    )


def _given(asked: Asked, horizon: int) -> Array | None:
    """What is given of the steps of the horizon, ``[H, D]``."""
    if asked.given is None:
        return None
    given = np.full((horizon, asked.given.shape[1]), np.nan)
    given[: len(asked.given)] = asked.given[:horizon]
    return given


def windows_frame(
    fit: Callable[[list[Entry]], Fitted],
    known: dict[Any, Known],
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
        fit: Trains on an entry of each group.
        known: All data of each group; the last window ends with them.
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
        InputError: The data are too short for the windows, or groups end at different stamps.
    """
    ends = {group: one.stamps(len(one.values) - 1, 1)[0] for group, one in known.items()}
    if len(set(ends.values())) > 1:
        first, last = min(ends, key=ends.__getitem__), max(ends, key=ends.__getitem__)
        raise InputError(
            f"group {first!r} ends at {ends[first]} and group {last!r} at {ends[last]}, so that a model "
            "would know of one what comes after the windows of the other; end all with one stamp"
        )
    tables = []
    with quiet_business_days():
        origins = {
            group: window_origins(
                entry_of(one, layout),
                horizon=h,
                windows=windows,
                stride=stride,
                history="expanding",
                what=whose("the frame", group),
            )
            for group, one in known.items()
        }
        for window in range(windows):
            pasts = {group: one.before(origins[group][window]) for group, one in known.items()}
            if refit or not window:
                fitted = fit([entry_of(past, layout, group=g) for g, past in pasts.items()])
            for group, one in known.items():
                ahead = slice(origins[group][window], origins[group][window] + h)
                future = {name: one.dynamic[name][ahead] for name in layout.futr}
                forecast = draw(
                    fitted,
                    Asked(pasts[group], h, future),
                    group,
                    n_paths=n_paths,
                    seed=seed,
                    progress=progress,
                )
                truth = one.values[ahead]
                tables.append(_window_rows(forecast, pasts[group], columns(forecast), truth))
    return make_frame(pd.concat(tables, ignore_index=True), fitted.kind)


def _window_rows(
    forecast: Forecast, past: Known, columns: Mapping[str, Array], truth: Array
) -> pd.DataFrame:
    """Rows of a window, the cutoff after names and stamps."""
    names = forecast.columns
    rows = pd.DataFrame(forecast.labelled({**columns, names.target: truth}))
    cutoff = past.stamps(len(past.values) - 1, 1)[np.zeros(len(rows), dtype=int)]
    rows.insert(list(rows).index(names.time) + 1, "cutoff", cutoff)
    return rows
