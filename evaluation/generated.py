"""Tables from numbers: frequencies, zones and defects, and what is known of each by construction."""

import re
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
        names_it: What a refusal must say, a regular expression; None for a valid table.
    """

    freq: str
    defect: str
    long: pd.DataFrame
    names: list[Any]
    ahead: pd.DatetimeIndex
    options: dict[str, Any]
    future: pd.DataFrame | None = None
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


# -------------------------------------------------------------------------------- without meaning


def twice(case: Case, rng: np.random.Generator) -> Case:
    """A row that is there twice with other values."""
    row = case.long.iloc[[rng.integers(len(case.long))]]
    rows = pd.concat([case.long, row.assign(y=row["y"] + 1)], ignore_index=True)
    return case._replace(long=rows, names_it=f"{re.escape(str(row['ds'].iloc[0]))}.* twice")


def word(case: Case, rng: np.random.Generator) -> Case:
    """A word among the numbers."""
    cells = case.long["y"].astype(object)
    cells.iloc[rng.integers(len(cells))] = "broken"
    return case._replace(long=case.long.assign(y=cells), names_it="'broken'")


def infinite(case: Case, rng: np.random.Generator) -> Case:
    """A value that is infinite."""
    cells = case.long["y"].copy()
    cells.iloc[rng.integers(len(cells))] = np.inf
    return case._replace(long=case.long.assign(y=cells), names_it=r"\binf\b")


def no_stamp(case: Case, rng: np.random.Generator) -> Case:
    """A row without a stamp."""
    place = int(rng.integers(len(case.long)))
    rows = case.long.copy()
    rows.loc[place, "ds"] = pd.NaT
    return case._replace(long=rows, names_it=f"row {place + 1}\\b")


def no_value(case: Case, rng: np.random.Generator) -> Case:
    """Not one value."""
    return case._replace(
        long=case.long.assign(y=np.nan), names_it="every value of the frame is missing"
    )


def nameless(case: Case, rng: np.random.Generator) -> Case:
    """A row that names no series."""
    place = int(rng.integers(len(case.long)))
    ids = case.long["unique_id"].astype(object)
    ids.iloc[place] = None
    return case._replace(
        long=case.long.assign(unique_id=ids), names_it=f"row {place + 1} .*names no series"
    )


def off_beat(case: Case, rng: np.random.Generator) -> Case:
    """A stamp a little late, in all series."""
    late = case.long["ds"].unique()[int(rng.integers(10, 30))]
    moved = late + pd.Timedelta("3s")
    rows = case.long.assign(ds=case.long["ds"].mask(case.long["ds"] == late, moved))
    return case._replace(long=rows, names_it=re.escape(str(moved)))


def sparse(case: Case, rng: np.random.Generator) -> Case:
    """Two thirds of the rows are not there."""
    at = case.long["ds"].unique()
    kept = np.r_[
        0, 1, 2, np.sort(rng.permutation(np.arange(3, len(at) - 1))[: len(at) // 4]), len(at) - 1
    ]
    rows = case.long[case.long["ds"].isin(at[kept])].reset_index(drop=True)
    return case._replace(
        long=rows,
        options=case.options | {"freq": alias(case.freq)},
        names_it=f"only {len(kept)} of",
    )


def short(case: Case, rng: np.random.Generator) -> Case:
    """No more steps than the horizon."""
    length = len(case.long) // len(case.names)
    return case._replace(
        options=case.options | {"h": length + 1}, names_it=f"horizon of {length + 1} steps"
    )


def no_future(case: Case, rng: np.random.Generator) -> Case:
    """A covariate known ahead that lacks a step of the future."""
    case = covariates(case, rng)
    assert case.future is not None
    step = int(rng.integers(case.options["h"]))
    stamp = case.ahead[step]
    future = case.future.assign(warm=case.future["warm"].mask(case.future["ds"] == stamp))
    return case._replace(future=future, names_it=f"'warm'.*{re.escape(str(stamp))}")


def new_category(case: Case, rng: np.random.Generator) -> Case:
    """A category of the future that the past has not."""
    case = covariates(case, rng)
    assert case.future is not None
    kinds = case.future["kind"].copy()
    kinds.iloc[-1] = "storm"
    return case._replace(future=case.future.assign(kind=kinds), names_it="'storm'")


VALID: tuple[Planter | None, ...] = (
    None, shuffled, absent, holes, ragged, constant, texts, nullable, unread, covariates
)  # fmt: skip
REFUSED: tuple[Planter, ...] = (
    twice, word, infinite, no_stamp, no_value, nameless, off_beat, sparse, short, no_future, new_category
)  # fmt: skip
#: Three of four tables are valid.
TURNS = tuple((*VALID, *VALID, *VALID, *REFUSED))


def alias(freq: str) -> str:
    """A frequency as one would give it."""
    return {"BME": "ME", "BMS": "MS"}.get(freq, freq)


def make(number: int) -> Case:
    """The table of a number."""
    rng = np.random.default_rng(number)
    planter = TURNS[number % len(TURNS)]
    case = plain(FREQS[(number // len(TURNS) + number) % len(FREQS)], rng)
    if planter is None:
        return case
    return planter(case, rng)._replace(defect=planter.__name__)
