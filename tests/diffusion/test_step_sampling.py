"""Importance-sampled steps: the mean stays, the variance falls to its closed-form optimum."""

import pytest
import torch
from groups import contracts, identities, invariances, oracles

from timediff.diffusion.step_sampling import UNIFORM_SHARE, WARM_UP, RunningSquare, StepSampler

N = 20


def steps(device, repeats=1):
    """Every step ``repeats`` times, ``[repeats, N]``."""
    return torch.arange(1, N + 1, device=device).expand(repeats, N)


def uneven(n):
    """A loss of each step: three orders of magnitude."""
    return 10 ** (3.0 * n / N)


@pytest.fixture
def sampler(device):
    """One that knows the loss `uneven`."""
    sampler = StepSampler(N).to(device)
    sampler.update(steps(device, WARM_UP), uneven(steps(device, WARM_UP)))
    return sampler


@oracles
def test_probabilities_follow_the_root_mean_square(float64, sampler, device):
    loss = uneven(steps(device)[0])
    expected = UNIFORM_SHARE / N + (1 - UNIFORM_SHARE) * loss / loss.sum()
    torch.testing.assert_close(sampler.probability(), expected, rtol=1e-10, atol=0)


@contracts
def test_uniform_until_every_step_has_been_seen_ten_times(device):
    sampler = StepSampler(N).to(device)
    uniform = torch.full((N,), 1 / N, device=device)
    sampler.update(steps(device, WARM_UP), uneven(steps(device, WARM_UP)))
    assert not torch.equal(sampler.probability(), uniform)
    sampler = StepSampler(N).to(device)
    most = torch.cat([steps(device, 1000)[:, :-1].flatten(), steps(device, WARM_UP - 1)[:, -1]])
    sampler.update(most, uneven(most))
    assert torch.equal(sampler.probability(), uniform)
    n, weight = sampler.draw((1000, N))
    torch.testing.assert_close(weight, torch.ones_like(weight))
    share = torch.bincount(n.flatten(), minlength=N + 1)[1:] / n.numel()
    assert (share - 1 / N).abs().max() < 5 * (1 / N / n.numel()) ** 0.5


@oracles
def test_steps_come_as_often_as_they_should(sampler):
    p = sampler.probability()
    n, weight = sampler.draw((400, 1000))
    assert n.shape == weight.shape == (400, 1000)
    torch.testing.assert_close(weight, 1 / (N * p[n - 1]))
    share = torch.bincount(n.flatten(), minlength=N + 1)[1:] / n.numel()
    assert ((share - p).abs() < 5 * (p / n.numel()).sqrt()).all()


@oracles
def test_the_estimate_is_unbiased_and_its_variance_is_the_least_there_is(sampler, device):
    # Random losses, so that a mean square is not the square of a mean.
    def loss(n):
        return uneven(n) * torch.rand(n.shape, device=device) * 2

    for _ in range(50):
        sampler.update(steps(device, 200), loss(steps(device, 200)))
    n, weight = sampler.draw((200_000,))
    estimate = (weight * loss(n)).double()
    means = uneven(steps(device)[0].double())
    root_mean_square = means * (4 / 3) ** 0.5
    assert (estimate.mean() - means.mean()).abs() < 5 * estimate.std() / len(estimate) ** 0.5
    best = root_mean_square.mean() ** 2 - means.mean() ** 2
    uniform = (root_mean_square**2).mean() - means.mean() ** 2
    # The running mean squares are within a few per cent, of which the variance sees the square.
    assert best * 0.97 < estimate.var() < best * 1.03
    assert estimate.var() < uniform / 5


@identities
def test_running_square_is_the_mean_of_what_was_seen_then_forgets(float64, device):
    square = RunningSquare(N, history=6).to(device)
    losses = torch.randn(4, 2, N, device=device)
    for loss in losses:
        square.update(steps(device, 2), loss)
    torch.testing.assert_close(square.mean, (losses**2).flatten(0, 1).mean(dim=0))
    # Eight rows have been seen, of which six count.
    new = torch.randn(2, N, device=device)
    expected = (6 * square.mean + (new**2).sum(dim=0)) / 8
    square.update(steps(device, 2), new)
    torch.testing.assert_close(square.mean, expected)


@invariances
def test_rows_without_a_finite_loss_are_passed_over(sampler, device):
    before = {name: value.clone() for name, value in sampler.state_dict().items()}
    n = steps(device, 3)
    sampler.update(n, torch.full(n.shape, float("nan"), device=device))
    sampler.update(n, torch.full(n.shape, float("inf"), device=device))
    for name, value in sampler.state_dict().items():
        assert torch.equal(value, before[name])
    sampler.update(n[0, :2], torch.tensor([float("nan"), 1e4], device=device))
    assert sampler.square.count[:2].tolist() == [WARM_UP, WARM_UP + 1]


@contracts
def test_losses_that_are_all_zero_prefer_no_step(device):
    sampler = StepSampler(N).to(device)
    sampler.update(steps(device, WARM_UP), torch.zeros(WARM_UP, N, device=device))
    n, weight = sampler.draw((100,))
    assert ((n >= 1) & (n <= N)).all()
    torch.testing.assert_close(weight, torch.ones_like(weight))


@contracts
def test_no_gradient_is_kept(sampler, device):
    loss = torch.ones(N, device=device, requires_grad=True)
    sampler.update(steps(device)[0], loss * 2)
    assert not sampler.probability().requires_grad
    assert list(sampler.parameters()) == []


@contracts
def test_state_travels_and_a_generator_repeats_the_draws(sampler, device):
    other = StepSampler(N).to(device)
    other.load_state_dict(sampler.state_dict())
    draws = [
        s.draw((50, 3), generator=torch.Generator(device).manual_seed(3)) for s in (sampler, other)
    ]
    for one, same in zip(*draws, strict=True):
        assert torch.equal(one, same)


@contracts
def test_nothing_waits_for_the_device():
    # Tensors without values: whatever asks for one fails.
    sampler = StepSampler(N).to("meta")
    n, weight = sampler.draw((4, 5))
    sampler.update(n, weight)
    with pytest.raises(RuntimeError):
        weight.sum().item()
