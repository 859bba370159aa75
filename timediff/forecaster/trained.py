"""What a forecaster can do once it is trained."""

import sys
from abc import ABC
from collections import Counter
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
from narwhals.typing import IntoDataFrame

from timediff.arguments import checked
from timediff.config import ModelConfig, SamplingConfig, TrainConfig
from timediff.errors import InputError
from timediff.forecaster import saved
from timediff.forecaster.drawing import Fitted, asked_of, draw, read_more
from timediff.forecaster.filling import CONDITIONS, filled
from timediff.forecaster.forecast import Forecast
from timediff.forecaster.frames import groups_of, kind_of, labels, make_frame, some, stacked
from timediff.forecaster.known import Known
from timediff.forecaster.rows import missing_rows
from timediff.options import Between, Count, Seed

if TYPE_CHECKING:
    from timediff.gluon.predictor import TimeGradPredictor

__all__ = ["Horizon", "Trained"]

#: Steps of a forecast, those of training when left out.
Horizon = Annotated[int | None, Between(1, 1_000_000)]


class Trained(ABC):
    """A trained joint model of all series of a table, and the data it was trained on.

    ``df`` is in all methods what is known, with the series of the training data; these data themselves when
    left out. ``futr_df`` are the covariates known ahead at the steps of the forecast; later rows are left
    out. ``h`` are the steps of the forecast, those of training when left out; beyond them every path goes on
    from its own values. The same ``seed`` gives the same paths of a group, whatever other groups there are;
    drawn anew when left out.
    """

    model: ModelConfig
    train: TrainConfig
    sampling: SamplingConfig
    progress: bool
    _fitted: Fitted | None

    @property
    def fitted(self) -> Fitted:
        """What training left: predictor, data, and how later frames must look.

        Raises:
            InputError: Nothing was trained yet.
        """
        if self._fitted is None:
            raise InputError("nothing was trained yet; call fit first, or load")
        return self._fitted

    @property
    def predictor(self) -> "TimeGradPredictor":
        """The trained GluonTS predictor.

        Raises:
            InputError: Nothing was trained yet.
        """
        # Loads Lightning, which no forecast needs.
        from timediff.gluon.predictor import TimeGradPredictor

        predictor = TimeGradPredictor.of(self.fitted.predictor)
        self._fitted = self.fitted._replace(predictor=predictor)
        return predictor

    @property
    def choices(self) -> dict[str, Any]:
        """What training chose, plain values.

        Raises:
            InputError: Nothing was trained yet.
        """
        return self.fitted.predictor.choices

    @checked
    def forecast(
        self,
        df: Any = None,
        futr_df: Any = None,
        *,
        h: Horizon = None,
        group: Hashable = None,
        n_paths: Count = 100,
        seed: Seed = None,
        known: Any = None,
        ragged: bool = False,
        num_particles: Annotated[int, Between(0, 1_000_000)] = 1000,
    ) -> Forecast:
        """The joint forecast of the steps after the last row. `simulate` and `predict` are views of it.

        Args:
            df: What is known.
            futr_df: Covariates known ahead.
            h: Steps.
            group: Whose forecast, where there are groups.
            n_paths: S.
            seed: Of the paths.
            known: What-if: a frame of values of the future, long or wide, which the paths then agree with
                (`TimeGradPredictor.predict`).
            ragged: Begin after the last step of which all series are known, at most a horizon before the last
                row. What is known of some series after it is given as in a what-if: it comes back as it is,
                and the others follow it. Otherwise these steps are missing values of the past.
            num_particles: Of what-if forecasts.

        Raises:
            InputError: Nothing was trained, or a frame does not fit what the model was trained on.
        """
        past = self._known(df)
        if group not in past:
            raise InputError(
                f"there is no group {group!r}; give one of {some(list(past))}"
                if self.fitted.layout.columns.group
                else f"the model has no groups; leave out group, which is {group!r}"
            )
        what_if = (known, ragged, num_particles)
        return self._forecast(df, past, group, futr_df, h, n_paths, seed, *what_if)

    @checked
    def simulate(
        self,
        df: Any = None,
        futr_df: Any = None,
        *,
        h: Horizon = None,
        n_paths: Count = 100,
        seed: Seed = None,
        known: Any = None,
        ragged: bool = False,
    ) -> IntoDataFrame:
        """Sample paths, ``unique_id, ds, sample_id, TimeGrad``: `forecast` and `Forecast.to_frame`.

        All rows of one ``sample_id`` are one joint path over all series. Groups, whose names come first, are
        independent of each other.
        """
        past = self._known(df)
        return stacked(
            self._forecast(df, past, group, futr_df, h, n_paths, seed, known, ragged).to_frame()
            for group in past
        )

    @checked
    def predict(
        self,
        df: Any = None,
        futr_df: Any = None,
        *,
        h: Horizon = None,
        level: Sequence[float] | None = None,
        quantiles: Sequence[float] | None = None,
        n_paths: Count = 100,
        seed: Seed = None,
        ragged: bool = False,
    ) -> IntoDataFrame:
        """Mean, median, intervals and quantiles of the paths that `simulate` gives with this seed.

        Columns are ``TimeGrad``, ``TimeGrad-median``, for ``level=[90]`` ``TimeGrad-lo-90`` and
        ``TimeGrad-hi-90``, for ``quantiles=[0.1]`` ``TimeGrad_ql0.1`` (`Forecast.to_quantile_frame`).
        """
        past = self._known(df)
        return stacked(
            self._forecast(
                df, past, group, futr_df, h, n_paths, seed, None, ragged
            ).to_quantile_frame(level=level, quantiles=quantiles)
            for group in past
        )

    @checked
    def impute(
        self,
        df: Any = None,
        *,
        n_paths: Count = 100,
        seed: Seed = None,
        num_particles: Annotated[int, Between(0, 1_000_000)] = 1000,
    ) -> IntoDataFrame:
        """The table with its missing values filled in, long: ``unique_id, ds, y, imputed``.

        What is missing between the first and the last value of a series becomes the mean of paths that are
        drawn from what precedes it, under the condition of what is known within a window of the horizon
        (`timediff.forecaster.filling`). What comes after the window is not looked at. Where the condition
        leaves too few particles it is what is known at the same steps only, or nothing but the past; how many
        values so is told with ``progress``. Steps before the first and after the last value stay missing.

        Args:
            df: What is known.
            n_paths: S.
            seed: Of the paths.
            num_particles: Of each window.
        """
        fitted, known = self.fitted, self._known(df)
        columns, parts, counts = fitted.layout.columns, [], Counter[str]()
        for group, one in known.items():
            values, how = filled(
                fitted,
                one,
                group,
                n_paths=n_paths,
                seed=seed,
                num_particles=num_particles,
                progress=self.progress,
            )
            counts += how
            rows = self._labels(one, group, *_every(one.values.T), first=0)
            new = np.isnan(one.values) & ~np.isnan(values)
            rows |= {columns.target: values.T.ravel(), "imputed": new.T.ravel()}
            parts.append(pd.DataFrame(rows))
        told = [f"{counts[name]} given {name}" for name in CONDITIONS if counts[name]]
        self._tell([f"values filled in: {', '.join(told) or 'none'}"])
        return make_frame(pd.concat(parts, ignore_index=True), self._kind(df))

    @checked
    def make_future_dataframe(self, df: Any = None, *, h: Horizon = None) -> IntoDataFrame:
        """The names and stamps of the forecast of a frame, to which covariates known ahead can be joined."""
        steps, width = self._steps(h), self.fitted.layout.width
        known = self._known(df)
        every = {group: _every(np.empty((width, steps))) for group in known}
        return self._rows(df, known, every)

    @checked
    def get_missing_future(
        self, futr_df: Any, df: Any = None, *, h: Horizon = None
    ) -> IntoDataFrame:
        """The rows of `make_future_dataframe` that a frame lacks."""
        known, layout, steps = self._known(df), self.fitted.layout, self._steps(h)
        parts = groups_of(futr_df, layout.columns, "futr_df")
        missing = {
            group: missing_rows(parts[group], one, layout, steps)
            if group in parts
            else _every(np.empty((layout.width, steps)))
            for group, one in known.items()
        }
        return self._rows(df, known, missing)

    @checked
    def save(
        self, path: str | Path, *, overwrite: bool = False, training_data: bool = True
    ) -> None:
        """Writes a folder of JSON and safetensors, whole or not at all: the model and its training data.

        Args:
            path: The folder.
            overwrite: Replace the folder of an earlier `save`.
            training_data: Whether the data go along; without them, the model that is loaded needs ``df``.

        Raises:
            InputError: Nothing was trained, or something is there that may not be replaced.
        """
        fitted, configs = self.fitted, (self.model, self.train, self.sampling)
        if not training_data:
            without = {group: known.before(0) for group, known in fitted.known.items()}
            fitted = fitted._replace(known=without)
        saved.save(fitted, configs, Path(path), overwrite=overwrite)

    def _forecast(
        self,
        df: Any,
        past: dict[Any, Known],
        group: Any,
        futr_df: Any,
        h: int | None,
        n_paths: int,
        seed: int | None,
        known: Any = None,
        ragged: bool = False,
        num_particles: Annotated[int, Between(0, 1_000_000)] = 1000,
    ) -> Forecast:
        """The forecast of a group of what is known."""
        fitted = self.fitted
        asked = asked_of(
            fitted, past, group, self._steps(h), futr_df=futr_df, given=known, ragged=ragged
        )
        return draw(
            fitted._replace(kind=self._kind(df)),
            asked,
            group,
            n_paths=n_paths,
            seed=seed,
            progress=self.progress,
            num_particles=num_particles,
        )

    def _steps(self, h: int | None) -> int:
        if h is None:
            return self.fitted.predictor.prediction_length
        return h

    def _kind(self, df: Any) -> str:
        return self.fitted.kind if df is None else kind_of(df)

    def _known(self, df: Any) -> dict[Any, Known]:
        """The training data, or what is known in another frame, by groups."""
        fitted = self.fitted
        if df is None and not fitted.has_data:
            raise InputError("the model was saved without its training data; give df")
        if df is None:
            return fitted.known
        known, notes = read_more(df, fitted)
        self._tell(notes)
        return known

    def _rows(
        self, df: Any, known: dict[Any, Known], cells: dict[Any, tuple[np.ndarray, np.ndarray]]
    ) -> IntoDataFrame:
        """Labels of some series and steps of the forecast of each group."""
        parts = [
            pd.DataFrame(self._labels(one, group, *cells[group], first=len(one.values)))
            for group, one in known.items()
        ]
        return make_frame(pd.concat(parts, ignore_index=True), self._kind(df))

    def _labels(
        self, known: Known, group: Any, series: np.ndarray, steps: np.ndarray, *, first: int
    ) -> dict[str, Any]:
        """Group, names and stamps of some series and steps from a first one on."""
        columns, names = self.fitted.layout.columns, self.fitted.layout.names
        groups = {columns.group: labels([group]).repeat(len(series))} if columns.group else {}
        stamps = known.stamps(first, int(steps.max(initial=0)) + 1)
        return {**groups, columns.id: labels(names)[series], columns.time: stamps[steps]}

    def _tell(self, notes: Sequence[str]) -> None:
        if self.progress:
            for note in notes:
                print(note, file=sys.stderr)


def _every(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Series and steps of all cells ``[D, T]``, series by series."""
    series, steps = np.indices(cells.shape).reshape(2, -1)
    return series, steps
