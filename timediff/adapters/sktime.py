"""A forecaster of sktime: all columns of y are one joint model, and its distribution is joint over the steps.

Axes: ``S`` sample paths, ``H`` steps of the horizon that are asked for, ``D`` columns of y.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self, final

import numpy as np
import pandas as pd
from skpro.distributions.empirical import Empirical
from sktime.forecasting.base import BaseForecaster, ForecastingHorizon

from timediff.adapters.tables import TIME, covariates, wide
from timediff.config import ModelConfig, TrainConfig, flat_sampling
from timediff.errors import InputError
from timediff.forecaster.forecaster import Forecaster

__all__ = ["TimeGradForecaster"]


@final
class TimeGradForecaster(BaseForecaster):
    """TimeGrad in sktime: a joint model of the columns of y, with X known ahead.

    A model is trained for the farthest step of the ``fh`` of `fit`; further ones are reached by going on from
    the paths' own values. Columns of X, numbers or categories, are covariates common to all columns of y that
    are known ahead, at all steps up to the farthest. Missing values of y need not be filled in. `update` goes
    on training from the present weights, unless ``update_params=False``, by which it is only the past that
    grows. A panel or hierarchy gets a model for each instance, which know nothing of each other: make columns
    of them to have them jointly.

    `predict` gives the mean of the paths, `predict_quantiles` and `predict_interval` their quantiles
    (`timediff.Forecast.quantile`), `predict_proba` the paths themselves, as skpro's ``Empirical``, whose
    ``sample`` draws whole paths.

    Args:
        model: Options of the network by their names, those of `timediff.ModelConfig`. (A configuration itself
            would not do: sktime takes named tuples apart where it clones forecasters.)
        train: Of training, `timediff.TrainConfig`.
        sampling: Of sampling, `timediff.SamplingConfig`, with those of the sampler among them.
        n_paths: S.
        freq: Frequency of y, any alias of pandas: what its index says when left out, where that is dates or
            periods, and days for whole numbers.
        random_state: Of training and paths. When left out, training is by the seed of ``train`` and paths
            are others after each `fit`, but the same in all that is asked of one.

    Raises:
        InputError: In `fit`, of an option that there is not or that makes no sense; of data that cannot be
            read or are too short. In `predict`, of an X that has no value for a step up to the farthest.

    Examples:
        >>> from sktime.datasets import load_airline
        >>> from timediff.adapters.sktime import TimeGradForecaster
        >>> forecaster = TimeGradForecaster(train={"steps": 20}, random_state=1)
        >>> y_pred = forecaster.fit(load_airline(), fh=[1, 2, 3]).predict()
        >>> bands = forecaster.predict_interval(coverage=0.9)
        >>> paths = forecaster.predict_proba().sample(10)
    """

    _tags = {  # noqa: RUF012 (sktime's)
        "object_type": "forecaster",
        "authors": ["timediff"],
        "maintainers": ["timediff"],
        "python_dependencies": ["skpro"],
        "y_inner_mtype": "pd.DataFrame",
        "X_inner_mtype": "pd.DataFrame",
        "capability:multivariate": True,
        "requires-fh-in-fit": True,
        "X-y-must-have-same-index": True,
        "enforce_index_type": None,
        "capability:exogenous": True,
        "capability:non_contiguous_X": False,
        "capability:update": True,
        "capability:missing_values": True,
        "capability:insample": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:random_state": True,
        "property:randomness": "derandomized",
    }

    _config = {"remember_data": False}  # noqa: RUF012 (sktime's)

    def __init__(
        self,
        model: Mapping[str, Any] | None = None,
        train: Mapping[str, Any] | None = None,
        sampling: Mapping[str, Any] | None = None,
        n_paths: int = 100,
        freq: str | None = None,
        random_state: int | None = None,
    ) -> None:
        self.model, self.train, self.sampling = model, train, sampling
        self.n_paths, self.freq, self.random_state = n_paths, freq, random_state
        super().__init__()
        self._y = self._X = None  # where sktime keeps data, if it is told to by remember_data

    def _fit(self, y: pd.DataFrame, X: pd.DataFrame | None, fh: ForecastingHorizon) -> Self:
        train, seed = dict(self.train or {}), self.random_state
        if seed is None:
            seed = int(np.random.default_rng().integers(2**31))
        else:
            train["seed"] = seed
        self._seed, self._known = seed, self._table(y, X)
        configs = (
            _config(ModelConfig, self.model),
            _config(TrainConfig, train),
            flat_sampling(dict(self.sampling or {})),
        )
        self.forecaster_ = Forecaster(*configs, progress=False).fit(
            self._known,
            h=int(self._steps(fh).max()),
            freq=self.freq or getattr(y.index, "freqstr", None),
            futr_exog_list=covariates("X", X),
            time_col=TIME,
        )
        return self

    def _update(
        self, y: pd.DataFrame, X: pd.DataFrame | None = None, update_params: bool = True
    ) -> Self:
        new = self._table(y, X)
        self._known = pd.concat([self._known, new]).drop_duplicates(TIME, keep="last")
        if update_params:
            self.forecaster_.update(new)
        return self

    def _predict(self, fh: ForecastingHorizon, X: pd.DataFrame | None) -> pd.DataFrame:
        return self._frame(self._paths(fh, X).mean(axis=0), fh)

    def _predict_quantiles(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None, alpha: Sequence[float]
    ) -> pd.DataFrame:
        # As `timediff.Forecast.quantile`, by which bands of few paths hold what they say.
        values = np.quantile(self._paths(fh, X), alpha, axis=0, method="weibull")  # [Q, H, D]
        columns = pd.MultiIndex.from_product([self._get_varnames(), alpha])
        values = values.transpose(1, 2, 0).reshape(values.shape[1], -1)
        return pd.DataFrame(values, index=fh.to_absolute_index(self.cutoff), columns=columns)

    def _predict_proba(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None, marginal: bool = True
    ) -> Empirical:
        paths = self._paths(fh, X)
        index, columns = fh.to_absolute_index(self.cutoff), self._get_varnames()
        rows = pd.MultiIndex.from_product([range(len(paths)), index], names=["sample", "time"])
        values = pd.DataFrame(paths.reshape(len(rows), -1), index=rows, columns=columns)
        # By default skpro draws every time step from another path.
        return Empirical(values, time_indep=False, index=index, columns=columns)

    def _paths(self, fh: ForecastingHorizon, X: pd.DataFrame | None) -> np.ndarray:
        """The paths at the steps of a horizon, ``[S, H, D]``, the same whenever they are asked for."""
        steps = self._steps(fh)
        forecast = self.forecaster_.forecast(
            self._known,
            None if X is None else self._table(None, X),
            h=int(steps.max()),
            n_paths=self.n_paths,
            seed=self._seed,
        )
        return forecast.paths[:, steps - 1].astype(np.float64)

    def _frame(self, values: np.ndarray, fh: ForecastingHorizon) -> pd.DataFrame:
        index = fh.to_absolute_index(self.cutoff)
        return pd.DataFrame(values, index=index, columns=self._get_varnames())

    def _steps(self, fh: ForecastingHorizon) -> np.ndarray:
        """Steps after the last known one, from 1 on."""
        return np.asarray(fh.to_relative(self.cutoff).to_pandas(), dtype=np.int64)

    def _table(self, y: pd.DataFrame | None, X: pd.DataFrame | None) -> pd.DataFrame:
        return wide(y, self.freq or "D", X=X)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Parameters of sktime's own tests: networks that are trained in an instant."""
        tiny = {
            "num_layers": 1,
            "hidden_size": 4,
            "lags": [1, 2],
            "context_length": 4,
            "cond_size": 4,
            "denoiser_layers": 1,
            "denoiser_width": 4,
            "diffusion_steps": 4,
            "difference": 0,
        }
        train = {"steps": 2, "steps_per_epoch": 2, "batch_size": 4}
        common = {"train": train, "n_paths": 5, "random_state": 1}
        return [{"model": {**tiny, "scaling": name}, **common} for name in ("global", "adaptive")]


def _config(kind: type[Any], options: Mapping[str, Any] | None) -> Any:
    """A configuration of options by their names.

    Raises:
        InputError: There is none of this name.
    """
    if unknown := [name for name in options or {} if name not in kind._fields]:
        raise InputError(
            f"there is no option {unknown[0]!r}; options of {kind.__name__} are {', '.join(kind._fields)}"
        )
    return kind(**(options or {}))
