"""The support: what is read off the data, and what values become under it."""

import numpy as np
import pytest
import torch
from groups import contracts, cross_checks, identities, invariances, oracles

from timediff.timegrad.normalisation.adaptive import REPEATS
from timediff.timegrad.support import SURE, Support, stays

NAN = float("nan")


def learned(*columns):
    values = torch.tensor(columns).t()
    support = Support(len(columns))
    support.learn(values, ~values.isnan())
    return support


def solar(days=40, *, seed=0):
    """Hours of which 10 of 24 are exactly 0, ``[T, 1]``."""
    rng, hours = np.random.default_rng(seed), np.arange(24 * days) % 24
    return np.where(hours < 10, 0.0, rng.gamma(2.0, size=24 * days))[:, None]


@identities
def test_untold_it_leaves_every_value_as_it_is():
    values = torch.randn(5, 4, 3)
    values[0] = torch.tensor([torch.inf, -torch.inf, -0.0])
    assert torch.equal(Support(3)(values), values)
    assert torch.equal(Support(3)(values, torch.ones(4, 3)), values)


@contracts
def test_series_that_were_never_negative_and_whole_numbers_are_told_by_what_is_observed():
    support = learned(
        [0.5, 2.0, NAN, 0.0],
        [0.5, -2.0, NAN, 0.0],
        [1.0, 3.0, NAN, 0.0],
        [-1.0, 3.0, 3.0, 3.0],
        [0.0, 1.0, NAN, 1.0],
        [7.0, 7.0, NAN, 7.0],
        [NAN] * 4,
    )
    assert support.bounds[0].tolist() == [0, -np.inf, 0, -np.inf, 0, 0, -np.inf]
    assert (support.bounds[1] == torch.inf).all()
    # A constant one may be any number later, and of an unknown one nothing is known.
    assert support.whole.tolist() == [False, False, True, True, True, False, False]
    assert not support.sits.any()
    # What is not observed may be anything.
    values, known = torch.tensor([[1.0], [2.0], [-0.5]]), torch.tensor([[True], [True], [False]])
    support = Support(1)
    support.learn(values, known)
    assert support.bounds[0] == 0 and support.whole


@oracles
def test_values_come_to_the_nearest_that_may_be():
    support = learned([0.0, 1.0, 5.0], [0.5, 1.0, 2.0], [-1.0, 2.0, 4.0])
    support.sits[1] = True
    values = torch.tensor([[-0.7, -0.7, -0.7], [2.4, 2.4, 2.6]])
    assert support(values).tolist() == [[0, 0, -1], pytest.approx([2, 2.4, 3])]
    repeated = torch.tensor([3.0, 3.0, 3.0])
    assert support(values, repeated).tolist() == [[0, 3, -1], [2, 3, 3]]
    assert support(values, torch.full((3,), NAN)).equal(support(values))
    # Bounds given by hand come before anything else.
    support.declare([[None, 1.5]])
    assert support(values, repeated).tolist() == [[-1, 1.5, -1], [1.5, 1.5, 1.5]]
    support.declare([[-0.5, 1.0], [None, None], [0.0, None]])
    assert support.bounds.tolist() == [[-0.5, -np.inf, 0], [1, np.inf, np.inf]]


@invariances
def test_what_keeps_to_it_stays():
    support = learned([0.0, 1.0, 5.0], [0.5, 1.0, 2.0])
    support.sits[1] = True
    repeated = torch.tensor([[NAN, NAN], [NAN, 4.0]])
    once = support(5 * torch.randn(100, 2, 2), repeated)
    assert torch.equal(support(once, repeated), once)


@cross_checks
@pytest.mark.parametrize(("cycle", "horizon"), [(1, 1), (1, 4), (6, 4), (6, 6), (6, 13)])
def test_cases_of_a_repeated_value_are_counted(cycle, horizon):
    rng = np.random.default_rng(4)
    values = np.where(rng.random((150, 2)) < [0.03, 0.2], rng.normal(size=(150, 2)), 2.0)
    values[rng.random(values.shape) < 0.1] = np.nan
    stayed, asked = stays(values, cycle=cycle, horizon=horizon)
    ahead = (-(-horizon // cycle) - 1) * cycle
    for d in range(2):
        cases = []
        for t in range(150 - ahead):
            past = values[t % cycle : t : cycle, d]
            last = past[np.isfinite(past)][-REPEATS:]
            later = values[t + ahead, d]
            if len(last) == REPEATS and len(set(last)) == 1 and np.isfinite(later):
                cases.append(later == last[0])
        assert (stayed[d], asked[d]) == (sum(cases), len(cases))
    assert asked[0] > 50


@contracts
def test_a_series_sits_at_a_value_if_it_was_there_again_in_nearly_all_cases():
    rng = np.random.default_rng(5)
    idle = solar()
    often = np.where(rng.random(idle.shape) < 0.1, 1.0, 0.0)  # left in one of ten cases
    noise = rng.normal(size=idle.shape)
    support = Support(3)
    support.learn_repeats([np.concatenate([idle, often, noise], axis=1)], cycle=24, horizon=24)
    assert support.sits.tolist() == [True, False, False]
    # Few cases prove nothing: 10 hours of each of the days after the first seven.
    least = next(days for days in range(8, 40) if (days - 7) * 10 >= SURE * ((days - 7) * 10 + 1))
    for days, sits in ((least - 1, False), (least, True)):
        support = Support(1)
        support.learn_repeats([solar(days)], cycle=24, horizon=24)
        assert bool(support.sits) == sits
    # Those of several entries count together, but not across them.
    support.learn_repeats([solar(least - 1), solar(9)], cycle=24, horizon=24)
    assert support.sits
    support.learn_repeats([solar(4)] * 20, cycle=24, horizon=24)
    assert not support.sits
