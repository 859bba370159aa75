"""Training: what is optimised, averaged, validated, logged and kept in a checkpoint."""

import inspect

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from tiny import HORIZON, MODEL, QUIET, TRAIN, Watching, entry, estimator, same_weights, weights
from torch.utils._python_dispatch import TorchDispatchMode

from timediff.errors import InputError
from timediff.timegrad.batch import Batch
from timediff.timegrad.model import TimeGrad
from timediff.tools.precision import matmul_precision
from timediff.training.module import VALIDATION_LEVELS, TimeGradModule, _observed_mean

pytestmark = QUIET


class Watch(Watching, Callback):
    """Keeps the learning rate and the raw weights after every optimiser step."""

    def __init__(self):
        self.rates, self.raw = [], []

    def on_train_batch_start(self, trainer, module, *_):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(self, trainer, module, *_):
        self.raw.append([p.detach().clone() for p in module.model.parameters()])


def fit(folder, *, validation=False, watch=None, **options):
    made = estimator(folder, trainer_kwargs={"callbacks": [watch] if watch else []}, **options)
    return made.train_model([entry()], [entry()] if validation else None)


def validation_loss(module):
    made = estimator("unused", freq="h", target_dim=3)
    loader = made.create_validation_data_loader([entry(), entry(seed=1)], module)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False
    )
    return trainer.validate(module, loader, verbose=False)[0]["val_loss"]


def fresh(model=MODEL, **train):
    return estimator(
        "unused", freq="h", target_dim=3, model=model, train=TRAIN._replace(**train)
    ).create_lightning_module()


def shake(network, seed=0):
    """Noise on the weights: a fresh denoiser says 0 whatever it is asked."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(torch.randn(p.shape, generator=generator) / 2)


@pytest.mark.parametrize("rate", [3e-4, 2e-2])
def test_the_learning_rate_given_is_the_highest_one_used(tmp_path, rate):
    watch = Watch()
    fit(
        tmp_path, watch=watch, train=TRAIN._replace(steps=10, steps_per_epoch=5, learning_rate=rate)
    )
    assert len(watch.rates) == 10
    assert max(watch.rates) == pytest.approx(rate, rel=1e-9)
    assert watch.rates[-1] < rate / 100 and watch.rates[0] < rate / 5


def test_weights_only_move_by_what_adam_may_move_them(tmp_path):
    # Adam's first step is the learning rate in every weight that has a gradient.
    watch = Watch()
    start = [p.detach() for p in fresh().model.parameters()]
    fit(tmp_path, watch=watch, train=TRAIN._replace(weight_decay=0.0))
    moved = torch.cat([(b - a).abs().flatten() for a, b in zip(start, watch.raw[0], strict=True)])
    assert moved.max().item() == pytest.approx(watch.rates[0], rel=1e-2)


def test_the_average_is_the_running_mean_of_the_weights(tmp_path):
    watch = Watch()
    module = fit(tmp_path, watch=watch, train=TRAIN._replace(ema_decay=0.5, steps=9)).trained_net
    average = [p.clone() for p in fresh().model.parameters()]
    for step, raw in enumerate(watch.raw, start=1):
        decay = min(0.5, (1 + step) / (10 + step))
        average = [decay * a + (1 - decay) * p for a, p in zip(average, raw, strict=True)]
    assert len(watch.raw) == 9
    for ours, expected in zip(module.average.parameters(), average, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)
    assert module.forecaster is module.average
    assert not any(p.requires_grad for p in module.average.parameters())


def test_without_decay_there_is_no_average(tmp_path):
    module = fit(tmp_path, train=TRAIN._replace(ema_decay=0.0)).trained_net
    assert module.average is None
    assert module.forecaster is module.model


def test_the_optimiser_holds_the_weights_and_not_their_average():
    module = fresh()
    trained = [p for p in module.parameters() if p.requires_grad]
    assert {id(p) for p in trained} == {id(p) for p in module.model.parameters()}


def test_two_validations_of_the_same_weights_are_equal():
    module = fresh()
    shake(module.average)
    first = validation_loss(module)
    torch.manual_seed(99)
    assert validation_loss(module) == first
    shake(module.average, seed=1)
    assert validation_loss(module) != first


def test_a_forecaster_that_says_nothing_misses_by_the_variance_of_the_noise():
    # 8 levels x 2 windows x 10 steps x 3 dimensions of squared standard normal noise.
    assert validation_loss(fresh()) == pytest.approx(1, abs=5 * np.sqrt(2 / (8 * 2 * 10 * 3)))


def test_validation_has_no_dropout_and_judges_the_average():
    made = estimator(
        "unused", freq="h", target_dim=3, model=MODEL._replace(num_layers=2, dropout=0.9)
    )
    module = made.create_lightning_module()
    shake(module.average)
    loss = validation_loss(module)
    shake(module.model)
    assert validation_loss(module) == loss


def test_validation_visits_every_part_of_the_chain():
    module = estimator(
        "unused", freq="h", target_dim=3, model=MODEL._replace(diffusion_steps=VALIDATION_LEVELS)
    ).create_lightning_module()
    asked = []
    loss = module.average.loss
    module.average.loss = lambda batch, *, n, eps: asked.append(n) or loss(batch, n=n, eps=eps)
    validation_loss(module)
    levels = [sorted(set(n.flatten().tolist())) for n in asked]
    assert levels == [[n] for n in range(1, VALIDATION_LEVELS + 1)]


def test_the_loss_is_the_mean_over_what_was_observed():
    error = torch.tensor([[1.0, 2.0], [4.0, 8.0]])
    assert _observed_mean(error, torch.tensor([[True, False], [True, False]])) == 2.5
    assert _observed_mean(error, torch.zeros(2, 2, dtype=torch.bool)) == 0


def test_unobserved_entries_of_a_batch_change_neither_loss_nor_gradient():
    made = estimator("unused", freq="h", target_dim=3)
    module = made.create_lightning_module()
    gaps = entry()
    gaps["target"][0, 20:30], gaps["target"][2, -HORIZON:] = np.nan, np.nan
    batch = next(iter(made.create_validation_data_loader([gaps], module)))
    assert not batch.observed.all()
    found = []
    for junk in (0.0, 1e6, float("nan")):
        torch.manual_seed(0)
        module.zero_grad()
        target = torch.where(batch.observed, batch.target, junk)
        shape = batch.features.shape[:2]
        n, eps = torch.randint(1, 6, shape), torch.randn(*shape, 3)
        error = module.model.loss(Batch(target, batch.observed, batch.features), n=n, eps=eps)
        _observed_mean(*error).backward()
        found.append([p.grad.clone() for p in module.model.parameters()])
    for gradients in found[1:]:
        for ours, expected in zip(gradients, found[0], strict=True):
            assert torch.isfinite(ours).all()
            torch.testing.assert_close(ours, expected, rtol=0, atol=0)


def test_history_has_one_line_of_losses_for_every_epoch(tmp_path):
    module = fit(tmp_path, validation=True, train=TRAIN._replace(steps=9)).trained_net
    assert [line["epoch"] for line in module.history] == [0, 1, 2]
    for line in module.history:
        assert line.keys() == {"epoch", "train_loss", "val_loss"}
        assert np.isfinite(list(line.values())).all()
    assert len({line["val_loss"] for line in module.history}) == 3


@pytest.mark.parametrize(
    ("steps", "epochs", "done"), [(1, 1, 1), (3, 1, 3), (4, 2, 4), (8, 3, 9), (9, 3, 9)]
)
def test_every_epoch_has_as_many_steps(tmp_path, steps, epochs, done):
    output = fit(tmp_path, validation=True, train=TRAIN._replace(steps=steps, ema_decay=0))
    assert output.trainer.global_step == done
    assert len({line["val_loss"] for line in output.trained_net.history}) == epochs


def test_every_step_and_epoch_draws_its_own_noise(tmp_path, monkeypatch):
    drawn, loss = [], TimeGrad.loss

    def watched(self, batch, *, n, eps, positions):
        drawn.append((n, eps))
        return loss(self, batch, n=n, eps=eps, positions=positions)

    monkeypatch.setattr(TimeGrad, "loss", watched)
    fit(tmp_path, train=TRAIN._replace(steps=9))
    eps = torch.cat([eps.flatten() for _, eps in drawn])
    assert len(drawn) == 9
    assert len(eps.unique()) > 0.999 * len(eps)  # float32 may repeat by chance
    # Levels are uniform on 1 .. N, in standard errors.
    n = torch.cat([n.flatten() for n, _ in drawn]).double()
    levels = torch.arange(1.0, 6.0)
    for level in levels:
        assert ((n == level).double().mean() - 0.2).abs() < 5 * np.sqrt(0.2 * 0.8 / len(n))
    assert eps.mean().abs() < 5 / np.sqrt(len(eps))
    assert (eps.square().mean() - 1).abs() < 5 * np.sqrt(2 / len(eps))


def test_it_is_a_module_of_the_lightning_package_that_gluonts_uses():
    assert issubclass(TimeGradModule, pl.LightningModule)
    assert TimeGradModule.__mro__[1].__module__.startswith("lightning.pytorch")


def test_a_checkpoint_holds_tensors_and_numbers_and_no_hyperparameters(tmp_path):
    output = fit(tmp_path, validation=True)
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert "hyper_parameters" not in checkpoint and not output.trained_net.hparams
    assert checkpoint["optimizer_states"][0]["state"]
    assert checkpoint["lr_schedulers"]
    assert checkpoint["seed"] == TRAIN.seed
    assert checkpoint["history"] == output.trained_net.history


def test_the_average_survives_a_restore_of_the_state_dict_as_gluonts_does_it(training):
    (output, folder), other = training, fresh(seed=7)
    module = output.trained_net
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    other.load_state_dict(checkpoint["state_dict"])
    assert same_weights(weights(other.average), weights(module.average))
    assert not same_weights(weights(other.average), weights(other.model))


def test_a_seed_that_is_left_out_follows_torch():
    torch.manual_seed(4)
    drawn = [fresh(seed=None).seed for _ in range(2)]
    torch.manual_seed(4)
    assert fresh(seed=None).seed == drawn[0] != drawn[1]


def test_the_bar_goes_to_stderr_and_only_when_wanted(tmp_path, capfd):
    fit(tmp_path / "a", progress=True)
    captured = capfd.readouterr()
    assert "training" in captured.err and "train_loss" in captured.err
    assert "training" not in captured.out
    fit(tmp_path / "b", progress=False)
    captured = capfd.readouterr()
    assert "training:" not in captured.err + captured.out


# ------------------------------------------------------ which diffusion steps training looks at


def test_importance_sampling_leaves_the_expected_loss_alone_and_travels(tmp_path, monkeypatch):
    drawn, loss = [], TimeGrad.loss

    def watched(self, batch, *, n, eps, positions):
        drawn.append(n)
        return loss(self, batch, n=n, eps=eps, positions=positions)

    monkeypatch.setattr(TimeGrad, "loss", watched)
    train = TRAIN._replace(steps=12, step_sampling="importance")
    # The bound's weights differ by orders of magnitude, and so do its losses.
    model = MODEL._replace(weighting="bound")
    module = fit(tmp_path, train=train, model=model).trained_net
    assert (module.steps.square.count > 0).all()
    probability = module.steps.probability()
    assert probability.max() > 1.5 / MODEL.diffusion_steps
    late = torch.cat([n.flatten() for n in drawn[-3:]])
    share = torch.bincount(late - 1, minlength=MODEL.diffusion_steps) / len(late)
    assert int(share.argmax()) == int(probability.argmax())
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert any(name.startswith("steps.") for name in checkpoint["state_dict"])


def test_rows_without_any_target_teach_the_step_sampler_nothing():
    module = fresh(step_sampling="importance")
    made = estimator("unused", freq="h", target_dim=3)
    batch = next(iter(made.create_validation_data_loader([entry()], module)))
    blank = batch._replace(observed=torch.zeros_like(batch.observed))
    module.log = lambda *a, **k: None
    module.training_step(blank, 0)
    assert module.steps.square.count.sum() == 0


def test_a_learned_schedule_moves_in_training_and_comes_back(tmp_path):
    model = MODEL._replace(schedule="learned", diffusion_steps=8, beta_end=0.5)
    output = fit(tmp_path, train=TRAIN._replace(steps=12, steps_per_epoch=3), model=model)
    network, start = output.trained_net.forecaster, fresh(model=model).model
    before, after = start.schedule.log_snr, network.schedule.log_snr
    assert torch.equal(before[[1, -1]], after[[1, -1]])
    assert (after.diff() < 0).all()
    assert (before[2:-1] - after[2:-1]).abs().max() > 1e-3
    assert torch.equal(after, output.trained_net.model.schedule.log_snr)
    # Saved and read again, the network has the schedule it was trained with.
    start.load_state_dict(network.state_dict())
    assert torch.equal(start.schedule.log_snr, after)


def test_the_schedule_saved_is_the_one_that_was_trained_with(tmp_path, monkeypatch):
    seen, loss = [], TimeGrad.loss

    def watched(self, batch, *, n, eps, positions):
        seen.append(self.schedule.log_snr)
        return loss(self, batch, n=n, eps=eps, positions=positions)

    monkeypatch.setattr(TimeGrad, "loss", watched)
    model = MODEL._replace(schedule="learned", diffusion_steps=8, beta_end=0.5)
    output = fit(tmp_path, train=TRAIN._replace(steps=12, steps_per_epoch=3), model=model)
    assert torch.equal(seen[-1], output.trained_net.forecaster.schedule.log_snr)
    assert not torch.equal(seen[-1], seen[0])


def test_a_learned_schedule_takes_no_validation(tmp_path):
    with pytest.raises(InputError, match="no two epochs compare"):
        fit(tmp_path, validation=True, model=MODEL._replace(schedule="learned"))


def test_a_checkpoint_of_other_options_is_refused_in_one_sentence(tmp_path, training):
    made = estimator(tmp_path, train=TRAIN._replace(step_sampling="importance"))
    with pytest.raises(InputError, match="other options"):
        made.train_model([entry()], ckpt_path=training[1] / "checkpoints" / "last.ckpt")


@pytest.mark.parametrize(
    "option", [{"parameterisation": "noise"}, {"beta_end": 0.3}, {"schedule": "ve"}]
)
def test_weights_that_mean_something_else_are_refused(tmp_path, plain, option):
    other = estimator(tmp_path, model=MODEL._replace(**option))
    with pytest.raises(InputError, match=next(iter(option))):
        other.train_from(plain, [entry()])


# ------------------------------------------------------ fast training


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_gradients_are_clipped_before_the_fused_optimiser_sees_them(tmp_path, precision):
    # Adam does not care about the gradient's size until that is far below its epsilon of 1e-8.
    moved = []
    for clip in (1.0, 1e-12):
        watch = Watch()
        start = [p.detach() for p in fresh().model.parameters()]
        train = TRAIN._replace(weight_decay=0.0, gradient_clip=clip, precision=precision)
        output = fit(tmp_path, watch=watch, train=train)
        assert output.trainer.optimizers[0].defaults["fused"]
        change = [(b - a).abs().max() for a, b in zip(start, watch.raw[0], strict=True)]
        moved.append(float(max(change)) / watch.rates[0])
    assert moved[0] == pytest.approx(1, rel=1e-2) and moved[1] < 1e-3


@pytest.mark.cross_checks
def test_the_fused_optimiser_is_adam(tmp_path, monkeypatch):
    fused = fit(tmp_path).trained_net
    monkeypatch.setattr("timediff.training.module.FUSED_DEVICES", ())
    plain = fit(tmp_path)
    assert not plain.trainer.optimizers[0].defaults["fused"]
    for ours, expected in zip(fused.parameters(), plain.trained_net.parameters(), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


class Waits(TorchDispatchMode):
    """Collects the operators for whose result a host must wait for its device."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique")

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        indices = args[1] if name in ("index", "index_put", "index_put_") else ()
        masked = any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices)
        if masked or any(name.startswith(one) for one in self.NAMES):
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


OPTIONS = {
    "default": ({}, {}),
    "conv": ({"denoiser": "conv"}, {}),
    "mean scale": ({"scaling": "mean"}, {}),
    "differences": ({"difference": 2}, {}),
    "importance": ({"weighting": "bound"}, {"step_sampling": "importance"}),
    "learned schedule": ({"schedule": "learned", "diffusion_steps": 8}, {}),
    "learned variance": ({"variance": "learned"}, {}),
    "self-conditioning": ({"self_conditioning": True}, {}),
    "condition dropout": ({"condition_dropout": 0.2}, {}),
    "bf16": ({}, {"precision": "bf16"}),
}


@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_training_step_never_waits_for_its_device(tmp_path, monkeypatch, options, share):
    step, averaged, seen = TimeGradModule.training_step, TimeGradModule.follow, []

    def watched(method):
        def call(self, *args):
            with Waits() as waits:
                result = method(self, *args)
            seen.append(waits.seen)
            return result

        return call

    monkeypatch.setattr(TimeGradModule, "training_step", watched(step))
    monkeypatch.setattr(TimeGradModule, "follow", watched(averaged))
    model, train = options
    model, train = MODEL._replace(**model), TRAIN._replace(positions=share, **train)
    module = fit(tmp_path, model=model, train=train).trained_net
    assert len(seen) == 12 and np.isfinite([line["train_loss"] for line in module.history]).all()
    # One coin per step is tossed on the host itself.
    tossed = ["_local_scalar_dense"] if model.self_conditioning else []
    assert all(names in ([], tossed) for names in seen)


def test_what_would_wait_is_noticed():
    x = torch.arange(3.0)
    for wait in (x.sum().item, lambda: x[x > 1], lambda: bool(x[0]), x.nonzero):
        with Waits() as waits:
            wait()
        assert waits.seen, inspect.getsource(wait) if inspect.isfunction(wait) else wait
    with Waits() as waits:
        torch.where(x > 1, x, 0)[torch.tensor([0, 1])]
    assert not waits.seen


def training_batch(module, size=4):
    made = estimator("unused", freq="h", target_dim=3)
    entries = [entry(seed=i) for i in range(size)]
    return next(iter(made.create_validation_data_loader(entries, module)))


@pytest.mark.identities
@pytest.mark.parametrize(
    "options", [{}, {"variance": "learned"}, {"self_conditioning": True}, {"scaling": "mean"}]
)
def test_the_loss_at_some_positions_is_that_part_of_the_whole(float64, options):
    module = fresh(MODEL._replace(**options)).double()
    shake(module.model)
    module.eval()
    batch = training_batch(module)
    batch = batch._replace(observed=torch.rand(batch.observed.shape) < 0.8)
    shape = batch.features.shape[:2]
    n, eps = torch.randint(1, 6, shape), torch.randn(*shape, 3)
    whole = module.model.loss(batch, n=n, eps=eps)
    positions = torch.rand(shape).argsort(dim=1)[:, :4]
    rows = torch.arange(len(n))[:, None]
    part = module.model.loss(
        batch, n=n[rows, positions], eps=eps[rows, positions], positions=positions
    )
    for ours, all_of_them in zip(part, whole, strict=True):
        torch.testing.assert_close(ours, all_of_them[rows, positions], rtol=1e-10, atol=1e-10)


def test_every_position_is_as_likely_as_any_other():
    module = fresh(positions=0.3)
    batch = training_batch(module)
    length, draws = batch.features.shape[1], 500
    drawn = torch.stack([module._positions(batch) for _ in range(draws)])
    assert drawn.shape == (draws, len(batch.target), 3)
    assert (drawn.sort(dim=-1).values.diff(dim=-1) > 0).all()
    share = torch.bincount(drawn.flatten(), minlength=length) / drawn[..., 0].numel()
    error = np.sqrt(0.3 * 0.7 / drawn[..., 0].numel())
    assert ((share - 0.3).abs() < 5 * error).all()
    assert not torch.equal(drawn[0, 0], drawn[0, 1])


def test_all_positions_take_no_random_numbers_of_their_own():
    module = fresh()
    state = torch.get_rng_state()
    assert module._positions(training_batch(module)) is None
    assert torch.equal(torch.get_rng_state(), state)


def test_at_least_one_position_is_left():
    module = fresh(positions=1e-9)
    assert module._positions(training_batch(module)).shape == (4, 1)


def test_bf16_is_float32_to_three_digits_and_only_inside(tmp_path, monkeypatch):
    dtypes, loss, step = set(), TimeGrad.loss, TimeGradModule.training_step

    def watched(self, batch, *, n, eps, positions=None):
        error, observed = loss(self, batch, n=n, eps=eps, positions=positions)
        dtypes.update([eps.dtype, error.dtype])
        return error, observed

    def stepped(self, batch, batch_idx):
        found = step(self, batch, batch_idx)
        dtypes.add(found.dtype)
        return found

    monkeypatch.setattr(TimeGrad, "loss", watched)
    monkeypatch.setattr(TimeGradModule, "training_step", stepped)
    losses = {}
    for precision in ("float32", "bf16"):
        train = TRAIN._replace(steps=30, precision=precision)
        module = fit(tmp_path, validation=True, train=train).trained_net
        losses[precision] = [line["train_loss"] for line in module.history]
        assert {value.dtype for value in module.parameters()} == {torch.float32}
    assert dtypes == {torch.float32}
    assert losses["bf16"] != losses["float32"]
    # bf16 has 8 bits of mantissa, a relative rounding of 2**-9 in every product.
    np.testing.assert_allclose(losses["bf16"], losses["float32"], rtol=1e-2)


@pytest.mark.parametrize(
    ("precision", "device", "inside"),
    [("tf32", "cuda", "high"), ("tf32", "cpu", "highest"), ("float32", "cuda", "highest")],
)
def test_tf32_is_for_gpus_and_ends_with_the_training(precision, device, inside):
    assert torch.get_float32_matmul_precision() == "highest"
    with pytest.raises(KeyError), matmul_precision(precision, torch.device(device)):
        assert torch.get_float32_matmul_precision() == inside
        raise KeyError
    assert torch.get_float32_matmul_precision() == "highest"
