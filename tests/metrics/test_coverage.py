"""Coverage of central intervals: that of a perfect forecast, over every place of the truth, and with ties."""

import re

import numpy as np
import pytest
from groups import contracts, cross_checks, invariances, oracles

from timediff import metrics
from timediff.errors import InputError

LEVELS = (0.1, 0.5, 0.9, 0.99, 1.0)
POOLS = {
    "no ties": lambda rng, size: rng.normal(size=size),
    "all tied": lambda rng, size: np.zeros(size),
    "mostly zero": lambda rng, size: np.maximum(rng.normal(-0.5, size=size), 0),
    "few counts": lambda rng, size: rng.poisson(1.5, size=size).astype(float),
}


def over_every_place(function, pool, level):
    """Mean coverage over the members of a pool, each as the truth and the others as the paths."""
    paths = np.stack([np.delete(pool, i) for i in range(len(pool))])[
        ..., None, None
    ]  # [S + 1, S, 1, 1]
    return function(paths, pool[:, None, None], level=level).mean()


# --- perfect forecasts ------------------------------------------------------------------------


@oracles
@pytest.mark.parametrize("members", [1, 2, 3, 10, 19, 100])
@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("level", LEVELS)
def test_coverage_by_rank_of_exchangeable_draws_is_the_closed_form(members, kind, level):
    # Of a pool of exchangeable truth and paths each member is the truth as often as another: over all of them
    # the equality is exact, for every pool.
    pool = POOLS[kind](np.random.default_rng(members), members + 1)
    share = over_every_place(metrics.covered_by_rank, pool, level)
    expected = metrics.expected_coverage(level, num_samples=members)
    assert share == pytest.approx(expected, abs=1e-12)


@oracles
@pytest.mark.parametrize(
    "members, level", [(1, 0.9), (3, 0.5), (9, 0.9), (19, 0.9), (99, 0.98), (100, 1.0)]
)
def test_plain_coverage_without_ties_is_the_closed_form_where_the_ends_are_paths(members, level):
    pool = np.random.default_rng(0).normal(size=members + 1)
    share = over_every_place(metrics.covered, pool, level)
    expected = metrics.expected_coverage(level, num_samples=members)
    assert share == pytest.approx(expected, abs=1e-12)


@oracles
@pytest.mark.parametrize("members", [10, 20, 100])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_plain_coverage_is_within_two_places_of_the_closed_form_where_the_ends_lie_between_paths(
    members, level
):
    expected = metrics.expected_coverage(level, num_samples=members)
    for seed in range(20):
        pool = np.random.default_rng(seed).standard_t(1, size=members + 1)
        share = over_every_place(metrics.covered, pool, level)
        assert abs(share - expected) < 2 / (members + 1)


@oracles
@pytest.mark.parametrize("function", [metrics.covered, metrics.covered_by_rank])
@pytest.mark.parametrize("members", [10, 100])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_coverage_of_simulated_uniform_forecasts_is_the_closed_form(function, members, level):
    count = 40_000
    draws = np.random.default_rng(1).random((members + 1, count, 1))
    expected = metrics.expected_coverage(level, num_samples=members)
    share = function(draws[1:], draws[0], level=level).mean()
    assert abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / count)


@oracles
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_zeros_lift_the_plain_coverage_of_a_perfect_forecast_and_not_that_by_rank(level):
    count, members = 20_000, 100
    draws = POOLS["mostly zero"](np.random.default_rng(2), (members + 1, count, 1))
    assert 0.6 < (draws == 0).mean() < 0.8
    expected = metrics.expected_coverage(level, num_samples=members)
    error = np.sqrt(level * (1 - level) / count)
    by_rank = metrics.covered_by_rank(draws[1:], draws[0], level=level).mean()
    plain = metrics.covered(draws[1:], draws[0], level=level).mean()
    assert abs(by_rank - expected) < 5 * error
    assert plain > expected + 10 * error


@oracles
def test_paths_that_are_too_narrow_cover_less_and_too_wide_more():
    rng = np.random.default_rng(3)
    truth, paths = rng.normal(size=(4000, 1)), rng.normal(size=(100, 4000, 1))
    for level in (0.5, 0.9):
        shares = [
            metrics.covered_by_rank(spread * paths, truth, level=level).mean()
            for spread in (0.7, 1, 1.4)
        ]
        aim, error = metrics.expected_coverage(level, num_samples=100), 0.5 / np.sqrt(4000)
        assert shares[0] < aim - 5 * error and shares[2] > aim + 5 * error
        assert abs(shares[1] - aim) < 5 * error


# --- by hand, and by other ways ---------------------------------------------------------------


@oracles
def test_coverage_by_rank_by_hand():
    # The 50 % interval of 4 paths is from place 1.25 to 3.75 of 5.
    paths = np.array([1.0, 2.0, 2.0, 5.0]).reshape(4, 1, 1)
    values = [
        metrics.covered_by_rank(paths, np.full((1, 1), y), level=0.5).item()
        for y in (0, 1.5, 2, 3, 9)
    ]
    assert values == pytest.approx([0, 0.75, 2.5 / 3, 0.75, 0])


@oracles
def test_expected_coverage_by_hand():
    cases = {
        (0.9, 100): 0.9,
        (0.99, 100): 99 / 101,
        (0.9, 10): 9 / 11,
        (0.5, 3): 0.5,
        (0.5, 1): 0.0,
    }
    for (level, members), expected in cases.items():
        assert metrics.expected_coverage(level, num_samples=members) == pytest.approx(expected)


@cross_checks
@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_coverage_by_rank_is_the_mean_over_random_ranks(kind, level):
    rng = np.random.default_rng(4)
    draws, times, members = POOLS[kind](rng, (21, 30, 1)), 4000, 20
    ranks = np.stack([metrics.pit(draws[1:], draws[0], rng=rng) for _ in range(times)])
    # The interval never goes beyond the outermost paths.
    low = max((1 - level) / 2, 1 / (members + 1))
    shares = ((low <= ranks) & (ranks <= 1 - low)).mean(axis=0)
    ours = metrics.covered_by_rank(draws[1:], draws[0], level=level)
    assert np.abs(shares - ours).max() < 5 * np.sqrt(0.25 / times)


@cross_checks
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_intervals_of_numpys_default_quantile_are_those_of_a_lower_level(level):
    paths = np.random.default_rng(5).normal(size=(100, 6, 2))
    theirs = np.quantile(paths, [(1 - level) / 2, (1 + level) / 2], axis=0)
    ours = metrics.central_interval(paths, level=level * 99 / 101)
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


@invariances
def test_coverage_by_rank_knows_no_units_order_or_luck():
    rng = np.random.default_rng(6)
    paths, truth = np.round(rng.normal(size=(3, 30, 5, 4))), np.round(rng.normal(size=(3, 5, 4)))
    truth[0, 2] = np.nan
    ours = metrics.covered_by_rank(paths, truth, level=0.6)
    again = metrics.covered_by_rank(8 * rng.permuted(paths, axis=1), 8 * truth, level=0.6)
    np.testing.assert_array_equal(ours, again)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(truth))


@contracts
@pytest.mark.parametrize(
    "bad",
    [
        lambda: metrics.expected_coverage(90, num_samples=100),
        lambda: metrics.expected_coverage(0.9, num_samples=0),
        lambda: metrics.covered_by_rank(np.zeros((3, 2, 1)), np.zeros((2, 1)), level=0.0),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(bad):
    with pytest.raises(InputError) as caught:
        bad()
    assert re.fullmatch(r"[^A-Z].*[^.]", str(caught.value))
