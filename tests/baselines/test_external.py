"""The one conversion of a forecast of GluonTS to sample paths, and forecasters that are not ours."""

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.model.forecast import QuantileForecast, SampleForecast
from gluonts.torch.model.forecast import DistributionForecast
from torch.distributions import MultivariateNormal, Normal

from timediff.baselines.external import paths_of
from timediff.errors import InputError
from timediff.tools.seeding import seeded

pytestmark = pytest.mark.contracts
START, H, D = pd.Period("2024-01-01", freq="h"), 3, 2


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("shape", [(5, H), (5, H, D)])
def test_samples_are_given_as_they_are(shape):
    samples = rng().normal(size=shape)
    forecast = SampleForecast(samples, START)
    np.testing.assert_array_equal(paths_of(forecast, 5, rng()), samples)
    np.testing.assert_array_equal(paths_of(forecast, 5), samples)


def test_another_number_of_samples_is_drawn_from_those_there_are():
    samples = np.arange(4)[:, None] + np.zeros(H)
    few, many = (paths_of(SampleForecast(samples, START), n, rng())[:, 0] for n in (3, 10))
    assert len(set(few)) == 3 and set(few) <= {0, 1, 2, 3}
    # None is taken again before all were.
    counts = np.bincount(many.astype(int))
    assert counts.sum() == 10 and set(counts) == {2, 3}
    # Without random numbers nothing is made up.
    np.testing.assert_array_equal(paths_of(SampleForecast(samples, START), 10), samples)


def test_a_point_forecast_is_one_path_over_and_over():
    forecast = SampleForecast(np.arange(H, dtype=float)[None], START)
    np.testing.assert_array_equal(paths_of(forecast, 4, rng()), np.tile(np.arange(H), (4, 1)))


@pytest.mark.parametrize("random", [rng(), None])
def test_a_distribution_is_drawn_from_by_the_global_generator(random):
    normal = DistributionForecast(Normal(torch.arange(3.0), torch.ones(3)), START)
    joint = MultivariateNormal(torch.zeros(H, D), torch.eye(D).expand(H, D, D))
    for forecast, shape in ((normal, (400, H)), (DistributionForecast(joint, START), (400, H, D))):
        with seeded(3):
            one = paths_of(forecast, 400, random)
        with seeded(3):
            other = paths_of(forecast, 400, random)
        assert one.shape == shape
        np.testing.assert_array_equal(one, other)
    with seeded(3):
        mean = paths_of(normal, 400, random).mean(axis=0)
    np.testing.assert_allclose(mean, np.arange(3), atol=5 / 20)


def test_quantiles_become_as_many_shuffled_paths_and_are_refused_without_random_numbers():
    levels = [f"{k / 10:.1f}" for k in range(1, 10)]
    values = np.arange(1, 10)[:, None] / 10 + 10 * np.arange(H)
    forecast = QuantileForecast(values, START, levels)
    paths = paths_of(forecast, 100, rng())
    assert paths.shape == (100, H)
    for step in range(H):
        # Their own quantiles are those of the forecast, linear between its levels.
        expected = 10 * step + np.array([0.1, 0.5, 0.9])
        found = np.quantile(paths[:, step], [0.1, 0.5, 0.9])
        np.testing.assert_allclose(found, expected, atol=0.02)
    # In an order of its own at each step: ranks say nothing of one another.
    ranks = paths.argsort(axis=0).argsort(axis=0)
    assert abs(np.corrcoef(ranks.T)[0, 1]) < 5 / 10
    with pytest.raises(InputError, match="QuantileForecast, which has no sample paths"):
        paths_of(forecast, 100)
