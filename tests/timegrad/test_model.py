"""TimeGrad as a whole: what its loss and its paths depend on, and what they must not depend on."""

from functools import partial

import pytest
import torch
import toys
from groups import contracts, cross_checks, identities, invariances, oracles
from toys import Exact, point, record, stir

from timediff.config import ModelConfig, SamplingConfig
from timediff.registry import NORMALISATIONS
from timediff.timegrad.batch import Batch, Shape
from timediff.timegrad.model import TimeGrad
from timediff.timegrad.reverse import FEW_STEPS
from timediff.timegrad.sampling import chunks_of

pytestmark = pytest.mark.usefixtures("float64")

SMALL = ModelConfig(
    variance="small",
    difference=0,
    num_layers=2,
    hidden_size=8,
    cond_size=6,
    denoiser_layers=2,
    denoiser_width=8,
    diffusion_steps=12,
    beta_end=0.4,
    scaling="mean",
    parameterisation="noise",
)
D, T, C = 3, 6, 5
LAGS = [1, 4, 9]

# "adaptive" is made before windows are cut (test_adaptive.py, test_linear.py).
every_scaling = pytest.mark.parametrize("scaling", [s for s in NORMALISATIONS if s != "adaptive"])
every_denoiser = pytest.mark.parametrize("denoiser", ["conv", "mlp", "attention"])


def make(*, dim=D, horizon=T, context=C, lags=LAGS, features=2, device="cpu", **config):
    """A model with weights that make its answer depend on everything."""
    config = SMALL._replace(**config)
    shape = Shape(dim, horizon, context, lags, features, config.difference)
    torch.manual_seed(1)
    model = stir(TimeGrad(config, shape).to(device)).eval()
    model.training_scale[:] = torch.tensor([[0.7], [1.6]], device=device)
    return model


def windows(model, count=2, *, future=True, missing=0.2):
    shape, device = model.shape, model.training_scale.device
    length = shape.history_length + (shape.horizon if future else 0)
    target = 3 + 2 * torch.randn(count, length, shape.target_dim)
    observed = torch.rand(target.shape) > missing
    # Every dimension's last cycle is known, so that forecasts of changes have a place to start.
    end = shape.history_length
    observed[:, end - max(1, shape.difference) : end] = True
    near = shape.context_length + shape.horizon
    features = torch.randn(count, near, shape.num_features)
    return Batch(target.to(device), observed.to(device), features.to(device))


def draws(model, count=2):
    """Diffusion steps and noise for `TimeGrad.loss`."""
    length = model.shape.context_length + model.shape.horizon
    n = torch.randint(1, model.schedule.num_steps + 1, (count, length))
    eps = torch.randn(count, length, model.shape.target_dim)
    device = model.training_scale.device
    return {"n": n.to(device), "eps": eps.to(device)}


def rows(batch, index):
    return batch.rows(index)


close = partial(toys.close, tolerance=1e-8)


# ------------------------------------------------------------------------------------------- loss


@invariances
@every_scaling
@every_denoiser
@pytest.mark.parametrize("difference", [0, 2])
def test_unobserved_entries_do_not_change_the_loss(scaling, denoiser, difference, device):
    model = make(scaling=scaling, denoiser=denoiser, difference=difference, device=device)
    batch, given = windows(model), draws(model)
    error, mask = model.loss(batch, **given)
    assert not batch.observed.all() and error.isfinite().all()
    for filler in (1e6, float("nan"), float("inf")):
        target = torch.where(batch.observed, batch.target, filler)
        same, same_mask = model.loss(batch._replace(target=target), **given)
        assert torch.equal(same, error)
        assert torch.equal(same_mask, mask)


@invariances
def test_an_observed_entry_does_change_the_loss():
    model = make()
    batch, given = windows(model, missing=0.0), draws(model)
    target = batch.target.clone()
    target[1, -2, 0] += 1.0  # the step before the last, of the second window
    changed = model.loss(batch, **given)[0] != model.loss(batch._replace(target=target), **given)[0]
    assert changed[1, -2].any() and changed[1, -1].any()
    assert not changed[0].any() and not changed[1, :-2].any()


@contracts
@pytest.mark.parametrize("difference", [0, 2])
def test_mask_is_what_is_known_of_context_and_horizon(difference):
    model = make(difference=difference)
    batch = windows(model)
    error, mask = model.loss(batch, **draws(model))
    known = batch.observed
    if difference:
        # A change is known where both its ends are.
        known = known[:, difference:] & known[:, :-difference]
    assert error.shape == mask.shape == (2, C + T, D)
    assert torch.equal(mask, known[:, -(C + T) :])


@contracts
def test_gradients_stay_finite_where_unobserved_values_are_not():
    model = make()
    batch = windows(model)
    batch = batch._replace(target=torch.where(batch.observed, batch.target, float("nan")))
    error, mask = model.loss(batch, **draws(model))
    error[mask].mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, name


@invariances
@pytest.mark.parametrize("scaling", ["mean", "std"])
@pytest.mark.parametrize("difference", [0, 2])
@pytest.mark.parametrize("factor", [1000.0, 1e-3])
def test_loss_does_not_depend_on_the_unit(scaling, difference, factor):
    model = make(scaling=scaling, difference=difference)
    batch, given = windows(model), draws(model)
    scaled = batch._replace(target=batch.target * factor)
    close(model.loss(scaled, **given)[0], model.loss(batch, **given)[0])


@invariances
def test_scale_comes_from_the_context_alone():
    model = make()
    recording = record(model)
    batch, given = windows(model, missing=0.0), draws(model)
    model.loss(batch, **given)
    target = batch.target.clone()
    target[:, model.shape.history_length :] *= 50  # the future
    target[:, : max(LAGS)] *= 50  # before the context
    model.loss(batch._replace(target=target), **given)
    one, two = recording.inputs
    assert torch.equal(one[:, :C], two[:, :C])


@invariances
def test_loss_of_one_window_does_not_depend_on_the_batch():
    model = make()
    batch, given = windows(model, 3), draws(model, 3)
    error, _ = model.loss(batch, **given)
    alone, _ = model.loss(rows(batch, [1]), n=given["n"][[1]], eps=given["eps"][[1]])
    close(alone[0], error[1])


@contracts
@every_scaling
@pytest.mark.parametrize("value", [0.0, -5.0])
@pytest.mark.parametrize("difference", [0, 2])
def test_constant_and_unseen_windows_give_finite_numbers(scaling, value, difference):
    model = make(scaling=scaling, difference=difference)
    batch = windows(model)
    batch = batch._replace(target=torch.full_like(batch.target, value))
    batch.observed[1] = False
    error, mask = model.loss(batch, **draws(model))
    assert error.isfinite().all() and not mask[1].any()
    past = batch._replace(
        target=batch.target[:, : model.shape.history_length],
        observed=batch.observed[:, : model.shape.history_length],
    )
    assert model.sample(past, num_samples=2, seeds=[0, 1]).isfinite().all()


# ----------------------------------------------------------------------------------------- sample


@contracts
@every_denoiser
@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("num_samples", [1, 20, 33])
def test_sample_shape(denoiser, dim, num_samples, device):
    model = make(denoiser=denoiser, dim=dim, device=device)
    batch = windows(model, 3, future=False)
    paths = model.sample(batch, num_samples=num_samples, seeds=[0, 1, 2])
    assert paths.shape == (3, num_samples, T, dim)
    assert paths.device.type == "cpu" and paths.isfinite().all()
    # Windows, paths and steps all differ.
    assert paths.flatten().unique().numel() == paths.numel()


@invariances
@every_denoiser
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_same_seed_same_paths_for_any_chunk_size(denoiser, cell, device):
    model = make(denoiser=denoiser, cell=cell, device=device)
    batch = windows(model, 3, future=False)
    given = {"num_samples": 50, "seeds": [5, 6, 7]}
    paths = model.sample(batch, **given)
    close(model.sample(batch, **given, memory=1), paths)
    four_streams = 4.5 * 20 * model.bytes_per_path()
    close(model.sample(batch, **given, memory=four_streams), paths)


@invariances
@pytest.mark.parametrize("memory", [1, 1e9])
def test_same_seed_same_paths_for_any_number_of_workers(memory, monkeypatch):
    model = make()
    batch = windows(model, 3, future=False)
    given = {"num_samples": 50, "seeds": [5, 6, 7], "memory": memory}
    alone, steps, threads = model.sample(batch, **given), [], torch.get_num_threads()
    monkeypatch.setattr("timediff.timegrad.sampling.WORTH_A_WORKER", 1)
    monkeypatch.setattr("timediff.timegrad.sampling.workers_for", lambda device: 4)
    # A bound of memory that holds one chunk holds one worker.
    assert chunks_of(model, 15, SamplingConfig(), memory)[0] == (1 if memory == 1 else 4)
    close(model.sample(batch, **given, on_step=steps.append), alone)
    assert sum(steps) == 3 * 50 * T
    assert torch.get_num_threads() == threads


@contracts
def test_what_on_step_raises_comes_out_of_the_workers(monkeypatch):
    model = make()
    monkeypatch.setattr("timediff.timegrad.sampling.WORTH_A_WORKER", 1)
    monkeypatch.setattr("timediff.timegrad.sampling.workers_for", lambda device: 2)

    def stop(paths):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        model.sample(windows(model, 3, future=False), num_samples=50, seeds=[1, 2, 3], on_step=stop)


@invariances
def test_paths_do_not_depend_on_the_batch(device):
    model = make(device=device)
    batch = windows(model, 3, future=False)
    seeds = [11, 12, 13]
    paths = model.sample(batch, num_samples=25, seeds=seeds)
    order = [2, 0]
    mixed = model.sample(
        rows(batch, order), num_samples=25, seeds=[seeds[i] for i in order], memory=1
    )
    close(mixed, paths[order])
    close(model.sample(rows(batch, [1]), num_samples=25, seeds=[12])[0], paths[1])


@invariances
def test_more_paths_begin_with_the_fewer():
    model = make()
    batch = windows(model, future=False)
    paths = model.sample(batch, num_samples=40, seeds=[3, 4])
    for fewer in (20, 7):
        close(model.sample(batch, num_samples=fewer, seeds=[3, 4]), paths[:, :fewer])


@invariances
def test_another_seed_gives_other_paths():
    model = make()
    batch = rows(windows(model, future=False), [0, 0])
    one, two = model.sample(batch, num_samples=3, seeds=[3, 4])
    assert (one != two).all()


@contracts
def test_sampling_leaves_no_trace():
    model = make()
    batch = windows(model, future=False)
    before = (
        [part.clone() for part in batch[:3]],
        {k: v.clone() for k, v in model.state_dict().items()},
    )
    lags, state = list(model.shape.lags), torch.get_rng_state()
    first = model.sample(batch, num_samples=3, seeds=[3, 4])
    assert torch.equal(model.sample(batch, num_samples=3, seeds=[3, 4]), first)
    for part, old in zip(batch[:3], before[0], strict=True):
        assert torch.equal(part, old)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[1][key]), key
    assert model.shape.lags == lags
    assert torch.equal(torch.get_rng_state(), state)


@invariances
@pytest.mark.parametrize("difference", [0, 2])
def test_unobserved_entries_do_not_change_the_paths(difference):
    model = make(difference=difference)
    batch = windows(model, future=False)
    paths = model.sample(batch, num_samples=3, seeds=[3, 4])
    for filler in (1e6, float("nan")):
        other = batch._replace(target=torch.where(batch.observed, batch.target, filler))
        assert torch.equal(model.sample(other, num_samples=3, seeds=[3, 4]), paths)


@invariances
@pytest.mark.parametrize("scaling", ["mean", "std"])
@pytest.mark.parametrize("difference", [0, 2])
@pytest.mark.parametrize("factor", [1000.0, 1e-3])
def test_paths_scale_with_the_data(scaling, difference, factor):
    model = make(scaling=scaling, difference=difference)
    batch = windows(model, future=False)
    paths = model.sample(batch, num_samples=3, seeds=[3, 4])
    scaled = batch._replace(target=batch.target * factor)
    close(model.sample(scaled, num_samples=3, seeds=[3, 4]) / factor, paths)


@invariances
@pytest.mark.parametrize(("scaling", "difference"), [("std", 0), ("mean", 1), ("none", 3)])
def test_paths_shift_with_the_data(scaling, difference):
    model = make(scaling=scaling, difference=difference)
    batch = windows(model, future=False)
    paths = model.sample(batch, num_samples=3, seeds=[3, 4])
    shifted = batch._replace(target=batch.target + 70)
    close(model.sample(shifted, num_samples=3, seeds=[3, 4]), paths + 70)


@invariances
def test_global_scaling_uses_the_training_data():
    model = make(scaling="global")
    batch = windows(model, future=False)
    paths = model.sample(batch, num_samples=3, seeds=[3, 4])
    model.training_scale *= 10
    larger = model.sample(batch._replace(target=batch.target * 10), num_samples=3, seeds=[3, 4])
    close(larger, paths * 10)


@contracts
def test_weights_and_training_scale_travel_in_the_state_dict():
    model, other = make(scaling="global"), make(scaling="global")
    batch = windows(model, future=False)
    with torch.no_grad():
        for tensor in other.state_dict().values():
            tensor.zero_()
    other.load_state_dict(model.state_dict())
    given = {"num_samples": 3, "seeds": [3, 4]}
    assert torch.equal(other.sample(batch, **given), model.sample(batch, **given))


# ------------------------------------------------------------------------------------ differences


LEVEL = 5.0  # of the training data


def integrated(changes, target, observed, cycle):
    """One dimension of one path, by hand."""
    series = list(zip(target.tolist(), observed.tolist(), strict=True))
    values = []
    for t, change in enumerate(changes.tolist()):
        if t >= cycle:
            before = values[t - cycle]
        else:
            place = [series[i] for i in range(len(series) + t - cycle, -1, -cycle)]
            before = next((value for value, known in [*place, *series[::-1]] if known), LEVEL)
        values.append(before + change)
    return torch.tensor(values)


@cross_checks
@pytest.mark.parametrize("cycle", [1, 24])
@pytest.mark.parametrize("last_known", [True, False])
def test_forecasts_add_up_the_changes(cycle, last_known, device):
    horizon = 30
    settings = {"horizon": horizon, "scaling": "global", "device": device}
    model, of_changes = make(difference=cycle, **settings), make(**settings)
    model.training_level[:] = LEVEL
    batch = windows(model, future=False)
    if not last_known:
        batch.observed[:, -3:, 1] = False  # the last steps of one dimension
        batch.observed[0, :, 2] = False  # a whole dimension
    # The same weights on the changes themselves: what the model draws before it adds up.
    both = batch.observed[:, cycle:] & batch.observed[:, :-cycle]
    changes = Batch(batch.target[:, cycle:] - batch.target[:, :-cycle], both, batch.features)
    given = {"num_samples": 2, "seeds": [3, 4]}
    drawn, paths = of_changes.sample(changes, **given), model.sample(batch, **given)
    for b in range(2):
        for s in range(2):
            for d in range(D):
                expected = integrated(
                    drawn[b, s, :, d], batch.target[b, :, d], batch.observed[b, :, d], cycle
                )
                close(paths[b, s, :, d], expected)


# ------------------------------------------------------------------- training and sampling agree


@identities
@every_denoiser
@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("difference", [0, 2])
@pytest.mark.parametrize("scaling", ["mean", "global"])
def test_sampling_conditions_are_those_of_training(denoiser, cell, difference, scaling, device):
    model = make(
        denoiser=denoiser, cell=cell, difference=difference, scaling=scaling, device=device
    )
    recording = record(model)
    past = windows(model, 1, future=False)
    paths = model.sample(past, num_samples=20, seeds=[9])[0].to(device)  # [S, T, D]
    decoded = torch.stack(recording.conditions, dim=1)  # [S, T, C]
    recording.conditions.clear()
    # The loss of each path, as if it were what happened.
    past = rows(past, [0] * 20)
    known = torch.ones_like(paths, dtype=torch.bool)
    batch = Batch(
        torch.cat([past.target, paths], dim=1),
        torch.cat([past.observed, known], dim=1),
        past.features,
    )
    model.loss(batch, **draws(model, 20))
    (forced,) = recording.conditions  # [S, C + T, C]
    assert decoded.shape == (20, T, SMALL.cond_size)
    close(decoded, forced[:, -T:])
    # Not because conditions are all alike: after the first step paths go their own ways.
    assert decoded[:, 1:].std(dim=0).min() > 1e-4


@contracts
@pytest.mark.parametrize(
    ("sampling_steps", "diffusion_steps", "calls"),
    [(None, 40, FEW_STEPS), (None, 2, 2), (1, 12, 1), (5, 12, 5), (12, 12, 12)],
)
def test_denoiser_is_called_as_often_as_announced(sampling_steps, diffusion_steps, calls):
    model, sampling = make(diffusion_steps=diffusion_steps), SamplingConfig(steps=sampling_steps)
    recording = record(model)
    told = []
    paths = model.sample(
        windows(model, future=False),
        num_samples=25,
        seeds=[3, 4],
        sampling=sampling,
        on_step=told.append,
    )
    assert len(recording.inputs) == model.network_calls(sampling) == T * calls
    assert len(recording.conditions) == T
    # Two windows of 25 paths are six streams of 10.
    assert sum(told) == 6 * 10 * T
    assert paths.isfinite().all()


@contracts
@every_denoiser
def test_more_than_500_diffusion_steps(denoiser):
    model = make(denoiser=denoiser, diffusion_steps=600, beta_end=0.02, horizon=2)
    error, _ = model.loss(windows(model), **draws(model))
    assert error.isfinite().all()
    past = windows(model, future=False)
    assert model.sample(past, num_samples=1, seeds=[3, 4]).isfinite().all()


@oracles
@every_scaling
@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("sampling_steps", [None, 4])
def test_the_exact_denoiser_gives_the_forecast_in_data_units(scaling, variance, sampling_steps):
    model = make(scaling=scaling, variance=variance)
    sampling = SamplingConfig(sampler="ancestral", steps=sampling_steps)
    place = torch.tensor([0.5, -1.0, 2.0])
    model.denoiser = Exact(lambda cond: point(place))
    batch = windows(model, future=False)
    paths = model.sample(batch, num_samples=3, seeds=[3, 4], sampling=sampling)
    context = slice(-C, None)
    target = torch.where(batch.observed, batch.target, 0.0)
    loc, scale = NORMALISATIONS[scaling](
        target[:, context], batch.observed[:, context], model.training_scale
    )
    expected = (loc + scale * place)[:, None]  # [B, 1, 1, D]
    close(paths, expected.expand_as(paths))
