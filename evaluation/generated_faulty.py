"""Tables without meaning, what a refusal of each must name, and the turns that all kinds of tables take."""

import re

import numpy as np
import pandas as pd
from generated import (
    FREQS,
    Case,
    Planter,
    absent,
    alias,
    constant,
    covariates,
    fixed,
    grouped,
    holes,
    inputs,
    local,
    nullable,
    plain,
    ragged,
    shuffled,
    texts,
    unread,
)


def no_zone(case: Case, rng: np.random.Generator) -> Case:
    """The same without its zone."""
    case = local(case, rng)
    return case._replace(
        options={"h": case.options["h"]}, names_it="twice, as a local clock.*tz=Europe/Berlin"
    )


def other_series(case: Case, rng: np.random.Generator) -> Case:
    """A group that lacks a series of the first one."""
    case = grouped(case, rng)
    rows = case.long.copy()
    changed = (rows["region"] == "south") & (rows["unique_id"] == case.names[0])
    rows["unique_id"] = rows["unique_id"].astype(object).mask(changed, "another")
    return case._replace(long=rows, names_it=f"'south'.*no series {case.names[0]!r}")


def static_twice(case: Case, rng: np.random.Generator) -> Case:
    """Two static rows of one series."""
    case = fixed(case, rng)
    assert case.static is not None
    static = pd.concat([case.static, case.static[:1]])
    name = case.static["unique_id"].iloc[0]
    return case._replace(static=static, names_it=f"2 rows of the series '?{name}\\b")


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
    *(None, shuffled, absent, holes, ragged, constant, texts, nullable, unread, covariates),
    *(fixed, inputs, grouped, local),
)
REFUSED: tuple[Planter, ...] = (
    *(twice, word, infinite, no_stamp, no_value, nameless, off_beat, sparse, short, no_future),
    *(new_category, no_zone, other_series, static_twice),
)
#: Three of four tables are valid.
TURNS = tuple((*VALID, *VALID, *VALID, *REFUSED))


def make(number: int) -> Case:
    """The table of a number."""
    rng = np.random.default_rng(number)
    planter = TURNS[number % len(TURNS)]
    case = plain(FREQS[(number // len(TURNS) + number) % len(FREQS)], rng)
    if planter is None:
        return case
    return planter(case, rng)._replace(defect=planter.__name__)
