"""Every piece of the theory as an option of the whole model: what it changes and what it must not."""

import inspect

import pytest
import torch
from groups import contracts, identities, invariances
from toys import record, stir

from timediff.config import ModelConfig, SamplingConfig
from timediff.options import fields_of, options_in_source, options_of
from timediff.registry import (
    SAMPLERS,
    SCHEDULES,
    TABLES,
    WEIGHTINGS,
)
from timediff.timegrad.batch import Batch, Shape
from timediff.timegrad.model import TimeGrad

pytestmark = pytest.mark.usefixtures("float64")

D, T = 3, 4
SMALL = ModelConfig(
    variance="small",
    difference=0,
    num_layers=1,
    hidden_size=8,
    cond_size=6,
    denoiser_layers=2,
    denoiser_width=8,
    diffusion_steps=12,
    beta_end=0.4,
    scaling="mean",
    lag_noise=0.0,
    dropout=0.0,
)


def make(**config):
    """A model with weights that make its answer depend on everything."""
    config = SMALL._replace(**config)
    torch.manual_seed(1)
    return stir(TimeGrad(config, Shape(D, T, 5, [1, 3], 2, config.difference))).eval()


def windows(model, count=2, *, future=True):
    length = model.shape.history_length + (T if future else 0)
    target = 3 + torch.randn(count, length, D)
    observed = torch.ones(count, length, D, dtype=torch.bool)
    return Batch(target, observed, torch.randn(count, 5 + T, 2))


def draws(model, count=2):
    n = torch.randint(1, SMALL.diffusion_steps + 1, (count, 5 + T))
    return {"n": n, "eps": torch.randn(count, 5 + T, D)}


def with_some(sampler, *, steps, guidance=0.0, **options):
    """A configuration with those of the options that the sampler has."""
    own = {name: value for name, value in options.items() if name in SAMPLERS.options(sampler)}
    return SamplingConfig(sampler=sampler, steps=steps, guidance=guidance, options=own)


every_sampler = pytest.mark.parametrize("sampler", SAMPLERS)


@contracts
def test_the_options_are_those_there_are():
    fields = {**fields_of(ModelConfig), **fields_of(SamplingConfig)}
    kinds = {name: field.kind for name, field in fields.items() if field.kind is not None}
    assert kinds["sampler"] == "sampler" and kinds["spacing"] == "spacing"
    assert kinds["weighting"] == "weighting"
    for name, kind in kinds.items():
        assert fields[name].default in TABLES[kind]


@invariances
@every_sampler
def test_same_seed_same_paths_for_any_chunk_size(sampler):
    model, sampling = make(), with_some(sampler, steps=5, eta=0.5, churn=2.0)
    past = windows(model, future=False)
    options = {"num_samples": 45, "seeds": [3, 4], "sampling": sampling}
    whole = model.sample(past, **options)
    parts = model.sample(past, **options, memory=1.0)
    torch.testing.assert_close(whole, parts, rtol=1e-10, atol=1e-10)
    assert whole.isfinite().all() and whole.std(dim=1).min() > 0


@contracts
@every_sampler
@pytest.mark.parametrize("guidance", [0.0, 0.5])
@pytest.mark.parametrize("steps", [1, 4, None])
def test_the_network_is_called_as_often_as_announced(sampler, guidance, steps):
    model = make(condition_dropout=0.1)
    sampling = with_some(sampler, steps=steps, guidance=guidance, corrections=2)
    asked = record(model).inputs
    model.sample(windows(model, future=False), num_samples=3, seeds=[1, 2], sampling=sampling)
    assert len(asked) == model.network_calls(sampling)


@contracts
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("denoiser", ["conv", "mlp", "attention"])
def test_every_schedule_trains_and_forecasts(schedule, denoiser):
    model = make(schedule=schedule, denoiser=denoiser)
    error, _ = model.loss(windows(model), **draws(model))
    error.mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert model.sample(windows(model, future=False), num_samples=3, seeds=[1, 2]).isfinite().all()


@identities
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_weighting_multiplies_the_error_of_its_step(weighting):
    plain, weighted = make(), make(weighting=weighting)
    batch, given = windows(plain), draws(plain)
    weight = WEIGHTINGS[weighting](plain.schedule, given["n"])[..., None]
    expected = weight * plain.loss(batch, **given)[0]
    torch.testing.assert_close(weighted.loss(batch, **given)[0], expected)


@identities
def test_the_hybrid_loss_teaches_the_variance_and_leaves_the_mean_alone():
    batch, gradients = windows(make()), {}
    given = draws(make())
    for weight in (0.0, 0.5):
        model = make(variance="learned", hybrid_weight=weight)
        model.loss(batch, **given)[0].mean().backward()
        gradients[weight] = model.denoiser.output.weight.grad  # [2 * D, width]
    without, with_bound = gradients[0.0], gradients[0.5]
    torch.testing.assert_close(without[:D], with_bound[:D])
    assert not without[D:].any() and with_bound[D:].abs().min() > 0


@identities
def test_guidance_goes_from_no_condition_through_the_condition_and_beyond():
    model = make(condition_dropout=0.1, scaling="none")
    one, other = windows(model, 1, future=False), windows(model, 1, future=False)

    def paths(batch, guidance):
        sampling = SamplingConfig(guidance=guidance)
        return model.sample(batch, num_samples=3, seeds=[7], sampling=sampling)

    # Without the condition the past makes no difference; at 0 the option is off.
    torch.testing.assert_close(paths(one, -1.0), paths(other, -1.0))
    assert (paths(one, 0.0) != paths(other, 0.0)).all()
    unguided = model.sample(one, num_samples=3, seeds=[7])
    assert torch.equal(paths(one, 0.0), unguided)
    torch.testing.assert_close(paths(one, 1e-9), unguided, rtol=1e-6, atol=1e-6)
    assert (paths(one, 1.0) != unguided).all()


@contracts
def test_a_model_without_condition_sees_none_in_some_training_steps():
    model = make(condition_dropout=0.5).train()
    seen = record(model).conditions
    model.loss(windows(model, 200), **draws(model, 200))
    blank = (seen[0] == 0).all(dim=-1).double()
    # Five standard errors of a share of one half.
    assert abs(float(blank.mean()) - 0.5) < 5 * 0.5 / blank.numel() ** 0.5
    model.eval().loss(windows(model), **draws(model))
    assert not (seen[1] == 0).all(dim=-1).any()


@identities
def test_self_conditioning_hands_on_the_estimate_of_the_call_before():
    model = make(self_conditioning=True)
    asked = record(model).inputs
    past = windows(model, future=False)
    paths = model.sample(
        past, num_samples=3, seeds=[1, 2], sampling=SamplingConfig("ddim", steps=1)
    )
    assert all(not inputs[:, D:].any() for inputs in asked), (
        "a chain of one call has no call before"
    )
    asked.clear()
    model.sample(past, num_samples=3, seeds=[1, 2], sampling=SamplingConfig("ddim", steps=3))
    firsts, rest = asked[::3], [inputs for i, inputs in enumerate(asked) if i % 3]
    assert all(not inputs[:, D:].any() for inputs in firsts)
    assert all(inputs[:, D:].all() for inputs in rest)
    assert paths.isfinite().all()


@contracts
def test_self_conditioning_is_trained_with_and_without_an_estimate():
    model = make(self_conditioning=True).train()
    asked = record(model).inputs
    for seed in range(12):
        torch.manual_seed(seed)
        model.loss(windows(model), **draws(model))
    with_estimate = [bool(inputs[..., D:].any()) for inputs in asked]
    # A step with an estimate asks twice: for it, and with it.
    assert len(asked) == 12 + sum(with_estimate) and 0 < sum(with_estimate) < 12


@contracts
def test_self_conditioned_steps_teach_every_weight(monkeypatch):
    monkeypatch.setattr("timediff.timegrad.model.SELF_CONDITIONED_SHARE", 1.0)
    model = make(self_conditioning=True).train()
    model.loss(windows(model), **draws(model))[0].mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.denoiser.parameters())


@contracts
@pytest.mark.parametrize("denoiser", ["conv", "mlp", "attention"])
def test_guidance_serves_any_leading_axes(denoiser):
    model = make(denoiser=denoiser, condition_dropout=0.1)
    cond, x = torch.randn(2, 5, SMALL.cond_size), torch.randn(2, 5, D)
    levels, level = model.levels(model.schedule), model.schedule.points[4]
    whole = model.conditional(cond, levels, guidance=0.5)(x, level).x0
    for b in range(2):
        alone = model.conditional(cond[b], levels, guidance=0.5)(x[b], level).x0
        torch.testing.assert_close(whole[b], alone)


@invariances
def test_a_series_that_is_never_seen_does_not_keep_a_learned_schedule_from_learning():
    model = make(schedule="learned").train()
    batch = windows(model)
    batch.observed[..., 1] = False
    model.loss(batch, **draws(model))
    assert model.learned.square.count.sum() == 2 * (5 + T)


@contracts
@every_sampler
def test_the_options_of_a_sampler_are_those_of_its_signature(sampler):
    """Whether read from the source, before anything is imported, or from the function."""
    target = SAMPLERS.parts[sampler].target
    assert options_in_source(target) == options_of(SAMPLERS[sampler])
    names = list(options_of(SAMPLERS[sampler]))
    parameters = inspect.signature(SAMPLERS[sampler]).parameters.values()
    assert names == [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    for option in options_of(SAMPLERS[sampler]).values():
        assert option.help and (option.type is str or option.limits is not None)


@contracts
def test_the_options_of_the_model_are_those_there_are():
    kinds = {name: field.kind for name, field in fields_of(ModelConfig).items()}
    tied = {
        "schedule": "schedule",
        "parameterisation": "parameterisation",
        "loss": "loss",
        "scaling": "normalisation",
        "denoiser": "network",
    }
    for name, kind in tied.items():
        assert kinds[name] == kind and len(TABLES[kind]) > 2
