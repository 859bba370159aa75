"""The likelihood by the probability-flow ODE: closed forms, densities that sum to one, measured order."""

import math
from itertools import pairwise

import pytest
import torch
from groups import contracts, convergence, cross_checks, identities, invariances, oracles
from torch import nn
from torch.distributions import MultivariateNormal
from toys import Gaussian, close, make_chain, modes

from timediff.diffusion.likelihood import log_likelihood
from timediff.diffusion.parameterisation import convert, predict
from timediff.diffusion.schedule import Schedule
from timediff.registry import PARAMETERISATIONS, SCHEDULES

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture(params=SCHEDULES)
def schedule(request, device):
    return make_chain(request.param).to(device)


@pytest.fixture
def x0(mean, covariance):
    return MultivariateNormal(mean, covariance).sample((2, 4))


def short(device):
    return make_chain(num_steps=10, beta_start=1e-3, beta_end=0.3).to(device)


def mixture_log_density(x, means, variance):
    square = ((x[..., None, :] - means) ** 2).sum(dim=-1) / variance
    constant = means.shape[-1] / 2 * math.log(2 * math.pi * variance) + math.log(len(means))
    return torch.logsumexp(-0.5 * square, dim=-1) - constant


class Network(nn.Module):
    """A small network with the layers that denoisers are made of, around a given embedding of the level."""

    def __init__(self, dim, hidden=8):
        super().__init__()
        self.inner = nn.Linear(dim, hidden)
        self.level = nn.Linear(2, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.conv = nn.Conv1d(1, 2, 3, padding=2, dilation=2, padding_mode="circular")
        self.outer = nn.Linear(hidden, dim)

    def forward(self, x, level):
        angle = torch.tensor([math.sin(level.log_snr / 3), math.cos(level.log_snr / 3)])
        h = self.norm(self.inner(x) + self.level(angle.to(x)))
        gate, content = self.conv(h.reshape(-1, 1, h.shape[-1])).unbind(dim=1)
        h = nn.functional.silu(h + (torch.sigmoid(gate) * torch.tanh(content)).reshape(h.shape))
        return self.outer(h)


def as_denoiser(network, kind):
    return lambda x, level: predict(network(x, level), x, level, kind=kind)


def signs(count, x0):
    return torch.randint(0, 2, (count, *x0.shape), device=x0.device).to(x0) * 2 - 1


def moved_gaussian(schedule, mean, covariance, x0):
    """What the ODE of Gaussian data computes: its exact map to step N, and the density there."""
    scales, axes = torch.linalg.eigh(covariance)
    first, last = schedule.points[1], schedule.points[-1]
    before, after = (scales + (p.sigma / p.alpha) ** 2 for p in (first, last))
    stretch = (after / before).sqrt()
    y = mean + ((x0 - mean) @ axes * stretch) @ axes.T
    start = torch.distributions.Normal(torch.zeros_like(y), last.norm / last.alpha)
    return start.log_prob(y).sum(dim=-1) + stretch.log().sum()


@oracles
def test_gaussian_data_has_its_closed_form(schedule, mean, covariance, x0):
    result = log_likelihood(Gaussian(mean, covariance), schedule, x0, num_steps=20)
    # The error of the steps, largest where the log-SNR falls furthest (cosine).
    close(result.log_density, moved_gaussian(schedule, mean, covariance, x0), 5e-3)
    assert result.log_density.shape == (2, 4)
    assert (result.standard_error == 0).all()


@oracles
def test_more_steps_come_closer_to_the_closed_form(mean, covariance, x0, device):
    schedule = make_chain().to(device)
    result = log_likelihood(Gaussian(mean, covariance), schedule, x0, num_steps=110)
    close(result.log_density, moved_gaussian(schedule, mean, covariance, x0), 1e-6)


@oracles
@pytest.mark.parametrize("name", ["vp", "sub-vp", "ve"])
def test_processes_agree_on_the_same_data(name, mean, covariance, x0, device):
    schedule = make_chain(name, 200).to(device)
    centred, denoiser = x0 - mean, Gaussian(torch.zeros_like(mean), covariance)
    actual = log_likelihood(denoiser, schedule, centred, num_steps=50).log_density
    # What is left: noise of variance below 6e-4 at step 1, and SNR below 5e-4 at step N, beside
    # variances of the data from 0.1 to 1.5.
    truth = MultivariateNormal(torch.zeros_like(mean), covariance).log_prob(centred)
    torch.testing.assert_close(actual, truth, rtol=0, atol=0.02)


@invariances
def test_the_units_of_a_process_do_not_matter(schedule, mean, covariance, x0, device):
    log_snr = torch.tensor(schedule.floats["log_snr"], device=device)
    preserving = Schedule(log_snr).to(device)
    one, other = (
        log_likelihood(Gaussian(mean, covariance), s, x0, num_steps=3)
        for s in (schedule, preserving)
    )
    close(one.log_density, other.log_density, 1e-9)


@oracles
@pytest.mark.parametrize("name", ["cosine", "ve"])
def test_a_mixture_has_its_closed_form(name, device):
    schedule = make_chain(name).to(device)
    means = torch.tensor([[1.5, 0.0], [-1.0, 1.0], [-0.5, -1.0]], device=device)
    x0 = torch.randn(20, 2, device=device) * 1.5
    first, last = schedule.points[1], schedule.points[-1]
    actual = log_likelihood(modes(means, 0.1**0.5), schedule, x0, num_steps=60).log_density
    truth = mixture_log_density(x0, means, 0.1 + (first.sigma / first.alpha) ** 2)
    # The error of the steps; and the means are centred, so that the data left at step N shows by its
    # SNR only (4e-4 for ve).
    left = math.exp(last.log_snr)
    torch.testing.assert_close(actual, truth, rtol=0, atol=1e-2 + 10 * left)


@invariances
@pytest.mark.parametrize("kind", PARAMETERISATIONS)
def test_parameterisations_agree(schedule, kind, mean, covariance, x0):
    exact = Gaussian(mean, covariance)

    def through(x, level):
        value = convert(exact(x, level).eps, x, level, source="noise", target=kind)
        return predict(value, x, level, kind=kind)

    one = log_likelihood(exact, schedule, x0, num_steps=1)
    other = log_likelihood(through, schedule, x0, num_steps=1)
    close(one.log_density, other.log_density, 1e-8)


@convergence
def test_the_error_falls_with_the_fourth_power_of_the_step(mean, covariance, x0, device):
    schedule = make_chain().to(device)
    truth = moved_gaussian(schedule, mean, covariance, x0)
    errors = []
    for num_steps in (12, 24, 48):
        result = log_likelihood(Gaussian(mean, covariance), schedule, x0, num_steps=num_steps)
        errors.append(float((result.log_density - truth).abs().mean()))
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(4, abs=0.3)


@oracles
@pytest.mark.parametrize("kind", PARAMETERISATIONS)
def test_any_network_has_a_density_that_sums_to_one(kind, device):
    schedule = make_chain(beta_start=0.03).to(device)
    network = Network(1).to(device)
    # Even in the logarithm: fine in the middle, and wide enough for the noise at step N.
    u = torch.linspace(-8, 8, 401, device=device)
    axis, spread = 0.3 * torch.sinh(u), 0.3 * torch.cosh(u)
    result = log_likelihood(as_denoiser(network, kind), schedule, axis[:, None], num_steps=20)
    mass = float(torch.trapezoid(spread * result.log_density.exp(), u))
    assert mass == pytest.approx(1, abs=1e-3)


@cross_checks
def test_the_trace_is_the_log_determinant_of_the_flow(device):
    """Change of variables through a flow solved in the test, its Jacobian by reverse mode."""
    schedule = make_chain(beta_start=1e-3).to(device)
    denoiser = as_denoiser(Network(3).to(device), "v")
    x0 = torch.randn(3, device=device)
    first, last = schedule.points[1], schedule.points[-1]
    start = torch.distributions.Normal(torch.zeros_like(x0), last.norm / last.alpha)

    def flow(y, num_steps):
        grid = torch.linspace(first.log_snr, last.log_snr, num_steps + 1).tolist()
        for now, then in pairwise(grid):
            level = schedule.at((now + then) / 2)
            before, rho, after = (math.exp(-value / 2) for value in (now, level.log_snr, then))
            half = y + (rho - before) * denoiser(schedule.at(now).alpha * y, schedule.at(now)).eps
            y = y + (after - before) * denoiser(level.alpha * half, level).eps
        return y

    def density(num_steps):
        jacobian = torch.func.jacrev(flow)(x0, num_steps)
        moved = start.log_prob(flow(x0, num_steps)).sum()
        return (moved + torch.linalg.slogdet(jacobian).logabsdet).detach()

    # The midpoint rule is of order 2: two grids give its limit.
    expected = (4 * density(60) - density(30)) / 3
    actual = log_likelihood(denoiser, schedule, x0, num_steps=40).log_density
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-3)


@oracles
def test_random_probes_are_unbiased(device):
    schedule = make_chain(beta_start=1e-3).to(device)
    denoiser = as_denoiser(Network(3).to(device), "v")
    x0 = torch.randn(4, 3, device=device)
    exact = log_likelihood(denoiser, schedule, x0, num_steps=5).log_density
    estimate = log_likelihood(denoiser, schedule, x0, num_steps=5, probes=signs(4000, x0))
    assert (estimate.standard_error > 0).all()
    assert ((estimate.log_density - exact).abs() < 5 * estimate.standard_error).all()
    # The reported error is that of the estimate: it halves with four times the probes.
    fewer = log_likelihood(denoiser, schedule, x0, num_steps=5, probes=signs(1000, x0))
    torch.testing.assert_close(
        estimate.standard_error / fewer.standard_error,
        torch.full((4,), 0.5).to(x0),
        rtol=0.1,
        atol=0,
    )


@identities
def test_random_signs_are_exact_for_independent_dimensions(schedule, mean, device):
    denoiser = Gaussian(mean, torch.diag(torch.tensor([0.3, 1.0, 2.5], device=device)))
    x0 = torch.randn(4, 3, device=device)
    exact = log_likelihood(denoiser, schedule, x0, num_steps=2)
    estimate = log_likelihood(denoiser, schedule, x0, num_steps=2, probes=signs(2, x0))
    close(estimate.log_density, exact.log_density)
    close(estimate.standard_error, torch.zeros(4, device=device))


@invariances
def test_rows_do_not_matter_to_each_other(device):
    schedule = make_chain(beta_start=1e-3).to(device)
    denoiser = as_denoiser(Network(3).to(device), "noise")
    x0 = torch.randn(2, 4, 3, device=device)
    together = log_likelihood(denoiser, schedule, x0, num_steps=5).log_density
    for row in range(2):
        alone = log_likelihood(denoiser, schedule, x0[row, 1], num_steps=5).log_density
        close(together[row, 1], alone)


@invariances
def test_float32_is_enough(device):
    schedule = make_chain().to(device)
    network = Network(3).to(device)
    x0 = torch.randn(4, 3, device=device)
    exact = log_likelihood(as_denoiser(network, "v"), schedule, x0, num_steps=10).log_density
    single = as_denoiser(network.float(), "v")
    result = log_likelihood(single, schedule, x0.float(), num_steps=10).log_density
    assert result.dtype == torch.float64
    torch.testing.assert_close(result, exact, rtol=1e-5, atol=1e-5)


@contracts
def test_no_gradient_is_kept(device):
    denoiser = as_denoiser(Network(3).to(device), "v")
    x0 = torch.randn(4, 3, device=device)
    result = log_likelihood(denoiser, short(device), x0, num_steps=2)
    assert not result.log_density.requires_grad


@contracts
@pytest.mark.parametrize(
    ("num_steps", "shape", "message"),
    [(0, None, "num_steps"), (2, (1, 4, 3), "at least 2"), (2, (5, 4), "at least 2")],
)
def test_bad_arguments_are_named(num_steps, shape, message, device):
    x0 = torch.randn(4, 3, device=device)
    probes = None if shape is None else torch.ones(shape, device=device)
    with pytest.raises(ValueError, match=message):
        log_likelihood(Gaussian(), short(device), x0, num_steps=num_steps, probes=probes)


@oracles
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_chains_that_leave_nothing_of_the_data_have_a_likelihood(dtype):
    schedule = make_chain(num_steps=4000)
    x0 = torch.randn(5, 3, dtype=dtype)

    def unit_normal(x, level):
        # The exact noise for N(0, 1): the chain preserves variance.
        return predict(level.sigma * x, x, level, kind="noise")

    found = log_likelihood(unit_normal, schedule, x0, num_steps=200).log_density
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(x0).sum(dim=-1).double()
    torch.testing.assert_close(found, expected, rtol=0, atol=0.01)
