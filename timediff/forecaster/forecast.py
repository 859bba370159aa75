"""A joint forecast with its labels, and what can be read off its paths.

Axes: ``S`` sample paths, ``T`` time steps, ``D`` series. A path is joint over all steps and series, so that
what is computed path by path (a sum, a maximum, an event) has the right distribution.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np
import pandas as pd
from narwhals.typing import IntoDataFrame
from numpy.typing import ArrayLike

from timediff.arguments import checked
from timediff.errors import InputError
from timediff.forecaster import exports, pictures
from timediff.forecaster.frames import KINDS, Array, Columns, labels, make_frame
from timediff.forecaster.scenarios import choose, distances, points_of
from timediff.forecaster.sums import summing_matrix, sums_of_steps
from timediff.options import Whole

if TYPE_CHECKING:
    from gluonts.model.forecast import SampleForecast
    from xarray import DataArray

    from timediff.report.plots import Figure

__all__ = ["MODEL", "TENTHS", "TOTAL", "Forecast"]


#: Column of the forecast in frames.
MODEL = "TimeGrad"
#: Levels of quantiles, when none are asked for.
TENTHS = tuple(i / 10 for i in range(1, 10))
#: Name of the sum of all series.
TOTAL = "total"


@final
@dataclass(frozen=True, eq=False, repr=False)
class Forecast:
    """Joint sample paths of several series, with the labels of series and steps.

    Args:
        paths: ``[S, T, D]``, in the units of the data.
        names: Of the series, ``[D]``, strings or numbers.
        stamps: Of the steps, ``[T]``: a DatetimeIndex or PeriodIndex.
        weights: Probability of each path, ``[S]``; None where all have the same.
        history: What was known before, ``[Th, D]``, NaN where missing.
        history_stamps: Its stamps, ``[Th]``.
        start: The first step as a period; needed by `to_gluonts` only.
        columns: Names of the columns of the frames that are made.
        group: Name of the group that the series are of, where there are several.
        kind: Kind of these frames: "pandas", "polars" or "pyarrow".

    Raises:
        InputError: Shapes do not agree, or weights are not probabilities.
    """

    paths: Array
    names: Sequence[Any]
    stamps: pd.Index
    weights: Array | None = None
    history: Array | None = None
    history_stamps: pd.Index | None = None
    start: pd.Period | None = None
    columns: Columns = Columns()  # noqa: RUF009 (immutable)
    kind: str = "pandas"
    group: Any = None

    def __post_init__(self) -> None:
        shape = np.shape(self.paths)
        if len(shape) != 3 or not shape[0] or shape[1:] != (len(self.stamps), len(self.names)):
            raise InputError(
                f"paths have the shape {shape}, but there are {len(self.stamps)} stamps and "
                f"{len(self.names)} names; give paths [S, T, D]"
            )
        if self.weights is not None:
            weights = np.asarray(self.weights)
            fits = weights.shape == shape[:1] and (weights >= 0).all()
            if not fits or abs(weights.sum() - 1) > 1e-6:
                raise InputError(
                    f"weights must be {shape[0]} probabilities that sum to 1, one for each path"
                )
        if self.kind not in KINDS:
            raise InputError(f"kind is {self.kind!r}; give one of {', '.join(KINDS)}")

    def __repr__(self) -> str:
        count, steps, dim = self.paths.shape
        return (
            f"Forecast({count} paths of {dim} series over {steps} steps from {self.stamps[0]} on)"
        )

    @property
    def mean(self) -> Array:
        """Mean of the paths, float64 ``[T, D]``."""
        return np.average(self.paths.astype(np.float64), axis=0, weights=self.weights)

    @checked
    def quantile(self, q: float | Sequence[float]) -> Array:
        """Quantiles of each series and step by itself, ``[T, D]``, or ``[Q, T, D]`` for several levels.

        Of paths of the same probability the order statistic at position q (S + 1), interpolated, as in the
        coverage scores (`timediff.metrics.central_interval`): definition 6 of Hyndman and Fan (1996), by
        which a truth drawn like the paths is below with probability q. With weights the paths are the whole
        distribution, and its quantile is the least value whose cumulated weight reaches q.

        Raises:
            InputError: A level is not between 0 and 1.
        """
        levels = np.asarray(q, dtype=np.float64)
        if not ((levels >= 0) & (levels <= 1)).all():
            raise InputError(f"quantiles are {q}; give levels from 0 to 1")
        if self.weights is None:
            return np.quantile(self.paths, levels, axis=0, method="weibull")
        return np.quantile(self.paths, levels, axis=0, weights=self.weights, method="inverted_cdf")

    def aggregate(self, S_df: Any = None) -> Self:
        """Forecast of weighted sums of the series, path by path; of their total when nothing is given.

        Args:
            S_df: The summing matrix that ``aggregate`` of `hierarchicalforecast` makes: one row per node, its
                name in the first column, and one column of weights for each series, called like it.

        Raises:
            InputError: The columns are not those of the series, or hold no finite numbers.
        """
        if S_df is None:
            return self._summed(np.ones((1, len(self.names))), [TOTAL])
        return self._summed(*summing_matrix(S_df, self.names))

    @checked
    def sum_over(self, steps: Whole) -> Self:
        """Forecast of the sums of so many steps in a row, path by path, each at the stamp of its first step.

        Raises:
            InputError: The steps of the forecast are no multiple of these.
        """
        if len(self.stamps) % steps:
            raise InputError(
                f"{len(self.stamps)} steps cannot be summed {steps} by {steps}; give a number that "
                "divides them"
            )
        history, before, start = self.history, self.history_stamps, self.start
        if history is not None and before is not None:
            history, before = sums_of_steps(history, steps), before[len(before) % steps :: steps]
        if start is not None:
            start = pd.Period(ordinal=start.ordinal, freq=(start.freq * steps).freqstr)
        return replace(
            self,
            paths=sums_of_steps(self.paths, steps),
            stamps=self.stamps[::steps],
            history=history,
            history_stamps=before,
            start=start,
        )

    @checked
    def probability(self, event: Callable[[Array], ArrayLike]) -> float:
        """Share of the paths on which something happens.

        Its standard error is sqrt(p (1 - p) / S): of 100 paths, an event on none may well have 3 %.

        Args:
            event: Function of the paths ``[S, T, D]`` that says for each whether it happens, bool ``[S]``,
                such as ``lambda paths: (paths[:, evening].sum(axis=2) > 2000).any(axis=1)`` with
                ``evening = forecast.stamps.hour >= 18``.

        Raises:
            InputError: What it returns is not one yes or no for each path.
        """
        happens = np.asarray(event(self.paths))
        if happens.dtype != bool or happens.shape != self.paths.shape[:1]:
            raise InputError(
                f"the event gives {happens.dtype} of shape {happens.shape}; it must say True or False for "
                f"each of the {len(self.paths)} paths (reduce steps and series by any or all)"
            )
        return float(np.average(happens, weights=self.weights))

    @checked
    def representatives(self, k: Whole) -> Self:
        """Few of the paths with weights that stand for all: the least energy distance that a search finds.

        The distance of two paths is Euclidean over all steps and series, each series in units of its standard
        deviation around its mean path, and the total of all series beside them, weighing as much as all of
        them together (`timediff.forecaster.scenarios`). It takes S x S x 8 bytes.

        Raises:
            InputError: Fewer than k paths differ.
        """
        points = points_of(self.paths, self.mean)
        apart = len(np.unique(points, axis=0))
        if k > apart:
            raise InputError(f"k is {k}, but only {apart} paths differ; ask for fewer scenarios")
        masses = np.full(len(points), 1 / len(points)) if self.weights is None else self.weights
        chosen, weights = choose(distances(points), masses, k)
        return replace(self, paths=self.paths[chosen], weights=weights)

    @checked
    def plot(
        self,
        *,
        series: Sequence[Any] | None = None,
        total: bool = True,
        title: str = "",
        unit: str | None = None,
    ) -> "Figure":
        """Fan chart of what is to come after the end of the history; weighted paths are drawn as lines.

        Args:
            series: Names of the series to draw; by default three, of large, middle and small values.
            total: Draw the sum of all series above them, where there are several.
            title: Heading.
            unit: Of the values.

        Raises:
            InputError: A series is not in the forecast.
        """
        return pictures.as_figure(self, series, total=total, title=title, unit=unit)

    @checked
    def to_html(self, *, title: str = "Forecast", unit: str = "") -> str:
        """A page to look about in: any series or the total, and the chance that the total exceeds a limit.

        It holds all that it needs, and is of some megabytes.

        Args:
            title: Heading.
            unit: Of the values.

        Raises:
            InputError: The extra interactive is not installed, or the paths have weights.
        """
        return pictures.as_html(self, title=title, unit=unit)

    def to_frame(self) -> IntoDataFrame:
        """The paths as a long frame: ``unique_id, ds, sample_id, TimeGrad``, and ``weight`` if there are any.

        All rows of one ``sample_id`` are one joint path over all series.
        """
        values = {"sample_id": np.arange(len(self.paths))[:, None, None], MODEL: self.paths}
        if self.weights is not None:
            values["weight"] = self.weights[:, None, None]
        return make_frame(self.labelled(values), self.kind)

    def to_quantile_frame(
        self, *, level: Sequence[float] | None = None, quantiles: Sequence[float] | None = None
    ) -> IntoDataFrame:
        """Mean, median, intervals and quantiles as a long frame, a row for each series and step.

        Args:
            level: Central intervals in percent: 90 gives ``TimeGrad-lo-90`` and ``TimeGrad-hi-90``.
            quantiles: Levels from 0 to 1: 0.1 gives ``TimeGrad_ql0.1``.

        Raises:
            InputError: A level is out of range.
        """
        return make_frame(self.labelled(self.summary(level, quantiles)), self.kind)

    @checked
    def summary(
        self, level: Sequence[float] | None, quantiles: Sequence[float] | None
    ) -> dict[str, Array]:
        """The columns of `to_quantile_frame`, ``[T, D]`` each."""
        values = {MODEL: self.mean, f"{MODEL}-median": self.quantile(0.5)}
        for percent in level or ():
            if not 0 < percent < 100:
                raise InputError(f"level is {percent}; give percent between 0 and 100, such as 90")
            ends = self.quantile([0.5 - percent / 200, 0.5 + percent / 200])
            for name, end in zip(("lo", "hi"), ends, strict=True):
                values[f"{MODEL}-{name}-{percent:g}"] = end
        return values | {f"{MODEL}_ql{q:g}": self.quantile(q) for q in quantiles or ()}

    def labelled(self, values: Mapping[str, ArrayLike]) -> dict[str, Any]:
        """Columns of a long frame: series and stamp, then values given as ``[T, D]`` or ``[N, T, D]``.

        Rows run over the series, of each over the N, of each over the steps.
        """
        columns = {name: np.atleast_3d(np.asarray(value).T) for name, value in values.items()}
        steps, dim = self.paths.shape[1:]
        count = max(column.shape[2] for column in columns.values())
        columns = {
            name: np.broadcast_to(column, (dim, steps, count)).transpose(0, 2, 1).ravel()
            for name, column in columns.items()
        }
        groups = {}
        if self.columns.group is not None:
            groups = {self.columns.group: labels([self.group]).repeat(dim * count * steps)}
        return {
            **groups,
            self.columns.id: labels(self.names).repeat(count * steps),
            self.columns.time: self.stamps[np.tile(np.arange(steps), count * dim)],
            **columns,
        }

    def to_item_frame(self, quantiles: Sequence[float] = TENTHS) -> IntoDataFrame:
        """Mean and quantiles in the columns of AutoGluon and Chronos: item_id, timestamp, mean, "0.1", ..."""
        return exports.item_frame(self, quantiles)

    def to_hubverse(self, quantiles: Sequence[float] | None = None) -> IntoDataFrame:
        """Rows of a hubverse model output, of the paths or of quantiles (`timediff.forecaster.exports`)."""
        return exports.hubverse(self, quantiles)

    def to_xarray(self) -> "DataArray":
        """The paths with dimensions ``sample_id, ds, unique_id``; needs the extra xarray."""
        return exports.xarray(self)

    def to_gluonts(self) -> "SampleForecast":
        """The paths as GluonTS's forecast, names of the series in ``info["columns"]``.

        Raises:
            InputError: The paths have weights, or no first period is known.
        """
        return exports.gluonts(self)

    @classmethod
    def from_gluonts(cls, forecast: "SampleForecast", names: Sequence[Any] | None = None) -> Self:
        """A GluonTS forecast with labels.

        Args:
            forecast: Samples ``[S, T, D]`` or ``[S, T]``.
            names: Of the series; ``info["columns"]``, the item_id of a single series or numbers if left out.
        """
        paths, names, stamps = exports.of_gluonts(forecast, names)
        return cls(paths, names, stamps, start=forecast.start_date)

    def _summed(self, matrix: Array, names: list[Any]) -> Self:
        """Sums by a matrix ``[nodes, D]``; a gap of a series is one of every node that it is part of."""
        history = self.history
        if history is not None:
            gaps = np.isnan(history) @ (matrix != 0).T
            history = np.where(gaps, np.nan, np.nan_to_num(history).astype(np.float64) @ matrix.T)
        paths = self.paths.astype(np.float64) @ matrix.T
        return replace(self, paths=paths, names=names, history=history)
