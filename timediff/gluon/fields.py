"""Fields of entries that hold what is known beside the target: read, checked, in units of the training data.

A field is a list of rows. A dynamic one is ``[F, T]``, common to all series, or ``[F, D, T]``, a value for
each; one known ahead goes on over the horizon in an entry that is to be forecast. A static one is ``[F]`` or
``[F, D]``. A row of categories becomes one column for each category of the training data.

Axes: ``T`` steps, ``F`` rows of a field, ``D`` series.
"""

from typing import Any

import numpy as np

from timediff.data.holidays import HOLIDAY_ROWS, holiday_features
from timediff.errors import InputError
from timediff.frequency import quiet_business_days
from timediff.gluon.entries import Series, changes
from timediff.timegrad.batch import Covariate, Shape
from timediff.timegrad.normalisation.base import LARGEST, ROUNDING
from timediff.timegrad.normalisation.training import training_default
from timediff.tools.numbers import LARGEST_VALUE, first_too_large, numbers

__all__ = [
    "FIELDS",
    "MOST_CATEGORIES",
    "absent",
    "column",
    "covariate_shape",
    "read_fields",
    "spread_over",
]

#: Fields of an entry that are used.
FIELDS = (
    *("feat_dynamic_real", "feat_dynamic_cat", "past_feat_dynamic_real", "past_feat_dynamic_cat"),
    *("feat_static_real", "feat_static_cat"),
)
#: Categories that a row may have.
MOST_CATEGORIES = 32
_HOLIDAYS = "holidays:"


def covariate_shape(
    all_series: list[Series],
    cycle: int,
    *,
    holidays: str | None = None,
    like: Shape | None = None,
) -> dict[str, Any]:
    """Fields of a `Shape` that say what is known beside the target.

    Args:
        all_series: The training data.
        cycle: Steps over which changes are measured.
        holidays: A country whose holidays are to be columns too.
        like: Of a trained model that they are to be the same as.

    Raises:
        InputError: A field does not fit its series, or they do not have the same.
    """
    if like is not None:
        return {"covariates": like.covariates, "spread": like.spread}
    covariates = _covariates(all_series, cycle, holidays=holidays)
    if not covariates:
        return {}
    spread = training_default(*changes(all_series, cycle))[1]
    return {"covariates": covariates, "spread": spread.tolist()}


def _covariates(
    all_series: list[Series], cycle: int, *, holidays: str | None = None
) -> list[Covariate]:
    """The columns that series have, and their statistics.

    Static rows that are the same for all series and entries say nothing, and are left out.
    """
    found = []
    for field in FIELDS:
        having = [series for series in all_series if series.entry.get(field) is not None]
        if not having:
            continue
        first = _read(having[0], field)
        for series in all_series:
            if series.entry.get(field) is None:
                raise _absent(series, field, f"{having[0].name} has")
            _check_rows(series, field, _read(series, field), rows=len(first), axes=first.ndim)
        for row in range(len(first)):
            values = [_read(series, field)[row] for series in all_series]
            if "static" not in field:
                values = [v[..., : len(s.values)] for v, s in zip(values, all_series, strict=True)]
            for category in _categories(field, row, values) if "cat" in field else [None]:
                found.append(_measured(field, row, category, first.ndim, values, cycle))
    if holidays is not None:
        country = _HOLIDAYS + holidays
        columns = [holiday_features(holidays, s.start, len(s.values)) for s in all_series]
        found += [
            _measured(country, row, 1, 2, [column[row] for column in columns], cycle)
            for row in range(len(HOLIDAY_ROWS))
        ]
    return [one for one in found if not (one.fixed and one.scale == [0.0])]


def _read(series: Series, field: str) -> np.ndarray:
    """A field as numbers, float64, its axes and sizes checked against those of the series."""
    what, dim = f"{field} of {series.name}", series.values.shape[1]
    values = numbers(series.entry[field], what)
    if "static" in field:
        if values.ndim not in (1, 2) or (values.ndim == 2 and values.shape[1] != dim):
            raise InputError(
                f"{what} has the shape {list(values.shape)}; it must be [F], or [F, D] with D = {dim}"
            )
    else:
        if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[1] != dim):
            raise InputError(
                f"{what} has the shape {list(values.shape)}; it must be [F, T], or [F, D, T] with D = {dim}"
            )
        steps, length = values.shape[-1], len(series.values)
        if steps < length or (steps > length and "past" in field):
            raise InputError(
                f"{what} has {steps} steps, but its target {length}; give it as many"
                + (
                    ""
                    if "past" in field
                    else ", and those of the horizon where there is a forecast"
                )
            )
    if (place := first_too_large(values)) is not None:
        row, *own = place
        step = [] if "static" in field else [f"step {own.pop()}"]
        where = ", ".join([*(f"dimension {d}" for d in own), *step])
        raise InputError(
            f"{_name(series, field, row)} has {values[place]:g}{f' ({where})' if where else ''}; values must "
            f"be below {LARGEST_VALUE:g}: give NaN where unknown, or a larger unit"
        )
    if "cat" in field:
        known = values[np.isfinite(values)]
        if (known < 0).any() or (known != np.floor(known)).any():
            raise InputError(
                f"{what} holds {known[(known < 0) | (known != np.floor(known))][0]:g}; categories "
                "are whole numbers from 0 on"
            )
    return values


def _check_rows(series: Series, field: str, values: np.ndarray, *, rows: int, axes: int) -> None:
    if len(values) != rows or values.ndim != axes:
        own = (
            "for each series" if axes == (2 if "static" in field else 3) else "common to all series"
        )
        raise InputError(
            f"{field} of {series.name} has the shape {list(values.shape)}, but the training data {rows} "
            f"{'row' if rows == 1 else 'rows'} {own}; give it the same"
        )


def _absent(series: Series, field: str, who: str) -> InputError:
    return InputError(
        f"{series.name} has no {field}, which {who}; give it to all entries, those to forecast too, or to "
        "none"
    )


def _categories(field: str, row: int, values: list[np.ndarray]) -> list[int]:
    """Those of a row of the training data."""
    found = np.unique(np.concatenate([v[np.isfinite(v)] for v in values]))
    if len(found) > MOST_CATEGORIES:
        raise InputError(
            f"row {row} of {field} has {len(found)} categories, and {MOST_CATEGORIES} is the most; join "
            "some, or give numbers that say how they differ"
        )
    return [int(category) for category in found]


def _measured(
    field: str, row: int, category: int | None, axes: int, values: list[np.ndarray], cycle: int
) -> Covariate:
    """A column and its statistics: values of each entry, ``[T]`` or ``[D, T]``, static ``[]`` or ``[D]``."""
    columns = [_of_category(v, category) for v in values]
    if "static" in field:
        flat = np.concatenate([np.atleast_1d(column) for column in columns])
        mean, std = _moments(flat[:, None])
        return Covariate(field, row, axes == 2, category, mean, std, [0.0])
    columns = [np.atleast_2d(column).T for column in columns]  # [T, S]
    mean, std = _moments(np.concatenate(columns))
    changes = [column[cycle:] - column[:-cycle] for column in columns if len(column) > cycle]
    change = [0.0] * len(mean)
    if changes:
        change = np.divide(
            _moments(np.concatenate(changes))[1],
            std,
            out=np.zeros(len(std)),
            where=np.array(std) > 0,
        ).tolist()
    return Covariate(field, row, axes == 3, category, mean, std, change)


def _moments(values: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation over rows, 0 where nothing is known; that of a constant is 0."""
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    std = np.sqrt(np.where(known, np.square(values - mean), 0.0).sum(axis=0) / count)
    return mean.tolist(), np.where(std > ROUNDING * np.abs(mean), std, 0.0).tolist()


def _of_category(values: np.ndarray, category: int | None) -> np.ndarray:
    """Numbers as they are, or whether they are a category, NaN where unknown."""
    return values if category is None else np.where(np.isnan(values), np.nan, values == category)


def read_fields(
    series: Series, covariates: list[Covariate], *, needed: int
) -> dict[str, np.ndarray]:
    """The fields that columns are made of, by name.

    Args:
        series: Where from.
        covariates: The columns.
        needed: Steps after the series for which those known ahead must be there.

    Raises:
        InputError: One is not there, or does not fit the series or the training data.
    """
    read: dict[str, np.ndarray] = {}
    for field in dict.fromkeys(one.field for one in covariates):
        own = [one for one in covariates if one.field == field]
        if field.startswith(_HOLIDAYS):
            continue
        if series.entry.get(field) is None:
            raise _absent(series, field, "the model was trained with")
        values = _read(series, field)
        axes = (1 if own[0].fixed else 2) + own[0].own
        # Static rows that said nothing in training are no columns.
        rows = max(len(values), own[-1].row + 1) if own[0].fixed else own[-1].row + 1
        _check_rows(series, field, values, rows=rows, axes=axes)
        if not own[0].fixed:
            if own[0].ahead and needed:
                _check_ahead(series, field, values, needed)
            values = values[..., : len(series.values) + needed]
        if own[0].indicator:
            for row in {one.row for one in own}:
                _check_categories(
                    series, field, row, values[row], [o.category for o in own if o.row == row]
                )
        read[field] = values
    return read


def _check_ahead(series: Series, field: str, values: np.ndarray, needed: int) -> None:
    """Raises `InputError` unless a field known ahead has every value of the horizon."""
    length = len(series.values)
    if values.shape[-1] < length + needed:
        raise InputError(
            f"{field} of {series.name} has {values.shape[-1]} steps, but {length + needed} are needed: "
            f"{length} of the target and {needed} of the horizon; give it the steps of the forecast too"
        )
    missing = np.isnan(values[..., length : length + needed])
    if missing.any():
        row, *_, step = np.argwhere(missing)[0].tolist()
        with quiet_business_days():
            stamp = series.start + length + step
        raise InputError(
            f"{_name(series, field, row)} has no value at {stamp}, step {step + 1} of the horizon; fill the "
            "holes of what is said to be known ahead"
        )


def _check_categories(
    series: Series, field: str, row: int, values: np.ndarray, known: list[int | None]
) -> None:
    other = np.isfinite(values) & ~np.isin(values, [c for c in known if c is not None])
    if other.any():
        raise InputError(
            f"{_name(series, field, row)} has the category {int(values[other][0])}, but the training data "
            f"only {', '.join(map(str, known))}; train with it, or give one of these"
        )


def _name(series: Series, field: str, row: int) -> str:
    """What a sentence calls a row: by the names that ``info`` gives them under "covariates"."""
    names = ((series.entry.get("info") or {}).get("covariates") or {}).get(field) or []
    row_name = (
        f"{names[row]} (row {row} of {field})" if row < len(names) else f"row {row} of {field}"
    )
    return f"{row_name} of {series.name}"


def column(
    read: dict[str, np.ndarray], one: Covariate, series: Series, length: int, width: int
) -> np.ndarray:
    """A column in units of the training data, NaN where unknown, ``[length, width]``."""
    if one.field.startswith(_HOLIDAYS):
        country = one.field.removeprefix(_HOLIDAYS)
        values = holiday_features(country, series.start, length)[one.row]
    else:
        values = read[one.field][one.row]
    values = _of_category(values, one.category)
    if one.fixed:
        rows = np.broadcast_to(values, (length, width))
    else:
        rows = np.full((length, width), np.nan)
        known = values[..., :length]
        rows[: known.shape[-1]] = np.atleast_2d(known).T
    location, scale = spread_over(one.location, width), spread_over(one.scale, width)
    return np.clip((rows - location) / np.where(scale > 0, scale, 1.0), -LARGEST, LARGEST)


def absent(one: Covariate, width: int) -> np.ndarray:
    """What an indicator is in units of the training data where it is not there, ``[width]``."""
    location, scale = spread_over(one.location, width), spread_over(one.scale, width)
    return np.clip(-location / np.where(scale > 0, scale, 1.0), -LARGEST, LARGEST)


def spread_over(values: list[float], width: int) -> np.ndarray:
    """One number for each series."""
    return np.broadcast_to(np.asarray(values, dtype=np.float64), (width,))
