"""Latent data and guidance, with denoisers that are exact for Gaussians and a mixture of two."""

import math
from functools import partial

import pytest
import torch
from groups import contracts, convergence, cross_checks, identities, invariances, oracles
from toys import COVARIANCE, MEAN, Gaussian, close, make_chain, modes, no_noise, seeded_noise

from timediff.diffusion.bound import bound_terms
from timediff.diffusion.guidance import SelfConditioned, guided
from timediff.diffusion.latent import Recorder, cut, interpolate, invert, rate_distortion
from timediff.diffusion.parameterisation import Prediction
from timediff.diffusion.samplers.ancestral import ancestral
from timediff.diffusion.samplers.ddim import ddim
from timediff.diffusion.samplers.rehearsal import rehearse
from timediff.diffusion.schedule import Level
from timediff.diffusion.spacing import respace
from timediff.registry import SAMPLERS, SCHEDULES

pytestmark = pytest.mark.usefixtures("float64")

N = 50
make = partial(make_chain, num_steps=N, beta_end=0.2)
DENOISERS = {"gaussian": Gaussian(), "mixture": modes([[1.5, 0.0, -1.0], [-1.5, 0.0, 1.0]], 0.5)}


@pytest.fixture(params=SCHEDULES)
def schedule(request, device):
    return make(request.param).to(device)


@pytest.fixture(params=DENOISERS)
def denoiser(request):
    return DENOISERS[request.param]


def start(schedule, rows=7, dim=3):
    return schedule.prior_std * torch.randn(rows, dim, device=schedule.beta.device)


# Trajectories


@invariances
@pytest.mark.parametrize("name", SAMPLERS)
def test_recording_changes_nothing_and_counts_calls(name, denoiser, device):
    schedule = make().to(device)
    sampler, x = SAMPLERS[name], start(schedule)
    recorder = Recorder(denoiser)
    plain = sampler(denoiser, schedule, x, seeded_noise(x))
    recorded = sampler(recorder, schedule, x, seeded_noise(x))
    assert torch.equal(recorded, plain)
    assert (
        len(recorder.x)
        == len(recorder.x0)
        == len(recorder.levels)
        == rehearse(sampler, schedule).calls
    )
    close(recorder.x[0], x)
    assert recorder.levels[0] == schedule.points[-1]
    for seen, estimate, level in zip(recorder.x, recorder.x0, recorder.levels, strict=True):
        assert torch.equal(estimate, denoiser(seen, level).x0)


@identities
@pytest.mark.parametrize("name", ["ancestral", "ddim", "dpm++"])
def test_one_estimate_at_each_point_and_the_last_is_the_sample(name, schedule, denoiser, device):
    recorder, x = Recorder(denoiser), start(schedule)
    sample = SAMPLERS[name](recorder, schedule, x, seeded_noise(x))
    assert recorder.levels == list(schedule.points[:0:-1])
    close(recorder.x0[-1], sample)


@oracles
def test_estimates_lead_from_the_mean_to_the_sample(device):
    # For Gaussian data E|x0_hat - sample|^2 falls from the data's variance to nothing.
    schedule = make().to(device)
    recorder, x = Recorder(DENOISERS["gaussian"]), start(schedule, rows=500)
    sample = ancestral(recorder, schedule, x, seeded_noise(x), extrapolation=0.0)
    first = recorder.x0[0] - MEAN.to(x)
    assert first.square().mean() < 0.02 * sample.var(dim=0).mean()
    left = torch.stack([(x0 - sample).square().mean() for x0 in recorder.x0])
    assert (left[::7].diff() < 0).all() and left[-1] < 1e-20


# Rate and distortion


def spread_design(std):
    """Four rows of data and noise whose second moments are those of N(0, std^2) and N(0, 1)."""
    x0 = std * torch.tensor([1.0, 1.0, -1.0, -1.0])[:, None]
    return x0, torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None]


@identities
@pytest.mark.parametrize("variance", ["small", "large"])
def test_rate_adds_up_to_the_bound(schedule, denoiser, variance, device):
    x0 = torch.randn(6, 4, 3, device=device)
    rate, distortion = rate_distortion(schedule, denoiser, x0, seeded_noise(x0), variance=variance)
    terms = bound_terms(schedule, denoiser, x0, seeded_noise(x0), variance=variance)
    assert rate.shape == distortion.shape == (N + 1,)
    close(rate[0], terms.sum(dim=0).mean())
    close(rate[:-1] - rate[1:], terms[:-1].mean(dim=(1, 2, 3)))
    close(rate[-1], terms[-1].mean())


@oracles
def test_distortion_of_a_gaussian_is_its_conditional_spread(schedule, device):
    std = 0.7
    x0, eps = (t.to(device) for t in spread_design(std))
    exact = Gaussian([0.0], [[std**2]])
    _, distortion = rate_distortion(schedule, exact, x0, lambda n: eps, variance="small")
    snr = torch.tensor([math.exp(p.log_snr) for p in schedule.points[1:]], device=device)
    close(distortion[1:] ** 2, std**2 / (1 + snr * std**2))
    assert distortion[0] == 0


@convergence
def test_a_fine_chain_codes_a_gaussian_as_shannon_says():
    # R(D) = log(s / D) nats; the chain pays for its steps, half as much for half their length.
    std = 0.7
    x0, eps = spread_design(std)
    excess = []
    for num_steps in (250, 500):
        schedule = make("vp", num_steps=num_steps, beta_end=20 / num_steps)
        exact = Gaussian([0.0], [[std**2]])
        rate, distortion = rate_distortion(schedule, exact, x0, lambda n: eps, variance="small")
        # From some way along: the first steps of this chain change the SNR by large factors.
        known = slice(num_steps // 10, num_steps + 1)
        excess.append(rate[known] - torch.log(std / distortion[known]))
    assert (excess[0] > 0).all() and (excess[1] > 0).all() and excess[1].max() < 0.03
    ratio = float(excess[0][0] / excess[1][0])
    assert ratio == pytest.approx(2, abs=0.2)


# Decoding from the middle


@identities
@pytest.mark.parametrize("n", [1, 2, 17, N])
def test_a_cut_chain_is_the_beginning_of_the_whole(schedule, n):
    short = cut(schedule, n)
    assert short.num_steps == n
    for point, whole in zip(short.points, schedule.points[: n + 1], strict=True):
        assert point == pytest.approx(whole, rel=1e-12)
    for name in ("alpha", "sigma", "beta", "retain", "posterior_variance", "posterior_x0"):
        close(short.get_buffer(name), schedule.get_buffer(name)[: n + 1], 1e-12)


@identities
@pytest.mark.parametrize("n", [1, 9, 20])
def test_decoding_on_a_cut_chain_is_the_rest_of_a_run(schedule, denoiser, n):
    schedule = respace(schedule, 20)
    recorder = Recorder(denoiser)
    sample = ddim(recorder, schedule, start(schedule), no_noise)
    recorder.x.reverse()
    short = cut(schedule, n)
    close(ddim(denoiser, short, recorder.x[n - 1], no_noise), sample)
    # And a network that reads the step is told that of the chain it was trained on.
    assert [point.n for point in short.points] == [point.n for point in schedule.points[: n + 1]]


@contracts
@pytest.mark.parametrize("n", [0, -1, N + 1])
def test_a_chain_is_cut_at_one_of_its_steps(n):
    with pytest.raises(ValueError, match=f"in 1 .. {N}, got {n}"):
        cut(make(), n)


# Interpolation


@pytest.fixture
def ends(device):
    return torch.randn(3, 5, 3, device=device).unbind()


@identities
@pytest.mark.parametrize("n", [1, 20, N])
def test_shares_of_zero_and_one_are_the_ends(schedule, denoiser, ends, n):
    a, b, eps = ends
    decode = partial(ddim, denoiser, noise=no_noise)
    mix = partial(interpolate, schedule, a, b, eps, n=n, decode=decode)
    point, short = schedule.points[n], cut(schedule, n)
    for share, end in ((0.0, a), (1.0, b)):
        close(mix(share=share), decode(short, point.alpha * end + point.sigma * eps))


@identities
def test_at_step_zero_the_mixture_is_linear(ends):
    a, b, eps = ends
    mixed = interpolate(make(), a, b, eps, n=0, share=0.3, decode=no_noise)
    close(mixed, 0.7 * a + 0.3 * b)


@identities
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5])
def test_what_is_decoded_has_the_noise_of_its_level(schedule, ends, share):
    # The decoder's input is the mixture noised like any data, whatever the share.
    a, b, eps = ends
    seen = interpolate(schedule, a, b, eps, n=20, share=share, decode=lambda chain, x: x)
    point = schedule.points[20]
    close(seen, point.alpha * ((1 - share) * a + share * b) + point.sigma * eps)


@oracles
def test_a_gaussian_is_mixed_linearly(schedule, ends):
    # Its deterministic decoder is affine, and an affine map keeps mixtures.
    a, b, eps = ends
    decode = partial(ddim, DENOISERS["gaussian"], noise=no_noise)
    mix = partial(interpolate, schedule, a, b, eps, n=30, decode=decode)
    close(mix(share=0.4), 0.6 * mix(share=0.0) + 0.4 * mix(share=1.0))
    shares = torch.linspace(0, 1, len(a), device=a.device)[:, None]
    close(mix(share=shares), (1 - shares) * mix(share=0.0) + shares * mix(share=1.0))


@oracles
def test_halfway_between_two_modes_lies_a_mode(device):
    # The linear mixture of the modes 2 and -2 is 0, five standard deviations from either.
    schedule = make(num_steps=200, beta_end=0.05).to(device)
    a = torch.full((200, 1), 2.0, device=device)
    eps = torch.randn(200, 1, device=device)
    decode = partial(ancestral, modes([[2.0], [-2.0]], 0.4), noise=seeded_noise(a))
    mix = partial(interpolate, schedule, a, -a, eps, share=0.5, decode=decode)
    assert (mix(n=0) == 0).all()
    assert ((mix(n=100).abs() - 2).abs() < 5 * 0.4).all()
    # Each mode is as likely, 5 standard errors.
    assert (mix(n=100) > 0).double().mean() == pytest.approx(0.5, abs=5 * 0.5 / 200**0.5)


# Encoding


@identities
@pytest.mark.parametrize("name", SCHEDULES)
def test_encoding_is_the_inverse_of_decoding(name, denoiser, device):
    schedule = make(name, num_steps=100, beta_end=0.02).to(device)
    x0 = 2 * torch.randn(20, 3, device=device)
    latent = invert(denoiser, schedule, x0, iterations=30)
    close(ddim(denoiser, schedule, latent, no_noise), x0, 1e-8)


@oracles
@pytest.mark.parametrize("name", [name for name in SCHEDULES if name != "constant"])
def test_the_default_encodes_to_a_thousandth(name, denoiser, device):
    schedule = make(name, num_steps=100, beta_end=0.1).to(device)
    x0 = 2 * torch.randn(20, 3, device=device)
    assert (
        ddim(denoiser, schedule, invert(denoiser, schedule, x0), no_noise) - x0
    ).abs().max() < 1e-4


@convergence
@pytest.mark.parametrize("iterations", [1, 2])
def test_each_iteration_gains_an_order(denoiser, iterations):
    errors = []
    for num_steps in (200, 400):
        schedule = make("vp", num_steps=num_steps, beta_end=10 / num_steps)
        x0 = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
        latent = invert(denoiser, schedule, x0, iterations=iterations)
        errors.append(
            float((ddim(denoiser, schedule, latent, no_noise) - x0).square().mean().sqrt())
        )
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1 + iterations, abs=0.3)


@contracts
def test_each_iteration_calls_the_network_once_a_step(denoiser):
    recorder = Recorder(denoiser)
    invert(recorder, make(), torch.randn(4, 3), iterations=3)
    assert [level.n for level in recorder.levels] == [n for n in range(1, N + 1) for _ in range(3)]


@convergence
def test_gaussian_data_is_encoded_as_white_noise():
    # The flow of the ODE is known: x_N - alpha_N m = (alpha_N^2 C + sigma_N^2)^1/2 C^-1/2 (x0 - m).
    values, vectors = torch.linalg.eigh(COVARIANCE)
    x0 = MEAN + 2 * torch.randn(20, 3)
    errors = []
    for num_steps in (400, 800):
        schedule = make("vp", num_steps=num_steps, beta_end=20 / num_steps)
        last = schedule.points[-1]
        scale = torch.sqrt((last.alpha**2 * values + last.sigma**2) / values)
        flow = (vectors * scale) @ vectors.T
        expected = last.alpha * MEAN + (x0 - MEAN) @ flow
        latent = invert(DENOISERS["gaussian"], schedule, x0)
        errors.append(float((latent - expected).abs().max()))
    assert errors[1] < 0.1
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.3)


# Guidance


@oracles
@pytest.mark.parametrize("scale", [-0.5, 0.0, 0.5, 3.0])
def test_guided_score_is_that_of_the_product_of_powers(schedule, scale, device):
    # At each level p_c^(1+w) p_u^(-w) of two noised Gaussians is a Gaussian, by its precisions.
    wide = [[4.0, 0.5, 0.0], [0.5, 3.0, 0.2], [0.0, 0.2, 5.0]]
    centre = [0.0, 0.3, -0.2]
    both = guided(Gaussian(MEAN, COVARIANCE), Gaussian(centre, wide), scale=scale)
    x = torch.randn(6, 3, device=device)
    for point in schedule.points[1::7]:
        eye = torch.eye(3, device=device)
        precision, shift = torch.zeros_like(eye), x.new_zeros(3)
        for weight, m, c in ((1 + scale, MEAN, COVARIANCE), (-scale, centre, wide)):
            inverse = torch.linalg.inv(
                point.alpha**2 * torch.as_tensor(c).to(x) + point.sigma**2 * eye
            )
            precision = precision + weight * inverse
            shift = shift + weight * inverse @ (point.alpha * torch.as_tensor(m).to(x))
        score = -(x - torch.linalg.solve(precision, shift)) @ precision
        prediction = both(x, point)
        close(prediction.eps, -point.sigma * score)
        close(point.alpha * prediction.x0 + point.sigma * prediction.eps, x)


@oracles
def test_guidance_moves_a_gaussian_past_its_condition(schedule):
    # With one covariance the guided chain is that of a Gaussian whose mean is moved on by w.
    free, known, moved = [0.0, 0.0, 0.0], MEAN, 2.5 * MEAN
    both = guided(Gaussian(known, COVARIANCE), Gaussian(free, COVARIANCE), scale=1.5)
    x = start(schedule)
    expected = ddim(Gaussian(moved, COVARIANCE), schedule, x, no_noise)
    close(ddim(both, schedule, x, no_noise), expected, 1e-8)


@identities
@pytest.mark.parametrize(("scale", "name"), [(0.0, "gaussian"), (-1.0, "mixture")])
def test_guidance_leaves_one_of_the_two(scale, name):
    both = guided(DENOISERS["gaussian"], DENOISERS["mixture"], scale=scale)
    x, point = torch.randn(6, 3), make().points[20]
    guided_one, plain_one = both(x, point), DENOISERS[name](x, point)
    for guided_part, part in ((guided_one.x0, plain_one.x0), (guided_one.eps, plain_one.eps)):
        close(guided_part, part)


@identities
def test_a_learned_variance_is_that_of_the_condition():
    def learned(value):
        return lambda x, level: Prediction(x, x, torch.full_like(x, value))

    both = guided(learned(0.2), learned(0.9), scale=2.0)
    assert (both(torch.ones(2, 3), make().points[5]).fraction == 0.2).all()


# Self-conditioning


def blend(x, level, previous):
    """A network that leans on its last estimate, and would show any other one."""
    x0 = 0.3 * previous + torch.tanh(x)
    return Prediction(x0, (x - level.alpha * x0) / level.sigma)


@cross_checks
def test_the_network_sees_its_last_estimate():
    schedule = make(num_steps=10)
    x = start(schedule)
    sample = ddim(SelfConditioned(blend), schedule, x, no_noise)
    x0 = torch.zeros_like(x)
    for n in range(10, 0, -1):
        here, end = schedule.points[n], schedule.points[n - 1]
        x0 = 0.3 * x0 + torch.tanh(x)
        x = end.alpha * x0 + end.sigma * (x - here.alpha * x0) / here.sigma
    close(sample, x)


@identities
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_network_that_ignores_its_estimate_is_the_plain_one(name, denoiser, device):
    schedule = make().to(device)
    x = start(schedule)
    run = partial(SAMPLERS[name], schedule=schedule, x=x)
    conditioned = SelfConditioned(lambda x, level, previous: denoiser(x, level))
    plain = run(denoiser, noise=seeded_noise(x))
    assert torch.equal(run(conditioned, noise=seeded_noise(x)), plain)


@contracts
def test_every_chain_begins_with_zeros():
    schedule = make(num_steps=10)
    x = start(schedule)
    first, second = (ddim(SelfConditioned(blend), schedule, x, no_noise) for _ in range(2))
    assert torch.equal(first, second)
    kept = SelfConditioned(blend)
    ddim(kept, schedule, x, no_noise)
    assert not torch.equal(ddim(kept, schedule, x, no_noise), first)
    level = Level(0.0, 0.5**0.5, 0.5**0.5, 5)
    close(SelfConditioned(blend)(x, level).x0, torch.tanh(x))
