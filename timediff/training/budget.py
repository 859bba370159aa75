"""How many optimiser steps fit into a wall-clock time: a few are timed, the rest is arithmetic.

The learning rates of the one-cycle schedule are those of a known number of steps, so this number is settled
before training starts, and not by stopping it.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

#: Fewest optimiser steps of a training, however little time there is.
FEWEST_STEPS = 10
#: First steps of a trial, which allocate and compile and are slower than the rest.
WARM_UP = 3
#: Most steps that are timed after them.
TIMED = 100
#: Share of the budget after which the first steps of a trial end, and again the timed ones.
TRIAL_SHARE = 0.05
#: Share of the budget that is kept back, for a machine that gets slower.
RESERVE = 0.05


class Pace(NamedTuple):
    """Seconds that the parts of a training take.

    Attributes:
        start: From the start to the end of the first step.
        step: Each step.
        epoch: What comes with each epoch beside its steps: validation and checkpoint.
    """

    start: float
    step: float
    epoch: float

    def seconds(self, steps: int, per_epoch: int) -> float:
        """Of a training of this length."""
        epochs, batches = epochs_of(steps, per_epoch)
        return self.start + epochs * (batches * self.step + self.epoch)


def epochs_of(steps: int, per_epoch: int) -> tuple[int, int]:
    """Epochs, and the steps of each: at least this many steps in all, no epoch longer than another."""
    epochs = -(-steps // per_epoch)
    return epochs, -(-steps // epochs)


def steps_within(seconds: float, pace: Pace, per_epoch: int) -> int:
    """The most steps that take no longer and need not be rounded up to whole epochs; at least 10."""
    most = (seconds - pace.start) / (pace.step + pace.epoch / per_epoch)
    steps = max(int(most), FEWEST_STEPS)
    while steps > FEWEST_STEPS:
        epochs, batches = epochs_of(steps, per_epoch)
        if epochs * batches == steps and pace.seconds(steps, per_epoch) <= seconds:
            return steps
        steps -= 1
    epochs, batches = epochs_of(FEWEST_STEPS, per_epoch)
    return epochs * batches


class Stopwatch(Callback):
    """Times the steps of a trial, and ends it when enough of them are known.

    Args:
        budget: Seconds of the training that the trial is for.
        clock: Seconds since some moment.
    """

    def __init__(self, budget: float, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.allowed, self.clock = TRIAL_SHARE * budget, clock
        self.began = clock()
        #: When the first step ended, when the timed ones began, and when they ended.
        self.first = self.timed_from = self.timed_to = self.ended = 0.0
        self.warmed = self.timed = 0

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if not self.warmed:
            self.first = self._now(trainer)
        if not self.timed_from:
            self.warmed += 1
            if self.warmed >= WARM_UP or self.clock() - self.began > self.allowed:
                self.timed_from = self._now(trainer)
            return
        self.timed += 1
        if self.timed == TIMED or self.clock() - self.timed_from > self.allowed:
            self.timed_to = self._now(trainer)
            trainer.should_stop = True

    def on_fit_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.ended = self._now(trainer)

    def _now(self, trainer: pl.Trainer) -> float:
        device = trainer.strategy.root_device
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return self.clock()

    def pace(self) -> Pace:
        """What the trial showed."""
        return Pace(
            self.first - self.began,
            (self.timed_to - self.timed_from) / self.timed,
            self.ended - self.timed_to,
        )
