"""Paired comparisons: closed forms, size and power of the test, coverage of the intervals, symmetries."""

import json
import math

import numpy as np
import pytest
from groups import contracts, cross_checks, identities, invariances, oracles
from scipy import stats

from timediff.errors import InputError
from timediff.metrics import paired as comparison
from timediff.metrics.paired import (
    bootstrap_intervals,
    compare,
    diebold_mariano,
    needed,
    overlapping,
)


def losses(windows=40, seed=0, gain=0.1):
    """Losses of a model and of a worse one in the same windows, some of them hard for both."""
    rng = np.random.default_rng(seed)
    hard = rng.gamma(2.0, size=windows)
    return 1 + hard + 0.3 * rng.random(windows), 1 + gain + hard + 0.3 * rng.random(windows)


def moving_sums(rng, runs, windows, overlap):
    """Standard normal series ``[runs, W]`` in which a value depends on those of the next ``overlap``."""
    noise = rng.normal(size=(runs, windows + overlap))
    parts = [noise[:, k : k + windows] for k in range(overlap + 1)]
    return np.sum(parts, axis=0) / np.sqrt(overlap + 1)


def rejections(series, *, overlap):
    return np.mean([diebold_mariano(one, overlap=overlap)[1] < 0.05 for one in series])


# --- the test -----------------------------------------------------------------------------------


@cross_checks
@pytest.mark.parametrize("windows", [30, 57])
def test_without_overlap_it_is_the_paired_t_test(windows):
    a, b = losses(windows)
    found = compare(a, b)
    expected = stats.ttest_rel(a, b)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-10)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)


@cross_checks
@pytest.mark.parametrize("overlap", [1, 3])
def test_with_overlap_it_is_the_published_formula(overlap):
    # Diebold and Mariano's statistic and Harvey's correction, written as in the papers.
    d = moving_sums(np.random.default_rng(3), 1, 50, overlap)[0] + 0.2
    n, h, mean = len(d), overlap + 1, sum(d) / len(d)
    gammas = [
        sum((d[t] - mean) * (d[t - k] - mean) for t in range(k, n)) / n for k in range(overlap + 1)
    ]
    variance = (gammas[0] + 2 * sum(gammas[1:])) / n
    expected = mean / math.sqrt(variance) * math.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    statistic, p_value, kernel = diebold_mariano(d, overlap=overlap)
    assert statistic == pytest.approx(expected, rel=1e-10)
    assert p_value == pytest.approx(2 * stats.t.sf(abs(expected), n - 1), rel=1e-9)
    assert kernel == "rectangular"


@oracles
def test_a_variance_that_is_not_positive_gives_way_to_newey_and_west():
    # Differences that alternate: gamma_0 = 1 and gamma_1 = -(n - 1) / n, so 1 + 2 gamma_1 < 0 and
    # 1 + gamma_1 = 1 / n. An offset of the mean of 0.1 leaves them as they are.
    n = 40
    d = np.where(np.arange(n) % 2, 1.0, -1.0) + 0.1
    statistic, _, kernel = diebold_mariano(d, overlap=1)
    assert kernel == "bartlett"
    assert statistic == pytest.approx(0.1 / (1 / n) * math.sqrt((n - 3 + 2 / n) / n), rel=1e-9)


@oracles
@pytest.mark.parametrize(("windows", "overlap"), [(30, 0), (60, 1), (200, 2)])
def test_equal_models_are_told_apart_in_five_per_cent_of_cases(windows, overlap):
    runs = 2000
    series = moving_sums(np.random.default_rng(windows), runs, windows, overlap)
    rate = rejections(series, overlap=overlap)
    assert abs(rate - 0.05) < 5 * math.sqrt(0.05 * 0.95 / runs)


@oracles
@pytest.mark.parametrize("overlap", [1, 5, 11])
def test_as_many_windows_as_are_asked_for_keep_the_test_near_its_size(overlap):
    runs, windows = 1000, needed(overlap)
    series = moving_sums(np.random.default_rng(overlap), runs, windows, overlap)
    assert rejections(series, overlap=overlap) < 0.08 + 5 * math.sqrt(0.08 * 0.92 / runs)
    too_few = series[:, : 3 * (overlap + 1)]
    assert overlap == 1 or rejections(too_few, overlap=overlap) > 0.15


@oracles
def test_overlap_that_is_not_told_makes_the_test_reject_too_often():
    runs = 2000
    series = moving_sums(np.random.default_rng(1), runs, 200, 2)
    assert rejections(series, overlap=0) > 0.05 + 5 * math.sqrt(0.05 * 0.95 / runs)


@oracles
@pytest.mark.parametrize("effect", [0.3, 0.6])
def test_power_is_that_of_the_t_test(effect):
    runs, windows = 2000, 30
    series = effect + np.random.default_rng(5).normal(size=(runs, windows))
    bound, shift = stats.t.isf(0.025, windows - 1), effect * math.sqrt(windows)
    power = stats.nct.sf(bound, windows - 1, shift) + stats.nct.cdf(-bound, windows - 1, shift)
    rate = rejections(series, overlap=0)
    assert abs(rate - power) < 5 * math.sqrt(power * (1 - power) / runs)


# --- the intervals ------------------------------------------------------------------------------


def coverage(windows, overlap, *, told, runs):
    """Shares of runs in which the intervals hold the true difference, 0, and the true ratio, 1."""
    rng = np.random.default_rng([windows, overlap])
    a = 5 + moving_sums(rng, runs, windows, overlap)
    b = 5 + moving_sums(rng, runs, windows, overlap)
    inside = np.zeros(2)
    for k in range(runs):
        difference, ratio = bootstrap_intervals(a[k], b[k], overlap=told, seed=k)
        inside += [difference[0] <= 0 <= difference[1], ratio[0] <= 1 <= ratio[1]]
    return inside / runs


@oracles
@pytest.mark.parametrize(("windows", "overlap"), [(30, 0), (60, 1), (100, 3)])
def test_intervals_hold_the_truth_as_often_as_they_say(windows, overlap):
    runs = 500
    shares = coverage(windows, overlap, told=overlap, runs=runs)
    assert (np.abs(shares - 0.95) < 5 * math.sqrt(0.05 * 0.95 / runs)).all()


@oracles
def test_intervals_are_too_narrow_where_overlap_is_not_told():
    shares = coverage(100, 3, told=0, runs=200)
    assert (shares < 0.95 - 5 * math.sqrt(0.05 * 0.95 / 200)).all()


@cross_checks
@pytest.mark.parametrize("windows", [30, 200])
def test_the_interval_of_normal_differences_is_students(windows):
    d = np.random.default_rng(2).normal(size=windows)
    low, high = bootstrap_intervals(d, np.zeros(windows))[0]
    error = d.std(ddof=1) / math.sqrt(windows)
    expected = d.mean() + stats.t.ppf([0.025, 0.975], windows - 1) * error
    # The error of an order statistic of 9999 is sqrt(.025 * .975 / 9999) / density; that of the
    # differences' own shape comes on top and falls with the number of windows.
    noise = 5 * math.sqrt(0.025 * 0.975 / 9999) / stats.norm.pdf(stats.norm.ppf(0.025))
    assert abs(np.array([low, high]) - expected).max() < (noise + 3 / windows) * error


@oracles
@pytest.mark.parametrize(("windows", "overlap", "block"), [(30, 1, 6), (60, 2, 12)])
def test_blocks_cost_degrees_of_freedom_and_no_width(windows, overlap, block):
    # Of independent differences with variance 1, half the width of an interval is on average, in the square,
    # t^2 / W, with t of Student's distribution with 3 W / 2 l degrees of freedom.
    rng, runs = np.random.default_rng(windows), 300
    widths = []
    for k in range(runs):
        d = rng.normal(size=windows)
        low, high = bootstrap_intervals(d, np.zeros(windows), overlap=overlap, seed=k)[0]
        widths.append(((high - low) / 2) ** 2)
    expected = stats.t.ppf(0.975, 1.5 * windows / block) ** 2 / windows
    error = np.std(widths) / math.sqrt(runs)
    assert abs(np.mean(widths) - expected) < 5 * error
    assert 5 * error < 0.2 * expected


@oracles
def test_the_interval_of_a_ratio_that_is_the_same_everywhere_is_a_point():
    b = 1 + np.random.default_rng(0).random(50)
    found = compare(0.75 * b, b)
    assert found.ratio_interval == pytest.approx((0.75, 0.75), rel=1e-12)
    assert found.difference_interval[0] < found.difference < found.difference_interval[1]


# --- what must not matter -----------------------------------------------------------------------


@identities
@pytest.mark.parametrize("overlap", [0, 2])
def test_exchanging_the_models_turns_the_result_round(overlap):
    a, b = losses(60)
    one, other = compare(a, b, overlap=overlap), compare(b, a, overlap=overlap)
    assert other.difference == -one.difference
    assert other.statistic == pytest.approx(-one.statistic, rel=1e-12)
    assert other.p_value == pytest.approx(one.p_value, rel=1e-10)
    assert other.ratio == pytest.approx(1 / one.ratio, rel=1e-14)
    assert other.difference_interval == pytest.approx([-x for x in one.difference_interval[::-1]])
    assert other.ratio_interval == pytest.approx([1 / x for x in one.ratio_interval[::-1]])
    assert one.wins + other.wins == one.windows


@invariances
def test_the_unit_of_the_losses_does_not_matter():
    a, b = losses()
    one, scaled = compare(a, b, overlap=1), compare(1e6 * a, 1e6 * b, overlap=1)
    for name in ("statistic", "p_value", "ratio", "ratio_interval", "wins", "kernel"):
        expected = getattr(one, name)
        exact = name == "kernel"
        assert getattr(scaled, name) == (expected if exact else pytest.approx(expected, rel=1e-9))
    assert scaled.difference == pytest.approx(1e6 * one.difference, rel=1e-9)
    assert scaled.difference_interval == pytest.approx(
        [1e6 * x for x in one.difference_interval], rel=1e-9
    )


@invariances
def test_what_is_hard_for_both_does_not_matter_to_the_difference():
    a, b = losses()
    hard = np.random.default_rng(9).gamma(3.0, size=len(a))
    one, other = compare(a, b), compare(a + hard, b + hard)
    assert other.statistic == pytest.approx(one.statistic, rel=1e-9)
    assert other.difference_interval == pytest.approx(one.difference_interval, rel=1e-9)


@invariances
def test_the_order_of_windows_matters_only_where_they_overlap():
    a, b = losses(60)
    order = np.random.default_rng(1).permutation(len(a))
    one, other = compare(a, b), compare(a[order], b[order])
    assert other.p_value == pytest.approx(one.p_value, rel=1e-9)
    one, other = compare(a, b, overlap=2), compare(a[order], b[order], overlap=2)
    assert abs(other.p_value / one.p_value - 1) > 1e-3


# --- promises -----------------------------------------------------------------------------------


@contracts
def test_below_thirty_windows_there_are_only_differences():
    a, b = losses(29)
    found = compare(a, b)
    assert found.too_few and found.p_value is None and found.ratio_interval is None
    assert found.differences == pytest.approx(a - b)
    assert found.as_text().startswith("too few windows (29 < 30)")
    assert not {"p_value", "statistic", "ratio_interval"} & found.as_dict().keys()
    a, b = losses(30)
    found = compare(a, b)
    assert not found.too_few and found.p_value is not None
    assert "too few" not in found.as_text()


@contracts
def test_windows_that_overlap_much_must_be_more():
    overlap = overlapping(prediction_length=24, stride=1)
    assert needed(0) == 30 and needed(1) == 40
    assert overlap == 23 and needed(overlap) == 480
    assert [overlapping(prediction_length=24, stride=s) for s in (24, 23, 12, 30)] == [0, 1, 1, 0]
    assert compare(*losses(479), overlap=overlap).too_few
    assert compare(*losses(480), overlap=overlap).p_value is not None


@contracts
def test_windows_without_truth_are_left_out_but_keep_their_place():
    a, b = losses(33)
    a[[0, 7]] = b[[0, 7]] = np.nan
    found = compare(a, b)
    known = ~np.isnan(a)
    assert found.windows == 31 and not found.too_few
    assert found.ratio == pytest.approx(a[known].mean() / b[known].mean())
    assert found.statistic == compare(a[known], b[known]).statistic
    assert [k for k, one in enumerate(found.as_dict()["differences"]) if one is None] == [0, 7]


@contracts
def test_the_dictionary_is_strict_json_whatever_the_losses():
    a, b = losses()
    for pair in ((a, b), (a, a), (a + 1, a), (a - a, a - a), (a[:3], b[:3])):
        json.dumps(compare(*pair).as_dict(), allow_nan=False)


@oracles
def test_models_that_do_not_differ():
    a, _ = losses()
    found = compare(a, a)
    assert (found.statistic, found.p_value, found.ratio, found.wins) == (0.0, 1.0, 1.0, 0)
    assert found.difference_interval == (0.0, 0.0)
    ever = np.full(40, 2.0)
    found = compare(ever, 2 * ever)
    assert (found.statistic, found.p_value, found.ratio) == (-math.inf, 0.0, 0.5)


@oracles
def test_the_line_of_a_table():
    # The differences are a quarter of b, whose mean is 1.4875 and whose variance is 40 * 41 / 12 / 40^2.
    b = 1 + np.arange(40) / 40
    assert compare(0.75 * b, b).as_text() == (
        "ratio 0.750 (95% 0.750 .. 0.750), DM -32.19, p < 0.001, better in 40 of 40 windows"
    )


@contracts
def test_the_same_seed_gives_the_same_intervals():
    a, b = losses()
    assert compare(a, b, seed=4) == compare(a, b, seed=4)
    assert compare(a, b, seed=4).ratio_interval != compare(a, b, seed=5).ratio_interval


@contracts
@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        (np.ones(3), np.ones(4), {}, r"shapes are \(3,\) and \(4,\)"),
        (np.ones((3, 2)), np.ones((3, 2)), {}, "one loss per window"),
        ([1.0, np.nan], [1.0, 2.0], {}, "window 1 has the losses nan and 2"),
        ([1.0, np.inf], [1.0, 2.0], {}, "window 1 has the losses inf and 2"),
        ([np.nan], [np.nan], {}, "nothing to compare"),
        ([], [], {}, "nothing to compare"),
        ([1.0], [1.0], {"overlap": -1}, "overlap is -1"),
        ([1.0], [1.0], {"overlap": 1.5}, "overlap is 1.5"),
    ],
)
def test_bad_input_is_named(a, b, options, message):
    with pytest.raises(InputError, match=message):
        compare(a, b, **options)


@oracles
def test_a_ratio_to_losses_that_are_not_positive_is_not_defined():
    a, b = losses()
    found = compare(a, b - 2 * b.mean())
    assert math.isnan(found.ratio) and all(map(math.isnan, found.ratio_interval))
    assert np.isfinite(found.difference_interval).all()


@cross_checks
def test_resamples_are_blocks_of_windows_in_a_row():
    values = 2.0 ** np.arange(6)
    for length in (1, 4, 6):
        expected = [sum(values[(s + k) % 6] for k in range(length)) for s in range(6)]
        assert comparison._block_sums(values, length).tolist() == expected
