"""From a table to a joint forecast: frames in, frames out, in the columns of Nixtla's libraries.

Axes: ``S`` sample paths, ``H`` steps of a forecast, ``D`` series, ``T`` known steps.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, final

import numpy as np
from narwhals.typing import IntoDataFrame

from timediff.config import ModelConfig, SamplingConfig, TrainConfig
from timediff.data.entry import Entry
from timediff.errors import InputError, check_whole
from timediff.forecaster import saved
from timediff.forecaster.drawing import Fitted, draw, read_more, windows_frame
from timediff.forecaster.forecast import Forecast
from timediff.forecaster.frames import Columns, kind_of, labels, make_frame
from timediff.forecaster.known import Known, entry_of, read_training
from timediff.forecaster.rows import future_covariates, known_targets, missing_rows
from timediff.gluon.estimator import TimeGradEstimator
from timediff.gluon.predictor import TimeGradPredictor

__all__ = ["Forecaster"]


@final
class Forecaster:
    """A joint model of all series of a table.

    Frames are of pandas, polars or pyarrow, and what comes out is of the kind that went in. A long frame has
    a row for each series and step, in columns called ``unique_id``, ``ds`` and ``y`` unless told otherwise; a
    wide one a row for each step, stamps as index or in a column, and a column for each series. What comes out
    is long. The order of rows does not matter, and those that are absent are missing values.

    ``Forecaster(*timediff.PRESETS["paper"])`` is a model by the name of its configuration.

    Args:
        model: What the network is.
        train: How it is trained.
        sampling: How paths are drawn.
        progress: Show progress, and what was repaired in a frame, on stderr.
        trainer_kwargs: Passed to `lightning.pytorch.Trainer`.

    Raises:
        InputError: An option makes no sense.
    """

    def __init__(
        self,
        model: ModelConfig = ModelConfig(),  # noqa: B008 (immutable)
        train: TrainConfig = TrainConfig(),  # noqa: B008
        sampling: SamplingConfig = SamplingConfig(),  # noqa: B008
        *,
        progress: bool = True,
        trainer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.model, self.train, self.sampling = model, train, sampling
        self.progress, self.trainer_kwargs = progress, trainer_kwargs
        self._estimator(1)  # refuses options that make no sense
        self._fitted: Fitted | None = None

    @property
    def predictor(self) -> TimeGradPredictor:
        """The trained GluonTS predictor.

        Raises:
            InputError: Nothing was trained yet.
        """
        return self._trained().predictor

    def fit(
        self,
        df: Any,
        static_df: Any = None,
        *,
        h: int,
        freq: str | None = None,
        tz: str | None = None,
        id_col: str = "unique_id",
        time_col: str = "ds",
        target_col: str = "y",
        futr_exog_list: Sequence[str] = (),
        hist_exog_list: Sequence[str] = (),
        stat_exog_list: Sequence[str] = (),
    ) -> Self:
        """Trains on all rows of a frame, and returns itself.

        Args:
            df: Long or wide.
            static_df: A row for each series: its name in the id column, and covariates that do not change.
            h: Steps of a forecast.
            freq: Frequency, any alias of pandas; what the stamps suggest when left out.
            tz: Zone of the local clock that stamps without a zone show.
            id_col: Column of the series' names in a long frame.
            time_col: Column of the stamps.
            target_col: Column of the values in a long frame.
            futr_exog_list: Columns that will be known ahead, numbers or categories; of a wide frame they are
                common to all series.
            hist_exog_list: Columns that are known for the past only.
            stat_exog_list: Columns of ``static_df``.

        Raises:
            InputError: The frame cannot be read, or is too short.
        """
        columns = Columns(id_col, time_col, target_col)
        exogenous = (list(futr_exog_list), list(hist_exog_list), list(stat_exog_list))
        known, layout, notes = read_training(df, static_df, columns, freq, tz, *exogenous)
        self._tell(notes)
        self._fitted = Fitted(
            self._predictor(entry_of(known, layout), h), known, layout, kind_of(df)
        )
        return self

    def forecast(
        self,
        df: Any = None,
        futr_df: Any = None,
        *,
        n_paths: int = 100,
        seed: int | None = None,
        known: Any = None,
        num_particles: int = 1000,
    ) -> Forecast:
        """The joint forecast of the h steps after the last row. `simulate` and `predict` are views of it.

        Args:
            df: What is known, with the series of the training data; these data themselves when left out.
            futr_df: The covariates known ahead at the steps of the forecast; later rows are left out.
            n_paths: S.
            seed: The same seed gives the same paths; drawn anew when left out.
            known: What-if: a frame of values of the future, long or wide, which the paths then agree with
                (`TimeGradPredictor.predict`).
            num_particles: Of what-if forecasts.

        Raises:
            InputError: Nothing was trained, or a frame does not fit what the model was trained on.
        """
        fitted = self._trained()
        past = self._known(df)
        horizon = fitted.predictor.prediction_length
        future = {}
        if fitted.layout.futr:
            future = future_covariates(futr_df, past, fitted.layout, horizon)
        given = None if known is None else known_targets(known, past, fitted.layout, horizon)
        return draw(
            fitted if df is None else fitted._replace(kind=kind_of(df)),
            entry_of(past, fitted.layout, future),
            past,
            n_paths=n_paths,
            seed=seed,
            progress=self.progress,
            known_future=given,
            num_particles=num_particles,
        )

    def simulate(
        self,
        df: Any = None,
        futr_df: Any = None,
        *,
        n_paths: int = 100,
        seed: int | None = None,
        known: Any = None,
    ) -> IntoDataFrame:
        """Sample paths, ``unique_id, ds, sample_id, TimeGrad``: `forecast` and `Forecast.to_frame`.

        All rows of one ``sample_id`` are one joint path over all series.
        """
        return self.forecast(df, futr_df, n_paths=n_paths, seed=seed, known=known).to_frame()

    def predict(
        self,
        df: Any = None,
        futr_df: Any = None,
        *,
        level: Sequence[float] | None = None,
        quantiles: Sequence[float] | None = None,
        n_paths: int = 100,
        seed: int | None = None,
    ) -> IntoDataFrame:
        """Mean, median, intervals and quantiles of the paths that `simulate` gives with this seed.

        Columns are ``TimeGrad``, ``TimeGrad-median``, for ``level=[90]`` ``TimeGrad-lo-90`` and
        ``TimeGrad-hi-90``, for ``quantiles=[0.1]`` ``TimeGrad_ql0.1`` (`Forecast.to_quantile_frame`).
        """
        forecast = self.forecast(df, futr_df, n_paths=n_paths, seed=seed)
        return forecast.to_quantile_frame(level=level, quantiles=quantiles)

    def cross_validation(
        self,
        df: Any,
        static_df: Any = None,
        *,
        h: int,
        n_windows: int = 1,
        step_size: int | None = None,
        refit: bool = False,
        level: Sequence[float] | None = None,
        quantiles: Sequence[float] | None = None,
        n_paths: int = 100,
        seed: int | None = None,
        freq: str | None = None,
        tz: str | None = None,
        id_col: str = "unique_id",
        time_col: str = "ds",
        target_col: str = "y",
        futr_exog_list: Sequence[str] = (),
        hist_exog_list: Sequence[str] = (),
        stat_exog_list: Sequence[str] = (),
    ) -> IntoDataFrame:
        """Forecasts of rolling windows that end with the frame, beside what happened.

        A model of these options is trained on what precedes the first window, with ``refit`` before each
        window anew; what this forecaster was fitted on stays. Covariates known ahead are those of the frame:
        where they were measured later, the forecasts had perfect foresight of them. Arguments of `fit` are
        those of `fit`.

        Args:
            h: Steps of a window.
            n_windows: How many.
            step_size: Steps from one to the next; h when left out.
            refit: Whether to train before each window.
            level: As in `predict`.
            quantiles: As in `predict`.
            n_paths: S.
            seed: Of the paths.

        Returns:
            Columns ``unique_id, ds, cutoff``, those of `predict`, ``y``; the cutoff is the last known stamp.

        Raises:
            InputError: The frame cannot be read, or is too short for the windows.
        """
        columns = Columns(id_col, time_col, target_col)
        exogenous = (list(futr_exog_list), list(hist_exog_list), list(stat_exog_list))
        known, layout, notes = read_training(df, static_df, columns, freq, tz, *exogenous)
        self._tell(notes)
        kind = kind_of(df)

        def fitted(entry: Entry) -> Fitted:
            return Fitted(self._predictor(entry, h), known, layout, kind)

        return windows_frame(
            fitted,
            known,
            layout,
            h=h,
            windows=n_windows,
            stride=h if step_size is None else step_size,
            refit=refit,
            columns=partial(Forecast.summary, level=level, quantiles=quantiles),
            n_paths=n_paths,
            seed=seed,
            progress=self.progress,
        )

    def make_future_dataframe(self, df: Any = None) -> IntoDataFrame:
        """The names and stamps of the forecast of a frame, to which covariates known ahead can be joined."""
        fitted = self._trained()
        rows = np.indices((fitted.layout.width, self.predictor.prediction_length)).reshape(2, -1)
        return self._rows(df, self._known(df), *rows)

    def get_missing_future(self, futr_df: Any, df: Any = None) -> IntoDataFrame:
        """The rows of `make_future_dataframe` that a frame lacks."""
        past, layout = self._known(df), self._trained().layout
        missing = missing_rows(futr_df, past, layout, self.predictor.prediction_length)
        return self._rows(df, past, *missing)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes a folder of JSON and safetensors, whole or not at all: the model and its training data.

        Args:
            path: The folder.
            overwrite: Replace the folder of an earlier `save`.

        Raises:
            InputError: Nothing was trained, or something is there that may not be replaced.
        """
        configs = (self.model, self.train, self.sampling)
        saved.save(self._trained(), configs, Path(path), overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path, *, progress: bool = True) -> Self:
        """The forecaster that `save` wrote. No file decides what is imported or run.

        Raises:
            InputError: A file is missing or damaged.
        """
        fitted, configs = saved.load(Path(path))
        forecaster = cls(*configs, progress=progress)
        forecaster._fitted = fitted
        return forecaster

    def _estimator(self, h: int) -> TimeGradEstimator:
        check_whole("h", h)
        return TimeGradEstimator(
            prediction_length=h,
            model=self.model,
            train=self.train,
            sampling=self.sampling,
            progress=self.progress,
            trainer_kwargs=self.trainer_kwargs,
        )

    def _predictor(self, entry: Entry, h: int) -> TimeGradPredictor:
        predictor = self._estimator(h).train([entry])
        assert isinstance(predictor, TimeGradPredictor)
        return predictor

    def _known(self, df: Any) -> Known:
        """The training data, or what is known in another frame."""
        fitted = self._trained()
        if df is None:
            return fitted.known
        known, notes = read_more(df, fitted)
        self._tell(notes)
        return known

    def _rows(self, df: Any, past: Known, series: np.ndarray, steps: np.ndarray) -> IntoDataFrame:
        """Names and stamps of some series and steps of the forecast."""
        fitted = self._trained()
        stamps = past.stamps(len(past.values), fitted.predictor.prediction_length)
        columns = fitted.layout.columns
        rows = {columns.id: labels(fitted.layout.names)[series], columns.time: stamps[steps]}
        return make_frame(rows, fitted.kind if df is None else kind_of(df))

    def _trained(self) -> Fitted:
        if self._fitted is None:
            raise InputError("nothing was trained yet; call fit first, or load")
        return self._fitted

    def _tell(self, notes: Sequence[str]) -> None:
        if self.progress:
            for note in notes:
                print(note, file=sys.stderr)
