"""What-if forecasts: given values come back, and the rest follows the exact conditional law."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from groups import contracts, identities, invariances, oracles
from tiny import HISTORY, HORIZON, MODEL, entry
from torch import nn
from toys import Exact, Gaussian, condition, law, record, stir

from timediff import SamplingConfig, TimeGradPredictor
from timediff.config import ModelConfig
from timediff.errors import InputError
from timediff.frequency import num_time_features
from timediff.registry import NORMALISATIONS
from timediff.timegrad.batch import Batch, Shape
from timediff.timegrad.model import TimeGrad
from timediff.timegrad.reverse import walk
from timediff.timegrad.whatif import MIN_EFFECTIVE_SIZE, path_steps, sample_given

# ------------------------------------------------------------------------- exact conditional laws
#
# With stubs for encoder and network each step is Gaussian around a linear function of the path so far, so
# that the whole path is a linear function of independent noise, and its conditional law is a formula.


class Total(nn.Module):
    """An encoder whose state is the sum of all that it was shown at lag 1, and so is what it says."""

    def forward(self, lags, features, state=None):
        shown = lags[..., 0].cumsum(dim=1)  # [B, T, D]
        h = shown if state is None else shown + state[0][:, None]
        return h, h[:, -1][None]

    def decoder(self, scaled, features, *, lags):
        return TotalDecoder(scaled)


class TotalDecoder(NamedTuple):
    """The same step by step."""

    scaled: Any

    def step(self, rows, drawn, state, t):
        h = state[0] + (drawn[t - 1] if t else self.scaled[rows, -1])
        return h, h[None]


#: Pulls the sum of the past back, the more so across dimensions.
PULL = np.array([[-0.4, 0.1], [0.2, -0.3]])
COVARIANCE = np.array([[1.0, 0.7], [0.7, 0.8]])
LOC, SCALE = np.array([0.3, -0.2]), np.array([2.0, 0.5])
EXACT = ModelConfig(
    cond_size=2,
    hidden_size=2,
    num_layers=1,
    diffusion_steps=100,
    scaling="global",
    parameterisation="noise",
    variance="large",
)
ANCESTRAL = SamplingConfig(sampler="ancestral", spacing="quadratic")
STEPS = ANCESTRAL._replace(steps=15)


def exact_model(horizon, *, difference, pull, covariance, variance):
    config = EXACT._replace(difference=difference, variance=variance)
    model = TimeGrad(config, Shape(2, horizon, 4, [1, 2], 1, difference))
    model.eval()
    model.encoder, model.condition = Total(), nn.Identity()
    matrix = torch.tensor(pull).T
    model.denoiser = Exact(lambda cond: Gaussian(cond @ matrix, covariance))
    model.training_scale[:] = torch.tensor(np.stack([LOC, SCALE]))
    return model


def window(model):
    length, near = model.shape.history_length, model.shape.context_length + model.shape.horizon
    target = LOC + SCALE * np.random.default_rng(3).normal(size=(1, length, 2))
    observed = torch.ones(1, length, 2, dtype=torch.bool)
    return Batch(torch.tensor(target), observed, torch.zeros(1, near, 1))


def path_law(model, batch, known, *, pull, covariance):
    """Mean and covariance of the path in the data's units, ``[T * D]``, by a loop over time."""
    walked, own = walk(STEPS, model.schedule), model.config.variance
    laws = {name: law(walked, covariance, variance=name) for name in ("small", "large")}
    horizon, dim = known.shape
    past = model.encode(batch)
    total = past.state[0, 0].numpy()
    cycle = model.shape.difference
    start = past.start[0].numpy() if cycle else None
    changes, values = [], []  # each a mean and its dependence on the noise, [D, 1 + T * D]
    ahead = past.decoder.scaled[0, -1].numpy()
    size = 1 + horizon * dim
    total = np.pad(total[:, None], ((0, 0), (0, size - 1)))
    newest = np.pad(ahead[:, None], ((0, 0), (0, size - 1)))
    noise = np.zeros((size - 1, size - 1))
    for t in range(horizon):
        total = total + newest
        # Steps with given entries take the large variance.
        slope, cov, last = laws["large" if known[t].any() else own]
        newest = slope @ pull @ total
        newest[:, 1 + t * dim : 1 + (t + 1) * dim] += np.eye(dim)
        # A given entry has the variance that the density of the chain's last step is floored at.
        noise[t * dim : (t + 1) * dim, t * dim : (t + 1) * dim] = cov + np.diag(last * known[t])
        changes.append(newest)
        value = SCALE[:, None] * newest
        value[:, 0] += LOC
        if cycle:
            value = value + values[t - cycle] if t >= cycle else value
            value[:, 0] += start[t] if t < cycle else 0.0
        values.append(value)
    stacked = np.concatenate(values)
    return stacked[:, 0], stacked[:, 1:] @ noise @ stacked[:, 1:].T


WALK = {"difference": 1, "pull": np.zeros((2, 2)), "covariance": np.eye(2)}
JOINT = {"difference": 0, "pull": np.zeros((2, 2)), "covariance": COVARIANCE}
PULLED = {"difference": 0, "pull": PULL, "covariance": COVARIANCE}
BOTH = {"difference": 2, "pull": PULL, "covariance": COVARIANCE}
#: What is given, in standard deviations from what the model expects of it alone.
CASES = {
    "bridge of a random walk": (WALK, {(4, 0): 1.5, (4, 1): -1.0}),
    "a dimension that nothing depends on": (WALK, {(1, 0): 1.0, (3, 0): -1.0}),
    "a dimension of the same step": (JOINT, {(t, 0): 1.2 for t in range(3)}),
    "a later step, through the encoder's state": (PULLED, {(3, 0): 1.5}),
    "values beyond the cycle of the changes": (BOTH, {(4, 1): 1.5, (1, 0): -0.5}),
    "first steps": (BOTH, {(0, 0): 1.0, (0, 1): 1.5, (1, 0): 0.5, (1, 1): -0.5}),
    "first steps and a later one": (BOTH, {(0, 0): 1.0, (0, 1): -1.5, (3, 1): 1.0}),
}


def draw_exactly(case, *, repeats, count=400, variance="large"):
    """Paths of so many runs ``[R, S, K]`` of K unknown entries, their exact moments with what is given and
    without, and the effective sizes ``[R]``.
    """
    options, wanted = CASES[case]
    horizon = 5
    model = exact_model(horizon, **options, variance=variance)
    batch = window(model)
    known = np.zeros((horizon, 2), bool)
    known[tuple(zip(*wanted, strict=True))] = True
    rest = {name: options[name] for name in ("pull", "covariance")}
    mean, cov = path_law(model, batch, known, **rest)
    given = np.full((horizon, 2), np.nan)
    for (t, d), away in wanted.items():
        given[t, d] = mean[2 * t + d] + away * np.sqrt(cov[2 * t + d, 2 * t + d])
    flat = known.ravel()
    conditional = condition(mean, cov, flat, given.ravel()[flat])[:2]
    runs, sizes = [], []
    for seed in range(repeats):
        paths, size = sample_given(
            model,
            batch,
            torch.tensor(given),
            num_samples=count,
            num_particles=count,
            seed=seed,
            sampling=STEPS,
        )
        assert (paths.numpy()[:, known] == given[known]).all()
        runs.append(paths.flatten(1).numpy()[:, ~flat])
        sizes.append(size)
    free = mean[~flat], cov[np.ix_(~flat, ~flat)]
    return np.stack(runs), conditional, free, np.array(sizes)


@oracles
@pytest.mark.parametrize(
    ("case", "variance"),
    [*((case, "large") for case in CASES), ("values beyond the cycle of the changes", "small")],
)
def test_unknown_entries_follow_the_gaussian_conditional(float64, case, variance):
    runs, (mean, cov), _, sizes = draw_exactly(case, repeats=25, variance=variance)
    assert (sizes > MIN_EFFECTIVE_SIZE).all()
    means = runs.mean(axis=1)  # [R, K]
    error = means.std(axis=0, ddof=1) / np.sqrt(len(runs))
    assert (np.abs(means.mean(axis=0) - mean) < 5 * error).all()
    products = np.einsum("rsi,rsj->rij", runs - mean, runs - mean) / runs.shape[1]
    error = products.std(axis=0, ddof=1) / np.sqrt(len(runs))
    assert (np.abs(products.mean(axis=0) - cov) < 5 * error).all()


@oracles
@pytest.mark.parametrize("case", CASES)
def test_that_law_is_not_the_plain_one(float64, case):
    # The bounds above can fail: without what is given (some of) these entries are elsewhere.
    runs, (mean, cov), (free, free_cov), _ = draw_exactly(case, repeats=5)
    error = runs.mean(axis=1).std(axis=0, ddof=1) / np.sqrt(len(runs))
    off = np.abs(free - mean) / error
    assert off.max() > 10
    if case == "a dimension that nothing depends on":
        # Columns of the second dimension, all steps, are as they were.
        own = [k for k, (t, d) in enumerate(_unknown(case)) if d == 1]
        np.testing.assert_allclose(mean[own], free[own], atol=1e-12)
        np.testing.assert_allclose(cov[np.ix_(own, own)], free_cov[np.ix_(own, own)], atol=1e-12)


def _unknown(case):
    given = CASES[case][1]
    return [(t, d) for t in range(5) for d in range(2) if (t, d) not in given]


@oracles
def test_a_known_past_costs_nothing(float64):
    *_, sizes = draw_exactly("first steps", repeats=1, count=50)
    assert sizes.tolist() == [50]


@contracts
def test_more_that_is_given_leaves_fewer(float64):
    few = draw_exactly("a later step, through the encoder's state", repeats=4)[-1]
    more = draw_exactly("bridge of a random walk", repeats=4)[-1]
    assert 400 > few.mean() > more.mean()


# ------------------------------------------------------------------------------------- predictors

DATA = [entry(seed=seed, item_id=f"series {seed}") for seed in range(3)]
NAN = np.nan
CHAIN = MODEL._replace(beta_end=0.7, variance="large")
#: One dimension for two steps, another at the last step.
GIVEN = np.full((HORIZON, 3), NAN)
GIVEN[:2, 0], GIVEN[-1, 1] = [2.1, 2.3], 1.9


def predictor(
    dim=3, *, lead_time=0, sampling=ANCESTRAL, shake=0.05, device="cpu", batch_size=32, **config
):
    """A network with small random weights, which draws nearly standard normal scaled values."""
    config = CHAIN._replace(**config)
    horizon = HORIZON + lead_time
    shape = Shape(
        dim, horizon, 6, [1, 3], num_time_features("h"), difference=config.difference or 0
    )
    torch.manual_seed(1)
    model = TimeGrad(config, shape)
    stir(model, shake)
    level = 0.0 if config.difference else 2.0
    model.training_scale[:] = torch.tensor([[level], [0.6]])
    return TimeGradPredictor(
        model,
        freq="h",
        prediction_length=HORIZON,
        lead_time=lead_time,
        sampling=sampling,
        batch_size=batch_size,
        device=str(device),
    )


def predict(made, known_future, data=DATA[:1], *, num_samples=40, num_particles=200, seed=5):
    return list(
        made.predict(
            data,
            num_samples,
            known_future=known_future,
            num_particles=num_particles,
            seed=seed,
            progress=False,
        )
    )


def samples(*args, **options):
    return np.stack([forecast.samples for forecast in predict(*args, **options)])


@contracts
@pytest.mark.parametrize("lead_time", [0, 2])
@pytest.mark.parametrize("difference", [0, 1, 3])
@pytest.mark.parametrize("scaling", NORMALISATIONS)
def test_given_values_come_back_exactly(scaling, difference, lead_time):
    made = predictor(lead_time=lead_time, difference=difference, scaling=scaling)
    # Values near the model's own, so that they are likely whatever its units.
    plain = samples(made, None, num_samples=100)[0]
    given = np.where(np.isnan(GIVEN), NAN, np.median(plain, axis=0).astype(np.float64) + 1e-3)
    forecast = predict(made, given)[0]
    known = ~np.isnan(given)
    assert forecast.samples.shape == (40, HORIZON, 3) and forecast.samples.dtype == np.float64
    np.testing.assert_array_equal(forecast.samples[:, known], np.tile(given[known], (40, 1)))
    # All the rest is drawn.
    rest = forecast.samples[:, ~known]
    assert np.isfinite(rest).all() and (rest.std(axis=0) > 0).all()
    assert MIN_EFFECTIVE_SIZE <= forecast.info["effective_size"] <= 200
    assert forecast.start_date == predict(made, None)[0].start_date


@contracts
def test_everything_given():
    given = np.random.default_rng(0).normal(2, 1, size=(HORIZON, 3)).astype(np.float32)
    forecast = predict(predictor(), given)[0]
    np.testing.assert_array_equal(forecast.samples, np.broadcast_to(given, (40, HORIZON, 3)))
    assert forecast.info["effective_size"] == 200


@contracts
def test_steps_after_the_last_given_one_are_all_different():
    given = np.full((HORIZON, 3), NAN)
    given[1, 0] = 2.0
    found = samples(predictor(), given, num_samples=200)[0]
    assert len(np.unique(found[:, 2:, 1])) == 2 * 200
    # Of the steps before there are copies: particles were resampled or drawn twice.
    assert len(np.unique(found[:, 0, 1])) < 200


VARIANTS = {
    "self-conditioning": {"self_conditioning": True},
    "learned variance": {"variance": "learned", "parameterisation": "v"},
    "guidance": {"condition_dropout": 0.1, "sampling": ANCESTRAL._replace(guidance=1.5)},
    "all three": {
        "self_conditioning": True,
        "variance": "learned",
        "condition_dropout": 0.1,
        "sampling": ANCESTRAL._replace(guidance=-0.5),
    },
    "fewer steps": {"diffusion_steps": 20, "beta_end": 0.3, "sampling": ANCESTRAL},
    "VE process": {"schedule": "ve", "diffusion_steps": 20},
    "the paper's cell and network": {"cell": "lstm", "denoiser": "conv"},
}


@contracts
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("difference", [0, 1])
def test_every_kind_of_model(variant, difference, device):
    made = predictor(difference=difference, shake=0.02, device=device, **VARIANTS[variant])
    forecast = predict(made, GIVEN, num_particles=800)[0]
    known = ~np.isnan(GIVEN)
    np.testing.assert_array_equal(forecast.samples[0, known], GIVEN[known])
    assert np.isfinite(forecast.samples).all()
    assert (forecast.samples[:, ~known].std(axis=0) > 0).all()


@identities
def test_a_self_conditioned_network_sees_its_last_estimate_after_resampling_too(monkeypatch):
    monkeypatch.setattr("timediff.timegrad.whatif.MIN_EFFECTIVE_SIZE", 0)
    made = predictor(difference=1, self_conditioning=True, diffusion_steps=20, beta_end=0.3)
    bound, model = [], made.prediction_net
    bind, recording = model.bind, record(model)
    model.bind = lambda *args: bound.append(args) or bind(*args)
    given = np.full((HORIZON, 3), NAN)
    given[2] = [8.0, -8.0, 8.0]  # few of the paths so far come anywhere near
    made.sampling = ANCESTRAL._replace(steps=20)
    predict(made, given)
    assert len(bound) > HORIZON  # resampled within a chain
    # Nothing to show at the first of the 20 levels only, at each of the steps.
    first = [not x[:, 3:].any() for x in recording.inputs]
    assert first == [n == 0 for _ in range(HORIZON) for n in range(20)]


@invariances
def test_guidance_changes_the_paths():
    options = {"condition_dropout": 0.1, "shake": 0.2}
    plain = samples(predictor(**options), GIVEN)
    guided = samples(predictor(**options, sampling=SamplingConfig(guidance=2.0)), GIVEN)
    assert not np.isclose(plain, guided)[:, :, np.isnan(GIVEN)].any()


@identities
@pytest.mark.parametrize("difference", [0, 1])
def test_nothing_given_is_a_plain_forecast(difference):
    made = predictor(difference=difference)
    plain = samples(made, None, DATA)
    nothing = np.full((HORIZON, 3), NAN)
    np.testing.assert_array_equal(samples(made, [None, nothing, None], DATA), plain)
    np.testing.assert_array_equal(samples(made, nothing), samples(made, None))
    assert all(forecast.info is None for forecast in predict(made, [nothing] * 3, DATA))
    # Then any sampler will do, and the number of particles does not matter.
    made.sampling = SamplingConfig(sampler="ddim")
    assert np.isfinite(samples(made, nothing, num_particles=1)).all()


@invariances
def test_entries_with_and_without():
    made = predictor()
    mixed = samples(made, [None, GIVEN, np.full((HORIZON, 3), NAN)], DATA)
    plain = samples(made, None, DATA)
    # Matrix products of other sizes may round differently.
    np.testing.assert_allclose(mixed[[0, 2]], plain[[0, 2]], rtol=1e-5, atol=1e-5)
    assert not np.isclose(mixed[1], plain[1]).any()
    made = predictor(batch_size=1)
    np.testing.assert_allclose(
        samples(made, [None, GIVEN, None], DATA), mixed, rtol=1e-5, atol=1e-5
    )


@invariances
def test_same_seed_same_paths():
    made = predictor()
    free = np.isnan(GIVEN)
    data = [DATA[0], DATA[0] | {"item_id": "another"}]
    one, same, other = (samples(made, [GIVEN] * 2, data, seed=s) for s in (5, 5, 6))
    np.testing.assert_array_equal(one, same)
    assert not np.isin(one[:, :, free], other[:, :, free]).any()
    # Windows differ too.
    assert not np.isin(one[0][:, free], one[1][:, free]).any()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    samples(made, GIVEN)
    assert torch.equal(state, torch.get_rng_state())


@contracts
def test_info_is_added_to_and_nothing_given_is_changed():
    info = {"tariff": "night"}
    data = [DATA[0] | {"info": info, "target": DATA[0]["target"].copy()}]
    given = GIVEN.copy()
    forecast = predict(predictor(), given, data)[0]
    assert set(forecast.info) == {"tariff", "effective_size", "num_particles"}
    assert forecast.info["tariff"] == "night" and forecast.info["num_particles"] == 200
    assert isinstance(forecast.info["effective_size"], float)
    assert info == {"tariff": "night"} and data[0]["info"] is info
    np.testing.assert_array_equal(given, GIVEN)
    np.testing.assert_array_equal(data[0]["target"], DATA[0]["target"])


@contracts
def test_one_dimension():
    data = [entry(dim=1) | {"target": entry(dim=1)["target"][0]}]
    given = np.array([NAN, 2.2, NAN, 1.9])
    forecast = predict(predictor(dim=1), given, data)[0]
    assert forecast.samples.shape == (40, HORIZON)
    np.testing.assert_array_equal(forecast.samples[:, 1], 2.2)
    column = predict(predictor(dim=1), given[:, None], data)[0]
    np.testing.assert_array_equal(column.samples, forecast.samples)


@contracts
def test_progress_counts_particles_up_to_the_last_given_step(capfd):
    given = np.full((HORIZON, 3), NAN)
    given[1, 2] = 2.0
    made = predictor()
    list(made.predict(DATA[:2], 40, known_future=[given, None], num_particles=200))
    total = (2 * 200 + 2 * 40) + 40 * HORIZON
    assert f"{total}/{total}" in capfd.readouterr().err
    padded = torch.tensor(given)
    assert path_steps(padded, num_samples=40, num_particles=200) == 2 * 200 + 2 * 40


# -------------------------------------------------------------------------------------- refusals


@contracts
@pytest.mark.parametrize(("difference", "value"), [(1, 12.0), (1, 1e3), (0, 1e6)])
def test_impossible_values_are_refused(value, difference):
    given = np.full((HORIZON, 3), NAN)
    given[2] = [value, -value, value]
    made = predictor(difference=difference)
    said = r"entry 1 \(series 1\): .* effective size of [0-9.]+ of 200 particles, below 20: they are too"
    forecasts = made.predict(
        DATA, known_future=[None, given, None], num_particles=200, progress=False
    )
    assert next(forecasts).item_id == "series 0"
    with pytest.raises(InputError, match=said):
        next(forecasts)


def ones(*shape):
    return np.ones(shape)


@contracts
@pytest.mark.parametrize(
    ("given", "data", "said"),
    [
        (ones(3, HORIZON), DATA[:1], r"entry 0 has shape \[3, 4\]; it must be \[4, 3\]"),
        (ones(HORIZON), DATA[:1], r"entry 0 has shape \[4\]; it must be \[4, 3\]"),
        ([1.0], DATA[:1], r"entry 0 has shape \[\]"),
        ([None, ones(2, 3)], DATA[:2], r"entry 1 has shape \[2, 3\]"),
        (ones(1, HORIZON, 3), DATA[:1], "give a list of such arrays"),
        (
            np.where(np.isnan(GIVEN), NAN, np.inf),
            DATA[:1],
            "entry 0 has inf in dimension .* at step",
        ),
        (np.where(np.isnan(GIVEN), NAN, 1e39), DATA[:1], r"entry 0 has 1e\+39 in dimension"),
        (np.where(np.isnan(GIVEN), NAN, 3e38), DATA[:1], r"entry 0 has 3e\+38 in dimension"),
        (np.ma.masked_array(GIVEN), DATA[:1], "entry 0 is a masked array"),
        (GIVEN + 1j, DATA[:1], "entry 0 is not numeric: it holds complex numbers"),
        (np.full((HORIZON, 3), "much"), DATA[:1], "entry 0 is not numeric"),
        (GIVEN, DATA, "for 1 entries, but the dataset has 3; give a list"),
        ([GIVEN, None], DATA, "for 2 entries, but the dataset has 3"),
        ([], DATA, "for 0 entries"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(given, data, said):
    with pytest.raises(InputError, match=said):
        predictor().predict(data, 20, known_future=given)


@contracts
@pytest.mark.parametrize(
    ("arrays", "drawn", "said"), [(1, 1, "has more"), (3, 2, "has 2"), (0, 0, "has more")]
)
def test_a_stream_of_another_length_is_refused_when_it_shows(arrays, drawn, said):
    made = predictor(batch_size=1)
    forecasts = made.predict(
        iter(DATA[:2]), 20, known_future=[GIVEN] * arrays, num_particles=200, progress=False
    )
    for _ in range(drawn):
        next(forecasts)
    with pytest.raises(InputError, match=said):
        next(forecasts)


@identities
@pytest.mark.parametrize("sampler", ["adams-bashforth", "ddim", "heun", "dpm++", "langevin"])
def test_ancestral_steps_stand_in_for_samplers_without_densities(sampler):
    made = predictor(sampling=SamplingConfig(sampler=sampler, steps=2))
    expected = samples(predictor(sampling=ANCESTRAL), GIVEN)
    np.testing.assert_array_equal(samples(made, GIVEN), expected)


@contracts
@pytest.mark.parametrize(("paths", "particles", "least"), [(100, 99, 100), (5, 19, 20), (5, 0, 20)])
def test_too_few_particles_are_refused_at_once(paths, particles, least):
    with pytest.raises(InputError, match=f"num_particles is {particles}.* at least {least}"):
        predictor().predict(DATA[:1], paths, known_future=GIVEN, num_particles=particles)


@contracts
def test_short_history_is_no_obstacle():
    short = [DATA[0] | {"target": DATA[0]["target"][:, : HISTORY - 4]}]
    found = samples(predictor(difference=1), GIVEN, short)
    known = ~np.isnan(GIVEN)
    np.testing.assert_array_equal(found[0, 0][known], GIVEN[known])
