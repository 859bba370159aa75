r"""Where a forecast errs and whether it is calibrated, as plain lists for the record.

Axes: ``W`` windows, ``S`` sample paths, ``T`` time steps, ``D`` series; paths are ``[W, S, T, D]``, truth is
``[W, T, D]`` with NaN where it is missing. "sum" is the sum over the series observed at a step.

One idea: everything is added up over windows, a block of steps at a time, so that memory is a few blocks
whatever the length of the backtest. How far a calibrated forecast would stray by chance is in
`timediff.benchmark.chance`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timediff import metrics
from timediff.benchmark import chance
from timediff.benchmark.correlation import CorrelationSums, chosen_series
from timediff.errors import InputError
from timediff.metrics.arrays import Sums, add, check_windows
from timediff.tools.progress import progress_bar

__all__ = ["BINS", "BY_HORIZON", "COVERAGES", "EXTREMES", "LEVELS", "Array", "diagnose"]

Array = NDArray[np.float64]

BINS = 20
LEVELS = np.arange(1, BINS) / BINS
COVERAGES = (0.5, 0.9, 0.95, 0.99)
#: Per cent of the intervals of which coverage is counted by horizon.
BY_HORIZON = (50, 90)
EXTREMES = 5
_BLOCK = 4_000_000  # numbers of a block of paths


def diagnose(
    paths: ArrayLike,
    truth: ArrayLike,
    *,
    columns: Sequence[str] | None = None,
    stamps: ArrayLike | None = None,
    seed: int = 0,
    most_series: int = 100,
    most_correlated: int = 24,
    progress: bool = False,
) -> dict[str, Any]:
    r"""Scores by horizon, series, hour and window, calibration, and correlations.

    Scores are `timediff.metrics.crps_ensemble` as in ``crps`` and ``crps_sum`` of the record. By horizon,
    hour and window: the mean loss of that part over the mean :math:`|y|` of all, so that the mean over the
    parts, weighted by their observed entries, is the record's score. By series: over the series' own mean
    :math:`|y|`. None where nothing but zeros was observed.

    By horizon also the coverages ``coverage_50_rank`` to ``coverage_90_sum_rank`` of the record. They are by
    rank, as a lead can be one hour of the day, at which truth and paths of many series are 0: ties that make
    plain coverage 1.

    Args:
        paths: Sample paths, ``[W, S, T, D]``; may be a memory map.
        truth: What happened, ``[W, T, D]``.
        columns: Names of the series, ``[D]``; by default their numbers.
        stamps: Times of the steps as datetimes, ``[W, T]``; without them there is no score by hour.
        seed: Of the draws that break ties and spread a rank over its bin.
        most_series: With more series than this, only the worst so many are listed, and deciles of all.
        most_correlated: Of how many series correlations are listed; see `chosen_series`.
        progress: Whether to show a bar.

    Returns:
        ``size``, ``by_horizon``, ``by_series``, ``by_hour`` (or None), ``by_window``, ``worst`` and ``best``
        (windows by ``crps_sum``), ``pit``, ``ranks``, ``reliability``, ``coverage`` and ``correlation``.
        Where a part has ``chance``, 95 % of calibrated forecasts are to lie inside, see
        `timediff.benchmark.chance`.

    Raises:
        InputError: Shapes that do not agree, or nothing observed.
    """
    paths, truth = np.asarray(paths), np.asarray(truth)
    names, hours = _checked(paths, truth, columns, stamps)
    rng = np.random.default_rng(seed)
    losses = _Losses(truth.shape)
    calibration = _Calibration(truth.shape[1])
    correlated = CorrelationSums(chosen_series(truth, most=most_correlated))
    with progress_bar("diagnosis", total=len(truth), shown=progress) as bar:
        for window in range(len(truth)):
            for steps, ahead, happened in _blocks(paths[window], truth[window]):
                totals = metrics.sum_over_dimensions(ahead, happened)
                losses.add(window, steps, ahead, happened, totals)
                calibration.add(steps, ahead, happened, totals, rng)
            calibration.add_whole(paths[window], truth[window])
            correlated.add(paths[window], truth[window])
            bar.update()
    by_window = losses.over("window")
    order = [int(w) for w in np.argsort(by_window["crps_sum"]) if by_window["crps_sum"][w] >= 0]
    extremes = min(EXTREMES, len(order) // 2)
    return {
        "size": dict(zip(("windows", "paths", "steps", "series"), paths.shape, strict=True)),
        "score": "crps",
        "by_horizon": _lists(losses.over("horizon") | calibration.by_horizon()),
        "by_series": _by_series(losses.over("series")["crps"], names, most_series),
        "by_hour": None if hours is None else _by_hour(losses, hours),
        "by_window": _lists(by_window),
        "worst": order[::-1][:extremes],
        "best": order[:extremes],
        **calibration.result(),
        "correlation": correlated.result(names),
    }


class _Losses:
    """CRPS and :math:`|y|` added up over windows, steps or series."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        windows, steps, series = shape
        self.of_sum = np.zeros((3, windows, steps))  # loss, size, observed entries
        self.of_all = np.zeros((3, windows, steps))  # added up over the series
        self.of_series = np.zeros((2, series))  # added up over windows and steps

    def add(
        self,
        window: int,
        steps: slice,
        paths: Array,
        truth: Array,
        totals: tuple[Array, Array],
    ) -> None:
        for happened, loss, sums in (
            (truth, metrics.crps_ensemble(paths, truth), self.of_all),
            (totals[1], metrics.crps_ensemble(*totals), self.of_sum),
        ):
            each = np.stack([loss, np.abs(happened), np.where(np.isnan(happened), 0, 1)])
            each = np.nan_to_num(each)  # [3, t, D]
            sums[:, window, steps] = each.sum(axis=-1)
            if sums is self.of_all:
                self.of_series += each[:2].sum(axis=1)

    def over(self, part: str) -> dict[str, Array]:
        """Relative losses by horizon ``[T]``, series ``[D]`` or window ``[W]``."""
        if part == "series":
            return {"crps": _ratio(*self.of_series)}
        axis = {"horizon": 1, "window": 2}[part]
        both = {"crps": self.of_all, "crps_sum": self.of_sum}
        return {name: _relative(sums.sum(axis=axis), sums) for name, sums in both.items()}

    def where(self, chosen: NDArray[np.bool_]) -> dict[str, float]:
        """Relative losses of some steps, ``[W, T]``."""
        both = {"crps": self.of_all, "crps_sum": self.of_sum}
        return {
            name: float(_relative(sums[:, chosen].sum(axis=1), sums)) for name, sums in both.items()
        }


class _Calibration:
    """Counts behind histograms, reliability and coverage."""

    def __init__(self, horizon: int) -> None:
        # Entries inside each interval, then those observed.
        self.at_step = {part: np.zeros((len(BY_HORIZON) + 1, horizon)) for part in ("each", "sum")}
        parts = ("each", "sum", "average_rank", "band_depth")
        self.histogram = {part: np.zeros(BINS) for part in parts}
        self.chance: Sums = {}
        self.below = {"each": np.zeros(len(LEVELS)), "sum": np.zeros(len(LEVELS))}
        self.inside = {"each": np.zeros(len(COVERAGES)), "sum": np.zeros(len(COVERAGES))}
        self.count = {"each": 0, "sum": 0}
        self.joint, self.windows = np.zeros(len(COVERAGES)), 0

    def add(
        self,
        steps: slice,
        paths: Array,
        truth: Array,
        totals: tuple[Array, Array],
        rng: np.random.Generator,
    ) -> None:
        for part, (unsorted, happened) in {"each": (paths, truth), "sum": totals}.items():
            seen = int(np.isfinite(happened).sum())
            if seen == 0:
                continue
            # Sorting what is sorted is quick, and the scores do not mind the order of paths.
            ahead = np.sort(unsorted, axis=0)
            self.count[part] += seen
            self.histogram[part] += _histogram(metrics.pit(ahead, happened, rng=rng))
            self.below[part] += seen * metrics.reliability(ahead, happened, levels=LEVELS)
            for i, level in enumerate(COVERAGES):
                self.inside[part][i] += np.nansum(metrics.covered(ahead, happened, level=level))
            inside = [metrics.covered_by_rank(ahead, happened, level=c / 100) for c in BY_HORIZON]
            entries = np.stack([*inside, np.isfinite(happened)])
            self.at_step[part][:, steps] += np.nansum(entries, axis=-1)
        if truth.shape[-1] > 1:
            for part, rank in (
                ("average_rank", metrics.average_rank),
                ("band_depth", metrics.band_depth_rank),
            ):
                self.histogram[part] += _histogram(rank(paths, truth, rng=rng))
        counted = chance.counts(
            paths, totals[0], np.isfinite(truth), bins=BINS, levels=LEVELS, coverages=COVERAGES,
            rng=rng,
        )  # fmt: skip
        add(self.chance, counted)

    def add_whole(self, paths: Array, truth: Array) -> None:
        """One window as a whole, ``[S, T, D]``."""
        if np.isfinite(truth).any() and len(paths) >= 3:  # fewer make no simultaneous band
            self.windows += 1
            for i, level in enumerate(COVERAGES):
                self.joint[i] += float(metrics.covered_jointly(paths, truth, level=level))

    def by_horizon(self) -> dict[str, Array]:
        """Coverage by rank of each step, ``[T]`` by the names of the scores."""
        return {
            f"coverage_{level}{suffix}_rank": _ratio(self.at_step[part][i], self.at_step[part][-1])
            for part, suffix in {"each": "", "sum": "_sum"}.items()
            for i, level in enumerate(BY_HORIZON)
        }

    def result(self) -> dict[str, Any]:
        both = ("each", "sum")
        ranks = [part for part in ("average_rank", "band_depth") if self.histogram[part].any()]

        def shares(counts: dict[str, Array], name: str) -> dict[str, Any]:
            bands = {
                part: chance.band(self.chance[f"{name}_{part}"], self.count[part]) for part in both
            }
            return {
                **{part: _list(counts[part] / self.count[part]) for part in both},
                "chance": {part: [_list(end) for end in band] for part, band in bands.items()},
            }

        return {
            "pit": {part: self._histogram(part) for part in both},
            "ranks": {part: self._histogram(part) for part in ranks},
            "reliability": {"levels": _list(LEVELS), **shares(self.below, "below")},
            "coverage": {
                "levels": list(COVERAGES),
                **shares(self.inside, "inside"),
                "joint": _list(self.joint / self.windows if self.windows else self.joint * np.nan),
            },
        }

    def _histogram(self, part: str) -> dict[str, Any]:
        counts = self.histogram[part]
        band = chance.band(self.chance[part], counts.sum())
        return {"share": _list(counts / counts.sum()), "chance": [_list(end) for end in band]}


def _checked(
    paths: NDArray[Any],
    truth: NDArray[Any],
    columns: Sequence[str] | None,
    stamps: ArrayLike | None,
) -> tuple[list[str], NDArray[Any] | None]:
    """Names of the series and hours of the steps ``[W, T]``, where the data are finer than a day."""
    check_windows(paths, truth, "a diagnosis")
    if not np.isfinite(truth).any():
        raise InputError("every value of the truth is missing: there is nothing to diagnose")
    names = [str(d) for d in range(truth.shape[2])] if columns is None else list(columns)
    if len(names) != truth.shape[2]:
        raise InputError(f"{truth.shape[2]} series need as many names, but {len(names)} are given")
    if stamps is None:
        return names, None
    times = np.asarray(stamps, dtype="datetime64[ns]")
    if times.shape != truth.shape[:2]:
        raise InputError(
            f"the steps of {truth.shape[0]} windows need stamps of the shape {truth.shape[:2]}, "
            f"but theirs is {times.shape}"
        )
    hours = times.astype("datetime64[h]").astype(int) % 24
    return names, hours if len(np.unique(hours)) > 1 else None


def _blocks(paths: NDArray[Any], truth: NDArray[Any]) -> Iterator[tuple[slice, Array, Array]]:
    """Steps of one window in float64: which, their paths ``[S, t, D]`` and truth ``[t, D]``."""
    members, horizon, series = paths.shape
    size = max(1, _BLOCK // (members * series))
    for first in range(0, horizon, size):
        steps = slice(first, min(first + size, horizon))
        yield steps, paths[:, steps].astype(np.float64), truth[steps].astype(np.float64)


def _by_series(scores: Array, names: list[str], most: int) -> dict[str, Any]:
    """Scores of the worst series, the worst first; of all where these are not too many."""
    known = np.flatnonzero(np.isfinite(scores))
    order = known[np.argsort(-scores[known], kind="stable")]
    deciles = np.quantile(scores[known], np.arange(11) / 10) if len(known) else np.zeros(0)
    return {
        "of": len(scores),
        "listed": min(len(order), most),
        "names": [names[d] for d in order[:most]],
        "crps": _list(scores[order[:most]]),
        "deciles": _list(deciles),
    }


def _by_hour(losses: _Losses, hours: NDArray[Any]) -> dict[str, Any]:
    different = [int(hour) for hour in np.unique(hours)]
    scores = [losses.where(hours == hour) for hour in different]
    return {
        "hour": different,
        **{name: _list(np.asarray([s[name] for s in scores])) for name in ("crps", "crps_sum")},
    }


def _histogram(values: Array) -> Array:
    """Counts of values in (0, 1), NaN left out."""
    return np.histogram(values[np.isfinite(values)], bins=BINS, range=(0, 1))[0].astype(float)


def _relative(part: Array, whole: Array) -> Array:
    """Mean loss of the parts ``[3, ...]`` over the mean size of the whole ``[3, W, T]``."""
    _, size, count = whole.sum(axis=(1, 2))
    return _ratio(part[0], part[2] * size / count)


def _ratio(loss: Array, size: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(size > 0, loss / size, np.nan)


def _lists(arrays: dict[str, Array]) -> dict[str, list[float | None]]:
    return {name: _list(values) for name, values in arrays.items()}


def _list(values: ArrayLike) -> list[float | None]:
    """Five significant digits of each; None for what is not finite."""
    return [
        float(f"{value:.5g}") if np.isfinite(value) else None
        for value in np.asarray(values).ravel()
    ]
