"""The adaptive linear baseline: the linear forecast, and whole error trajectories of the past around it."""

import warnings

import numpy as np
import pytest
import torch
from tiny import period

from timediff.baselines import BASELINES, Task
from timediff.baselines.adaptive_linear import fit_adaptive_linear
from timediff.baselines.task import bounds
from timediff.config import ModelConfig
from timediff.frequency import num_time_features, quiet_business_days
from timediff.gluon.entries import read_entry
from timediff.gluon.linear import adaptive_shape, fit_on
from timediff.gluon.windows import WindowData, forecast_batch
from timediff.timegrad.batch import Shape
from timediff.timegrad.centre import LinearCentre
from timediff.timegrad.trajectories import FEWEST

HORIZON, CYCLE = 5, 6


def data_of(steps=300, dim=2, *, seed=0, missing=0.0):
    """Cycles with errors that go on for a while, around -1."""
    rng = np.random.default_rng(seed)
    t = np.arange(steps)[:, None]
    values = 2 * np.sin(2 * np.pi * t / CYCLE + np.arange(dim)) - 1
    error = np.zeros((steps, dim))
    for i in range(1, steps):
        error[i] = 0.7 * error[i - 1] + rng.normal() + 0.5 * rng.normal(size=dim)
    values = values + error
    values[rng.random(values.shape) < missing] = np.nan
    return values


def task_of(values, *, train, ends=None, horizon=HORIZON, freq="h"):
    ends = [train] if ends is None else ends
    with quiet_business_days():
        begin = period(freq)
        starts = [begin + end for end in ends]
    return Task(
        train=values[:train],
        histories=[values[:end] for end in ends],
        gaps=[end - train for end in ends],
        horizon=horizon,
        freq=freq,
        starts=starts,
        seasons=[CYCLE],
        columns=[f"series {d}" for d in range(values.shape[1])],
    )


def fitted_to(task, cycles=(CYCLE,)):
    return fit_adaptive_linear(task, seed=0, progress=False, cycles=list(cycles))


def sampled(task, num_samples, *, cycles=(CYCLE,), seed=1):
    """Paths of the first window in float64."""
    fitted = fitted_to(task, cycles)
    return fitted.sample(task.windows[0], num_samples, np.random.default_rng(seed))


def parts_of(task, cycles=(CYCLE,)):
    """Forecast, scale and errors of past origins by the model's own parts."""
    dim = task.train.shape[1]
    config = ModelConfig(cycles=list(cycles))
    shape = Shape(dim, task.horizon, 1, [1], num_time_features("h"), **adaptive_shape(config, "h"))
    entry = {"start": period("h"), "target": task.train.T}
    data = WindowData([read_entry(entry)], shape)
    fitted = fit_on(data, most_errors=10**6)
    centre = LinearCentre(shape)
    centre.coefficients.copy_(fitted.fit.coefficients)
    batch = forecast_batch([read_entry({**entry, "target": task.histories[0].T})], shape)
    mean = batch.location + batch.scale * centre(batch)
    origins = (fitted.origins - data.first).numpy()
    return mean[0].numpy(), batch.scale[0].numpy(), fitted.errors.numpy(), origins


@pytest.mark.parametrize("cycles", [(CYCLE,), (1,), (CYCLE, 4 * CYCLE)])
@pytest.mark.parametrize("gap", [0, 4])
def test_paths_are_the_linear_forecast_and_past_error_trajectories(cycles, gap):
    task = task_of(data_of(), train=290, ends=[290 + gap])
    mean, scale, errors, origins = parts_of(task, cycles)
    at = np.flatnonzero((origins - 290 - gap) % cycles[0] == 0)
    assert len(at) >= FEWEST
    drawn = sampled(task, 2 * len(at), cycles=cycles)
    low, high = bounds(task.train)
    assert ((drawn > low) & (drawn < high)).all()  # nothing is cut off here
    # Every trajectory twice, so that they have the mean that is taken off.
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=1e-4)
    deviations, found = (drawn - mean) / scale, []
    expected = errors[at] - errors[at].mean(axis=0)
    for path in deviations:
        away = np.abs(path - expected).max(axis=(1, 2))
        assert away.min() < 1e-3
        found.append(int(away.argmin()))
    assert sorted(found) == sorted([*range(len(at)), *range(len(at))])


def test_where_the_position_of_the_forecast_is_rare_all_trajectories_serve():
    task = task_of(data_of(80), train=75)
    mean, scale, errors, origins = parts_of(task)
    assert ((origins - 75) % CYCLE == 0).sum() < FEWEST <= len(origins)
    drawn = sampled(task, len(origins))
    low, high = bounds(task.train)
    expected = mean + scale * (errors - errors.mean(axis=0))
    found = {tuple(path.ravel().round(3)) for path in drawn}
    assert found == {tuple(path.ravel().round(3)) for path in np.clip(expected, low, high)}


def test_errors_are_of_regressions_without_their_own_block():
    # A path is no residual of the fit: the errors of 24 regressors on few origins would be far smaller.
    task = task_of(data_of(90, dim=1), train=90)
    _, _, errors, _ = parts_of(task)
    config = ModelConfig(cycles=[CYCLE])
    shape = Shape(1, HORIZON, 1, [1], num_time_features("h"), **adaptive_shape(config, "h"))
    data = WindowData([read_entry({"start": period("h"), "target": task.train.T})], shape)
    fitted = fit_on(data, most_errors=10**6)
    centre = LinearCentre(shape)
    centre.coefficients.copy_(fitted.fit.coefficients)
    batch = data.windows(fitted.origins)
    own = (batch.target[:, -HORIZON:] - centre(batch)).numpy()
    assert np.square(errors).mean() > 1.05 * np.square(own).mean()


def test_dependence_of_series_and_steps_is_that_of_the_past():
    values = data_of(600, dim=1)
    both = np.concatenate([values, -0.5 * values - 2], axis=1)
    drawn = sampled(task_of(both, train=600), 200)
    np.testing.assert_allclose(drawn[..., 1], -0.5 * drawn[..., 0] - 2, atol=0.05)
    # Errors of persistence .7 grow and hang together.
    assert drawn[:, 4, 0].std() > 1.2 * drawn[:, 0, 0].std()
    assert np.corrcoef(drawn[:, 3, 0], drawn[:, 4, 0])[0, 1] > 0.5


def test_forecasts_of_one_seed_are_the_same_and_need_no_truth():
    values = data_of()
    task = task_of(values, train=280, ends=[280, 285])
    first = fitted_to(task).paths(task, num_samples=30, seed=3, progress=False)
    again = fitted_to(task).paths(task, num_samples=30, seed=3, progress=False)
    np.testing.assert_array_equal(first, again)
    assert first.shape == (2, 30, HORIZON, 2) and first.dtype == np.float64
    other = fitted_to(task).paths(task, num_samples=30, seed=4, progress=False)
    assert not np.array_equal(first, other)
    # What comes after a window's history is not in its task; what comes after the training data is no
    # part of the fit.
    changed = values.copy()
    changed[280:] *= -3
    later = task_of(changed, train=280, ends=[280, 285])
    found = fitted_to(later).paths(later, num_samples=30, seed=3, progress=False)
    np.testing.assert_array_equal(found[0], first[0])
    assert not np.array_equal(found[1], first[1])


def test_every_trajectory_is_used_before_one_is_used_again():
    task = task_of(data_of(), train=300)
    _, _, _, origins = parts_of(task)
    count = int(((origins - 300) % CYCLE == 0).sum())
    drawn = sampled(task, count)
    assert len(np.unique(drawn.round(4), axis=0)) == count


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_gaps_and_single_series(dim, missing):
    values = data_of(dim=dim, missing=missing)
    values[:, dim - 1] = np.where(np.isnan(values[:, dim - 1]), np.nan, np.abs(values[:, dim - 1]))
    drawn = sampled(task_of(values, train=300), 50)
    assert drawn.shape == (50, HORIZON, dim) and np.isfinite(drawn).all()
    assert (drawn[..., dim - 1] >= 0).all() and (drawn.std(axis=0) > 0.1).all()


def test_odd_series_are_forecast_as_what_they_are():
    values = data_of(dim=4)
    values[:, 1], values[:, 2], values[:, 3] = 5.0, np.nan, np.arange(300) % CYCLE
    drawn = sampled(task_of(values, train=300), 30)
    assert np.isfinite(drawn).all()
    np.testing.assert_allclose(drawn[..., 1], 5, atol=1e-4)
    np.testing.assert_allclose(drawn[..., 2], 0)
    np.testing.assert_allclose(
        drawn[..., 3], np.tile(np.arange(HORIZON) % CYCLE, (30, 1)), atol=5e-3
    )


@pytest.mark.parametrize("unit", [16.0, 2.0**-10])
def test_the_unit_does_not_matter(unit):
    values = data_of()
    one, other = (sampled(task_of(factor * values, train=300), 20) for factor in (1, unit))
    np.testing.assert_allclose(other, unit * one, rtol=1e-3, atol=1e-3 * unit)


@pytest.mark.parametrize(
    ("length", "horizon"),
    [(7, 5), (9, 5), (12, 5), (30, 5), (3, 1), (40, 12), (12, 10), (26, 24)],
)
def test_short_data(length, horizon):
    task = task_of(data_of(length), train=length, horizon=horizon)
    fitted = fit_adaptive_linear(task, seed=0, progress=False)
    assert fitted.details["cycles"] == [1]
    drawn = fitted.sample(task.windows[0], 25, np.random.default_rng(0))
    assert drawn.shape == (25, horizon, 2) and np.isfinite(drawn).all()


def test_it_is_a_fast_baseline_by_its_name():
    baseline, task = BASELINES["adaptive_linear"], task_of(data_of(), train=280, ends=[280, 290])
    assert baseline.fast and not baseline.copula
    drawn = baseline.forecast(task, num_samples=10, seed=2, progress=False)
    own = fit_adaptive_linear(task, seed=2, progress=False)
    expected = own.paths(task, num_samples=10, seed=2, progress=False)
    np.testing.assert_array_equal(drawn, expected)


def test_details_are_plain_and_tell_what_was_chosen():
    task = task_of(data_of(), train=300)
    details = fitted_to(task).details
    assert details["cycles"] == [CYCLE] and details["half_life"] == 4.0
    assert details["trajectories"] == details["origins"] > 200
    by_frequency = fit_adaptive_linear(task, seed=0, progress=False).details
    assert by_frequency["cycles"] == [24]
    own = fit_adaptive_linear(task, seed=0, progress=False, half_life=1.5).details
    assert own["half_life"] == 1.5


@pytest.mark.parametrize("freq", ["h", "D", "B", "M", "Y"])
def test_every_frequency(freq):
    task = task_of(data_of(70), train=65, freq=freq)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        fitted = fit_adaptive_linear(task, seed=0, progress=False)
        drawn = fitted.sample(task.windows[0], 25, np.random.default_rng(0))
    assert np.isfinite(drawn).all()


@pytest.mark.parametrize("most", [1, 7])
def test_trajectories_are_thinned_where_they_would_be_too_many(monkeypatch, most):
    numbers = most * HORIZON * 2
    monkeypatch.setattr("timediff.baselines.adaptive_linear.MOST_NUMBERS", numbers)
    task = task_of(data_of(), train=300)
    fitted = fitted_to(task)
    assert fitted.details["trajectories"] <= most + 5 and fitted.details["origins"] > 200
    assert torch.isfinite(
        torch.tensor(fitted.sample(task.windows[0], 9, np.random.default_rng(0)))
    ).all()
