"""How many threads a training has on a CPU: told, those it began with, or the quickest of a few timed steps.

The steps that are timed are those of a copy, which leaves nothing behind: a training with the number that was
chosen and one that is told it are the same to the last bit.
"""

import copy
import logging
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import torch

from timediff.tools.threads import MOST_ROUNDS, Pick, given_threads, quickest
from timediff.training.module import TimeGradModule
from timediff.training.trainer import Windows, make_trainer

__all__ = ["SHARE", "STEPS_A_ROUND", "choose_threads", "logger", "settled_threads", "tell"]

logger = logging.getLogger(__name__)

#: Steps of a training that pay for timing one more with each number of threads.
STEPS_A_ROUND = 100
#: Share of a time budget that the timed steps may take.
SHARE = 0.02


def settled_threads(told: int | None) -> int | None:
    """The number of threads that needs no timing: what was told, or given to torch, or a single one."""
    if told is not None:
        return told
    return given_threads() or (1 if torch.get_num_threads() == 1 else None)


def choose_threads(
    module: TimeGradModule,
    training: Windows,
    *,
    trainer_kwargs: Mapping[str, Any],
    before: Mapping[str, Any] | None,
) -> Pick:
    """The threads of a training, timed where nobody has said how many.

    Several processes, which would disagree, and a GPU, which does not use them, have torch's own.

    Args:
        module: What is to be trained, and how.
        training: Windows of each epoch.
        trainer_kwargs: Options of `lightning.pytorch.Trainer`.
        before: Content of the checkpoint to go on from.
    """
    config = module.config
    known = (before or {}).get("threads") if config.threads is None else config.threads
    if (settled := settled_threads(known)) is not None:
        return Pick(settled)
    theirs = ("callbacks", "logger", "default_root_dir")
    options = {name: value for name, value in trainer_kwargs.items() if name not in theirs}
    with tempfile.TemporaryDirectory(prefix="timediff-") as folder:
        trainer, _ = make_trainer(config, options, [], folder=folder, epochs=1, validated=False)
    most, device = torch.get_num_threads(), trainer.strategy.root_device
    if device.type != "cpu" or trainer.world_size > 1:
        return Pick(most)
    trial = copy.deepcopy(module).train()
    (batch,) = training.of(trial, batches=1)
    optimizer = torch.optim.Adam(trial.model.parameters(), fused=True)

    def step() -> None:
        optimizer.zero_grad()
        with trainer.precision_plugin.train_step_context():
            loss = trial.training_step(batch, 0)
        loss.backward()
        optimizer.step()

    with trial.stream.lent(device, seed=trial.seed):
        if config.time_budget is not None:
            return quickest(step, most, limit=SHARE * config.time_budget)
        rounds = min(max(config.steps // STEPS_A_ROUND, 1), MOST_ROUNDS)
        return quickest(step, most, rounds=rounds)


def tell(pick: Pick, *, progress: bool) -> None:
    """Says what was chosen by timing, on stderr or else to the log."""
    if not pick.seconds:
        return
    if progress:
        print(pick, file=sys.stderr)
    else:
        logger.info(str(pick))
