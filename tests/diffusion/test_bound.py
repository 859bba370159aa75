"""The variational bound: each term by identities, the sum by models whose likelihood is known."""

import math

import pytest
import torch
from groups import contracts, convergence, cross_checks, identities, invariances, oracles
from torch.distributions import MultivariateNormal, Normal, kl_divergence
from toys import Gaussian, close, make_chain, point

from timediff.diffusion.bound import (
    bound_sample,
    bound_terms,
    hybrid_term,
    normal_kl,
    normal_nll,
    plain_bound,
    prior_term,
    step_term,
)
from timediff.diffusion.objective import bound_weight, ho_weight
from timediff.diffusion.parameterisation import Prediction
from timediff.diffusion.process import add_noise, diffuse, posterior, reverse_step
from timediff.diffusion.schedule import Schedule
from timediff.registry import SCHEDULES

pytestmark = pytest.mark.usefixtures("float64")

N = 30
VARIANCES = ("small", "large", "learned")


@pytest.fixture(params=SCHEDULES)
def schedule(request, device):
    return make_chain(request.param, N, beta_start=1e-3, beta_end=0.3).to(device)


@pytest.fixture
def steps(device):
    """Every step after the first, as the leading axis of data ``[N - 1, D]``."""
    return torch.arange(2, N + 1, device=device)


def deviation(log_variance):
    return (log_variance / 2).exp()


def spherical(size, device):
    """Points whose average is the expectation of every quadratic of a standard normal vector."""
    unit = math.sqrt(size) * torch.eye(size, device=device)
    return torch.cat([unit, -unit])


def average_bound(schedule, denoiser, mean, covariance, *, variance):
    """Terms of the bound averaged over Gaussian data and noise with no random number, ``[N + 1, D]``."""
    dim = len(mean)
    points = spherical(2 * dim, mean.device)
    x0 = mean + points[:, :dim] @ torch.linalg.cholesky(covariance).T
    terms = bound_terms(schedule, denoiser, x0, lambda n: points[:, dim:], variance=variance)
    return terms.mean(dim=1)


def model_density(schedule, denoiser, dim, *, variance):
    """The distribution of x0 under the reverse chain of an affine denoiser, by recursion."""
    device = schedule.beta.device
    mean = torch.zeros(dim, device=device)
    covariance = schedule.prior_std**2 * torch.eye(dim, device=device)
    inputs = torch.cat([torch.zeros(1, dim, device=device), torch.eye(dim, device=device)])
    for step in range(schedule.num_steps, 0, -1):
        n = torch.full((dim + 1,), step, device=device)
        prediction = denoiser(inputs, schedule.points[step])
        output, log_variance = reverse_step(schedule, prediction, inputs, n, variance=variance)
        shift, linear_part = output[0], output[1:] - output[0]
        mean = shift + mean @ linear_part
        added = log_variance[0].exp().expand(dim)
        covariance = linear_part.T @ covariance @ linear_part + torch.diag(added)
    return MultivariateNormal(mean, covariance)


@cross_checks
def test_closed_forms_are_those_of_torch_distributions():
    mean1, mean2, spread1, spread2, x = torch.randn(5, 4, 3)
    first, second = Normal(mean1, deviation(spread1)), Normal(mean2, deviation(spread2))
    close(normal_kl(mean1, spread1, mean2, spread2), kl_divergence(first, second))
    close(normal_nll(x, mean1, spread1), -first.log_prob(x))


@cross_checks
def test_prior_term_is_the_divergence_at_the_last_step(schedule, device):
    x0 = torch.randn(5, 3, device=device)
    last = Normal(schedule.alpha[-1] * x0, schedule.sigma[-1])
    start = Normal(torch.zeros_like(x0), schedule.prior_std)
    close(prior_term(schedule, x0), kl_divergence(last, start))


@oracles
def test_prior_term_keeps_its_digits_in_float32(schedule, device):
    x0 = torch.zeros(1, 1, device=device)
    single = prior_term(schedule, x0.float())
    assert single.dtype == torch.float32
    snr = math.exp(schedule.points[-1].log_snr)
    exact_value = 0.5 * (math.log1p(snr) - snr / (1 + snr))
    assert float(single) == pytest.approx(exact_value, rel=1e-3, abs=1e-9)


def noised(schedule, n, device):
    x0, eps = torch.randn(2, len(n), 3, device=device)
    xn = add_noise(schedule, x0, n, eps)
    guess = eps + 0.3 * torch.randn(len(n), 3, device=device)
    alpha, sigma = schedule.alpha[n][..., None], schedule.sigma[n][..., None]
    fraction = torch.rand(len(n), 3, device=device)
    return x0, eps, xn, Prediction((xn - sigma * guess) / alpha, guess, fraction)


@identities
def test_fixed_small_terms_are_weighted_errors_of_noise_and_of_data(schedule, steps, device):
    x0, eps, xn, prediction = noised(schedule, steps, device)
    term = step_term(schedule, prediction, x0, xn, steps, variance="small")
    error = (eps - prediction.eps) ** 2
    close(term, bound_weight(schedule, steps)[:, None] * error)
    snr = schedule.log_snr.exp()
    lost = (snr[steps - 1] - snr[steps])[:, None]
    close(term, 0.5 * lost * (x0 - prediction.x0) ** 2, 1e-9)


@identities
def test_fixed_large_terms_have_a_constant_more(schedule, steps, device):
    x0, eps, xn, prediction = noised(schedule, steps, device)
    term = step_term(schedule, prediction, x0, xn, steps, variance="large")
    beta = schedule.beta[steps]
    ratio = schedule.posterior_variance[steps] / beta
    constant = 0.5 * (ratio - 1 - ratio.log())
    weight = ho_weight(schedule, steps, beta)
    close(term, weight[:, None] * (eps - prediction.eps) ** 2 + constant[:, None])


@cross_checks
@pytest.mark.parametrize("variance", VARIANCES)
def test_terms_are_divergences_of_the_steps(schedule, steps, variance, device):
    x0, _, xn, prediction = noised(schedule, steps, device)
    true_mean, true_variance = posterior(schedule, x0, xn, steps)
    mean, log_variance = reverse_step(schedule, prediction, xn, steps, variance=variance)
    expected = kl_divergence(
        Normal(true_mean, true_variance.sqrt()), Normal(mean, deviation(log_variance))
    )
    close(step_term(schedule, prediction, x0, xn, steps, variance=variance), expected)


@identities
@pytest.mark.parametrize(("fraction", "variance"), [(0.0, "small"), (1.0, "large")])
def test_the_ends_of_the_learned_variance_are_the_fixed_ones(schedule, fraction, variance, device):
    n = torch.arange(1, N + 1, device=device)
    x0, _, xn, prediction = noised(schedule, n, device)
    end = prediction.replace(fraction=torch.full_like(x0, fraction))
    learned = step_term(schedule, end, x0, xn, n, variance="learned")
    close(learned, step_term(schedule, prediction, x0, xn, n, variance=variance))


@cross_checks
def test_the_first_term_is_a_density_with_the_variance_of_the_second_step(schedule, device):
    n = torch.ones(4, dtype=torch.long, device=device)
    x0, _, xn, prediction = noised(schedule, n, device)
    term = step_term(schedule, prediction, x0, xn, n, variance="small")
    spread = schedule.posterior_variance[2].sqrt()
    close(term, -Normal(prediction.x0, spread).log_prob(x0))


@oracles
def test_a_perfect_denoiser_of_a_point_pays_for_the_ends_only(schedule, device):
    x0 = torch.randn(2, 3, device=device)

    terms = bound_terms(schedule, point(x0), x0, lambda n: torch.randn_like(x0), variance="small")
    assert terms.shape == (N + 1, 2, 3)
    close(terms[1:N], torch.zeros(N - 1, 2, 3, device=device), 1e-12)
    first = 0.5 * (math.log(2 * math.pi) + schedule.posterior_log_variance[1])
    close(terms[0], first.expand(2, 3))
    close(terms[N], prior_term(schedule, x0))


@invariances
def test_the_units_of_a_process_do_not_matter_after_the_first_term(
    schedule, mean, covariance, device
):
    log_snr = torch.tensor(schedule.floats["log_snr"], device=device)
    preserving = Schedule(log_snr).to(device)
    denoiser = Gaussian(mean, covariance)
    x0, eps = torch.randn(2, 4, 3, device=device)
    terms, others = (
        bound_terms(s, denoiser, x0, lambda n: eps, variance="small")
        for s in (schedule, preserving)
    )
    # The floor of the first variance is that of step 2, seen in the units of step 1.
    close(terms[1:], others[1:], 1e-8)


def exact_model(schedule, mean, scales):
    """The best denoiser of independent dimensions with the true variance of each reverse step."""
    best = Gaussian(mean, torch.diag(scales))

    def denoiser(x, level):
        n = level.n
        left = scales * level.sigma**2 / (level.alpha**2 * scales + level.sigma**2)
        true = schedule.posterior_variance[n] + schedule.posterior_x0[n] ** 2 * left
        low, high = schedule.posterior_log_variance[n], schedule.beta[n].log()
        return best(x, level).replace(fraction=((true.log() - low) / (high - low)).expand(x.shape))

    return denoiser


def ends(schedule, mean, scales):
    """The exact distribution of x_N, and the one that the reverse chain starts from."""
    last = schedule.points[-1]
    spread = (last.alpha**2 * scales + last.sigma**2).sqrt()
    start = torch.full_like(mean, schedule.prior_std)
    return Normal(last.alpha * mean, spread), Normal(torch.zeros_like(mean), start)


@oracles
def test_the_bound_of_the_exact_model_has_no_gap_but_that_of_its_start(schedule, mean, device):
    scales = torch.tensor([0.3, 1.0, 2.5], device=device)
    denoiser = exact_model(schedule, mean, scales)
    terms = average_bound(schedule, denoiser, mean, torch.diag(scales), variance="learned")
    gap = kl_divergence(*ends(schedule, mean, scales))
    close(terms.sum(dim=0), Normal(mean, scales.sqrt()).entropy() + gap, 1e-9)


@oracles
def test_every_path_of_the_exact_model_has_the_exact_likelihood(schedule, mean, device):
    scales = torch.tensor([0.3, 1.0, 2.5], device=device)
    denoiser = exact_model(schedule, mean, scales)
    x0, noise = torch.randn(5, 3, device=device), torch.randn(N + 1, 5, 3, device=device)
    bound = plain_bound(schedule, denoiser, x0, lambda n: noise[n], variance="learned")
    xn = x0
    for step in range(1, N + 1):
        xn = diffuse(schedule, xn, torch.full((5,), step, device=device), noise[step])
    true, start = ends(schedule, mean, scales)
    mismatch = true.log_prob(xn) - start.log_prob(xn)
    close(bound, mismatch - Normal(mean, scales.sqrt()).log_prob(x0), 1e-8)


@oracles
@pytest.mark.parametrize("variance", VARIANCES)
def test_the_bound_lies_above_the_models_own_likelihood(schedule, mean, covariance, variance):
    # A wrong model, so that nothing cancels.
    denoiser = Gaussian(mean + 0.3, 1.5 * covariance, fraction=0.4)
    bound = average_bound(schedule, denoiser, mean, covariance, variance=variance).sum()
    model = model_density(schedule, denoiser, 3, variance=variance)
    data = MultivariateNormal(mean, covariance)
    likelihood = data.entropy() + kl_divergence(data, model)
    assert bound > likelihood > data.entropy()


@convergence
def test_the_bound_approaches_the_entropy_as_the_chain_gets_finer(mean, covariance, device):
    # Data on its own scale, and the same data standardised with the log-determinant added.
    scale = torch.tensor([2.0, 0.7, 1.3], device=device)
    entropy = MultivariateNormal(mean * scale, covariance * torch.outer(scale, scale)).entropy()
    denoiser = Gaussian(mean, covariance)
    gaps = []
    for num_steps in (100, 200, 400):
        fine = make_chain(
            "linear", num_steps, beta_start=0.001 / num_steps, beta_end=30 / num_steps
        ).to(device)
        terms = average_bound(fine, denoiser, mean, covariance, variance="large")
        gaps.append(float(terms.sum() + scale.log().sum() - entropy))
    assert all(gap > 0 for gap in gaps)
    assert gaps[2] < 0.15
    # KL between normals whose variances differ by O(1 / N), N times.
    assert gaps[1] / gaps[0] == pytest.approx(0.5, abs=0.1)
    assert gaps[2] / gaps[1] == pytest.approx(0.5, abs=0.1)


@identities
@pytest.mark.parametrize("variance", VARIANCES)
def test_both_forms_of_the_bound_have_the_same_mean(schedule, mean, covariance, variance, device):
    denoiser = Gaussian(
        mean + 0.3, 1.5 * covariance, fraction=torch.tensor([0.2, 0.5, 0.9], device=device)
    )
    points = spherical(3 * (N + 1), device).unflatten(-1, (N + 1, 3))
    x0 = mean + points[:, 0] @ torch.linalg.cholesky(covariance).T
    plain = plain_bound(schedule, denoiser, x0, lambda n: points[:, n], variance=variance)
    terms = average_bound(schedule, denoiser, mean, covariance, variance=variance)
    close(plain.mean(dim=0), terms.sum(dim=0), 1e-8)


@oracles
def test_the_plain_form_of_a_denoiser_that_knows_nothing_spreads_more(schedule, device):
    def knows_nothing(x, level):
        return Prediction(torch.zeros_like(x), x / level.sigma)

    x0 = torch.randn(3, device=device).expand(4000, 3)

    def noise(n):
        return torch.randn(4000, 3, device=device)

    plain = plain_bound(schedule, knows_nothing, x0, noise, variance="small").sum(dim=-1)
    reduced = bound_terms(schedule, knows_nothing, x0, noise, variance="small").sum(dim=(0, 2))
    # Its errors do not depend on the noise, which only the plain form has to average.
    assert reduced.std() < 1e-9 * plain.std()
    error = float(plain.std()) / math.sqrt(4000)
    assert abs(float(plain.mean() - reduced.mean())) < 5 * error


@oracles
@pytest.mark.parametrize("variance", VARIANCES)
def test_paths_of_the_plain_form_weigh_to_the_exact_likelihood(mean, covariance, variance, device):
    schedule = make_chain(num_steps=4, beta_start=0.2, beta_end=0.5).to(device)
    denoiser = Gaussian(mean, covariance, fraction=0.6)
    x0 = (mean + 0.5).expand(20000, 3)
    bound = plain_bound(schedule, denoiser, x0, lambda n: torch.randn_like(x0), variance=variance)
    weights = torch.exp(-bound.sum(dim=-1))
    likelihood = model_density(schedule, denoiser, 3, variance=variance).log_prob(x0[0]).exp()
    error = float(weights.std()) / math.sqrt(20000)
    assert error < 0.05 * likelihood
    assert abs(float(weights.mean() - likelihood)) < 5 * error


@identities
@pytest.mark.parametrize("variance", VARIANCES)
def test_one_random_step_estimates_the_full_sum(schedule, mean, covariance, variance, device):
    denoiser = Gaussian(mean + 0.3, covariance, fraction=0.4)
    x0 = torch.randn(2, 3, device=device)
    eps = torch.randn(N, 2, 3, device=device)
    full = bound_terms(schedule, denoiser, x0, lambda n: eps[n - 1], variance=variance).sum(dim=0)
    # Every step once, each row at its own: the mean over uniform steps without a random number.
    n = torch.arange(1, N + 1, device=device)[:, None].expand(N, 2)
    samples = bound_sample(schedule, denoiser, x0.expand(N, 2, 3), n, eps, variance=variance)
    close(samples.mean(dim=0), full, 1e-9)


@oracles
def test_random_steps_are_unbiased(mean, covariance, device):
    schedule = make_chain(num_steps=N, beta_start=1e-3, beta_end=0.3).to(device)
    denoiser = Gaussian(mean + 0.3, 1.5 * covariance)
    count = 20000
    x0 = MultivariateNormal(mean, covariance).sample((count,))
    n = torch.randint(1, N + 1, (count,), device=device)
    eps = torch.randn(count, 3, device=device)
    samples = bound_sample(schedule, denoiser, x0, n, eps, variance="small").sum(dim=-1)
    full = average_bound(schedule, denoiser, mean, covariance, variance="small").sum()
    error = float(samples.std()) / math.sqrt(count)
    assert abs(float(samples.mean() - full)) < 5 * error


@invariances
def test_an_entry_changes_its_own_terms_only(schedule, device):
    def elementwise(x, level):
        return Prediction(torch.tanh(x), x, torch.sigmoid(x))

    x0, eps = torch.randn(2, 2, 5, 3, device=device)
    other = x0.clone()
    other[1, 2, 0] += 1.0
    terms, changed = (
        bound_terms(schedule, elementwise, x, lambda n: eps, variance="learned")
        for x in (x0, other)
    )
    assert (terms != changed).any(dim=0).nonzero().tolist() == [[1, 2, 0]]


@identities
def test_the_hybrid_term_teaches_the_variance_only(schedule, device):
    n = torch.arange(1, N + 1, device=device)
    x0, _, xn, prediction = noised(schedule, n, device)
    guess = prediction.x0.clone().requires_grad_()
    fraction = prediction.fraction.clone().requires_grad_()
    learner = prediction.replace(x0=guess, fraction=fraction)
    hybrid = hybrid_term(schedule, learner, x0, xn, n)
    (of_hybrid,) = torch.autograd.grad(hybrid.sum(), fraction)
    again = hybrid_term(schedule, learner, x0, xn, n).sum()
    assert torch.autograd.grad(again, guess, allow_unused=True) == (None,)
    term = step_term(schedule, learner, x0, xn, n, variance="learned")
    of_term, of_mean = torch.autograd.grad(term.sum(), (fraction, guess))
    close(hybrid, N * term)
    close(of_hybrid, N * of_term)
    assert (of_mean != 0).any() and (of_hybrid != 0).any()


@oracles
def test_the_hybrid_term_is_least_at_the_error_of_the_mean(device):
    """Descent on the fractions finds the variance that the mean's error asks for."""
    schedule = make_chain(num_steps=N, beta_start=1e-3, beta_end=0.3).to(device)
    n = torch.full((1,), 10, device=device)
    x0, _, xn, prediction = noised(schedule, n, device)
    # An error of the mean that puts the best variance half way between the two bounds, in logarithms.
    low, high = schedule.posterior_variance[10], schedule.beta[10]
    best = (low * high).sqrt()
    x0_hat = x0 + (best - low).sqrt() / schedule.posterior_x0[10]
    fraction = torch.full((1, 3), 0.5, device=device, requires_grad=True)
    learner = Prediction(x0_hat, prediction.eps, fraction)
    (gradient,) = torch.autograd.grad(
        0.001 * hybrid_term(schedule, learner, x0, xn, n).sum(), fraction
    )
    close(gradient, torch.zeros(1, 3, device=device), 1e-12)


@contracts
def test_a_schedule_without_clean_data_is_refused(device):
    schedule = Schedule(torch.tensor([8.0, 2.0, -4.0])).to(device)
    x0 = torch.randn(2, 3, device=device)
    with pytest.raises(ValueError, match="clean"):
        step_term(
            schedule,
            Prediction(x0, x0),
            x0,
            x0,
            torch.ones(2, dtype=torch.long, device=device),
            variance="small",
        )
