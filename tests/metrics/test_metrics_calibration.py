"""Coverage, ranks and reliability: uniform and nominal for calibrated forecasts, and cases by hand."""

import re

import numpy as np
import pytest
from groups import contracts, cross_checks, invariances, oracles

from timediff import metrics
from timediff.errors import InputError


def correlated(shape, *, rho=0.7, seed=0):
    """Normal vectors ``[*shape, 4]`` with the same correlation everywhere."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(*shape, 1))
    return np.sqrt(rho) * common + np.sqrt(1 - rho) * rng.normal(size=(*shape, 4))


def assert_uniform(ranks, *, independent=None, bins=8):
    """Every bin within five standard errors; ``independent`` says how many values count as such."""
    ranks = ranks[~np.isnan(ranks)]
    count = ranks.size if independent is None else independent
    error = np.sqrt((1 / bins) * (1 - 1 / bins) / count)
    assert np.abs(metrics.rank_histogram(ranks, bins=bins) - 1 / bins).max() < 5 * error
    assert 0 < ranks.min() and ranks.max() < 1


# --- calibrated forecasts ---------------------------------------------------------------------


@oracles
@pytest.mark.parametrize("members", [1, 2, 19])
@pytest.mark.parametrize("kind", ["normal", "few counts", "mostly zero"])
def test_pit_of_a_truth_drawn_like_the_paths_is_uniform(members, kind):
    rng = np.random.default_rng(1)
    draw = {
        "normal": lambda size: rng.normal(size=size),
        "few counts": lambda size: rng.poisson(1.0, size=size),
        "mostly zero": lambda size: np.maximum(rng.normal(-1.0, size=size), 0),
    }[kind]
    draws = draw((members + 1, 5000, 2))
    assert_uniform(metrics.pit(draws[1:], draws[0], rng=rng))


@oracles
@pytest.mark.parametrize("function", [metrics.average_rank, metrics.band_depth_rank])
@pytest.mark.parametrize("kind", ["normal", "rounded"])
def test_ranks_of_a_vector_drawn_like_the_paths_are_uniform(function, kind):
    draws = correlated((10, 5000))
    if kind == "rounded":
        draws = np.round(draws)
    assert_uniform(function(draws[1:], draws[0], rng=np.random.default_rng(2)))


@oracles
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("kind", ["normal", "heavy tails"])
def test_whole_paths_are_covered_as_often_as_the_level_says(level, kind):
    windows, members = 1500, 99
    rng = np.random.default_rng(3)
    draws = correlated((windows, members + 1, 6))
    if kind == "heavy tails":
        draws /= np.sqrt(rng.chisquare(4, size=(windows, members + 1, 1, 1)) / 4)
    share = metrics.covered_jointly(draws[:, 1:], draws[:, 0], level=level).mean()
    assert abs(share - level) < 5 * np.sqrt(level * (1 - level) / windows)


@oracles
def test_reliability_of_a_truth_drawn_like_the_paths_is_the_diagonal():
    levels = np.array([0.05, 0.3, 0.5, 0.9])
    draws = np.random.default_rng(4).gamma(1.0, size=(20, 20_000, 1))
    share = metrics.reliability(draws[1:], draws[0], levels=levels)
    assert (np.abs(share - levels) < 5 * np.sqrt(levels * (1 - levels) / 20_000)).all()


# --- wrong forecasts are seen -----------------------------------------------------------------


@oracles
def test_average_rank_sees_a_correlation_that_the_paths_lack():
    # Marginals are right, so that no PIT can tell; the sum of the truth varies more than the paths'.
    truth, paths = correlated((4000,)), correlated((19, 4000), rho=0.0, seed=5)
    rng = np.random.default_rng(6)
    assert_uniform(metrics.pit(paths, truth, rng=rng), independent=4000)
    histogram = metrics.rank_histogram(metrics.average_rank(paths, truth, rng=rng), bins=8)
    error = np.sqrt(1 / 8 * 7 / 8 / 4000)
    assert min(histogram[0], histogram[-1]) > 1 / 8 + 5 * error
    depth = metrics.rank_histogram(metrics.band_depth_rank(paths, truth, rng=rng), bins=8)
    assert depth[0] > 1 / 8 + 5 * error


@oracles
def test_a_band_around_independent_steps_misses_a_truth_further_out():
    rng = np.random.default_rng(7)
    paths, truth = rng.normal(size=(300, 99, 5, 2)), 1.5 * rng.normal(size=(300, 5, 2))
    assert metrics.covered_jointly(paths, truth, level=0.9).mean() < 0.7


# --- by hand ----------------------------------------------------------------------------------


class Half:
    """A generator without luck: shares of one half, nothing permuted."""

    def random(self, shape=None):
        return 0.5 if shape is None else np.full(shape, 0.5)

    def permutation(self, count):
        return np.arange(count)


@oracles
def test_pit_by_hand():
    paths = np.array([1.0, 2.0, 2.0, 5.0]).reshape(4, 1, 1)
    values = [metrics.pit(paths, np.full((1, 1), y), rng=Half()).item() for y in (0, 2, 3, 9)]
    assert values == pytest.approx([0.1, (1 + 1.5) / 5, 0.7, 0.9])


@oracles
def test_ranks_by_hand():
    # Ranks of the truth from 0: 2 and 0; of the paths: 0 1, 1 2, 3 3. Sums 2, 1, 3, 6.
    truth = np.array([[3.0, 0.0]])
    paths = np.array([[1.0, 1.0], [2.0, 2.0], [4.0, 3.0]])[:, None]
    average = metrics.average_rank(paths, truth, rng=Half())
    assert average.item() == pytest.approx(1.5 / 4)
    # Depth r (3 - r): truth 2 + 0, paths 0 + 2, 2 + 2, 0 + 0: one below, two equal.
    depth = metrics.band_depth_rank(paths, truth, rng=Half())
    assert depth.item() == pytest.approx((1 + 0.5 * 2) / 4)


@oracles
def test_rank_histogram_by_hand():
    ranks = np.array([0.0, 0.1, 0.3, np.nan, 1.0])
    np.testing.assert_allclose(metrics.rank_histogram(ranks, bins=4), [0.5, 0.25, 0.0, 0.25])
    assert np.isnan(metrics.rank_histogram([np.nan], bins=3)).all()


@oracles
def test_reliability_and_sharpness_of_a_uniform_grid():
    paths = np.broadcast_to(np.arange(1.0, 100.0)[:, None, None], (99, 200, 1))
    truth = np.linspace(0.25, 99.75, 200)[:, None]
    share = metrics.reliability(paths, truth, levels=[0.1, 0.5, 0.99])
    np.testing.assert_allclose(share, [0.1, 0.5, 0.99], atol=0.005)
    assert metrics.sharpness(paths, level=0.5) == pytest.approx(50)


@cross_checks
def test_band_equals_a_naive_rewrite():
    draws = correlated((40, 12, 3))
    paths, truth = draws[:, 1:], draws[:, 0]
    members = paths.shape[1]
    for level in (0.5, 0.8):
        inside = []
        for x, y in zip(paths, truth, strict=True):
            reach = []
            for i in range(members):
                others = np.delete(x, i, axis=0)
                reach.append((abs(x[i] - others.mean(0)) / others.std(0, ddof=1)).max())
            width = np.quantile(reach, level, method="weibull") * x.std(0, ddof=1)
            inside.append((abs(y - x.mean(0)) <= width).all())
        np.testing.assert_array_equal(metrics.covered_jointly(paths, truth, level=level), inside)


# --- gaps, order, refusals --------------------------------------------------------------------


@invariances
def test_missing_entries_are_no_part_of_a_rank_or_band():
    draws = correlated((8, 30, 2))
    paths, truth = draws[:, 1:], draws[:, 0].copy()
    truth[:, :, 2] = np.nan
    others = [0, 1, 3]
    for function in (metrics.average_rank, metrics.band_depth_rank):
        ranks = function(paths, truth, rng=np.random.default_rng(8))
        expected = function(paths[..., others], truth[..., others], rng=np.random.default_rng(8))
        np.testing.assert_array_equal(ranks, expected)
    inside = metrics.covered_jointly(paths, truth, level=0.5)
    expected = metrics.covered_jointly(paths[..., others], truth[..., others], level=0.5)
    np.testing.assert_array_equal(inside, expected)
    share = metrics.reliability(paths, truth, levels=[0.5])
    assert share == metrics.reliability(paths[..., others], truth[..., others], levels=[0.5])
    truth[3] = np.nan
    assert np.isnan(metrics.covered_jointly(paths, truth, level=0.5)[3])
    assert np.isnan(metrics.average_rank(paths, truth, rng=np.random.default_rng(8))[3]).all()
    pit = metrics.pit(paths, truth, rng=np.random.default_rng(8))
    np.testing.assert_array_equal(np.isnan(pit), np.isnan(truth))


@invariances
def test_units_order_of_members_and_seeds():
    draws = correlated((5, 30, 4))
    paths, truth = draws[:, 1:], draws[:, 0]
    units = np.array([1e-3, 1.0, 5.0, 1e6])
    inside = metrics.covered_jointly(paths, truth, level=0.6)
    changed = metrics.covered_jointly(paths[:, ::-1] * units, truth * units, level=0.6)
    np.testing.assert_array_equal(inside, changed)
    for function in (metrics.pit, metrics.average_rank, metrics.band_depth_rank):
        one, same, scaled = (
            function(paths * u, truth * u, rng=np.random.default_rng(9)) for u in (1, 1, units)
        )
        np.testing.assert_array_equal(one, same)
        np.testing.assert_array_equal(one, scaled)


@contracts
@pytest.mark.parametrize(
    "bad",
    [
        lambda x, y: metrics.covered_jointly(x[:, :2], y, level=0.9),
        lambda x, y: metrics.covered_jointly(x, y, level=1.5),
        lambda x, y: metrics.reliability(x, y, levels=[0.0]),
        lambda x, y: metrics.rank_histogram(y),
        lambda x, y: metrics.rank_histogram([0.5], bins=0),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(bad):
    draws = correlated((3, 9, 2))
    with pytest.raises(InputError) as caught:
        bad(draws[:, 1:], draws[:, 0])
    assert re.fullmatch(r"[^A-Z].*[^.]", str(caught.value))


@contracts
def test_a_path_far_from_all_others_leaves_a_band():
    # Without this path the others agree exactly: its deviation from them is infinite.
    paths = np.zeros((20, 1, 1))
    paths[0] = 1.0
    inside = [
        metrics.covered_jointly(paths, np.full((1, 1), y), level=0.9).item() for y in (0.0, 5.0)
    ]
    assert inside == [1.0, 0.0]
