"""AutoETS and AutoARIMA: paths are those that statsforecast simulates, whole, and go on from the window."""

import numpy as np
import pytest
from tasks import START, task_of

from timediff.baselines import BASELINES, Window, classical, copula
from timediff.baselines.base import Baseline
from timediff.baselines.task import Fitted
from timediff.benchmark.entrants import from_baseline

pytest.importorskip("statsforecast")

CLASSICAL = ["auto_ets", "auto_arima"]


def walks(steps, *, correlation, dim=2, seed=0):
    """Random walks whose steps have one correlation, ``[steps, dim]``."""
    rng = np.random.default_rng(seed)
    covariance = np.full((dim, dim), correlation) + (1 - correlation) * np.eye(dim)
    return rng.multivariate_normal(np.zeros(dim), covariance, size=steps).cumsum(axis=0)


def fitted_ets(series, **options):
    from statsforecast.models import AutoETS

    return AutoETS(**options).fit(series)


def whole(paths):
    """The paths of each series, in an order of their own, ``[D, S, T]``."""
    return np.stack([one[np.lexsort(one.T)] for one in np.moveaxis(paths, -1, 0)])


# ---------------------------------------------------------------- whole paths, joined over series


@pytest.mark.parametrize("count", [7, 30, 50])
def test_pairing_permutes_whole_paths(count):
    rng = np.random.default_rng(1)
    paths, errors = rng.normal(size=(count, 5, 3)), rng.normal(size=(20, 5, 3))
    paths[:, :, 1] = 2.0
    joint = copula.pair(paths, errors, rng)
    np.testing.assert_array_equal(whole(joint), whole(paths))
    assert (joint[:, :, 0] != paths[:, :, 0]).any()


def test_pairing_of_one_step_is_the_copula():
    rng = np.random.default_rng(2)
    paths, errors = rng.gamma(2.0, size=(40, 1, 3)), rng.normal(size=(15, 1, 3))
    pair, reorder = (
        join(paths, errors, np.random.default_rng(3)) for join in (copula.pair, copula.reorder)
    )
    np.testing.assert_array_equal(pair, reorder)


def test_pairing_does_not_depend_on_the_unit_or_level_of_a_series():
    rng = np.random.default_rng(4)
    paths, errors = rng.normal(size=(30, 6, 2)), rng.normal(size=(15, 6, 2))
    scale, level = np.array([100.0, 0.01]), np.array([1e3, -5.0])
    first = copula.pair(paths, errors, np.random.default_rng(5))
    second = copula.pair(scale * paths + level, errors, np.random.default_rng(5))
    np.testing.assert_allclose(second, scale * first + level)


@pytest.mark.parametrize("sign", [1, -1])
def test_paths_that_are_paired_follow_the_errors_over_series(sign):
    rng = np.random.default_rng(6)
    errors = rng.normal(size=(60, 8, 1)).cumsum(axis=1) * [1, sign]
    paths = rng.normal(size=(200, 8, 2)).cumsum(axis=1)
    before, after = (
        np.corrcoef(one.sum(axis=1).T)[0, 1] for one in (paths, copula.pair(paths, errors, rng))
    )
    assert abs(before) < 5 / np.sqrt(200) and sign * after > 0.8
    steps = [np.diff(one, axis=1, prepend=0) for one in (paths, copula.pair(paths, errors, rng))]
    np.testing.assert_allclose(np.sort(steps[0], axis=0), np.sort(steps[1], axis=0))


@pytest.mark.parametrize("name", CLASSICAL)
def test_paths_are_the_simulated_ones_put_together(name, monkeypatch):
    monkeypatch.setattr(copula, "ORIGINS", 5)
    task = task_of(walks(150, correlation=0.9), ends=[140])
    simulated = BASELINES[name].fit(task, seed=1, progress=False)
    joint = BASELINES[name].prepare(task, seed=1, progress=False, margins=simulated)
    alone, together = (
        one.sample(task.windows[0], 12, np.random.default_rng(2)) for one in (simulated, joint)
    )
    np.testing.assert_array_equal(whole(together), whole(alone))


@pytest.mark.parametrize("correlation", [0.95, -0.95])
@pytest.mark.parametrize("name", CLASSICAL)
def test_series_that_moved_together_do_so_in_the_paths(name, correlation):
    task = task_of(walks(200, correlation=correlation), ends=[200])
    (paths,) = BASELINES[name].forecast(task, num_samples=100, seed=1, progress=False)
    found = np.corrcoef(paths.sum(axis=1).T)[0, 1]
    assert np.sign(correlation) * found > 0.5


# ---------------------------------------------------------------- what statsforecast simulates


def test_paths_of_ets_have_its_mean_and_deviation():
    rng = np.random.default_rng(7)
    series = 50 + rng.normal(size=300).cumsum()
    model, later = fitted_ets(series, model="ANN"), series[:280]
    paths = classical._simulated(
        model, classical._ets_after, later, (4000, 5), np.random.default_rng(8)
    )
    expected = model.forward(later, h=5)["mean"]
    alpha, variance = model.model_["par"][0], model.model_["sigma2"]
    deviation = np.sqrt(variance * (1 + alpha**2 * np.arange(5)))
    assert (np.abs(paths.mean(axis=0) - expected) < 5 * deviation / np.sqrt(4000)).all()
    assert (np.abs(paths.std(axis=0) / deviation - 1) < 5 / np.sqrt(2 * 4000)).all()


def test_paths_of_arima_have_its_mean_and_deviation():
    from statsforecast.models import AutoARIMA

    rng = np.random.default_rng(9)
    noise = rng.normal(size=301)
    series = 0.4 * np.arange(300) + (noise[1:] + 0.6 * noise[:-1]).cumsum()
    model, later = AutoARIMA().fit(series), series[:280]
    paths = classical._simulated(
        model, classical._arima_after, later, (2000, 5), np.random.default_rng(10)
    )
    forecast = model.forward(later, h=5, level=[80])
    width = np.asarray(forecast["hi-80"]) - np.asarray(forecast["lo-80"])
    deviation = width / (2 * 1.2815515655446004)
    assert (np.abs(paths.mean(axis=0) - forecast["mean"]) < 5 * deviation / np.sqrt(2000)).all()
    assert (np.abs(paths.std(axis=0) / deviation - 1) < 5 / np.sqrt(2 * 2000)).all()


def test_paths_of_ets_follow_a_trend_that_is_not_damped():
    rng = np.random.default_rng(11)
    series = 10 + 0.5 * np.arange(300) + rng.normal(size=300)
    model = fitted_ets(series, model="AAN", damped=False)
    paths = classical._simulated(
        model, classical._ets_after, series, (500, 20), np.random.default_rng(12)
    )
    expected = 10 + 0.5 * np.arange(300, 320)
    assert np.abs(paths.mean(axis=0) - expected).max() < 1  # 10 at the end without the trend
    assert np.isnan(model.model_["par"][3])  # of the fit, which stays as it is


def test_parameters_and_variance_stay_those_of_the_fit():
    rng = np.random.default_rng(22)
    series = rng.normal(size=300).cumsum()
    model = fitted_ets(series, model="AAN", damped=False)
    before = {name: np.copy(model.model_[name]) for name in ("par", "sigma2", "states")}
    moved = classical._ets_after(model, 5 * series[:100])
    assert moved.model_["sigma2"] == before["sigma2"]
    np.testing.assert_array_equal(moved.model_["par"][:3], before["par"][:3])
    assert len(moved.model_["states"]) == 101
    for name, value in before.items():
        np.testing.assert_array_equal(model.model_[name], value)


@pytest.mark.parametrize("shift", range(6))
@pytest.mark.parametrize("name", CLASSICAL)
def test_a_window_anywhere_in_the_season_has_the_season_right(name, shift):
    season = np.array([0.0, 5.0, 1.0, 7.0, 3.0, 2.0])
    noise = np.random.default_rng(13).normal(size=(260, 1))
    full = np.tile(season, 44)[:260, None] + 20 + 0.2 * noise
    task = task_of(full, ends=[200 + shift], train=200, horizon=6, seasons=(6,))
    fitted = BASELINES[name].fit(task, seed=0, progress=False)
    (window,) = task.windows
    early = Window(full[: 150 + shift], START + 150 + shift, shift - 50)
    brief = window._replace(history=full[160 + shift : 200 + shift])
    for one in (window, early, brief):
        end = 200 + one.gap
        mean = fitted.sample(one, 200, np.random.default_rng(14)).mean(axis=0)
        assert np.abs(mean - full[end : end + 6]).max() < 1.5


def test_where_a_history_begins_depends_on_the_fit_and_the_season():
    def begin(length, gap, steps, season):
        window = Window(np.zeros((length, 1)), START, gap)
        return classical._begin(window, steps, season)

    assert begin(300, 0, 100, 6) == 200  # where the fit began
    assert begin(350, 50, 100, 6) == 200
    assert begin(270, -30, 100, 6) == 170  # 100 steps, 30 before the fit: five seasons
    assert begin(271, -29, 100, 6) == 170
    assert begin(40, 0, 100, 6) == 0  # 60 steps after the fit: ten seasons
    assert begin(41, 0, 100, 6) == 1
    for length in range(1, 40):
        assert 0 <= begin(length, 3, 100, 6) < 6


@pytest.mark.parametrize("name", CLASSICAL)
def test_paths_go_on_from_what_came_after_training(name):
    full = np.random.default_rng(15).normal(size=(260, 1)).cumsum(axis=0)
    full[220:] += 30
    task = task_of(full, ends=[220, 250], train=220)
    fitted = BASELINES[name].fit(task, seed=0, progress=False)
    before, after = (
        fitted.sample(window, 50, np.random.default_rng(16)).mean() for window in task.windows
    )
    assert after - before > 15


# ---------------------------------------------------------------- little or strange data


@pytest.mark.parametrize("name", CLASSICAL)
@pytest.mark.parametrize(("steps", "seasons"), [(12, (24,)), (100, (168,)), (70, (48, 336))])
def test_a_season_longer_than_the_data(name, steps, seasons):
    full = walks(steps, correlation=0.5)
    task = task_of(full, ends=[steps], seasons=seasons)
    paths = BASELINES[name].forecast(task, num_samples=5, seed=0, progress=False)
    assert paths.shape == (1, 5, 4, 2) and np.isfinite(paths).all()
    details = BASELINES[name].fit(task, seed=0, progress=False).details
    assert details["own_season"] == details["season_of_means"] == 1


def test_ets_frees_series_of_a_season_that_it_cannot_simulate():
    season = 10 * np.sin(2 * np.pi * np.arange(48) / 48)
    full = np.tile(season, 6)[:, None] + 20 + np.random.default_rng(17).normal(size=(288, 1))
    task = task_of(full, ends=[280], horizon=8, seasons=(48,))
    fitted = BASELINES["auto_ets"].fit(task, seed=0, progress=False)
    assert fitted.details["own_season"] == 1 and fitted.details["season_of_means"] == 48
    mean = fitted.sample(task.windows[0], 100, np.random.default_rng(18)).mean(axis=0)
    assert np.abs(mean - full[280:]).max() < 5


@pytest.mark.parametrize("name", CLASSICAL)
def test_what_cannot_be_fitted_is_held_or_walks(name):
    full = np.stack([np.full(120, 3.0), np.full(120, np.nan), walks(120, correlation=0)[:, 0]], -1)
    full[:30, 2] = np.nan
    task = task_of(full, ends=[120])
    fitted = BASELINES[name].fit(task, seed=0, progress=False)
    assert fitted.details["series_without_model"] == 2
    paths = fitted.sample(task.windows[0], 6, np.random.default_rng(19))
    np.testing.assert_array_equal(paths[:, :, :2], np.broadcast_to([3.0, 0.0], (6, 4, 2)))
    assert np.isfinite(paths).all() and paths[:, :, 2].std() > 0


def test_a_model_that_fails_leaves_paths_of_a_random_walk():
    def broken(model, past):
        raise ValueError

    past = np.random.default_rng(20).normal(size=500).cumsum()
    rng = np.random.default_rng(21)
    paths = classical._simulated(object(), broken, past, (4000, 3), rng)
    deviation = np.std(np.diff(past)) * np.sqrt([1, 2, 3])
    assert (np.abs(paths.std(axis=0) / deviation - 1) < 5 / np.sqrt(2 * 4000)).all()
    assert np.corrcoef(paths[:, 1], paths[:, 2])[0, 1] > 0.7


def test_what_was_not_yet_observed_is_filled_with_the_first_value():
    values = np.array([[np.nan, 1.0], [np.nan, np.nan], [5.0, 3.0], [np.nan, np.nan]])
    filled = classical._complete(values, 2)
    np.testing.assert_array_equal(filled, [[5.0, 1.0], [5.0, 1.0], [5.0, 3.0], [5.0, 1.0]])
    np.testing.assert_array_equal(classical._complete(np.full((3, 1), np.nan), 2), 0)


# ---------------------------------------------------------------- seeds


@pytest.mark.parametrize(("deterministic", "fits"), [(True, 1), (False, 2)])
def test_seeds_share_a_fit_that_draws_nothing(deterministic, fits, tmp_path):
    seen = []

    def fit(task, *, seed, progress):
        seen.append(seed)
        return Fitted(lambda window, count, rng: rng.normal(size=(count, 4, 2)), {})

    baseline = Baseline("one", "It is one.", True, fit, copula=True, deterministic=deterministic)
    entrant = from_baseline("one", baseline, fits={})
    task = task_of(walks(50, correlation=0.5), ends=[40])
    paths = [
        entrant.fit(task, seed=seed, folder=tmp_path).paths(
            task, num_samples=3, seed=seed, progress=False
        )
        for seed in (1, 2)
    ]
    assert len(seen) == fits and (paths[0] != paths[1]).any()
