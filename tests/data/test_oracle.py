"""The process with a known answer: is the answer right? The evaluator's own proof."""

import itertools
import json

import numpy as np
import pytest
from scipy.stats import kurtosis, multivariate_normal

from timediff.data.dataset import load_dataset
from timediff.data.oracle.dataset import START, is_oracle, make_oracle, true_paths
from timediff.data.oracle.process import (
    WEEK,
    State,
    beginning,
    filter_regimes,
    log_emission,
    make_process,
    simulate,
)
from timediff.errors import InputError
from timediff.metrics import (
    average_rank,
    band_depth_rank,
    covered,
    covered_jointly,
    crps_ensemble,
    energy_score,
    pit,
    sum_over_dimensions,
)

DIM, PAST, HORIZON, WINDOWS, PATHS = 3, 40, 24, 400, 99


def entries(values, *, seed=0):
    """One entry for each path ``[W, T, D]`` of the process of this seed."""
    about = {"oracle": {"dim": values.shape[-1], "seed": seed}}
    return [{"start": START, "target": one.T, "info": about} for one in values]


def many_paths(dim, steps, *, count, seed):
    process, rng = make_process(dim), np.random.default_rng(seed)
    return process, *simulate(process, beginning(process, count, rng=rng), steps=steps, rng=rng)


@pytest.fixture(scope="module")
def forecasts():
    """Independent windows: past, truth, and paths of the oracle."""
    _, values, _ = many_paths(DIM, PAST + HORIZON, count=WINDOWS, seed=1)
    past, truth = values[:, :PAST], values[:, PAST:]
    paths = true_paths(entries(past), horizon=HORIZON, num_samples=PATHS, seed=2)
    return past, truth, paths


def standard_errors(samples, expected):
    """How many standard errors the mean over the first axis, of independent values, is off."""
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    return np.abs(samples.mean(axis=0) - expected) / error


# ---------------------------------------------------------------------------------- the filter


@pytest.mark.oracles
def test_the_filter_is_the_sum_over_all_paths_of_regimes_and_scales():
    process, values, _ = many_paths(2, 4, count=1, seed=3)
    deviation = values[0] - process.seasonal[:4]
    before = np.vstack([np.zeros(2), deviation[:-1]])
    kinds = list(itertools.product(range(3), range(3)))  # regime, scale
    density = np.array(
        [
            {
                (k, m): multivariate_normal.pdf(
                    deviation[t],
                    process.persistence @ before[t] + process.offset[k],
                    process.scales[m] * process.factor[k] @ process.factor[k].T,
                )
                for k, m in kinds
            }
            for t in range(4)
        ]
    )
    joint = np.zeros((4, 3))  # p(y_0 .. y_t, z_t)
    for t in range(4):
        for path in itertools.product(kinds, repeat=t + 1):
            regimes = [k for k, _ in path]
            weight = (process.stationary @ process.transition)[regimes[0]]
            for i, j in itertools.pairwise(regimes):
                weight *= process.transition[i, j]
            for step, (k, m) in enumerate(path):
                weight *= process.scale_weights[m] * density[step][k, m]
            joint[t, regimes[-1]] += weight
    evidence = joint.sum(axis=1)
    probabilities, log_density = filter_regimes(process, values[0])
    np.testing.assert_allclose(probabilities, joint / evidence[:, None], rtol=1e-10)
    np.testing.assert_allclose(np.cumsum(log_density), np.log(evidence), rtol=1e-10)


@pytest.mark.oracles
def test_paths_follow_the_predictive_density_of_one_and_of_two_steps():
    """The density is integrated by quadrature; it knows nothing of how paths are drawn."""
    process, values, _ = many_paths(1, 6, count=1, seed=4)
    past = values[0]  # [T, 1]
    grid = past[-1, 0] + np.linspace(-16, 16, 401)
    width = grid[1] - grid[0]
    first = np.array(list(itertools.product(grid, grid)))[..., None]  # [G * G, 2, 1]
    whole = np.concatenate([np.broadcast_to(past, (len(first), 6, 1)), first], axis=1)
    steps = filter_regimes(process, whole)[1][:, -2:]  # [G * G, 2]
    joint = np.exp(steps.sum(axis=1)).reshape(401, 401)
    paths = true_paths(entries(values), horizon=2, num_samples=20_000, seed=5)[0, ..., 0]
    for step, marginal in enumerate([joint.sum(axis=1), joint.sum(axis=0)]):
        distribution = np.cumsum(marginal) * width**2
        assert distribution[-1] == pytest.approx(1, abs=1e-4)
        below = paths[:, step, None] < grid + width / 2
        inside = (distribution > 0.01) & (distribution < 0.99)
        assert standard_errors(below[:, inside], distribution[inside]).max() < 5


@pytest.mark.invariances
def test_the_filter_reads_many_paths_as_it_reads_one():
    process, values, _ = many_paths(2, 30, count=4, seed=6)
    together = filter_regimes(process, values)
    for k, one in enumerate(values):
        for found, expected in zip(together, filter_regimes(process, one), strict=True):
            np.testing.assert_allclose(found[k], expected, rtol=1e-10)


@pytest.mark.oracles
def test_regimes_stay_in_their_stationary_distribution():
    process, _, regimes = many_paths(1, 40, count=4000, seed=7)
    np.testing.assert_allclose(process.stationary @ process.transition, process.stationary)
    for step in (0, 39):
        visited = regimes[:, step, None] == np.arange(3)
        assert standard_errors(visited, process.stationary).max() < 5


@pytest.mark.oracles
def test_a_step_has_the_moments_of_its_equation():
    """Its mean, the covariance of its regime, and the kurtosis 3 E[s^2] / E[s]^2: heavy tails."""
    process, rng, count = make_process(2), np.random.default_rng(8), 40_000
    before = np.array([4.0, -2.0])
    state = State(5, np.tile(before, (count, 1)), rng.integers(3, size=count))
    values, regimes = simulate(process, state, steps=1, rng=rng)
    expected = 3 * (process.scale_weights @ process.scales**2)
    assert expected > 9
    for k in range(3):
        mean = process.seasonal[5] + process.persistence @ before + process.offset[k]
        noise = values[regimes[:, 0] == k, 0] - mean
        assert standard_errors(noise, 0).max() < 5
        products = noise[:, :, None] * noise[:, None, :]
        covariance = process.factor[k] @ process.factor[k].T
        assert standard_errors(products.reshape(-1, 4), covariance.ravel()).max() < 5
        assert kurtosis(noise[:, 0], fisher=False) == pytest.approx(expected, rel=0.25)


# --------------------------------------------------------------------------- the oracle's paths


@pytest.mark.oracles
def test_the_oracle_is_calibrated(forecasts):
    """Ranks of the truth are uniform and intervals cover what they say, per series and in the sum."""
    _, truth, paths = forecasts
    paths = np.concatenate([paths, paths.sum(axis=-1, keepdims=True)], axis=-1)
    truth = np.concatenate([truth, truth.sum(axis=-1, keepdims=True)], axis=-1)
    rank = (paths < truth[:, None]).sum(axis=1)  # of 100 places, each equally likely
    for below in (5, 10, 25, 50, 75, 90, 95):
        share = (rank < below).mean(axis=1)  # [W, D + 1], windows are independent
        assert standard_errors(share, below / 100).max() < 5
        assert standard_errors((rank < below).mean(axis=2), below / 100).max() < 5  # by step
    for level in (50, 90):
        outside = (100 - level) // 2
        covered = (rank >= outside) & (rank < 100 - outside)
        assert standard_errors(covered.mean(axis=1), level / 100).max() < 5


@pytest.mark.oracles
def test_the_evaluator_finds_the_oracle_calibrated(forecasts):
    """PIT, ranks of vectors and coverage as the record has them, jointly over the whole path as well."""
    _, truth, paths = forecasts
    rng = np.random.default_rng(16)
    ranks = {
        "each": pit(paths, truth, rng=rng),
        "sum": pit(*sum_over_dimensions(paths, truth), rng=rng),
        "average": average_rank(paths, truth, rng=rng),
        "depth": band_depth_rank(paths, truth, rng=rng),
    }
    for name, found in ranks.items():
        bins = np.floor(found.reshape(WINDOWS, -1, 1) * 10) == np.arange(10)
        assert standard_errors(bins.mean(axis=1), 0.1).max() < 5, name  # windows are independent
    for level in (0.5, 0.9, 0.95, 0.98):  # the outermost of 99 paths hold 98 %
        for inside in (
            covered(paths, truth, level=level),
            covered(*sum_over_dimensions(paths, truth), level=level),
            covered_jointly(paths, truth, level=level),
        ):
            assert standard_errors(inside.reshape(WINDOWS, -1).mean(axis=1), level) < 5


@pytest.mark.oracles
def test_the_evaluator_sees_what_is_not_calibrated(forecasts):
    _, truth, paths = forecasts
    less = narrow(None, paths)
    ranks = pit(less, truth, rng=np.random.default_rng(17)).reshape(WINDOWS, -1)
    assert standard_errors((ranks < 0.1).mean(axis=1), 0.1) > 5
    assert standard_errors(covered(less, truth, level=0.9).mean(axis=(1, 2)), 0.9) > 5
    assert standard_errors(covered_jointly(less, truth, level=0.9), 0.9) > 5
    rank = average_rank(apart(None, paths), truth, rng=np.random.default_rng(18))
    assert standard_errors((np.abs(rank - 0.5) > 0.4).mean(axis=1), 0.2) > 5


def climatology(past, paths):
    """Paths of other windows at the same hours, blind to the past."""
    chosen = np.random.default_rng(9).integers(len(past), size=(len(past), PATHS))
    _, others, _ = many_paths(DIM, PAST + HORIZON, count=len(past), seed=10)
    return others[:, PAST:][chosen]


def gaussian(past, paths):
    """The mean and the covariance over all steps and series of the oracle, and no other shape."""
    rng, flat = np.random.default_rng(11), paths.reshape(len(paths), PATHS, -1)
    found = [
        rng.multivariate_normal(one.mean(axis=0), np.cov(one.T), size=PATHS, method="eigh")
        for one in flat.astype(np.float64)
    ]
    return np.stack(found).reshape(paths.shape)


def apart(past, paths):
    """The right marginals without their dependence."""
    rng = np.random.default_rng(12)
    return np.stack([rng.permuted(one, axis=0) for one in paths.transpose(3, 0, 1, 2)], axis=-1)


def narrow(past, paths):
    centre = np.median(paths, axis=1, keepdims=True)
    return centre + 0.7 * (paths - centre)


def biased(past, paths):
    return paths + 0.3


def losses(paths, truth):
    """Losses of each window by proper scores of single values, of the sum and of the vector, ``[W]``."""
    return {
        "crps": crps_ensemble(paths, truth).mean(axis=(1, 2)),
        "crps_sum": crps_ensemble(*sum_over_dimensions(paths, truth)).mean(axis=(1, 2)),
        "energy": energy_score(paths[:, :, ::8], truth[:, ::8]).mean(axis=1),
    }


@pytest.fixture(scope="module")
def floor(forecasts):
    _, truth, paths = forecasts
    return losses(paths, truth)


@pytest.mark.oracles
@pytest.mark.parametrize(
    "wrong, seen_by",
    [
        (climatology, "crps crps_sum energy"),
        (gaussian, "crps"),
        (apart, "crps_sum energy"),
        (narrow, "crps crps_sum energy"),
        (biased, "crps crps_sum energy"),
    ],
)
def test_no_wrong_forecast_scores_better(forecasts, floor, wrong, seen_by):
    past, truth, paths = forecasts
    for name, loss in losses(wrong(past, paths), truth).items():
        gain = loss - floor[name]
        error = gain.std(ddof=1) / np.sqrt(len(gain))
        assert gain.mean() > -5 * error
        if name in seen_by.split():
            assert gain.mean() > 3 * error, name


@pytest.mark.oracles
def test_the_true_regime_is_worth_something():
    """Its gain in log score is the mutual information of regime and next step, hence positive."""
    process, values, regimes = many_paths(1, 41, count=6000, seed=13)
    emission = log_emission(process, values)[:, -1]
    foreseen = np.log(np.exp(emission) * process.transition[regimes[:, -2]] @ np.ones(3))
    gain = foreseen - filter_regimes(process, values)[1][:, -1]
    assert gain.mean() > 5 * gain.std() / np.sqrt(len(gain))


@pytest.mark.oracles
def test_paths_that_know_the_regime_score_no_worse():
    # True regimes are known of the datasets' own paths only: one of each seed.
    known, truth = [], []
    for seed in range(60):
        entry = make_oracle(1, 96, seed=seed).train
        known.append({**entry, "target": entry["target"][:, :84]})
        truth.append(entry["target"][:, 84:].T)
    options = {"horizon": 12, "num_samples": 200, "seed": 14}
    loss = [
        crps_ensemble(true_paths(known, knows_regime=knows, **options), np.stack(truth)).mean(
            (1, 2)
        )
        for knows in (False, True)
    ]
    gain = loss[0] - loss[1]
    assert gain.std() > 0
    assert gain.mean() > -5 * gain.std(ddof=1) / np.sqrt(len(gain))


# ---------------------------------------------------------------------------------- the dataset


@pytest.mark.contracts
def test_the_dataset_by_name():
    data = load_dataset("oracle")
    assert (data.name, data.freq, data.prediction_length) == ("oracle", "H", 24)
    assert data.train[0]["target"].shape == (8, 24 * WEEK) == (len(data.columns), 4032)
    assert len(data.test) >= 30
    truth = [entry["target"][:, -24:] for entry in data.test]
    whole = np.concatenate([data.train[0]["target"], *truth], axis=1)
    np.testing.assert_array_equal(whole, data.test[-1]["target"])
    assert is_oracle(data.test) and not is_oracle(load_dataset("citylearn2022").test)
    assert load_dataset("oracle").checksum == data.checksum
    assert load_dataset("oracle", windows=3).test[0]["target"].shape[1] == 4032 + 33 * 24
    assert load_dataset("oracle-8x4032").name == "oracle"
    other = load_dataset("oracle-3x200")
    assert (other.name, other.train[0]["target"].shape) == ("oracle-3x200", (3, 200))
    assert load_dataset("oracle-3").train[0]["target"].shape == (3, 4032)


@pytest.mark.invariances
def test_a_longer_dataset_begins_like_a_shorter_one():
    short, long = (load_dataset(f"oracle-2x{steps}").train[0]["target"] for steps in (100, 150))
    np.testing.assert_array_equal(long[:, :100], short)


@pytest.mark.contracts
def test_the_same_seed_gives_the_same_paths_and_another_gives_others():
    _, values, _ = many_paths(2, 30, count=2, seed=15)
    options = {"horizon": 5, "num_samples": 7}
    paths = true_paths(entries(values), seed=1, **options)
    assert paths.shape == (2, 7, 5, 2) and paths.dtype == np.float32
    np.testing.assert_array_equal(paths, true_paths(entries(values), seed=1, **options))
    assert not np.array_equal(paths, true_paths(entries(values), seed=2, **options))
    json.dumps(entries(values)[0]["info"])


def change(entry, **fields):
    return [{**entry, **fields}]


@pytest.mark.contracts
def test_mistakes():
    entry = make_oracle(2, 60).train
    target, options = entry["target"], {"horizon": 3, "num_samples": 2, "seed": 0}
    gap = target.copy()
    gap[1, 7] = np.nan
    for known, match in [
        (change(entry, info=None), "only for the dataset oracle"),
        (change(entry, start=START + 1), "do not shorten"),
        (change(entry, target=gap), "missing"),
        ([], "not 0, 3 and 2"),
    ]:
        with pytest.raises(InputError, match=match):
            true_paths(known, **options)
    with pytest.raises(InputError, match="not 1, 0 and 2"):
        true_paths([entry], **{**options, "horizon": 0})
    with pytest.raises(InputError, match="leave out knows_regime"):
        true_paths(change(entry, target=target + 1), knows_regime=True, **options)
    for name, match in [
        ("oracle-0", "oracle of 0 series"),
        ("oracle-9999", "give 1 to"),
        ("oracle-3x20", "oracle of 20 training steps cannot be made"),
        ("oracle-3x2000000", "give 48 to 1000000"),
        ("oracle-x", "did you mean oracle"),
    ]:
        with pytest.raises(InputError, match=match):
            load_dataset(name)
