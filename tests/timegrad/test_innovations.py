"""Errors and their innovations: one is made of the other, and a fit reproduces the Gaussian it was shown."""

import numpy as np
import pytest
import torch
from groups import contracts, cross_checks, identities, invariances, oracles
from toys import close

from timediff.timegrad.correlation import MODES, SHRINKAGE, correlation, mode_count
from timediff.timegrad.innovations import PRIOR, Innovations

#: Hadamard's matrix: modes in which all series of a process have one variance, whatever those of the modes.
HADAMARD = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
VARIANCES = np.array([2.4, 0.9, 0.5, 0.2])
PERSISTENCE = np.array([0.9, 0.6, 0.3, -0.4])
T, D = 6, 4
#: Data units of each lead and series.
UNIT = np.linspace(1, 2, T)[:, None] * np.array([1.0, 0.1, 20.0, 3.0])


def errors_of(count, *, seed=0):
    """Errors that grow as those of forecasts do: autoregressions of each mode, from innovations on."""
    rng = np.random.default_rng(seed)
    along, rows = np.zeros((count, D)), []
    for _ in range(T):
        along = PERSISTENCE * along + np.sqrt(VARIANCES) * rng.normal(size=(count, D))
        rows.append(along @ HADAMARD.T)
    return torch.tensor(UNIT * np.stack(rows, axis=1))


def law_of_errors(variances):
    """Covariance of such errors for these variances of the modes' innovations, ``[T, D, T, D]``."""
    covariance = np.empty((T, D, T, D))
    for t in range(T):
        for s in range(T):
            grown = sum(PERSISTENCE ** (t + s - 2 * k) for k in range(min(t, s) + 1))
            own = HADAMARD @ np.diag(variances * grown) @ HADAMARD.T
            covariance[t, :, s] = UNIT[t][:, None] * own * UNIT[s]
    return torch.tensor(covariance)


def widths(covariance):
    """Standard deviation of each lead and series, ``[T, D]``."""
    return torch.stack([covariance[t, :, t].diagonal().sqrt() for t in range(T)])


def random_state(horizon, dim, seed=0):
    """Innovations with a state of no particular meaning."""
    torch.manual_seed(seed)
    made = Innovations(horizon, dim)
    made.size.copy_(0.5 + torch.rand(horizon, dim))
    made.modes.copy_(torch.linalg.qr(torch.randn(dim, dim))[0][:, : mode_count(dim)])
    made.persistence[1:] = 1.6 * torch.rand(horizon - 1, mode_count(dim) + 1) - 0.8
    made.step_size.copy_(0.3 + torch.rand(horizon))
    return made


def rolled(innovations, z):
    """Errors of innovations ``[N, T, D]``, step by step as paths are drawn."""
    error, rows = torch.zeros_like(z[:, 0]), []
    for t in range(z.shape[1]):
        error = innovations.carried(t, error) + innovations.unit(t) * z[:, t]
        rows.append(error)
    return torch.stack(rows, dim=1)


def matrices(innovations):
    """The matrices A_h in plain terms, ``[T, D, D]``."""
    u, dim = innovations.modes, len(innovations.modes)
    rest = torch.eye(dim) - u @ u.T
    return [u @ torch.diag(phi[:-1]) @ u.T + phi[-1] * rest for phi in innovations.persistence]


def implied(innovations, found):
    """Covariance of all leads' errors, ``[T, D, T, D]``, for innovations of a `Correlation`, by matrices."""
    horizon, dim = innovations.size.shape
    modes, variances = found.modes, found.variances
    own = modes @ torch.diag(variances[:-1]) @ modes.T
    own = own + variances[-1] * (torch.eye(dim) - modes @ modes.T)
    # u of every lead as a linear function of all innovations.
    rows, before = [], torch.zeros(dim, horizon * dim)
    for t, carry in enumerate(matrices(innovations)):
        before = carry @ before
        before[:, t * dim : (t + 1) * dim] += innovations.step_size[t] * torch.eye(dim)
        rows.append(innovations.size[t][:, None] * before)
    linear = torch.cat(rows)
    covariance = linear @ torch.kron(torch.eye(horizon), own) @ linear.T
    return covariance.view(horizon, dim, horizon, dim)


# -------------------------------------------------------------------------------- there and back


@identities
@pytest.mark.parametrize("dim", [1, 3, MODES, 40])
def test_innovations_of_errors_are_those_that_they_were_made_of(float64, dim):
    innovations, z = random_state(5, dim), torch.randn(7, 5, dim)
    errors = rolled(innovations, z)
    close(innovations.split(errors), z, 1e-9)
    close(rolled(innovations, innovations.split(errors)), errors, 1e-9)


@cross_checks
@pytest.mark.parametrize("dim", [1, 3, 40])
def test_what_is_carried_is_the_formula(float64, dim):
    innovations, error = random_state(5, dim), torch.randn(7, dim)
    assert torch.equal(innovations.carried(0, error), torch.zeros(7, dim))
    for t, carry in enumerate(matrices(innovations)):
        if t:
            expected = innovations.size[t] * ((error / innovations.size[t - 1]) @ carry.T)
            close(innovations.carried(t, error), expected)


@identities
def test_the_volume_that_a_density_needs_is_that_of_the_units(float64):
    innovations = random_state(3, 2)
    jacobian = torch.func.jacrev(innovations.split)(torch.randn(3, 2)).reshape(6, 6)
    logs = torch.stack([innovations.unit(t) for t in range(3)]).log().sum()
    close(torch.linalg.slogdet(jacobian).logabsdet, -logs)


@contracts
def test_as_made_innovations_are_the_errors():
    errors = torch.randn(3, 5, 4)
    assert torch.equal(Innovations(5, 4).split(errors), errors)


@contracts
def test_only_earlier_errors_matter(float64):
    innovations, errors = random_state(5, 3), torch.randn(2, 5, 3)
    changed = errors.clone()
    changed[:, 3] += 1
    away = (innovations.split(changed) - innovations.split(errors)).abs().amax(dim=(0, 2))
    assert (away[:3] == 0).all() and (away[3:] > 0).all()
    innovations.persistence.zero_()
    away = (innovations.split(changed) - innovations.split(errors)).abs().amax(dim=(0, 2))
    assert (away > 0).tolist() == [False, False, False, True, False]


# ------------------------------------------------------------------------------------------- fits


@oracles
def test_a_fit_finds_the_process_it_was_shown(float64):
    count = 20_000
    errors, innovations = errors_of(count), Innovations(T, D)
    found = innovations.fit(errors, torch.ones_like(errors, dtype=torch.bool))
    # Relative errors of standard deviations are 1 / sqrt(2 N), of correlations at most 1 / sqrt(N).
    error = 5 / count**0.5
    size = widths(law_of_errors(VARIANCES))
    torch.testing.assert_close(innovations.size, size, rtol=error, atol=0)
    overlap = (innovations.modes.T @ torch.tensor(HADAMARD)).abs()
    assert (overlap.diagonal() > 0.99).all()
    unit = size / torch.tensor(UNIT)  # that of all series at each lead
    phi = torch.tensor(PERSISTENCE) * unit[:-1, :1] / unit[1:, :1]
    torch.testing.assert_close(innovations.persistence[1:, :-1], phi, rtol=0, atol=error)
    torch.testing.assert_close(innovations.step_size, 1 / unit[:, 0], rtol=error, atol=0)
    shrunk = (1 - SHRINKAGE) * VARIANCES + SHRINKAGE
    np.testing.assert_allclose(found.variances[:-1], shrunk, rtol=error)


@oracles
def test_the_fitted_gaussian_has_the_covariance_of_the_errors(float64):
    count = 20_000
    errors, innovations = errors_of(count), Innovations(T, D)
    found = innovations.fit(errors, torch.ones_like(errors, dtype=torch.bool))
    own = implied(innovations, found)
    truth = law_of_errors((1 - SHRINKAGE) * VARIANCES + SHRINKAGE)
    width = widths(truth)
    away = (own - truth) / (width[..., None, None] * width)
    assert away.abs().max() < 10 / count**0.5
    # Drawn step by step, as paths are.
    z = (found.variances[:-1].sqrt() * torch.randn(count, T, D)) @ found.modes.T
    drawn = rolled(innovations, z).flatten(1)
    flat = own.reshape(T * D, T * D)
    variances = flat.diagonal()
    error = ((variances[:, None] * variances + flat**2) / count).sqrt()
    assert ((drawn.T @ drawn / count - flat).abs() < 5 * error).all()
    # Shrinkage costs the width of series little.
    assert (width / widths(law_of_errors(VARIANCES)) - 1).abs().max() < 0.03


@invariances
def test_units_of_errors_change_their_sizes_alone(float64):
    errors, factor = errors_of(500), torch.tensor([3.0, 1e-3, 50.0, 1.0])
    known = torch.ones_like(errors, dtype=torch.bool)
    one, other = Innovations(T, D), Innovations(T, D)
    first, second = one.fit(errors, known), other.fit(factor * errors, known)
    close(other.size, factor * one.size)
    close(other.persistence, one.persistence, 1e-8)
    close(other.step_size, one.step_size, 1e-8)
    close(second.variances, first.variances, 1e-8)


@invariances
def test_the_order_of_series_does_not_matter(float64):
    errors, order = errors_of(500), [2, 0, 3, 1]
    known = torch.ones_like(errors, dtype=torch.bool)
    one, other = Innovations(T, D), Innovations(T, D)
    first, second = one.fit(errors, known), other.fit(errors[..., order], known)
    own, theirs = implied(one, first), implied(other, second)
    close(theirs, own[:, order][:, :, :, order], 1e-8)


def width_found(errors, known):
    """Of the fitted Gaussian, as a share of the truth's, ``[T, D]``."""
    innovations = Innovations(T, D)
    found = innovations.fit(torch.where(known, errors, 0.0), known)
    return widths(implied(innovations, found)) / widths(law_of_errors(VARIANCES))


@oracles
@pytest.mark.parametrize("kind", ["constant", "never observed"])
def test_a_series_without_errors_takes_nothing_of_the_width_of_others(float64, kind):
    errors = errors_of(5000)
    errors[..., 1:3] = 0.0
    known = torch.ones_like(errors, dtype=torch.bool)
    known[..., 1:3] = kind == "constant"
    width = width_found(errors, known)[:, [0, 3]]
    assert (width > 0.9).all() and (width < 1.1).all()


@oracles
def test_gaps_take_nothing_of_the_width(float64):
    errors = errors_of(5000)
    width = width_found(errors, torch.rand(errors.shape) < 0.7)
    assert (width > 0.88).all() and (width < 1.1).all()


@oracles
def test_gaps_take_nothing_of_the_dependence(float64):
    errors = errors_of(5000)
    totals = []
    for known in (torch.ones(errors.shape, dtype=torch.bool), torch.rand(errors.shape) < 0.7):
        innovations = Innovations(T, D)
        found = innovations.fit(torch.where(known, errors, 0.0), known)
        width = widths(law_of_errors(VARIANCES))
        totals.append((implied(innovations, found) / (width[..., None, None] * width)).sum())
    assert 0.85 < totals[1] / totals[0] < 1.15


@oracles
def test_what_one_origin_shows_of_dependence_is_little(float64):
    # A single past forecast, whose errors an autoregression of each mode would explain to the last digit.
    innovations = Innovations(T, D)
    innovations.fit(errors_of(1), torch.ones(1, T, D, dtype=torch.bool))
    assert innovations.persistence.abs().max() < 1 / (1 + PRIOR)
    assert (innovations.step_size[1:] > (1 - 1 / (1 + PRIOR)) ** 2).all()
    # A thousand are believed.
    many = Innovations(T, D)
    many.fit(errors_of(1000), torch.ones(1000, T, D, dtype=torch.bool))
    assert many.persistence.abs().max() > 0.8


@contracts
def test_a_lead_that_no_origin_knows_is_as_wide_as_the_others(float64):
    errors, known = errors_of(50), torch.ones(50, T, D, dtype=torch.bool)
    known[:, 3] = False
    innovations = Innovations(T, D)
    innovations.fit(torch.where(known, errors, 0.0), known)
    units = torch.stack([innovations.unit(t) for t in range(T)])
    assert (units[3] >= units[[0, 1, 2, 4, 5]].min(dim=0).values).all()


@oracles
def test_one_series_is_an_autoregression(float64):
    count, phi = 20_000, 0.8
    rows = [torch.randn(count, 1)]
    for _ in range(4):
        rows.append(phi * rows[-1] + (1 - phi**2) ** 0.5 * torch.randn(count, 1))
    errors, innovations = 3 * torch.stack(rows, dim=1), Innovations(5, 1)
    found = innovations.fit(errors, torch.ones_like(errors, dtype=torch.bool))
    error = 5 / count**0.5
    np.testing.assert_allclose(innovations.persistence[1:, 0], phi, atol=error)
    np.testing.assert_allclose(innovations.step_size[1:], (1 - phi**2) ** 0.5, rtol=error)
    np.testing.assert_allclose(found.variances, 1, rtol=1e-9)
    own = implied(innovations, found)
    for t in range(5):
        np.testing.assert_allclose(own[t, 0, t, 0], 9, rtol=3 * error)


@oracles
def test_many_series_keep_their_leading_modes_and_the_rest_its_mean(float64):
    # One factor behind 40 series, and noise: a correlation of rho between any two.
    count, dim, rho = 4000, 40, 0.6
    common, noise = torch.randn(count, 3, 1), torch.randn(count, 3, dim)
    errors = rho**0.5 * common + (1 - rho) ** 0.5 * noise
    innovations = Innovations(3, dim)
    found = innovations.fit(errors, torch.ones_like(errors, dtype=torch.bool))
    assert mode_count(dim) == MODES and found.modes.shape == (dim, MODES)
    close(found.modes.T @ found.modes, torch.eye(MODES), 1e-8)
    first = (1 - SHRINKAGE) * (1 + (dim - 1) * rho) + SHRINKAGE
    np.testing.assert_allclose(found.variances[0], first, rtol=0.05)
    left = (1 - SHRINKAGE) * (1 - rho) + SHRINKAGE
    np.testing.assert_allclose(found.variances[1:], left, rtol=0.3)
    # All variance there is.
    total = found.variances[:-1].sum() + (dim - MODES) * found.variances[-1]
    np.testing.assert_allclose(total, dim, rtol=1e-6)
    own = implied(innovations, found)
    for t in range(3):
        np.testing.assert_allclose(own[t, :, t].diagonal(), 1, rtol=0.15)


@oracles
def test_a_persistence_of_all_modes_is_that_of_the_rest_too(float64):
    count, dim, phi = 1000, 60, 0.7
    rows = [torch.randn(count, dim)]
    for _ in range(3):
        rows.append(phi * rows[-1] + (1 - phi**2) ** 0.5 * torch.randn(count, dim))
    errors, innovations = torch.stack(rows, dim=1), Innovations(4, dim)
    innovations.fit(errors, torch.ones_like(errors, dtype=torch.bool))
    # The leading modes of so many series are those that happen to persist, the rest those that do not.
    np.testing.assert_allclose(innovations.persistence[1:], phi, atol=0.12)


@contracts
@pytest.mark.parametrize("dim", [1, 4, 40])
@pytest.mark.parametrize("count", [1, 2, 50])
@pytest.mark.parametrize("odd", ["zeros", "a column of zeros", "a huge one", "unknown"])
def test_odd_errors_have_finite_innovations(dim, count, odd):
    errors = torch.randn(count, 5, dim)
    known = torch.ones(count, 5, dim, dtype=torch.bool)
    if odd == "zeros":
        errors.zero_()
    elif odd == "a column of zeros":
        errors[..., 0] = 0
    elif odd == "a huge one":
        errors[0, 2, 0] = 1e12
    else:
        known[:, 1:4] = False
        errors = torch.where(known, errors, 0.0)
    innovations = Innovations(5, dim)
    found = innovations.fit(errors, known)
    for part in (*found, *innovations.state_dict().values()):
        assert torch.isfinite(part).all()
    assert (found.variances > 0).all() and (innovations.size > 0).all()
    assert (innovations.persistence.abs() < 1).all()
    z = innovations.split(errors)
    assert torch.isfinite(z).all()
    torch.testing.assert_close(
        rolled(innovations, z), errors, rtol=1e-3, atol=1e-3 + 1e-6 * errors.abs().max()
    )


@cross_checks
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_a_correlation_is_numpys(float64, dim):
    rows = torch.randn(300, dim) @ torch.randn(dim, dim)
    rows = rows - rows.mean(dim=0)
    modes, variances = correlation(rows.T @ rows / len(rows))
    matrix = np.atleast_2d(np.corrcoef(rows.numpy().T))
    expected = (1 - SHRINKAGE) * matrix + SHRINKAGE * np.eye(dim)
    close(modes @ torch.diag(variances[:-1]) @ modes.T, torch.tensor(expected), 1e-9)
    assert (variances[:-1].diff() <= 0).all() and variances[-1] == 1


@oracles
def test_a_column_of_zeros_hangs_together_with_no_other(float64):
    rows = torch.randn(100, 3) @ torch.randn(3, 3)
    rows[:, 1] = 0
    modes, variances = correlation(rows.T @ rows / len(rows))
    matrix = modes @ torch.diag(variances[:-1]) @ modes.T
    close(matrix[1], torch.tensor([0.0, 1.0, 0.0]))


# ------------------------------------------------------------------------------------- few origins


def bands_of(count, *, dim=400):
    """Coverage of 90 % bands of the fitted size, of errors that grow from lead to lead, ``[T, D]``."""
    true = torch.linspace(1, 2, T)[:, None]
    errors = true * torch.randn(count, T, dim, generator=torch.Generator().manual_seed(6))
    made = Innovations(T, dim)
    made.fit(errors, torch.ones(count, T, dim, dtype=torch.bool))
    own = errors.square().mean(dim=0).sqrt()
    return (torch.erf(1.645 * size / true / 2**0.5) for size in (made.size, own))


@oracles
@pytest.mark.parametrize(("count", "least"), [(1, 0.8), (2, 0.82), (4, 0.85)])
def test_bands_from_few_origins_are_wide_enough_more_often_than_by_the_own_errors_of_a_lead(
    float64, count, least
):
    pooled, own = bands_of(count)
    if count == 1:  # a Cauchy distribution: the ratio of two normal ones
        expected = 2 / np.pi * np.arctan(1.645)
        assert abs(float(own.mean()) - expected) < 5 * float(own.std()) / own.numel() ** 0.5
    assert float(pooled.mean()) > max(least, float(own.mean()) + 0.02)
    # What few errors leave certain is rare.
    assert float((pooled < 0.3).double().mean()) < 0.02


@oracles
def test_of_many_origins_a_lead_has_its_own_size(float64):
    errors = errors_of(2000)
    made = Innovations(T, D)
    made.fit(errors, torch.ones(2000, T, D, dtype=torch.bool))
    own = errors.square().mean(dim=0).sqrt()
    torch.testing.assert_close(made.size, own, rtol=PRIOR / 2000, atol=0)
