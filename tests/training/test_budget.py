"""Steps for a wall-clock budget. No test asserts how long anything took: clocks and paces are made up."""

import logging
from functools import partial

import pytest
from lightning.pytorch.callbacks import Callback
from tiny import MODEL, QUIET, TRAIN, Watching, entry, estimator

from timediff.errors import InputError
from timediff.training.budget import FEWEST_STEPS, RESERVE, Pace, Stopwatch, epochs_of, steps_within
from timediff.training.module import TimeGradModule

pytestmark = QUIET

PACES = [Pace(0.5, 0.01, 0.0), Pace(0.0, 0.3, 2.0), Pace(2.0, 0.05, 30.0)]


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize("budget", [3.0, 17.0, 300.0, 1234.5])
@pytest.mark.parametrize("per_epoch", [1, 7, 100])
def test_the_steps_chosen_fit_and_more_do_not(pace, budget, per_epoch):
    steps = steps_within(budget, pace, per_epoch)
    epochs, batches = epochs_of(steps, per_epoch)
    assert epochs * batches == steps >= FEWEST_STEPS and batches <= per_epoch
    if steps > FEWEST_STEPS:
        assert pace.seconds(steps, per_epoch) <= budget
    longer = range(steps + 1, 2 * steps + 50)
    whole = [s for s in longer if s == epochs_of(s, per_epoch)[0] * epochs_of(s, per_epoch)[1]]
    assert all(pace.seconds(s, per_epoch) > budget for s in whole[:50])


def test_a_budget_that_is_too_short_still_has_ten_steps():
    assert steps_within(-5.0, Pace(1.0, 1.0, 1.0), 100) == FEWEST_STEPS
    assert steps_within(1e-3, Pace(1.0, 1.0, 1.0), 4) == 12


class Clock:
    """Time passes only when somebody says so."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """Every training step takes 20 s, the first two of a training 50 s, every validation 70 s."""
    clock = Clock()
    train, validate = TimeGradModule.training_step, TimeGradModule.validation_step

    def training_step(self, batch, batch_idx):
        clock.now += 50 if self.trainer.global_step < 2 else 20
        return train(self, batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        clock.now += 70
        return validate(self, batch, batch_idx)

    monkeypatch.setattr(TimeGradModule, "training_step", training_step)
    monkeypatch.setattr(TimeGradModule, "validation_step", validation_step)
    monkeypatch.setattr("timediff.training.budget.Stopwatch", partial(Stopwatch, clock=clock))
    return clock


class Rates(Watching, Callback):
    def __init__(self):
        self.rates = []

    def on_train_batch_start(self, trainer, *_):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def budgeted(folder, seconds, *, callbacks=(), **train):
    train = TRAIN._replace(time_budget=seconds, steps_per_epoch=5, **train)
    return estimator(folder, train=train, trainer_kwargs={"callbacks": list(callbacks)})


@pytest.mark.parametrize("validated", [False, True])
def test_training_ends_within_its_time_and_uses_most_of_it(tmp_path, clock, caplog, validated):
    watch, began, budget = Rates(), clock.now, 3000.0
    with caplog.at_level(logging.INFO, logger="timediff"):
        made = budgeted(tmp_path, budget, callbacks=[watch])
        output = made.train_model([entry()], [entry()] if validated else None)
    steps = output.trainer.global_step
    (line,) = [r.getMessage() for r in caplog.records if "time budget" in r.getMessage()]
    assert f"{steps} steps of 20 s" in line
    assert clock.now - began <= budget
    # One whole epoch more would not have fitted into what was not kept back.
    assert clock.now - began + 5 * 20 + 70 * validated + 5 * 20 >= (1 - RESERVE) * budget
    assert len(watch.rates) == steps
    assert max(watch.rates) == pytest.approx(TRAIN.learning_rate, rel=1e-3)
    assert watch.rates[-1] < TRAIN.learning_rate / 100


def test_the_trial_leaves_no_trace_in_the_training(tmp_path, clock):
    from tiny import same_weights, weights

    output = budgeted(tmp_path / "a", 2000.0).train_model([entry()])
    steps = output.trainer.global_step
    train = TRAIN._replace(steps=steps, steps_per_epoch=5)
    given = estimator(tmp_path / "b", train=train).train_model([entry()])
    assert given.trainer.global_step == steps
    assert same_weights(weights(output.trained_net), weights(given.trained_net))
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"checkpoints"}


class Cut(Callback):
    def on_train_epoch_start(self, trainer, *_):
        if trainer.current_epoch == 2:
            raise RuntimeError("power cut")


def test_a_resumed_training_keeps_the_number_of_steps_it_began_with(tmp_path, clock, monkeypatch):
    whole = budgeted(tmp_path / "whole", 2000.0).train_model([entry()])
    with pytest.raises(RuntimeError, match="power cut"):
        budgeted(tmp_path / "cut", 2000.0, callbacks=[Cut()]).train([entry()])
    # No clock would say the same again.
    monkeypatch.setattr("timediff.training.budget.Stopwatch", None)
    resumed = budgeted(tmp_path / "cut", 2000.0).train_model(
        [entry()], ckpt_path=tmp_path / "cut" / "checkpoints" / "last.ckpt"
    )
    assert resumed.trainer.global_step == whole.trainer.global_step
    assert resumed.trained_net.history == whole.trained_net.history


def test_slow_steps_do_not_spend_the_budget_on_the_trial(tmp_path, clock):
    budgeted(tmp_path, 15 * 20.0).train_model([entry()])
    # Two steps of 50 s and one of 20 s for the trial, then the ten that there always are.
    assert clock.now - 100 <= 2 * 50 + 20 + 2 * 50 + 8 * 20


@pytest.mark.parametrize("given", [{"max_epochs": 3}, {"max_steps": 30}])
def test_a_length_beside_the_budget_is_refused(tmp_path, given):
    made = estimator(tmp_path, train=TRAIN._replace(time_budget=5.0), trainer_kwargs=given)
    with pytest.raises(InputError, match=f"{next(iter(given))} and time_budget"):
        made.train([entry()])


@pytest.mark.parametrize("seconds", [0.0, -3.0, float("nan"), float("inf")])
def test_a_budget_must_be_a_positive_time(tmp_path, seconds):
    with pytest.raises(InputError, match="time_budget is"):
        estimator(tmp_path, model=MODEL, train=TRAIN._replace(time_budget=seconds))
