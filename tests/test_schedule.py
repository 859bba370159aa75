"""Noise schedules: identities that every chain satisfies, and each named curve's own formula."""

import math

import pytest
import torch

from timediff.schedule import MAX_BETA, SCHEDULES, Schedule, make_schedule, respace

START, END = 1e-4, 0.1

every_schedule = pytest.mark.parametrize("name", SCHEDULES)


def make(name, num_steps=100):
    return make_schedule(name, num_steps=num_steps, beta_start=START, beta_end=END)


def ramp(n, num_steps):
    """0 at the first step, 1 at the last."""
    return (n - 1) / (num_steps - 1)


def cosine_alpha_bar(n, num_steps):
    def f(m):
        return math.cos((m / num_steps + 0.008) / (1 + 0.008) * math.pi / 2) ** 2

    return f(n) / f(0)


# A schedule that is not here has no test of its curve and fails below.
BETAS = {
    "linear": lambda n, N: START + (END - START) * ramp(n, N),
    "quadratic": lambda n, N: (
        (math.sqrt(START) + (math.sqrt(END) - math.sqrt(START)) * ramp(n, N)) ** 2
    ),
    "constant": lambda n, N: END,
    "sigmoid": lambda n, N: START + (END - START) / (1 + math.exp(6 - 12 * ramp(n, N))),
    "jsd": lambda n, N: min(1 / (N - n + 1), MAX_BETA),
    "cosine": lambda n, N: min(1 - cosine_alpha_bar(n, N) / cosine_alpha_bar(n - 1, N), MAX_BETA),
}


@every_schedule
@pytest.mark.parametrize("num_steps", [2, 100, 1000])
def test_betas_follow_the_formula(float64, name, num_steps):
    expected = [BETAS[name](n, num_steps) for n in range(1, num_steps + 1)]
    torch.testing.assert_close(
        make(name, num_steps).beta[1:], torch.tensor(expected), rtol=1e-10, atol=0
    )


def test_jsd_forgets_the_data_at_a_constant_rate(float64):
    kept = 1 - torch.arange(100) / 100
    torch.testing.assert_close(make("jsd").alpha_bar[:-1], kept, rtol=1e-12, atol=0)


@every_schedule
@pytest.mark.parametrize("num_steps", [1, 2, 100, 1000])
def test_identities(float64, name, num_steps):
    s = make(name, num_steps)
    assert s.num_steps == num_steps
    torch.testing.assert_close(
        s.alpha**2 + s.sigma**2, torch.ones(num_steps + 1), rtol=0, atol=1e-12
    )
    torch.testing.assert_close(s.alpha**2, s.alpha_bar, rtol=1e-12, atol=0)
    torch.testing.assert_close(s.alpha_bar, torch.cumprod(1 - s.beta, 0), rtol=1e-12, atol=0)
    snr = (s.alpha / s.sigma)[1:] ** 2
    torch.testing.assert_close(s.log_snr[1:], snr.log(), rtol=0, atol=1e-10)
    assert (s.log_snr.diff() < 0).all()
    assert s.steps.tolist() == list(range(num_steps + 1))


@every_schedule
@pytest.mark.parametrize("num_steps", [1, 100])
def test_entry_zero_is_clean_data(float64, name, num_steps):
    s = make(name, num_steps)
    assert s.alpha_bar[0] == s.alpha[0] == 1
    assert s.beta[0] == s.sigma[0] == 0
    assert s.log_snr[0] == math.inf
    clean = s.level(torch.tensor(0))
    assert clean.alpha == 1 and clean.sigma == 0


@every_schedule
def test_float32_buffers_are_the_rounded_float64_ones(name, request):
    rounded = dict(make(name, 1000).named_buffers())
    request.getfixturevalue("float64")
    for key, exact in make(name, 1000).named_buffers():
        if exact.is_floating_point():
            assert rounded[key].dtype == torch.float32
            assert torch.equal(rounded[key], exact.float()), key


@every_schedule
def test_level_agrees_with_the_buffers(float64, name):
    s = make(name)
    n = torch.arange(s.num_steps + 1).reshape(-1, 1)
    level = s.level(n)
    assert torch.equal(level.n, n)
    torch.testing.assert_close(level.alpha, s.alpha[n], rtol=1e-10, atol=0)
    torch.testing.assert_close(level.sigma, s.sigma[n], rtol=1e-10, atol=0)


@pytest.mark.parametrize("beta", [0.0, 1.0, -0.1, math.nan])
def test_betas_outside_the_open_unit_interval_are_refused(beta):
    with pytest.raises(ValueError, match="beta"):
        Schedule(torch.tensor([0.1, beta]))


@every_schedule
@pytest.mark.parametrize("num_steps", [1, 2, 7, 20, 99, 100])
def test_respaced_chain_has_the_marginals_of_the_long_one(float64, name, num_steps):
    long = make(name)
    short = respace(long, num_steps)
    assert short.num_steps == num_steps
    assert short.steps[0] == 0 and short.steps[-1] == long.num_steps
    assert (short.steps.diff() > 0).all()
    gaps = short.steps.diff()
    assert gaps.max() - gaps.min() <= 1
    chosen = long.level(short.steps)
    level = short.level(torch.arange(num_steps + 1))
    assert torch.equal(level.n, short.steps)
    # One step in place of 100 has a beta so near 1 that 1 - beta keeps ten digits.
    torch.testing.assert_close(level.log_snr[1:], chosen.log_snr[1:], rtol=0, atol=1e-9)
    torch.testing.assert_close(short.alpha, long.alpha[short.steps], rtol=1e-9, atol=0)
    torch.testing.assert_close(short.sigma, long.sigma[short.steps], rtol=1e-9, atol=0)


@every_schedule
def test_respacing_to_all_steps_changes_nothing(float64, name):
    long = make(name)
    for (key, same), (_, exact) in zip(
        respace(long, 100).named_buffers(), long.named_buffers(), strict=True
    ):
        torch.testing.assert_close(same, exact, rtol=1e-10, atol=1e-14, msg=key)


def test_respacing_twice_still_names_the_first_chain(float64):
    long = make("linear")
    short = respace(respace(long, 50), 5)
    assert short.steps.tolist() == [0, 20, 40, 60, 80, 100]
    torch.testing.assert_close(short.alpha, long.alpha[short.steps], rtol=1e-10, atol=0)


@pytest.mark.parametrize("num_steps", [0, -1, 101])
def test_respacing_to_more_steps_than_there_are_is_refused(num_steps):
    with pytest.raises(ValueError, match="num_steps"):
        respace(make("linear"), num_steps)
