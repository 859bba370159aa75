"""Every baseline on the one interface: closed forms, what joint means, gaps, and what may not be seen."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import tasks
import torch
from scipy.stats import spearmanr

from timediff.baselines import BASELINES, chosen, climatology, copula, deep, energy, var
from timediff.baselines.task import Fitted, past_windows
from timediff.errors import InputError

FAST = [name for name, one in BASELINES.items() if one.fast]
DEEP = ["deepar", "deepar_copula", "patchtst", "energy"]
CLASSICAL = ["auto_ets", "auto_arima"]


task_of = partial(tasks.task_of, seasons=(6,))


def waves(steps=400, dim=3, *, season=6, noise=0.3, seed=0):
    rng = np.random.default_rng(seed)
    wave = np.sin(2 * np.pi * (np.arange(steps)[:, None] + np.arange(dim)) / season) + 3
    return wave + noise * rng.normal(size=(steps, dim))


def known_var(steps, *, seed=0):
    r"""A VAR(1) with correlated noise: coefficients, covariance of the noise, and a path ``[T, 2]``."""
    a = np.array([[0.5, 0.3], [-0.4, 0.6]])  # row: what moves, column: what it is moved by
    root = np.array([[1.0, 0.0], [0.8, 0.6]])
    noise = np.random.default_rng(seed).normal(size=(steps, 2)) @ root.T
    y = np.zeros((steps, 2))
    for t in range(1, steps):
        y[t] = a @ y[t - 1] + noise[t]
    return a, root @ root.T, y


# ---------------------------------------------------------------- ridge VAR


def test_ridge_without_penalty_is_least_squares_and_its_residuals_leave_one_out():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=(30, 2))
    ((weights, residuals),) = var.ridge(x, y, [1e-10])
    np.testing.assert_allclose(weights, np.linalg.lstsq(x, y)[0], atol=1e-8)
    for t in range(30):
        kept = np.arange(30) != t
        without = np.linalg.lstsq(x[kept], y[kept])[0]
        np.testing.assert_allclose(residuals[t], y[t] - x[t] @ without, atol=1e-7)


@pytest.mark.parametrize("rows", [10, 40])
def test_ridge_solves_its_equations_from_either_side(rows):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(rows, 20)), rng.normal(size=(rows, 3))
    for penalty, (weights, residuals) in zip((0.1, 5.0), var.ridge(x, y, (0.1, 5.0)), strict=True):
        np.testing.assert_allclose((x.T @ x + penalty * np.eye(20)) @ weights, x.T @ y, atol=1e-9)
        kept = np.arange(rows) != 3
        a = x[kept].T @ x[kept] + penalty * np.eye(20)
        without = np.linalg.solve(a, x[kept].T @ y[kept])
        np.testing.assert_allclose(residuals[3], y[3] - x[3] @ without, atol=1e-9)


def test_var_recovers_the_coefficients_of_a_var():
    steps = 6000
    a, covariance, y = known_var(steps)
    task = task_of(y, ends=[steps], seasons=(1,))
    rows = var._rows(task, var.Form("mean", 1))
    ((_, model),) = var._regressions(rows, [1e-6])
    # Of lag 1 and 2 in units of the deviations; the second is none.
    first, second = model.cross[:2].T, model.cross[2:].T
    first += np.diag(model.own[0])
    second += np.diag(model.own[1])
    scale = model.scale
    stationary = np.linalg.solve(np.eye(4) - np.kron(a, a), covariance.ravel()).reshape(2, 2)
    error = np.sqrt(np.outer(np.diag(covariance), np.diag(np.linalg.inv(covariance))) / steps)
    assert stationary.shape == (2, 2)
    assert (np.abs(first * scale[:, None] / scale - a) < 5 * error).all()
    assert (np.abs(second * scale[:, None] / scale) < 5 * error).all()


def test_one_step_of_var_has_the_conditional_mean_and_covariance():
    steps, count = 6000, 4000
    a, covariance, y = known_var(steps, seed=3)
    task = task_of(y, ends=[steps], horizon=2, seasons=(1,))
    paths = BASELINES["var"].forecast(task, num_samples=count, seed=1, progress=False)[0, :, 0]
    assert isinstance(
        BASELINES["var"].prepare(task, seed=1, progress=False).details["penalty"], float
    )
    found, n = np.cov(paths.T), min(steps, count)
    deviation = np.sqrt(np.diag(covariance))
    # The estimated mean errs by the regression on the last value, of a size of 2 to 3 deviations.
    assert (np.abs(paths.mean(axis=0) - a @ y[-1]) < 5 * deviation * 3 / np.sqrt(n)).all()
    variance = np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2
    assert (np.abs(found - covariance) < 5 * np.sqrt(2 * variance / n)).all()


def test_var_continues_what_is_periodic():
    full = np.tile(np.random.default_rng(4).normal(size=(6, 3)), (50, 1))
    task = task_of(full, ends=[240, 250], horizon=8)
    paths = BASELINES["var"].forecast(task, num_samples=5, seed=0, progress=False)
    for window, end in zip(paths, [240, 250], strict=True):
        np.testing.assert_allclose(
            window, np.broadcast_to(full[end : end + 8], window.shape), atol=1e-4
        )


def test_var_of_400_series_stays_within_what_it_saw():
    rng = np.random.default_rng(5)
    common = rng.normal(size=(300, 1)).cumsum(0)
    full = np.abs(common + rng.normal(size=(300, 400)))
    task = task_of(full, ends=[300], horizon=6, seasons=(1,))
    paths = BASELINES["var"].forecast(task, num_samples=8, seed=0, progress=False)
    low, high = full.min(axis=0), full.max(axis=0)
    assert (paths >= 0).all() and (paths <= 2 * high - low + 1e-4).all()


# ---------------------------------------------------------------- copula


def test_the_copula_keeps_margins_and_takes_ranks():
    rng = np.random.default_rng(6)
    margins = rng.gamma(2.0, size=(500, 3, 2))
    errors = rng.normal(size=(100, 3, 2))
    errors[..., 1] = 0.9 * errors[..., 0] + np.sqrt(1 - 0.81) * errors[..., 1]
    joint = copula.reorder(margins, errors, rng)
    np.testing.assert_array_equal(np.sort(joint, axis=0), np.sort(margins, axis=0))
    for t in range(3):
        past = spearmanr(errors[:, t, 0], errors[:, t, 1]).statistic
        before = spearmanr(margins[:, t, 0], margins[:, t, 1]).statistic
        after = spearmanr(joint[:, t, 0], joint[:, t, 1]).statistic
        # Five paths share an error vector and are independent within it: 1 / B^2 of the spread is theirs.
        assert abs(after - past) < 0.02 and abs(before) < 5 / np.sqrt(500)


def test_as_many_paths_as_errors_have_exactly_their_ranks():
    rng = np.random.default_rng(7)
    margins, errors = rng.normal(size=(40, 2, 3)), rng.normal(size=(40, 2, 3))
    joint = copula.reorder(margins, errors, rng)
    first = joint[:, 0, 0].argsort()
    by_error = errors[:, 0, 0].argsort()
    ranks = [x.argsort(axis=0).argsort(axis=0) for x in (joint[first], errors[by_error])]
    np.testing.assert_array_equal(*ranks)


def test_past_errors_are_truth_minus_median_within_the_training_data():
    full = waves()
    task = task_of(full, ends=[300, 320])
    level = Fitted(lambda window, s, rng: np.full((s, 4, 3), float(len(window.history))), {})
    errors = copula.past_errors(level, task, seed=0, progress=False)
    windows, truth = past_windows(task, copula.ORIGINS, stride=6)
    ends = [len(window.history) for window in windows]
    assert max(ends) + 4 == 300 and min(ends) >= 150
    np.testing.assert_allclose(errors, truth - np.array(ends)[:, None, None], rtol=1e-6)


# ---------------------------------------------------------------- climatology


def test_climatology_of_a_periodic_series_is_the_series():
    full = np.tile(np.random.default_rng(8).normal(size=(12, 2)), (60, 1))
    task = task_of(full, ends=[600, 607], horizon=15, seasons=(12,))
    paths = BASELINES["climatology"].forecast(task, num_samples=9, seed=0, progress=False)
    for window, end in zip(paths, [600, 607], strict=True):
        np.testing.assert_allclose(
            window, np.broadcast_to(full[end : end + 15], window.shape), rtol=1e-6
        )


def test_climatology_asks_the_same_time_of_year():
    # Daily data of six years; a value is the day of the year.
    start = pd.Period("2014-01-01", freq="D")
    days = np.asarray(pd.period_range(start, periods=6 * 365, freq="D").dayofyear, dtype=float)
    for end in (2000, 2150):
        first = climatology.block_starts(end, start + end, gap=0, seasons=[7], horizon=3)
        apart = np.abs(days[first] - days[end])
        assert (np.minimum(apart, 365.25 - apart) <= climatology.NEAR + 1).all()
        assert ((first - end) % 7 == 0).all() and len(first) >= climatology.FEWEST


# ---------------------------------------------------------------- all of them


@pytest.fixture
def short_training(monkeypatch):
    monkeypatch.setattr(deep, "STEPS", 2)
    monkeypatch.setattr(deep, "_STEPS_PER_EPOCH", 2)
    monkeypatch.setattr(energy, "STEPS", 3)
    monkeypatch.setattr(copula, "ORIGINS", 3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*FAST, *DEEP, *CLASSICAL])
def test_same_seed_same_paths_and_gaps_are_bridged(name, short_training):
    full = waves(steps=230, dim=3)
    full[40:50, 0] = np.nan
    full[195:200, 1] = np.nan
    full[:, 2] = 4.0
    task = task_of(full, ends=[200, 210])
    state = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (
        BASELINES[name].forecast(task, num_samples=6, seed=seed, progress=False)
        for seed in (3, 3, 4)
    )
    assert first.shape == (2, 6, 4, 3) and first.dtype == np.float64
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert torch.equal(state[0], torch.random.get_rng_state())
    np.testing.assert_array_equal(state[1], np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("name", FAST)
def test_a_window_sees_nothing_of_what_follows(name):
    full = waves(steps=300)
    spoiled = full.copy()
    spoiled[250:] = 1e6
    before, after = (
        BASELINES[name].forecast(
            task_of(one, ends=[240, 250], train=240), num_samples=5, seed=0, progress=False
        )
        for one in (full, spoiled)
    )
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("name", FAST)
def test_the_other_windows_do_not_matter(name):
    full = waves(steps=300)
    both, one = (
        BASELINES[name].forecast(
            task_of(full, ends=ends, train=240), num_samples=5, seed=0, progress=False
        )
        for ends in ([240, 260], [240])
    )
    np.testing.assert_array_equal(both[0], one[0])


@pytest.mark.parametrize("name", FAST)
def test_joint_paths_keep_what_binds_the_series(name):
    # The second series is the first upside down, so that the sum is certain though neither series is.
    one = waves(steps=400, dim=1, noise=1.0)
    full = np.concatenate([one, 8 - one], axis=1)
    paths = BASELINES[name].forecast(
        task_of(full, ends=[390]), num_samples=50, seed=0, progress=False
    )
    assert paths.std(axis=1).min() > 0.2
    np.testing.assert_allclose(paths.sum(axis=-1), 8, atol=0.05)


@pytest.mark.parametrize("name", FAST)
def test_one_series_and_little_history(name):
    full = waves(steps=40, dim=1)
    task = task_of(full, ends=[30], seasons=(24, 168))
    task = task._replace(histories=[full[27:30]])
    paths = BASELINES[name].forecast(task, num_samples=7, seed=0, progress=False)
    assert paths.shape == (1, 7, 4, 1) and np.isfinite(paths).all()


def test_a_copula_changes_nothing_of_the_margins(short_training):
    task = task_of(waves(steps=200), ends=[190])
    base = BASELINES["deepar"].fit(task, seed=1, progress=False)
    joint = BASELINES["deepar_copula"].prepare(task, seed=1, progress=False, margins=base)
    alone, joined = (
        one.paths(task, num_samples=9, seed=2, progress=False) for one in (base, joint)
    )
    np.testing.assert_array_equal(np.sort(alone, axis=1), np.sort(joined, axis=1))


def test_energy_loss_is_the_energy_score_of_what_was_observed():
    rng = np.random.default_rng(9)
    draws, x = rng.normal(size=(4, 5, 3)), rng.normal(size=(5, 3))
    observed = rng.random((5, 3)) < 0.7
    observed[0] = False
    values = []
    for k in range(1, 5):
        own = draws[:, k][:, observed[k]]
        error = np.linalg.norm(own - x[k][observed[k]], axis=-1).mean()
        spread = np.linalg.norm(own[:, None] - own[None], axis=-1).sum() / (2 * 4 * 3)
        values.append(error - spread)
    found = energy.energy_loss(*map(torch.from_numpy, (draws, x)), torch.from_numpy(observed))
    kept = np.mean([v for v, o in zip(values, observed[1:], strict=True) if o.any()])
    assert float(found) == pytest.approx(kept, abs=1e-5)


def test_what_lacks_a_package_is_left_out_with_the_reason(monkeypatch):
    monkeypatch.setattr("timediff.baselines.base.find_spec", lambda package: None)
    names, left_out = chosen("all")
    assert set(left_out) == {*CLASSICAL, "fracast"} and left_out.keys().isdisjoint(names)
    assert all("extra [baselines]" in left_out[name] for name in CLASSICAL)
    assert chosen("fast") == (FAST, {}) and chosen("none") == ([], {})
    with pytest.raises(InputError, match="choose all, fast or none"):
        chosen("some")


def test_every_baseline_says_what_it_is():
    assert len({one.title for one in BASELINES.values()}) == len(BASELINES)
    for one in BASELINES.values():
        assert one.note.endswith(".") and len(one.note.split()) > 5
