"""Training from start to end: weights to start from, checkpoints to go on from, the weights to keep."""

import logging
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from timediff.errors import InputError
from timediff.timegrad.batch import Batch
from timediff.tools.threads import with_threads
from timediff.training.budget import epochs_of, planned_steps
from timediff.training.callbacks import Patience, TrainingBar
from timediff.training.checkpoints import check_room, read_state
from timediff.training.module import TimeGradModule
from timediff.training.threads import choose_threads, tell
from timediff.training.trainer import Windows, make_trainer, run

__all__ = ["check_checkpoint", "fit", "logger", "start_from"]

logger = logging.getLogger(__name__)

#: Options that say what a network's weights mean, beside those that give them their shapes.
_MEANING = ("parameterisation", "schedule", "beta_start", "beta_end", "diffusion_steps", "scaling")


def fit(
    module: TimeGradModule,
    training: Windows,
    validation: Iterable[Batch] | None = None,
    *,
    trainer_kwargs: Mapping[str, Any],
    progress: bool,
    checkpoint: str | Path | None = None,
) -> pl.Trainer:
    """The trainer of a module that it has trained: with validation it has the weights of its best epoch.

    Args:
        module: What is trained, and how (``module.config``).
        training: Windows of each epoch.
        validation: Windows of the validation loss.
        trainer_kwargs: Options of `lightning.pytorch.Trainer`, over our own. Checkpoints are kept if
            ``default_root_dir`` is one of them.
        progress: Show a progress bar on stderr.
        checkpoint: A ``last.ckpt`` to go on from, optimiser included.

    Raises:
        InputError: The checkpoint is none of such a training, or the options contradict each other.
    """
    config, validated = module.config, validation is not None
    before = None if checkpoint is None else check_checkpoint(Path(checkpoint), module)
    began = perf_counter()
    pick = choose_threads(module, training, trainer_kwargs=trainer_kwargs, before=before)
    tell(pick, progress=progress)
    module.threads = pick.threads
    spent = perf_counter() - began
    with with_threads(pick.threads):
        steps = planned_steps(
            module,
            training,
            validation,
            trainer_kwargs=trainer_kwargs,
            before=before,
            spent=spent,
            progress=progress,
        )
    epochs, training.batches = epochs_of(steps, config.steps_per_epoch)
    callbacks: list[Callback] = []
    if progress:
        callbacks.append(TrainingBar())
    if validated and config.patience:
        callbacks.append(
            Patience("val_loss", patience=config.patience, check_on_train_epoch_end=True)
        )
    # Without a folder of the user's, checkpoints stay out of the way, and go once they are not needed.
    kept = trainer_kwargs.get("default_root_dir")
    folder = str(kept) if kept else tempfile.mkdtemp(prefix="timediff-")
    try:
        trainer, best = make_trainer(
            config, trainer_kwargs, callbacks, folder=folder, epochs=epochs, validated=validated
        )
    except InputError:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    try:
        if best is not None:
            check_room(folder, module)
        with with_threads(pick.threads):
            run(trainer, module, training, validation, checkpoint=checkpoint)
    except BaseException:
        if best is not None and best.last_model_path and Path(best.last_model_path).is_file():
            logger.warning(
                f"training stopped; ckpt_path={best.last_model_path} goes on from step {best.step}"
            )
        elif not kept:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    # Of spawned processes only the losses come back.
    if not trainer.global_step and "train_loss" not in trainer.callback_metrics:
        raise InputError(
            "training ended before its first step; leave max_time of trainer_kwargs out, or give more"
        )
    if validated and best is not None and best.best_model_path:
        # Restored as tensors only: a checkpoint is a file like any other.
        content = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
        module.load_state_dict(content["state_dict"])
    if trainer.world_size > 1:
        trainer.strategy.barrier()  # the first process may take the folder away that others read from
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)
    return trainer


def start_from(module: TimeGradModule, network: nn.Module) -> None:
    """Gives a module the weights of a trained predictor's network.

    Raises:
        InputError: They are of another shape, or mean something else.
    """
    config, shape = module.model.config, module.model.shape
    if getattr(network, "shape", None) != shape:
        raise InputError(
            f"the predictor was made for {getattr(network, 'shape', 'another model')}, this estimator "
            f"is for {shape}; use the same data layout and options for both"
        )
    for name in _MEANING:
        theirs, ours = getattr(network.config, name), getattr(config, name)
        if theirs != ours:
            raise InputError(
                f"the predictor was trained with {name} {theirs}, this estimator has {ours}; its weights "
                "mean something else then: use the same"
            )
    try:
        own = module.model.support.state_dict(prefix="support.")
        for model in module.models:
            model.load_state_dict({**network.state_dict(), **own})
            if config.linear:
                model.use(1.0)  # all of the network is trained, however much forecast
    except RuntimeError as error:
        raise InputError(
            "the predictor was made with other model options than this estimator's; use the same"
        ) from error


def check_checkpoint(path: Path, module: TimeGradModule) -> dict[str, Any]:
    """The content of a checkpoint that training of this module can go on from.

    Raises:
        InputError: The file is not one.
    """
    content = read_state(path)
    ours, theirs = (
        {name: tuple(value.shape) for name, value in state.items()}
        for state in (module.state_dict(), content["state_dict"])
    )
    if ours != theirs:
        differing = sorted(k for k in ours | theirs if ours.get(k) != theirs.get(k))
        raise InputError(
            f"{path} is of a training with other options (its {differing[0]} differs); give the same"
        )
    return content
