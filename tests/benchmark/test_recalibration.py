"""Recalibration: miscalibrated forecasts become calibrated, calibrated ones stay, the copula is kept."""

import numpy as np
import pytest
from scipy.stats import norm

from timediff.benchmark.recalibration import fit_recalibration, from_json, recalibrate, to_json
from timediff.benchmark.reordering import ranked, reordered
from timediff.errors import InputError
from timediff.metrics import crps_ensemble

STEPS, DIM, PATHS, FIT, NEW = 8, 3, 100, 60, 300


def ideal(windows, *, seed, correlation=0.6, dim=DIM):
    """Forecasts of mean and size that change with window and step, and truth drawn like a path."""
    rng = np.random.default_rng(seed)
    shape = (windows, 1, STEPS, dim)
    covariance = correlation + (1 - correlation) * np.eye(dim)
    size = (windows, PATHS + 1, STEPS)
    noise = rng.multivariate_normal(np.zeros(dim), covariance, size=size, method="cholesky")
    drawn = rng.normal(size=shape) + rng.uniform(0.5, 2, size=shape) * noise
    return drawn[:, 1:], drawn[:, 0]


def spread(paths, factor_below, factor_above):
    centre = np.median(paths, axis=1, keepdims=True)
    return centre + np.where(paths > centre, factor_above, factor_below) * (paths - centre)


WRONG = {
    "narrow": lambda paths: spread(paths, 0.5, 0.5),
    "wide": lambda paths: spread(paths, 1.6, 1.6),
    "biased": lambda paths: paths + 0.5 * paths.std(axis=1, keepdims=True),
    "skewed": lambda paths: spread(paths, 0.5, 2.0),
}


def share_below(paths, truth, level):
    """Share of the truths below the forecast's quantile, over windows and steps, ``[D]``."""
    rank = (paths < truth[:, None]).sum(axis=1)
    return (rank < level * (paths.shape[1] + 1)).mean(axis=(0, 1))


def error(level):
    """Standard error of that share: counted on the new windows, with a map from the others."""
    return np.sqrt(level * (1 - level) / STEPS * (1 / NEW + 1 / FIT))


@pytest.mark.oracles
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_miscalibrated_forecast_becomes_calibrated_on_new_data(wrong):
    paths, truth = ideal(FIT, seed=1)
    new, happened = ideal(NEW, seed=2)
    found = fit_recalibration(wrong(paths), truth)
    before, after = wrong(new), recalibrate(found, wrong(new))
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    for level in levels:
        for x, y in [(after, happened), (after.sum(-1)[..., None], happened.sum(-1)[..., None])]:
            assert np.abs(share_below(x, y, level) - level).max() < 5 * error(level)
    assert any(
        np.abs(share_below(before, happened, level) - level).min() > 5 * error(level)
        for level in levels
    )
    assert crps_ensemble(after, happened).mean() < crps_ensemble(before, happened).mean()


@pytest.mark.oracles
@pytest.mark.parametrize("windows", [7, 30])
def test_a_calibrated_forecast_is_left_nearly_alone(windows):
    new, happened = ideal(100, seed=3)
    before = crps_ensemble(new, happened).mean()
    after = [
        crps_ensemble(recalibrate(fit_recalibration(*ideal(windows, seed=k)), new), happened).mean()
        for k in range(10, 22)
    ]
    assert np.mean(after) < 1.01 * before


@pytest.mark.oracles
@pytest.mark.parametrize("assumed, true", [(0.0, 0.6), (0.6, 0.0)])
def test_a_wrong_dependence_is_corrected(assumed, true):
    """The margins are right from the start; the variance of the sum is 3 + 6 x correlation."""

    def paths_and_truth(windows, seed):
        noise = np.random.default_rng(seed).normal(size=(windows, 1, STEPS, DIM))
        mixed = np.linalg.cholesky(true + (1 - true) * np.eye(DIM))
        other = np.linalg.cholesky(assumed + (1 - assumed) * np.eye(DIM))
        draws = np.random.default_rng(seed + 1).normal(size=(windows, PATHS, STEPS, DIM))
        return draws @ other.T, (noise @ mixed.T)[:, 0]

    found = fit_recalibration(*paths_and_truth(FIT, 5))
    new, happened = paths_and_truth(NEW, 7)
    after = recalibrate(found, new).sum(-1)[..., None]
    # Five standard errors of a mean of absolute values, fitted on FIT x STEPS of them.
    tolerance = 5 * np.sqrt(np.pi / 2 - 1) / np.sqrt(FIT * STEPS)
    assert after.std(axis=1).mean() == pytest.approx(np.sqrt(3 + 6 * true), rel=tolerance)
    for level in (0.05, 0.25, 0.75, 0.95):
        share = share_below(after, happened.sum(-1)[..., None], level)
        assert np.abs(share - level).max() < 5 * error(level)
    assert np.abs(share_below(new.sum(-1)[..., None], happened.sum(-1)[..., None], 0.05) - 0.05) > (
        3 * error(0.05)
    )


@pytest.mark.invariances
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_the_map_of_a_series_keeps_every_rank(wrong):
    paths, truth = ideal(FIT, seed=1)
    found = fit_recalibration(wrong(paths), truth)._replace(common=1.0)
    new = wrong(ideal(20, seed=8)[0])
    after = recalibrate(found, new)
    assert not np.allclose(after, new, rtol=0.05)
    np.testing.assert_array_equal(after.argsort(axis=1), new.argsort(axis=1))


@pytest.mark.identities
def test_a_new_ranking_keeps_the_values_of_each_series():
    paths = ideal(1, seed=9)[0][0]
    parts = ranked(paths)
    np.testing.assert_array_equal(reordered(parts, 1.0), paths)
    sizes = []
    for factor in (0.3, 0.6, 1.0, 1.5, 3.0):
        other = reordered(parts, factor)
        np.testing.assert_array_equal(np.sort(other, axis=0), np.sort(paths, axis=0))
        sizes.append(other.sum(axis=-1).std(axis=0).mean())
    assert np.all(np.diff(sizes) > 0.1)


@pytest.mark.oracles
def test_normal_scores_of_two_paths_by_hand():
    paths = np.array([[[1.0, 20.0]], [[3.0, 10.0]]])  # [S, T, D]
    low, high = norm.ppf([0.25, 0.75])
    np.testing.assert_allclose(ranked(paths).scores, [[[low, high]], [[high, low]]])
    # The second series is five times as wide: the first follows it when the sum is widened.
    np.testing.assert_array_equal(reordered(ranked(paths), 9.0), [[[3, 20]], [[1, 10]]])


@pytest.mark.invariances
def test_the_unit_of_the_data_does_not_matter():
    paths, truth = ideal(30, seed=1)
    wrong, moved = WRONG["skewed"](paths), np.array([10.0, -5.0, 0.0])
    found = recalibrate(fit_recalibration(wrong, truth), wrong)
    other = fit_recalibration(7 * wrong + moved, 7 * truth + moved)
    np.testing.assert_allclose(recalibrate(other, 7 * wrong + moved), 7 * found + moved, atol=1e-4)


@pytest.mark.invariances
def test_missing_truth_says_nothing():
    paths, truth = ideal(FIT, seed=1)
    paths = WRONG["narrow"](paths)
    gaps = np.random.default_rng(0).random(truth.shape) < 0.3
    gaps[..., 2] = True
    found = fit_recalibration(paths, np.where(gaps, np.nan, truth))
    np.testing.assert_array_equal(found.strength[2], 0)
    np.testing.assert_allclose(found.images[2], found.knots[2])
    assert np.isfinite(recalibrate(found, paths)).all()
    whole = fit_recalibration(paths, truth)
    for part in (0, -1):  # the outer quantiles, doubled as they should be
        np.testing.assert_allclose(found.images[:2, part], whole.images[:2, part], rtol=0.25)
        assert np.all(np.abs(found.images[:2, part]) > 1.5 * np.abs(found.knots[:2, part]))


@pytest.mark.invariances
def test_steps_that_hardly_vary_say_nothing():
    """At night the paths differ by next to nothing, and an error of a hundred times that is still none."""
    paths, truth = ideal(30, seed=1)
    paths = WRONG["narrow"](paths)
    paths[:, :, ::2] = 1e-4 * paths[:, :, 1::2]
    truth[:, ::2] = 0.01
    day = truth.copy()
    day[:, ::2] = np.nan
    found, expected = fit_recalibration(paths, truth), fit_recalibration(paths, day)
    np.testing.assert_array_equal(found.images, expected.images)
    assert np.all(found.strength[:, 1] > 0.5)


@pytest.mark.contracts
def test_paths_that_do_not_differ_stay():
    paths, truth = ideal(20, seed=1)
    paths[..., 0] = 4.0
    paths[:, :, ::2, 1] = 0.0  # a night
    found = fit_recalibration(WRONG["narrow"](paths), truth)
    after = recalibrate(found, paths)
    np.testing.assert_array_equal(after[..., 0], 4)
    np.testing.assert_array_equal(after[:, :, ::2, 1], 0)
    assert np.isfinite(after).all()


@pytest.mark.contracts
def test_kept_as_json():
    paths, truth = ideal(20, seed=1)
    paths = WRONG["wide"](paths).astype(np.float32)
    found = fit_recalibration(paths, truth)
    again = from_json(to_json(found))
    after = recalibrate(again, paths)
    assert after.dtype == np.float32
    np.testing.assert_array_equal(after, recalibrate(found, paths))
    for text in ("", "[]", "{}", to_json(found).replace("common", "shared")):
        with pytest.raises(InputError, match="no recalibration"):
            from_json(text)


@pytest.mark.contracts
def test_mistakes():
    paths, truth = ideal(7, seed=1)
    for x, y, match in [
        (paths, truth[:6], "agree in windows"),
        (paths[0], truth[0], "agree in windows"),
        (paths[:6], truth[:6], "from 6 windows of 100 paths"),
        (paths[:, :9], truth, "from 7 windows of 9 paths"),
        (paths, np.full_like(truth, np.nan), "something observed"),
        (np.full_like(paths, np.nan), truth, "finite paths"),
    ]:
        with pytest.raises(InputError, match=match):
            fit_recalibration(x, y)
    with pytest.raises(InputError, match="series it was fitted on"):
        recalibrate(fit_recalibration(paths, truth), paths[..., :2])
