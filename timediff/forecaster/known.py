"""What is known when a forecast is made: series, and covariates by name, as the entry that a model takes.

Axes: ``T`` known steps, ``H`` steps of the forecast, ``D`` series, ``F`` covariates of a field.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from timediff.data.entry import Entry
from timediff.data.readers.columns import covariate
from timediff.data.steps import Clock
from timediff.data.table import Roles, read_frame
from timediff.errors import InputError
from timediff.forecaster.frames import Array, Columns, as_pandas, some

__all__ = ["Known", "Layout", "entry_of", "read_known", "read_training", "shared_values"]


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

    def stamps(self, first: int, count: int) -> pd.DatetimeIndex:
        """Stamps of some steps, as the frame writes them."""
        return self.clock.stamps(first, count)


def read_training(
    df: Any,
    static_df: Any,
    columns: Columns,
    freq: str | None,
    tz: str | None,
    futr: list[str],
    hist: list[str],
    stat: list[str],
) -> tuple[Known, Layout, list[str]]:
    """Training data, how later frames must look, and what is to be said of the frame.

    Raises:
        InputError: A frame cannot be read, or a covariate is not there.
    """
    if twice := set(stat) & {*futr, *hist}:
        raise InputError(
            f"{min(twice)!r} is a static covariate and another; leave it out of one list"
        )
    if (static_df is None) != (not stat):
        raise InputError("static_df and stat_exog_list go together; give both, or neither")
    known, layout, notes = read_known(df, columns=columns, freq=freq, tz=tz, futr=futr, hist=hist)
    if stat:
        known, layout = _with_statics(static_df, known, layout, stat)
    return known, layout, notes


def read_known(
    frame: Any,
    *,
    columns: Columns,
    freq: str | None,
    tz: str | None,
    futr: list[str],
    hist: list[str],
    layout: Layout | None = None,
) -> tuple[Known, Layout, list[str]]:
    """The series and covariates of a frame, how later ones must look, and what is to be said of it.

    Args:
        frame: Long or wide.
        columns: Of a long frame; a wide one may have its stamps in ``columns.time``.
        freq: Any alias of pandas, or what the stamps suggest.
        tz: Zone of the local clock of stamps without one.
        futr: Names of the covariates known ahead.
        hist: Names of those known for the past only.
        layout: What the model was trained on; None for training data.

    Raises:
        InputError: The frame cannot be read, or does not fit the layout.
    """
    what = "the frame"
    roles = Roles(columns.id, columns.time, columns.target, tuple(futr), tuple(hist))
    table = read_frame(frame, roles=roles, freq=freq, tz=tz, what=what)
    dynamic = {**table.future, **table.past}
    if layout is None:
        names = _own_names(frame, columns, table.names)
        found = table.clock.start.freqstr
        layout = Layout(columns, names, found, tz, futr, hist, [], _categories(dynamic), [])
        numbers = {name: layout.numbered(name, values, what) for name, values in dynamic.items()}
        layout = layout._replace(common=_common(numbers, layout))
    order = _order(table.names, layout.names, what)
    dynamic = {
        name: layout.spread(name, layout.numbered(name, values, what), order, what)
        for name, values in dynamic.items()
    }
    return Known(table.values[:, order], table.clock, dynamic, {}), layout, table.notes


def entry_of(known: Known, layout: Layout, future: dict[str, Array] | None = None) -> Entry:
    """The GluonTS entry of what is known.

    Args:
        known: Series and covariates.
        layout: Which covariates are what.
        future: Those known ahead over the steps of the forecast, ``[H]`` or ``[H, D]``; None for training.
    """
    entry: Entry = {
        "item_id": "frame",
        "start": known.clock.start,
        "target": known.values.T.astype(np.float32),
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
            entry[f"{group}_{kind}"] = np.stack(rows).astype(np.float32)  # [F, ..., T + H]
            entry["info"]["covariates"][f"{group}_{kind}"] = own
    return entry


def _with_statics(
    frame: Any, known: Known, layout: Layout, wanted: list[str]
) -> tuple[Known, Layout]:
    """Training data with covariates that do not change.

    Raises:
        InputError: A column is not there, or a series has not exactly one row.
    """
    what = "static_df"
    table = as_pandas(frame, what)
    id_col = layout.columns.id
    if missing := [name for name in (id_col, *wanted) if name not in table.columns]:
        raise InputError(
            f"static_df has no column {missing[0]!r}; its columns are {some(list(table.columns))}"
        )
    ids = table[id_col].astype(str).to_numpy()
    for name in layout.names:
        if (count := int((ids == str(name)).sum())) != 1:
            raise InputError(f"static_df has {count} rows of the series {name!r}; give it one")
    places = [int(np.argmax(ids == str(name))) for name in layout.names]
    read = {name: covariate(table[name], f"column {name!r} of {what}")[places] for name in wanted}
    categories = {**layout.categories, **_categories(read)}
    layout = layout._replace(stat=wanted, categories=categories)
    static = {name: layout.numbered(name, values, what) for name, values in read.items()}
    return known._replace(static=static), layout


def _categories(covariates: dict[str, np.ndarray]) -> dict[str, list[str]]:
    """The categories of those that have such."""
    return {
        name: sorted({category for category in values.ravel() if category is not None})
        for name, values in covariates.items()
        if values.dtype == object
    }


def _common(dynamic: dict[str, Array], layout: Layout) -> list[str]:
    """Covariates that are common to all series, as all others that share their field of an entry are."""
    common = []
    for group in (layout.futr, layout.hist):
        for kind in (True, False):
            names = [name for name in group if (name in layout.categories) is kind]
            if all(shared_values(dynamic[name]) is not None for name in names):
                common += names
    return common


def shared_values(values: Array) -> Array | None:
    """The values ``[T]`` that all series ``[T, D]`` have where they have any; None where they differ."""
    if values.ndim == 1:
        return values
    known = ~np.isnan(values)
    first = np.take_along_axis(values, known.argmax(axis=1)[:, None], axis=1)
    return None if (known & (values != first)).any() else first[:, 0]


def _own_names(frame: Any, columns: Columns, names: list[str]) -> list[Any]:
    """The names of the series as the frame has them, such as whole numbers."""
    table = as_pandas(frame, "the frame")
    found = table[columns.id].unique() if columns.id in table.columns else table.columns
    own = {str(name): name for name in found.tolist()}
    return [own.get(name, name) for name in names]


def _order(names: list[str], wanted: list[Any], what: str) -> list[int]:
    """Places of the series that a model knows."""
    places = {name: i for i, name in enumerate(names)}
    if missing := [name for name in wanted if str(name) not in places]:
        raise InputError(
            f"{what} has no series {some(missing)}, which the model was trained on; give it all"
        )
    known = {str(name) for name in wanted}
    if unknown := [name for name in names if name not in known]:
        raise InputError(
            f"{what} has series that the model was not trained on ({some(unknown)}); leave them out, or "
            "fit anew"
        )
    return [places[str(name)] for name in wanted]
