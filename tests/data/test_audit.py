"""Clock offsets are found by value, whatever the series look like, and corrected."""

import time

import numpy as np
import pandas as pd
import pytest

from timediff.data.clock import align, audit, describe

START = pd.Period("2014-01-01", freq="h")


def entries(values, *, train_length, horizon, windows, shift=0, cut=None):
    """Train and test entries of ``values [D, T]``; the test clock is `shift` steps late."""
    train = [{"start": START, "target": values[:, :train_length]}]
    test = []
    for k in range(1, windows + 1):
        end = train_length + k * horizon
        first = end - cut if cut else 0
        test.append({"start": START + first + shift, "target": values[:, first:end]})
    return train, test


def noise(dims, length, seed=0):
    return np.random.default_rng(seed).normal(size=(dims, length)).astype(np.float32)


@pytest.mark.parametrize("cut", [None, 150])
def test_agreeing_clocks_give_no_offset(cut):
    train, test = entries(noise(4, 500), train_length=400, horizon=20, windows=5, cut=cut)
    assert audit(train, test) == []


@pytest.mark.parametrize("shift", [-30, -1, 1, 200])
@pytest.mark.parametrize("cut", [None, 150])
def test_offset_is_found_described_and_aligned(shift, cut):
    train, test = entries(
        noise(4, 500), train_length=400, horizon=20, windows=5, cut=cut, shift=shift
    )
    offsets = audit(train, test)
    assert [(o.window, o.steps, o.series, o.located) for o in offsets] == [
        (k, shift, [0, 1, 2, 3], 4) for k in range(5)
    ]
    (sentence,) = describe(offsets, windows=5, dims=4)
    assert f"{abs(shift)} step" in sentence
    assert ("later" if shift > 0 else "earlier") in sentence
    moved = align(test, offsets)
    assert audit(train, moved) == []
    assert [e["start"] for e in moved] == [e["start"] - shift for e in test]
    assert all(a["target"] is b["target"] for a, b in zip(moved, test, strict=True))


@pytest.mark.filterwarnings("ignore:Period with BDay")
@pytest.mark.parametrize("freq", ["30min", "2h", "B", "M"])
def test_offset_counts_steps_of_the_frequency(freq):
    values = noise(2, 300)
    start = pd.Period("2014-01-01", freq=freq)
    train = [{"start": start, "target": values[:, :260]}]
    test = [{"start": start + 3, "target": values}]
    offsets = audit(train, test)
    assert [o.steps for o in offsets] == [3]
    assert align(test, offsets)[0]["start"] == start


def test_a_few_series_with_their_own_offset_are_named_and_do_not_move_the_window():
    values = noise(6, 400)
    train, test = entries(values, train_length=340, horizon=20, windows=3)
    for entry in test:
        entry["target"] = entry["target"].copy()
        entry["target"][4, 2:] = entry["target"][4, :-2].copy()
    offsets = audit(train, test)
    assert [(o.steps, o.series) for o in offsets] == [(2, [4])] * 3
    assert [e["start"] for e in align(test, offsets)] == [e["start"] for e in test]
    assert "series 4 " in describe(offsets, windows=3, dims=6)[0]


def test_most_of_a_window_moves_it_even_when_one_series_differs():
    train, test = entries(noise(6, 400), train_length=340, horizon=20, windows=2, shift=1)
    for entry in test:
        entry["target"] = entry["target"].copy()
        entry["target"][4, 2:] = entry["target"][4, :-2].copy()
    offsets = audit(train, test)
    assert [(o.window, o.steps, len(o.series)) for o in offsets] == [
        (0, 1, 5), (0, 3, 1), (1, 1, 5), (1, 3, 1),
    ]  # fmt: skip
    assert [(o.steps, o.series) for o in audit(train, align(test, offsets))] == [(2, [4])] * 2


def test_series_that_say_nothing_are_skipped():
    values = noise(6, 500)
    values[0] = 7.0  # constant
    values[1] = np.nan
    values[2, ::5] = np.nan  # a hole in every stretch
    values[3] = np.tile(noise(1, 20, seed=1)[0], 25)  # found in many places
    values[4] = np.random.default_rng(2).integers(0, 3, 500)  # few different values
    train, test = entries(values, train_length=400, horizon=20, windows=5, shift=1)
    assert [(o.series, o.located) for o in audit(train, test)] == [([5], 1)] * 5


def test_a_hole_in_the_middle_leaves_the_other_places():
    values = noise(1, 500)
    values[0, 200:300] = np.nan
    train, test = entries(values, train_length=400, horizon=20, windows=5, shift=1)
    assert [o.series for o in audit(train, test)] == [[0]] * 5


def test_series_absent_from_training_are_skipped():
    train, _ = entries(noise(3, 400), train_length=400, horizon=20, windows=1)
    test = [{"start": START + 1, "target": noise(3, 420, seed=9)}]
    assert audit(train, test) == []


def test_repeated_values_that_agree_with_the_clock_are_no_offset():
    values = np.tile(noise(3, 24), 30)
    train, test = entries(values, train_length=600, horizon=24, windows=3)
    assert audit(train, test) == []


def test_tiny_series():
    train, test = entries(noise(2, 6), train_length=5, horizon=1, windows=1, shift=1)
    assert [o.steps for o in audit(train, test)] == [1]
    train, test = entries(noise(2, 3), train_length=2, horizon=1, windows=1, shift=1)
    assert audit(train, test) == []


@pytest.mark.parametrize("shift", [0, 1])
def test_electricity_size_takes_seconds(shift):
    values = noise(370, 5833 + 7 * 24)
    train, test = entries(values, train_length=5833, horizon=24, windows=7, cut=4000, shift=shift)
    begin = time.perf_counter()
    offsets = audit(train, test)
    assert time.perf_counter() - begin < 5
    assert len(offsets) == 7 * shift
