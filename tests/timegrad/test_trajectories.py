"""Paths made of past errors: which errors, of which origins, and how many of the paths."""

import numpy as np
import pytest
import torch
from groups import contracts, cross_checks, identities, invariances, oracles

from timediff.timegrad.batch import Batch
from timediff.timegrad.trajectories import FEWEST, Trajectories, filled, from_network, in_phase

HORIZON, D = 3, 2


def kept(count, *, cycle=4, seed=0):
    """Trajectories of consecutive origins, each error the number of its origin and a bit of noise."""
    generator = torch.Generator().manual_seed(seed)
    errors = torch.randn(count, HORIZON, D, generator=generator).half().float()
    part = Trajectories(HORIZON, D)
    part.keep(errors, torch.ones_like(errors, dtype=torch.bool), torch.arange(count) % cycle)
    return part, errors


def windows(positions):
    """Windows of which nothing matters but where they stand in the cycle."""
    nothing = torch.zeros(len(positions), 1, D)
    return Batch(nothing, nothing.bool(), nothing, position=torch.tensor(positions))


@oracles
def test_a_path_is_the_mean_and_the_errors_of_one_origin_of_the_same_position():
    part, errors = kept(4 * FEWEST)
    mean = torch.randn(2, HORIZON, D, generator=torch.Generator().manual_seed(1))
    for window, position in enumerate((3, 0)):
        paths = part.draw(windows([3, 0]), mean, window, FEWEST, seed=5)
        own = errors[position::4]
        expected = mean[window] + own - own.mean(dim=0)
        # Every origin once, in some order.
        order = torch.cdist(paths.flatten(1), expected.flatten(1)).argmin(dim=1)
        assert sorted(order.tolist()) == list(range(FEWEST))
        torch.testing.assert_close(paths, expected[order])


@identities
def test_few_origins_of_a_position_give_way_to_all():
    positions = torch.arange(4 * FEWEST - 1) % 4
    assert len(in_phase(positions, 0)) == FEWEST
    assert len(in_phase(positions, 3)) == len(positions)


@invariances
def test_the_first_paths_are_those_of_more_paths_and_of_any_batch():
    part, _ = kept(100)
    mean = torch.zeros(2, HORIZON, D)
    many = part.draw(windows([1, 2]), mean, 1, 250, seed=3)
    assert torch.equal(part.draw(windows([1, 2]), mean, 1, 70, seed=3), many[:70])
    assert torch.equal(part.draw(windows([2]), mean[1:], 0, 250, seed=3), many)
    assert not torch.equal(part.draw(windows([2]), mean[1:], 0, 250, seed=4), many)


@cross_checks
def test_unknown_errors_in_short_gaps_are_those_of_the_origin_before_or_else_after():
    rng = np.random.default_rng(0)
    errors = torch.tensor(rng.normal(size=(30, HORIZON, D)))
    known = torch.tensor(rng.random(errors.shape) < 0.4)
    known[::HORIZON] = True
    known[:, 1, 1] = False
    none = torch.zeros(30, dtype=torch.long)
    found = filled(torch.where(known, errors, 0.0), known, none)
    for t in range(HORIZON):
        for d in range(D):
            at = np.flatnonzero(known[:, t, d])
            for n in range(30):
                expected = 0.0
                if len(at):
                    before = at[at <= n]
                    expected = float(errors[before[-1] if len(before) else at[0], t, d])
                assert float(found[n, t, d]) == expected
    everything = torch.ones_like(known)
    assert torch.equal(filled(errors, everything, none), errors)


@oracles
@pytest.mark.parametrize("late", [1, 2])
def test_errors_of_series_that_begin_late_are_spread_and_as_dependent_as_where_they_are_known(late):
    """Five series of correlation .7, some known in a last fifth: margins, and the spread of the sum."""
    generator = torch.Generator().manual_seed(0)
    count, horizon, dim, cycle = 3000, 6, 5, 7
    shared, own = (torch.randn(count, horizon, n, generator=generator) for n in (1, dim))
    errors = 0.7**0.5 * shared + 0.3**0.5 * own
    errors[:, 1:] = 0.6 * errors[:, :-1] + 0.8 * errors[:, 1:]
    known = torch.ones_like(errors, dtype=torch.bool)
    known[: 4 * count // 5, :, :late] = False
    positions = torch.arange(count) % cycle
    found = filled(torch.where(known, errors, 0.0), known, positions)
    assert torch.equal(found[known], errors[known])
    for d in range(late):
        # One origin stands for five, and the first one for those within a horizon before it.
        assert found[:, 0, d].unique(return_counts=True)[1].max() <= 5 + horizon
        # Nothing but errors of this series, of all leads of one origin, at the same position in the cycle.
        distance = torch.cdist(
            found[:, :, d], errors[:, :, d], compute_mode="donot_use_mm_for_euclid_dist"
        )
        assert float(distance.min(dim=1).values.max()) == 0.0
        far = 4 * count // 5 - horizon
        assert torch.equal(positions[distance.argmin(dim=1)][:far], positions[:far])
    # The sum over series and leads, and its quantiles, are those of the errors without a gap.
    total, truth = found.sum(dim=(1, 2)), errors.sum(dim=(1, 2))
    assert 0.93 < float(total.std() / truth.std()) < 1.07
    for level in (0.05, 0.95):
        assert 0.9 < float(total.quantile(level) / truth.quantile(level)) < 1.1


@contracts
def test_series_that_are_never_known_together_are_filled_by_themselves():
    generator = torch.Generator().manual_seed(0)
    errors = torch.randn(400, HORIZON, D, generator=generator)
    known = torch.ones_like(errors, dtype=torch.bool)
    known[:220, :, 0] = known[180:, :, 1] = False
    found = filled(torch.where(known, errors, 0.0), known, torch.arange(400) % 4)
    for d in range(D):
        assert set(found[:, 0, d].tolist()) == set(errors[known[:, 0, d], 0, d].tolist())
        assert found[:, 0, d].unique(return_counts=True)[1].max() <= 2 + HORIZON


@contracts
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 2 / 3, 0.9, 1.0])
def test_a_share_of_any_number_of_paths_is_as_even_as_can_be(share):
    for count in (1, 2, 3, 10, 99, 100):
        chosen = from_network(count, share)
        assert len(chosen) == count
        so_far = chosen.cumsum(0)
        expected = torch.arange(1, count + 1) * share
        assert (so_far <= expected + 1e-6).all() and (so_far > expected - 1).all()


@identities
def test_as_many_come_back_from_a_file_as_were_kept():
    part, errors = kept(50)
    part.share.fill_(0.5)
    other = Trajectories(HORIZON, D)
    other.load_state_dict(part.state_dict())
    assert torch.equal(other.errors.float(), errors) and float(other.share) == 0.5
    assert torch.equal(other.positions, part.positions)
    with pytest.raises(RuntimeError, match="size mismatch"):
        Trajectories(HORIZON + 1, D).load_state_dict(part.state_dict())
