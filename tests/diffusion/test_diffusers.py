"""Cross-checks: our samplers against the schedulers of `diffusers`.

Same betas, same steps, same denoiser, same noise. Its tables are float32; here they are put in again in
float64, so that the formulas are compared. Its timestep t is our step n = t + 1.
"""

import math

import pytest
import torch
from toys import make_chain

from timediff.diffusion.parameterisation import Prediction
from timediff.diffusion.samplers.exponential import exponential_step
from timediff.diffusion.spacing import respace
from timediff.registry import SAMPLERS

diffusers = pytest.importorskip("diffusers")

pytestmark = [pytest.mark.cross_checks, pytest.mark.usefixtures("float64")]

LONG = 100
SHAPE = (6, 3)

each_count = pytest.mark.parametrize("num_steps", [2, 5, 20, 50])


@pytest.fixture(params=["linear", "cosine"])
def chain(request, float64):
    return make_chain(request.param, LONG, beta_start=1e-3, beta_end=0.15)


def denoise(x, level):
    """A bent function of x and of the level, for which no solver is exact."""
    x0 = torch.tanh(2 * x) + 0.3 * torch.roll(x, 1, dims=-1) * math.cos(level.log_snr)
    return Prediction(x0, (x - level.alpha * x0) / level.sigma, torch.sigmoid(x + level.log_snr))


def scheduler_of(kind, chain, **options):
    """A scheduler of diffusers on our chain, with float64 tables."""
    alpha_bar = torch.tensor(chain.floats["alpha"]) ** 2
    alpha = alpha_bar[1:] / alpha_bar[:-1]
    scheduler = getattr(diffusers, kind)(
        num_train_timesteps=LONG, trained_betas=(1 - alpha).numpy(), **options
    )
    torch.testing.assert_close(
        scheduler.alphas_cumprod.double(), alpha_bar[1:], rtol=1e-4, atol=1e-6
    )
    scheduler.alphas_cumprod = alpha_bar[1:]
    return scheduler


def timesteps(schedule):
    return (schedule.steps[1:].flip(0) - 1).tolist()


def ratios(schedule):
    """sigma / alpha from the last level to clean data, diffusers' "sigmas", float64."""
    return torch.tensor([p.sigma / p.alpha for p in schedule.points[::-1]])


def put(scheduler, sigmas):
    torch.testing.assert_close(scheduler.sigmas.double(), sigmas, rtol=1e-4, atol=1e-6)
    scheduler.sigmas = sigmas


def noise():
    """The same sequence at each call."""
    generator = torch.Generator().manual_seed(1)
    return lambda: torch.randn(SHAPE, generator=generator)


def start():
    return torch.randn(SHAPE)


def walk(scheduler, schedule, x, *, output=lambda prediction: prediction.x0, extra=dict):
    """What a pipeline of diffusers does for a scheduler that works on x itself; all states."""
    states = [x]
    for level, t in zip(schedule.points[:0:-1], scheduler.timesteps.tolist(), strict=True):
        assert level.n == t + 1
        x = scheduler.step(output(denoise(x, level)), t, x, **extra()).prev_sample
        states.append(x)
    return states


@each_count
@pytest.mark.parametrize(
    ("variance", "variance_type"),
    [("small", "fixed_small"), ("large", "fixed_large"), ("learned", "learned_range")],
)
def test_ancestral_is_ddpm(chain, variance, variance_type, num_steps):
    # diffusers leaves the noise out at t = 0, not on the last step, so this spacing, which ends there.
    schedule = respace(chain, num_steps, spacing="log-snr")
    scheduler = scheduler_of(
        "DDPMScheduler",
        chain,
        variance_type=variance_type,
        prediction_type="sample",
        clip_sample=False,
    )
    scheduler.set_timesteps(timesteps=timesteps(schedule))

    def output(prediction):
        # Its fraction of the variance runs from -1 to 1 and stands beside the prediction.
        learned = [2 * prediction.fraction - 1] if variance == "learned" else []
        return torch.cat([prediction.x0, *learned], dim=1)

    x = start()
    generator = torch.Generator().manual_seed(1)
    theirs = walk(scheduler, schedule, x, output=output, extra=lambda: {"generator": generator})
    ours = SAMPLERS["ancestral"](
        denoise, schedule, x, noise(), variance=variance, extrapolation=0.0
    )
    torch.testing.assert_close(ours, theirs[-1], rtol=0, atol=1e-9)


@each_count
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_ddim(chain, eta, num_steps):
    # Its previous timestep is always t - N / num_steps, which is our uniform spacing.
    schedule = respace(chain, num_steps)
    scheduler = scheduler_of(
        "DDIMScheduler",
        chain,
        timestep_spacing="trailing",
        prediction_type="sample",
        clip_sample=False,
    )
    scheduler.set_timesteps(num_steps)
    x, draw = start(), noise()
    theirs = walk(scheduler, schedule, x, extra=lambda: {"eta": eta, "variance_noise": draw()})
    ours = SAMPLERS["ddim"](denoise, schedule, x, noise(), eta=eta)
    torch.testing.assert_close(ours, theirs[-1], rtol=0, atol=1e-9)


def dpm_scheduler(chain, schedule, name, order, solver_type="heun"):
    scheduler = scheduler_of(
        "DPMSolverMultistepScheduler",
        chain,
        algorithm_type={"dpm++": "dpmsolver++", "sde-dpm++": "sde-dpmsolver++"}[name],
        solver_order=order,
        # For two estimates its "heun" integrates their straight line exactly, as we do; its "midpoint", the
        # formula of the paper's algorithm 2, differs from that in a higher power of the step.
        solver_type=solver_type,
        prediction_type="sample",
        # Lower orders at the end only where the level is clean data.
        lower_order_final=False,
        final_sigmas_type="zero",
    )
    scheduler.set_timesteps(timesteps=timesteps(schedule))
    put(scheduler, ratios(schedule))
    return scheduler


# diffusers casts the state of this scheduler and of Euler's to float32 at each step.
FLOAT32 = {"rtol": 1e-5, "atol": 1e-5}


@each_count
@pytest.mark.parametrize("spacing", ["uniform", "log-snr"])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", ["dpm++", "sde-dpm++"])
def test_multistep_dpm_solver(chain, name, order, spacing, num_steps):
    schedule = respace(chain, num_steps, spacing=spacing)
    scheduler = dpm_scheduler(chain, schedule, name, order)
    x, draw = start(), noise()
    theirs = walk(scheduler, schedule, x, extra=lambda: {"variance_noise": draw()})
    ours = SAMPLERS[name](denoise, schedule, x, noise(), order=order)
    torch.testing.assert_close(ours, theirs[-1], **FLOAT32)


@each_count
@pytest.mark.parametrize("spacing", ["uniform", "quadratic"])
def test_extrapolated_ancestral_steps_are_the_simplified_sde_solver(chain, spacing, num_steps):
    schedule = respace(chain, num_steps, spacing=spacing)
    scheduler = dpm_scheduler(chain, schedule, "sde-dpm++", 2, solver_type="midpoint")
    x, draw = start(), noise()
    theirs = walk(scheduler, schedule, x, extra=lambda: {"variance_noise": draw()})
    run = SAMPLERS["ancestral"]
    ours = run(denoise, schedule, x, noise(), variance="small", extrapolation=1.0)
    torch.testing.assert_close(ours, theirs[-1], **FLOAT32)


@each_count
def test_multistep_dpm_solver_of_third_order(chain, num_steps):
    """Step by step, because diffusers gives the curvature half the weight that it has in the integral.

    Its D2 is the second divided difference of the estimates, half their second derivative, times a weight
    meant for the derivative: an error of the third power of the step, so its solver of order 3 is one of
    order 2. For the SDE its weight of D2 does not vanish with the step; that solver is not compared.
    """
    schedule = respace(chain, num_steps, spacing="log-snr")
    scheduler = dpm_scheduler(chain, schedule, "dpm++", 3)
    states = walk(scheduler, schedule, start())
    points = schedule.points[::-1]
    estimates = []
    for here, there, x, following in zip(points, points[1:], states, states[1:], strict=False):
        estimates = [(here.log_snr, denoise(x, here).x0), *estimates][:3]
        expected = exponential_step(x, here, there, estimates, rate=1)
        if len(estimates) == 3 and there.sigma > 0:
            h = (there.log_snr - here.log_snr) / 2
            (l0, f0), (l1, f1), (l2, f2) = [(log_snr / 2, x0) for log_snr, x0 in estimates]
            curvature = ((f0 - f1) / (l0 - l1) - (f1 - f2) / (l1 - l2)) / (l0 - l2) * h**2
            # The integral of exp(-h (1 - u)) h u^2 over a step.
            weight = 1 - 2 / h * (1 + math.expm1(-h) / h)
            expected = expected - there.alpha * weight / 2 * curvature
        torch.testing.assert_close(expected, following, **FLOAT32)


def walk_in_units_of_the_data(scheduler, schedule, x):
    """The same for schedulers whose state is y = x / alpha, and which ask for predicted noise."""
    levels = {level.n - 1: level for level in schedule.points}
    y = x / schedule.points[-1].alpha
    for t in scheduler.timesteps:
        level = levels[int(t)]
        scaled = scheduler.scale_model_input(y, t)
        torch.testing.assert_close(scaled, level.alpha * y, rtol=1e-6, atol=1e-6)
        y = scheduler.step(denoise(level.alpha * y, level).eps, t, y).prev_sample
    return y


@each_count
def test_ddim_is_euler(chain, num_steps):
    schedule = respace(chain, num_steps)
    scheduler = scheduler_of("EulerDiscreteScheduler", chain, timestep_spacing="trailing")
    scheduler.set_timesteps(num_steps)
    put(scheduler, ratios(schedule))
    x = start()
    theirs = walk_in_units_of_the_data(scheduler, schedule, x)
    ours = SAMPLERS["ddim"](denoise, schedule, x, noise())
    # Its float32 state starts at sigma / alpha, up to a thousand here.
    atol = 1e-5 + 1e-7 * float(ratios(schedule)[0])
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=atol)


@each_count
def test_heun(chain, num_steps):
    # Without churn, which diffusers does not offer here.
    schedule = respace(chain, num_steps)
    scheduler = scheduler_of("HeunDiscreteScheduler", chain, timestep_spacing="trailing")
    scheduler.set_timesteps(num_steps)
    rho = ratios(schedule)
    put(scheduler, torch.cat([rho[:1], rho[1:-1].repeat_interleave(2), rho[-1:]]))
    x = start()
    theirs = walk_in_units_of_the_data(scheduler, schedule, x)
    ours = SAMPLERS["heun"](denoise, schedule, x, noise())
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
