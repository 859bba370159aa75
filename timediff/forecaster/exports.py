"""A forecast in the shapes of other tools: AutoGluon and Chronos, hubverse, xarray, GluonTS."""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from narwhals.typing import IntoDataFrame

from timediff.errors import InputError
from timediff.forecaster.frames import labels, make_frame, naive
from timediff.frequency import quiet_business_days

if TYPE_CHECKING:
    from gluonts.model.forecast import SampleForecast
    from xarray import DataArray

    from timediff.forecaster.forecast import Forecast

__all__ = ["gluonts", "hubverse", "item_frame", "of_gluonts", "xarray"]


def item_frame(forecast: "Forecast", quantiles: Sequence[float]) -> IntoDataFrame:
    """Columns item_id, timestamp, mean and one per level, called "0.1" and so on."""
    values = {"mean": forecast.mean, **{f"{q:g}": forecast.quantile(q) for q in quantiles}}
    columns = forecast.labelled(values)
    names = {forecast.columns.id: "item_id", forecast.columns.time: "timestamp"}
    return make_frame({names.get(name, name): x for name, x in columns.items()}, forecast.kind)


def hubverse(forecast: "Forecast", quantiles: Sequence[float] | None = None) -> IntoDataFrame:
    """Rows of a hubverse model output: paths, or with ``quantiles`` these.

    Columns ``origin_date`` (of the last known step), ``target``, ``horizon`` (from 1), ``location`` (the
    series), ``target_end_date``, ``output_type`` ("sample" or "quantile"), ``output_type_id`` (number of the
    joint path, from 1, or level) and ``value``, in the types of the tasks schema of hubs (version 6): dates
    without a time, locations as text. Rows of one number are one path over all locations and horizons, which
    is a ``compound_taskid_set`` of ``["origin_date", "target"]``; a hub that asks for less takes it. A hub
    may call its task columns otherwise: rename them.

    Raises:
        InputError: The forecast knows no history, its steps are parts of days, or its paths have weights,
            which hubs know nothing of.
    """
    if forecast.history_stamps is None or not len(forecast.history_stamps):
        raise InputError(
            "the forecast has no history, so its origin_date is not known; give history_stamps"
        )
    if quantiles is None:
        _check_unweighted(forecast, "to_hubverse without quantiles")
        values, ids, output = forecast.paths, 1 + np.arange(len(forecast.paths)), "sample"
    else:
        values, output = forecast.quantile(list(quantiles)), "quantile"
        ids = np.asarray(quantiles, dtype=np.float64)
    origin, *ahead = _dates(forecast.history_stamps[-1:].append(forecast.stamps))
    horizon = np.arange(1, len(ahead) + 1)[:, None]
    columns = forecast.labelled(
        {"horizon": horizon, "output_type_id": ids[:, None, None], "value": values}
    )
    rows = len(columns["value"])
    ordered = {
        "origin_date": np.full(rows, origin, dtype=object),
        "target": np.full(rows, forecast.columns.target, dtype=object),
        "horizon": columns["horizon"],
        "location": columns[forecast.columns.id].astype(str),
        "target_end_date": np.array(ahead, dtype=object)[columns["horizon"] - 1],
        "output_type": np.full(rows, output, dtype=object),
        "output_type_id": columns["output_type_id"],
        "value": columns["value"],
    }
    return make_frame(ordered, forecast.kind)


def _dates(stamps: pd.Index) -> list[date]:
    """Dates of stamps on their own clock.

    Raises:
        InputError: Two stamps have one date.
    """
    dates = pd.DatetimeIndex(naive(stamps)).date.tolist()
    if len(set(dates)) < len(dates):
        raise InputError(
            "hubs know dates only, but several steps of the forecast are of one day; call sum_over first, "
            "with the number of steps of a day"
        )
    return dates


def xarray(forecast: "Forecast") -> "DataArray":
    """Paths with dimensions ``sample_id, ds, unique_id``, the last two called like the columns.

    Stamps with a zone are UTC there, and ``attrs["tz"]`` names the zone. Weights are a coordinate.

    Raises:
        InputError: The package xarray is not installed.
    """
    try:
        from xarray import DataArray
    except ModuleNotFoundError as error:
        raise InputError("to_xarray needs the package xarray; install the extra xarray") from error
    stamps, attributes = forecast.stamps, {}
    if isinstance(stamps, pd.DatetimeIndex) and stamps.tz is not None:
        attributes = {"tz": str(stamps.tz)}
        stamps = stamps.tz_convert("UTC").tz_localize(None)
    dims = ("sample_id", forecast.columns.time, forecast.columns.id)
    coordinates: dict[str, Any] = {
        dims[0]: np.arange(len(forecast.paths)),
        dims[1]: stamps,
        dims[2]: labels(forecast.names),
    }
    if forecast.weights is not None:
        coordinates["weight"] = (dims[0], forecast.weights)
    return DataArray(forecast.paths, coordinates, dims, attrs=attributes)


def gluonts(forecast: "Forecast") -> "SampleForecast":
    """GluonTS's forecast, samples ``[S, T, D]``, names of the series in ``info["columns"]``.

    Raises:
        InputError: The paths have weights, or no first period is known.
    """
    from gluonts.model.forecast import SampleForecast

    _check_unweighted(forecast, "to_gluonts")
    if forecast.start is None:
        raise InputError(
            "the forecast has no start, which GluonTS needs; give its first period as start"
        )
    return SampleForecast(
        samples=forecast.paths,
        start_date=forecast.start,
        info={"columns": list(forecast.names)},
    )


def of_gluonts(
    forecast: "SampleForecast", names: Sequence[Any] | None
) -> tuple[np.ndarray, Sequence[Any], pd.DatetimeIndex]:
    """Paths ``[S, T, D]``, names and stamps of a GluonTS forecast."""
    paths = forecast.samples if forecast.samples.ndim == 3 else forecast.samples[..., None]
    if names is None:
        single = [forecast.item_id] if paths.shape[2] == 1 and forecast.item_id else None
        names = (forecast.info or {}).get("columns") or single or list(range(paths.shape[2]))
    with quiet_business_days():
        stamps = pd.period_range(forecast.start_date, periods=paths.shape[1]).to_timestamp()
    return paths, names, stamps


def _check_unweighted(forecast: "Forecast", what: str) -> None:
    if forecast.weights is not None:
        raise InputError(
            f"{what} has no place for the weights of paths; call it on the forecast before representatives"
        )
