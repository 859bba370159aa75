"""What a table holds that a forecaster should know of before it trains.

Axes: T time steps, D series, K covariates.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from timediff.data.table import Table
from timediff.errors import check_whole
from timediff.frequency import seasons

__all__ = ["check_table", "correlations", "level_shift"]

# Names in a sentence, and characters of a name.
_NAMED, _LONG = 3, 40
# Correlation from which one column is taken for another in other units, and a covariate for a leak.
_SAME = 0.9999
_LEAK = 0.999
# Pairs of values that a correlation must rest on.
_FEWEST_PAIRS = 10
# Blocks on each side of a shift, and how many times their usual deviation it must be.
_BLOCKS, _DEVIATIONS = 4, 8.0
# Steps from the end that are searched for leaks.
_SEARCHED = 5000


def check_table(table: Table, horizon: int) -> list[str]:
    """Sentences on gaps, constant or copied series, level shifts, leaking covariates; none if all is well.

    Each sentence names at most three columns, so that its length is bounded.

    Args:
        table: As `timediff.data.table.read_frame` returns it.
        horizon: Steps to forecast.
    """
    check_whole("horizon", horizon)
    values = table.values
    present = np.isfinite(values)
    constant = [
        i for i, x in enumerate(values.T) if present[:, i].any() and np.ptp(x[present[:, i]]) == 0
    ]
    sentences = [*_gaps(table, present, horizon)]
    sentences += _sentence("constant: {}", (table.names[i] for i in constant))
    sentences += _copies(table)
    sentences += _shifts(table)
    for kind, columns in (("future", table.future), ("past", table.past)):
        sentences += _leaks(table, columns, horizon if kind == "future" else 1, kind)
    return sentences


def _sentence(form: str, parts: Iterable[str]) -> list[str]:
    """The form with the first few parts and the number of the others; nothing without parts."""
    parts = list(parts)
    if not parts:
        return []
    more = f" and {len(parts) - _NAMED:,} more" if len(parts) > _NAMED else ""
    return [form.format(", ".join(parts[:_NAMED]) + more)]


def _name(name: str) -> str:
    return name if len(name) <= _LONG else name[: _LONG - 3] + "..."


def _gaps(table: Table, present: NDArray[np.bool_], horizon: int) -> list[str]:
    """Series without values, with holes, and without values at the end."""
    names = [_name(name) for name in table.names]
    length = len(present)
    holes = []
    for i in np.argsort(present.sum(axis=0), kind="stable"):
        places = np.flatnonzero(present[:, i])
        if not len(places) or len(places) == length:
            continue
        edges = np.r_[-1, places, length]
        runs = np.diff(edges) - 1
        run = int(np.argmax(runs))
        begin = table.clock.stamps(int(edges[run]) + 1, 1)[0]
        share = 100 * (1 - len(places) / length)
        holes.append(f"{names[i]} ({share:.2g} %, at most {runs[run]:,} in a row, from {begin})")
    empty = (names[i] for i in np.flatnonzero(~present.any(axis=0)))
    ended = present.any(axis=0) & ~present[-horizon:].any(axis=0)
    return [
        *_sentence("without any value: {}", empty),
        *_sentence("missing values: {}", holes),
        *_sentence(
            f"no value in the last {horizon:,} steps: {{}}",
            (names[i] for i in np.flatnonzero(ended)),
        ),
    ]


def correlations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Correlation of each column of one table with each of another over the rows that both have.

    Args:
        one: ``[T, A]`` with NaN.
        other: ``[T, B]`` with NaN.

    Returns:
        ``[A, B]``; NaN where there are too few rows, or a column is constant on them.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        (x, has_x), (y, has_y) = (_standardised(table) for table in (one, other))
        count = has_x.T @ has_y
        sum_x, sum_y = x.T @ has_y, has_x.T @ y
        spread_x = (x**2).T @ has_y - sum_x**2 / count
        spread_y = has_x.T @ (y**2) - sum_y**2 / count
        product = (x.T @ y) - sum_x * sum_y / count
        result = product / np.sqrt(spread_x * spread_y)
    flat = (spread_x < 1e-9 * count) | (spread_y < 1e-9 * count)
    return np.where((count < _FEWEST_PAIRS) | flat, np.nan, result)


def _standardised(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns of mean 0 and deviation 1, 0 where missing, and where they are not missing as 1.0."""
    has = np.isfinite(table)
    count = np.maximum(has.sum(axis=0), 1)
    scaled = np.where(has, table, 0.0)
    scaled = np.where(has, scaled - scaled.sum(axis=0) / count, 0.0)
    deviation = np.sqrt((scaled**2).sum(axis=0) / count)
    return scaled / np.where(deviation > 0, deviation, 1.0), has.astype(np.float64)


def _copies(table: Table) -> list[str]:
    """Series that are others, as they are or in another unit."""
    alike = np.abs(correlations(table.values, table.values)) >= _SAME
    said = []
    for i in range(1, len(alike)):
        originals = np.flatnonzero(alike[i, :i])
        if len(originals):
            first, name = int(originals[0]), _name(table.names[i])
            both = np.isfinite(table.values[:, [first, i]]).all(axis=1)
            same = np.array_equal(table.values[both, first], table.values[both, i])
            said.append(
                f"{name} {'of' if same else 'in another unit of'} {_name(table.names[first])}"
            )
    return _sentence("copies: {}", said)


def level_shift(values: np.ndarray, block: int) -> tuple[int, float] | None:
    """The step at which the level of a series ``[T]`` changes for good, and by how much, or None.

    Means of blocks are compared: the medians before and after must differ by 8 times the deviation of the
    means from them. A line or a wave does not come near that (3 to 5); a step in noise does.

    Args:
        values: With NaN.
        block: Steps of a block, a whole season so that it does not show.
    """
    count = len(values) // block
    if count < 2 * _BLOCKS:
        return None
    rest = len(values) - count * block
    blocks = values[rest:].reshape(count, block)
    enough = np.isfinite(blocks).sum(axis=1) * 2 >= block
    kept = np.flatnonzero(enough)
    means = np.nanmean(blocks[kept], axis=1)
    best: tuple[float, int, float] | None = None
    for k in range(_BLOCKS, len(means) - _BLOCKS + 1):
        before, after = np.median(means[:k]), np.median(means[k:])
        change = after - before
        inner = np.r_[means[:k] - before, means[k:] - after]
        deviation = max(
            float(np.sqrt(np.mean(inner**2))), 1e-9 * float(np.abs(means).max()), 1e-300
        )
        score = abs(change) / deviation
        if best is None or score > best[0]:
            best = score, k, change
    if best is None or best[0] < _DEVIATIONS:
        return None
    return rest + int(kept[best[1]]) * block, float(best[2])


def _shifts(table: Table) -> list[str]:
    block = max(seasons(table.clock.start.freqstr))
    if len(table.values) < 2 * _BLOCKS * block:
        block = min(seasons(table.clock.start.freqstr))
    block = max(block, len(table.values) // 200)
    said = []
    for name, values in zip(table.names, table.values.T, strict=True):
        if (shift := level_shift(values, block)) is not None:
            stamp = table.clock.stamps(shift[0], 1)[0]
            said.append(f"{_name(name)} by {shift[1]:.3g} about {stamp}")
    return _sentence("level shifts: {}", said)


def _leaks(table: Table, columns: dict[str, np.ndarray], horizon: int, kind: str) -> list[str]:
    """Covariates that are the target, now or of so few steps before that the future holds the answer."""
    values = table.values[-_SEARCHED:]
    targets = np.c_[values, values.sum(axis=1)]
    names = [*(_name(name) for name in table.names), "the sum of the series"]
    said = []
    for name, column in columns.items():
        if column.dtype == object:
            continue
        covariate = column[-_SEARCHED:].reshape(len(values), -1)
        for lag in range(min(horizon, len(values) - _FEWEST_PAIRS)):
            found = np.abs(correlations(covariate[lag:], targets[: len(values) - lag]))
            if covariate.shape[1] > 1:
                found = np.diagonal(found)[None]  # of its own series only
            if (found >= _LEAK).any():
                which = int(np.argmax(np.nan_to_num(found).max(axis=0)))
                late = f" of {lag} steps before" if lag else ""
                said.append(
                    f"{_name(name)} ({names[which]}{late}, correlation {np.nanmax(found):.4f})"
                )
                break
    form = {
        "future": "known-future covariates that give the target away: {}",
        "past": "past covariates that repeat the target: {}",
    }
    return _sentence(form[kind], said)
