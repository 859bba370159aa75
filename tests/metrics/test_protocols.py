"""Protocol variants: cases by hand, GluonTS's evaluator, other libraries, and what must not matter."""

import numpy as np
import pandas as pd
import properscoring
import pytest
import scoringrules
import torch
from gluonts.evaluation import MultivariateEvaluator
from gluonts.model.forecast import SampleForecast
from groups import contracts, cross_checks, identities, invariances, oracles

from timediff.errors import InputError
from timediff.metrics import score
from timediff.metrics.protocols import LEVELS, PROTOCOLS, REFERENCE, protocol_table

W, S, T, D = 3, 100, 6, 4
every = pytest.mark.parametrize("name", PROTOCOLS)


def forecasts(seed=0, *, missing=0.0, members=S):
    """Skewed paths and truth, with windows and steps of different size, some truth missing."""
    rng = np.random.default_rng(seed)
    size = 4.0 ** np.arange(W)[:, None, None] * (1 + np.arange(T))[None, :, None]
    paths = size[:, None] * (1 + rng.gamma(1.0, size=(W, members, T, D)))
    truth = size * (1 + rng.gamma(2.0, size=(W, T, D)))
    truth[rng.random(truth.shape) < missing] = np.nan
    return paths, truth


def of_sum(paths, truth):
    return paths.sum(axis=-1), truth.sum(axis=-1)


# --- cases by hand ------------------------------------------------------------------------------

# One path: every quantile is that path and symmetric levels average to 1/2, so a step's loss is |x - y|.
# The sums' truth is 1, 3 in the first window and 10, 30 in the second, the errors are 1, 1 and 2, 2.
TRUTH = np.array([[[0.5, 0.5], [1.0, 2.0]], [[4.0, 6.0], [10.0, 20.0]]])
PATHS = (TRUTH + np.array([[[0.5, 0.5]], [[0.0, 2.0]]]))[:, None]


@oracles
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["ratio_of_sums_19", "ratio_of_sums_10", "ratio_of_sums_9"], 6 / 44),
        (["interpolated_19", "crps_v"], 6 / 44),
        (["mean_of_window_ratios_19", "mean_of_window_ratios_9"], (2 / 4 + 4 / 40) / 2),
        (["mean_of_step_ratios_19"], (3 / 11 + 3 / 33) / 2),
        (["crps_fair"], np.nan),
    ],
)
def test_one_path_by_hand(names, expected):
    for name in names:
        assert PROTOCOLS[name](PATHS, TRUTH) == pytest.approx(expected, rel=1e-12, nan_ok=True)


@oracles
def test_two_paths_by_hand():
    # Paths 0 and 2, truth 1: mean |x - y| = 1; half the mean |x - x'| is 1/2 over all four pairs and 1 over
    # the two of different paths. The order statistic is 0 up to level 1/2 and 2 above it; at a level p the
    # loss is 2 min(p, 1 - p), p being 1/2 included, whose mean over .1 .. .9 is 5 / 9.
    paths, truth = np.array([0.0, 2.0]).reshape(1, 2, 1, 1), np.ones((1, 1, 1))
    table = protocol_table(paths, truth)
    assert table["crps_v"] == pytest.approx(0.5, abs=1e-12)
    assert table["crps_fair"] == pytest.approx(0.0, abs=1e-12)
    assert table["ratio_of_sums_9"] == pytest.approx(5 / 9, abs=1e-12)
    # 2 (.05 + .15 + .25 + .35 + .45) 2 / 10, and the grid of 19 holds both others: (10 / 2 + 5) / 19.
    assert table["ratio_of_sums_10"] == pytest.approx(1 / 2, abs=1e-12)
    assert table["ratio_of_sums_19"] == pytest.approx(10 / 19, abs=1e-12)
    # Interpolated quantiles are 2 p, with losses 2 (1 - 2 p) p below 1/2, whose sum there is 2 * 0.4.
    assert table["mean_of_window_ratios_9"] == pytest.approx(4 * 0.4 / 9, abs=1e-12)


@oracles
def test_grids_of_levels():
    assert {n: (len(LEVELS[n]), LEVELS[n][0], LEVELS[n][-1]) for n in LEVELS} == {
        9: (9, 0.1, 0.9),
        10: (10, 0.05, 0.95),
        19: (19, 0.05, 0.95),
    }
    for n, spacing in ((9, 0.1), (10, 0.1), (19, 0.05)):
        np.testing.assert_allclose(np.diff(LEVELS[n]), spacing, rtol=1e-12)


@oracles
def test_the_fair_score_does_not_depend_on_how_many_paths_there_are():
    # Of a truth drawn like the paths, the expected CRPS of the standard normal is 1 / sqrt(pi).
    rng = np.random.default_rng(0)
    windows = 20_000
    for members in (2, 10):
        paths, truth = rng.normal(size=(windows, members, 1, 1)), rng.normal(size=(windows, 1, 1))
        expected = 1 / np.sqrt(np.pi)
        losses = PROTOCOLS["crps_fair"].loss(paths, truth)
        error = losses.std() / np.sqrt(windows)
        assert abs(losses.mean() - expected) < 5 * error
        biased = PROTOCOLS["crps_v"].loss(paths, truth).mean()
        assert abs(biased - expected * (1 + 1 / members)) < 5 * error


# --- other libraries ----------------------------------------------------------------------------


def gluonts_value(paths, truth, **options):
    index = pd.period_range("2020-01-01", periods=truth.shape[1], freq="h")
    given = [SampleForecast(one, start_date=index[0]) for one in paths]
    series = [pd.DataFrame(one, index=index) for one in truth]
    evaluator = MultivariateEvaluator(target_agg_funcs={"sum": np.sum}, num_workers=0, **options)
    return evaluator(series, given)[0]["m_sum_mean_wQuantileLoss"]


@cross_checks
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ratio_of_sums_19", {"quantiles": (np.arange(20) / 20)[1:]}),
        ("ratio_of_sums_10", {"quantiles": (np.arange(10) + 0.5) / 10}),
        ("ratio_of_sums_9", {}),
    ],
    ids=["19", "10", "default"],
)
def test_ratios_of_sums_are_gluonts(name, options):
    paths, truth = forecasts()
    expected = gluonts_value(paths, truth, **options)
    assert PROTOCOLS[name](paths, truth) == pytest.approx(expected, rel=1e-9)


@cross_checks
def test_interpolated_quantiles_are_those_of_torch():
    paths, truth = of_sum(*forecasts())
    levels = torch.arange(1, 20, dtype=torch.float64) / 20
    q = torch.quantile(torch.from_numpy(paths), levels, dim=1)  # [levels, W, T]
    y = torch.from_numpy(truth)
    pinball = torch.maximum(levels[:, None, None] * (y - q), (1 - levels[:, None, None]) * (q - y))
    expected = (2 * pinball.mean(dim=0)).sum() / y.abs().sum()
    value = PROTOCOLS["interpolated_19"](*forecasts())
    assert value == pytest.approx(expected.item(), rel=1e-12)


@cross_checks
@pytest.mark.parametrize("levels", [9, 19])
def test_ratios_of_each_window_are_averaged(levels):
    paths, truth = of_sum(*forecasts())
    grid = np.arange(1, levels + 1) / (levels + 1)
    ratios = []
    for x, y in zip(paths, truth, strict=True):
        losses = []
        for p in grid:
            over = np.quantile(x, p, axis=0) - y
            losses.append(2 * np.maximum((1 - p) * over, -p * over).sum())
        ratios.append(np.mean(losses) / np.abs(y).sum())
    value = PROTOCOLS[f"mean_of_window_ratios_{levels}"](*forecasts())
    assert value == pytest.approx(np.mean(ratios), rel=1e-12)


@cross_checks
def test_ratios_of_each_step_are_gluonts_of_that_step():
    paths, truth = forecasts()
    grid = (np.arange(20) / 20)[1:]
    ratios = [
        gluonts_value(paths[:, :, t : t + 1], truth[:, t : t + 1], quantiles=grid) for t in range(T)
    ]
    assert PROTOCOLS["mean_of_step_ratios_19"](paths, truth) == pytest.approx(
        np.mean(ratios), rel=1e-9
    )


@cross_checks
def test_crps_is_that_of_two_other_libraries():
    paths, truth = of_sum(*forecasts())
    members = np.moveaxis(paths, 1, -1)
    size = np.abs(truth).sum()
    table = protocol_table(*forecasts())
    expected = properscoring.crps_ensemble(truth, members).sum() / size
    assert table["crps_v"] == pytest.approx(expected, rel=1e-10)
    expected = scoringrules.crps_ensemble(truth, members, estimator="fair").sum() / size
    assert table["crps_fair"] == pytest.approx(expected, rel=1e-10)


# --- identities ---------------------------------------------------------------------------------


@identities
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_two_of_them_are_scores_of_every_record(missing):
    paths, truth = forecasts(missing=missing)
    table, scores = protocol_table(paths, truth), score(paths, truth)
    assert table[REFERENCE] == pytest.approx(scores["mean_wquantile_loss_sum"], rel=1e-12)
    assert table["crps_v"] == pytest.approx(scores["crps_sum"], rel=1e-12)


@identities
def test_where_levels_fall_on_paths_nothing_is_interpolated():
    paths, truth = forecasts(members=21)
    table = protocol_table(paths, truth)
    assert table["interpolated_19"] == pytest.approx(table[REFERENCE], rel=1e-12)
    table = protocol_table(*forecasts())
    assert abs(table["interpolated_19"] / table[REFERENCE] - 1) > 1e-5


@identities
@every
def test_the_table_holds_what_each_says(name):
    paths, truth = forecasts(missing=0.1)
    assert protocol_table(paths, truth)[name] == PROTOCOLS[name](paths, truth)


# --- what must not matter, and what must ---------------------------------------------------------


@invariances
@every
def test_unit_and_order_do_not_matter(name):
    paths, truth = forecasts(missing=0.1)
    value, rng = PROTOCOLS[name](paths, truth), np.random.default_rng(1)
    assert PROTOCOLS[name](1e3 * paths, 1e3 * truth) == pytest.approx(value, rel=1e-10)
    order = rng.permutation(S)
    assert PROTOCOLS[name](paths[:, order], truth) == pytest.approx(value, rel=1e-10)
    order = rng.permutation(W)
    assert PROTOCOLS[name](paths[order], truth[order]) == pytest.approx(value, rel=1e-10)
    order = rng.permutation(D)
    assert PROTOCOLS[name](paths[..., order], truth[..., order]) == pytest.approx(value, rel=1e-10)


@invariances
def test_loud_windows_count_more_only_in_ratios_of_sums():
    paths, truth = forecasts()
    before = protocol_table(paths, truth)
    loud = np.array([1.0, 1.0, 1000.0])[:, None, None]
    after = protocol_table(loud[:, None] * paths, loud * truth)
    alone = protocol_table(paths[2:], truth[2:])
    for name in PROTOCOLS:
        if name.startswith("mean_of_window"):
            assert after[name] == pytest.approx(before[name], rel=1e-10)
        else:
            assert after[name] == pytest.approx(alone[name], rel=0.01)
            assert abs(after[name] / before[name] - 1) > 0.001


@contracts
@every
def test_windows_and_steps_without_truth_do_not_count(name):
    paths, truth = forecasts()
    truth[1] = np.nan
    truth[:, 2] = np.nan
    kept = PROTOCOLS[name](np.delete(paths[[0, 2]], 2, axis=2), np.delete(truth[[0, 2]], 2, axis=1))
    assert PROTOCOLS[name](paths, truth) == pytest.approx(kept, rel=1e-12)
    assert np.isnan(PROTOCOLS[name](paths, 0 * truth))


@contracts
@every
def test_each_is_described(name):
    assert PROTOCOLS[name].description.endswith(".") and PROTOCOLS[name].source


@contracts
def test_bad_shapes_are_named():
    paths, truth = forecasts()
    with pytest.raises(InputError, match=r"paths \[W, S, T, D\]"):
        protocol_table(paths[0], truth[0])
    with pytest.raises(InputError, match="agree in windows"):
        protocol_table(paths[..., :2], truth)
