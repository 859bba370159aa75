"""The forward chain and its posterior by exact identities, the loss by a naive loop."""

import math

import pytest
import torch

from timediff.diffusion import LOSSES, add_noise, diffuse, noise_loss, posterior, predict_x0
from timediff.schedule import SCHEDULES, make_schedule

pytestmark = pytest.mark.usefixtures("float64")

N = 100


@pytest.fixture(params=SCHEDULES)
def schedule(request, device):
    return make_schedule(request.param, num_steps=N, beta_start=1e-4, beta_end=0.1).to(device)


@pytest.fixture
def steps(device):
    """Every step of the chain, as the leading axis of data ``[N, D]``."""
    return torch.arange(1, N + 1, device=device)


def close(actual, expected, tolerance=1e-10):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def test_single_steps_compose_to_the_closed_form(schedule, steps, device):
    one, zero = torch.ones(N, 1, device=device), torch.zeros(N, 1, device=device)
    # Each step is linear in data and noise: read its two factors, follow mean and variance.
    kept = diffuse(schedule, one, steps, zero)
    added = diffuse(schedule, zero, steps, one)
    mean, variance, means, variances = 1.0, 0.0, [], []
    for a, b in zip(kept[:, 0].tolist(), added[:, 0].tolist(), strict=True):
        mean, variance = a * mean, a**2 * variance + b**2
        means.append(mean)
        variances.append(variance)
    close(add_noise(schedule, one, steps, zero)[:, 0], one.new_tensor(means), 1e-12)
    close(add_noise(schedule, zero, steps, one)[:, 0] ** 2, one.new_tensor(variances), 1e-12)


def test_posterior_composed_with_the_marginal_is_the_previous_marginal(schedule, steps, device):
    one, zero = torch.ones(N, 1, device=device), torch.zeros(N, 1, device=device)
    noise_free = add_noise(schedule, one, steps, zero)
    spread = add_noise(schedule, zero, steps, one)
    mean, variance = posterior(schedule, one, noise_free, steps)
    through_xn, _ = posterior(schedule, zero, spread, steps)
    close(mean, add_noise(schedule, one, steps - 1, zero))
    close(through_xn**2 + variance, add_noise(schedule, zero, steps - 1, one) ** 2)


def test_posterior_is_bayes_rule(schedule, device):
    n = torch.arange(2, N + 1, device=device)
    x0 = torch.randn(N - 1, 3, device=device)
    xn = torch.randn(N - 1, 3, device=device)
    beta = schedule.beta[1:].tolist()
    prior_mean, prior_variance = [], []
    for k in n.tolist():
        kept = math.prod(1 - b for b in beta[: k - 1])
        prior_mean.append(math.sqrt(kept))
        prior_variance.append(1 - kept)
    prior_mean = x0.new_tensor(prior_mean)[:, None] * x0
    prior_variance = x0.new_tensor(prior_variance)[:, None]
    beta = schedule.beta[n][:, None]
    precision = 1 / prior_variance + (1 - beta) / beta
    weighted = prior_mean / prior_variance + (1 - beta).sqrt() * xn / beta
    mean, variance = posterior(schedule, x0, xn, n)
    close(mean, weighted / precision)
    close(variance, 1 / precision)


def test_first_step_of_the_posterior_is_the_clean_data(schedule, device):
    x0, x1 = torch.randn(2, 5, 3, device=device)
    mean, variance = posterior(schedule, x0, x1, torch.ones(5, dtype=torch.long, device=device))
    close(mean, x0, 1e-12)
    assert (variance == 0).all()


def test_noise_can_be_taken_out_again(schedule, steps, device):
    x0, eps = torch.randn(2, N, 4, device=device)
    xn = add_noise(schedule, x0, steps, eps)
    close(predict_x0(schedule, xn, steps, eps), x0)


def test_step_zero_adds_nothing(schedule, device):
    x0, eps = torch.randn(2, 5, 3, device=device)
    zero = torch.zeros(5, dtype=torch.long, device=device)
    assert torch.equal(add_noise(schedule, x0, zero, eps), x0)


def test_each_row_has_its_own_step(schedule, device):
    x, y = torch.randn(2, 3, 4, 2, device=device)
    n = torch.randint(1, N + 1, (3, 4), device=device)
    noised, (mean, variance) = add_noise(schedule, x, n, y), posterior(schedule, x, y, n)
    assert variance.shape == (3, 4, 1)
    for row in range(3):
        for column in range(4):
            at = (row, column)
            close(noised[at], add_noise(schedule, x[at], n[at], y[at]))
            close(mean[at], posterior(schedule, x[at], y[at], n[at])[0])


def pointwise(kind, difference):
    size = abs(difference)
    return {
        "l1": size,
        "l2": size**2,
        "huber": 0.5 * size**2 if size < 1 else size - 0.5,
    }[kind]


def elementwise(x, level):
    """A denoiser that looks at one entry at a time."""
    return 2 * torch.tanh(x) + level.log_snr[..., None] / 10


@pytest.mark.parametrize("kind", LOSSES)
def test_loss_is_the_pointwise_error_of_the_noise(schedule, kind, device):
    x0, eps = torch.randn(2, 2, 5, 3, device=device)
    n = torch.randint(1, N + 1, (2, 5), device=device)
    error = noise_loss(schedule, elementwise, x0, n, eps, loss=kind)
    assert error.shape == x0.shape
    beta = schedule.beta.tolist()
    for b in range(2):
        for t in range(5):
            kept = math.prod(1 - one for one in beta[: int(n[b, t]) + 1])
            for d in range(3):
                e = float(eps[b, t, d])
                xn = math.sqrt(kept) * float(x0[b, t, d]) + math.sqrt(1 - kept) * e
                eps_hat = 2 * math.tanh(xn) + (math.log(kept) - math.log(1 - kept)) / 10
                assert float(error[b, t, d]) == pytest.approx(pointwise(kind, eps_hat - e), 1e-9)


@pytest.mark.parametrize("kind", LOSSES)
def test_an_entry_changes_its_own_loss_only(schedule, kind, device):
    x0, eps = torch.randn(2, 2, 5, 3, device=device)
    n = torch.randint(1, N, (2, 5), device=device)
    other = x0.clone()
    other[1, 2, 0] += 1.0
    changed = noise_loss(schedule, elementwise, x0, n, eps, loss=kind) != noise_loss(
        schedule, elementwise, other, n, eps, loss=kind
    )
    assert changed.nonzero().tolist() == [[1, 2, 0]]


@pytest.mark.parametrize("kind", LOSSES)
def test_the_exact_denoiser_has_no_loss(schedule, steps, kind, device):
    x0, eps = torch.randn(2, N, 3, device=device)

    def exact(x, level):
        return (x - level.alpha[..., None] * x0) / level.sigma[..., None]

    error = noise_loss(schedule, exact, x0, steps, eps, loss=kind)
    close(error, torch.zeros_like(error))
