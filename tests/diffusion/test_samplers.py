r"""Samplers with exact denoisers, whose output distribution is known.

For Gaussian data the exact denoiser is affine, so every sampler is an affine map of its start and its noise.
Fed with unit vectors it shows that map: mean and covariance of its output follow without a single random
number. The mixture of two Gaussians is where the denoiser bends.
"""

import inspect
import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from groups import contracts, convergence, identities, invariances, oracles
from toys import Gaussian, Mixture, make_chain, no_noise, point, seeded_noise, short_chain

from timediff.diffusion.latent import Recorder
from timediff.diffusion.parameterisation import Prediction, predict
from timediff.diffusion.process import reverse_step
from timediff.diffusion.samplers.adams_bashforth import polynomial_weights
from timediff.diffusion.samplers.exponential import exponential_step, exponential_weights, multistep
from timediff.diffusion.samplers.langevin import langevin_step
from timediff.diffusion.samplers.rehearsal import rehearse
from timediff.diffusion.schedule import Schedule
from timediff.diffusion.spacing import respace
from timediff.registry import PARAMETERISATIONS, SAMPLERS, SCHEDULES, SPACINGS

pytestmark = pytest.mark.usefixtures("float64")

VARIANCES = ["small", "large", "learned"]
GAUSSIAN = Gaussian(fraction=0.5)

#: Every sampler with its defaults, so that a new one is tested by being listed, and other settings.
CASES = [(name, {}) for name in SAMPLERS] + [
    ("ancestral", {"extrapolation": 0.0}),
    ("ancestral", {"variance": "large", "extrapolation": 0.0}),
    ("ancestral", {"variance": "learned", "extrapolation": 0.0}),
    ("adams-bashforth", {"order": 1, "renewal": 0.0}),
    ("adams-bashforth", {"order": 3, "renewal": 1.0}),
    ("ddim", {"eta": 0.5}),
    ("ddim", {"eta": 1.0}),
    ("dpm++", {"order": 1}),
    ("dpm++", {"order": 3}),
    ("sde-dpm++", {"order": 1}),
    ("sde-dpm++", {"order": 3}),
    ("heun", {"churn": 10.0}),
    ("langevin", {"corrections": 5, "snr": 0.3}),
    ("predictor-corrector", {"corrections": 2, "variance": "large"}),
    ("predictor-corrector", {"corrections": 0}),
]
each_case = pytest.mark.parametrize(("name", "options"), CASES, ids=lambda v: str(v).strip("{}"))


def sample(name, options, denoise, schedule, x, *, seed=0):
    """One run with seeded noise."""
    return SAMPLERS[name](denoise, schedule, x, seeded_noise(x, seed), **options)


def moments(run, data, schedule, *, exact_start=False):
    """Mean and covariance of what an affine sampler ``run(denoiser, schedule, x, noise)`` returns.

    Its start is standard normal times ``schedule.prior_std``, or what noised data are at the last level.
    """
    dim, device = data.dim, schedule.beta.device
    if exact_start:
        centre, spread = data.at(schedule.points[-1])
        factor = torch.linalg.cholesky(spread)
    else:
        centre, factor = torch.zeros(dim), schedule.prior_std * torch.eye(dim)
    centre, factor = centre.to(device), factor.to(device)
    drawn = 0

    def nothing():
        nonlocal drawn
        drawn += 1
        return torch.zeros(1, dim, device=device)

    mean = run(data, schedule, centre[None], nothing)
    # Rows 0 .. dim - 1: the start. Then dim rows for each noise that was asked for.
    unit = torch.zeros(1 + drawn, dim, 1 + drawn, dim, device=device)
    for i in range(1 + drawn):
        unit[i, :, i] = factor.T if i == 0 else torch.eye(dim, device=device)
    unit = unit.movedim(2, 0).reshape(1 + drawn, -1, dim)  # [draw, row, D]
    draws = iter(unit)
    out = run(data, schedule, centre + next(draws), lambda: next(draws))
    effects = out - mean
    return mean[0].cpu().numpy(), (effects.T @ effects).cpu().numpy()


def sampler_moments(name, options, data, schedule, **start):
    return moments(partial(SAMPLERS[name], **options), data, schedule, **start)


# ------------------------------------------------------------------ Contracts: what all samplers promise


@contracts
@pytest.mark.parametrize("num_steps", [1, 2, 5])
@each_case
def test_number_of_network_calls(name, options, num_steps):
    recorder = Recorder(GAUSSIAN)
    schedule = short_chain(num_steps)
    sample(name, options, recorder, schedule, torch.randn(4, 3))
    levels, corrections = recorder.levels, options.get("corrections", 1)
    expected = {
        "heun": 2 * num_steps - 1,
        "langevin": corrections * num_steps + 1,
        "predictor-corrector": num_steps + corrections * (num_steps - 1),
    }.get(name, num_steps)
    assert len(levels) == expected == rehearse(SAMPLERS[name], schedule, **options).calls
    assert all(isinstance(value, float | int) for level in levels for value in level)
    # From the last level to the first, none of them clean data.
    log_snr = [level.log_snr for level in levels]
    assert log_snr[0] == schedule.points[-1].log_snr and log_snr[-1] < math.inf
    assert min(log_snr) == log_snr[0]


@contracts
@each_case
def test_interface(name, options):
    known = SAMPLERS.options(name)
    assert list(inspect.signature(SAMPLERS[name]).parameters) == [
        *("denoiser", "schedule", "x", "noise"),
        *known,
    ]
    assert set(options) <= set(known)


@invariances
@each_case
def test_start_is_left_alone_and_rows_do_not_meet(name, options):
    schedule = short_chain(7)
    x = torch.randn(5, 3)
    noises = torch.randn(100, 5, 3)
    before = x.clone()

    def run(rows):
        draws = iter(noises[:, rows])
        return SAMPLERS[name](GAUSSIAN, schedule, x[rows], lambda: next(draws), **options)

    together = run(slice(None))
    assert torch.equal(x, before)
    for row in range(5):
        torch.testing.assert_close(run([row])[0], together[row], rtol=1e-12, atol=1e-12)


@invariances
@each_case
@pytest.mark.parametrize("process", ["linear", "sub-vp", "ve"])
def test_float32_stays_float32_and_near_float64(device, process, name, options):
    schedule = make_chain(process, beta_start=1e-3)
    schedule = respace(schedule, 20).to(device)
    x = schedule.prior_std * torch.randn(5, 3, device=device)
    exact = sample(name, options, GAUSSIAN, schedule, x)
    out = sample(name, options, GAUSSIAN, schedule, x.float())
    assert out.dtype == torch.float32 and out.device == x.device
    # The start of a VE chain is 50 times the data: its rounding error survives.
    torch.testing.assert_close(out.double(), exact, rtol=1e-4, atol=1e-4)


@invariances
@each_case
@pytest.mark.parametrize("process", ["linear", "sub-vp", "ve"])
def test_what_the_network_predicts_does_not_matter(process, name, options):
    def denoise(x, level, *, kind):
        exact = GAUSSIAN(x, level)
        x0, eps, fraction = exact.x0, exact.eps, exact.fraction
        value = PARAMETERISATIONS[kind].of(x0, eps, level)
        return predict(value, x, level, kind=kind).replace(fraction=fraction)

    schedule = make_chain(process, 15, beta_start=1e-3, beta_end=0.5)
    x = schedule.prior_std * torch.randn(6, 3)
    expected = sample(name, options, GAUSSIAN, schedule, x)
    for kind in PARAMETERISATIONS:
        out = sample(name, options, partial(denoise, kind=kind), schedule, x)
        torch.testing.assert_close(out, expected, rtol=0, atol=1e-6)


@contracts
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ancestral", {"variance": "medium"}, "variance must be"),
        ("ancestral", {"extrapolation": 1.5}, r"extrapolation is 1\.5; it must lie in \[0, 1\]"),
        ("ddim", {"eta": 1.5}, r"eta is 1\.5; it must lie in \[0, 1\]"),
        ("dpm++", {"order": 4}, r"order is 4; it must lie in \[1, 3\]"),
        ("sde-dpm++", {"order": 0}, r"order is 0; it must lie in \[1, 3\]"),
        ("heun", {"churn": -1.0}, r"churn is -1\.0; it must not be negative"),
        ("langevin", {"corrections": 0}, "corrections is 0; it must be at least 1"),
        ("langevin", {"snr": 1.2}, r"snr is 1\.2; it must lie in \(0, 1\)"),
        ("predictor-corrector", {"corrections": -1}, "corrections is -1; it must not be negative"),
        ("predictor-corrector", {"variance": "medium"}, "variance must be"),
    ],
)
def test_bad_options_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        sample(name, options, GAUSSIAN, make_chain(num_steps=5), torch.randn(2, 3))


@invariances
@pytest.mark.parametrize("variance", VARIANCES)
def test_extrapolation_begins_with_the_second_step_and_ends_before_the_last(variance):
    schedule, x, data = short_chain(8, spacing="quadratic"), torch.randn(5, 3), GAUSSIAN
    none, half, whole = (
        sample("ancestral", {"variance": variance, "extrapolation": e}, data, schedule, x)
        for e in (0.0, 0.5, 1.0)
    )
    plain = sample("ancestral", {"variance": variance, "extrapolation": 0.0}, data, schedule, x)
    assert torch.equal(none, plain)
    assert (half - none).abs().max() > 1e-3 and (whole - half).abs().max() > 1e-3
    # The first step has nothing to go by, the last goes to clean data: with two steps there is none between.
    short = short_chain(2)
    two = [
        sample("ancestral", {"variance": variance, "extrapolation": e}, data, short, x)
        for e in (0.0, 1.0)
    ]
    assert torch.equal(*two)


@contracts
def test_learned_variance_needs_a_network_that_learns_it():
    def denoise(x, level):
        prediction = GAUSSIAN(x, level)
        return Prediction(prediction.x0, prediction.eps)

    with pytest.raises(ValueError, match="predicts none"):
        sample(
            "ancestral",
            {"variance": "learned"},
            denoise,
            make_chain(num_steps=5),
            torch.randn(2, 3),
        )


# ------------------------------------------------------------------ Identities


@identities
@pytest.mark.parametrize("variance", VARIANCES)
def test_each_ancestral_step_is_the_reverse_step(variance):
    schedule = short_chain(30)
    seen = []

    def denoise(x, level):
        eps = torch.sin(3 * x) + level.log_snr / 5
        prediction = predict(eps, x, level, kind="noise").replace(fraction=torch.sigmoid(x))
        seen.append((x, level, prediction))
        return prediction

    z = torch.randn(30, 8, 3)
    draws = iter(z[1:])
    last = SAMPLERS["ancestral"](
        denoise, schedule, z[0], lambda: next(draws), variance=variance, extrapolation=0.0
    )
    assert next(draws, None) is None
    assert [level for _, level, _ in seen] == list(schedule.points[:0:-1])
    after = [x for x, _, _ in seen[1:]] + [last]
    for n, (x, _, prediction), following in zip(range(30, 0, -1), seen, after, strict=True):
        mean, log_variance = reverse_step(
            schedule, prediction, x, torch.tensor(n), variance=variance
        )
        expected = mean + (log_variance / 2).exp() * z[31 - n] if n > 1 else mean
        torch.testing.assert_close(following, expected, rtol=1e-10, atol=1e-10)


@identities
@pytest.mark.parametrize("num_steps", [1, 7, 50])
@pytest.mark.parametrize("process", SCHEDULES)
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("ddim", {"eta": 1.0}), ("ancestral", {"variance": "small", "extrapolation": 0.0})),
        (("ddim", {"eta": 0.0}), ("dpm++", {"order": 1})),
        (("ddim", {"eta": 1.0}), ("sde-dpm++", {"order": 1})),
        (("predictor-corrector", {"corrections": 0}), ("ancestral", {"extrapolation": 0.0})),
    ],
    ids=["ddim-1=ancestral", "ddim-0=dpm-1", "ddim-1=sde-dpm-1", "no-corrections=ancestral"],
)
def test_samplers_that_are_one_another(first, second, process, num_steps):
    schedule = make_chain(process, 50, beta_start=1e-3, beta_end=0.2)
    schedule = respace(schedule, num_steps)
    x = schedule.prior_std * torch.randn(6, 2)
    one, other = (sample(*case, Mixture(), schedule, x) for case in (first, second))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def norms(log_snr):
    """sqrt(alpha^2 + sigma^2) of the three processes as functions of the log-SNR."""
    snr = log_snr.exp()
    # sigma = 1 - alpha^2 and alpha = sqrt(snr) sigma.
    sub_alpha = (torch.sqrt(1 + 4 * snr) - 1) / (2 * snr.sqrt())
    sub_vp = torch.where(snr.isinf(), 1, sub_alpha * torch.sqrt(1 + 1 / snr))
    return {
        "vp": torch.ones_like(snr),
        "sub-vp": sub_vp,
        "ve": torch.sqrt(1 + 1 / snr),
    }


@invariances
@each_case
@pytest.mark.parametrize("process", ["sub-vp", "ve"])
def test_a_process_is_only_a_choice_of_units(process, name, options):
    if options.get("variance") in ("large", "learned"):
        pytest.skip("beta is the variance of a step in the process's own units")
    log_snr = torch.cat([torch.tensor([math.inf]), torch.linspace(7, -6, 25)])
    vp, other = (Schedule(log_snr, norms(log_snr)[kind]) for kind in ("vp", process))
    x = torch.randn(6, 2)
    expected = sample(name, options, Mixture(), vp, x)
    out = sample(name, options, Mixture(), other, other.prior_std * x)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-9)


@identities
@pytest.mark.parametrize("z", [0.05, 0.7, 4.0])
@pytest.mark.parametrize("nodes", [[0.0], [0.0, -0.6], [0.0, -1.3, -1.9], [0.0, 0.5, -1.0, -3.0]])
def test_weights_integrate_polynomials_exactly(nodes, z):
    weights = exponential_weights(tuple(nodes), z)
    u, of_u = np.polynomial.legendre.leggauss(40)
    u, of_u = (u + 1) / 2, of_u / 2
    for degree in range(len(nodes)):
        integral = (of_u * z * np.exp(-z * (1 - u)) * u**degree).sum()
        assert np.dot(weights, np.array(nodes) ** degree) == pytest.approx(integral, abs=1e-11)


@oracles
@pytest.mark.parametrize("rate", [1, 2])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_multistep_is_exact_where_x0_is_a_polynomial_of_the_log_snr(order, rate):
    log_snr = torch.tensor([3.0, 2.6, 1.0, 0.1, -0.9, -1.4, -3.0])
    schedule = Schedule(log_snr, norms(log_snr)["sub-vp"])

    def x0(log_snr):
        return sum(torch.tensor([[2.0, -1.0]]) * (log_snr / 3) ** k for k in range(order))

    start, end = schedule.points[-1], schedule.points[0]
    x = torch.randn(4, 2)
    out = multistep(
        lambda x, level: Prediction(x0(level.log_snr).expand(4, 2), x),
        schedule,
        x,
        lambda: torch.zeros(4, 2),
        order=order,
        rate=rate,
        history=[(log_snr, x0(log_snr).expand(4, 2)) for log_snr in (-3.5, -4.1)],
    )
    # The exact solution by quadrature over half log-SNR, in one piece.
    h = (end.log_snr - start.log_snr) / 2
    u, of_u = np.polynomial.legendre.leggauss(60)
    expected = end.sigma / start.sigma * math.exp(-(rate - 1) * h) * x
    for share, weight in zip((u + 1) / 2, of_u / 2, strict=True):
        kernel = rate * h * math.exp(-rate * h * (1 - share))
        expected += end.alpha * weight * kernel * x0(start.log_snr + share * 2 * h)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-11)


@identities
def test_first_order_step_does_not_depend_on_how_it_is_divided():
    # For a constant estimate of clean data the steps of ODE and SDE compose.
    schedule = make_chain(num_steps=20)
    high, mid, low = (schedule.points[n] for n in (18, 9, 4))
    x, x0 = torch.randn(3, 2), torch.randn(3, 2)
    for rate in (1, 2):
        whole = exponential_step(x, high, low, [(high.log_snr, x0)], rate=rate)
        half = exponential_step(x, high, mid, [(high.log_snr, x0)], rate=rate)
        halves = exponential_step(half, mid, low, [(mid.log_snr, x0)], rate=rate)
        torch.testing.assert_close(halves, whole, rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------ Oracles: Gaussian data


def recursion(kept, mean, covariance, *, variance):
    """Moments of the ancestral VP chain with alpha_bar ``kept`` by matrices: x0_hat into the posterior."""
    dim, eye = len(mean), np.eye(len(mean))
    m, c = np.zeros(dim), eye
    for n in range(len(kept) - 1, 0, -1):
        now, before = kept[n], kept[n - 1]
        b = 1 - now / before
        # x0_hat = E[x0 | xn] = gain xn + rest, the regression of x0 on xn.
        gain = np.sqrt(now) * covariance @ np.linalg.inv(now * covariance + (1 - now) * eye)
        rest = mean - gain @ (np.sqrt(now) * mean)
        of_x0 = np.sqrt(before) * b / (1 - now)
        of_xn = np.sqrt(1 - b) * (1 - before) / (1 - now)
        step = of_x0 * gain + of_xn * eye
        m, c = step @ m + of_x0 * rest, step @ c @ step.T
        if n > 1:
            small, large = b * (1 - before) / (1 - now), b
            # Half way between the logarithms is the geometric mean.
            both = {"small": small, "large": large, "learned": np.sqrt(small * large)}
            c = c + eye * both[variance]
    return m, c


@oracles
@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("num_steps", [1, 20, 100])
@pytest.mark.parametrize("name", ["linear", "cosine", "vp"])
def test_ancestral_moments_follow_the_recursion(device, name, num_steps, variance):
    data, short = GAUSSIAN, short_chain(num_steps, name).to(device)
    found = sampler_moments("ancestral", {"variance": variance, "extrapolation": 0.0}, data, short)
    kept = 1 / (1 + np.exp(-np.array(short.floats["log_snr"])))
    expected = recursion(kept, data.mean.numpy(), data.covariance.numpy(), variance=variance)
    np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found[1], expected[1], rtol=0, atol=1e-9)


@oracles
@pytest.mark.parametrize(("variance", "expected"), [("small", 0.9421), ("large", 0.9999)])
def test_variance_of_standard_normal_data(variance, expected):
    # From the recursion by hand: beta 1e-4 .. 0.1, N = 100, no noise on the last step.
    data = Gaussian(np.zeros(1), np.ones((1, 1)))
    _, covariance = sampler_moments(
        "ancestral", {"variance": variance, "extrapolation": 0.0}, data, make_chain()
    )
    assert covariance.item() == pytest.approx(expected, abs=5e-5)


# Adams-Bashforth is exact for standard normal data instead: the test below.
@oracles
@pytest.mark.parametrize(("name", "options"), [c for c in CASES if c[0] != "adams-bashforth"])
@pytest.mark.parametrize("process", ["linear", "sub-vp", "ve"])
def test_point_data_is_met_exactly(process, name, options):
    data = point([3.0, -1.0], fraction=0.5)
    mean, covariance = sampler_moments(name, options, data, make_chain(process, 20, beta_end=0.5))
    np.testing.assert_allclose(mean, [3.0, -1.0], rtol=1e-10)
    np.testing.assert_allclose(covariance, 0, atol=1e-20)


@oracles
@pytest.mark.parametrize("options", [o for name, o in CASES if name == "adams-bashforth"])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 10])
@pytest.mark.parametrize("process", ["linear", "sub-vp", "ve"])
def test_adams_bashforth_keeps_standard_normal_data_in_any_number_of_steps(
    process, num_steps, options
):
    chain = respace(make_chain(process), num_steps, spacing="angle")
    mean, covariance = sampler_moments(
        "adams-bashforth", options, Gaussian(np.zeros(2), np.eye(2)), chain
    )
    np.testing.assert_allclose(mean, 0, atol=1e-12)
    np.testing.assert_allclose(covariance, np.eye(2), rtol=0, atol=1e-12)
    # One call a step; of DDIM each step takes its cosine of the deviation.
    _, shrunk = sampler_moments("ddim", {}, Gaussian(np.zeros(2), np.eye(2)), chain)
    angles = [level.angle for level in chain.points]
    kept = math.prod(math.cos(b - a) ** 2 for a, b in itertools.pairwise(angles))
    np.testing.assert_allclose(shrunk, kept * np.eye(2), rtol=1e-9, atol=1e-12)


@oracles
@pytest.mark.parametrize("nodes", [(0.0,), (0.0, -1.0), (0.0, -0.4, -1.7)])
def test_weights_of_a_polynomial_are_its_integral(nodes):
    weights = polynomial_weights(nodes)
    for power in range(len(nodes)):
        values = [node**power for node in nodes]
        assert np.dot(weights, values) == pytest.approx(1 / (power + 1), rel=1e-12)
    if nodes == (0.0, -1.0):
        assert weights == pytest.approx((1.5, -0.5))  # the textbook's


@oracles
@pytest.mark.parametrize("snr", [0.4, 0.9])
@pytest.mark.parametrize("process", ["linear", "sub-vp", "ve"])
def test_langevin_steps_settle_at_the_level(process, snr):
    level = make_chain(process, beta_start=1e-3).points[80]
    data = GAUSSIAN

    def run(denoiser, schedule, x, noise):
        for _ in range(100):
            x = langevin_step(denoiser, level, x, noise, snr=snr)
        return x

    centre, noised = data.at(level)
    mean, covariance = moments(run, data, make_chain())
    # x' = (1 - delta / v) x + sqrt(2 delta) z along each principal axis: variance v / (1 - delta / (2 v)).
    delta = 2 * (snr * level.sigma) ** 2
    v, axes = torch.linalg.eigh(noised)
    expected = axes @ torch.diag(v / (1 - delta / (2 * v))) @ axes.T
    unit = float(v.max())
    np.testing.assert_allclose(mean, centre, rtol=0, atol=1e-3 * unit**0.5)
    np.testing.assert_allclose(covariance, expected, rtol=0, atol=1e-3 * unit)
    # As the docstring says.
    excess = torch.as_tensor(covariance).diagonal() / noised.diagonal() - 1
    assert (excess < snr**2 / (1 - snr**2) + 1e-3).all()


# Error of the covariance times the number of steps, at most, in all three processes, where variances are
# .64, .41 and .49. What an affine sampler returns is known without chance, for those that draw noise as well.
BOUNDS = {
    "ancestral": 6.0,
    "adams-bashforth": 6.0,
    "ddim": 6.0,
    "dpm++": 3.0,
    "sde-dpm++": 7.0,
    "heun": 1.5,
    "langevin": 30.0,
    "predictor-corrector": 6.0,
}


@convergence
@each_case
@pytest.mark.parametrize("process", ["vp", "sub-vp", "ve"])
def test_gaussian_moments_converge_to_the_data(process, name, options):
    data, errors = GAUSSIAN, []
    for num_steps in (25, 50, 100):
        # The same path from data to noise at each step size; its first level closes in on clean data.
        schedule = make_chain(
            process, num_steps, beta_start=0.1 / num_steps, beta_end=20 / num_steps
        )
        mean, covariance = sampler_moments(name, options, data, schedule, exact_start=True)
        # A polynomial in the angle meets the mean as it meets the covariance, others exactly.
        least = 3 / num_steps if name == "adams-bashforth" else 1e-10
        np.testing.assert_allclose(mean, data.mean, rtol=0, atol=least)
        errors.append(np.abs(covariance - data.covariance.numpy()).max())
        assert errors[-1] < BOUNDS[name] / num_steps
    # Half at each doubling is first order.
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.55 * errors[0]


# ------------------------------------------------------------------ Convergence order of the ODE solvers


@convergence
@pytest.mark.parametrize("data", [GAUSSIAN, Mixture()], ids=["gaussian", "mixture"])
@pytest.mark.parametrize(
    ("name", "order"),
    [
        *(("ddim", 1), ("dpm++", 1), ("dpm++", 2), ("dpm++", 3), ("heun", 2)),
        *(("adams-bashforth", 1), ("adams-bashforth", 2)),
    ],
)
def test_error_falls_with_the_stated_order(data, name, order):
    x = torch.randn(8, data.dim)
    start, end = Schedule(torch.tensor([5.0, -5.0])).points[::-1]
    exact = data.flow(x, start, end)
    errors, counts = [], (80, 160, 320)
    for num_steps in counts:
        # Even in the log-SNR, and no clean data at its end: that step is of first order.
        schedule = Schedule(torch.linspace(5, -5, num_steps + 1))
        if name == "dpm++":
            # Earlier estimates from the exact path, so that the first steps have full order too.
            before = [schedule.at(-5 - 10 / num_steps * j) for j in range(1, order)]
            history = [
                (level.log_snr, data(data.flow(x, start, level), level).x0) for level in before
            ]
            out = multistep(data, schedule, x, no_noise, order=order, rate=1, history=history)
        elif name == "adams-bashforth":
            out = SAMPLERS[name](data, schedule, x, no_noise, order=order, renewal=0.0)
        else:
            out = SAMPLERS[name](data, schedule, x, no_noise)
        errors.append(float((out - exact).square().mean().sqrt()))
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert abs(slope - order) < 0.3


# ------------------------------------------------------------------ Oracles: the mixture


@oracles
@pytest.mark.parametrize("name", SAMPLERS)
def test_mixture_of_two_gaussians(name):
    count, data, schedule = 2000, Mixture(), make_chain(beta_start=1e-3, beta_end=0.2)
    x = sample(name, {}, data, schedule, torch.randn(count, 2))
    home = torch.cdist(x, data.means).argmin(dim=1)
    for k in range(2):
        weight, mean = data.weights[k], data.means[k]
        mine = x[home == k]
        # Five standard errors.
        error = (weight * (1 - weight) / count).sqrt()
        assert abs(len(mine) / count - weight) < 5 * error
        # What the sampler makes of this mode alone; how far that is from the data is tested above.
        mode = Gaussian(mean, data.covariances[k])
        covariance = torch.tensor(sampler_moments(name, {}, mode, schedule, exact_start=True)[1])
        spread = covariance.diagonal()
        error = (spread / len(mine)).sqrt()
        assert ((mine.mean(0) - mean).abs() < 5 * error).all()
        # Var of a sample covariance of Gaussians: (c_ii c_jj + c_ij ** 2) / S.
        error = ((spread[:, None] * spread + covariance**2) / len(mine)).sqrt()
        assert ((torch.cov(mine.T) - covariance).abs() < 5 * error).all()


@contracts
@pytest.mark.parametrize("spacing", SPACINGS)
@each_case
def test_chains_that_leave_nothing_of_the_data_give_finite_samples(name, options, spacing):
    long = make_chain(num_steps=4000)
    short = respace(long, 4, spacing=spacing)
    x = torch.randn(6, 2, dtype=torch.float32)
    assert sample(name, options, Mixture(), short, x).isfinite().all()
