"""Scores of single entries: closed forms, cases by hand, other libraries, propriety."""

import re
from functools import partial
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
import scoringrules
from gluonts.dataset.split import split
from gluonts.ev.metrics import MeanWeightedSumQuantileLoss
from gluonts.ev.stats import scaled_interval_score
from gluonts.evaluation import MultivariateEvaluator
from gluonts.model.evaluation import evaluate_forecasts
from gluonts.model.forecast import SampleForecast
from groups import contracts, cross_checks, identities, invariances, oracles
from toys import skewed_forecasts

from timediff import metrics
from timediff.errors import InputError

W, S, T, D = 3, 40, 5, 4
NORMAL = NormalDist()


def forecasts(seed=0, *, missing=0.0, members=S):
    return skewed_forecasts((W, members, T, D), seed, missing=missing)


def normal_quantiles(members):
    """An ensemble that stands for the standard normal with an error of order 1 / S."""
    return np.array([NORMAL.inv_cdf((i + 0.5) / members) for i in range(members)]).reshape(-1, 1, 1)


def at(value):
    return np.full((1, 1), float(value))


# --- closed forms -----------------------------------------------------------------------------


@oracles
@pytest.mark.parametrize("members", [2, 5])
def test_fair_crps_of_few_paths_has_the_mean_of_the_closed_form(members):
    y, draws = 0.7, 20_000
    exact = y * (2 * NORMAL.cdf(y) - 1) + 2 * NORMAL.pdf(y) - 1 / np.sqrt(np.pi)
    paths = np.random.default_rng(0).normal(size=(members, draws, 1))
    values = metrics.crps_ensemble(paths, np.full((draws, 1), y), fair=True)
    assert abs(values.mean() - exact) < 5 * values.std() / np.sqrt(draws)


@oracles
@pytest.mark.parametrize("observation", [-1.5, 0.2, 0.9, 2.5])
@pytest.mark.parametrize("threshold", [-1.0, 0.5, 1.5])
@pytest.mark.parametrize("tail", ["upper", "lower"])
def test_tail_crps_of_the_normal_is_its_integral(observation, threshold, tail):
    ends = (threshold, 12.0) if tail == "upper" else (-12.0, threshold)
    z = np.linspace(*ends, 40_001)
    z = (z[1:] + z[:-1]) / 2
    chance = np.array([NORMAL.cdf(value) for value in z])
    integral = np.square(chance - (observation <= z)).sum() * (z[1] - z[0])
    value = metrics.threshold_weighted_crps(
        normal_quantiles(5000), at(observation), threshold=threshold, tail=tail
    )
    assert value.item() == pytest.approx(integral, abs=5e-4)


@identities
def test_both_tails_add_up_to_the_crps():
    paths, truth = forecasts(1, missing=0.2)
    threshold = np.nanmedian(truth, axis=(0, 1))
    parts = [
        metrics.threshold_weighted_crps(paths, truth, threshold=threshold, tail=tail)
        for tail in ("upper", "lower")
    ]
    np.testing.assert_allclose(sum(parts), metrics.crps_ensemble(paths, truth), rtol=1e-9)


@oracles
@pytest.mark.parametrize("observation", [-1.0, 0.6])
def test_brier_score_of_the_normal(observation):
    exact = (1 - NORMAL.cdf(0.3) - (observation > 0.3)) ** 2
    value = metrics.brier_score(normal_quantiles(5000), at(observation), threshold=0.3)
    assert value.item() == pytest.approx(exact, abs=1e-3)


@identities
def test_brier_scores_of_all_thresholds_add_up_to_the_crps():
    rng = np.random.default_rng(2)
    paths, truth = rng.uniform(size=(7, 1, 1)), rng.uniform(size=(1, 1))
    thresholds = (np.arange(200_000) + 0.5) / 200_000
    repeated = np.broadcast_to(paths, (7, 200_000, 1)), np.full((200_000, 1), truth.item())
    scores = metrics.brier_score(*repeated, threshold=thresholds[:, None])
    assert scores.mean() == pytest.approx(metrics.crps_ensemble(paths, truth).item(), abs=1e-4)


@oracles
def test_interval_score_of_the_normal():
    low, high = NORMAL.inv_cdf(0.05), NORMAL.inv_cdf(0.95)
    for observation in (-3.0, 0.1, 2.0):
        fine = max(low - observation, 0) + max(observation - high, 0)
        value = metrics.interval_score(normal_quantiles(9999), at(observation), level=0.9)
        assert value.item() == pytest.approx(high - low + 20 * fine, abs=2e-2)


@oracles
def test_interval_score_and_newsvendor_by_hand():
    paths = np.arange(1.0, 100.0).reshape(99, 1, 1)  # the p-quantile is 100 p
    scores = [metrics.interval_score(paths, at(y), level=0.5).item() for y in (20, 25, 60, 80)]
    assert scores == pytest.approx([50 + 4 * 5, 50, 50, 50 + 4 * 5])
    costs = [metrics.newsvendor_cost(paths, at(y), under=9, over=1).item() for y in (92, 90, 50)]
    assert costs == pytest.approx([18, 0, 40])


@identities
def test_the_cost_of_the_cheapest_quantile_is_lowest():
    rng = np.random.default_rng(3)
    paths = rng.normal(size=(999, 1, 1))
    truth = rng.normal(size=(40_000, 1))
    cost = metrics.newsvendor_cost(
        np.broadcast_to(paths, (999, 40_000, 1)), truth, under=4, over=1
    ).mean()
    for quantile in (NORMAL.inv_cdf(0.7), NORMAL.inv_cdf(0.88)):
        other = np.where(truth > quantile, 4 * (truth - quantile), quantile - truth).mean()
        assert cost < other


# --- other libraries --------------------------------------------------------------------------


@cross_checks
def test_fair_and_tail_crps_equal_scoringrules():
    paths, truth = forecasts(4)
    last = np.moveaxis(paths, 1, -1)
    np.testing.assert_allclose(
        metrics.crps_ensemble(paths, truth, fair=True),
        scoringrules.crps_ensemble(truth, last, estimator="fair"),
        rtol=1e-9,
    )
    threshold = np.median(truth, axis=(0, 1))
    for tail, cut in (("upper", np.maximum), ("lower", np.minimum)):
        theirs = scoringrules.crps_ensemble(
            cut(truth, threshold), cut(last, threshold[:, None]), estimator="nrg"
        )
        ours = metrics.threshold_weighted_crps(paths, truth, threshold=threshold, tail=tail)
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    theirs = scoringrules.twcrps_ensemble(truth, last, a=50.0, estimator="nrg")
    ours = metrics.threshold_weighted_crps(paths, truth, threshold=50.0)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@cross_checks
def test_brier_and_interval_scores_equal_scoringrules():
    paths, truth = forecasts(5)
    chance = (paths > 50.0).mean(axis=1)
    theirs = scoringrules.brier_score((truth > 50.0).astype(float), chance)
    np.testing.assert_allclose(metrics.brier_score(paths, truth, threshold=50.0), theirs)
    low, high = metrics.central_interval(paths, level=0.8)
    theirs = scoringrules.interval_score(truth, low, high, 0.2)
    np.testing.assert_allclose(metrics.interval_score(paths, truth, level=0.8), theirs)


@cross_checks
@pytest.mark.parametrize("levels", [np.arange(1, 10) / 10, [0.5], np.linspace(0.05, 0.95, 10)])
def test_quantile_loss_on_any_grid_equals_gluonts(levels):
    paths, truth = forecasts(6)
    sums, total = metrics.sum_over_dimensions(paths, truth)
    start = pd.Period("2020-01-01 00:00", freq="h")
    dataset = [{"start": start, "target": np.concatenate([np.ones(T), y])} for y in total[..., 0]]
    _, template = split(dataset, offset=-T)
    theirs = evaluate_forecasts(
        [SampleForecast(p, start + T) for p in sums[..., 0]],
        test_data=template.generate_instances(prediction_length=T),
        metrics=[MeanWeightedSumQuantileLoss(levels)],
        axis=None,
    )
    ours = metrics.mean_wquantile_loss(sums, total, levels=levels)
    assert ours == pytest.approx(theirs["mean_weighted_sum_quantile_loss"].item(), rel=1e-10)


@cross_checks
def test_mase_equals_gluonts_multivariate_evaluator():
    paths, truth = forecasts(7)
    history = np.random.default_rng(8).normal(size=(W, 30, D)) * 10.0 ** np.arange(D)
    index = pd.period_range("2020-01-01 00:00", periods=30 + T, freq="h")
    whole = np.concatenate([history, truth], axis=1)
    evaluator = MultivariateEvaluator(quantiles=[0.5], seasonality=6, num_workers=0)
    theirs, _ = evaluator(
        [pd.DataFrame(values, index=index) for values in whole],
        [SampleForecast(p, index[30]) for p in paths],
    )
    unit = np.stack([metrics.seasonal_error(past, season=6) for past in history])
    ours = metrics.score(paths, truth, seasonal_error=unit)["mase"]
    assert ours == pytest.approx(theirs["MASE"], rel=1e-10)


@cross_checks
def test_msis_equals_gluonts_on_the_same_intervals():
    paths, truth = forecasts(9)
    unit = np.array([2.0, 3.0, 5.0, 7.0])
    low, high = metrics.central_interval(paths, level=0.95)
    data = {"label": truth, "0.025": low, "0.975": high, "seasonal_error": unit}
    theirs = scaled_interval_score(data, alpha=0.05).mean()
    assert metrics.score(paths, truth, seasonal_error=unit)["msis"] == pytest.approx(theirs)


# --- propriety --------------------------------------------------------------------------------

SCORES = {
    "fair crps": partial(metrics.crps_ensemble, fair=True),
    "quantile loss, 9 levels": partial(metrics.quantile_loss, levels=np.arange(1, 10) / 10),
    "upper tail": partial(metrics.threshold_weighted_crps, threshold=0.5),
    "lower tail": partial(metrics.threshold_weighted_crps, threshold=-0.5, tail="lower"),
    "brier": partial(metrics.brier_score, threshold=0.5),
    "interval": partial(metrics.interval_score, level=0.8),
    "newsvendor": partial(metrics.newsvendor_cost, under=3, over=1),
}


@oracles
@pytest.mark.parametrize("shift, scale", [(0.5, 1.0), (-0.5, 1.0), (0.0, 2.0), (0.0, 0.5)])
@pytest.mark.parametrize("name", SCORES)
def test_the_true_distribution_scores_best(name, shift, scale):
    rng = np.random.default_rng(10)
    count = 8000
    truth = rng.normal(size=(count, 1))
    draws = rng.normal(size=(100, count, 1))
    gain = SCORES[name](shift + scale * draws, truth) - SCORES[name](draws, truth)
    assert gain.mean() > 5 * gain.std() / np.sqrt(count)


# --- what must not matter, and what is refused ------------------------------------------------


@invariances
@pytest.mark.parametrize("name", SCORES)
def test_leading_axes_member_order_and_neighbours_do_not_matter(name):
    paths, truth = forecasts(11, missing=0.3)
    values = SCORES[name](paths, truth)
    np.testing.assert_array_equal(np.isnan(values), np.isnan(truth))
    shuffled = np.random.default_rng(12).permuted(paths, axis=1)
    np.testing.assert_allclose(SCORES[name](shuffled, truth), values, rtol=1e-9)
    nested = SCORES[name](paths[None, :2], truth[None, :2])
    np.testing.assert_allclose(nested, values[None, :2], rtol=1e-12)
    alone = SCORES[name](paths[1, :, 2:3, 1:2], truth[1, 2:3, 1:2])
    np.testing.assert_allclose(alone, values[1, 2:3, 1:2], rtol=1e-12)


@invariances
def test_blocks_do_not_matter(monkeypatch):
    paths, truth = forecasts(13, missing=0.3)
    before = metrics.crps_ensemble(paths, truth)
    for block in (1, S * D, 2 * S * D * T):
        monkeypatch.setattr("timediff.metrics.arrays.BLOCK", block)
        np.testing.assert_array_equal(metrics.crps_ensemble(paths, truth), before)


@contracts
@pytest.mark.parametrize(
    "bad",
    [
        lambda x, y: metrics.quantile_loss(x, y, levels=[]),
        lambda x, y: metrics.quantile_loss(x, y, levels=[0.5, 1.0]),
        lambda x, y: metrics.crps_ensemble(x[:, :1], y, fair=True),
        lambda x, y: metrics.threshold_weighted_crps(x, y, threshold=0.0, tail="left"),
        lambda x, y: metrics.interval_score(x, y, level=1),
        lambda x, y: metrics.covered(x, y, level=90),
        lambda x, y: metrics.central_interval(x, level=0),
        lambda x, y: metrics.newsvendor_cost(x, y, under=0, over=1),
        lambda x, y: metrics.seasonal_error(y[0], season=0),
        lambda x, y: metrics.sharpness(x, level=2.0),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(bad):
    with pytest.raises(InputError) as caught:
        bad(*forecasts(14))
    assert re.fullmatch(r"[^A-Z].*[^.]", str(caught.value))


@oracles
def test_seasonal_error_by_hand():
    history = np.array([[1.0, np.nan], [2.0, 5.0], [4.0, np.nan], [7.0, 8.0]])
    np.testing.assert_allclose(metrics.seasonal_error(history, season=2), [4.0, 3.0])
    np.testing.assert_allclose(metrics.seasonal_error(history, season=1), [2.0, np.nan])
