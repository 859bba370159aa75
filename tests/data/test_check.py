"""What a check of a table says: each planted flaw by its name and place, and nothing of a clean table."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timediff.data.check import check_table, correlations, level_shift
from timediff.data.readers.layout import Roles
from timediff.data.table import read_frame
from timediff.errors import InputError

LENGTH, HORIZON = 1000, 24


def frame(dims=4, seed=0):
    rng, time = np.random.default_rng(seed), np.arange(LENGTH)
    index = pd.date_range("2024-01-01", periods=LENGTH, freq="h", tz="Europe/Berlin")
    values = {
        f"s{i}": 10
        + 0.002 * time
        + np.sin(2 * np.pi * time / 24 + i)
        + 0.3 * rng.normal(size=LENGTH)
        for i in range(dims)
    }
    return pd.DataFrame(values, index)


def said(table, *, futr=(), hist=()):
    sentences = check_table(read_frame(table, roles=Roles(futr=futr, hist=hist)), HORIZON)
    assert all("\n" not in sentence and len(sentence) < 500 for sentence in sentences)
    return sentences


@settings(
    max_examples=20, derandomize=True
)  # of thousands of walks one has a level shift by chance
@given(st.integers(0, 2**32 - 1))
def test_nothing_is_said_of_a_clean_table(seed):
    noise = np.random.default_rng(seed).normal(size=LENGTH)
    table = frame(seed=seed).assign(noise=noise, walk=np.cumsum(noise), weather=noise[::-1])
    assert said(table, futr=("weather",)) == []


def test_gaps_are_counted_and_placed():
    table = frame()
    table.iloc[100:130, 1] = np.nan
    table.iloc[500, 1] = np.nan
    table.iloc[-HORIZON:, 2] = np.nan
    table["none"] = np.nan
    assert said(table) == [
        "without any value: none",
        "missing values: s1 (3.1 %, at most 30 in a row, from 2024-01-05 04:00:00+01:00), "
        "s2 (2.4 %, at most 24 in a row, from 2024-02-10 16:00:00+01:00)",
        "no value in the last 24 steps: s2",
    ]


def test_constant_and_copied_series_are_named():
    table = frame()
    table["flat"] = 3.0
    table["again"] = table["s1"]
    table["kilo"] = -2 - table["s2"] / 1000
    table.iloc[::7, 5] = np.nan
    assert said(table)[1:] == [
        "constant: flat",
        "copies: again of s1, kilo in another unit of s2",
    ]


def test_many_names_and_long_ones_are_cut():
    table = frame(dims=1)
    copies = {f"{'x' * 60}{i}": table["s0"] for i in range(50)}
    (sentence,) = said(table.assign(**copies))
    assert (
        sentence.count("of s0") == 3
        and sentence.endswith("and 47 more")
        and "x" * 41 not in sentence
    )


def test_a_level_shift_is_placed():
    table = frame()
    table["s3"] += np.where(np.arange(LENGTH) >= 600, 4.0, 0.0)
    (sentence,) = said(table)
    assert sentence.startswith("level shifts: s3 by ")
    size, stamp = sentence.removeprefix("level shifts: s3 by ").split(" about ")
    assert float(size) == pytest.approx(4.8, abs=0.8)  # the drift of .002 per step comes on top
    assert abs(pd.Timestamp(stamp) - table.index[600]) <= pd.Timedelta("24h")


@given(
    st.integers(100, 600),
    st.floats(-1e6, 1e6).filter(lambda x: abs(x) > 1e-3),
    st.floats(-1e6, 1e6),
)
def test_a_step_is_found_in_any_unit_and_a_line_or_wave_is_none(place, scale, level):
    noise = np.random.default_rng(place).normal(size=700)
    step = noise + 20 * (np.arange(700) >= place)
    at, change = level_shift(level + scale * step, 10)
    assert abs(at - place) <= 10
    assert change == pytest.approx(20 * scale, rel=0.1)
    time = np.arange(700) / 700
    for smooth in (time, np.sin(2 * np.pi * time), np.sin(5 * np.pi * time + place), time**2):
        assert level_shift(level + scale * (20 * smooth + noise), 10) is None
    assert level_shift(np.full(700, level), 10) is None
    assert level_shift(step[:70], 10) is None


@pytest.mark.parametrize("lag", [0, 1, HORIZON - 1])
def test_a_known_future_that_holds_the_answer_is_named(lag):
    table = frame()
    table["tip"] = 5 * table["s2"].shift(lag) - 1
    (sentence,) = said(table, futr=("tip",))
    late = f" of {lag} steps before" if lag else ""
    assert sentence == (
        f"known-future covariates that give the target away: tip (s2{late}, correlation 1.0000)"
    )
    past = said(table, hist=("tip",))
    assert past == (
        [] if lag else ["past covariates that repeat the target: tip (s2, correlation 1.0000)"]
    )


def test_values_of_a_horizon_ago_may_be_known_and_categories_are_passed_over():
    table = frame()
    table["yesterday"] = table["s2"].shift(HORIZON)
    table["kind"] = np.where(table["s0"] > 10, "high", "low")
    assert said(table, futr=("yesterday", "kind")) == []


def test_the_sum_of_the_series_leaks_too():
    table = frame()
    table["total"] = table.sum(axis=1)
    assert "total (the sum of the series" in said(table, futr=("total",))[0]


def test_a_covariate_of_each_series_is_compared_with_its_own():
    table = frame().rename_axis("ds").reset_index()
    rows = table.melt("ds", var_name="unique_id", value_name="y")
    rows["other"] = np.roll(rows["y"], LENGTH)  # that of the series before
    rows["own"] = rows["y"]
    assert said(rows, futr=("other",)) == []
    assert "own (s" in said(rows, futr=("own",))[0]


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0, 0.6))
def test_correlations_are_those_of_pandas(seed, missing):
    rng = np.random.default_rng(seed)
    data = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5)) * 10.0 ** rng.integers(-6, 6, 5) + 3
    data[rng.random(data.shape) < missing] = np.nan
    expected = pd.DataFrame(data).corr(min_periods=10).to_numpy()
    np.testing.assert_allclose(correlations(data[:, :3], data[:, 2:]), expected[:3, 2:], atol=1e-9)


def test_the_horizon_is_a_number_of_steps():
    with pytest.raises(InputError, match="horizon is 0"):
        check_table(read_frame(frame()), 0)
