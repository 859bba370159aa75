"""The adaptive normalisation: its formula, what it may see, what does not matter to it, and its windows."""

import numpy as np
import pytest
import torch
from groups import contracts, cross_checks, identities, invariances, oracles
from tiny import entry

from timediff.frequency import adaptive_cycles
from timediff.gluon.entries import read_entry
from timediff.gluon.windows import WindowData, forecast_batch
from timediff.timegrad.batch import Shape
from timediff.timegrad.normalisation.adaptive import (
    FLOOR,
    PRIOR,
    REPEATS,
    Adaptive,
    ahead,
    in_window,
    parts,
    recent_mean,
    repeated,
    units,
)
from timediff.timegrad.normalisation.base import LARGEST, rounding


def made(length, dim=3, *, seed=0, missing=0.0, cycle=6):
    rng = np.random.default_rng(seed)
    t = np.arange(length)[:, None]
    values = 3 * np.sin(2 * np.pi * t / cycle + np.arange(dim)) + rng.normal(size=(length, dim))
    values = values * 10.0 ** np.arange(dim) + 50
    values[rng.random(values.shape) < missing] = np.nan
    return values


# ------------------------------------------------------------------------------------- the formula


def plain_mean(values, cycle, half_life, t):
    """Of one series at step t, and its weight, by the formula."""
    known = [
        (k, values[t - k * cycle])
        for k in range(1, t // cycle + 1)
        if t - k * cycle < len(values) and np.isfinite(values[t - k * cycle])
    ]
    if not known:
        return np.nan, 0.0
    # As shares of the latest weight, which may be next to nothing.
    latest = known[0][0]
    total = sum(0.5 ** ((k - latest) / half_life) * value for k, value in known)
    weight = sum(0.5 ** ((k - latest) / half_life) for k, _ in known)
    return total / weight, weight * 0.5 ** (latest / half_life)


def plain_units(values, cycle, half_life, scale_half_life):
    """Location and scale of one series by loops."""
    length = len(values)
    location = np.full(length + cycle, np.nan)
    deviation = np.zeros(length + cycle)
    for t in range(length + cycle):
        location[t] = plain_mean(values, cycle, half_life, t)[0]
        earlier = values[:t][np.isfinite(values[:t])]
        if len(earlier):
            deviation[t] = earlier.std()
            if np.isnan(location[t]):
                location[t] = earlier.mean()
    squares = (values - location[:length]) ** 2
    scale = np.zeros(length + cycle)
    for t in range(length + cycle):
        variance, weight = plain_mean(squares, cycle, scale_half_life, t)
        # Over all positions: the last means of each that are known a cycle ahead.
        total, whole = 0.0, 0.0
        for other in range(max(t - cycle + 1, 0), t + 1):
            its, own = plain_mean(squares, cycle, scale_half_life, other)
            total, whole = total + (own * its if own else 0.0), whole + own
        if whole:
            overall = total / whole
            shrunk = ((weight * variance if weight else 0.0) + PRIOR * overall) / (weight + PRIOR)
            scale[t] = np.sqrt(max(shrunk, FLOOR**2 * overall))
        else:
            scale[t] = deviation[t]
        # Of what is known a cycle ahead, or of all that is where the scale is.
        known = values[: t - cycle + 1] if whole else values[:t]
        largest = np.abs(np.nan_to_num(known)).max(initial=0.0)
        scale[t] = max(scale[t], rounding(largest))
    return Adaptive(location, scale)


KINDS = [
    (60, 6, 4.0, 8.0),
    (61, 6, 4.0, 8.0),  # no whole cycles
    (65, 6, 0.7, 0.3),
    (90, 1, 4.0, 100.0),  # no cycle, more than a block of it
    (150, 1, 0.05, 100.0),  # nearly the last value
    (140, 2, 0.05, 0.05),
    (400, 5, 30.0, 60.0),  # more cycles than a block
    (4, 6, 4.0, 8.0),  # less than a cycle
    (7, 6, 4.0, 8.0),
    (1, 1, 1.0, 1.0),
]
every_kind = pytest.mark.parametrize(("length", "cycle", "half_life", "scale_half_life"), KINDS)


@cross_checks
@every_kind
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_units_are_the_formula(length, cycle, half_life, scale_half_life, missing):
    values = made(length, 2, missing=missing, cycle=cycle)
    found = units(values, cycle=cycle, half_life=half_life, scale_half_life=scale_half_life)
    mean, weight = recent_mean(values, cycle=cycle, half_life=half_life)
    assert mean.shape == found.location.shape == found.scale.shape == (length + cycle, 2)
    weight = np.broadcast_to(weight, mean.shape)  # one for all series where they are known alike
    for d, column in enumerate(values.T):
        plain = plain_units(column, cycle, half_life, scale_half_life)
        np.testing.assert_allclose(found.location[:, d], plain.location, rtol=1e-9)
        np.testing.assert_allclose(found.scale[:, d], plain.scale, rtol=1e-7)
        plain_means = [plain_mean(column, cycle, half_life, t) for t in range(length + cycle)]
        np.testing.assert_allclose(mean[:, d], [m for m, _ in plain_means], rtol=1e-9)
        np.testing.assert_allclose(weight[:, d], [w for _, w in plain_means], rtol=1e-9)


@cross_checks
@pytest.mark.parametrize("scale_half_life", [100.0, 0.05])
@pytest.mark.parametrize("gap", [(0, 31), (50, 110)])
def test_units_of_series_with_a_long_gap_are_the_formula(gap, scale_half_life):
    values = made(140, 2, cycle=6)
    values[slice(*gap), 0] = np.nan
    for cycle in (1, 6):
        options = {"cycle": cycle, "half_life": 0.05, "scale_half_life": scale_half_life}
        found = units(values, **options)
        for d, column in enumerate(values.T):
            plain = plain_units(column, **options)
            np.testing.assert_allclose(found.location[:, d], plain.location, rtol=1e-9)
            if scale_half_life > 1:
                np.testing.assert_allclose(found.scale[:, d], plain.scale, rtol=1e-7)


@invariances
@pytest.mark.parametrize("kind", ["known", "gaps", "known alike", "a long gap", "late"])
@pytest.mark.parametrize("cycle", [1, 6])
@pytest.mark.parametrize("half_life", [0.05, 3.0])
@pytest.mark.parametrize("first", [1, 5, 6, 47, 120, 131])
def test_rows_from_one_on_are_those_of_all(kind, cycle, half_life, first):
    values = made(131, cycle=6, missing=0.3 if kind == "gaps" else 0.0)
    values[:, 2] = 4.0  # repeats
    if kind == "known alike":
        values[np.random.default_rng(1).random(131) < 0.3] = np.nan
    elif kind == "a long gap":  # in which weights vanish
        values[20:118, 0] = np.nan
    elif kind == "late":
        values[:90, 1] = np.nan
    options = {"cycle": cycle, "half_life": half_life}
    whole = [np.broadcast_to(part, (131 + cycle, 3)) for part in recent_mean(values, **options)]
    later = recent_mean(values, **options, first=first)
    alike = {"rtol": 1e-9, "atol": 1e-12}
    for one, other in zip(later, whole, strict=True):
        np.testing.assert_allclose(
            np.broadcast_to(one, other[first:].shape), other[first:], **alike
        )
    np.testing.assert_array_equal(
        repeated(values, cycle=cycle, first=first), repeated(values, cycle=cycle)[first:]
    )
    both = zip(
        parts(values, **options, scale_half_life=8.0, first=first),
        parts(values, **options, scale_half_life=8.0),
        strict=True,
    )
    for one, other in ((a, b) for some in both for a, b in zip(*some, strict=True)):
        np.testing.assert_allclose(one, other[first:], **alike)


@oracles
def test_after_a_long_gap_the_location_is_still_the_last_value():
    values = np.cumsum(np.ones((120, 1)), axis=0)
    values[50:110] = np.nan
    location = units(values, cycle=1, half_life=0.05, scale_half_life=100.0).location
    # The step after the gap follows value 50, whatever is before it.
    np.testing.assert_allclose(location[110], 50.0, rtol=1e-5)


@oracles
def test_in_a_long_gap_the_scale_stays_that_of_the_series():
    values = made(200, 1)
    values[50:] = np.nan
    scale = units(values, cycle=1, half_life=0.05, scale_half_life=0.05).scale[50:]
    spread = np.nanstd(values)
    assert (scale > 0.1 * spread).all() and (scale < 10 * spread).all()


@oracles
def test_a_tiny_half_life_is_the_last_cycle_and_a_long_one_the_mean():
    values = made(72, cycle=6)
    last, _ = recent_mean(values, cycle=6, half_life=0.02)
    np.testing.assert_allclose(last[6:], values, rtol=1e-9)
    mean, weight = recent_mean(values, cycle=6, half_life=1e9)
    np.testing.assert_allclose(mean[-6:], values.reshape(12, 6, -1).mean(axis=0))
    np.testing.assert_allclose(weight[-6:], 12, rtol=1e-6)


@oracles
def test_a_steady_spread_is_found():
    # Independent noise of standard deviation 3 around location 7, at every position alike.
    rng = np.random.default_rng(1)
    values = 7 + 3 * rng.normal(size=(8000, 4))
    found = units(values, cycle=4, half_life=500.0, scale_half_life=500.0)
    # 4 positions of about 1400 independent values each in a mean: deviations of 1 / sqrt(2 * 1400).
    np.testing.assert_allclose(found.location[-4:], 7, atol=5 * 3 / 1400**0.5)
    np.testing.assert_allclose(found.scale[-4:], 3, rtol=5 / 2800**0.5)


@oracles
def test_a_position_that_is_quiet_has_a_scale_of_its_own_down_to_a_floor():
    rng = np.random.default_rng(2)
    values = rng.normal(size=(600, 1)) * np.tile([1.0, 1.0, 1e-6, 0.3], 150)[:, None]
    scale = units(values, cycle=4, half_life=4.0, scale_half_life=1000.0).scale[-4:, 0]
    overall = np.sqrt((2 + 0.09) / 4)
    assert scale[2] < scale[3] < scale[0]
    assert FLOOR * 0.8 * overall < scale[2] < 0.2 * overall


@cross_checks
@pytest.mark.parametrize("cycle", [1, 3])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_a_repeated_value_is_that_of_the_last_cycles_that_were_observed(cycle, missing):
    rng = np.random.default_rng(3)
    # Idle for long, with other values in between.
    values = np.where(rng.random((200, 3)) < [0.02, 0.1, 0.5], rng.normal(size=(200, 3)), 4.0)
    values[rng.random(values.shape) < missing] = np.nan
    values[:30, 2] = np.nan
    found = repeated(values, cycle=cycle)
    assert found.shape == (200 + cycle, 3)
    for t in range(200 + cycle):
        for d in range(3):
            past = values[t % cycle : t : cycle, d]
            last = past[np.isfinite(past)][-REPEATS:]
            sits = len(last) == REPEATS and (last == last[0]).all()
            np.testing.assert_equal(found[t, d], last[0] if sits else np.nan)
    assert np.isfinite(found[:, 0]).mean() > 0.5 > np.isfinite(found[:, 2]).mean()


# ------------------------------------------------------------------------------- what it may not see


@invariances
@pytest.mark.parametrize("cycle", [1, 6])
@pytest.mark.parametrize("step", [7, 30, 41])
def test_no_row_depends_on_its_own_step_or_on_later_ones(cycle, step):
    values, options = made(60), {"cycle": cycle, "half_life": 2.0, "scale_half_life": 3.0}
    before = units(values, **options)
    changed = values.copy()
    changed[step:] = 1e4 * np.random.default_rng(1).normal(size=changed[step:].shape)
    after = units(changed, **options)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one[: step + 1], other[: step + 1])
        assert (one[step + cycle :] != other[step + cycle :]).all()


@invariances
@pytest.mark.parametrize("step", [6, 8, 30, 31, 35])
def test_no_row_of_the_cycle_after_an_origin_depends_on_what_follows_it(step):
    values, options = made(60), {"cycle": 6, "half_life": 2.0, "scale_half_life": 3.0}
    changed = values.copy()
    changed[step:] = 1e4
    for one, other in zip(units(values, **options), units(changed, **options), strict=True):
        np.testing.assert_array_equal(one[ahead(step, 20, 6)], other[ahead(step, 20, 6)])


@invariances
def test_what_is_cut_off_changes_nothing_of_what_was_before():
    values, options = made(66), {"cycle": 6, "half_life": 4.0, "scale_half_life": 8.0}
    for cut in (36, 60):
        short, long = (units(v, **options) for v in (values[:cut], values))
        for one, other in zip(short, long, strict=True):
            np.testing.assert_allclose(one, other[: cut + 6], rtol=1e-12)


@invariances
@pytest.mark.parametrize("cycle", [1, 6])
def test_units_follow_the_unit_and_the_zero_of_a_series(cycle):
    values = made(100, missing=0.1)
    options = {"cycle": cycle, "half_life": 4.0, "scale_half_life": 8.0}
    factor, shift = np.array([3.0, 1e-5, 2e4]), np.array([-7.0, 0.3, 1e6])
    one, other = units(values, **options), units(factor * values + shift, **options)
    np.testing.assert_allclose(other.location, factor * one.location + shift, rtol=1e-9)
    spread = slice(3 * cycle, None)  # before, a series may not yet have left its location
    np.testing.assert_allclose(other.scale[spread], factor * one.scale[spread], rtol=1e-6)


@invariances
def test_a_sign_turns_the_location_and_not_the_scale():
    values, options = made(70, missing=0.1), {"cycle": 6, "half_life": 4.0, "scale_half_life": 8.0}
    one, other = units(values, **options), units(-values, **options)
    np.testing.assert_array_equal(other.location, -one.location)
    np.testing.assert_array_equal(other.scale, one.scale)


@invariances
def test_series_have_units_of_their_own():
    values, options = (
        made(70, 4, missing=0.1),
        {"cycle": 6, "half_life": 4.0, "scale_half_life": 8.0},
    )
    together = units(values, **options)
    for d in range(4):
        alone = units(values[:, d : d + 1], **options)
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_allclose(one[:, d : d + 1], other, rtol=1e-12)


@oracles
@pytest.mark.parametrize("cycle", [1, 6])
def test_a_series_that_never_leaves_its_location_has_the_scale_of_its_rounding(cycle):
    pattern = np.random.default_rng(0).normal(size=cycle)
    for values in (np.zeros(60), np.full(60, 1e6), np.tile(pattern, 60 // cycle)):
        found = units(values[:, None], cycle=cycle, half_life=4.0, scale_half_life=8.0)
        settled = slice(2 * cycle, None)
        np.testing.assert_allclose(
            found.location[settled, 0], np.resize(values, 60 + cycle)[settled], rtol=1e-12
        )
        # The first cycle, where the location is the mean so far, is what a pattern may be far from.
        if np.ptp(values) == 0:
            np.testing.assert_allclose(found.scale[1:], rounding(np.abs(values).max()), rtol=1e-9)


@contracts
def test_in_the_window_nothing_is_left_to_do():
    x, observed = torch.randn(2, 5, 3), torch.ones(2, 5, 3, dtype=torch.bool)
    location, scale = in_window(x, observed, torch.randn(2, 3))
    assert location.shape == scale.shape == (2, 1, 3)
    assert (location == 0).all() and (scale == 1).all()


@oracles
def test_beyond_a_cycle_the_first_one_repeats():
    np.testing.assert_array_equal(ahead(10, 7, 3), [10, 11, 12, 10, 11, 12, 10])
    np.testing.assert_array_equal(ahead(np.array([4, 9]), 3, 1), [[4, 4, 4], [9, 9, 9]])
    np.testing.assert_array_equal(ahead(2, 4, 100), [2, 3, 4, 5])


@oracles
@pytest.mark.parametrize(
    ("freq", "length", "cycles"),
    [
        ("h", 119, [1]),
        ("h", 120, [24]),
        ("h", 839, [24]),
        ("h", 840, [24, 168]),
        ("30min", 5 * 48, [48]),
        ("D", 34, [1]),
        ("D", 35, [7]),
        ("B", 10_000, [1]),
        ("W", 10_000, [1]),
        ("M", 60, [12]),
        ("Y", 1000, [1]),
    ],
)
def test_cycles_are_seasons_that_the_data_holds_five_of(freq, length, cycles):
    assert adaptive_cycles(freq, length) == cycles


# --------------------------------------------------------------------------------- in windows

CYCLIC = Shape(3, 14, 6, [1, 3], 4, 0, [6, 12], 4.0, 8.0, [[6, 1.0], [6, 8.0], [12, 1.0]])
STEADY = Shape(3, 5, 6, [1, 3], 4, 0, [1], 0.05, 100.0, [[1, 8.0], [1, 64.0]])


def windows_of(entries, shape):
    return WindowData([read_entry(each) for each in entries], shape)


def cut_at(data, shape, origin, length):
    """The forecast batch of an entry cut at an origin, and the window that begins there."""
    whole = windows_of([data], shape)
    known = {**data, "target": data["target"][:, :origin]}
    return (
        forecast_batch([read_entry(known)], shape),
        whole.windows(torch.tensor([origin + whole.first])),
    )


def assert_same(forecast, window, shape):
    past = shape.history_length
    for name in ("features", "location", "scale", "profiles", "pattern", "repeated"):
        torch.testing.assert_close(
            getattr(forecast, name), getattr(window, name), rtol=1e-5, atol=1e-5, equal_nan=True
        )
    torch.testing.assert_close(forecast.target, window.target[:, :past])
    assert torch.equal(forecast.observed, window.observed[:, :past])


def assert_equal(one, other):
    assert (one.pattern is None) == (other.pattern is None)
    for mine, theirs in zip(one, other, strict=True):
        if mine is not None:
            torch.testing.assert_close(mine, theirs, rtol=0, atol=0, equal_nan=True)


@identities
@pytest.mark.parametrize(
    ("shape", "origin"),
    [
        (CYCLIC, 60),
        (CYCLIC, 12),
        (STEADY, 61),
        (STEADY, 3),
        (CYCLIC, 63),
        (CYCLIC, 6),
        (CYCLIC, 8),
        (CYCLIC, 4),
        (CYCLIC, 1),
    ],
)
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_training_sees_the_units_that_a_forecast_has(shape, origin, missing):
    data = entry(length=100)
    data["target"][np.random.default_rng(1).random((3, 100)) < missing] = np.nan
    assert_same(*cut_at(data, shape, origin, 100), shape)


@identities
@pytest.mark.parametrize(
    ("series", "hidden"), [(0, slice(61)), (0, slice(58)), (1, slice(3, 60, 6))]
)
@pytest.mark.parametrize("constant", [False, True])
def test_training_sees_the_units_of_a_forecast_of_series_that_begin_late(series, hidden, constant):
    data = entry(length=100)
    if constant:
        data["target"][series] = 7.0
    data["target"][series, hidden] = np.nan  # the first values, or those of one position
    forecast, window = cut_at(data, CYCLIC, 62, 100)
    assert_same(forecast, window, CYCLIC)
    torch.testing.assert_close(forecast.scale, window.scale, rtol=1e-5, atol=0)


@oracles
def test_the_target_of_a_window_is_its_deviation_from_the_units():
    data = entry(length=100)
    origin, past = 60, CYCLIC.history_length
    _, window = cut_at(data, CYCLIC, origin, 100)
    values = data["target"].T.astype(np.float64)
    own = units(values, cycle=6, half_life=4.0, scale_half_life=8.0)
    # Each step of the past in units of its own, those ahead in what is known at the origin.
    expected = ((values - own.location[:100]) / own.scale[:100])[origin - past : origin]
    np.testing.assert_allclose(window.target[0, :past], expected.clip(-LARGEST, LARGEST), rtol=1e-4)
    for h in range(CYCLIC.horizon):
        row = origin + h % 6
        near = (values[origin + h] - own.location[row]) / own.scale[row]
        np.testing.assert_allclose(window.target[0, past + h], near, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(window.location[0, h], own.location[row], rtol=1e-5)
        for j, (cycle, half_life) in enumerate(CYCLIC.profiles):
            mean, _ = recent_mean(values, cycle=int(cycle), half_life=half_life)
            away = (mean[origin + h % int(cycle)] - own.location[row]) / own.scale[row]
            np.testing.assert_allclose(window.profiles[0, h, :, j], away, rtol=1e-4, atol=1e-5)


@oracles
def test_the_pattern_is_where_the_last_profile_lay_in_the_last_cycle():
    data, shape = entry(length=100), CYCLIC._replace(profiles=[[6, 1.0], [12, 2.0]])
    values = data["target"].T.astype(np.float64)
    own = units(values, cycle=6, half_life=4.0, scale_half_life=8.0)
    mean, _ = recent_mean(values, cycle=12, half_life=2.0)
    for origin in (60, 63, 20):
        forecast, window = cut_at(data, shape, origin, 100)
        rows = slice(origin - 6, origin)
        away = (mean[rows] - own.location[rows]) / own.scale[rows]
        for batch in (forecast, window):
            np.testing.assert_allclose(batch.pattern[0], away, rtol=1e-4, atol=1e-5)
    # What no long cycle was seen of yet is as expected.
    forecast, _ = cut_at(data, shape, 12, 100)
    assert (forecast.pattern == 0).all()
    daily = shape._replace(cycles=[6], profiles=[[6, 1.0]])
    for other in (STEADY, daily, shape._replace(profiles=[])):
        assert cut_at(data, other, 60, 100)[0].pattern is None


@contracts
def test_a_future_far_out_is_left_where_it_is_and_a_past_drawn_in():
    data, past = entry(length=100), CYCLIC.history_length
    data["target"][0, 55], data["target"][1, 65] = 1e4, -1e4
    forecast, window = cut_at(data, CYCLIC, 60, 100)
    assert forecast.target.abs().max() == window.target[:, :past].abs().max() == LARGEST
    back = window.location + window.scale * window.target[:, past:]
    torch.testing.assert_close(
        back[0], torch.tensor(data["target"].T[60:74]).double(), rtol=1e-5, atol=1e-4
    )


@identities
def test_values_come_back_from_a_window():
    data = entry(length=100)
    _, window = cut_at(data, CYCLIC, 70, 100)
    back = window.location + window.scale * window.target[:, CYCLIC.history_length :]
    torch.testing.assert_close(
        back[0], torch.tensor(data["target"].T[70:84]).double(), rtol=1e-5, atol=1e-5
    )


@invariances
@pytest.mark.parametrize("shape", [CYCLIC, STEADY])
def test_a_window_does_not_see_the_entries_beside_its_own(shape):
    entries = [entry(length=n, seed=n) for n in (30, 71, 44)]
    entries[0]["target"] *= 1e6
    together = windows_of(entries, shape)
    row = 0
    for each in entries:
        alone = windows_of([each], shape)
        inside = (together.starts >= row) & (
            together.starts < row + alone.first + each["target"].shape[1]
        )
        own = together.starts[inside]
        assert torch.equal(own - row, alone.starts)
        assert_equal(together.windows(own), alone.windows(alone.starts))
        row += alone.first + each["target"].shape[1]
    batch = forecast_batch([read_entry(each) for each in entries], shape)
    for i, each in enumerate(entries):
        assert_equal(batch.rows([i]), forecast_batch([read_entry(each)], shape))


@invariances
@pytest.mark.parametrize("shape", [CYCLIC, STEADY])
def test_unit_and_zero_of_the_data_change_only_location_and_scale(shape):
    one = entry(length=90)
    factor, shift = np.array([[4.0], [0.25], [1024.0]]), np.array([[-8.0], [2.0], [512.0]])
    other = {**one, "target": factor * one["target"].astype(np.float64) + shift}
    first, second = (windows_of([each], shape).windows(torch.tensor([90])) for each in (one, other))
    factor, shift = (torch.tensor(v[:, 0], dtype=torch.float32) for v in (factor, shift))
    torch.testing.assert_close(second.target, first.target, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(second.profiles, first.profiles, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(second.pattern, first.pattern, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(second.location, factor * first.location + shift)
    torch.testing.assert_close(second.scale, factor * first.scale, rtol=1e-4, atol=1e-6)


@contracts
@pytest.mark.parametrize("shape", [CYCLIC, STEADY])
def test_odd_series_have_finite_windows(shape):
    target = np.stack([np.zeros(60), np.full(60, 1e6), np.full(60, np.nan)]).astype(np.float32)
    target[1, 40] = 3e17  # an outlier
    data = windows_of([{**entry(), "target": target}], shape)
    batches = [data.windows(data.starts)]
    for length in (0, 1, 2, 7, 60):
        part = {**entry(), "target": target[:, :length]}
        batches.append(forecast_batch([read_entry(part)], shape))
    for batch in batches:
        parts = [part for part in batch._replace(repeated=None) if part is not None]
        assert len(parts) == (8 if shape is CYCLIC else 7)
        for part in parts:
            assert torch.isfinite(part).all()
        assert (batch.target[:, : shape.history_length].abs() <= LARGEST).all()
        assert (batch.scale > 0).all()
        assert not batch.observed[..., 2].any()
        assert (batch.location[..., 2] == 0).all() and (batch.scale[..., 2] == 1).all()


@oracles
def test_a_series_shorter_than_a_cycle_is_as_wide_ahead_as_it_was():
    values = made(10, cycle=6)
    scale = units(values, cycle=24, half_life=4.0, scale_half_life=8.0).scale[10:]
    spread = values.std(axis=0)
    assert (scale > 0.1 * spread).all() and (scale < 10 * spread).all()


# ------------------------------------------------------------------- windows to train on and held out


@contracts
@pytest.mark.parametrize(
    ("length", "first"),
    [
        (200, 24),  # no window of the first cycle
        (101, 24),
        (100, 6),  # unless the series has 4 cycles and a horizon at most
        (10, 6),
        (9, 5),  # a part of a window where there is no whole one
        (5, 1),
        (4, None),
    ],
)
def test_windows_begin_in_the_second_cycle_of_a_series_that_has_enough_of_them(length, first):
    # A history of 24 steps for a cycle of 24, and of 6 for one that is put in its place.
    class Near(Shape):
        history_length = 6

    shape = Near(3, 4, 5, [1], 4, 0, [24], 4.0, 8.0, [])
    data = windows_of([entry(length=length)], shape)
    expected = [] if first is None else list(range(first, length - 4 + 1))
    assert (data.starts - data.first).tolist() == expected
    assert len(data.ends) == (first is not None)


@contracts
@pytest.mark.parametrize("count", [1, 3, 7, 1000])
@pytest.mark.parametrize("lengths", [(100,), (100, 37, 4, 61)])
def test_held_out_windows_share_no_step_with_those_to_train_on(count, lengths):
    data = windows_of([entry(length=n, seed=n) for n in lengths], STEADY)
    rest, held = data.hold_out(count)
    horizon = STEADY.horizon
    assert set(rest.starts.tolist()) <= set(data.starts.tolist())
    ahead_of = lambda starts: {s + h for s in starts.tolist() for h in range(horizon)}  # noqa: E731
    assert not ahead_of(rest.starts) & ahead_of(held)
    assert len(ahead_of(held)) == horizon * len(held)
    # At the end of each series, without a gap, and no more than asked for or than a fifth of it.
    row, expected = 0, []
    for length in lengths:
        row += data.first + length
        windows = min(count, length // (5 * horizon))
        expected += [row - horizon * k for k in range(windows, 0, -1)]
    assert held.tolist() == expected
    # Only windows that end in what is held out, or later, are lost.
    lost = set(data.starts.tolist()) - set(rest.starts.tolist())
    assert all(ahead_of(torch.tensor([s])) & ahead_of(held) for s in lost)


@contracts
def test_data_too_short_to_hold_out_of_is_all_kept():
    data = windows_of([entry(length=24)], STEADY)
    rest, held = data.hold_out(7)
    assert not len(held) and torch.equal(rest.starts, data.starts)
