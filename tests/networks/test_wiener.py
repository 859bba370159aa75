"""The linear network that every other is added to: it is the best one for Gaussian data."""

import pytest
import torch
from groups import contracts, identities, oracles
from torch import nn
from toys import COVARIANCE, Gaussian, close, make_chain, stir

from timediff.config import ModelConfig
from timediff.diffusion.parameterisation import predict
from timediff.diffusion.samplers.ancestral import ancestral
from timediff.diffusion.schedule import Level
from timediff.networks.base import DenoisingNetwork
from timediff.networks.wiener import WienerStart
from timediff.registry import PARAMETERISATIONS
from timediff.timegrad.correlation import mode_count
from timediff.timegrad.denoising import ConditionalDenoiser, LevelCache, make_network

D = 3
CONFIG = ModelConfig(cond_size=4, denoiser_layers=1, denoiser_width=8)


class Constant(DenoisingNetwork):
    """A network that says the same always: a value, and whatever else."""

    floats_per_row = 1

    def __init__(self, *outputs):
        super().__init__()
        self.outputs = outputs

    def embed_level(self, level):
        return (level.log_snr[..., None],)

    def under(self, cond):
        def network(x, level):
            (log_snr,) = level  # nothing of the filter's own arrives here
            assert log_snr.shape[-1] == 1
            return tuple(torch.full_like(x[..., :D], output) for output in self.outputs)

        return network


def wiener(covariance, *, modes=None, outputs=(0.0,), share=1.0, kind="v"):
    """The network of data N(0, covariance) with all modes told apart, or a few."""
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(0), vectors.flip(1)
    dim = len(values)
    modes = dim if modes is None else modes
    network = WienerStart(Constant(*outputs), dim, modes=modes, kind=kind)
    rest = values[modes:].mean() if modes < dim else torch.ones(())
    network.modes.copy_(vectors[:, :modes])
    network.variances.copy_(torch.cat([values[:modes], rest[None].to(values)]))
    network.share.fill_(share)
    return network


def embedded(network, level):
    return network.embed_level(Level(*(torch.as_tensor(value) for value in level)))


def answer(network, x, level):
    return network.under(torch.zeros(1, 4))(x, embedded(network, level))


@oracles
def test_it_expects_the_velocity_of_gaussian_data(float64):
    network, chain = wiener(COVARIANCE), make_chain()
    x = torch.randn(50, D)
    for n in (1, 7, 50, 100):
        level = chain.points[n]
        # By dense matrices: v and x are jointly Gaussian.
        cross = level.alpha * level.sigma * (torch.eye(D) - COVARIANCE)
        own = level.alpha**2 * COVARIANCE + level.sigma**2 * torch.eye(D)
        (v,) = answer(network, x, level)
        close(v, x @ torch.linalg.solve(own, cross).T)


@oracles
@pytest.mark.parametrize("kind", PARAMETERISATIONS)
def test_its_output_means_the_clean_data_that_the_best_denoiser_expects(float64, kind):
    network, chain = wiener(COVARIANCE, kind=kind), make_chain()
    best, x = Gaussian(torch.zeros(D), COVARIANCE), torch.randn(50, D)
    for n in (1, 20, 100):
        level = chain.points[n]
        prediction = predict(answer(network, x, level)[0], x, level, kind=kind)
        x0, eps = best.estimates(x, level.alpha, level.sigma)
        close(prediction.x0, x0, 1e-8)
        close(prediction.eps, eps, 1e-8)


@oracles
def test_all_that_the_modes_leave_has_one_variance(float64):
    values = torch.tensor([3.0, 2.0, 0.4, 0.4, 0.4])
    vectors = torch.linalg.qr(torch.randn(5, 5))[0]
    covariance = vectors @ torch.diag(values) @ vectors.T
    network, x = wiener(covariance, modes=2), torch.randn(9, 5)
    network.network = nn.Identity()
    network.network.embed_level = lambda level: ()
    network.network.under = lambda cond: lambda x, level: (torch.zeros_like(x),)
    level = make_chain().points[30]
    cross = level.alpha * level.sigma * (torch.eye(5) - covariance)
    own = level.alpha**2 * covariance + level.sigma**2 * torch.eye(5)
    close(answer(network, x, level)[0], x @ torch.linalg.solve(own, cross).T)


@identities
def test_data_of_unit_covariance_has_no_velocity_to_expect(float64):
    network = WienerStart(Constant(0.0), D, modes=2)  # as made: variances of 1
    for n in (1, 50, 100):
        close(answer(network, torch.randn(4, D), make_chain().points[n])[0], torch.zeros(4, D))


@identities
def test_the_gain_does_not_depend_on_the_units_of_a_level(float64):
    network, x = wiener(COVARIANCE), torch.randn(4, D)
    level = make_chain().points[40]
    larger = level._replace(alpha=7 * level.alpha, sigma=7 * level.sigma)
    close(answer(network, x, larger)[0], answer(network, x, level)[0])


@identities
def test_what_the_other_network_says_is_added_by_its_share(float64):
    x, level = torch.randn(6, D), make_chain().points[60]
    (alone,) = answer(wiener(COVARIANCE), x, level)
    for share in (0.0, 0.5, 1.0):
        value, tilt = answer(wiener(COVARIANCE, outputs=(2.0, -0.3), share=share), x, level)
        close(value, alone + 2.0 * share)
        close(tilt, torch.full_like(tilt, -0.3 * share))


@oracles
def test_a_network_without_a_share_says_nothing_of_the_variance(float64):
    x, level = torch.randn(6, D), make_chain().points[60]
    _, tilt = answer(wiener(COVARIANCE, outputs=(2.0, -0.3), share=0.0), x, level)
    assert (tilt == 0).all()  # half way between the bounds


@oracles
@pytest.mark.parametrize("schedule", ["linear", "cosine", "sub-vp"])
def test_a_hundred_ancestral_steps_draw_its_gaussian(float64, schedule):
    chain = make_chain(schedule)
    network = wiener(COVARIANCE)
    levels = LevelCache(network, chain, like=torch.zeros(()))
    denoiser = ConditionalDenoiser(network, CONFIG, levels, torch.zeros(1, 4))
    count = 40_000
    noise = lambda: torch.randn(count, D)  # noqa: E731
    drawn = ancestral(
        denoiser, chain, chain.prior_std * noise(), noise, variance="large", extrapolation=0.0
    )
    found = drawn.T @ drawn / count
    variances = COVARIANCE.diagonal()
    error = ((variances[:, None] * variances + COVARIANCE**2) / count).sqrt()
    # 2 % for the steps of the chain, whose variance is the upper bound.
    assert ((found - COVARIANCE).abs() < 5 * error + 0.02).all()
    assert (drawn.mean(dim=0).abs() < 5 * (variances / count).sqrt()).all()


VARIANCES = torch.tensor([2.0, 1.0, 0.5, 0.1], dtype=torch.float64)
every_denoiser = pytest.mark.parametrize("denoiser", ["conv", "mlp", "attention"])
every_input = pytest.mark.parametrize("self_conditioning", [False, True])


def built(**config):
    """A network of the library on top of the Gaussian of `VARIANCES`."""
    torch.manual_seed(1)
    config = CONFIG._replace(**config)
    network = make_network(config, 4)
    assert isinstance(network, WienerStart) and mode_count(4) == 4
    network.modes.copy_(torch.eye(4))
    network.variances[:4] = VARIANCES
    return network, config


def values_of(network, config, x, level):
    """The value at ``x`` under conditions, and after an estimate where it takes one."""
    torch.manual_seed(2)
    cond, previous = torch.randn(5, 4), torch.randn(5, 4) if config.self_conditioning else None
    levels = LevelCache(network, make_chain(), like=torch.zeros(()))
    return ConditionalDenoiser(network, config, levels, cond)(x, level, previous).value


def expected(x, level):
    gain = level.alpha * level.sigma * (1 - VARIANCES)
    return x * gain / (level.alpha**2 * VARIANCES + level.sigma**2)


@oracles
@every_input
@pytest.mark.parametrize(
    "denoiser",
    [
        pytest.param(
            "conv",
            marks=pytest.mark.xfail(
                strict=True, reason="the bias of its last layer is not 0 at first"
            ),
        ),
        "mlp",
        "attention",
    ],
)
def test_every_network_starts_as_the_gaussian(float64, denoiser, self_conditioning):
    network, config = built(denoiser=denoiser, self_conditioning=self_conditioning)
    x, level = torch.randn(5, 4), make_chain().points[30]
    close(values_of(network, config, x, level), expected(x, level))


@identities
@every_input
@every_denoiser
def test_a_network_that_has_moved_is_added_by_its_share(float64, denoiser, self_conditioning):
    network, config = built(denoiser=denoiser, self_conditioning=self_conditioning)
    stir(network.network)
    x, level = torch.randn(5, 4), make_chain().points[30]
    moved = values_of(network, config, x, level)
    assert (moved - expected(x, level)).abs().max() > 1e-3
    # To rows of tensors as to one level of floats.
    close(values_of(network, config, x, make_chain().level(torch.full((5,), 30))), moved)
    network.share.fill_(0.25)
    mixed = expected(x, level) + 0.25 * (moved - expected(x, level))
    close(values_of(network, config, x, level), mixed)
    network.share.fill_(0.0)
    close(values_of(network, config, x, level), expected(x, level))


@contracts
def test_it_is_part_of_a_model_with_a_linear_centre_and_of_no_other():
    assert isinstance(make_network(ModelConfig(), D), WienerStart)
    assert not isinstance(make_network(ModelConfig(centre="none"), D), WienerStart)
    assert not isinstance(make_network(ModelConfig(scaling="mean"), D), WienerStart)
