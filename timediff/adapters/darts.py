"""TimeGrad as a model of Darts: components are series, and samples are joint over components and steps.

Axes: ``S`` samples, ``T`` time steps, ``D`` components.
"""

import warnings
from typing import Any, Self, final

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.models.forecasting.forecasting_model import GlobalForecastingModel
from darts.typing import TimeSeriesLike

from timediff.adapters.tables import TIME, covariates, wide
from timediff.config import ModelConfig, SamplingConfig, TrainConfig
from timediff.errors import InputError
from timediff.forecaster.forecast import Forecast
from timediff.forecaster.forecaster import Forecaster

__all__ = ["TimeGradModel", "from_darts", "to_darts"]

_GROUP = "series number"


def to_darts(forecast: Forecast) -> TimeSeries:
    """The paths as a series of Darts: components are the series, samples the joint paths.

    Darts has no time zones: stamps with one become UTC, and a warning says so.

    Raises:
        InputError: The paths have weights, which samples of Darts have not.
    """
    if forecast.weights is not None:
        raise InputError(
            "samples of Darts have no weights; call to_darts on the forecast before representatives"
        )
    stamps = forecast.stamps
    if isinstance(stamps, pd.PeriodIndex):
        stamps = stamps.to_timestamp()
    stamps = pd.DatetimeIndex(stamps)
    if stamps.tz is not None:
        warnings.warn(
            f"Darts has no time zones: stamps are UTC there; from_darts(..., tz={str(stamps.tz)!r}) is "
            "the way back",
            stacklevel=2,
        )
        stamps = stamps.tz_convert("UTC").tz_localize(None)
    return TimeSeries(
        times=stamps,
        values=forecast.paths.transpose(1, 2, 0),
        components=[str(name) for name in forecast.names],
    )


def from_darts(series: TimeSeries, *, tz: str | None = None) -> Forecast:
    """A forecast of the samples of a series of Darts, whoever drew them.

    Args:
        series: Of dates.
        tz: Zone of the stamps of the forecast, where those of the series are UTC.

    Raises:
        InputError: The series counts its steps by numbers.
    """
    if series.has_range_index:
        raise InputError("the series has no dates, only numbers of steps; give one with dates")
    stamps = pd.DatetimeIndex(series.time_index)
    if tz is not None:
        stamps = stamps.tz_localize("UTC").tz_convert(tz)
    paths = series.all_values(copy=False).transpose(2, 0, 1)
    return Forecast(np.ascontiguousarray(paths), list(series.components), stamps)


@final
class TimeGradModel(GlobalForecastingModel):
    """TimeGrad as a global model of Darts.

    The components of a series are forecast jointly: a sample is one path over all of them and all steps.
    Several series with the same components are examples of one model, independent of each other. Missing
    values need not be filled in. Future covariates are known ahead, past ones for the past only; static
    covariates are left out. ``n`` beyond ``output_chunk_length`` is reached by going on from the paths' own
    values.

    `save` pickles, as Darts does, and Darts loads classes of others with ``trusted=True`` only. Without
    pickle the forecaster inside is kept: ``model.forecaster.save(folder)``, `timediff.Forecaster.load`.

    Args:
        output_chunk_length: Steps of a forecast that the model is trained for.
        model: What the network is.
        train: How it is trained.
        sampling: How paths are drawn.
        freq: What a step is taken for where a series counts its steps by numbers: any alias of pandas.
        random_state: Of training and samples. When left out, training is by the seed of ``train`` and samples
            are drawn anew.
    """

    def __init__(
        self,
        output_chunk_length: int,
        model: ModelConfig = ModelConfig(),  # noqa: B008 (immutable)
        train: TrainConfig = TrainConfig(),  # noqa: B008
        sampling: SamplingConfig = SamplingConfig(),  # noqa: B008
        freq: str = "D",
        random_state: int | None = None,
    ) -> None:
        super().__init__(add_encoders=None)
        self.length, self.freq, self.random_state = output_chunk_length, freq, random_state
        if random_state is not None:
            train = train._replace(seed=random_state)
        self.forecaster = Forecaster(model, train, sampling, progress=False)
        self._needed = 1

    def fit(
        self,
        series: TimeSeriesLike,
        past_covariates: "TimeSeriesLike | None" = None,
        future_covariates: "TimeSeriesLike | None" = None,
    ) -> Self:
        """Trains on one series, or on several as examples of one model, and returns itself.

        Raises:
            InputError: The series differ in their components, or are too short.
        """
        super().fit(series, past_covariates, future_covariates)
        listed = _listed(series)
        tables = [
            self._table(number, one, _of(past_covariates, number), _of(future_covariates, number))
            for number, one in enumerate(listed)
        ]
        self.forecaster.fit(
            pd.concat(tables, ignore_index=True),
            h=self.length,
            freq=self.freq if listed[0].has_range_index else listed[0].freq_str,
            group_col=_GROUP,
            futr_exog_list=covariates("future", _frame(_of(future_covariates, 0))),
            hist_exog_list=covariates("past", _frame(_of(past_covariates, 0))),
            time_col=TIME,
        )
        history = self.forecaster.predictor.prediction_net.shape.history_length
        self._needed = min(history, max(map(len, listed)))
        return self

    def predict(
        self,
        n: int,
        series: "TimeSeriesLike | None" = None,
        past_covariates: "TimeSeriesLike | None" = None,
        future_covariates: "TimeSeriesLike | None" = None,
        num_samples: int = 1,
        verbose: bool | None = None,
        predict_likelihood_parameters: bool = False,
        show_warnings: bool = True,
        random_state: int | None = None,
    ) -> "TimeSeries | list[TimeSeries]":
        """The steps after each series, with the components, static covariates and hierarchy of it.

        Args:
            n: Steps.
            series: What is forecast; what the model was trained on when left out, if that is one series.
            past_covariates: Of each series.
            future_covariates: Of each series, until n steps after its end.
            num_samples: Samples, joint paths over all steps and components.
            verbose: As for all models of Darts; shows nothing.
            predict_likelihood_parameters: Not to be had: there is no likelihood in closed form.
            show_warnings: As for all models of Darts.
            random_state: Of the samples; that of the model when left out.

        Raises:
            InputError: A series does not fit the model, or future covariates end too early.
        """
        if series is None:
            series = self.training_series
            past_covariates = past_covariates or self.past_covariate_series
            future_covariates = future_covariates or self.future_covariate_series
        parametric = {"predict_likelihood_parameters": predict_likelihood_parameters}
        super().predict(n, series, past_covariates, future_covariates, num_samples, **parametric)
        seed = self.random_state if random_state is None else random_state
        forecasts = []
        for number, one in enumerate(_listed(series)):
            past, future = _of(past_covariates, number), _of(future_covariates, number)
            drawn = self.forecaster.forecast(
                self._table(number, one, past, future),
                None if future is None else self._table(number, None, None, future),
                h=n,
                group=number,
                n_paths=num_samples,
                seed=seed,
            )
            forecasts.append(self._build_forecast_series(drawn.paths.transpose(1, 2, 0), one))
        return forecasts[0] if isinstance(series, TimeSeries) else forecasts

    @property
    def output_chunk_length(self) -> int:
        return self.length

    @property
    def supports_multivariate(self) -> bool:
        return True

    @property
    def supports_probabilistic_prediction(self) -> bool:
        return True

    @property
    def supports_sample_weight(self) -> bool:
        return False

    @property
    def supports_optimized_historical_forecasts(self) -> bool:
        return False

    @property
    def min_train_samples(self) -> int:
        return 1

    @property
    def _target_window_lengths(self) -> tuple[int, int]:
        return self._needed, self.length

    @property
    def extreme_lags(self) -> tuple[int | None, ...]:
        """First and last step that is looked at, of target, past and future covariates; 0."""
        back, ahead = -self._needed, self.length - 1
        past = (back, -1) if self.uses_past_covariates else (None, None)
        future = (back, ahead) if self.uses_future_covariates else (None, None)
        return (back, ahead, *past, *future, 0)

    @property
    def _model_encoder_settings(self) -> tuple[Any, ...]:
        return self._needed, self.length, True, True, None, None

    def _table(
        self,
        number: int,
        series: "TimeSeries | None",
        past: "TimeSeries | None",
        future: "TimeSeries | None",
    ) -> pd.DataFrame:
        """The frame of one series and of its covariates at the same steps, or of future covariates alone."""
        frame, *others = [_frame(one) for one in (series, past, future)]
        if frame is not None:
            others = [None if one is None else one.reindex(frame.index) for one in others]
        table = wide(frame, self.freq, past=others[0], future=others[1])
        return table.assign(**{_GROUP: number})


def _frame(series: "TimeSeries | None") -> pd.DataFrame | None:
    return None if series is None else series.to_dataframe()


def _listed(series: TimeSeriesLike) -> list[TimeSeries]:
    return [series] if isinstance(series, TimeSeries) else list(series)


def _of(series: "TimeSeriesLike | None", number: int) -> "TimeSeries | None":
    """The covariates of a series, by its number."""
    return None if series is None else _listed(series)[number]
