"""Scores of vectors and correlations: closed forms, naive rewrites, other libraries, propriety."""

import math
import re
from functools import partial

import numpy as np
import pytest
import scoringrules
from groups import contracts, cross_checks, invariances, oracles

from timediff import metrics
from timediff.errors import InputError

W, S, T, D = 2, 30, 3, 5


def forecasts(seed=0, *, members=S):
    """Correlated paths on different scales."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(D, D))
    scale = 10.0 ** np.arange(D)
    paths = scale * (rng.gamma(2.0, size=(W, members, T, D)) @ mix)
    return paths, scale * (rng.gamma(2.0, size=(W, T, D)) @ mix)


def with_moments(members, mean, covariance):
    """An ensemble ``[S, 1, D]`` of exactly this mean and (unbiased) covariance."""
    z = np.random.default_rng(1).normal(size=(members, len(mean)))
    z -= z.mean(axis=0)
    z = z @ np.linalg.inv(np.linalg.cholesky(np.cov(z.T))).T
    return (mean + z @ np.linalg.cholesky(covariance).T)[:, None]


MEAN = np.array([1.0, -2.0, 0.5])
COVARIANCE = np.array([[2.0, 0.6, 0.1], [0.6, 1.0, -0.3], [0.1, -0.3, 0.5]])
HAPPENED = np.array([2.0, 0.0, 1.0])


# --- closed forms -----------------------------------------------------------------------------


@oracles
@pytest.mark.parametrize("dims", [1, 3, 10])
def test_fair_energy_score_of_the_normal_has_the_mean_of_the_closed_form(dims):
    # At y = 0: E|X| - E|X - X'| / 2, and X - X' is sqrt(2) X.
    count = 3000
    norm = math.sqrt(2) * math.gamma((dims + 1) / 2) / math.gamma(dims / 2)
    paths = np.random.default_rng(2).normal(size=(5, count, dims))
    values = metrics.energy_score(paths, np.zeros((count, dims)), fair=True)
    exact = norm * (1 - 1 / math.sqrt(2))
    assert abs(values.mean() - exact) < 5 * values.std() / np.sqrt(count)


@oracles
def test_dawid_sebastiani_is_the_closed_form_of_mean_and_covariance():
    paths = with_moments(20, MEAN, COVARIANCE)
    error = HAPPENED - MEAN
    exact = math.log(np.linalg.det(COVARIANCE)) + error @ np.linalg.inv(COVARIANCE) @ error
    assert metrics.dawid_sebastiani(paths, HAPPENED[None]).item() == pytest.approx(exact)
    assert metrics.covariance_shrinkage(paths, HAPPENED[None]).item() == 0


@oracles
def test_variogram_of_order_two_is_the_closed_form_of_mean_and_covariance():
    members = 20
    paths = with_moments(members, MEAN, COVARIANCE)
    variance = np.diag(COVARIANCE)
    differences = variance[:, None] + variance - 2 * COVARIANCE
    expected = (MEAN[:, None] - MEAN) ** 2 + differences * (members - 1) / members
    exact = np.square((HAPPENED[:, None] - HAPPENED) ** 2 - expected).sum()
    value = metrics.variogram_score(paths, HAPPENED[None], order=2.0)
    assert value.item() == pytest.approx(exact)


@oracles
def test_variogram_by_hand():
    paths = np.array([[0.0, 1.0], [0.0, 9.0]])[:, None]  # mean of the roots: 2
    value = metrics.variogram_score(paths, np.array([[5.0, 5.0]]))
    assert value.item() == pytest.approx(2 * 2.0**2)


def ledoit_wolf(z):
    """Ledoit and Wolf's (2004) weight in plain loops, of standardised paths ``[S, D]``."""
    members, dims = z.shape
    z = z * math.sqrt(members / (members - 1))  # so that z'z / S has a unit diagonal
    sample = z.T @ z / members
    away = np.square(sample - np.eye(dims)).sum()
    noise = sum(np.square(np.outer(row, row) - sample).sum() for row in z) / members**2
    return min(noise, away) / away


@cross_checks
@pytest.mark.parametrize(
    "members, repeats", [(4, False), (5, False), (5, True), (30, True), (3, True)]
)
def test_shrunk_dawid_sebastiani_is_that_of_the_shrunk_matrix(members, repeats):
    paths, truth = forecasts(3, members=members)
    if repeats:
        paths[..., 1] = 3 * paths[..., 0]
    x, y = paths[1, :, 2], truth[1, 2]
    deviation = x.std(axis=0, ddof=1)
    weight = ledoit_wolf((x - x.mean(axis=0)) / deviation)
    matrix = (1 - weight) * np.corrcoef(x.T) + weight * np.eye(D)
    covariance = matrix * deviation * deviation[:, None]
    error = y - x.mean(axis=0)
    exact = np.linalg.slogdet(covariance)[1] + error @ np.linalg.solve(covariance, error)
    assert metrics.covariance_shrinkage(paths, truth)[1, 2] == pytest.approx(weight)
    assert metrics.dawid_sebastiani(paths, truth)[1, 2] == pytest.approx(exact)


@oracles
def test_a_dimension_without_spread_is_right_or_infinitely_wrong():
    paths, truth = forecasts(4)
    paths[..., 2] = 0.1
    assert np.isinf(metrics.dawid_sebastiani(paths, truth)).all()
    truth[..., 2] = 0.1
    others = [0, 1, 3, 4]
    expected = metrics.dawid_sebastiani(paths[..., others], truth[..., others])
    np.testing.assert_allclose(metrics.dawid_sebastiani(paths, truth), expected)


@contracts
def test_two_paths_are_enough():
    paths, truth = forecasts(5, members=2)
    assert np.isfinite(metrics.dawid_sebastiani(paths, truth)).all()


@oracles
@pytest.mark.parametrize("forecast, expected", [(0.8, 0.0), (0.0, 0.8), (-0.5, 1.3)])
def test_correlation_error_of_two_series_is_the_distance_of_their_correlations(forecast, expected):
    rng = np.random.default_rng(6)
    steps, true = 4000, 0.8

    def normal(size, rho):
        return rng.normal(size=(*size, 2)) @ np.linalg.cholesky([[1, rho], [rho, 1]]).T

    rhythm = 5 * np.sin(np.arange(steps))[:, None]  # common to both, and known
    paths = rhythm + normal((10, steps), forecast) * [1.0, 50.0]
    truth = rhythm + normal((steps,), true) * [1.0, 50.0]
    error = metrics.correlation_error(paths, truth)
    standard_error = math.hypot((1 - true**2), (1 - forecast**2) / 3) / math.sqrt(steps)
    assert abs(error - expected) < 5 * standard_error


@cross_checks
def test_correlation_error_equals_a_naive_rewrite_with_gaps():
    paths, truth = forecasts(7)
    truth[0, 1, 2] = truth[1, 2, :2] = np.nan
    mean = paths.mean(axis=1, keepdims=True)
    errors = (truth - mean[:, 0]).reshape(-1, D)
    residuals = np.moveaxis(paths - mean, 1, 2).reshape(-1, S, D)
    squares = []
    for i in range(D):
        for j in range(i):
            seen = ~np.isnan(errors[:, i] + errors[:, j])
            pair = residuals[seen][..., [i, j]].reshape(-1, 2)
            of_paths = pair.T @ pair
            of_truth = errors[seen][:, [i, j]].T @ errors[seen][:, [i, j]]
            of_truth -= of_paths / (S - 1) / S  # that of the mean of the paths
            forecast, true = (m[0, 1] / math.sqrt(m[0, 0] * m[1, 1]) for m in (of_paths, of_truth))
            squares.append((true - forecast) ** 2)
    ours = metrics.correlation_error(paths, truth)
    assert ours == pytest.approx(math.sqrt(np.mean(squares)))


# --- other libraries --------------------------------------------------------------------------


@cross_checks
def test_vector_scores_equal_scoringrules():
    paths, truth = forecasts(8)
    members = np.moveaxis(paths, 1, -2)
    np.testing.assert_allclose(
        metrics.energy_score(paths, truth, fair=True),
        scoringrules.es_ensemble(truth, members, estimator="fair"),
        rtol=1e-7,
    )
    for order in (0.5, 1.0, 2.0):
        theirs = scoringrules.vs_ensemble(truth, members, p=order, estimator="nrg")
        ours = metrics.variogram_score(paths, truth, order=order)
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    theirs = scoringrules.dssmv_ensemble(truth, members)
    np.testing.assert_allclose(metrics.dawid_sebastiani(paths, truth), theirs, rtol=1e-6)


@cross_checks
def test_fewer_pairs_are_weights_at_some_distances():
    paths, truth = forecasts(9)
    # Ten pairs, at most six of them: every second distance, 1 and 3, with 4 + 2 pairs.
    i, j = np.indices((D, D))
    weights = np.where(np.isin(abs(i - j), [1, 3]), 10 / 6, 0.0)
    theirs = scoringrules.vs_ensemble(
        truth, np.moveaxis(paths, 1, -2), weights, p=0.5, estimator="nrg"
    )
    ours = metrics.variogram_score(paths, truth, max_pairs=6)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    whole = metrics.variogram_score(paths, truth)
    np.testing.assert_allclose(metrics.variogram_score(paths, truth, max_pairs=10), whole)


# --- propriety --------------------------------------------------------------------------------

SCORES = {
    "energy": metrics.energy_score,
    "fair energy": partial(metrics.energy_score, fair=True),
    "variogram": metrics.variogram_score,
    "variogram, few pairs": partial(metrics.variogram_score, max_pairs=2),
    "dawid-sebastiani": metrics.dawid_sebastiani,
}


def gain(name, *, shift=0.0, scale=1.0, correlation=0.6, truth_correlation=0.6, count=1500):
    """Mean loss by a wrong forecast, in standard errors."""
    rng = np.random.default_rng(10)

    def normal(size, rho):
        matrix = np.full((3, 3), rho) + (1 - rho) * np.eye(3)
        return rng.normal(size=(*size, 3)) @ np.linalg.cholesky(matrix).T

    truth = normal((count,), truth_correlation)
    right = normal((60, count), truth_correlation)
    wrong = shift + scale * normal((60, count), correlation)
    values = SCORES[name](wrong, truth) - SCORES[name](right, truth)
    return values.mean() / (values.std() / np.sqrt(count))


@oracles
@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_the_true_spread_scores_best(name, scale):
    assert gain(name, scale=scale) > 5


@oracles
@pytest.mark.parametrize("name", ["energy", "fair energy", "dawid-sebastiani"])
def test_the_true_mean_scores_best(name):
    assert gain(name, shift=np.array([0.5, 0.0, -0.5])) > 5


@oracles
@pytest.mark.parametrize("name", ["variogram", "variogram, few pairs", "dawid-sebastiani"])
@pytest.mark.parametrize("correlation", [0.0, 0.95])
def test_the_true_correlation_scores_best(name, correlation):
    assert gain(name, correlation=correlation) > 5


# --- what must not matter, and what is refused ------------------------------------------------


@invariances
@pytest.mark.parametrize("name", SCORES)
def test_order_of_members_and_leading_axes_do_not_matter(name):
    paths, truth = forecasts(11)
    values = SCORES[name](paths, truth)
    shuffled = paths[:, np.random.default_rng(12).permutation(S)]
    np.testing.assert_allclose(SCORES[name](shuffled, truth), values, rtol=1e-7)
    np.testing.assert_allclose(SCORES[name](paths[0], truth[0]), values[0], rtol=1e-12)
    nested = SCORES[name](paths[:, None], truth[:, None])
    np.testing.assert_allclose(nested, values[:, None], rtol=1e-12)


@invariances
@pytest.mark.parametrize("name", SCORES)
def test_gaps_leave_the_score_of_the_observed_dimensions(name):
    paths, truth = forecasts(13)
    truth[:, 1, [0, 3]] = np.nan
    truth[1, 2] = np.nan
    values = SCORES[name](paths, truth)
    others = SCORES[name](paths[:, :, 1:2, [1, 2, 4]], truth[:, 1:2, [1, 2, 4]])
    np.testing.assert_allclose(values[:, 1:2], others, rtol=1e-12)
    assert np.isnan(values[1, 2]) and np.isnan(values).sum() == 1


@invariances
@pytest.mark.parametrize("members", [S, 4])
def test_units_shift_dawid_sebastiani_by_their_logarithms(members):
    paths, truth = forecasts(14, members=members)
    units = np.array([1e-3, 1.0, 7.0, 1e4, 2.0])
    before, after = (metrics.dawid_sebastiani(paths * u, truth * u) for u in (1.0, units))
    np.testing.assert_allclose(after - before, 2 * np.log(units).sum(), rtol=1e-9)


@contracts
@pytest.mark.parametrize(
    "bad",
    [
        lambda x, y: metrics.energy_score(x[:, :1], y, fair=True),
        lambda x, y: metrics.dawid_sebastiani(x[:, :1], y),
        lambda x, y: metrics.correlation_error(x[:, :1], y),
        lambda x, y: metrics.variogram_score(x, y, order=0),
        lambda x, y: metrics.variogram_score(x, y, max_pairs=0),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(bad):
    with pytest.raises(InputError) as caught:
        bad(*forecasts(15))
    assert re.fullmatch(r"[^A-Z].*[^.]", str(caught.value))
