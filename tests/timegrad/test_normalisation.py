"""Scalers against numpy, and what a forecast's scale must and must not depend on."""

import numpy as np
import pytest
import torch
from groups import contracts, cross_checks, invariances, oracles
from hypothesis import assume, given, settings
from hypothesis import strategies as some

from timediff.registry import NORMALISATIONS
from timediff.timegrad.normalisation.adaptive import units
from timediff.timegrad.normalisation.training import training_default

pytestmark = pytest.mark.usefixtures("float64")

B, T, D = 3, 12, 4
DEFAULT = [[0.5, -1.0, 2.0, 0.0], [1.0, 3.0, 0.2, 7.0]]
every_scaling = pytest.mark.parametrize("name", NORMALISATIONS)
window_scaling = pytest.mark.parametrize("name", ["mean", "std"])


@pytest.fixture
def default():
    return torch.tensor(DEFAULT)


@pytest.fixture
def window():
    """Values of different sizes, about a third missing, at least one known per dimension."""
    x = torch.randn(B, T, D) * torch.tensor([1.0, 10.0, 0.1, 100.0]) + 5
    observed = torch.rand(B, T, D) > 0.3
    observed[:, :2] = True
    return x, observed


def as_nan(x, observed):
    return np.where(observed.numpy(), x.numpy(), np.nan)


@cross_checks
def test_mean_scaling_is_the_mean_observed_size(window, default):
    loc, scale = NORMALISATIONS["mean"](*window, default)
    expected = np.nanmean(np.abs(as_nan(*window)), axis=1, keepdims=True)
    np.testing.assert_allclose(scale.numpy(), expected, rtol=1e-12)
    assert (loc == 0).all()


@cross_checks
def test_std_scaling_standardises_what_was_observed(window, default):
    loc, scale = NORMALISATIONS["std"](*window, default)
    values = as_nan(*window)
    np.testing.assert_allclose(loc.numpy(), np.nanmean(values, axis=1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(scale.numpy(), np.nanstd(values, axis=1, keepdims=True), rtol=1e-12)


@contracts
def test_global_scaling_is_the_default_and_none_the_identity(window, default):
    loc, scale = NORMALISATIONS["global"](*window, default)
    assert torch.equal(loc, default[0].expand(B, 1, D))
    assert torch.equal(scale, default[1].expand(B, 1, D))
    loc, scale = NORMALISATIONS["none"](*window, default)
    assert (loc == 0).all() and (scale == 1).all() and loc.shape == scale.shape == (B, 1, D)


@invariances
@window_scaling
@pytest.mark.parametrize("factor", [3.0, 1e-4, -2.0])
def test_a_series_times_c_has_c_times_the_scale(name, factor, window, default):
    x, observed = window
    loc, scale = NORMALISATIONS[name](x, observed, default)
    loc_c, scale_c = NORMALISATIONS[name](factor * x, observed, default)
    torch.testing.assert_close(scale_c, abs(factor) * scale, rtol=1e-12, atol=0)
    torch.testing.assert_close(loc_c, factor * loc, rtol=1e-12, atol=0)


@invariances
def test_std_scaling_follows_a_shift(window, default):
    x, observed = window
    loc, scale = NORMALISATIONS["std"](x, observed, default)
    shifted_loc, shifted_scale = NORMALISATIONS["std"](x + 100, observed, default)
    torch.testing.assert_close(shifted_loc, loc + 100)
    torch.testing.assert_close(shifted_scale, scale)


@invariances
@every_scaling
def test_neighbours_in_the_batch_do_not_matter(name, window, default):
    x, observed = window
    observed[0, :, 1] = False  # the published code asks the rest of the batch here
    together = NORMALISATIONS[name](x, observed, default)
    for row in range(B):
        alone = NORMALISATIONS[name](x[row : row + 1], observed[row : row + 1], default)
        for part, whole in zip(alone, together, strict=True):
            assert part.shape == (1, 1, D)
            torch.testing.assert_close(part[0], whole[row], rtol=1e-12, atol=0)


@invariances
@every_scaling
def test_unobserved_values_do_not_matter(name, window, default):
    x, observed = window
    other = torch.where(observed, x, 1e6)
    for one, two in zip(
        NORMALISATIONS[name](x, observed, default),
        NORMALISATIONS[name](other, observed, default),
        strict=True,
    ):
        assert torch.equal(one, two)


@invariances
@window_scaling
def test_observed_values_do_matter(name, window, default):
    x, observed = window
    other = x.clone()
    other[1, 0, 2] += 1.0
    changed = (
        NORMALISATIONS[name](x, observed, default)[1]
        != NORMALISATIONS[name](other, observed, default)[1]
    )
    assert changed.nonzero().tolist() == [[1, 0, 2]]


@contracts
@every_scaling
@pytest.mark.parametrize("value", [0.0, 0.1, -1e8])
@pytest.mark.parametrize("known", [0, 1, T])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_and_unseen_dimensions_have_a_usable_scale(name, value, known, dtype, default):
    x = torch.full((B, T, D), value, dtype=dtype)
    observed = torch.zeros(B, T, D, dtype=torch.bool)
    observed[:, :known] = True
    loc, scale = NORMALISATIONS[name](x, observed, default)
    assert loc.isfinite().all() and scale.isfinite().all() and (scale > 0).all()
    if name == "std":
        # Nothing but one value: its spread is not known, so that of the training data answers.
        torch.testing.assert_close(scale, default[1].expand(B, 1, D))


@contracts
@window_scaling
def test_a_dimension_never_seen_takes_the_training_data(name, default):
    x, observed = torch.zeros(B, T, D), torch.zeros(B, T, D, dtype=torch.bool)
    loc, scale = NORMALISATIONS[name](x, observed, default)
    typical = (default[0] ** 2 + default[1] ** 2).sqrt() if name == "mean" else default[1]
    torch.testing.assert_close(scale, typical.expand(B, 1, D))
    torch.testing.assert_close(loc, (0 * loc if name == "mean" else default[0].expand(B, 1, D)))


def training_data():
    """Two usual dimensions with gaps, then constant, all zero and never observed."""
    x = torch.randn(200, 5) * torch.tensor([2.0, 30.0, 0.0, 0.0, 0.0])
    x += torch.tensor([1.0, -100.0, -8.0, 0.0, 5.0])
    observed = torch.rand(200, 5) > 0.2
    observed[:, 4] = False
    return x, observed


@cross_checks
def test_training_default_is_mean_and_deviation_over_all_steps():
    x, observed = training_data()
    loc, scale = training_default(x, observed)
    values = as_nan(x, observed)[:, :2]
    np.testing.assert_allclose(loc[:2].numpy(), np.nanmean(values, axis=0), rtol=1e-12)
    np.testing.assert_allclose(scale[:2].numpy(), np.nanstd(values, axis=0), rtol=1e-12)


@oracles
def test_training_default_of_dimensions_that_say_little():
    x, observed = training_data()
    loc, scale = training_default(x, observed)
    assert loc[2:].tolist() == [-8, 0, 0]
    # Constant ones have their own rounding, whatever the others do.
    assert 0 < scale[2] <= 1e-11 and 0 < scale[3] <= 1e-20
    # Never observed: the median of the scales of the others, 30, 2, 8e-12 and next to nothing.
    assert scale[4] == scale[:4].median()


@invariances
def test_training_default_ignores_what_was_not_observed():
    x, observed = training_data()
    other = torch.where(observed, x, 1e6)
    assert torch.equal(training_default(x, observed), training_default(other, observed))


@invariances
def test_training_default_scales_with_the_data():
    x, observed = training_data()
    torch.testing.assert_close(
        training_default(1000 * x, observed), 1000 * training_default(x, observed)
    )


@contracts
def test_training_default_of_nothing_is_the_identity():
    default = training_default(torch.zeros(10, 3), torch.zeros(10, 3, dtype=torch.bool))
    assert default.tolist() == [[0, 0, 0], [1, 1, 1]]


@cross_checks
def test_training_default_keeps_digits_of_float32_data():
    # Spread 1 on a level of 10,000, where float32 sums of squares have lost it.
    x = (10_000 + torch.randn(50_000, 1)).float()
    _, scale = training_default(x, torch.ones(50_000, 1, dtype=torch.bool))
    assert scale.item() == pytest.approx(x.double().std(correction=0).item(), rel=1e-9)


# ------------------------------------------------------------------------ levels and sizes of any kind

levels = some.floats(-1e15, 1e15, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-15)
sizes = some.floats(1e-15, 1e15)


def scales_of(name, values):
    """Location and scale ``[D]`` of the last step of a series ``[T, D]`` by its own training data."""
    if name == "adaptive":
        found = units(values, cycle=4, half_life=4.0, scale_half_life=8.0)
        return found.location[-1], found.scale[-1]
    x = torch.tensor(values)
    known = torch.ones_like(x, dtype=torch.bool)
    loc, scale = NORMALISATIONS[name](x[None, -12:], known[None, -12:], training_default(x, known))
    return loc[0, 0].numpy(), scale[0, 0].numpy()


@invariances
@every_scaling
@settings(max_examples=50, deadline=None)
@given(level=levels, other=sizes)
def test_a_constant_series_has_its_own_value_and_a_scale_of_its_rounding(name, level, other):
    beside = other * np.random.default_rng(0).normal(size=40)
    loc, scale = scales_of(name, np.stack([np.full(40, level), beside], axis=1))
    assert loc[0] == pytest.approx(level, rel=1e-12, abs=0)
    assert 0 < scale[0] <= 1e-9 * abs(level) + 1e-20


@invariances
@every_scaling
@settings(max_examples=50, deadline=None)
@given(level=levels, share=some.floats(1e-10, 1e-3))
def test_a_series_that_hardly_moves_has_its_own_spread(name, level, share):
    assume(level != 0)
    noise = np.random.default_rng(1).normal(size=(40, 1))
    loc, scale = scales_of(name, level * (1 + share * noise))
    assert 0.2 < scale[0] / (share * abs(level)) < 5
    assert abs(loc[0] - level) < 5 * share * abs(level)


@invariances
@pytest.mark.parametrize("name", [name for name in NORMALISATIONS if name != "none"])
@settings(max_examples=50, deadline=None)
@given(factor=sizes)
def test_location_and_scale_follow_any_factor(name, factor):
    values = 3 + np.random.default_rng(2).normal(size=(40, 2))
    for one, two in zip(scales_of(name, values), scales_of(name, factor * values), strict=True):
        np.testing.assert_allclose(two, factor * one, rtol=1e-9)


@invariances
@pytest.mark.parametrize("name", ["adaptive", "std", "global"])
@settings(max_examples=50, deadline=None)
@given(shift=some.floats(-1e9, 1e9))
def test_location_follows_any_shift_and_the_scale_does_not(name, shift):
    values = np.random.default_rng(3).normal(size=(40, 2))
    (loc, scale), (far, same) = (scales_of(name, values + by) for by in (0.0, shift))
    np.testing.assert_allclose(far - shift, loc, rtol=0, atol=1e-4)
    np.testing.assert_allclose(same, scale, rtol=1e-2)


@invariances
@settings(max_examples=20, deadline=None)
@given(level=levels, moved=some.floats(-1e6, 1e6))
def test_a_series_that_was_constant_in_training_has_the_location_of_its_window(level, moved):
    known = torch.ones(40, 1, dtype=torch.bool)
    default = training_default(torch.full((40, 1), level, dtype=torch.float64), known)
    window = torch.full((1, 12, 1), moved, dtype=torch.float64)
    loc, _ = NORMALISATIONS["global"](window, known[None, :12], default)
    assert loc.item() == pytest.approx(moved, rel=1e-12, abs=1e-300)


@invariances
@settings(max_examples=20, deadline=None)
@given(level=levels)
def test_an_adaptive_location_of_one_value_is_this_value_to_the_last_digit(level):
    found = units(np.full((60, 1), level), cycle=4, half_life=3.7, scale_half_life=8.0)
    assert (found.location[4:] == level).all()
