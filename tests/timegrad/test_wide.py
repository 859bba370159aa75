"""Very many series: what is made without a matrix of each pair of them is what that matrix would say."""

import pytest
import torch
from groups import contracts, cross_checks, oracles
from toys import Squares, close

from timediff.timegrad import innovations as module
from timediff.timegrad.correlation import MODES, SHRINKAGE, correlation
from timediff.timegrad.innovations import Innovations
from timediff.timegrad.wide import correlation_of_rows


def factors(count, leads, dim, *, rank, noise, seed=0):
    """Errors ``[N, T, D]`` of a few persistent factors, and noise that is each series' own."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*size):
        return torch.randn(size, generator=generator)

    loadings, along, rows = normal(rank, dim) * torch.linspace(3, 1, rank)[:, None], 0.0, []
    for _ in range(leads):
        along = torch.linspace(0.9, 0.1, rank) * along + normal(count, rank)
        rows.append(along @ loadings + noise * normal(count, dim))
    return torch.stack(rows, dim=1)


def fitted(monkeypatch, errors, known=None, *, wide):
    """Innovations of errors and their correlation, in either form."""
    monkeypatch.setattr(module, "WIDE", 0 if wide else 10**9)
    made = Innovations(*errors.shape[1:])
    known = torch.ones(errors.shape, dtype=torch.bool) if known is None else known
    return made, made.fit(torch.where(known, errors, 0.0), known)


def matrix(found):
    """A `Correlation` in plain terms, ``[D, D]``."""
    modes, variances = found.modes, found.variances
    rest = torch.eye(len(modes)) - modes @ modes.T
    return modes @ torch.diag(variances[:-1]) @ modes.T + variances[-1] * rest


@cross_checks
@pytest.mark.parametrize(
    ("dim", "rank", "tolerance"),
    [(1, 1, 1e-9), (5, 5, 1e-9), (MODES, 20, 1e-9), (60, 20, 1e-4)],
)
def test_both_forms_agree_where_the_modes_are_all_there_is(
    float64, monkeypatch, dim, rank, tolerance
):
    errors = factors(200, 5, dim, rank=rank, noise=1e-2 if dim > MODES else 1.0)
    (one, first), (other, second) = (
        fitted(monkeypatch, errors, wide=wide) for wide in (False, True)
    )
    assert torch.equal(one.size, other.size)
    close(other.step_size, one.step_size, tolerance)
    close(matrix(second), matrix(first), tolerance)
    some = torch.randn(3, 5, dim)
    close(other.split(some), one.split(some), 10 * tolerance)


@cross_checks
@pytest.mark.parametrize("dim", [3, 40])
def test_the_correlation_of_rows_is_that_of_their_products(float64, dim):
    rows = torch.randn(30, 4) @ torch.randn(4, dim)  # of a rank below the modes
    close(matrix(correlation_of_rows(rows)), matrix(correlation(rows.T @ rows)), 1e-9)


@oracles
def test_the_variance_of_all_series_is_kept_whatever_the_modes_find(float64):
    for dim in (40, 300):
        modes, variances = correlation_of_rows(torch.randn(100, dim))
        close(modes.T @ modes, torch.eye(MODES), 1e-9)
        close(variances[:-1].sum() + (dim - MODES) * variances[-1], torch.tensor(float(dim)), 1e-9)
        assert (variances[:-1].diff() <= 0).all() and variances[-1] > SHRINKAGE / 2


@oracles
def test_gaps_that_all_series_share_change_nothing(float64, monkeypatch):
    errors = factors(150, 4, 6, rank=6, noise=1.0)
    known = torch.ones(errors.shape, dtype=torch.bool)
    known[100:] = False
    made, found = fitted(monkeypatch, errors, known, wide=True)
    short, expected = fitted(monkeypatch, errors[:100], wide=True)
    close(matrix(found), matrix(expected))
    close(made.persistence, short.persistence)


@oracles
def test_scattered_gaps_loosen_series_by_no_more_than_the_share_that_they_both_know(
    float64, monkeypatch
):
    errors = factors(4000, 1, 8, rank=1, noise=1.0)
    known = torch.rand(errors.shape) < 0.8
    whole, gappy = (
        matrix(fitted(monkeypatch, errors, seen, wide=True)[1]) for seen in (None, known)
    )
    apart = ~torch.eye(8, dtype=torch.bool) & (whole.abs() > 0.3)
    ratio = (gappy / whole)[apart]
    # Of 80 % each they know 64 % together, over 80 %.
    assert apart.any() and (ratio > 0.7).all() and (ratio < 0.9).all()


@contracts
@pytest.mark.parametrize("wide", [True, False])
def test_a_matrix_of_each_pair_of_series_is_made_of_few_series_only(monkeypatch, wide):
    with Squares(101) as squares:
        fitted(monkeypatch, torch.randn(9, 3, 101), wide=wide)
    assert bool(squares.seen) is not wide


@contracts
@pytest.mark.parametrize("count", [1, 2, 40])
@pytest.mark.parametrize("odd", ["zeros", "half of zeros", "a huge one", "unknown"])
def test_odd_errors_of_many_series_have_finite_innovations(monkeypatch, count, odd):
    errors, known = torch.randn(count, 3, 80), torch.ones(count, 3, 80, dtype=torch.bool)
    if odd == "zeros":
        errors.zero_()
    elif odd == "half of zeros":
        errors[..., :40] = 0
    elif odd == "a huge one":
        errors[0, 1, 0] = 1e12
    else:
        known[:, 1:] = False
    made, found = fitted(monkeypatch, errors, known, wide=True)
    for part in (*found, *made.state_dict().values()):
        assert torch.isfinite(part).all()
    assert (found.variances > 0).all() and (made.persistence.abs() < 1).all()


@contracts
def test_the_global_generator_is_left_alone_and_does_not_matter():
    rows = torch.randn(50, 200)
    torch.manual_seed(1)
    first, after = correlation_of_rows(rows), torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), after)
    torch.manual_seed(2)
    second = correlation_of_rows(rows)
    assert torch.equal(first.modes, second.modes)
