"""The whole model with a linear centre: the Gaussian it is without its network, and the choice of a share."""

import math

import numpy as np
import pytest
import torch
from groups import contracts, cross_checks, identities, invariances, oracles
from tiny import HORIZON, MODEL, QUIET, TRAIN, entry, estimator, paths, same_weights, weights
from toys import condition, stir

from timediff import SamplingConfig, TimeGradPredictor
from timediff.config import DistillConfig
from timediff.errors import InputError
from timediff.gluon.distill import distill
from timediff.gluon.entries import read_entry
from timediff.gluon.linear import POOLED, Weighed, _spread, adaptive_shape, fit_on, weigh
from timediff.gluon.windows import WindowData, forecast_batch
from timediff.metrics import energy_score, mean_wquantile_loss, sum_over_dimensions
from timediff.networks.base import DenoisingNetwork
from timediff.timegrad.normalisation.base import LARGEST

pytestmark = QUIET
D = 3
LINEAR = MODEL._replace(scaling="adaptive", cycles=[8], beta_end=0.7)
#: A chain that is close to its limit, whose steps are those of the upper bound.
FINE = LINEAR._replace(variance="large", diffusion_steps=100, beta_end=0.1)
EXACT = SamplingConfig("ancestral", steps=100, spacing="quadratic", options={"extrapolation": 0.0})


def waves(length=120, *, seed=0, shift=0.0, dim=D, **fields):
    """The waves of `tiny.entry` with innovations that are alike in all series and go on for a while."""
    data = entry(dim, length, seed=seed, **fields)
    rng, error = np.random.default_rng(seed + 100), np.zeros(dim)
    for t in range(length):
        error = 0.6 * error + 0.3 * (rng.normal() + 0.7 * rng.normal(size=dim))
        data["target"][:, t] += error + shift
    return data


def make(folder, data, model=LINEAR, *, network=True, **options):
    """A predictor of some entries; without its network it is the linear forecaster and its Gaussian."""
    made = estimator(folder, model=model, **options).train(data)
    if not network:
        made.prediction_net.use(0.0, past_errors=False)
    return made


def share(predictor):
    return predictor.prediction_net.denoiser.share


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("linear")


@pytest.fixture(scope="module")
def fine(folder):
    """A predictor that is Gaussian, for reading only."""
    made = make(folder, [waves(shift=-2)], FINE, network=False)
    made.sampling = EXACT
    return made


@pytest.fixture(scope="module")
def trained(folder):
    """A predictor as training leaves it, but for its share, and its data; for reading only."""
    made = make(folder, [waves()])
    made.prediction_net.use(1.0)
    return made


def centred(predictor, data):
    """What the linear forecaster says of an entry in the data's units, and the scale, ``[T, D]``."""
    batch, model = (
        forecast_batch([read_entry(data)], predictor.prediction_net.shape),
        predictor.prediction_net,
    )
    return (batch.location + batch.scale * model.centre(batch))[0].double().numpy(), batch.scale[
        0
    ].double().numpy()


def law(predictor, data, *, noise=0.0):
    """Mean and covariance of a forecast without a network, ``[T * D]``, by matrices in the data's units.

    Innovations may have noise of this standard deviation beside their own.
    """
    model = predictor.prediction_net
    mean, scale = centred(predictor, data)
    state = {name: value.double().numpy() for name, value in model.innovations.state_dict().items()}
    modes, variances = (
        part.double().numpy() for part in (model.denoiser.modes, model.denoiser.variances)
    )
    rest = np.eye(D) - modes @ modes.T
    own = modes @ np.diag(variances[:-1]) @ modes.T + variances[-1] * rest + noise**2 * np.eye(D)
    horizon = len(mean)
    linear, before = [], np.zeros((D, horizon * D))
    for t in range(horizon):
        phi = state["persistence"][t]
        u, turned = state["modes"], np.eye(D) - state["modes"] @ state["modes"].T
        before = (u @ np.diag(phi[:-1]) @ u.T + phi[-1] * turned) @ before
        before[:, t * D : (t + 1) * D] += state["step_size"][t] * np.eye(D)
        linear.append((scale[t] * state["size"][t])[:, None] * before)
    matrix = np.concatenate(linear)
    return mean.reshape(-1), matrix @ np.kron(np.eye(horizon), own) @ matrix.T


# ---------------------------------------------------------------------- the model without its network


@oracles
@pytest.mark.parametrize("cycles", [[8], [1], [3], [2, 8]])  # some of them shorter than the horizon
def test_without_its_network_a_forecast_is_the_gaussian_of_the_linear_forecaster(folder, cycles):
    made = make(folder, [waves(shift=-2)], FINE._replace(cycles=cycles), network=False)
    made.sampling = EXACT
    data, count = waves(90, seed=5, shift=-2), 4000
    drawn = paths(made, [data], num_samples=count)[0].reshape(count, -1)
    mean, covariance = law(made, data)
    deviation = np.sqrt(covariance.diagonal())
    assert (np.abs(drawn.mean(axis=0) - mean) < 5 * deviation / count**0.5).all()
    found = np.cov(drawn.T) / np.outer(deviation, deviation)
    expected = covariance / np.outer(deviation, deviation)
    # 3 % for the steps of the chain.
    assert (np.abs(found - expected) < 5 * np.sqrt((1 + expected**2) / count) + 0.03).all()


@oracles
def test_the_gaussian_is_that_of_the_errors(folder):
    # A vector autoregression around the centre's reach: widths and correlations are those of left-out errors.
    made = make(folder, [waves(600, shift=-2)], FINE, network=False)
    data = WindowData([read_entry(waves(600, shift=-2))], made.prediction_net.shape)
    errors = fit_on(data, most_errors=10_000).errors.double().numpy()
    batch = forecast_batch([read_entry(waves(600, shift=-2))], made.prediction_net.shape)
    _, covariance = law(made, waves(600, shift=-2))
    scale = batch.scale[0].double().numpy().reshape(-1)
    flat = errors.reshape(len(errors), -1)
    own = flat.T @ flat / len(flat) * np.outer(scale, scale)
    deviation = np.sqrt(own.diagonal())
    assert (np.abs(np.sqrt(covariance.diagonal()) / deviation - 1) < 0.15).all()
    away = (covariance - own) / np.outer(deviation, deviation)
    assert np.abs(away).max() < 0.25


@oracles
def test_the_density_is_that_of_the_gaussian(fine):
    data = waves(94, seed=5, shift=-2)
    known = {**data, "target": data["target"][:, :-HORIZON]}
    found, left_out = fine.density([data], progress=False)
    assert left_out == 0
    # The first level of noise is part of what is scored.
    first = fine.prediction_net.schedule.points[1]
    mean, covariance = law(fine, known, noise=first.sigma / first.alpha)
    away = data["target"][:, -HORIZON:].T.astype(float).reshape(-1) - mean
    own = away @ np.linalg.solve(covariance, away)
    nll = 0.5 * (own + np.linalg.slogdet(2 * np.pi * covariance)[1])
    assert abs(float(found.nll) - nll) < 0.02
    state = fine.prediction_net.innovations
    units = torch.stack([state.unit(t) for t in range(HORIZON)]).double().numpy()
    np.testing.assert_allclose(
        found.log_scale, np.log(units * centred(fine, known)[1]).sum(), rtol=1e-4
    )


@pytest.fixture
def coarse(monkeypatch):
    """Few steps of the ODE, where its accuracy is not the question."""
    monkeypatch.setattr("timediff.timegrad.density.ODE_STEPS", 4)


@invariances
def test_the_unit_of_the_data_costs_its_logarithm(trained, coarse):
    data = waves(94, seed=5)
    larger = {**data, "target": 8 * data["target"]}
    one, eight = (trained.density([each], progress=False)[0] for each in (data, larger))
    torch.testing.assert_close(eight.bound, one.bound, rtol=1e-4, atol=1e-4)
    more = torch.full((1,), HORIZON * D * math.log(8), dtype=torch.float64)
    torch.testing.assert_close(eight.log_scale - one.log_scale, more, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(eight.nll - one.nll, more, rtol=1e-3, atol=1e-2)


@oracles
def test_a_future_farther_off_is_less_likely(trained, coarse):
    found = []
    for away in (40.0, 80.0):
        data = waves(94, seed=5)
        data["target"][:, -1] += away
        found.append(float(trained.density([data], progress=False)[0].nll))
    assert found[1] > found[0] + 1


@oracles
def test_what_is_given_conditions_the_gaussian(fine):
    data = waves(90, seed=5, shift=-2)
    mean, covariance = law(fine, data)
    deviation = np.sqrt(covariance.diagonal())
    known = np.zeros((HORIZON, D), dtype=bool)
    known[1, 0] = known[3, 2] = True
    given = np.full((HORIZON, D), np.nan, dtype=np.float32)
    given[known] = (mean + [1.0, -0.7] @ np.eye(HORIZON * D)[known.ravel()] * deviation)[
        known.ravel()
    ]
    forecast = next(
        fine.predict([data], 1500, known_future=given, num_particles=3000, seed=3, progress=False)
    )
    drawn = forecast.samples
    assert (drawn[:, known] == given[known]).all()
    y = given[known].astype(float)
    expected, own, _ = condition(mean, covariance, known.ravel(), y)
    rest = drawn[:, ~known]
    size = min(forecast.info["effective_size"], 1500)
    width = np.sqrt(own.diagonal())
    # 5 % for the steps of the chain.
    assert (np.abs(rest.mean(axis=0) - expected) < width * (5 / size**0.5 + 0.05)).all()
    assert (np.abs(rest.std(axis=0) / width - 1) < 5 / (2 * size) ** 0.5 + 0.05).all()


@oracles
def test_whole_steps_that_are_given_are_the_past(fine):
    data = waves(90, seed=5, shift=-2)
    mean, covariance = law(fine, data)
    given = np.full((HORIZON, D), np.nan, dtype=np.float32)
    given[0] = mean[:D] + np.sqrt(covariance.diagonal()[:D]) * [1.0, 0.5, -0.5]
    known = np.isfinite(given).ravel()
    forecast = next(
        fine.predict([data], 2000, known_future=given, num_particles=2000, seed=3, progress=False)
    )
    expected, own, _ = condition(mean, covariance, known, given.ravel()[known].astype(float))
    rest = forecast.samples.reshape(2000, -1)[:, ~known]
    width = np.sqrt(own.diagonal())
    assert (np.abs(rest.mean(axis=0) - expected) < 5 * width / 2000**0.5 + 1e-3).all()


@invariances
@pytest.mark.parametrize("variance", ["small", "large", "learned"])
def test_without_a_share_the_network_does_not_matter(folder, variance):
    made, data = (
        make(folder, [waves()], LINEAR._replace(variance=variance), network=False),
        [waves()],
    )
    before = paths(made, data)
    stir(made.prediction_net.denoiser.network)
    stir(made.prediction_net.encoder)
    np.testing.assert_array_equal(paths(made, data), before)
    share(made).fill_(1.0)
    assert not np.array_equal(paths(made, data), before)


# ----------------------------------------------------------------------------------- what a fit sees


@identities
def test_the_linear_part_is_that_of_all_training_data(trained):
    model = trained.prediction_net
    fit = fit_on(WindowData([read_entry(waves())], model.shape), most_errors=1500)
    assert torch.equal(model.centre.coefficients, fit.fit.coefficients)
    assert trained.choices["penalty"] == fit.fit.penalty and trained.choices["cycles"] == [8]
    assert trained.choices["origins"] == fit.fitted_to == len(fit.origins)


@invariances
def test_what_is_held_out_changes_no_weight_of_the_network(folder):
    one, held = waves(), HORIZON * (120 // (5 * HORIZON))
    other = waves()
    other["target"][:, -held:] = 10 * np.random.default_rng(1).random((D, held)) + 0.1
    first, second = (make(folder, [each]).prediction_net for each in (one, other))
    for name, value in first.named_parameters():
        assert torch.equal(value, dict(second.named_parameters())[name]), name
    assert not torch.equal(first.centre.coefficients, second.centre.coefficients)


@invariances
def test_no_truth_of_validation_data_is_in_the_linear_part(folder):
    def with_validation(shift):
        validation = waves(120 + HORIZON)
        validation["target"][:, -HORIZON:] += shift
        made = estimator(folder, model=LINEAR)
        return made.train_model([waves()], [validation]).predictor.prediction_net.state_dict()

    first, second = with_validation(0.0), with_validation(7.0)
    alone = make(folder, [waves()]).prediction_net.state_dict()
    for name in first:
        if name.startswith(("centre", "innovations", "training", "support", "denoiser.modes")):
            assert torch.equal(first[name], second[name]), name
            assert torch.equal(first[name], alone[name]), name


@invariances
def test_the_unit_of_the_data_changes_nothing_but_the_unit(folder):
    one, data = make(folder, [waves()]), waves(90, seed=2)
    other = make(folder, [{**waves(), "target": 16 * waves()["target"]}])
    assert other.choices["network_share"] == one.choices["network_share"]
    assert other.choices["penalty"] == one.choices["penalty"]
    for found in (one, other):
        share(found).fill_(1.0)
    larger = paths(other, [{**data, "target": 16 * data["target"]}])
    np.testing.assert_allclose(larger / 16, paths(one, [data]), rtol=1e-3, atol=1e-3)


# ------------------------------------------------------------------------------------ forecasts of it


@contracts
def test_the_same_seed_gives_the_same_forecast_in_training_and_after_storage(folder, tmp_path):
    one, other = (make(folder, [waves()]) for _ in range(2))
    assert same_weights(weights(one.prediction_net), weights(other.prediction_net))
    assert one.choices == other.choices and one.choices["network_share"] in (0.0, POOLED)
    np.testing.assert_array_equal(paths(other, [waves()]), paths(one, [waves()]))
    for value in (0.0, 1.0):
        share(one).fill_(value)
        before = paths(one, [waves()])
        one.serialize(tmp_path)
        read = TimeGradPredictor.deserialize(tmp_path, device="cpu")
        assert read.choices == one.choices and float(share(read)) == value
        assert same_weights(weights(read.prediction_net), weights(one.prediction_net))
        np.testing.assert_array_equal(paths(read, [waves()]), before)


@invariances
@pytest.mark.parametrize("odd", [0, 1])
def test_a_forecast_does_not_depend_on_the_entries_beside_it(trained, odd):
    entries = [waves(60, seed=1), waves(90, seed=2)]
    together = paths(trained, entries)
    first = paths(trained, entries[:1])
    np.testing.assert_allclose(together[0], first[0], rtol=1e-5, atol=1e-5)
    entries[1]["target"] *= 1e6
    np.testing.assert_allclose(paths(trained, entries)[0], first[0], rtol=1e-5, atol=1e-5)


@oracles
def test_the_lead_time_is_forecast_and_left_out(folder):
    data = waves(90, seed=5, shift=-2)
    made = make(folder, [waves(shift=-2)], FINE, network=False, lead_time=3)
    made.sampling = EXACT
    mean, covariance = law(made, data)
    forecast = next(made.predict([data], 1000, seed=1, progress=False))
    assert forecast.start_date == data["start"] + 93
    width = np.sqrt(covariance.diagonal())
    away = forecast.samples.reshape(1000, -1).mean(axis=0) - mean[3 * D :]
    assert (np.abs(away) < 5 * width[3 * D :] / 1000**0.5).all()


@contracts
@pytest.mark.parametrize("support", ["auto", "none"])
def test_a_series_that_was_never_negative_has_no_negative_path(folder, support):
    data = waves()
    data["target"] = 3 * np.maximum(data["target"] - 3, 0)
    data["target"][2] -= 1
    made = make(folder, [data], LINEAR._replace(support=support))
    share(made).fill_(1.0)
    stir(made.prediction_net.denoiser.network)
    drawn = paths(made, [data], num_samples=200)
    given = np.full((HORIZON, D), np.nan)
    given[2, 2] = np.median(drawn[0, :, 2, 2])
    options = {"known_future": given, "num_particles": 500, "seed": 1, "progress": False}
    whatif = next(made.predict([data], 200, **options)).samples
    for found in (drawn[0], whatif):
        assert ((found[..., :2] >= 0).all()) == (support == "auto")
        assert (found[..., 2] < 0).any()


@contracts
@pytest.mark.parametrize("share_of_network", [0.0, 1.0])
def test_flat_and_repeating_series_are_forecast_as_what_they_are(folder, share_of_network):
    t = np.arange(160)
    huge = 1e6 * (1 + 0.1 * np.random.default_rng(0).normal(size=160))
    pattern = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0])
    target = np.stack([np.full(160, 7.0), np.zeros(160), pattern[t % 8], huge]).astype(np.float32)
    data = {**entry(), "target": target}
    with pytest.warns(UserWarning, match="constant"):
        made = make(folder, [data])
    share(made).fill_(share_of_network)
    drawn = paths(made, [data], num_samples=50)[0]
    np.testing.assert_allclose(drawn[..., 0], 7, atol=1e-3)
    np.testing.assert_allclose(drawn[..., 1], 0, atol=1e-3)
    np.testing.assert_allclose(
        drawn[..., 2], np.tile(pattern[(160 + np.arange(HORIZON)) % 8], (50, 1)), atol=0.1
    )
    assert 1e4 < drawn[..., 3].std() < 1e6 and abs(drawn[..., 3].mean() - 1e6) < 2e5


SHORT = [(5, 4), (6, 4), (12, 4), (19, 4), (3, 1), (2, 1), (8, 7), (20, 17)]


@contracts
@pytest.mark.parametrize(("length", "horizon"), SHORT)
def test_too_little_data_is_forecast_by_the_linear_forecaster_alone(folder, length, horizon):
    data = waves(length)
    made = make(folder, [data], LINEAR._replace(cycles=None), prediction_length=horizon)
    assert made.choices["network_share"] == float(share(made)) == 0.0
    assert made.choices["held_out_windows"] == 0 and made.choices["cycles"] == [1]
    drawn = paths(made, [data], num_samples=100)
    assert np.isfinite(drawn).all()
    assert np.abs(drawn).max() < 1e3
    if length > 2:
        width = drawn[0].std(axis=0) / data["target"].std(axis=1)
        assert 0.1 < np.median(width) and width.max() < 30


@oracles
@pytest.mark.parametrize("seed", range(3))
def test_no_lead_of_little_data_is_certain(folder, seed):
    data = waves(12, seed=seed)
    made = make(folder, [data], LINEAR._replace(cycles=None))
    width = paths(made, [data], num_samples=400)[0].std(axis=0) / data["target"].std(axis=1)
    assert width.min() > 0.2


@contracts
def test_gaps_and_a_series_that_was_never_seen_are_forecast(folder):
    data = waves(160)
    data["target"][0, np.random.default_rng(0).random(160) < 0.4] = np.nan
    data["target"][1] = np.nan
    with pytest.warns(UserWarning, match="never observed"):
        made = make(folder, [data])
    made.prediction_net.use(1.0)
    drawn = paths(made, [data])
    assert np.isfinite(drawn).all() and np.abs(drawn).max() < 50


@contracts
def test_entries_of_many_sizes_have_forecasts_of_their_own_size(folder):
    entries = [waves(100, seed=k, item_id=str(k)) for k in range(3)]
    for k, each in enumerate(entries):
        each["target"] *= 1000.0**k
    made = make(folder, entries)
    for k, drawn in enumerate(paths(made, entries)):
        size = entries[k]["target"]
        assert size.min() - size.std() * 3 < drawn.mean() < size.max() + size.std() * 3
        assert 0.05 * size.std() < drawn.std(axis=0).mean() < 3 * size.std()


# ----------------------------------------------------------------------------- the share of the network


class Correcting(DenoisingNetwork):
    """What takes the filter of one variance to that of another, times a factor."""

    floats_per_row = 1

    def __init__(self, wrong, right, factor=1.0):
        super().__init__()
        self.wrong, self.right, self.factor = wrong, right, factor

    def embed_level(self, level):
        def gain(variance):
            signal = level.alpha**2 * variance + level.sigma**2
            return level.alpha * level.sigma * (1 - variance) / signal

        return (self.factor * (gain(self.right) - gain(self.wrong))[..., None],)

    def under(self, cond):
        return lambda x, level: (x * level[0],)


@pytest.fixture
def weighing(folder):
    """A model with the data that it was trained on, and held-out windows of it."""
    made = make(folder, [waves(200)], FINE)
    data = WindowData([read_entry(waves(200))], made.prediction_net.shape)
    return made.prediction_net, *data.hold_out(7)


@oracles
@pytest.mark.parametrize(
    ("start", "network", "best"),
    [
        (1.0, Correcting(1.0, 400.0), 0.0),  # the network makes it far too wide
        (400.0, Correcting(400.0, 1.0), 0.5),  # or takes that back, where past errors are as wide
    ],
)
def test_the_better_of_network_and_past_errors_is_found(weighing, start, network, best):
    model, data, held = weighing
    model.denoiser.modes.zero_()
    model.denoiser.variances.fill_(start)
    model.denoiser.network = network
    model.trajectories.errors = model.trajectories.errors * start**0.5
    for training in (True, False):
        model.train(training)
        found = weigh(model, data, held, SamplingConfig(steps=20), seed=1)
        assert found.share == model.network_share == best
        assert float(model.denoiser.share) == (best > 0)
        assert model.training == training
    assert found.windows == len(held) == 7 and set(found.scores) == {0.0, 1.0}
    assert ("half of each" if best else "linear forecaster alone") in found.sentence


@cross_checks
def test_scores_of_shares_are_those_of_their_forecasts(weighing):
    model, data, held = weighing
    sampling = SamplingConfig(steps=3)
    found = weigh(model, data, held, sampling, seed=5)
    whole = waves(200)["target"]
    for value, score in found.scores.items():
        model.use(value)
        drawn, truth = [], []
        for k, row in enumerate(held.tolist()):
            origin = row - data.first
            known = {**waves(200), "target": whole[:, :origin]}
            batch = forecast_batch([read_entry(known)], model.shape)
            drawn.append(model.sample(batch, num_samples=100, seeds=[5 + k], sampling=sampling)[0])
            truth.append(whole[:, origin : origin + HORIZON].T)
        drawn, truth = torch.stack(drawn).numpy(), np.stack(truth)
        total = mean_wquantile_loss(*sum_over_dimensions(drawn, truth))
        assert score == pytest.approx(
            np.sqrt(total * np.mean(energy_score(drawn, truth))), rel=1e-4
        )
    assert found.share == (0.5 if found.scores[1.0] < found.scores[0.0] else 0.0)


@contracts
def test_without_held_out_windows_the_gaussian_serves(weighing):
    model, data, held = weighing
    found = weigh(model, data, held[:0], SamplingConfig(), seed=1)
    assert found == Weighed(0.0, {}, 0)
    assert float(model.denoiser.share) == float(model.trajectories.share) == 0
    assert "too little data" in found.sentence


@contracts
def test_where_nothing_is_held_out_the_network_is_used_as_it_is(folder):
    made = make(folder, [waves()], train=TRAIN._replace(held_out=0))
    assert float(share(made)) == 1 and set(made.choices) == {
        "cycles",
        "penalty",
        "origins",
        "threads",
    }


@contracts
def test_what_was_chosen_for_constant_data_can_be_told():
    found = Weighed(0.0, {0.0: 0.0, 1.0: 0.0}, 7).sentence
    assert "7 held-out" in found and "linear forecaster alone" in found


@contracts
def test_constant_data_are_forecast_as_they_are(folder):
    data = {**entry(), "target": np.full((D, 120), 7.0, dtype=np.float32)}
    with pytest.warns(UserWarning, match="constant"):
        made = make(folder, [data], progress=True)
    np.testing.assert_allclose(paths(made, [data]), 7, atol=1e-3)


@invariances
def test_training_goes_on_from_a_predictor_whatever_its_share(folder):
    found = []
    for value in (1.0, 0.0):
        start = make(folder, [waves()])
        start.prediction_net.use(value)
        made = estimator(folder, model=LINEAR).train_from(start, [waves()])
        found.append(dict(made.prediction_net.named_parameters()))
    for name, parameter in found[0].items():
        assert torch.equal(parameter, found[1][name]), name


@contracts
@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_student_is_all_of_a_network_whatever_the_share_of_its_teacher(folder, value):
    teacher = make(folder, [waves()])
    teacher.prediction_net.use(value)
    before = weights(teacher.prediction_net)
    config = DistillConfig(train_steps=2, batch_size=4)
    student = distill(teacher, [waves()], 2, config=config, progress=False)
    assert student.choices == {**teacher.choices, "distillation_threads": 1}
    assert student.choices["cycles"] == [8]
    assert same_weights(weights(teacher.prediction_net), before)
    model = student.prediction_net
    assert float(model.denoiser.share) == 1
    for name, parameter in model.named_parameters():
        kept = np.array_equal(parameter.detach().numpy(), before[name])
        assert kept != name.startswith("denoiser.network"), name
    for name in ("centre.coefficients", "denoiser.modes", "innovations.size"):
        np.testing.assert_array_equal(model.state_dict()[name].numpy(), before[name])
    assert np.isfinite(paths(student, [waves()])).all()


@contracts
@pytest.mark.parametrize("centre", ["linear", "none"])
def test_training_sees_a_future_drawn_in_and_a_density_as_it_was(folder, centre):
    model = make(folder, [waves()], LINEAR._replace(centre=centre)).prediction_net
    found = {}
    for away in (1e3, 1e4):
        data = waves(90)
        data["target"][1, -2] += away
        windows = WindowData([read_entry(data)], model.shape)
        batch = windows.windows(windows.ends)
        assert batch.target.max() > LARGEST
        for outliers in (False, True):
            found[away, outliers] = model.teach(batch, outliers=outliers)
        drawn_in = batch._replace(target=batch.target.clamp(-LARGEST, LARGEST))
        torch.testing.assert_close(found[away, False].x0, model.teach(drawn_in, outliers=True).x0)
    assert torch.equal(found[1e3, False].x0, found[1e4, False].x0)
    ratio = found[1e4, True].x0[0, -2, 1] / found[1e3, True].x0[0, -2, 1]
    assert 9 < ratio < 11
    for away in (1e3, 1e4):  # later steps are not conditioned on what is far out
        assert torch.equal(found[away, True].cond, found[away, False].cond)


@contracts
@pytest.mark.parametrize("centre", ["linear", "none"])
def test_a_loss_may_be_asked_about_some_positions(folder, centre):
    train = TRAIN._replace(positions=0.5)
    made = make(folder, [waves()], LINEAR._replace(centre=centre), train=train)
    assert np.isfinite(paths(made, [waves()])).all()


@identities
@pytest.mark.parametrize("centre", ["linear", "none"])
def test_paths_are_what_a_model_of_their_own_density_finds_again(folder, centre):
    """Teaching a path's own values gives the innovations that it was drawn from."""
    train = TRAIN._replace(held_out=0)
    made = make(folder, [waves()], LINEAR._replace(centre=centre, support="none"), train=train)
    model, data = made.prediction_net, waves(90, seed=4)
    drawn = paths(made, [data], num_samples=3)[0]
    noted = []
    original = model.placement

    def noting(past, rows, so_far, t):
        start, size = original(past, rows, so_far, t)
        noted.append((start, size))
        return start, size

    model.placement = noting
    again = paths(made, [data], num_samples=3)[0]
    np.testing.assert_array_equal(again, drawn)
    for s in range(3):
        whole = {**data, "target": np.concatenate([data["target"], drawn[s].T], axis=1)}
        windows = WindowData([read_entry(whole)], model.shape)
        batch = windows.windows(windows.ends)
        forecast = forecast_batch([read_entry(data)], model.shape)
        scaled = (torch.tensor(drawn[s]) - forecast.location[0]) / forecast.scale[0]
        for t in range(HORIZON):
            start, size = noted[t]
            z = (scaled[t] - (start[s] if centre == "linear" else start)) / size
            taught = model.teach(batch).x0[0, -HORIZON + t]
            torch.testing.assert_close(taught, z.to(taught), rtol=1e-3, atol=1e-3)


@contracts
@pytest.mark.parametrize(
    ("freq", "model", "expected"),
    [
        ("h", LINEAR._replace(cycles=[24, 168]), ([24, 168], 4.0, 8.0, 6)),
        ("h", LINEAR._replace(cycles=None), ([24, 168], 4.0, 8.0, 6)),
        ("B", LINEAR._replace(cycles=None), ([1], 0.05, 100.0, 2)),
        (
            "h",
            LINEAR._replace(cycles=[24], half_life=2.0, scale_half_life=5.0),
            ([24], 2.0, 5.0, 4),
        ),
        ("h", LINEAR._replace(cycles=[24], centre="none"), ([24], 4.0, 8.0, 0)),
    ],
)
def test_the_shape_of_adaptive_units_follows_from_options_and_frequency(freq, model, expected):
    found = adaptive_shape(model, freq)
    own = (found["cycles"], found["half_life"], found["scale_half_life"], len(found["profiles"]))
    assert own == expected


@oracles
def test_every_series_has_its_share_of_the_origins(folder, monkeypatch):
    monkeypatch.setattr("timediff.gluon.linear.ORIGINS", 100)
    made = make(folder, [waves()])
    data = WindowData([read_entry(waves(300, seed=k)) for k in range(2)], made.prediction_net.shape)
    origins = fit_on(data, most_errors=1000).origins
    ends = data.lengths.add(data.first).cumsum(0)
    counts = [int((origins < ends[0]).sum()), int((origins >= ends[0]).sum())]
    assert counts == [50, 50]


@oracles
@pytest.mark.parametrize("count", [500, 501, 1000, 1200, 5000])
def test_origins_are_of_all_the_past_and_of_all_positions_of_a_cycle(count):
    rows = _spread(torch.arange(count), 500)
    assert len(rows) == 500 and (rows.diff() > 0).all() and rows[-1] < count
    assert torch.equal(rows, _spread(torch.arange(count), 500))
    # Shares within five standard deviations of a draw.
    for shares in ((rows * 5 // count).bincount(), (rows % 4).bincount(), (rows % 24).bincount()):
        expected = 500 / len(shares)
        assert (shares - expected).abs().max() < 5 * expected**0.5


@oracles
def test_windows_of_which_little_is_known_are_not_held_out(folder):
    made, one = make(folder, [waves()]), waves(200)
    one["target"][:, -2 * HORIZON :] = np.nan  # two windows without anything
    one["target"][: D - 1, -4 * HORIZON : -3 * HORIZON] = np.nan  # one with a series alone
    data = WindowData([read_entry(one)], made.prediction_net.shape)
    rest, held = data.hold_out(3)
    back = (data.first + 200 - held) // HORIZON
    assert back.tolist() == [6, 5, 3]
    for start in rest.starts.tolist():
        assert all(abs(start - at) >= HORIZON for at in held.tolist())
    assert len(rest.starts) == len(data.starts) - sum(
        any(abs(start - at) < HORIZON for at in held.tolist()) for start in data.starts.tolist()
    )


@contracts
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("count", [1, 7, 10, 25])
def test_all_steps_of_all_paths_are_reported(weighing, value, count):
    model, *_ = weighing
    model.use(value)
    batch = forecast_batch([read_entry(waves(200))], model.shape)
    reported = []
    drawn = model.sample(batch, num_samples=count, seeds=[0], on_step=reported.append)
    assert drawn.shape[1] == count and sum(reported) == model.steps_of(count)


@contracts
def test_many_held_out_windows_are_thinned(weighing, monkeypatch):
    model, data, held = weighing
    monkeypatch.setattr("timediff.gluon.linear.WEIGHED_ON", 2)
    assert weigh(model, data, held, SamplingConfig(), seed=1).windows == -(
        -len(held) // -(-len(held) // 2)
    )


@contracts
def test_a_training_that_diverges_is_told_in_a_sentence(folder):
    train = TRAIN._replace(learning_rate=1e30, gradient_clip=0.0, steps=20)
    with pytest.raises(InputError, match=r"training diverged.*lower learning_rate"):
        make(folder, [waves()], train=train)
