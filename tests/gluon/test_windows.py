"""Entries to windows: every window is a stretch of one series, and nothing unobserved is seen."""

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import entry, period

from timediff.data.entry import split_windows
from timediff.errors import InputError
from timediff.frequency import num_time_features, time_features
from timediff.gluon.entries import read_dataset, read_entry, warn_of_poor_dimensions
from timediff.gluon.windows import (
    LastWindows,
    TrainingWindows,
    WindowData,
    features_of,
    forecast_batch,
    longest,
)
from timediff.timegrad.batch import Shape

SHAPE = Shape(target_dim=2, horizon=3, context_length=4, lags=[1, 5], num_features=4)
PAST = SHAPE.history_length


def counting(length, *, first=0.0, freq="h", item_id="a"):
    """Dimension 0 counts up from ``first``, dimension 1 counts half a step ahead of it."""
    steps = first + np.arange(length, dtype=np.float32)
    return {"item_id": item_id, "start": period(freq), "target": np.stack([steps, steps + 0.5])}


def cut(*lengths):
    series = read_dataset([counting(n, first=1000.0 * (i + 1)) for i, n in enumerate(lengths)])
    return WindowData(series, SHAPE)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
@pytest.mark.parametrize("layout", ["[T]", "[1, T]", "[D, T]"])
def test_layouts_of_a_target_become_columns(dtype, layout):
    target = {"[T]": np.arange(5), "[1, T]": np.arange(5)[None], "[D, T]": np.arange(10)}[layout]
    target = target.reshape(2, 5) if layout == "[D, T]" else target
    series = read_entry({"start": period("h"), "target": target.astype(dtype)})
    assert series.values.dtype == np.float64
    np.testing.assert_array_equal(series.values, np.atleast_2d(target).T)
    assert series.observed.all()


def test_what_is_nan_counts_as_unobserved_and_the_entry_stays_as_it_was():
    target = np.array([[1, np.nan, 3], [np.nan, 5, np.nan]], dtype=np.float32)
    before = target.copy()
    target.flags.writeable = False
    series = read_entry({"start": period("h"), "target": target})
    np.testing.assert_array_equal(series.values.T, [[1, 0, 3], [0, 5, 0]])
    np.testing.assert_array_equal(series.observed.T, [[1, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(target, before)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target": None}, "no field 'target'"),
        ({"start": None}, "no field 'start'"),
        ({"target": np.zeros((2, 2, 2))}, "3 axes"),
        ({"target": np.array(["a", "b"])}, "not numeric: it holds text"),
        ({"target": ["1", "2"]}, "not numeric: it holds text"),
        ({"target": [1.0, pd.NA, 3.0]}, "holds pandas.NA; give NaN where a value is missing"),
        (
            {"target": np.ma.masked_array([1.0, 2.0], [False, True])},
            "is a masked array; give its filled",
        ),
        ({"target": [np.ma.masked_array([1.0, 2.0], [False, True])] * 2}, "is a masked array"),
        ({"target": np.array([1.0, 2.0]) * 1j}, "holds complex numbers"),
        ({"target": [1.0, 2j]}, "holds complex numbers"),
        ({"target": np.array(["2020-01-01"], dtype="datetime64[D]")}, "holds stamps"),
        ({"target": np.array([1], dtype="timedelta64[D]")}, "holds durations"),
        ({"target": torch.ones(3, requires_grad=True)}, "wants gradients; give its detach"),
        (
            {"target": pd.DataFrame({"a": [1.0, 2.0]})},
            r"is a frame, whose rows are steps; .* to_numpy\(\).T",
        ),
        ({"target": {}}, "not numeric"),
        ({"start": pd.Timestamp("2020")}, "Timestamp"),
    ],
)
def test_an_entry_that_is_none_is_refused_by_name(change, said):
    broken = {k: v for k, v in (counting(9, item_id="home 7") | change).items() if v is not None}
    with pytest.raises(InputError, match=said) as caught:
        read_entry(broken)
    assert "home 7" in str(caught.value)


def test_entries_of_one_dataset_agree():
    assert len(read_dataset([counting(9), counting(5)])) == 2
    with pytest.raises(InputError, match="holds no series"):
        read_dataset([])
    with pytest.raises(InputError, match=r"b of the training data has frequency D, not h"):
        read_dataset([counting(9), counting(9, freq="D", item_id="b")])
    with pytest.raises(InputError, match="has 1 dimensions, not 2"):
        read_dataset([counting(9), entry(dim=1, length=9)])
    with pytest.raises(InputError, match="frequency h, not D"):
        read_dataset([counting(9)], freq="D")
    with pytest.raises(InputError, match="2 dimensions, not 5"):
        read_dataset([counting(9)], target_dim=5)


@pytest.mark.parametrize(
    ("given", "own"),
    [("H", "h"), ("MS", "M"), ("Q", "Q-DEC"), ("A", "Y-DEC"), ("W", "W-SUN"), ("2H", "2h")],
)
def test_old_and_short_names_of_a_frequency_are_the_same_frequency(given, own):
    assert len(read_dataset([counting(9, freq=own)], freq=given)) == 1


def test_another_anchor_is_another_frequency():
    with pytest.raises(InputError, match="Q-MAR"):
        read_dataset([counting(9, freq="Q-MAR")], freq="Q")


def test_windows_are_whole_stretches_of_one_series():
    lengths = [40, 30, 25]
    data = cut(*lengths)
    batch = data.windows(data.starts)
    count = batch.target[..., 0]  # [B, P]
    assert batch.observed.all()
    assert (count.diff(dim=1) == 1).all()
    np.testing.assert_array_equal(batch.target[..., 1], count + 0.5)
    # As a naive loop cuts them: every stretch of every series, once.
    size = PAST + SHAPE.horizon
    firsts = [1000 * (i + 1) + t for i, n in enumerate(lengths) for t in range(n - size + 1)]
    np.testing.assert_array_equal(count[:, 0], firsts)


@pytest.mark.parametrize("length", range(1, PAST + SHAPE.horizon + 3))
def test_a_series_too_short_for_a_window_is_padded_once(length):
    data = cut(length)
    known = length - SHAPE.horizon
    whole = length - PAST - SHAPE.horizon + 1
    assert len(data.starts) == (0 if known < 1 else max(whole, 1))
    assert len(data.ends) == (1 if known >= 1 else 0)
    if known < 1:
        return
    batch = data.windows(data.ends)
    expected = min(length, PAST + SHAPE.horizon)
    np.testing.assert_array_equal(
        batch.observed[0, :, 0], [False] * (len(batch.target[0]) - expected) + [True] * expected
    )
    assert batch.target[0, -1, 0] == 1000 + length - 1
    assert (batch.target[~batch.observed] == 0).all()


def test_a_short_series_beside_long_ones_sees_nothing_of_them():
    data = cut(40, 6, 40)
    short = [row for row in data.starts if 2000 <= data.target[row, 0] < 3000]
    assert len(short) == 1
    batch = data.windows(torch.stack(short))
    seen = batch.target[batch.observed]
    assert ((seen >= 2000) & (seen < 3000)).all()
    assert batch.observed.sum() == 6 * SHAPE.target_dim


@pytest.mark.parametrize("freq", ["h", "30min", "D", "B", "M", "Q-DEC"])
def test_calendar_features_belong_to_the_steps_whatever_the_length_of_the_data(freq):
    shape = SHAPE._replace(num_features=num_time_features(freq))
    start, near = period(freq), shape.context_length + shape.horizon
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        cuts = [WindowData(read_dataset([counting(n, freq=freq)]), shape) for n in (30, 400)]
        rows = [data.windows(data.starts[:5]).features for data in cuts]
        np.testing.assert_array_equal(*rows)
        for i, features in enumerate(rows[0]):
            expected = time_features(start + i + PAST - shape.context_length, near)
            np.testing.assert_array_equal(features, expected)


@pytest.mark.parametrize("length", [4, 8, PAST + 3, 40])
def test_a_forecast_sees_what_the_last_window_sees_before_its_future(length):
    entries = [counting(length)]
    whole = WindowData(read_dataset(entries), SHAPE)
    window = whole.windows(whole.ends)
    known = [{**entries[0], "target": entries[0]["target"][:, : -SHAPE.horizon]}]
    batch = forecast_batch(read_dataset(known), SHAPE)
    np.testing.assert_array_equal(batch.target, window.target[:, :PAST])
    np.testing.assert_array_equal(batch.observed, window.observed[:, :PAST])
    np.testing.assert_array_equal(batch.features, window.features)


@pytest.mark.parametrize("freq", ["h", "30min", "2h", "B", "M", "Y"])
@pytest.mark.parametrize("context", [2, 4, 9])
@pytest.mark.parametrize("length", [4, 12, 40])
def test_training_and_forecast_have_the_same_features(freq, context, length):
    shape = SHAPE._replace(num_features=num_time_features(freq), context_length=context)
    entries = [counting(length, freq=freq), counting(length + 3, freq=freq)]
    whole = WindowData(read_dataset(entries), shape)
    known, _ = split_windows(entries, shape.horizon)
    forecast = forecast_batch(read_dataset(known), shape)
    np.testing.assert_array_equal(forecast.features, whole.windows(whole.ends).features)


@pytest.mark.parametrize("length", [4, 12, 40])
def test_features_belong_to_their_steps(length, monkeypatch):
    # As those of a field would: each step has its own number, counted from the start of the series.
    def numbers(series, *, first, length):
        return np.arange(first, first + length, dtype=np.float32)[:, None]

    monkeypatch.setattr("timediff.gluon.windows.features_of", numbers)
    shape = SHAPE._replace(num_features=1)
    near = np.arange(-shape.context_length, shape.horizon)
    series = read_dataset([counting(length)])
    data = WindowData(series, shape)
    starts = data.starts - PAST  # rows are counted from the first unobserved step
    features = data.windows(data.starts).features[..., 0]
    np.testing.assert_array_equal(features, starts[:, None].numpy() + near)
    np.testing.assert_array_equal(forecast_batch(series, shape).features[0, :, 0], length + near)


@pytest.mark.parametrize("freq", ["h", "B", "M"])
def test_features_of_a_step_do_not_depend_on_the_steps_beside_it(freq):
    series = read_entry(counting(9, freq=freq))
    whole = features_of(series, first=-7, length=30)
    for at in (0, 5, 7, 20):
        part = features_of(series, first=at - 7, length=3)
        np.testing.assert_array_equal(part, whole[at : at + 3])


def test_windows_come_in_the_default_precision(float64):
    data = cut(40)
    batch = data.windows(data.starts[:2])
    assert batch.target.dtype == batch.features.dtype == torch.float64
    assert forecast_batch(read_dataset([counting(9)]), SHAPE).target.dtype == torch.float64


def loader(*, seed=1, epoch=0, rank=0, ranks=1, batches=4, device="cpu"):
    place = {"global_rank": rank, "ranks": ranks, "device": torch.device(device)}
    module = SimpleNamespace(seed=seed, current_epoch=epoch, begun=0, **place)
    return TrainingWindows(cut(60, 50), batch_size=8, batches=batches, module=module)


def first_steps(windows):
    return torch.cat([batch.target[:, 0, 0] for batch in windows])


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_share_the_windows_of_one(ranks):
    shares = [first_steps(loader(rank=rank, ranks=ranks)).view(4, -1) for rank in range(ranks)]
    assert torch.equal(torch.cat(shares, dim=1).flatten(), first_steps(loader()))


def test_epochs_and_seeds_draw_different_windows_and_repeat_their_own():
    drawn = first_steps(loader())
    assert len(drawn) == 4 * 8 and len(loader()) == 4
    np.testing.assert_array_equal(drawn, first_steps(loader()))
    for other in (loader(epoch=1), loader(seed=2)):
        assert (drawn != first_steps(other)).any()


def test_windows_are_made_on_the_device_of_the_training():
    # "meta", the one other device that every machine has, knows shapes but no values.
    (ours,), (expected,) = loader(batches=1, device="meta"), loader(batches=1)
    for moved, part in zip(ours[:3], expected[:3], strict=True):
        assert moved.device.type == "meta"
        assert (moved.shape, moved.dtype) == (part.shape, part.dtype)


def test_training_draws_every_window_equally_often():
    windows = loader(batches=2000)
    count = len(windows.data.starts)
    drawn = first_steps(windows)
    _, times = drawn.unique(return_counts=True)
    assert len(times) == count
    share = 1 / count
    error = np.sqrt(share * (1 - share) / len(drawn))
    assert (times / len(drawn) - share).abs().max() < 5 * error


def test_validation_takes_the_last_window_of_every_series_in_order():
    lengths = [40, 3, 25, 30, 6]
    windows = LastWindows(cut(*lengths), batch_size=3)
    batches = list(windows)
    assert len(batches) == len(windows) == 2
    last = torch.cat([batch.target[:, -1, 0] for batch in batches])
    expected = [1000 * (i + 1) + n - 1 for i, n in enumerate(lengths) if n > SHAPE.horizon]
    np.testing.assert_array_equal(last, expected)


def poor(*, length=40):
    """Dimensions: good, constant, never observed, observed three times."""
    target = entry(dim=4, length=length)["target"]
    target[1], target[2], target[3, :-3] = 5, np.nan, np.nan
    return {**entry(dim=4, length=length), "target": target}


def test_one_warning_names_what_says_little():
    with pytest.warns(UserWarning, match="say little") as caught:
        warn_of_poor_dimensions(read_dataset([poor()]), horizon=4)
    assert len(caught) == 1
    said = str(caught[0].message)
    assert "never observed: dimension 2" in said
    assert "constant: dimension 1" in said
    assert "short: dimension 3" in said
    assert "dimension 0" not in said


def test_columns_and_short_series_are_named_and_a_long_list_is_cut():
    named = poor() | {"info": {"columns": ["north", "south", "east", "west"]}}
    tail = counting(4, item_id="tail") | {"target": np.arange(16).reshape(4, 4)}
    with pytest.warns(UserWarning, match=r"never observed: north"):
        warn_of_poor_dimensions(
            read_dataset([named | {"target": np.roll(named["target"], -2, axis=0)}]), horizon=4
        )
    with pytest.warns(UserWarning, match=r"short: east, tail\)"):
        warn_of_poor_dimensions(read_dataset([named, tail]), horizon=4)
    flat = entry(dim=25) | {"target": np.ones((25, 60))}
    with pytest.warns(UserWarning, match="dimension 9 and 15 more"):
        warn_of_poor_dimensions(read_dataset([flat]), horizon=4)


def test_good_data_is_no_reason_to_warn():
    with warnings.catch_warnings(action="error"):
        warn_of_poor_dimensions(read_dataset([entry()]), horizon=4)


def test_data_without_a_single_value_is_refused():
    nothing = entry() | {"target": np.full((3, 60), np.nan)}
    with pytest.raises(InputError, match="every value of the training data is missing"):
        warn_of_poor_dimensions(read_dataset([nothing]), horizon=4)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e39, -1e38, 1e18])
def test_a_value_that_float32_cannot_square_is_refused_with_entry_series_and_step(value):
    target = np.ones((2, 50))
    target[1, 7] = value
    broken = {"item_id": "home 7", "start": period("h"), "target": target}
    named = broken | {"info": {"columns": ["roof", "car"]}}
    at = r"at 2020-01-06 07:00 \(step 7\); values must be below 1e\+18"
    with pytest.raises(InputError, match=rf"the target of home 7 has .* in dimension 1 {at}"):
        read_entry(broken)
    with pytest.raises(InputError, match=rf" in car {at}"):
        read_entry(named)
    target[1, 7] = 9e17
    assert read_entry(broken).observed.all()


@pytest.mark.parametrize("level", [0.0, 5.0e6])
def test_the_first_moves_of_a_flat_series_are_no_lesson_in_adaptive_units(level):
    # Dimension 0 is flat for 40 steps, then moves by a unit that its past says nothing of.
    rng = np.random.default_rng(1)
    moves = np.concatenate([np.zeros(40), rng.normal(size=40)])
    target = np.stack([level + 1e3 * moves, rng.normal(size=80)])
    shape = SHAPE._replace(cycles=[4], profiles=[])
    data = WindowData(read_dataset([{"start": period("h"), "target": target}]), shape)
    first = shape.history_length  # row of step 0
    flat, moved, later = (data.windows(torch.tensor([first + at])) for at in (30, 40, 70))
    ahead = slice(-shape.horizon, None)
    assert flat.observed[:, ahead].all() and (flat.target[:, ahead, 0] == 0).all()
    assert not moved.observed[:, ahead, 0].any() and moved.observed[:, ahead, 1].all()
    assert later.observed[:, ahead].all() and (later.target[:, ahead].abs() < 100).all()


def test_windows_of_one_history_share_its_units_and_are_those_of_each_alone():
    rng = np.random.default_rng(3)
    target = rng.normal(size=(2, 120)).cumsum(axis=1)
    target[0, 30:50] = np.nan
    lengths = (70, 119, 1, 120, 33)
    entries = [{"start": period("h"), "target": target[:, :n]} for n in lengths]
    entries.append({"start": period("h"), "target": target[:, :90] + 1.0})
    all_series = read_dataset(entries)
    laid, places = longest(all_series)
    assert [len(series.values) for series in laid] == [120, 90] and places == [0, 0, 0, 0, 0, 1]
    shape = SHAPE._replace(cycles=[4, 8], profiles=[[4, 1.0], [8, 2.0]])
    together = forecast_batch(all_series, shape)
    for i, series in enumerate(all_series):
        alone = forecast_batch([series], shape)
        for one, other in zip(together, alone, strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                torch.testing.assert_close(
                    one[i : i + 1], other, rtol=1e-5, atol=1e-6, equal_nan=True
                )


def test_a_series_that_differs_in_a_value_a_gap_or_its_start_is_no_beginning():
    whole = counting(20)
    other = counting(12, first=1.0)
    gap = counting(12)
    gap["target"] = np.where(np.arange(12) == 5, np.nan, gap["target"])
    later = counting(12) | {"start": period("h") + 24}
    _, places = longest(read_dataset([whole, other, gap, later, counting(12)]))
    assert len(set(places[:4])) == 4 and places[4] == places[0]
