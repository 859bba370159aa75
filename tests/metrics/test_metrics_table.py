"""The table of all scores: each is what the functions of single scores say, and how sure it is."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from groups import contracts, identities, invariances, oracles
from toys import skewed_forecasts

from timediff import metrics
from timediff.errors import InputError
from timediff.registry import METRICS

W, S, T, D = 3, 25, 4, 5


def forecasts(seed=0, *, missing=0.0, shape=(W, S, T, D)):
    return skewed_forecasts(shape, seed, missing=missing)


def table_from_single_scores(paths, truth, unit):
    """Every score of the table by the public functions, one after the other."""
    sums, total = metrics.sum_over_dimensions(paths, truth)
    size, size_sum = np.nansum(abs(truth)), np.nansum(abs(total))
    upper, lower = np.nanquantile(truth, [0.9, 0.1], axis=(0, 1))
    middle = np.where(np.isnan(truth), np.nan, metrics.median(paths))
    steps = metrics.dawid_sebastiani(paths, truth)
    own = np.nanmean(abs(truth), axis=(0, 1))
    seen = ~np.isnan(truth)
    steps -= 2 * (seen * np.log(own)).sum(axis=-1)
    pairs = np.abs(truth[..., :, None] - truth[..., None, :])
    norms = np.sqrt(np.nansum(np.square(truth), axis=-1))

    def width(x, y):
        low, high = metrics.central_interval(x, level=0.9)
        return np.sum((high - low)[~np.isnan(y)])

    table = {
        "mean_wquantile_loss": metrics.mean_wquantile_loss(paths, truth),
        "mean_wquantile_loss_sum": metrics.mean_wquantile_loss(sums, total),
        "crps": np.nansum(metrics.crps_ensemble(paths, truth)) / size,
        "crps_sum": np.nansum(metrics.crps_ensemble(sums, total)) / size_sum,
        "crps_fair": np.nansum(metrics.crps_ensemble(paths, truth, fair=True)) / size,
        "crps_sum_fair": np.nansum(metrics.crps_ensemble(sums, total, fair=True)) / size_sum,
        "energy_score": np.nansum(metrics.energy_score(paths, truth)) / norms.sum(),
        "variogram_score": np.nansum(metrics.variogram_score(paths, truth)) / np.nansum(pairs),
        "dawid_sebastiani": np.nanmean(steps / seen.sum(axis=-1)),
        "dawid_sebastiani_shrunk": np.mean(metrics.covariance_shrinkage(paths, truth) > 0),
        "crps_upper_tail": np.nansum(
            metrics.threshold_weighted_crps(paths, truth, threshold=upper) / size
        ),
        "crps_lower_tail": np.nansum(
            metrics.threshold_weighted_crps(paths, truth, threshold=lower, tail="lower") / size
        ),
        "brier_upper": np.nanmean(metrics.brier_score(paths, truth, threshold=upper)),
        "interval_score_90": np.nansum(metrics.interval_score(paths, truth, level=0.9)) / size,
        "nd": np.nansum(abs(middle - truth)) / size,
        "nrmse": np.sqrt(np.nanmean((paths.mean(axis=1) - truth) ** 2)) / np.nanmean(abs(truth)),
        "mase": np.nanmean(abs(middle - truth) / unit),
        "msis": np.nanmean(metrics.interval_score(paths, truth, level=0.95) / unit),
        "newsvendor_cost_sum": np.nansum(metrics.newsvendor_cost(sums, total, under=9, over=1))
        / size_sum,
        "sharpness_90": width(paths, truth) / size,
        "sharpness_90_sum": width(sums, total) / size_sum,
        "correlation_error": metrics.correlation_error(paths, truth),
    }
    low = np.nanquantile(total, 0.2)
    highest, reached = metrics.peaks(paths, truth)
    calm, was_calm = metrics.runs_below(paths, truth, threshold=low)
    vectors = highest[:, :, None, None], reached[:, None, None]
    table |= {
        "crps_peak": metrics.crps_ensemble(*vectors).sum() / abs(reached).sum(),
        "newsvendor_cost_peak": metrics.newsvendor_cost(*vectors, under=9, over=1).sum()
        / abs(reached).sum(),
        "brier_calm": np.square(calm.mean(axis=1) - was_calm).mean(),
    }
    for level in (50, 90, 95, 99):
        for suffix, x, y in (("", paths, truth), ("_sum", sums, total)):
            share = np.nanmean(metrics.covered(x, y, level=level / 100))
            table[f"coverage_{level}{suffix}"] = share
            if level in (50, 90):
                ranked = metrics.covered_by_rank(x, y, level=level / 100)
                table[f"coverage_{level}{suffix}_rank"] = np.nanmean(ranked)
        joint = metrics.covered_jointly(paths, truth, level=level / 100)
        table[f"coverage_{level}_joint"] = joint.mean()
    for suffix, x, y in (("", paths, truth), ("_sum", sums, total)):
        share = metrics.reliability(x, y, levels=metrics.LEVELS)
        table[f"reliability_error{suffix}"] = abs(share - metrics.LEVELS).mean()
    return table


@identities
@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("members", [S, 4])
def test_the_table_is_what_single_scores_say(missing, members):
    paths, truth = forecasts(1, missing=missing, shape=(W, members, T, D))
    unit = 10.0 ** np.arange(D)
    ours = metrics.score(paths, truth, seasonal_error=unit)
    expected = table_from_single_scores(paths, truth, unit)
    assert ours.keys() == expected.keys() == METRICS.keys()
    for name, value in expected.items():
        assert ours[name] == pytest.approx(value, rel=1e-9), name
    assert ours["dawid_sebastiani_shrunk"] == (1 if members < D else 0) or missing


@contracts
def test_every_score_has_a_title_of_its_own():
    assert all(score.title and score.definition for score in METRICS.values())
    assert len({each.title for each in METRICS.values()}) == len(METRICS)
    assert all(isinstance(value, float) for value in metrics.score(*forecasts(2)).values())


@contracts
@pytest.mark.parametrize(
    "shape, undefined",
    [
        ((W, 1, T, D), {"fair", "dawid", "joint", "correlation"}),
        ((W, 2, T, D), {"joint"}),
        ((W, S, T, 1), {"variogram", "correlation"}),
    ],
)
def test_what_needs_more_paths_or_series_is_not_defined(shape, undefined):
    result = metrics.score(*forecasts(3, shape=shape), seasonal_error=np.ones(shape[-1]))
    missing = {name for name, value in result.items() if np.isnan(value)}
    expected = {name for name in METRICS if any(part in name for part in undefined)}
    assert missing == expected


@contracts
def test_scaled_errors_need_a_history_that_varies():
    paths, truth = forecasts(4)
    result = metrics.score(paths, truth)
    assert {name for name, value in result.items() if np.isnan(value)} == {"mase", "msis"}
    unit = np.array([1.0, 0.0, 2.0, np.nan, 3.0])
    some = [0, 2, 4]
    result = metrics.score(paths, truth, seasonal_error=unit)
    expected = metrics.score(paths[..., some], truth[..., some], seasonal_error=unit[some])
    assert result["mase"] == pytest.approx(expected["mase"])
    assert result["msis"] == pytest.approx(expected["msis"])
    each = metrics.score(paths, truth, seasonal_error=np.stack([unit] * W))
    assert each == pytest.approx(result)


@invariances
def test_a_window_without_truth_is_left_out():
    paths, truth = forecasts(5)
    truth[1] = np.nan
    result = metrics.score(paths, truth)
    assert result == pytest.approx(metrics.score(paths[[0, 2]], truth[[0, 2]]), nan_ok=True)
    losses = metrics.window_losses(paths, truth)
    assert all(list(np.isnan(values)) == [False, True, False] for values in losses.values())


# --- losses of windows ------------------------------------------------------------------------


@identities
def test_losses_of_windows_add_up_to_the_table():
    paths, truth = forecasts(6, missing=0.3)
    losses = metrics.window_losses(paths, truth)
    table = metrics.score(paths, truth)
    _, total = metrics.sum_over_dimensions(paths, truth)
    entries, size = np.isfinite(truth).sum(axis=(1, 2)), np.nansum(abs(truth))
    steps, size_sum = np.isfinite(total).sum(axis=(1, 2)), np.nansum(abs(total))
    for name in ("mean_wquantile_loss", "crps", "nd"):
        assert (losses[name] * entries).sum() / size == pytest.approx(table[name])
    for name in ("mean_wquantile_loss_sum", "crps_sum"):
        assert (losses[name] * steps).sum() / size_sum == pytest.approx(table[name])
    norms = np.sqrt(np.nansum(np.square(truth), axis=-1)).sum()
    energy = (losses["energy_score"] * steps).sum() / norms
    assert energy == pytest.approx(table["energy_score"])
    assert len(losses) == 6 and all(values.shape == (W,) for values in losses.values())


@invariances
def test_losses_of_windows_are_in_the_unit_of_the_data():
    paths, truth = forecasts(7)
    losses = metrics.window_losses(paths, truth)
    scaled = metrics.window_losses(7 * paths, 7 * truth)
    for name, values in losses.items():
        np.testing.assert_allclose(scaled[name], 7 * values)


# --- Monte-Carlo error ------------------------------------------------------------------------


@oracles
def test_monte_carlo_error_is_the_spread_over_sets_of_paths():
    rng = np.random.default_rng(8)
    truth = rng.normal(2.0, 1.0, size=(6, 2, 2))
    draws = rng.normal(2.0, 1.0, size=(32, 6, 100, 2, 2))
    scores = [metrics.score(paths, truth, seasonal_error=[1.0, 1.0]) for paths in draws]
    errors = [
        metrics.monte_carlo_error(paths, truth, seasonal_error=[1.0, 1.0]) for paths in draws[:5]
    ]
    for name in ("crps", "crps_sum", "energy_score", "nrmse", "nd", "msis", "mean_wquantile_loss"):
        spread = np.std([row[name] for row in scores], ddof=1)
        mean = np.sqrt(np.mean([row[name] ** 2 for row in errors]))
        # Standard errors of both, relative: 31 and 5 x 9 degrees of freedom.
        assert abs(np.log(mean / spread)) < 5 * np.hypot(1 / np.sqrt(2 * 31), 1 / np.sqrt(2 * 45))


@contracts
def test_monte_carlo_error_of_every_score():
    paths, truth = forecasts(9)
    errors = metrics.monte_carlo_error(paths, truth, seasonal_error=np.ones(D), groups=3)
    assert errors.keys() == METRICS.keys()
    assert all(np.isfinite(value) and value >= 0 for value in errors.values())
    assert np.isnan(metrics.monte_carlo_error(paths, truth, groups=2)["mase"])


@contracts
@pytest.mark.parametrize(
    "bad",
    [
        lambda x, y: metrics.score(x, y, seasonal_error=[1.0]),
        lambda x, y: metrics.score(x, y, seasonal_error=1.0),
        lambda x, y: metrics.monte_carlo_error(x[:, :3], y),
        lambda x, y: metrics.monte_carlo_error(x, y, groups=1),
        lambda x, y: metrics.window_losses(x[0], y[0]),
        lambda x, y: metrics.window_losses(x, y[:2]),
    ],
)
def test_wrong_input_is_refused_in_one_sentence(bad):
    with pytest.raises(InputError) as caught:
        bad(*forecasts(10))
    assert re.fullmatch(r"[^A-Z].*[^.]", str(caught.value))


# --- the benchmark ----------------------------------------------------------------------------


@pytest.fixture
def benchmark(monkeypatch):
    """evaluation/benchmarks/crps.py as a module."""
    folder = Path(__file__).resolve().parents[2] / "evaluation" / "benchmarks"
    monkeypatch.syspath_prepend(folder)
    spec = importlib.util.spec_from_file_location("crps", folder / "crps.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contracts
def test_the_benchmark_runs_every_score(benchmark):
    functions = benchmark.scores(*benchmark.forecast((6, 2, 7)))
    rows = {"Evaluation", "Score", "definitions", "is_loss", "title_of"}
    others = rows | {"LEVELS", "expected_coverage", "rank_histogram", "seasonal_error"}
    assert functions.keys() == set(metrics.__all__) - others
    for function in functions.values():
        function()
    found = benchmark.against_properscoring((6, 2, 7))
    assert found["largest_relative_difference"] < 1e-10


@contracts
def test_the_record_of_the_benchmark_meets_its_targets():
    path = Path(__file__).resolve().parents[2] / "evaluation" / "results" / "crps.json"
    record = json.loads(path.read_text())
    speed, peaks = record["crps_ensemble"], record["peak_mib"]["of"]
    assert speed["times_faster"] >= 50 and speed["peak_mib"]["ours"] < 100
    assert speed["shape"] == [100, 24, 370] and record["peak_mib"]["shape"] == [1000, 24, 2000]
    assert max(peaks.values()) <= 2048 and all(record["met"].values())


@contracts
def test_numbers_that_numpy_does_not_have_are_refused():
    paths, truth = forecasts()
    with pytest.raises(InputError, match=r"the array of truth is not numeric \(.*BFloat16\)"):
        metrics.score(paths, torch.tensor(truth).bfloat16())
