"""The learned schedule, against exact denoisers of Gaussian data whose error is known in closed form."""

import math

import pytest
import torch
from groups import contracts, convergence, cross_checks, identities, invariances, oracles
from toys import make_chain

from timediff.diffusion.learned_schedule import LearnedSchedule
from timediff.diffusion.objective import bound_weight
from timediff.diffusion.step_sampling import WARM_UP
from timediff.registry import SCHEDULES

pytestmark = pytest.mark.usefixtures("float64")

#: Variances of independent Gaussian data.
DATA = torch.tensor([1.0, 0.01, 4.0], dtype=torch.float64)


def error_variance(log_snr):
    """Of each dimension of eps - E[eps | x_n], ``[..., 3]``."""
    return torch.sigmoid(log_snr[..., None] + DATA.to(log_snr).log())


def mean_square(log_snr):
    """E ||eps - eps_hat||^4, a weighted sum of chi squares, ``[...]``."""
    v = error_variance(log_snr)
    return v.sum(dim=-1) ** 2 + 2 * (v**2).sum(dim=-1)


def terms(log_snr):
    """Mean and root mean square of the bound's terms n = 2 .. N, from the log-SNR of points 1 .. N."""
    factor = torch.expm1(-log_snr.diff()) / 2
    mean = factor * error_variance(log_snr[1:]).sum(dim=-1)
    return mean, factor * mean_square(log_snr[1:]).sqrt()


def variance(log_snr):
    """Of the estimate of the bound by one step drawn uniformly."""
    mean, root = terms(log_snr)
    return len(mean) * (root**2).sum() - mean.sum() ** 2


def taught(schedule, device="cpu"):
    """One told the exact mean square of the error before each of 40 moves."""
    learned = LearnedSchedule(schedule).to(device)
    n = torch.arange(1, schedule.num_steps + 1, device=device).expand(WARM_UP, -1)
    for _ in range(40):
        learned.square.count.zero_()
        learned.update(n, mean_square(learned.log_snr).sqrt().expand(n.shape))
        learned.move()
    return learned


@oracles
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("num_steps", [10, 100])
def test_all_terms_become_equal(name, num_steps, device):
    schedule = make_chain(name, num_steps)
    learned = taught(schedule, device)
    _, before = terms(schedule.log_snr[1:])
    _, after = terms(learned.log_snr)
    assert before.max() / before.min() > 3
    assert after.max() / after.min() < 1.01
    assert variance(learned.log_snr) < variance(schedule.log_snr[1:])


@cross_checks
def test_no_other_schedule_found_by_gradient_has_less_variance():
    schedule = make_chain(num_steps=200)
    first, last = schedule.points[1].log_snr, schedule.points[-1].log_snr
    learned = taught(schedule).log_snr
    logits = (-learned.diff()).log() + 0.1 * torch.randn(199)
    logits.requires_grad_()

    def log_snr():
        fallen = torch.softmax(logits, dim=0).cumsum(dim=0)
        return first - (first - last) * torch.cat([fallen.new_zeros(1), fallen])

    optimiser = torch.optim.LBFGS([logits], max_iter=300, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss = variance(log_snr())
        loss.backward()
        return loss

    disturbed = float(closure().detach())
    optimiser.step(closure)
    best, ours = float(variance(log_snr()).detach()), float(variance(learned))
    assert disturbed > 1.01 * ours
    # The bound itself depends on the points by a share of order 1 / N, and so does its variance.
    assert ours < 1.01 * best


@convergence
def test_the_least_variance_is_the_closed_form_of_the_limit():
    # The terms' sum of root mean squares tends to an integral over the log-SNR.
    gaps = []
    for num_steps in (50, 100, 200):
        schedule = make_chain("vp", num_steps)
        learned = taught(schedule).log_snr
        grid = torch.linspace(float(learned[0]), float(learned[-1]), 100_001)
        roots = torch.trapezoid(mean_square(grid).sqrt() / 2, -grid)
        means = torch.trapezoid(error_variance(grid).sum(dim=-1) / 2, -grid)
        gaps.append(float(variance(learned) / (roots**2 - means**2)) - 1)
    assert gaps[0] > gaps[1] > gaps[2] > 0
    assert gaps[1] / gaps[2] == pytest.approx(2, rel=0.2)


@oracles
def test_learns_from_the_errors_of_single_rows(device):
    schedule = make_chain()
    learned = LearnedSchedule(schedule).to(device)
    for _ in range(20):
        chain = learned.chain()
        for _ in range(10):
            n = torch.randint(1, 101, (5000,), device=device)
            scale = error_variance(chain.level(n).log_snr).sqrt()
            error = scale * torch.randn_like(scale)
            learned.update(n, (error**2).sum(dim=-1))
        learned.move()
    chain = learned.chain()
    best = variance(taught(schedule).log_snr)
    assert variance(chain.log_snr[1:].cpu()) < 1.02 * best < 0.2 * variance(schedule.log_snr[1:])
    # What the estimate does when drawn, with the chain's own weights.
    n = torch.randint(2, 101, (100_000,), device=device)
    error = error_variance(chain.level(n).log_snr).sqrt() * torch.randn(100_000, 3, device=device)
    estimate = 99 * bound_weight(chain, n) * (error**2).sum(dim=-1)
    mean, _ = terms(chain.log_snr[1:])
    assert (estimate.mean() - mean.sum()).abs() < 5 * estimate.std() / len(estimate) ** 0.5
    deviation = (estimate - estimate.mean()) ** 2
    standard_error = float(deviation.std()) / len(estimate) ** 0.5
    assert float(deviation.mean()) == pytest.approx(float(best), rel=0.02, abs=5 * standard_error)


@contracts
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("num_steps", [1, 2, 3, 100])
def test_always_falls_between_the_same_ends(name, num_steps, device):
    schedule = make_chain(name, num_steps).to(device)
    learned = LearnedSchedule(schedule)
    n = torch.arange(1, num_steps + 1, device=device).expand(WARM_UP, -1)
    for scale in (1.0, 1e-3, 1e6):
        wild = scale * torch.exp(5 * torch.randn(n.shape, device=device))
        learned.update(n, wild)
        learned.move()
        chain = learned.chain()  # a chain that does not fall is refused
        assert chain.num_steps == num_steps
        for end in (0, 1, -1):
            assert chain.points[end] == pytest.approx(schedule.points[end], rel=1e-12)


@contracts
@pytest.mark.parametrize("name", SCHEDULES)
def test_float32_points_stay_apart(name, request):
    torch.set_default_dtype(torch.float32)  # the fixture of this file puts back what was there
    schedule = make_chain(name, 1000)
    learned = LearnedSchedule(schedule)
    n = torch.arange(1, 1001).expand(WARM_UP, -1)
    for _ in range(20):
        learned.square.count.zero_()
        learned.update(n, mean_square(learned.log_snr).sqrt().expand(n.shape))
        learned.move()
        chain = learned.chain()
    assert chain.log_snr.dtype == torch.float32 and (chain.log_snr.diff() < 0).all()


@identities
@pytest.mark.parametrize("name", SCHEDULES)
def test_stays_in_the_units_of_its_process(name):
    schedule = make_chain(name)
    for point in taught(schedule).chain().points[1:]:
        expected = schedule.at(point.log_snr)
        assert (point.alpha, point.sigma) == pytest.approx((expected.alpha, expected.sigma), 1e-9)


@contracts
def test_does_not_move_before_it_knows(device):
    learned = LearnedSchedule(make_chain()).to(device)
    before = learned.log_snr.clone()
    n = torch.arange(1, 101, device=device)
    learned.update(n.expand(WARM_UP - 1, -1), torch.rand(WARM_UP - 1, 100, device=device))
    learned.move()
    assert torch.equal(learned.log_snr, before)
    learned.update(n, torch.rand(100, device=device))
    learned.move()
    assert not torch.equal(learned.log_snr, before)


@contracts
def test_without_any_error_nothing_moves(device):
    learned = LearnedSchedule(make_chain()).to(device)
    before = learned.log_snr.clone()
    n = torch.arange(1, 101, device=device).expand(WARM_UP, -1)
    learned.update(n, torch.zeros(n.shape, device=device))
    learned.move()
    torch.testing.assert_close(learned.log_snr, before)


@invariances
def test_the_size_of_the_error_does_not_matter():
    found = []
    for scale in (1.0, 1e3):
        learned = LearnedSchedule(make_chain())
        n = torch.arange(1, 101).expand(WARM_UP, -1)
        learned.update(n, scale * mean_square(learned.log_snr).sqrt().expand(n.shape))
        learned.move()
        found.append(learned.log_snr)
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)


@oracles
def test_errors_move_along_with_the_points():
    learned = LearnedSchedule(make_chain(num_steps=1000))
    n = torch.arange(1, 1001).expand(WARM_UP, -1)
    learned.update(n, mean_square(learned.log_snr).sqrt().expand(n.shape))
    learned.move()
    torch.testing.assert_close(
        learned.square.mean, mean_square(learned.log_snr), rtol=2e-2, atol=1e-12
    )


@contracts
def test_state_travels():
    schedule = make_chain()
    learned, other = taught(schedule), LearnedSchedule(schedule)
    other.load_state_dict(learned.state_dict())
    assert other.chain().points == learned.chain().points
    assert math.inf not in learned.log_snr and list(learned.parameters()) == []
