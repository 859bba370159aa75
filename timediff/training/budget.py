"""How many optimiser steps fit into a wall-clock time: a few are timed, the rest is arithmetic.

The learning rates of the one-cycle schedule are those of a known number of steps, so this number is settled
before training starts, and not by stopping it.
"""

import copy
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from timediff.errors import InputError
from timediff.timegrad.batch import Batch
from timediff.training.module import TimeGradModule
from timediff.training.trainer import Windows, make_trainer, run

__all__ = [
    "FEWEST_STEPS",
    "RESERVE",
    "TIMED",
    "TRIAL_SHARE",
    "WARM_UP",
    "Pace",
    "Stopwatch",
    "epochs_of",
    "logger",
    "measured_pace",
    "planned_steps",
    "steps_within",
]

logger = logging.getLogger(__name__)

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
        """Seconds of a training of this length."""
        epochs, batches = epochs_of(steps, per_epoch)
        return self.start + epochs * (batches * self.step + self.epoch)


def epochs_of(steps: int, per_epoch: int) -> tuple[int, int]:
    """Epochs, all of one length, and the steps of each: at least this many steps in all."""
    epochs = -(-steps // per_epoch)
    return epochs, -(-steps // epochs)


def steps_within(seconds: float, pace: Pace, per_epoch: int) -> int:
    """The most steps that take no longer and make whole epochs; at least `FEWEST_STEPS`, rounded up."""
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
    """A callback that times the steps of a trial, and ends it when enough of them are known.

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
        """The pace of the trial."""
        return Pace(
            self.first - self.began,
            (self.timed_to - self.timed_from) / self.timed,
            self.ended - self.timed_to,
        )


def planned_steps(
    module: TimeGradModule,
    training: Windows,
    validation: Iterable[Batch] | None,
    *,
    trainer_kwargs: Mapping[str, Any],
    before: Mapping[str, Any] | None,
    spent: float,
    progress: bool,
) -> int:
    """Optimiser steps: those asked for, or as many as fit into the time, which a resumed run knows.

    Args:
        module: What is to be trained, and how.
        training: Windows of each epoch.
        validation: Windows of the validation loss.
        trainer_kwargs: Options of `lightning.pytorch.Trainer`.
        before: Content of the checkpoint to go on from.
        spent: Seconds of the budget that went before.
        progress: Print the steps on stderr; they are logged otherwise.

    Raises:
        InputError: The options give the length of the training twice, or it has several processes.
    """
    config = module.config
    if config.time_budget is None:
        return config.steps
    if lengths := sorted({"max_epochs", "max_steps"} & trainer_kwargs.keys()):
        raise InputError(
            f"{lengths[0]} and time_budget both say how long training is; give one of them"
        )
    if before is not None:
        return before["total_steps"]
    stopwatch = Stopwatch(config.time_budget)
    pace = measured_pace(stopwatch, module, training, validation, trainer_kwargs)
    spent += stopwatch.clock() - stopwatch.began
    left = (1 - RESERVE) * config.time_budget - spent
    steps = steps_within(left, pace, config.steps_per_epoch)
    message = (
        f"time budget of {config.time_budget:g} s: {steps} steps of {pace.step:.3g} s, "
        f"about {pace.seconds(steps, config.steps_per_epoch):.3g} s"
    )
    if progress:
        print(message, file=sys.stderr)
    else:
        logger.info(message)
    return steps


def measured_pace(
    stopwatch: Stopwatch,
    module: TimeGradModule,
    training: Windows,
    validation: Iterable[Batch] | None,
    trainer_kwargs: Mapping[str, Any],
) -> Pace:
    """The pace of a trial with a copy of the module, which leaves nothing behind."""
    trial = copy.deepcopy(module)
    windows = training.of(trial, batches=WARM_UP + TIMED)
    theirs = ("callbacks", "logger", "default_root_dir")
    options = {name: value for name, value in trainer_kwargs.items() if name not in theirs}
    with tempfile.TemporaryDirectory(prefix="timediff-") as folder:
        trainer, _ = make_trainer(
            module.config,
            options,
            [stopwatch],
            folder=folder,
            epochs=1,
            validated=validation is not None,
        )
        if trainer.world_size > 1:
            raise InputError(
                "time_budget times one process, and several would disagree; give steps instead"
            )
        run(trainer, trial, windows, validation)
    return stopwatch.pace()
