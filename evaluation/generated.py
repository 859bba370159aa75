"""Tables from numbers: frequencies, zones and defects, and what is known of each by construction."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

TICKS = ("10s", "min", "15min", "30min", "h", "2h", "6h")
FREQS = (
    *TICKS,
    *(
        "D",
        "2D",
        "B",
        "W-SUN",
        "W-WED",
        "2W-MON",
        "MS",
        "ME",
        "2MS",
        "QS",
        "QE",
        "QE-JAN",
        "YS",
        "YE",
        "YE-MAR",
    ),
    *("BME", "BMS"),
)
ZONES = (
    None,
    None,
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
)


class Case(NamedTuple):
    """A table and what is known of it.

    Args:
        freq: Of its stamps.
        defect: What was planted.
        long: Rows of series, steps and values; columns id, stamp, value and covariates.
        names: Of the series.
        ahead: The stamps that follow.
        options: Further arguments of `Forecaster.fit`.
        future: Covariates known ahead.
        static: Covariates that do not change.
        groups: Names of the groups that each have all series; "" for none.
        names_it: What a refusal must say, a regular expression; None for a valid table.
    """

    freq: str
    defect: str
    long: pd.DataFrame
    names: list[Any]
    ahead: pd.DatetimeIndex
    options: dict[str, Any]
    future: pd.DataFrame | None = None
    static: pd.DataFrame | None = None
    groups: tuple[str, ...] = ("",)
    names_it: str | None = None


Planter = Callable[[Case, np.random.Generator], Case]


def stamps(
    freq: str, start: pd.Timestamp, count: int, tz: str | None, shift: str
) -> pd.DatetimeIndex:
    """What a table of a frequency writes."""
    if freq in TICKS:
        index = pd.date_range(start, periods=count, freq=freq) + pd.Timedelta(shift)
        return index if tz is None else index.tz_localize("UTC").tz_convert(tz)
    index = pd.date_range(start.normalize(), periods=count, freq=freq)
    if tz is None:
        return index
    return index.tz_localize(tz, ambiguous=np.ones(count, bool), nonexistent="shift_forward")


def plain(freq: str, rng: np.random.Generator) -> Case:
    """A table without a defect: waves, walks, counts or flat stretches, of any size."""
    yearly = freq[:2] in ("YS", "YE")
    length, dim, h = (
        int(rng.integers(40, 120 if not yearly else 60)),
        int(rng.integers(1, 6)),
        int(rng.integers(1, 13)),
    )
    start = pd.Timestamp("1995-01-01") + pd.Timedelta(hours=int(rng.integers(0, 24 * 365 * 25)))
    shift = str(rng.choice(["0min", "0min", "30min", "17min"])) if freq in TICKS else "0min"
    tz = ZONES[rng.integers(len(ZONES))]
    index = stamps(freq, start, length + h, tz, shift)
    t = np.arange(length)
    size = 10.0 ** rng.integers(-3, 6)
    kinds = [
        lambda: np.sin(2 * np.pi * t / rng.integers(3, 30)) + 0.2 * rng.normal(size=length),
        lambda: rng.normal(size=length).cumsum(),
        lambda: rng.poisson(rng.uniform(0.2, 20), size=length) / size,
        lambda: np.where(rng.random(length) < 0.3, 0.0, rng.lognormal(size=length)),
        lambda: 5 + t / length + 0.1 * rng.normal(size=length),
    ]
    names: list[Any] = [f"series {i}" for i in range(dim)]
    if rng.random() < 0.2:
        names = [int(i) for i in rng.permutation(100)[:dim]]
    parts = [
        pd.DataFrame(
            {"unique_id": name, "ds": index[:length], "y": size * kinds[rng.integers(5)]()}
        )
        for name in names
    ]
    return Case(freq, "none", pd.concat(parts, ignore_index=True), names, index[length:], {"h": h})


# ------------------------------------------------------------------------------ valid by construction


def shuffled(case: Case, rng: np.random.Generator) -> Case:
    """Rows in any order; names keep the order of their first rows."""
    rows = case.long.iloc[rng.permutation(len(case.long))].reset_index(drop=True)
    return case._replace(long=rows, names=list(dict.fromkeys(rows["unique_id"])))


def absent(case: Case, rng: np.random.Generator) -> Case:
    """A few rows that are not there, none of them the last; the frequency is given."""
    step = case.long.groupby("unique_id").cumcount()
    inner = (step > 3) & (step < step.max() - 1)
    rows = case.long[~(inner & (rng.random(len(step)) < 0.15))].reset_index(drop=True)
    return case._replace(long=rows, options=case.options | {"freq": alias(case.freq)})


def holes(case: Case, rng: np.random.Generator) -> Case:
    """Cells without a value."""
    return case._replace(
        long=case.long.assign(y=case.long["y"].mask(rng.random(len(case.long)) < 0.2))
    )


def ragged(case: Case, rng: np.random.Generator) -> Case:
    """A series that begins later and one that ends earlier, where there are three."""
    step, last = case.long.groupby("unique_id").cumcount(), case.names[-1]
    rows = case.long
    cut = (rows["unique_id"] == last) & (step < 5)
    if len(case.names) > 2:
        cut |= (rows["unique_id"] == case.names[-2]) & (step > step.max() - 4)
    if len(case.names) == 1:
        cut &= False
    return case._replace(long=rows[~cut].reset_index(drop=True))


def constant(case: Case, rng: np.random.Generator) -> Case:
    """A series that never changes."""
    first = case.long["unique_id"] == case.names[0]
    return case._replace(
        long=case.long.assign(y=case.long["y"].mask(first, float(rng.integers(-2, 3))))
    )


def texts(case: Case, rng: np.random.Generator) -> Case:
    """Stamps and values as texts."""
    if case.long["ds"].dt.tz is not None:
        return case._replace(long=case.long.assign(y=case.long["y"].map(repr)))
    return case._replace(
        long=case.long.assign(ds=case.long["ds"].astype(str), y=case.long["y"].map(repr))
    )


def nullable(case: Case, rng: np.random.Generator) -> Case:
    """Nullable numbers and names that are categories."""
    rows = case.long.assign(
        y=case.long["y"].mask(rng.random(len(case.long)) < 0.1).astype("Float64")
    )
    rows["unique_id"] = rows["unique_id"].astype(str).astype("category")
    return case._replace(long=rows, names=[str(name) for name in case.names])


def unread(case: Case, rng: np.random.Generator) -> Case:
    """A further column that has no role, in a long table."""
    return case._replace(long=case.long.assign(remark="as measured"))


def covariates(case: Case, rng: np.random.Generator) -> Case:
    """A number and a category that are known ahead."""
    h, dim = case.options["h"], len(case.names)
    length = len(case.long) // dim
    values, kinds = rng.normal(size=length + h), rng.choice(["a", "b"], size=length + h)
    rows = case.long.assign(warm=np.tile(values[:length], dim), kind=np.tile(kinds[:length], dim))
    future = pd.DataFrame(
        {
            "unique_id": np.repeat(np.array(case.names, dtype=object), h),
            "ds": case.ahead.append([case.ahead] * (dim - 1)) if dim > 1 else case.ahead,
            "warm": np.tile(values[length:], dim),
            "kind": np.tile(kinds[length:], dim),
        }
    )
    return case._replace(
        long=rows, future=future, options=case.options | {"futr_exog_list": ["warm", "kind"]}
    )


def fixed(case: Case, rng: np.random.Generator) -> Case:
    """A number and a category of each series that do not change."""
    dim = len(case.names)
    static = pd.DataFrame(
        {
            "unique_id": case.names[::-1],
            "size": rng.normal(size=dim),
            "kind": rng.choice(["a", "b"], dim),
        }
    )
    return case._replace(static=static, options=case.options | {"stat_exog_list": ["size", "kind"]})


def inputs(case: Case, rng: np.random.Generator) -> Case:
    """The last series is an input only, where there are two."""
    if len(case.names) == 1:
        return case
    return case._replace(
        names=case.names[:-1], options=case.options | {"hist_exog_list": [str(case.names[-1])]}
    )


def grouped(case: Case, rng: np.random.Generator) -> Case:
    """Two groups of the same series, of which the second begins later."""
    step = case.long.groupby("unique_id").cumcount()
    late = case.long[step >= 7].assign(region="south", y=case.long["y"] * 2)
    rows = pd.concat([case.long.assign(region="north"), late], ignore_index=True)
    options = case.options | {"group_col": "region"}
    return case._replace(long=rows, groups=("north", "south"), options=options)


def local(case: Case, rng: np.random.Generator) -> Case:
    """Hours as a clock shows them when daylight saving ends, with its zone."""
    h = case.options["h"]
    index = pd.date_range("2024-10-26 05:00", periods=60 + h, freq="h", tz="Europe/Berlin")
    wall = index[:60].tz_localize(None)
    parts = [
        pd.DataFrame({"unique_id": name, "ds": wall, "y": rng.normal(size=60)})
        for name in case.names
    ]
    return Case(
        "h",
        "",
        pd.concat(parts, ignore_index=True),
        case.names,
        index[60:],
        {"h": h, "tz": "Europe/Berlin"},
    )


def alias(freq: str) -> str:
    """A frequency as one would give it."""
    return {"BME": "ME", "BMS": "MS"}.get(freq, freq)
