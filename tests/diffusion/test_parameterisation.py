"""The four parameterisations: each the same knowledge, so they convert without loss and sample alike."""

import math

import pytest
import torch
from groups import contracts, identities, invariances, oracles
from toys import close, make_chain

from timediff.diffusion.parameterisation import Prediction, convert, predict
from timediff.diffusion.process import add_noise, reverse_step
from timediff.diffusion.schedule import Level
from timediff.registry import PARAMETERISATIONS

#: One process of each kind: VP, sub-VP, VE.
PROCESSES = ("linear", "sub-vp", "ve")
N = 100

every_process = pytest.mark.parametrize("process", PROCESSES)
every_kind = pytest.mark.parametrize("kind", PARAMETERISATIONS)


def make(process, device="cpu"):
    return make_chain(process, N).to(device)


def noised(schedule, n, device, size=4):
    """Clean data, noise and noised data ``[*n.shape, size]``."""
    x0, eps = torch.randn(2, *n.shape, size, device=device)
    return x0, eps, add_noise(schedule, x0, n, eps)


@identities
@every_process
@every_kind
def test_solving_gives_back_data_and_noise(float64, process, kind, device):
    schedule = make(process, device)
    n = torch.arange(1, N + 1, device=device)
    x0, eps, x = noised(schedule, n, device)
    level = schedule.level(n)
    value = PARAMETERISATIONS[kind].of(x0, eps, level)
    found = predict(value, x, level, kind=kind)
    close(found.x0, x0)
    close(found.eps, eps)
    assert found.fraction is None


@identities
@every_process
@pytest.mark.parametrize("source", PARAMETERISATIONS)
@pytest.mark.parametrize("target", PARAMETERISATIONS)
def test_round_trip_between_any_two(float64, process, source, target, device):
    schedule = make(process, device)
    # Next to clean data a score is as large as 1 / sigma^2 data, and that many digits cancel.
    n = torch.arange(3, N + 1, device=device)
    _, _, x = noised(schedule, n, device)
    value = torch.randn_like(x)
    level = schedule.level(n)
    there = convert(value, x, level, source=source, target=target)
    close(convert(there, x, level, source=target, target=source), value)
    if source != target:
        assert (there - value).abs().max() > 0.1


@invariances
@every_process
@every_kind
@pytest.mark.parametrize("target", PARAMETERISATIONS)
def test_a_level_of_floats_is_the_level_of_tensors(float64, process, kind, target, device):
    schedule = make(process, device)
    n = torch.tensor([1, 17, 99, 100], device=device)
    _, _, x = noised(schedule, n, device)
    value = torch.randn_like(x)
    together = convert(value, x, schedule.level(n), source=kind, target=target)
    for row, step in enumerate(n.tolist()):
        alone = convert(value[row], x[row], schedule.points[step], source=kind, target=target)
        close(alone, together[row], 1e-12)


@invariances
@every_kind
def test_each_row_has_its_own_level(float64, kind, device):
    schedule = make("linear", device)
    n = torch.randint(1, N + 1, (3, 5), device=device)
    _, _, x = noised(schedule, n, device)
    value = torch.randn_like(x)
    together = predict(value, x, schedule.level(n), kind=kind)
    for at in [(0, 0), (1, 4), (2, 2)]:
        alone = predict(value[at], x[at], schedule.level(n[at]), kind=kind)
        close(together.x0[at], alone.x0, 1e-12)
        close(together.eps[at], alone.eps, 1e-12)


@invariances
@every_process
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_all_four_give_the_same_reverse_mean(process, dtype, device, request):
    if dtype == torch.float64:
        request.getfixturevalue("float64")
    schedule = make(process, device)
    n = torch.arange(1, N + 1, device=device)
    _, eps, x = noised(schedule, n, device)
    # A network that is wrong, as all are.
    eps_hat = eps + 0.3 * torch.randn_like(eps)
    level = schedule.level(n)
    means = []
    for kind in PARAMETERISATIONS:
        value = convert(eps_hat, x, level, source="noise", target=kind)
        prediction = predict(value, x, level, kind=kind)
        mean, _ = reverse_step(schedule, prediction, x, n, variance="small")
        means.append(mean)
    # float32 keeps seven digits of numbers as large as x, which the mean is made of.
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    size = x.abs().max(dim=-1, keepdim=True).values.clamp(min=1)
    for mean in means[1:]:
        assert ((mean - means[0]) / size).abs().max() < tolerance


@identities
@every_process
def test_score_is_the_gradient_of_the_log_density(float64, process, device):
    schedule = make(process, device)
    n = torch.arange(1, N + 1, device=device)
    x0, eps, x = noised(schedule, n, device)
    x.requires_grad_()
    level = schedule.level(n)
    mean, std = level.alpha[:, None] * x0, level.sigma[:, None].expand_as(x0)
    torch.distributions.Normal(mean, std).log_prob(x).sum().backward()
    close(PARAMETERISATIONS["score"].of(x0, eps, level), x.grad)


@identities
def test_v_is_the_derivative_along_the_angle(float64):
    # Salimans & Ho (2022), appendix D: alpha = cos(phi), sigma = sin(phi).
    x0, eps = torch.randn(2, 7, 4)
    phi = torch.linspace(0.05, 1.5, 7)

    def x(angle):
        return torch.cos(angle)[:, None] * x0 + torch.sin(angle)[:, None] * eps

    _, derivative = torch.func.jvp(x, (phi,), (torch.ones_like(phi),))
    alpha, sigma = torch.cos(phi), torch.sin(phi)
    level = Level(2 * (alpha / sigma).log(), alpha, sigma, torch.arange(7))
    close(PARAMETERISATIONS["v"].of(x0, eps, level), derivative)


@identities
def test_v_and_x_are_data_and_noise_turned_by_the_angle(float64):
    schedule = make("linear")
    for step in (1, 30, 100):
        level = schedule.points[step]
        x0, eps = torch.randn(2, 5)
        x = level.alpha * x0 + level.sigma * eps
        v = PARAMETERISATIONS["v"].of(x0, eps, level)
        close((x**2 + v**2), (x0**2 + eps**2))


@oracles
@every_process
def test_the_best_guess_of_each_is_that_of_every_other(float64, process, device):
    # For N(0, s^2) data E[x0 | x] is known; E of the others follows from the joint Gaussian directly.
    schedule, s = make(process, device), 1.7
    n = torch.arange(1, N + 1, device=device)
    level = schedule.level(n)
    x = 3 * torch.randn(N, 1, device=device)
    alpha, sigma = level.alpha[:, None], level.sigma[:, None]
    total = alpha**2 * s**2 + sigma**2
    covariance = {
        "noise": sigma,
        "x0": alpha * s**2,
        "v": alpha * sigma - sigma * alpha * s**2,
        "score": -torch.ones_like(sigma),
    }
    best = {kind: covariance[kind] / total * x for kind in PARAMETERISATIONS}
    for source in PARAMETERISATIONS:
        for target in PARAMETERISATIONS:
            found = convert(best[source], x, level, source=source, target=target)
            close(found, best[target], 1e-8)


@contracts
@every_kind
def test_gradients_flow_through(float64, kind):
    level = make("linear").points[40]
    x = torch.randn(3, 2)
    value = torch.randn(3, 2, requires_grad=True)

    def both(value):
        prediction = predict(value, x, level, kind=kind)
        return prediction.x0, prediction.eps

    assert torch.autograd.gradcheck(both, value)
    assert math.isfinite(float(both(value)[0].detach().sum()))


@identities
@every_process
@every_kind
def test_a_blend_is_made_of_the_clean_data(float64, process, kind, device):
    schedule = make(process, device)
    for level in schedule.points[1:]:
        x, value = torch.randn(2, 5, 3, device=device)
        found = predict(value, x, level, kind=kind)
        scale = 1 + found.x0.abs().max()
        for a, b in ((0.7, -0.2), (1.0, 0.0), (0.0, 1.0)):
            close(found.blend(a, b, x) / scale, (a * found.x0 + b * x) / scale)
            # Of another x too, as in a process whose network sees data in other units.
            close(found.blend(a, b, 2 * x) / scale, (a * found.x0 + 2 * b * x) / scale)


@identities
def test_fraction_and_tilt_are_the_same_knowledge(float64):
    x, level = torch.randn(4, 3), make("linear").points[7]
    for found in (
        predict(x, x, level, kind="v", tilt=torch.full_like(x, -0.5)),
        Prediction(x, x, torch.full_like(x, 0.25)),
        predict(x, x, level, kind="v").replace(fraction=torch.full_like(x, 0.25)),
    ):
        assert (found.fraction == 0.25).all() and (found.tilt == -0.5).all()
    assert predict(x, x, level, kind="v").tilt is None
