"""Scores against closed forms, two other libraries, GluonTS's evaluators, and their own invariances."""

import re
import tracemalloc
from statistics import NormalDist

import numpy as np
import pandas as pd
import properscoring
import pytest
import scoringrules
from gluonts.dataset.split import split
from gluonts.ev.metrics import ND, NRMSE, MeanWeightedSumQuantileLoss
from gluonts.evaluation import MultivariateEvaluator
from gluonts.model.evaluation import evaluate_forecasts
from gluonts.model.forecast import SampleForecast
from groups import contracts, cross_checks, identities, invariances, oracles
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import skewed_forecasts

from timediff import metrics
from timediff.errors import InputError
from timediff.registry import METRICS

W, S, T, D = 3, 100, 6, 4
#: Unit of MASE and MSIS, on the scales of `forecasts`.
SEASONAL = 2.0 * 10.0 ** np.arange(D)


def forecasts(seed=0, *, missing=0.0, members=S):
    return skewed_forecasts((W, members, T, D), seed, missing=missing)


# --- closed forms and small cases by hand -----------------------------------------------------


@oracles
def test_crps_of_a_small_ensemble_by_hand():
    paths = np.array([0.0, 0.0, 1.0]).reshape(3, 1, 1)
    assert metrics.crps_ensemble(paths, np.zeros((1, 1))) == pytest.approx(1 / 9, abs=1e-15)
    assert metrics.energy_score(paths, np.zeros((1, 1))) == pytest.approx(1 / 9, abs=1e-15)


@oracles
@pytest.mark.parametrize("observation", [-1.5, 0.0, 0.7, 4.0])
def test_crps_of_normal_quantiles_is_the_closed_form(observation):
    # The error of an ensemble of S mid-quantiles shrinks like 1 / S.
    members = 20_000
    normal = NormalDist()
    paths = np.array([normal.inv_cdf((i + 0.5) / members) for i in range(members)])
    paths = paths.reshape(-1, 1, 1)
    exact = observation * (2 * normal.cdf(observation) - 1)
    exact += 2 * normal.pdf(observation) - 1 / np.sqrt(np.pi)
    value = metrics.crps_ensemble(paths, np.full((1, 1), observation))
    assert value.item() == pytest.approx(exact, abs=1e-4)


@oracles
def test_quantile_loss_of_one_path_is_the_absolute_error_weighted_by_levels():
    # With one path every quantile is that path, and the levels average to 1/2: loss = |x - y|.
    value = metrics.mean_quantile_loss(np.full((1, 1, 1), 5.0), np.full((1, 1), 3.5))
    assert value.item() == pytest.approx(1.5, abs=1e-12)


@oracles
def test_ratios_by_hand():
    paths = np.array([[1.0, 4.0], [2.0, 4.0], [3.0, 7.0]]).reshape(1, 3, 2, 1)
    truth = np.array([4.0, -6.0]).reshape(1, 2, 1)
    result = metrics.score(paths, truth)
    assert result["nd"] == pytest.approx((2 + 10) / 10)
    assert result["nrmse"] == pytest.approx(np.sqrt((2.0**2 + 11.0**2) / 2) / 5)
    crps = (2 - 4 / 9) + (11 - 6 / 9)  # pairs |x - x'|: 8 over 9, halved; 12 over 9, halved
    assert result["crps"] == pytest.approx(crps / 10)
    assert result["energy_score"] == pytest.approx(crps / 10)


@oracles
def test_coverage_of_a_uniform_grid_counts_the_inside():
    # Paths 1 .. 99 have their p-quantile at 100 p: the central 50 % interval is 25 .. 75.
    paths = np.arange(1.0, 100.0).reshape(99, 1, 1)
    low, high = metrics.central_interval(paths, level=0.5)
    assert (low.item(), high.item()) == (pytest.approx(25), pytest.approx(75))
    truth = np.arange(0.5, 100.5)
    inside = [metrics.covered(paths, np.full((1, 1), y), level=0.5).item() for y in truth]
    assert sum(inside) == 50


@cross_checks
@pytest.mark.parametrize("members", [1, 2, 20, 101])
@pytest.mark.parametrize("level", [0.5, 0.9, 1.0])
def test_interval_is_numpys_weibull_quantile(members, level):
    paths = np.random.default_rng(1).normal(size=(members, T, D))
    p = [(1 - level) / 2, (1 + level) / 2]
    expected = np.quantile(paths, p, axis=0, method="weibull")
    np.testing.assert_allclose(metrics.central_interval(paths, level=level), expected, atol=1e-12)


# --- other libraries --------------------------------------------------------------------------


@cross_checks
def test_crps_equals_properscoring_and_scoringrules():
    paths, truth = forecasts(2)
    ours = metrics.crps_ensemble(paths, truth)
    last = np.moveaxis(paths, 1, -1)
    np.testing.assert_allclose(ours, properscoring.crps_ensemble(truth, last), rtol=1e-11)
    theirs = scoringrules.crps_ensemble(truth, last, estimator="nrg")
    np.testing.assert_allclose(ours, theirs, rtol=1e-11)


@cross_checks
def test_energy_score_equals_scoringrules():
    paths, truth = forecasts(3)
    theirs = scoringrules.es_ensemble(truth, np.moveaxis(paths, 1, -2), estimator="nrg")
    np.testing.assert_allclose(metrics.energy_score(paths, truth), theirs, rtol=1e-9)


@cross_checks
@pytest.mark.parametrize("offset", [0.0, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("spread", [1.0, 1e-4])
def test_energy_score_is_accurate_wherever_the_paths_lie(offset, spread):
    rng = np.random.default_rng(4)
    paths = 1e6 + offset + spread * rng.normal(size=(50, T, D))
    truth = 1e6 + spread * rng.normal(size=(T, D))
    pairs = np.linalg.norm(paths[:, None] - paths[None], axis=-1).mean((0, 1)) / 2
    exact = np.linalg.norm(paths - truth, axis=-1).mean(0) - pairs
    np.testing.assert_allclose(metrics.energy_score(paths, truth), exact, rtol=1e-7)


def as_gluonts(paths, truth):
    start = pd.Period("2020-01-01 00:00", freq="h")
    full = np.concatenate([np.ones_like(truth), truth], axis=1)  # [W, 2 T, D]
    index = pd.period_range(start, periods=2 * T, freq="h")
    series = [pd.DataFrame(values, index=index) for values in full]
    return series, [SampleForecast(p, start + T) for p in paths]


@cross_checks
@pytest.mark.parametrize("members", [100, 37])
def test_ratios_equal_gluonts_multivariate_evaluator(members):
    paths, truth = forecasts(5, members=members)
    evaluator = MultivariateEvaluator(
        quantiles=(np.arange(20) / 20)[1:], target_agg_funcs={"sum": np.sum}, num_workers=0
    )
    theirs, _ = evaluator(*as_gluonts(paths, truth))
    ours = metrics.score(paths, truth)
    assert ours["mean_wquantile_loss_sum"] == pytest.approx(
        theirs["m_sum_mean_wQuantileLoss"], rel=1e-10
    )
    assert ours["mean_wquantile_loss"] == pytest.approx(theirs["mean_wQuantileLoss"], rel=1e-10)
    assert ours["nd"] == pytest.approx(theirs["ND"], rel=1e-10)
    assert ours["nrmse"] == pytest.approx(theirs["NRMSE"], rel=1e-10)


@cross_checks
def test_missing_truth_equals_gluonts_multivariate_evaluator():
    paths, truth = forecasts(6, missing=0.3)
    evaluator = MultivariateEvaluator(quantiles=metrics.LEVELS, num_workers=0)
    theirs, _ = evaluator(*as_gluonts(paths, truth))
    ours = metrics.score(paths, truth)
    assert ours["mean_wquantile_loss"] == pytest.approx(theirs["mean_wQuantileLoss"], rel=1e-10)
    assert ours["nd"] == pytest.approx(theirs["ND"], rel=1e-10)


@cross_checks
def test_sum_equals_gluonts_evaluate_forecasts():
    paths, truth = forecasts(7)
    sums, total = metrics.sum_over_dimensions(paths, truth)
    start = pd.Period("2020-01-01 00:00", freq="h")
    targets = [np.concatenate([np.ones(T), y]) for y in total[..., 0]]
    dataset = [{"start": start, "target": target} for target in targets]
    _, template = split(dataset, offset=-T)
    theirs = evaluate_forecasts(
        [SampleForecast(p, start + T) for p in sums[..., 0]],
        test_data=template.generate_instances(prediction_length=T),
        metrics=[MeanWeightedSumQuantileLoss(metrics.LEVELS), ND(), NRMSE()],
        axis=None,
    )
    assert metrics.mean_wquantile_loss(sums, total) == pytest.approx(
        theirs["mean_weighted_sum_quantile_loss"].item(), rel=1e-10
    )
    assert metrics.score(sums, total)["nd"] == pytest.approx(theirs["ND[0.5]"].item(), rel=1e-10)
    assert metrics.score(sums, total)["nrmse"] == pytest.approx(
        theirs["NRMSE[mean]"].item(), rel=1e-10
    )


# --- invariances ------------------------------------------------------------------------------


@invariances
@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), factor=st.floats(1e-3, 1e3), missing=st.floats(0, 0.6))
def test_score_ignores_unit_member_order_and_values_at_missing_truth(seed, factor, missing):
    paths, truth = forecasts(seed, missing=missing)
    before = metrics.score(paths, truth, seasonal_error=SEASONAL)
    assert before.keys() == METRICS.keys()
    rng = np.random.default_rng(seed)
    changed = factor * paths[:, rng.permutation(S)]
    hidden = np.broadcast_to(np.isnan(truth)[:, None], paths.shape)
    changed[hidden] = rng.normal(size=hidden.sum())
    after = metrics.score(changed, factor * truth, seasonal_error=factor * SEASONAL)
    for name, value in before.items():
        assert after[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name


@invariances
@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(1, 40), st.integers(0, 2**31))
def test_crps_lies_between_0_and_the_mean_distance(members, seed):
    paths, truth = forecasts(seed, members=members)
    crps = metrics.crps_ensemble(paths, truth)
    distance = np.abs(paths - truth[:, None]).mean(1)
    assert (crps >= -1e-9).all() and (crps <= distance + 1e-9).all()
    # Moving forecast and truth together changes nothing.
    np.testing.assert_allclose(metrics.crps_ensemble(paths + 7, truth + 7), crps, atol=1e-8)


@invariances
def test_score_does_not_depend_on_precision_or_layout():
    paths, truth = forecasts(8)
    single, fortran = paths.astype(np.float32), np.asfortranarray(paths.astype(np.float32))
    expected = metrics.score(single.astype(np.float64), truth, seasonal_error=SEASONAL)
    for given_paths in (single, fortran):
        ours = metrics.score(given_paths, truth, seasonal_error=SEASONAL)
        assert ours == pytest.approx(expected, rel=1e-12)


@contracts
def test_arguments_are_left_alone():
    paths, truth = forecasts(9, missing=0.2)
    copies = paths.copy(), truth.copy()
    metrics.score(paths, truth)
    np.testing.assert_array_equal(paths, copies[0])
    np.testing.assert_array_equal(truth, copies[1])


@oracles
@pytest.mark.parametrize("shift, scale", [(0.5, 1.0), (0.0, 2.0), (0.0, 0.5)])
@pytest.mark.parametrize(
    "loss",
    [metrics.crps_ensemble, metrics.mean_quantile_loss, metrics.energy_score],
    ids=lambda f: f.__name__,
)
def test_the_true_distribution_scores_best(loss, shift, scale):
    rng = np.random.default_rng(10)
    windows = 400
    truth = rng.normal(size=(windows, 1, 2))
    draws = rng.normal(size=(windows, S, 1, 2))
    honest = loss(draws, truth).reshape(windows, -1).mean(-1)
    other = loss(shift + scale * draws, truth).reshape(windows, -1).mean(-1)
    gain = other - honest
    assert gain.mean() > 5 * gain.std(ddof=1) / np.sqrt(windows)


@oracles
@pytest.mark.parametrize("members", [19, 100])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_exchangeable_truth_is_covered_as_often_as_the_level_says(members, level):
    rng = np.random.default_rng(11)
    draws = rng.normal(size=(members + 1, 20_000, 1))
    share = metrics.covered(draws[1:], draws[0], level=level).mean()
    assert abs(share - level) < 5 * np.sqrt(level * (1 - level) / 20_000)


# --- missing truth ----------------------------------------------------------------------------


@cross_checks
def test_sum_is_over_the_dimensions_observed_at_each_step():
    paths, truth = forecasts(12)
    truth[0, 0, 1] = np.nan
    truth[1, 2] = np.nan
    sums, total = metrics.sum_over_dimensions(paths, truth)
    np.testing.assert_allclose(sums[0, :, 0, 0], paths[0, :, 0, [0, 2, 3]].sum(0))
    np.testing.assert_allclose(total[0, 0, 0], truth[0, 0, [0, 2, 3]].sum())
    np.testing.assert_allclose(sums[2, ..., 0], paths[2].sum(-1))
    assert np.isnan(total).sum() == 1 and np.isnan(total[1, 2, 0])


@invariances
def test_a_step_without_truth_is_left_out_of_every_score():
    paths, truth = forecasts(13)
    truth[:, 2] = np.nan
    kept = [0, 1, 3, 4, 5]
    expected = metrics.score(paths[:, :, kept], truth[:, kept], seasonal_error=SEASONAL)
    ours = metrics.score(paths, truth, seasonal_error=SEASONAL)
    # Steps on both sides of a gap are not in a row.
    assert ours.pop("brier_calm") != expected.pop("brier_calm")
    assert ours == pytest.approx(expected, rel=1e-12)


@invariances
def test_energy_score_with_missing_dimensions_is_that_of_the_others():
    paths, truth = forecasts(14)
    truth[..., 3] = np.nan
    expected = metrics.energy_score(paths[..., :3], truth[..., :3])
    np.testing.assert_allclose(metrics.energy_score(paths, truth), expected, rtol=1e-10)


@contracts
def test_elementwise_losses_are_nan_exactly_where_the_truth_is():
    paths, truth = forecasts(15, missing=0.4)
    for values in (
        metrics.crps_ensemble(paths, truth),
        metrics.mean_quantile_loss(paths, truth),
        metrics.covered(paths, truth, level=0.9),
    ):
        np.testing.assert_array_equal(np.isnan(values), np.isnan(truth))


@contracts
def test_zero_truth_has_no_ratio_but_a_coverage():
    paths = np.random.default_rng(16).normal(size=(W, S, T, D))
    result = metrics.score(paths, np.zeros((W, T, D)), seasonal_error=SEASONAL)
    defined = {name for name, value in result.items() if not np.isnan(value)}
    counts = {name for name in METRICS if name.startswith(("coverage", "reliability"))}
    # What refers to the paths or to the past has a value without the truth's size.
    assert defined == counts | {"brier_upper", "brier_calm", "mase", "msis", "correlation_error"}
    assert all(0 < result[name] <= 1 for name in counts)


# --- weighted sums ----------------------------------------------------------------------------


@identities
def test_unit_weights_give_the_scores_of_the_sum():
    paths, truth = forecasts(17)
    total = metrics.score(paths, truth)
    ours = metrics.score_aggregate(paths, truth, weights=np.ones(D))
    assert ours["mean_wquantile_loss"] == pytest.approx(total["mean_wquantile_loss_sum"])
    assert ours["crps"] == pytest.approx(total["crps_sum"])
    assert ours["coverage_90"] == total["coverage_90_sum"]


@cross_checks
def test_weighted_sum_in_units_counts_complete_steps_only():
    paths, truth = forecasts(18)
    weights = np.array([1.0, -0.5, 0.0, 0.0])
    truth[0, 1, 1] = np.nan  # a used dimension: its step is left out
    truth[:, :, 2] = np.nan  # an unused one: no matter
    net_truth = truth[..., 0] - 0.5 * truth[..., 1]
    net_paths = paths[..., 0] - 0.5 * paths[..., 1]
    crps = properscoring.crps_ensemble(net_truth, np.moveaxis(net_paths, 1, -1))
    ours = metrics.score_aggregate(paths, truth, weights=weights)
    assert ours["crps_units"] == pytest.approx(np.nanmean(crps))
    assert ours["crps"] == pytest.approx(np.nansum(crps) / np.nansum(np.abs(net_truth)))


# --- wrong input ------------------------------------------------------------------------------


@contracts
def test_wrong_input_is_refused_in_one_sentence():
    paths, truth = forecasts(19)
    broken = paths.copy()
    broken[1, 2, 3, 0] = np.nan
    for bad in (
        lambda: metrics.score(paths, np.full_like(truth, np.nan)),
        lambda: metrics.score(paths[:2], truth),
        lambda: metrics.score(paths[..., :3], truth),
        lambda: metrics.score(paths[:, :0], truth),
        lambda: metrics.score(paths[0], truth[0]),
        lambda: metrics.score(broken, truth),
        lambda: metrics.score(paths, truth / 0.0),
        lambda: metrics.crps_ensemble(paths, truth[:, :2]),
        lambda: metrics.score_aggregate(paths, truth, weights=np.ones(D - 1)),
        lambda: metrics.score_aggregate(paths, truth, weights=np.zeros(D)),
    ):
        with np.errstate(divide="ignore"), pytest.raises(InputError) as caught:
            bad()
        assert re.fullmatch(r"[^A-Z].*[^.]", str(caught.value))


@contracts
def test_weighted_sum_that_is_never_complete_is_refused():
    paths, truth = forecasts(20)
    truth[..., 0] = np.nan
    with pytest.raises(InputError, match="observed at no step"):
        metrics.score_aggregate(paths, truth, weights=np.ones(D))


# --- memory -----------------------------------------------------------------------------------


@contracts
def test_memory_stays_a_few_times_one_window_for_2000_dimensions():
    windows, members, steps, dimensions = 2, 40, 3, 2000
    rng = np.random.default_rng(21)
    paths = rng.normal(size=(windows, members, steps, dimensions)).astype(np.float32)
    truth = rng.normal(size=(windows, steps, dimensions))
    tracemalloc.start()
    metrics.score(paths, truth)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    one_window, one_matrix = 8 * members * steps * dimensions, 8 * dimensions**2
    assert peak < 2 * one_window + 10 * one_matrix


@contracts
def test_scores_of_entries_need_less_memory_than_a_copy_of_the_paths():
    rng = np.random.default_rng(22)
    paths = rng.normal(size=(3, 100, 24, 370))
    truth = rng.normal(size=(3, 24, 370))
    for function in (
        metrics.crps_ensemble,
        metrics.quantile_loss,
        metrics.sum_over_dimensions,
        lambda x, y: metrics.covered(x, y, level=0.9),
        lambda x, y: metrics.pit(x, y, rng=rng),
    ):
        tracemalloc.start()
        function(paths, truth)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < paths.nbytes / 2
