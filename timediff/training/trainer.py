"""Lightning's trainer with our choices, and what it says."""

import copy
import difflib
import inspect
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import lightning.pytorch as pl
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.plugins.io import CheckpointIO

from timediff.config import TrainConfig
from timediff.errors import InputError, check_whole
from timediff.kinds import shortened, shown
from timediff.timegrad.batch import Batch
from timediff.tools.precision import matmul_precision
from timediff.tools.seeding import one_at_a_time
from timediff.training.checkpoints import BestCheckpoint, WholeCheckpoints
from timediff.training.module import TimeGradModule
from timediff.training.ranks import check_share
from timediff.training.stopping import Stopping, stopped_in_time

__all__ = [
    "Windows",
    "check_trainer_options",
    "make_trainer",
    "own_options",
    "quiet_lightning",
    "run",
]


#: Precisions that leave weights in float32.
_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


class Windows(Protocol):
    """The batches of an epoch, drawn anew in each.

    Attributes:
        batches: How many.
    """

    batches: int

    def __iter__(self) -> Iterator[Batch]: ...

    def of(self, module: Any, *, batches: int) -> "Windows":
        """Windows of the same data for another module."""
        ...


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silences what Lightning says about things that are as they should be here."""
    expected = ".*(max_epochs|validation_step|num_workers|LeafSpec|many workers|Checkpoint dir|resumable).*"
    # The logger of tips to install something else, and of the devices that are not there.
    log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=expected)
            yield
    finally:
        log.setLevel(level)


def check_trainer_options(options: Mapping[str, Any]) -> None:
    """Raises `InputError` for options that Lightning's trainer does not have, or a training without end."""
    known = inspect.signature(pl.Trainer.__init__).parameters.keys() - {"self"}
    for name, value in options.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise InputError(
                f"trainer_kwargs has {shown(name)}, which is no option of lightning.pytorch.Trainer; "
                + (f"{close[0]} is" if close else "leave it out")
            )
        if name in ("max_epochs", "max_steps") and value is not None:
            check_whole(f"{name} of trainer_kwargs", value)
    for callback in _listed(options.get("callbacks")):
        if not isinstance(callback, pl.Callback):
            raise InputError(
                f"callbacks of trainer_kwargs has {shown(callback)}; give a lightning.pytorch.Callback"
            )


def _listed(given: Any) -> list[Any]:
    """What a trainer takes as callbacks or plugins, in a list."""
    return list(given) if isinstance(given, list | tuple) else [given] if given else []


def _check_trainer(trainer: pl.Trainer, *, validated: bool) -> None:
    """Raises `InputError` for options that this training does not work with, by their names."""
    if trainer.precision not in _PRECISIONS:
        raise InputError(
            f"precision of trainer_kwargs is {trainer.precision}, but weights stay in float32; choose one of "
            f"{', '.join(_PRECISIONS)}"
        )
    if not trainer.limit_train_batches:
        raise InputError(
            "limit_train_batches of trainer_kwargs is 0; leave it out, or train with more"
        )
    if validated:
        usual = {"check_val_every_n_epoch": 1, "val_check_interval": 1.0}
        for name, value in usual.items():
            if getattr(trainer, name) != value:
                raise InputError(
                    f"{name} of trainer_kwargs is {getattr(trainer, name)}, but validation is at the end of "
                    "every epoch, by which patience and the best epoch are told; leave it out, and choose "
                    "steps_per_epoch"
                )
        if not trainer.limit_val_batches:
            raise InputError(
                "limit_val_batches of trainer_kwargs is 0, but there is validation data; leave one out"
            )
        return
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if getattr(callback, "monitor", None) == "val_loss":
            raise InputError(
                f"{type(callback).__name__} of trainer_kwargs monitors val_loss, and there is no validation "
                "data; give some, or have it monitor train_loss"
            )


def own_options(trainer_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a trainer for one training: callbacks, loggers, plugins and the rest are copies.

    They keep what they saw, such as epochs without a better loss, and the next training is to begin anew.

    Raises:
        InputError: One cannot be copied.
    """
    options = {}
    for name, value in trainer_kwargs.items():
        try:
            options[name] = copy.deepcopy(value)
        except Exception as error:  # a copy may fail in any way
            raise InputError(
                f"{name} of trainer_kwargs cannot be copied for a training of its own "
                f"({type(error).__name__}: {error}); give what copy.deepcopy can copy"
            ) from error
    return options


def make_trainer(
    config: TrainConfig,
    trainer_kwargs: Mapping[str, Any],
    callbacks: list[pl.Callback],
    *,
    folder: str,
    epochs: int,
    validated: bool,
) -> tuple[pl.Trainer, BestCheckpoint | None]:
    """A trainer, and its checkpoint if it makes any.

    Args:
        config: How to train.
        trainer_kwargs: Options of `lightning.pytorch.Trainer`, over our own. The trainer has
            copies of them.
        callbacks: Ours, beside the checkpoint.
        folder: Where it writes, unless ``trainer_kwargs`` say otherwise.
        epochs: How many, unless ``trainer_kwargs`` say otherwise.
        validated: Whether there is a validation loss to tell the best epoch by.

    Raises:
        InputError: The training would have no end.
    """
    options = own_options(trainer_kwargs)
    callbacks = [*_listed(options.pop("callbacks", None)), *callbacks, Stopping()]
    plugins = _listed(options.pop("plugins", None))
    # Lightning takes one way of writing checkpoints, which a strategy may bring as well.
    if isinstance(options.get("strategy"), str | None) and not any(
        isinstance(plugin, CheckpointIO) for plugin in plugins
    ):
        plugins = [*plugins, WholeCheckpoints()]
    checkpoint = None
    if options.get("enable_checkpointing", True):
        checkpoint = BestCheckpoint(
            monitor="val_loss" if validated else None,
            save_last=True,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        callbacks = [*callbacks, checkpoint]
    if "max_epochs" not in options and "max_steps" not in options:
        # Not max_steps: Lightning would resume in the middle of an epoch that is over.
        options["max_epochs"] = epochs
    ours = {
        "accelerator": "auto",
        "default_root_dir": folder,
        "max_epochs": -1 if "max_steps" in options else None,
        "gradient_clip_val": config.gradient_clip or None,
        "precision": {"bf16": "bf16-mixed"}.get(config.precision),
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    try:
        with quiet_lightning():
            trainer = pl.Trainer(**{**ours, **options, "callbacks": callbacks, "plugins": plugins})
    except Exception as error:  # Lightning refuses options in any way
        raise InputError(
            f"trainer_kwargs are refused by lightning.pytorch.Trainer ({shortened(str(error), 200)}); "
            "give others"
        ) from error
    _check_trainer(trainer, validated=validated)
    check_share(config.batch_size, trainer.world_size)
    return trainer, checkpoint


def run(
    trainer: pl.Trainer,
    module: TimeGradModule,
    training: Windows,
    validation: Iterable[Batch] | None,
    *,
    checkpoint: str | Path | None = None,
) -> None:
    """Trains a module, on from a checkpoint if there is one."""
    precision = matmul_precision(module.config.precision, trainer.strategy.root_device)
    # Lightning puts the global generators back after its sanity check, whoever has them by then.
    with one_at_a_time(), stopped_in_time(trainer), quiet_lightning(), precision:
        try:
            trainer.fit(module, training, validation, ckpt_path=checkpoint)
        except MisconfigurationException as error:
            raise InputError(
                f"trainer_kwargs are refused by lightning.pytorch.Trainer ({shortened(str(error), 200)}); "
                "give others"
            ) from error
