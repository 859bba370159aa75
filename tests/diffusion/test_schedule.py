"""Noise schedules: identities that every chain satisfies, and each named curve's own formula."""

import math
from itertools import pairwise

import pytest
import torch
from groups import contracts, convergence, identities, oracles
from toys import close

from timediff.diffusion.schedule import MAX_BETA, Schedule, chain, make_schedule
from timediff.diffusion.spacing import respace
from timediff.registry import SCHEDULES, SPACINGS

START, END = 1e-4, 0.1
#: Processes that do not preserve the variance of unit-variance data.
OTHER = ("sub-vp", "ve")

every_schedule = pytest.mark.parametrize("name", SCHEDULES)
every_spacing = pytest.mark.parametrize("spacing", SPACINGS)


def make(name, num_steps=100):
    return make_schedule(name, num_steps=num_steps, beta_start=START, beta_end=END)


def ramp(n, num_steps):
    """0 at the first step, 1 at the last."""
    return (n - 1) / (num_steps - 1)


def cosine_alpha_bar(n, num_steps):
    def f(m):
        return math.cos((m / num_steps + 0.008) / (1 + 0.008) * math.pi / 2) ** 2

    return f(n) / f(0)


def capped_cosine(n, num_steps):
    """alpha_bar where beta is cut off, which is at the last step."""
    kept = 1 - cosine_alpha_bar(n, num_steps) / cosine_alpha_bar(n - 1, num_steps)
    return cosine_alpha_bar(n - 1, num_steps) * (1 - min(kept, MAX_BETA))


def products(beta):
    """alpha_bar of the chain with these betas."""
    return lambda n, N: math.prod(1 - beta(m, N) for m in range(1, n + 1))


def vp_alpha_bar(n, num_steps):
    t = n / num_steps
    return math.exp(-num_steps * (START * t + (END - START) * t**2 / 2))


def ve_variance(n, num_steps):
    return START * (50**2 / START) ** ramp(n, num_steps)


def preserving(alpha_bar):
    return lambda n, N: (math.sqrt(alpha_bar(n, N)), math.sqrt(1 - alpha_bar(n, N)))


# alpha and sigma at step n of N. A schedule that is not here has no test of its curve and fails below.
CURVES = {
    "linear": preserving(products(lambda n, N: START + (END - START) * ramp(n, N))),
    "quadratic": preserving(
        products(
            lambda n, N: (math.sqrt(START) + (math.sqrt(END) - math.sqrt(START)) * ramp(n, N)) ** 2
        )
    ),
    "constant": preserving(products(lambda n, N: END)),
    "sigmoid": preserving(
        products(lambda n, N: START + (END - START) / (1 + math.exp(6 - 12 * ramp(n, N))))
    ),
    "jsd": preserving(products(lambda n, N: min(1 / (N - n + 1), MAX_BETA))),
    "cosine": preserving(capped_cosine),
    "vp": preserving(vp_alpha_bar),
    "sub-vp": lambda n, N: (math.sqrt(vp_alpha_bar(n, N)), 1 - vp_alpha_bar(n, N)),
    "ve": lambda n, N: (1.0, math.sqrt(ve_variance(n, N))),
}
CURVES["learned"] = CURVES["linear"]  # where learning begins


@oracles
@every_schedule
@pytest.mark.parametrize("num_steps", [2, 20, 100])
def test_levels_follow_the_formula(float64, name, num_steps):
    expected = torch.tensor([CURVES[name](n, num_steps) for n in range(1, num_steps + 1)])
    s = make(name, num_steps)
    close(s.alpha[1:], expected[:, 0])
    close(s.sigma[1:], expected[:, 1])


@oracles
def test_jsd_forgets_the_data_at_a_constant_rate(float64):
    close(make("jsd").alpha[:-1] ** 2, 1 - torch.arange(100) / 100, 1e-12)


@identities
@every_schedule
@pytest.mark.parametrize("num_steps", [1, 2, 100, 1000])
def test_identities(float64, name, num_steps):
    s = make(name, num_steps)
    assert s.num_steps == num_steps
    assert s.steps.tolist() == list(range(num_steps + 1))
    close(s.log_snr[1:], 2 * (s.alpha[1:].log() - s.sigma[1:].log()))
    assert (s.log_snr.diff() < 0).all()
    # Steps: x_n = retain x_{n-1} + sqrt(beta) eps.
    close(s.alpha, s.retain.cumprod(dim=0), 1e-12)
    close(s.sigma[1:] ** 2, s.retain[1:] ** 2 * s.sigma[:-1] ** 2 + s.beta[1:], 1e-12)
    assert (s.beta[1:] > 0).all()
    # Posterior: its mean maps the means of q(x_n | x_0), its variance fills up what is missing.
    a, b, left = s.posterior_x0[1:], s.posterior_xn[1:], s.posterior_variance[1:]
    close(a + b * s.alpha[1:], s.alpha[:-1], 1e-12)
    close(b**2 * s.sigma[1:] ** 2 + left, s.sigma[:-1] ** 2, 1e-12)
    close(s.posterior_log_variance[2:], left[1:].log())
    assert (left <= s.beta[1:]).all() and (left[1:] > 0).all() and left[0] == 0
    assert s.prior_std == pytest.approx(float((s.alpha[-1] ** 2 + s.sigma[-1] ** 2).sqrt()), 1e-12)


@identities
@pytest.mark.parametrize("name", [name for name in SCHEDULES if name not in OTHER])
@pytest.mark.parametrize("num_steps", [1, 2, 100, 1000])
def test_variance_is_preserved(float64, name, num_steps):
    s = make(name, num_steps)
    close(s.alpha**2 + s.sigma**2, torch.ones(num_steps + 1), 1e-12)
    close(s.alpha**2, torch.cumprod(1 - s.beta, 0), 1e-12)
    assert [point.norm for point in s.points] == pytest.approx([1] * (num_steps + 1), rel=1e-12)


@contracts
@every_schedule
@pytest.mark.parametrize("num_steps", [1, 100])
def test_entry_zero_is_clean_data(float64, name, num_steps):
    s = make(name, num_steps)
    clean = s.level(torch.tensor(0))
    assert clean.alpha == s.retain[0] == 1
    assert clean.sigma == s.beta[0] == 0
    assert clean.log_snr == math.inf
    assert s.points[0] == (math.inf, 1, 0, 0)


@identities
@every_schedule
def test_the_first_step_takes_the_variance_of_the_second(float64, name):
    # q(x_0 | x_1, x_0) has none; that of step 2 is below beta_1, as a lower bound must be.
    s = make(name)
    assert s.posterior_log_variance[1] == s.posterior_log_variance[2]
    assert s.posterior_log_variance[1] < s.beta[1].log()


@contracts
@every_schedule
def test_float32_buffers_are_the_rounded_float64_ones(name, request):
    single = make(name, 1000)
    rounded = dict(single.named_buffers())
    request.getfixturevalue("float64")
    double = make(name, 1000)
    for key, exact in double.named_buffers():
        if exact.is_floating_point():
            assert rounded[key].dtype == torch.float32
            assert torch.equal(rounded[key], exact.float()), key
            assert single.floats[key] == double.floats[key] == exact.tolist()


@contracts
@every_schedule
def test_level_and_points_agree_with_the_buffers(float64, name):
    s = make(name)
    n = torch.arange(s.num_steps + 1).reshape(-1, 1)
    level = s.level(n)
    assert torch.equal(level.n, n)
    for field in ("log_snr", "alpha", "sigma"):
        assert torch.equal(getattr(level, field), getattr(s, field)[n])
        assert [getattr(p, field) for p in s.points] == getattr(s, field).tolist()
    assert [p.n for p in s.points] == list(range(101))


@contracts
@pytest.mark.parametrize("beta", [0.0, 1.0, -0.1, math.nan])
def test_betas_outside_the_open_unit_interval_are_refused(beta):
    with pytest.raises(ValueError, match="beta"):
        chain(torch.tensor([0.1, beta]))


@contracts
@pytest.mark.parametrize("log_snr", [[2.0, 2.0], [1.0, 2.0, 0.0], [2.0, math.nan]])
def test_log_snr_that_does_not_fall_is_refused(log_snr):
    with pytest.raises(ValueError, match="log-SNR"):
        Schedule(torch.tensor(log_snr))


# Continuous time: t = n / N in the SDE dx = f(t) x dt + g(t) dw (Song et al. 2021, arXiv:2011.13456).


def sde(name, t, num_steps):
    """f and g^2 of the paper: eqs. 32-33 (VP), 29 (sub-VP), 30-31 (VE)."""
    b = num_steps * (START + t * (END - START))
    if name == "ve":
        # Geometric over [t_1, 1], because step 1 has the smallest sigma.
        rate = math.log(50**2 / START) * num_steps / (num_steps - 1)
        return torch.zeros_like(t), rate * START * torch.exp(rate * (t - 1 / num_steps))
    kept = torch.exp(-num_steps * (START * t + (END - START) * t**2 / 2))
    return -b / 2, b * (1 - kept**2) if name == "sub-vp" else b


@convergence
@pytest.mark.parametrize("name", ["vp", "sub-vp", "ve"])
def test_differences_tend_to_the_coefficients_of_the_sde(float64, name):
    errors = []
    for num_steps in (1000, 2000):
        # The same process on a finer grid: N times beta is what the paper calls beta(t).
        scale = 100 / num_steps
        s = make_schedule(
            name,
            num_steps=num_steps,
            beta_start=START if name == "ve" else START * scale,
            beta_end=END * scale,
        )
        n = torch.arange(num_steps // 10, num_steps)
        dt = 2 / num_steps
        log_alpha = s.alpha.log()
        f = (log_alpha[n + 1] - log_alpha[n - 1]) / dt
        g2 = (s.sigma[n + 1] ** 2 - s.sigma[n - 1] ** 2) / dt - 2 * f * s.sigma[n] ** 2
        t = n / num_steps
        expected_f, expected_g2 = sde(name, t, num_steps if name == "ve" else 100)
        close(f, expected_f, 1e-8)
        errors.append(float(((g2 - expected_g2) / expected_g2).abs().max()))
    # Central differences are of second order.
    assert errors[0] < 1e-3
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)


@oracles
@pytest.mark.parametrize("name", ["vp", "sub-vp", "ve"])
def test_one_step_adds_what_the_sde_adds(float64, name):
    s = make_schedule(name, num_steps=10_000, beta_start=1e-4, beta_end=1e-3)
    n = torch.arange(1000, 10_000)
    b = 1e-4 + (n - 0.5) / 10_000 * 9e-4
    added = {
        "vp": b,
        "sub-vp": b * (1 - torch.exp(-2 * (n * 1e-4 + 9e-4 * n**2 / 20_000))),
        "ve": s.sigma[n] ** 2 * math.log(50**2 / 1e-4) / 9999,
    }
    close(s.beta[n] / added[name], torch.ones(len(n)), 2e-3)


@convergence
def test_the_linear_chain_tends_to_the_vp_sde(float64):
    gaps = []
    for num_steps in (100, 200, 400, 800):
        betas = {"beta_start": 0.02 / num_steps, "beta_end": 10 / num_steps}
        discrete, limit = (
            make_schedule(name, num_steps=num_steps, **betas) for name in ("linear", "vp")
        )
        gaps.append(float((discrete.alpha - limit.alpha).abs().max()))
    assert gaps[-1] < 2e-3
    for coarse, fine in pairwise(gaps):
        assert coarse / fine == pytest.approx(2, rel=0.15)


# Levels between the points.


@identities
@every_schedule
def test_at_meets_the_points(float64, name):
    s = make(name)
    for point in s.points[1:]:
        assert s.at(point.log_snr) == pytest.approx(point, rel=1e-10, abs=1e-12)


@identities
@every_schedule
def test_at_falls_with_the_log_snr_and_keeps_the_process(float64, name):
    s = make(name)
    high, low = s.points[1].log_snr, s.points[-1].log_snr - 1
    assert s.at(high + 50).n >= 0
    assert s.at(math.inf) == s.points[0]
    levels = [s.at(float(v)) for v in torch.linspace(high, low, 1001)]
    for above, below in pairwise(levels):
        assert below.n > above.n
        assert below.sigma > above.sigma
        assert below.alpha < above.alpha or name == "ve"
    for level in levels:
        assert level.log_snr == pytest.approx(2 * math.log(level.alpha / level.sigma), abs=1e-9)
        if name not in OTHER:
            assert level.norm == pytest.approx(1, rel=1e-10)


@contracts
@every_schedule
def test_at_is_continuous_at_the_points(float64, name):
    s = make(name)
    for point in s.points[2:-1]:
        for side in (-1e-9, 1e-9):
            assert s.at(point.log_snr + side) == pytest.approx(point, rel=1e-6, abs=1e-8)


@oracles
@pytest.mark.parametrize("name", OTHER)
def test_at_follows_the_process_in_other_units(float64, name):
    coarse, fine = make(name, 100), make(name, 1000)
    if name == "sub-vp":
        fine = make_schedule(name, num_steps=1000, beta_start=START / 10, beta_end=END / 10)
    for point in fine.points[10:]:
        level = coarse.at(point.log_snr)
        # A straight line between points is off by the square of their distance, relative to 1.
        assert level.alpha == pytest.approx(point.alpha, rel=0.02)
        assert level.sigma == pytest.approx(point.sigma, rel=0.02)


@contracts
@every_schedule
def test_a_chain_of_one_step_has_one_noisy_level(name):
    s = make(name, 1)
    level = s.at(s.points[1].log_snr - 1)
    assert (level.n, level.norm) == (1, pytest.approx(s.points[1].norm))


# Shorter chains.


@identities
@every_schedule
@every_spacing
@pytest.mark.parametrize("num_steps", [1, 2, 7, 20, 99, 100])
def test_respaced_chain_has_the_marginals_of_the_long_one(float64, name, spacing, num_steps):
    long = make(name)
    short = respace(long, num_steps, spacing=spacing)
    assert short.num_steps == num_steps
    assert short.steps[0] == 0
    level, chosen = short.level(torch.arange(num_steps + 1)), long.level(short.steps)
    for field in ("log_snr", "alpha", "sigma", "n"):
        close(getattr(level, field)[1:], getattr(chosen, field)[1:])
    for point in short.points:
        assert point == pytest.approx(long.points[point.n], rel=1e-10, abs=1e-12)
    assert short.prior_std == pytest.approx(long.prior_std, rel=1e-12)


@contracts
@every_schedule
@every_spacing
def test_every_number_of_steps_gives_distinct_steps_up_to_the_last(name, spacing):
    long = make(name, 60)
    for num_steps in range(1, 61):
        steps = respace(long, num_steps, spacing=spacing).steps
        assert len(steps) == num_steps + 1
        assert steps[0] == 0 and steps[-1] == 60
        assert (steps.diff() > 0).all()


@contracts
@every_schedule
@pytest.mark.parametrize("num_steps", [1, 7, 33, 100])
def test_uniform_steps_are_even(name, num_steps):
    gaps = respace(make(name), num_steps).steps.diff()
    assert gaps.max() - gaps.min() <= 1


@oracles
@pytest.mark.parametrize("num_steps", [5, 10])
def test_quadratic_steps_grow_as_a_square(num_steps):
    steps = respace(make("linear", 1000), num_steps, spacing="quadratic").steps
    expected = 1000 * (torch.arange(num_steps + 1) / num_steps) ** 2
    assert ((steps - expected).abs() <= 0.5).all()


@contracts
@every_schedule
@pytest.mark.parametrize("num_steps", [2, 9, 30])
def test_log_snr_steps_are_as_even_as_the_chain_allows(float64, name, num_steps):
    long = make(name, 1000)
    short = respace(long, num_steps, spacing="log-snr")
    even = torch.linspace(float(long.log_snr[1]), float(long.log_snr[-1]), num_steps)
    nearest = (even[:, None] - long.log_snr[1:]).abs().min(dim=1).values
    in_place = (even - short.log_snr[1:]).abs() <= nearest + 1e-12
    # A step lies elsewhere only where the long chain has too few: then it has a neighbour beside it.
    beside = short.steps.diff() == 1
    crowded = beside | torch.cat([beside[1:], beside.new_zeros(1)])
    assert (in_place | crowded).all()
    assert in_place.sum() >= num_steps / 2
    if long.log_snr[1:].diff().abs().max() < even.diff().abs().min():
        assert in_place.all()


@oracles
@pytest.mark.parametrize("num_steps", [1, 2, 3, 6])
def test_angles_are_as_even_as_the_chain_allows(float64, num_steps):
    long = make("linear", 1000)
    short = respace(long, num_steps, spacing="angle")
    last = long.points[-1].angle
    for k, level in enumerate(short.points):
        best = min(
            (level.angle for level in long.points), key=lambda a: abs(a - k * last / num_steps)
        )
        assert level.angle == best
    assert long.points[0].angle == 0 and 1.5 < last < math.pi / 2


@identities
@every_schedule
@every_spacing
def test_respacing_to_all_steps_changes_nothing(float64, name, spacing):
    long = make(name)
    short = respace(long, 100, spacing=spacing)
    for (key, same), (_, exact) in zip(short.named_buffers(), long.named_buffers(), strict=True):
        torch.testing.assert_close(same, exact, rtol=1e-10, atol=1e-13, msg=key)


@identities
def test_respacing_twice_still_names_the_first_chain(float64):
    long = make("linear")
    short = respace(respace(long, 50), 5)
    assert short.steps.tolist() == [0, 20, 40, 60, 80, 100]
    close(short.alpha, long.alpha[short.steps])


@contracts
@pytest.mark.parametrize("num_steps", [0, -1, 101])
def test_respacing_to_more_steps_than_there_are_is_refused(num_steps):
    with pytest.raises(ValueError, match="num_steps"):
        respace(make("linear"), num_steps)
