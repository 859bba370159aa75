"""The forward chain, its posterior and the reverse step by exact identities, the loss by a naive loop."""

import math

import pytest
import torch
from groups import contracts, cross_checks, identities, invariances, oracles
from toys import close, make_chain, point

from timediff.diffusion.objective import MIN_SNR_CAP, bound_weight, ho_weight, noise_loss
from timediff.diffusion.parameterisation import Prediction, predict
from timediff.diffusion.process import add_noise, diffuse, posterior, reverse_step
from timediff.registry import LOSSES, PARAMETERISATIONS, SCHEDULES, WEIGHTINGS

pytestmark = pytest.mark.usefixtures("float64")

N = 100


@pytest.fixture(params=SCHEDULES)
def schedule(request, device):
    return make_chain(request.param).to(device)


@pytest.fixture
def steps(device):
    """Every step of the chain, as the leading axis of data ``[N, D]``."""
    return torch.arange(1, N + 1, device=device)


@identities
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


@identities
def test_posterior_composed_with_the_marginal_is_the_previous_marginal(schedule, steps, device):
    one, zero = torch.ones(N, 1, device=device), torch.zeros(N, 1, device=device)
    noise_free = add_noise(schedule, one, steps, zero)
    spread = add_noise(schedule, zero, steps, one)
    mean, variance = posterior(schedule, one, noise_free, steps)
    through_xn, _ = posterior(schedule, zero, spread, steps)
    close(mean, add_noise(schedule, one, steps - 1, zero))
    close(through_xn**2 + variance, add_noise(schedule, zero, steps - 1, one) ** 2)


@identities
def test_posterior_is_bayes_rule(schedule, device):
    n = torch.arange(2, N + 1, device=device)
    x0 = torch.randn(N - 1, 3, device=device)
    xn = torch.randn(N - 1, 3, device=device)
    # The prior q(x_{n-1} | x_0) by single steps, the likelihood q(x_n | x_{n-1}) from one.
    retain, beta = schedule.retain.tolist(), schedule.beta.tolist()
    factor, variances = [1.0], [0.0]
    for k in range(1, N + 1):
        factor.append(retain[k] * factor[-1])
        variances.append(retain[k] ** 2 * variances[-1] + beta[k])
    prior_mean = x0.new_tensor(factor)[n - 1][:, None] * x0
    prior_variance = x0.new_tensor(variances)[n - 1][:, None]
    retain, beta = schedule.retain[n][:, None], schedule.beta[n][:, None]
    precision = 1 / prior_variance + retain**2 / beta
    weighted = prior_mean / prior_variance + retain * xn / beta
    mean, variance = posterior(schedule, x0, xn, n)
    close(mean, weighted / precision)
    close(variance, 1 / precision)


@identities
def test_first_step_of_the_posterior_is_the_clean_data(schedule, device):
    x0, x1 = torch.randn(2, 5, 3, device=device)
    mean, variance = posterior(schedule, x0, x1, torch.ones(5, dtype=torch.long, device=device))
    close(mean, x0, 1e-12)
    assert (variance == 0).all()


@identities
def test_step_zero_adds_nothing(schedule, device):
    x0, eps = torch.randn(2, 5, 3, device=device)
    zero = torch.zeros(5, dtype=torch.long, device=device)
    assert torch.equal(add_noise(schedule, x0, zero, eps), x0)


@invariances
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


# The reverse step.


@identities
def test_reverse_mean_is_that_of_the_noise(schedule, steps, device):
    x0, eps = torch.randn(2, N, 3, device=device)
    xn = add_noise(schedule, x0, steps, eps)
    eps_hat = torch.randn_like(eps)
    prediction = predict(eps_hat, xn, schedule.level(steps), kind="noise")
    mean, _ = reverse_step(schedule, prediction, xn, steps, variance="small")
    # Ho et al. (2020), eq. 11, for any process.
    retain, beta, sigma = (
        getattr(schedule, name)[steps][:, None] for name in ("retain", "beta", "sigma")
    )
    expected = (xn - beta / sigma * eps_hat) / retain
    # The last step of some chains leaves one part in 1e6 of the data: four digits cancel.
    torch.testing.assert_close(mean, expected, rtol=1e-9, atol=1e-8)


@identities
def test_reverse_step_of_the_true_data_is_the_posterior(schedule, device):
    n = torch.arange(2, N + 1, device=device)
    x0, xn = torch.randn(2, N - 1, 3, device=device)
    truth = Prediction(x0, torch.zeros_like(x0))
    mean, log_variance = reverse_step(schedule, truth, xn, n, variance="small")
    expected, variance = posterior(schedule, x0, xn, n)
    close(mean, expected)
    close(log_variance.exp(), variance)


@oracles
@pytest.mark.parametrize("end", ["small", "large"])
def test_fixed_variances_are_right_at_the_two_ends_of_knowledge(schedule, device, end):
    # Data that is a point, and data that is N(0, norm^2) at every level; in between lies all other data.
    n = torch.arange(2, N + 1, device=device)
    x = torch.randn(N - 1, 1, device=device)
    _, log_variance = reverse_step(schedule, Prediction(x, x), x, n, variance=end)
    spread = {"small": 0.0, "large": 1.0}[end]

    def joint(m):
        return schedule.alpha[m] ** 2 * spread + schedule.sigma[m] ** 2

    # Var[x_{n-1} | x_n] of the joint Gaussian.
    covariance = schedule.retain[n] * joint(n - 1)
    exact = joint(n - 1) - covariance**2 / joint(n)
    ratio = log_variance[:, 0].exp() / exact
    norm = (schedule.alpha**2 + schedule.sigma**2).sqrt()
    if end == "large":
        # beta is exact in units in which the data keeps its size.
        ratio = ratio * (norm[n - 1] / norm[n]) ** 2
    close(ratio, torch.ones_like(ratio), 1e-8)


@identities
def test_learned_variance_lies_between_the_fixed_ones_and_meets_them(schedule, steps, device):
    xn = torch.randn(N, 3, device=device)

    def step(variance, fraction=None):
        return reverse_step(schedule, Prediction(xn, xn, fraction), xn, steps, variance=variance)

    mean, small = step("small")
    same, large = step("large")
    assert torch.equal(mean, same)
    assert small.shape == large.shape == (N, 1)
    assert (small < large).all()
    for fraction, end in ((0.0, small), (1.0, large)):
        _, learned = step("learned", torch.full_like(xn, fraction))
        assert learned.shape == xn.shape
        close(learned, end.expand_as(xn), 1e-12)
    inside = torch.rand_like(xn) * 0.98 + 0.01
    same, learned = step("learned", inside)
    assert torch.equal(mean, same)
    assert ((learned > small) & (learned < large)).all()
    close((learned - small) / (large - small), inside, 1e-7)


# Weights.


@identities
def test_bound_weight_is_half_the_loss_of_signal_to_noise(schedule, device):
    n = torch.arange(2, N + 1, device=device)
    snr = schedule.log_snr.exp()
    close(bound_weight(schedule, n), (snr[n - 1] / snr[n] - 1) / 2, 1e-9)


@identities
@pytest.mark.parametrize("variance", ["small", "large"])
def test_weight_of_a_kl_term_is_hos(schedule, device, variance):
    n = torch.arange(2, N + 1, device=device)
    # beta^2 / (2 sigma^2 alpha (1 - alpha_bar)), Ho et al. (2020), eq. 12: their alpha is retain^2 here.
    beta, kept, noise = schedule.beta[n], schedule.retain[n] ** 2, schedule.sigma[n] ** 2
    value = {"small": beta * schedule.sigma[n - 1] ** 2 / noise, "large": beta}[variance]
    expected = beta**2 / (2 * value * kept * noise)
    close(ho_weight(schedule, n, value), expected, 1e-9)
    if variance == "small":
        close(bound_weight(schedule, n), expected, 1e-9)


@identities
@pytest.mark.parametrize("variance", ["small", "large"])
def test_weight_times_error_is_the_distance_of_the_means(schedule, device, variance):
    n = torch.arange(1, N + 1, device=device)
    x0, eps, eps_hat = torch.randn(3, N, 4, device=device)
    xn = add_noise(schedule, x0, n, eps)
    prediction = predict(eps_hat, xn, schedule.level(n), kind="noise")
    mean, log_variance = reverse_step(schedule, prediction, xn, n, variance=variance)
    truth, _ = posterior(schedule, x0, xn, n)
    # KL of two Gaussians of the same variance.
    distance = ((mean - truth) ** 2 / (2 * log_variance.exp())).sum(dim=-1)
    weight = ho_weight(schedule, n, log_variance[:, 0].exp())
    close(distance / (weight * ((eps - eps_hat) ** 2).sum(dim=-1)), torch.ones(N).to(x0), 1e-8)


@identities
@pytest.mark.parametrize("kind", PARAMETERISATIONS)
def test_each_weighting_is_the_squared_error_of_its_quantity(schedule, steps, kind, device):
    x0, eps, eps_hat = torch.randn(3, N, 4, device=device)
    level = schedule.level(steps)
    # In variance-preserving units, in which networks work.
    norm = level.norm
    xn = add_noise(schedule, x0, steps, eps) / norm[:, None]
    level = level._replace(alpha=level.alpha / norm, sigma=level.sigma / norm)
    prediction = predict(eps_hat, xn, level, kind="noise")
    truth = PARAMETERISATIONS[kind].of(x0, eps, level)
    guess = PARAMETERISATIONS[kind].of(prediction.x0, prediction.eps, level)
    loss = noise_loss(schedule, prediction, steps, eps, weighting=kind)
    torch.testing.assert_close(loss, (truth - guess) ** 2, rtol=1e-6, atol=1e-9)


@identities
def test_min_snr_is_the_error_of_the_data_up_to_a_cap(schedule, steps):
    snr = schedule.log_snr[steps].exp()
    weight = WEIGHTINGS["min-snr"](schedule, steps) / WEIGHTINGS["x0"](schedule, steps)
    assert MIN_SNR_CAP == 5
    close(weight, torch.minimum(snr, torch.full_like(snr, 5.0)))


@contracts
def test_only_the_parameterisations_and_two_more_have_weights():
    # One that is not here has no test above.
    assert set(WEIGHTINGS) == {*PARAMETERISATIONS, "min-snr", "bound"}


@contracts
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_weights_are_positive_and_have_the_shape_of_the_steps(schedule, weighting, device):
    n = torch.randint(1, N + 1, (3, 5), device=device)
    weight = WEIGHTINGS[weighting](schedule, n)
    assert weight.shape == n.shape
    assert (weight > 0).all() and weight.isfinite().all()
    assert float(WEIGHTINGS[weighting](schedule, n[1, 2])) == float(weight[1, 2])


# The loss.


def pointwise(kind, difference):
    size = abs(difference)
    return {
        "l1": size,
        "l2": size**2,
        "huber": 0.5 * size**2 if size < 1 else size - 0.5,
    }[kind]


def elementwise(x, level):
    """A denoiser that looks at one entry at a time."""
    return predict(2 * torch.tanh(x) + level.log_snr[..., None] / 10, x, level, kind="noise")


def loss_of(schedule, denoiser, x0, n, eps, **options):
    prediction = denoiser(add_noise(schedule, x0, n, eps), schedule.level(n))
    return noise_loss(schedule, prediction, n, eps, **options)


@cross_checks
@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("kind", LOSSES)
def test_loss_is_the_weighted_pointwise_error_of_the_noise(kind, weighting, device):
    schedule = make_chain().to(device)
    x0, eps = torch.randn(2, 2, 3, 2, device=device)
    n = torch.randint(2, N + 1, (2, 3), device=device)
    error = loss_of(schedule, elementwise, x0, n, eps, loss=kind, weighting=weighting)
    assert error.shape == x0.shape
    beta = schedule.beta.tolist()
    for b in range(2):
        for t in range(3):
            step = int(n[b, t])
            before, kept = (math.prod(1 - one for one in beta[:m]) for m in (step, step + 1))
            snr = kept / (1 - kept)
            weight = {
                "noise": 1,
                "x0": 1 / snr,
                "v": (snr + 1) / snr,
                "score": 1 / (1 - kept),
                "min-snr": min(snr, 5) / snr,
                "bound": (before / (1 - before) / snr - 1) / 2,
            }[weighting]
            for d in range(2):
                e = float(eps[b, t, d])
                xn = math.sqrt(kept) * float(x0[b, t, d]) + math.sqrt(1 - kept) * e
                eps_hat = 2 * math.tanh(xn) + math.log(snr) / 10
                expected = weight * pointwise(kind, eps_hat - e)
                assert float(error[b, t, d]) == pytest.approx(expected, 1e-8)


@invariances
@pytest.mark.parametrize("kind", LOSSES)
def test_an_entry_changes_its_own_loss_only(schedule, kind, device):
    x0, eps = torch.randn(2, 2, 5, 3, device=device)
    n = torch.randint(1, N // 2, (2, 5), device=device)
    other = x0.clone()
    other[1, 2, 0] += 1.0
    changed = loss_of(schedule, elementwise, x0, n, eps, loss=kind) != loss_of(
        schedule, elementwise, other, n, eps, loss=kind
    )
    assert changed.nonzero().tolist() == [[1, 2, 0]]


@oracles
@pytest.mark.parametrize("kind", LOSSES)
def test_the_exact_denoiser_has_no_loss(schedule, steps, kind, device):
    x0, eps = torch.randn(2, N, 3, device=device)
    error = loss_of(schedule, point(x0), x0, steps, eps, loss=kind)
    close(error, torch.zeros_like(error))
