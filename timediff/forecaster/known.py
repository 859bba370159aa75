"""What is known when a forecast is made: series, and covariates by name, as the entry that a model takes.

Axes: ``T`` known steps, ``H`` steps of the forecast, ``D`` series, ``F`` covariates of a field.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from timediff.data.entry import Entry
from timediff.data.steps import Clock
from timediff.errors import InputError
from timediff.forecaster.frames import Array, Columns, some

__all__ = ["Known", "Layout", "entry_of", "shared_values"]


class Layout(NamedTuple):
    """What a model was trained on, which all later frames must fit.

    Attributes:
        columns: Of long frames.
        names: Of the series, in the type of the id column.
        freq: Frequency of the model.
        tz: Zone of the local clock of stamps without one.
        futr: Covariates known ahead.
        hist: Covariates known for the past only.
        stat: Covariates that do not change.
        categories: Of each covariate that has such, in the order of their numbers.
        common: Covariates that are the same for all series.
    """

    columns: Columns
    names: list[Any]
    freq: str
    tz: str | None
    futr: list[str]
    hist: list[str]
    stat: list[str]
    categories: dict[str, list[str]]
    common: list[str]

    @property
    def width(self) -> int:
        return len(self.names)

    def numbered(self, name: str, values: np.ndarray, what: str) -> Array:
        """A covariate as float64, categories by their numbers, NaN where unknown.

        Raises:
            InputError: There is a category that training did not see, or categories where it saw numbers.
        """
        known = self.categories.get(name)
        if known is None:
            if values.dtype == object:
                raise InputError(
                    f"{name!r} of {what} holds categories, but numbers in the training data"
                )
            return values.astype(np.float64)
        if values.dtype != object and not np.isnan(values).all():
            raise InputError(
                f"{name!r} of {what} holds numbers, but categories in the training data"
            )
        numbers = {category: float(i) for i, category in enumerate(known)}
        texts = pd.Series(values.ravel(), dtype=object)
        result = texts.map(numbers)
        if (unseen := texts.notna() & result.isna()).any():
            raise InputError(
                f"{name!r} of {what} has the category {texts[unseen].iloc[0]!r}, which the training data has "
                f"not ({some(known)}); train with it, or give one of these"
            )
        return result.to_numpy(dtype=np.float64).reshape(values.shape)

    def spread(self, name: str, values: Array, order: list[int], what: str) -> Array:
        """A covariate ``[T]`` where it is common to all series, else ``[T, D]``.

        Args:
            name: Which.
            values: ``[T]``, or with a column for each series of a frame.
            order: Columns of the model's series.
            what: The frame.

        Raises:
            InputError: It is common to all series of the training data, but differs here.
        """
        if name not in self.common:
            return (
                values[:, order] if values.ndim == 2 else np.repeat(values[:, None], self.width, 1)
            )
        if (shared := shared_values(values)) is None:
            raise InputError(
                f"{name!r} of {what} differs between series, but was common to all in the training data; "
                "give all series the same"
            )
        return shared


class Known(NamedTuple):
    """Series on one clock with their covariates.

    Attributes:
        values: ``[T, D]``, NaN where missing.
        clock: Where the T steps stand in time.
        dynamic: Covariates by name, ``[T]`` common to all series, or ``[T, D]``; categories are numbers.
        static: Likewise ``[D]``.
    """

    values: Array
    clock: Clock
    dynamic: dict[str, Array]
    static: dict[str, Array]

    def before(self, step: int) -> "Known":
        """What is known before a step."""
        dynamic = {name: values[:step] for name, values in self.dynamic.items()}
        return self._replace(values=self.values[:step], dynamic=dynamic)

    def stamps(self, first: int, count: int) -> pd.DatetimeIndex:
        """Stamps of some steps, as the frame writes them."""
        return self.clock.stamps(first, count)


def entry_of(
    known: Known, layout: Layout, future: dict[str, Array] | None = None, *, group: Any = None
) -> Entry:
    """The GluonTS entry of what is known.

    Args:
        known: Series and covariates.
        layout: Which covariates are what.
        future: Those known ahead over the steps of the forecast, ``[H]`` or ``[H, D]``; None for training.
        group: Name of the group, if any.
    """
    entry: Entry = {
        "item_id": "frame" if group is None else str(group),
        "start": known.clock.start,
        "target": known.values.T,
        "info": {"columns": [str(name) for name in layout.names], "covariates": {}},
    }
    groups = {
        "feat_dynamic": layout.futr,
        "past_feat_dynamic": layout.hist,
        "feat_static": layout.stat,
    }
    for group, names in groups.items():
        for kind in ("real", "cat"):
            own = [name for name in names if (name in layout.categories) == (kind == "cat")]
            if not own:
                continue
            rows = []
            for name in own:
                values = known.static[name] if group == "feat_static" else known.dynamic[name]
                if future is not None and name in future:
                    values = np.concatenate([values, future[name]])
                rows.append(values.T)
            entry[f"{group}_{kind}"] = np.stack(rows)  # [F, ..., T + H]
            entry["info"]["covariates"][f"{group}_{kind}"] = own
    return entry


def shared_values(values: Array) -> Array | None:
    """The values ``[T]`` that all series ``[T, D]`` have where they have any; None where they differ."""
    if values.ndim == 1:
        return values
    known = ~np.isnan(values)
    first = np.take_along_axis(values, known.argmax(axis=1)[:, None], axis=1)
    return None if (known & (values != first)).any() else first[:, 0]
