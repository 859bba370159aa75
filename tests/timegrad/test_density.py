"""Likelihoods of windows: closed forms, the data's own units, and windows that cannot be scored."""

import math

import pytest
import torch
from groups import contracts, identities, invariances, oracles
from tiny import HORIZON, MODEL, entry, estimator
from toys import Exact, Gaussian, stir

from timediff.config import ModelConfig
from timediff.diffusion.bound import prior_term
from timediff.diffusion.latent import Recorder, invert
from timediff.diffusion.samplers.ddim import ddim
from timediff.errors import InputError
from timediff.timegrad.batch import Batch, Shape
from timediff.timegrad.density import complete, window_density
from timediff.timegrad.model import TimeGrad

D, T = 3, 4
SMALL = ModelConfig(
    difference=0,
    num_layers=1,
    hidden_size=6,
    cond_size=4,
    denoiser_layers=1,
    denoiser_width=8,
    # Down to an SNR of 1e-7, so that the bound's last term is none to speak of.
    diffusion_steps=400,
    beta_start=1e-3,
    beta_end=0.08,
    scaling="mean",
    parameterisation="noise",
    variance="large",
)


def make(**config):
    config = SMALL._replace(**config)
    torch.manual_seed(1)
    return TimeGrad(config, Shape(D, T, 6, [1, 3], 2, config.difference)).eval()


def windows(model, count=2):
    length = model.shape.history_length + T
    near = model.shape.context_length + T
    target = 3 + torch.randn(count, length, D)
    observed = torch.ones(count, length, D, dtype=torch.bool)
    return Batch(target, observed, torch.randn(count, near, 2))


def density(model, batch, seed=0):
    return window_density(model, batch, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def coarse(monkeypatch):
    """Few steps of the ODE, where its accuracy is not the question."""
    monkeypatch.setattr("timediff.timegrad.density.ODE_STEPS", 4)


@oracles
@pytest.mark.parametrize("difference", [0, 2])
def test_standard_normal_in_scaled_units(float64, difference):
    model = make(difference=difference)
    model.denoiser = Exact(lambda cond: Gaussian(torch.zeros(D), torch.eye(D)))
    batch = windows(model)
    found = density(model, batch)
    taught = model.teach(batch)
    x0, scale = taught.x0[:, -T:], taught.scale
    # With data N(0, 1) the first noise level has the variance 1 + (sigma_1 / alpha_1)^2.
    rho = (model.schedule.points[1].sigma / model.schedule.points[1].alpha) ** 2
    nll = 0.5 * (x0**2 / (1 + rho) + math.log(2 * math.pi * (1 + rho))) + scale.log()
    torch.testing.assert_close(found.nll, nll.sum(dim=(1, 2)), rtol=0, atol=5e-3)
    assert torch.equal(found.nll_error, torch.zeros(2))
    # The chain's own law is N(0, 1) up to its discretisation; the bound is random through its noise.
    repeated = batch.rows([*range(2)] * 20)
    bounds = density(model, repeated, seed=1).bound.sum(dim=0).view(20, 2) + found.log_scale
    truth, error = nll.sum(dim=(1, 2)), bounds.std(dim=0) / 20**0.5
    assert ((bounds.mean(dim=0) - truth).abs() < 5 * error + 0.02 * T * D).all()


@invariances
@pytest.mark.parametrize("variance", ["small", "large", "learned"])
def test_the_unit_of_the_data_costs_its_logarithm(float64, coarse, variance):
    model = make(variance=variance, parameterisation="v", diffusion_steps=20, beta_end=0.4)
    batch = windows(model)
    one = density(model, batch)
    ten = density(model, batch._replace(target=10 * batch.target))
    torch.testing.assert_close(one.bound, ten.bound)
    more = torch.full((2,), T * D * math.log(10))
    torch.testing.assert_close(ten.log_scale - one.log_scale, more)
    torch.testing.assert_close(ten.nll - one.nll, more)


@oracles
def test_above_the_limit_the_trace_is_estimated(float64, coarse, monkeypatch):
    model = make(parameterisation="v", diffusion_steps=20, beta_end=0.4)
    stir(model.denoiser)
    batch = windows(model)
    exact = density(model, batch)
    monkeypatch.setattr("timediff.timegrad.density.EXACT_TRACE_DIM", 2)
    estimated = density(model, batch)
    assert (estimated.nll_error > 0).all()
    assert ((estimated.nll - exact.nll).abs() < 5 * estimated.nll_error).all()
    again = density(model, batch)
    assert torch.equal(estimated.nll, again.nll)


@contracts
@pytest.mark.parametrize(
    ("step", "difference", "kept"), [(-1, 0, False), (-5, 0, True), (-5, 2, False)]
)
def test_windows_with_a_gap_in_what_is_scored_are_not_complete(step, difference, kept):
    model = make(difference=difference)
    batch = windows(model)
    batch.observed[1, step, 2] = False
    assert complete(batch, model=model).tolist() == [True, kept]


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    made = estimator(tmp_path_factory.mktemp("density"), model=MODEL._replace(beta_end=0.7))
    return made.train([entry()])


@contracts
def test_predictor_counts_what_it_leaves_out(predictor, coarse):
    gap = entry(seed=1)
    gap["target"][1, -1] = float("nan")
    both, left_out = predictor.density([entry(), gap], progress=False)
    (alone, none) = predictor.density([entry()], progress=False)
    assert (left_out, none) == (1, 0)
    assert len(both.nll) == 1 and both.bound.shape == (MODEL.diffusion_steps + 1, 1)
    torch.testing.assert_close(both.nll, alone.nll)
    with pytest.raises(InputError, match="none of 1 windows"):
        predictor.density([gap], progress=False)


@contracts
def test_a_likelier_future_has_a_higher_likelihood(predictor, coarse):
    odd = entry()
    odd["target"][:, -HORIZON:] += 30
    usual, _ = predictor.density([entry()], progress=False)
    strange, _ = predictor.density([odd], progress=False)
    assert strange.nll > usual.nll
    assert strange.bound.sum() > usual.bound.sum()


# ------------------------------------------------------------- the model of a future, as views take it


@identities
def test_views_work_on_the_future_of_an_entry(predictor):
    denoiser, schedule, x0, scale = predictor.future([entry(), entry(seed=1)])
    assert x0.shape == (2, HORIZON, D) and scale.shape == (2, 1, D)
    recorder = Recorder(denoiser)
    drawn = ddim(recorder, schedule, torch.randn_like(x0), lambda: torch.randn_like(x0))
    assert len(recorder.x0) == schedule.num_steps
    torch.testing.assert_close(recorder.x0[-1], drawn)
    encoded = invert(denoiser, schedule, x0, iterations=30)
    decoded = ddim(denoiser, schedule, encoded, lambda: torch.randn_like(x0))
    torch.testing.assert_close(decoded, x0, rtol=1e-3, atol=1e-3)


@identities
def test_the_bound_of_a_future_is_that_of_its_density(predictor, coarse):
    density, _ = predictor.density([entry()], seed=3, progress=False)
    _, schedule, x0, scale = predictor.future([entry()])
    torch.testing.assert_close(
        density.bound[-1], prior_term(schedule, x0).double().sum()[None], rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(density.log_scale, HORIZON * scale.double().log().sum()[None])


@contracts
def test_a_future_with_gaps_is_refused(predictor):
    gap = entry()
    gap["target"][1, -1] = float("nan")
    for bad in (gap, entry(length=HORIZON)):
        with pytest.raises(InputError, match="missing targets"):
            predictor.future([entry(), bad])


@contracts
def test_series_that_are_too_short_are_no_windows(predictor, coarse):
    for call in (predictor.density, predictor.future):
        with pytest.raises(InputError):
            call([entry(length=HORIZON)])
        with pytest.raises(InputError, match="holds no series"):
            call([])
    found, left_out = predictor.density([entry(), entry(length=HORIZON)], progress=False)
    assert len(found.nll) == 1 and left_out == 1
