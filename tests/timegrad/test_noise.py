"""Noise of paths: standard normal for each by itself, and what its kinds promise of several together."""

import math

import pytest
import torch
from groups import identities, invariances, oracles

from timediff.registry import NOISES
from timediff.timegrad.noise import PATHS_PER_STREAM, NoiseStreams, steps_at_a_time

every_kind = pytest.mark.parametrize("kind", NOISES)


def draws(kind, *, dim=3, streams=40, calls=30):
    """``[calls, streams, P, D]``"""
    keys = [(7, i) for i in range(streams)]
    noise = NoiseStreams(keys, like=torch.zeros(1, dim), kind=kind)
    return torch.stack([noise().unflatten(0, (streams, -1)).clone() for _ in range(calls)])


@oracles
@every_kind
def test_each_path_by_itself_is_standard_normal(kind):
    z = draws(kind, dim=50)[:, :, 3].double().flatten()  # one path of each stream: all independent
    count = len(z)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        error = float((z**power).mean()) - moment
        assert abs(error) < 5 * math.sqrt(variance / count)
    assert z.isfinite().all()


@oracles
@every_kind
def test_coordinates_and_times_are_not_correlated(kind):
    z = draws(kind, dim=4, calls=400)[:, :, 0].double()  # [calls, streams, D]
    count = z.shape[0] * z.shape[1]
    for one, other in ((z[..., 0], z[..., 1]), (z[1:, :, 2], z[:-1, :, 2])):
        assert abs(float((one * other).mean())) < 5 / math.sqrt(count)


@identities
def test_antithetic_paths_come_in_pairs():
    z = draws("antithetic")
    assert torch.equal(z[..., ::2, :], -z[..., 1::2, :])
    assert len(z.abs().unique()) > z.numel() / 2 * 0.99


@identities
def test_stratified_paths_take_one_share_each():
    share = torch.special.ndtr(draws("stratified").double()) * PATHS_PER_STREAM
    expected = torch.arange(PATHS_PER_STREAM, dtype=torch.float64)[:, None].expand(-1, 3)
    sorted_shares = share.floor().sort(dim=-2).values
    assert torch.equal(sorted_shares, expected.expand_as(sorted_shares))


@oracles
@pytest.mark.parametrize(("kind", "most"), [("antithetic", 1e-12), ("stratified", 0.06)])
def test_the_mean_over_paths_varies_less(kind, most):
    def variance(kind):
        return float(draws(kind).double().mean(dim=-2).square().mean())

    assert variance(kind) < most * variance("independent")


@invariances
@every_kind
@pytest.mark.parametrize("dim", [2, 600])
def test_a_stream_does_not_depend_on_its_neighbours(kind, dim):
    calls = 2 * steps_at_a_time(dim) + 1
    together = draws(kind, dim=dim, streams=5, calls=calls)
    keys = [(7, 3)]
    alone = NoiseStreams(keys, like=torch.zeros(1, dim), kind=kind)
    for k in range(calls):
        assert torch.equal(alone(), together[k, 3])
