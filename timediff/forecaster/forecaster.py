"""From a table to a joint forecast: frames in, frames out, in the columns of Nixtla's libraries.

Axes: ``S`` sample paths, ``H`` steps of a forecast, ``D`` series, ``T`` known steps.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, final

from narwhals.typing import IntoDataFrame

from timediff.arguments import checked
from timediff.checks import check_options
from timediff.config import ModelConfig, SamplingConfig, TrainConfig
from timediff.data.entry import Entry
from timediff.forecaster import saved
from timediff.forecaster.drawing import Fitted, read_more, windows_frame
from timediff.forecaster.forecast import Forecast
from timediff.forecaster.frames import Columns, kind_of
from timediff.forecaster.known import Known, Layout, entry_of
from timediff.forecaster.reading import joined, read_training
from timediff.forecaster.trained import Trained
from timediff.options import Between, Count, Seed, Whole

if TYPE_CHECKING:
    from timediff.gluon.estimator import TimeGradEstimator
    from timediff.gluon.predictor import TimeGradPredictor

__all__ = ["Forecaster"]


@final
class Forecaster(Trained):
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

    @checked
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
        # Options that make no sense are refused.
        if trainer_kwargs:
            self._estimator(1)
        else:
            check_options(model, train, sampling)
        self._fitted: Fitted | None = None

    @checked
    def fit(
        self,
        df: Any,
        static_df: Any = None,
        *,
        h: Count,
        freq: str | None = None,
        tz: str | None = None,
        group_col: str | None = None,
        id_col: str = "unique_id",
        time_col: str = "ds",
        target_col: str = "y",
        futr_exog_list: Sequence[str] = (),
        hist_exog_list: Sequence[str] = (),
        stat_exog_list: Sequence[str] = (),
        ckpt_path: str | Path | None = None,
    ) -> Self:
        """Trains on all rows of a frame, and returns itself.

        Args:
            df: Long or wide.
            static_df: A row for each series: its name in the id column, and covariates that do not change.
            h: Steps of a forecast.
            freq: Frequency, any alias of pandas; what the stamps suggest when left out.
            tz: Zone of the local clock that stamps without a zone show.
            group_col: Column of the names of groups, regions say, each a table of the same series by itself;
                one model is trained on all of them.
            id_col: Column of the series' names in a long frame.
            time_col: Column of the stamps.
            target_col: Column of the values in a long frame.
            futr_exog_list: Columns that will be known ahead, numbers or categories; of a wide frame they are
                common to all series.
            hist_exog_list: Columns that are known for the past only, or series that are inputs and are not
                forecast.
            stat_exog_list: Columns of ``static_df``.
            ckpt_path: A checkpoint (``last.ckpt``) of such a training to go on from.

        Raises:
            InputError: The frame cannot be read, or is too short.
        """
        columns = Columns(id_col, time_col, target_col, group_col)
        exogenous = (list(futr_exog_list), list(hist_exog_list), list(stat_exog_list))
        known, layout, notes = read_training(df, static_df, columns, freq, tz, *exogenous)
        self._tell(notes)
        predictor = self._predictor(_entries(known, layout), h, ckpt_path=ckpt_path)
        self._fitted = Fitted(predictor, known, layout, kind_of(df))
        return self

    @checked
    def update(self, df: Any, *, ckpt_path: str | Path | None = None) -> Self:
        """Goes on training from the present weights, on the training data and new rows, and returns itself.

        Args:
            df: Rows of the same series, such as those that came in since. Where they hold a value of a step
                that was there already, it takes the place of the old one. New groups may begin.
            ckpt_path: A checkpoint (``last.ckpt``) of such a training to go on from.

        Raises:
            InputError: Nothing was trained, or the frame does not fit what the model was trained on.
        """
        fitted = self.fitted
        more, notes = read_more(df, fitted, whole=False)
        self._tell(notes)
        known = fitted.known | {
            group: joined(fitted.known[group], one) if group in fitted.known else one
            for group, one in more.items()
        }
        h = fitted.predictor.prediction_length
        predictor = self._predictor(_entries(known, fitted.layout), h, self.predictor, ckpt_path)
        self._fitted = fitted._replace(predictor=predictor, known=known, kind=kind_of(df))
        return self

    @checked
    def cross_validation(
        self,
        df: Any,
        static_df: Any = None,
        *,
        h: Count,
        n_windows: Whole = 1,
        step_size: Annotated[int | None, Between(1)] = None,
        refit: bool = False,
        level: Sequence[float] | None = None,
        quantiles: Sequence[float] | None = None,
        n_paths: Count = 100,
        seed: Seed = None,
        freq: str | None = None,
        tz: str | None = None,
        group_col: str | None = None,
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
        columns = Columns(id_col, time_col, target_col, group_col)
        exogenous = (list(futr_exog_list), list(hist_exog_list), list(stat_exog_list))
        known, layout, notes = read_training(df, static_df, columns, freq, tz, *exogenous)
        self._tell(notes)
        kind = kind_of(df)

        def fitted(entries: list[Entry]) -> Fitted:
            return Fitted(self._predictor(entries, h), known, layout, kind)

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

    @classmethod
    @checked
    def load(cls, path: str | Path, *, progress: bool = True) -> Self:
        """The forecaster that `save` wrote. No file decides what is imported or run.

        Raises:
            InputError: A file is missing or damaged.
        """
        fitted, configs = saved.load(Path(path))
        forecaster = cls(*configs, progress=progress)
        forecaster._fitted = fitted
        return forecaster

    def _estimator(self, h: int) -> "TimeGradEstimator":
        from timediff.gluon.estimator import TimeGradEstimator  # loads Lightning

        return TimeGradEstimator(
            prediction_length=h,
            model=self.model,
            train=self.train,
            sampling=self.sampling,
            progress=self.progress,
            trainer_kwargs=self.trainer_kwargs,
        )

    def _predictor(
        self,
        entries: list[Entry],
        h: int,
        start: "TimeGradPredictor | None" = None,
        ckpt_path: str | Path | None = None,
    ) -> "TimeGradPredictor":
        output = self._estimator(h).train_model(entries, from_predictor=start, ckpt_path=ckpt_path)
        return output.predictor


def _entries(known: dict[Any, Known], layout: Layout) -> list[Entry]:
    """What is trained on."""
    return [entry_of(one, layout, group=group) for group, one in known.items()]
