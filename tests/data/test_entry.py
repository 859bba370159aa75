"""Whatever is cut from an entry stays in step.

Every field with a time axis carries the calendar's number of its own steps as values, so that a column that
has moved against ``start`` shows.
"""

import numpy as np
import pytest
from gluonts.dataset.field_names import FieldName
from gluonts.dataset.split import slice_data_entry
from hypothesis import given
from hypothesis import strategies as st
from tiny import period

from timediff.data import rolling
from timediff.data.dataset import Dataset
from timediff.data.entry import begin, cut_entry, dynamic_fields, end, hold_out, split_windows
from timediff.errors import InputError
from timediff.frequency import quiet_business_days

PAST = ["target", "observed_values", "is_pad", "past_feat_dynamic", "past_feat_dynamic_cat"]
PAST += ["past_feat_dynamic_real"]
AHEAD = ["feat_dynamic", "feat_dynamic_age", "feat_dynamic_cat", "feat_dynamic_const"]
AHEAD += ["feat_dynamic_real", "dynamic_feat", "time_feat"]
STATIC = {
    "item_id": "home 7",
    "info": {"columns": ["a", "b"]},
    "feat_static_cat": np.array([3]),
    "feat_static_real": np.arange(12.0),
    "target_dimension_indicator": np.arange(2),
    "forecast_start": None,
}


def numbered(freq, length, *, ahead=0, names=(), rows=2, first=0):
    """An entry of which each column of each field is the number of its step."""
    with quiet_business_days():
        entry = {**STATIC, "start": period(freq) + first}
    for name in ["target", *names]:
        steps = begin(entry) + np.arange(length + (ahead if name in AHEAD else 0))
        kind = np.int64 if name.endswith("cat") else np.float32
        entry[name] = np.tile(steps, (rows, 1) if rows else 1).astype(kind)
    return entry


def assert_in_step(entry, length, ahead=0):
    """Each field has its own steps, as many as the target or so many more."""
    for name in dynamic_fields(entry):
        count = length + (ahead if name in AHEAD else 0)
        expected = begin(entry) + np.arange(count)
        assert entry[name].shape[-1] == count, name
        np.testing.assert_array_equal(entry[name], np.broadcast_to(expected, entry[name].shape))
    assert end(entry) == begin(entry) + length


freqs = st.sampled_from(["h", "2h", "B", "D", "W-SUN", "M"])
fields = st.lists(st.sampled_from([*PAST[1:], *AHEAD]), unique=True)
horizons = st.integers(1, 6)


@st.composite
def entries(draw, *, least=1):
    """An entry of some fields, the horizon by which those known ahead go on, or 0, and its length."""
    length, ahead = draw(st.integers(least, 30)), draw(st.integers(0, 6))
    rows, names = draw(st.sampled_from([0, 1, 2])), draw(fields)
    return numbered(draw(freqs), length, ahead=ahead, names=names, rows=rows), ahead, length


def test_gluonts_has_no_field_that_we_do_not_know():
    names = {value for name, value in vars(FieldName).items() if name.isupper()}
    assert names == {*PAST, *AHEAD, *STATIC, "start"}
    assert set(dynamic_fields(dict.fromkeys(names, 0))) == {*PAST, *AHEAD}
    # One that is there without values has no steps.
    assert dynamic_fields({"target": [1.0], "feat_dynamic_real": None}) == ["target"]


@given(entries(), st.data())
def test_every_field_is_cut_alike_and_the_rest_stays(case, data):
    entry, surplus, length = case
    first = data.draw(st.integers(0, length))
    stop = data.draw(st.integers(first, length))
    ahead = data.draw(st.sampled_from([0, surplus]))
    kept = {name: np.array(entry[name]) for name in dynamic_fields(entry)}
    part = cut_entry(entry, first, stop, ahead=ahead)
    assert_in_step(part, stop - first, ahead)
    assert part.keys() == entry.keys()
    assert all(part[name] is value for name, value in STATIC.items())
    with quiet_business_days():
        assert part["start"] == entry["start"] + first
    for name, values in kept.items():
        np.testing.assert_array_equal(entry[name], values)
        assert part[name].dtype == values.dtype and part[name].ndim == values.ndim


@given(entries(), st.integers(-40, 40) | st.none(), st.integers(-40, 40) | st.none())
def test_steps_are_counted_as_slices_count_them(case, first, stop):
    entry, ahead, length = case
    part = cut_entry(entry, first, stop, ahead=ahead)
    expected = range(length)[first:stop]
    assert_in_step(part, len(expected), ahead)
    if expected:
        assert begin(part) == begin(entry) + expected.start


@given(entries(), st.data())
def test_a_cut_of_a_cut_is_a_cut(case, data):
    entry, ahead, length = case
    a, b, c, d = sorted(data.draw(st.lists(st.integers(0, length), min_size=4, max_size=4)))
    outer = cut_entry(entry, a, d, ahead=ahead)
    twice, once = cut_entry(outer, b - a, c - a, ahead=ahead), cut_entry(entry, b, c, ahead=ahead)
    assert twice["start"] == once["start"] and twice.keys() == once.keys()
    for name in dynamic_fields(entry):
        np.testing.assert_array_equal(twice[name], once[name])


@given(entries(least=8), st.data())
def test_a_window_keeps_what_is_known_of_its_future(case, data):
    entry, surplus, length = case
    horizon = surplus or data.draw(horizons)
    # Fields known ahead end with the truth, or so many steps after it.
    known, truth = split_windows([entry, entry], horizon)
    assert len(known) == len(truth) == 2
    assert_in_step(known[0], length - horizon, horizon)
    assert truth.shape == (2, horizon, np.atleast_2d(entry["target"]).shape[0])
    np.testing.assert_array_equal(truth[0, :, 0], end(known[0]) + np.arange(horizon))


@given(entries(least=20), horizons, st.integers(0, 3))
def test_what_is_held_out_ends_a_horizon_later_each_time(case, horizon, windows):
    entry, _, length = case
    training, held = hold_out(entry, horizon, windows)
    assert len(held) == windows
    for k, part in enumerate([training, *held]):
        assert begin(part) == begin(entry)
        assert_in_step(part, length - (windows - k) * horizon)
    if held:
        known, _ = split_windows(held, horizon)
        assert end(known[0]) == end(training)


@given(entries(least=12), st.integers(0, 6), st.integers(0, 3), st.data())
def test_a_part_around_an_origin_is_in_step(case, history, future, data):
    entry, ahead, length = case
    origin = data.draw(st.integers(history, length - future))
    part = rolling.cut(entry, origin, history, future, ahead=ahead)
    assert begin(part) == begin(entry) + origin - history
    assert_in_step(part, history + future, ahead)
    assert_in_step(rolling.cut(entry, origin), origin)


def dataset(train, test, horizon):
    facts = {"aggregates": {}, "checksum": "0", "verified": True, "source": "", "licence": ""}
    columns = ["a", "b"]
    return Dataset("made", "h", horizon, columns, [train], test, **facts, published=[])


@given(freqs, fields, horizons, st.booleans(), st.integers(1, 3), st.integers(1, 5))
def test_windows_that_are_cut_anew_are_in_step(freq, names, horizon, further, windows, stride):
    surplus = horizon if further else 0
    train = numbered(freq, 24, names=names, ahead=surplus)
    test = [
        numbered(freq, 10 + horizon, names=names, ahead=surplus, first=14 + k * horizon)
        for k in range(2)
    ]
    # As long as the last test entry; the first of its steps stand in training too.
    length = 24 + 2 * horizon
    options = {"windows": windows, "stride": stride}
    cut = rolling.rewindow(dataset(train, test, horizon), **options, history=horizon)
    for k, part in enumerate(cut.test):
        assert_in_step(part, 2 * horizon)
        ahead_of_end = (windows - 1 - k) * stride
        assert end(part) == begin(train) + length - ahead_of_end
        assert {name: part[name].dtype for name in names} == {n: train[n].dtype for n in names}
    assert_in_step(cut.train[0], length - horizon - (windows - 1) * stride)
    assert cut.train[0].keys() == train.keys()


def test_two_values_of_a_field_at_one_step_are_refused():
    train, test = (numbered("h", n, names=["feat_dynamic_real"]) for n in (24, 28))
    test["feat_dynamic_real"] = test["feat_dynamic_real"] + 1
    with pytest.raises(InputError, match="two values of feat_dynamic_real at 2020-01-06 00:00"):
        rolling.rewindow(dataset(train, [test], 4), windows=2, stride=4)


@given(entries(least=2), st.data())
def test_gluonts_cuts_the_fields_that_it_knows_in_the_same_way(case, data):
    entry, ahead, length = case
    if entry["target"].ndim == 1:
        entry = numbered("h", length, ahead=ahead, names=dynamic_fields(entry)[1:])
    first = data.draw(st.integers(1, length - 1))
    stop = data.draw(st.integers(first, length))
    ours = cut_entry(entry, first, stop, ahead=ahead)
    with quiet_business_days():
        theirs = slice_data_entry(entry, slice(first, stop), prediction_length=ahead)
    assert ours["start"] == theirs["start"]
    for name in ("target", "feat_dynamic_real", "feat_dynamic_cat", "past_feat_dynamic_real"):
        if name in entry:
            np.testing.assert_array_equal(ours[name], theirs[name])


@pytest.mark.parametrize(
    ("name", "steps", "ahead", "message"),
    [
        ("feat_dynamic_real", 23, 0, "has 23 steps, but its target 24; give it as many$"),
        ("feat_dynamic_real", 23, 4, "23 steps, .* 24; give it as many, or 28 with the 4 steps"),
        ("feat_dynamic_real", 25, 4, "25 steps, .* 24; give it as many, or 28 with the 4 steps"),
        ("feat_dynamic_cat", 32, 4, "32 steps, .* 24; give it as many, or 28 with the 4 steps"),
        ("observed_values", 28, 4, "has 28 steps, but its target 24; give it as many$"),
        ("past_feat_dynamic_real", 25, 0, "has 25 steps, but its target 24; give it as many$"),
        ("past_feat_dynamic_cat", 23, 4, "has 23 steps, but its target 24; give it as many$"),
    ],
)
def test_a_field_out_of_step_is_refused_by_name(name, steps, ahead, message):
    entry = numbered("h", 24) | {name: np.zeros((2, steps))}
    with pytest.raises(InputError, match=f"^{name} of home 7 .*{message}") as caught:
        cut_entry(entry, 2, 20, ahead=ahead)
    assert "\n" not in str(caught.value)


def test_two_fields_that_go_on_for_different_horizons_are_refused():
    entry = numbered("h", 24, ahead=4, names=["feat_dynamic_real"])
    entry["time_feat"] = np.zeros((1, 26))
    with pytest.raises(InputError, match=r"time_feat of home 7 has 26 steps, .* 28 with the 4"):
        cut_entry(entry, end=12)


def test_a_field_that_does_not_reach_ahead_is_refused():
    entry = numbered("h", 24, names=["feat_dynamic_real"])
    assert_in_step(cut_entry(entry, end=20, ahead=4), 20, 4)
    message = "feat_dynamic_real of home 7 has 24 steps, but 25 are needed for 4 .* of step 21"
    with pytest.raises(InputError, match=message):
        cut_entry(entry, end=21, ahead=4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": None}, "home 7 has no field 'target'"),
        ({"start": None}, "home 7 has no field 'start'"),
        ({"target": 3.0}, "target of home 7 is a single value"),
        ({"feat_dynamic_real": [[1, 2], [3]]}, "feat_dynamic_real of home 7 is no array"),
    ],
)
def test_what_has_no_steps_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        cut_entry(numbered("h", 24) | change, 2)


def test_lists_are_cut_too():
    part = cut_entry({"start": period("h"), "target": [1.0, 2.0, 3.0], "time_feat": [[4, 5, 6]]}, 1)
    assert part["target"].tolist() == [2, 3] and part["time_feat"].tolist() == [[5, 6]]


def test_nothing_left_is_refused():
    entry = numbered("h", 8)
    for cut in (lambda: split_windows([entry], 8), lambda: hold_out(entry, 4, 2)):
        with pytest.raises(InputError, match="home 7 has 8 steps, and nothing is left of it"):
            cut()
