"""The chance that a total exceeds a limit, against paths counted by hand."""

import numpy as np
import pytest

from timediff.benchmark.exceedance import SUM, exceedance, peaks
from timediff.data.readers.contents import Aggregate


@pytest.mark.cross_checks
def test_chances_are_shares_of_whole_paths():
    rng = np.random.default_rng(0)
    paths, truth = rng.normal(size=(40, 6, 3)), rng.normal(size=(6, 3))
    weights = np.array([1.0, -2.0, 0.0])
    found = exceedance(paths, truth, {"net": Aggregate(weights, "kW")})
    assert list(found) == [SUM, "net"]
    for name, factors in ((SUM, np.ones(3)), ("net", weights)):
        one = found[name]
        assert one["reached"] == pytest.approx((truth @ factors).max(), rel=1e-4)
        highest = [max(step @ factors for step in path) for path in paths]
        for limit, chance in zip(one["limits"], one["chance"], strict=True):
            beyond = np.mean([value > limit for value in highest])
            assert abs(chance - beyond) <= 1 / 40 + 1e-9  # limits have five digits
    below, above = found[SUM]["limits"][0], found[SUM]["limits"][-1]
    assert found[SUM]["chance"][-1] == 0 and below < above


@pytest.mark.oracles
def test_a_peak_is_not_read_off_single_steps():
    # Each path is high at a step of its own: at every step the chance is a tenth, at some it is 1.
    limits, chance = peaks(np.eye(10) * 5 + 1)
    assert set(limits) == {6.0} and set(chance) == {0.0}
    paths = np.eye(10)[..., None]
    assert exceedance(paths, np.zeros((10, 1)), {})[SUM]["limits"][0] == 1


@pytest.mark.invariances
def test_many_paths_have_few_limits_and_gaps_are_told():
    rng = np.random.default_rng(1)
    paths, truth = rng.normal(size=(1000, 4, 2)), rng.normal(size=(4, 2))
    limits, chance = peaks(paths.sum(axis=-1))
    assert len(limits) == 101 and (np.diff(chance) <= 0).all()
    truth[1, 0] = np.nan
    assert exceedance(paths, truth, {})[SUM]["reached"] is None
    truth[:, 0] = np.nan  # never seen: not a part of the sum
    alone = exceedance(paths, truth, {})[SUM]
    assert alone == exceedance(paths[..., 1:], truth[:, 1:], {})[SUM]
    assert exceedance(paths, np.full((4, 2), np.nan), {}) == {}
