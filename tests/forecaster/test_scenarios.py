"""Few scenarios for many paths: against brute force on small cases, and on realistic paths."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from timediff.forecaster.forecast import Forecast
from timediff.forecaster.scenarios import choose, distances, energy_distance, points_of


def on(size, places, values):
    """Masses on all points."""
    masses = np.zeros(size)
    masses[places] = values
    return masses


def least(distance, p, places):
    """The least energy distance with any weights on some points, by an optimiser that knows no algebra."""
    places, k = list(places), len(places)
    done = minimize(
        lambda w: energy_distance(distance, p, on(len(p), places, w)),
        np.full(k, 1 / k),
        bounds=[(0, 1)] * k,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return done.fun


@pytest.mark.parametrize("seed", range(12))
def test_small_cases_equal_the_optimum_of_brute_force(seed):
    rng = np.random.default_rng(seed)
    size, k = int(rng.integers(5, 10)), int(rng.integers(1, 4))
    distance = distances(rng.normal(size=(size, int(rng.integers(1, 5)))))
    p = rng.dirichlet(np.ones(size))
    chosen, weights = choose(distance, p, k)
    assert (weights > 0).all() and weights.sum() == pytest.approx(1)
    best = min(least(distance, p, places) for places in itertools.combinations(range(size), k))
    assert energy_distance(distance, p, on(size, chosen, weights)) == pytest.approx(
        best, rel=1e-5, abs=1e-9
    )


def test_many_cases_equal_the_optimum_of_all_subsets():
    """Weights by linear algebra; where one is negative, the set without that point is no worse."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        size, k = int(rng.integers(5, 13)), int(rng.integers(2, 5))
        distance = distances(rng.normal(size=(size, int(rng.integers(1, 6)))))
        p = rng.dirichlet(np.ones(size))
        best = np.inf
        for places in map(list, itertools.combinations(range(size), k)):
            system = np.ones((k + 1, k + 1))
            system[:k, :k], system[k, k] = distance[np.ix_(places, places)], 0
            weights = np.linalg.solve(system, np.append(distance[places] @ p, 1))[:k]
            if (weights >= 0).all():
                best = min(best, energy_distance(distance, p, on(size, places, weights)))
        chosen, weights = choose(distance, p, k)
        reached = energy_distance(distance, p, on(size, chosen, weights))
        assert reached == pytest.approx(best, rel=1e-9), seed


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_the_energy_distance_is_that_of_its_definition(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(7, 2))
    p, w = rng.dirichlet(np.ones(7), size=2)
    d = np.linalg.norm(x[:, None] - x[None], axis=-1)
    definition = 2 * w @ d @ p - w @ d @ w - p @ d @ p
    assert energy_distance(distances(x), p, w) == pytest.approx(definition, abs=1e-12)
    assert definition > 0 and energy_distance(distances(x), p, p) == 0


def test_all_points_are_chosen_with_their_own_masses():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(6))
    chosen, weights = choose(distances(rng.normal(size=(6, 3))), p, 6)
    assert list(chosen) == list(range(6)) and weights == pytest.approx(p)


def test_tight_clusters_get_one_scenario_each_with_their_share():
    rng = np.random.default_rng(0)
    sizes = [50, 30, 20]
    paths = np.concatenate(
        [rng.normal(at, 1e-3, size=(n, 4, 2)) for at, n in zip((0, 10, 30), sizes, strict=True)]
    )
    stamps = pd.date_range("2024-01-01", periods=4)
    few = Forecast(paths, ["a", "b"], stamps).representatives(3)
    assert np.sort(few.weights) == pytest.approx([0.2, 0.3, 0.5], abs=1e-3)


def test_units_of_the_series_do_not_matter_but_for_the_total():
    paths = np.random.default_rng(0).normal(size=(60, 5, 1))
    stamps = pd.date_range("2024-01-01", periods=5)
    one, other = (
        Forecast(scale * paths + 3, ["a"], stamps).representatives(6) for scale in (1, 1000)
    )
    np.testing.assert_allclose(other.paths - 3, 1000 * (one.paths - 3))
    np.testing.assert_allclose(other.weights, one.weights)


def realistic(seed, *, count=1000, steps=24, dim=8, persistence=0.9, correlation=0.5):
    """Paths of a day of hours: a daily profile, and errors that persist and are shared by the series."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(1, 5, size=dim)
    profile = 1 + 0.4 * np.sin(2 * np.pi * np.arange(steps) / 24)
    root = np.linalg.cholesky(correlation + (1 - correlation) * np.eye(dim))
    noise = rng.normal(size=(steps, count, dim)) @ root.T
    errors = np.zeros((steps, count, dim))
    for t in range(steps):
        errors[t] = persistence * errors[t - 1] + np.sqrt(1 - persistence**2) * noise[t]
    return level * profile[:, None] + 0.25 * level * errors.transpose(1, 0, 2)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("persistence", "correlation", "share"), [(0.95, 0.8, 0.45), (0.9, 0.5, 0.52), (0.7, 0.3, 0.6)]
)
def test_ten_of_a_thousand_paths(seed, persistence, correlation, share):
    """Half of the energy distance of random paths is reached where errors persist and are shared."""
    paths = realistic(seed, persistence=persistence, correlation=correlation)
    whole = Forecast(paths, list("abcdefgh"), pd.date_range("2024-01-01", periods=24, freq="h"))
    few = whole.representatives(10)
    distance, p = distances(points_of(paths, whole.mean)), np.full(1000, 1e-3)
    chosen = [int(np.flatnonzero((paths == path).all(axis=(1, 2)))[0]) for path in few.paths]
    reached = energy_distance(distance, p, on(1000, chosen, few.weights))
    rng = np.random.default_rng(seed)
    draws = [rng.choice(1000, 10, replace=False) for _ in range(100)]
    random = np.median([energy_distance(distance, p, on(1000, draw, 0.1)) for draw in draws])
    assert reached <= share * random, reached / random
    total, few_total = whole.aggregate(), few.aggregate()
    error = np.abs(few_total.mean - total.mean).mean() / total.mean.mean()
    assert error <= 0.02
    (low, high), (few_low, few_high) = (f.quantile([0.05, 0.95]) for f in (total, few_total))
    assert (few_high - few_low).mean() == pytest.approx((high - low).mean(), rel=0.15)
