"""The network under its conditions: units, parameterisations, and what is made only once."""

import pytest
import torch
from groups import contracts, identities, oracles
from toys import make_chain

from timediff.config import ModelConfig
from timediff.networks.base import DenoisingNetwork
from timediff.registry import PARAMETERISATIONS, SCHEDULES
from timediff.timegrad.denoising import ConditionalDenoiser, LevelCache, make_network

pytestmark = pytest.mark.usefixtures("float64")

D = 3


def chain(name="linear", num_steps=20):
    return make_chain(name, num_steps, beta_start=1e-3, beta_end=0.3)


class Answer(DenoisingNetwork):
    """Says what it was told to say, and keeps what it was asked."""

    floats_per_row = 1

    def __init__(self, answer):
        super().__init__()
        self.answer, self.asked, self.embedded = answer, [], 0

    def embed_level(self, level):
        self.embedded += 1
        return (torch.stack([level.log_snr, level.n], dim=-1),)

    def under(self, cond):
        def network(x, level):
            self.asked.append((x, level[0]))
            return self.answer.chunk(2, dim=-1) if self.answer.shape[-1] > D else (self.answer,)

        return network


def bound_to(answer, schedule, **config):
    network = Answer(answer)
    levels = LevelCache(network, schedule, like=torch.zeros(1))
    return ConditionalDenoiser(
        network, ModelConfig(**{"variance": "small"} | config), levels, torch.zeros(4, 2)
    )


@identities
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("kind", PARAMETERISATIONS)
@pytest.mark.parametrize("as_floats", [True, False])
def test_the_quantity_it_stands_for_comes_back(name, kind, as_floats):
    schedule = chain(name)
    x0, eps = torch.randn(4, D), torch.randn(4, D)
    level = schedule.points[7] if as_floats else schedule.level(torch.full((4,), 7))
    point = schedule.points[7]
    x = point.alpha * x0 + point.sigma * eps
    # What a network in variance-preserving units would say.
    units = point._replace(alpha=point.alpha / point.norm, sigma=point.sigma / point.norm)
    answer = PARAMETERISATIONS[kind].of(x0, eps, units)
    prediction = bound_to(answer, schedule, parameterisation=kind)(x, level)
    torch.testing.assert_close(prediction.x0, x0, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(prediction.eps, eps, rtol=1e-9, atol=1e-9)
    assert prediction.fraction is None


@oracles
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_network_sees_data_of_unit_size(name):
    schedule = chain(name)
    denoiser = bound_to(torch.zeros(10_000, D), schedule)
    for n in (1, 10, 20):
        x0, eps = torch.randn(10_000, D), torch.randn(10_000, D)
        point = schedule.points[n]
        denoiser(point.alpha * x0 + point.sigma * eps, point)
        seen, _ = denoiser.levels.network.asked[-1]
        # Five standard errors of the variance of 30,000 normal numbers.
        assert abs(float(seen.var()) - 1) < 5 * (2 / 30_000) ** 0.5


@contracts
def test_a_learned_variance_is_half_way_where_the_network_says_nothing():
    schedule, x = chain(), torch.randn(4, D)
    answer = torch.cat([torch.randn(4, D), torch.zeros(4, D)], dim=-1)
    prediction = bound_to(answer, schedule, variance="learned")(x, schedule.points[3])
    assert torch.equal(prediction.fraction, torch.full((4, D), 0.5))
    plain = bound_to(answer[:, :D], schedule)(x, schedule.points[3])
    assert torch.equal(prediction.x0, plain.x0)


@contracts
def test_self_conditioning_shows_the_estimate_beside_the_input():
    schedule, x, before = chain(), torch.randn(4, D), torch.randn(4, D)
    denoiser = bound_to(torch.zeros(4, D), schedule, self_conditioning=True)
    denoiser(x, schedule.points[3], before)
    denoiser(x, schedule.points[3])
    (first, _), (second, _) = denoiser.levels.network.asked
    assert torch.equal(first, torch.cat([x, before], dim=-1))
    assert torch.equal(second, torch.cat([x, torch.zeros(4, D)], dim=-1))


@contracts
def test_levels_are_embedded_once_and_alike_in_floats_and_tensors():
    schedule = chain()
    network = Answer(torch.zeros(4, D))
    levels = LevelCache(network, schedule, like=torch.zeros(1))
    n = torch.tensor([3, 20, 1, 3])
    (together,) = levels(schedule.level(n))
    assert torch.equal(together, *levels(schedule.level(n)))
    assert network.embedded == 1
    for row, step in zip(together, n.tolist(), strict=True):
        for _ in range(2):
            (alone,) = levels(schedule.points[step])
            torch.testing.assert_close(alone, row, rtol=1e-12, atol=1e-12)
    assert network.embedded == 1 + 3
    levels = LevelCache(network, schedule, like=torch.zeros(1))
    levels.embed(schedule.points[1:])
    for row, step in zip(together, n.tolist(), strict=True):
        torch.testing.assert_close(levels(schedule.points[step])[0], row, rtol=1e-12, atol=1e-12)
    assert network.embedded == 1 + 3 + 1


@contracts
@pytest.mark.parametrize("denoiser", ["conv", "mlp", "attention"])
@pytest.mark.parametrize("variance", ["small", "learned"])
@pytest.mark.parametrize("self_conditioning", [True, False])
def test_every_network_has_the_inputs_and_outputs_that_its_options_ask_for(
    denoiser, variance, self_conditioning
):
    config = ModelConfig(
        denoiser=denoiser,
        variance=variance,
        self_conditioning=self_conditioning,
        denoiser_width=4,
        cond_size=5,
    )
    schedule, network = chain(), make_network(config, D)
    levels = LevelCache(network, schedule, like=torch.zeros(1))
    cond = torch.randn(4, 5)
    prediction = ConditionalDenoiser(network, config, levels, cond)(
        torch.randn(4, D), schedule.points[5]
    )
    assert prediction.x0.shape == prediction.eps.shape == (4, D)
    assert (prediction.fraction is not None) == (variance == "learned")
