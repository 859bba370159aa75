"""States that a training can go on from: when they are kept, how they are written, which of them is whole.

A state is kept after each epoch, and in between from the first seconds on. It holds the states of the random
numbers too, so that a training that goes on from any of them ends as if it had never stopped.
"""

import io
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from timediff.errors import InputError
from timediff.tools.files import check_space, whole

__all__ = [
    "PAUSE",
    "SPARING",
    "BestCheckpoint",
    "WholeCheckpoints",
    "check_room",
    "kept_states",
    "latest_state",
    "read_state",
]

#: Seconds of training after which a state is kept within an epoch.
PAUSE = 5.0
#: Times as long as the last one took, so that they take a hundredth of the training.
SPARING = 100


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints in files that are whole or not there, in folders that are not made a second time."""

    def __init__(self) -> None:
        self.made: set[Path] = set()

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        path = Path(path)
        if path.parent not in self.made:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.made.add(path.parent)
        # In memory first: torch tells of a full disk in no way that could be told from other errors.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with whole(path) as part:
            part.write_bytes(content.getbuffer())


class BestCheckpoint(ModelCheckpoint):
    """Our checkpoint: the best epoch, and ``last.ckpt`` of the last epoch or of a moment within one.

    Of a class of its own: Lightning refuses two of one class whose options are alike.
    """

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        super().on_train_start(trainer, module)
        self.kept, self.took = time.monotonic(), 0.0
        self.step = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        if time.monotonic() - self.kept >= max(PAUSE, SPARING * self.took):
            self.keep(trainer, module)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        super().on_train_epoch_end(trainer, module)
        self.kept, self.step = time.monotonic(), trainer.global_step

    def keep(self, trainer: pl.Trainer, module: Any) -> bool:
        """Keeps the state after a batch, or says that there is none to go on from at this moment.

        An epoch's last batch is one: what comes with the epoch's end would be left out by who goes on from
        there. So is a batch whose gradients wait for the next, and any of a training in several processes.
        """
        if trainer.is_last_batch or trainer.world_size > 1 or trainer.global_step == self.step:
            return False
        module.check_finite()
        started = time.monotonic()
        self.last_model_path = str(Path(self.dirpath or "") / f"last{self.FILE_EXTENSION}")
        trainer.save_checkpoint(self.last_model_path, weights_only=False)
        self.kept, self.step = time.monotonic(), trainer.global_step
        self.took = self.kept - started
        return True


def check_room(folder: str, module: torch.nn.Module) -> None:
    """Raises `InputError` unless there is space for the states of a training.

    There are three at most, the last, the best, and the one that is to replace either; each holds the weights
    and two moments of each that is trained.
    """
    if "://" in folder:
        return
    numbers = [
        *module.state_dict().values(),
        *2 * [weight for weight in module.parameters() if weight.requires_grad],
    ]
    state = sum(number.numel() * number.element_size() + 1000 for number in numbers) + 10_000
    check_space(Path(folder), 3 * state, "the checkpoints of this training take")


def read_state(path: Path) -> dict[str, Any]:
    """What is in a checkpoint, tensors and plain numbers only.

    Raises:
        InputError: The file is not there, damaged, or none of a training.
    """
    if not path.is_file():
        raise InputError(f"there is no checkpoint {path}; give the path of a last.ckpt")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file that is something else may fail in any way
        raise InputError(f"{path} is not a checkpoint; give the path of a last.ckpt") from error
    missing = {"state_dict", "optimizer_states", "history", "total_steps"} - set(content)
    if missing:
        raise InputError(
            f"{path} holds no {', '.join(sorted(missing))}; give the path of a last.ckpt"
        )
    return dict(content)


def kept_states(folder: Path) -> tuple[Path | None, list[str]]:
    """``last.ckpt`` in a folder, or else the latest other state that can be read; and those that cannot."""
    files = sorted(
        (folder / "checkpoints").glob("*.ckpt"),
        key=lambda file: (file.name != "last.ckpt", -file.stat().st_mtime_ns),
    )
    wrong = []
    for file in files:
        try:
            read_state(file)
        except InputError:
            wrong.append(str(file))
        else:
            return file, wrong
    return None, wrong


def latest_state(folder: Path) -> Path | None:
    """The state of `kept_states` to go on from; those that cannot be read are told of."""
    state, damaged = kept_states(folder)
    for file in damaged:
        then = "begins anew" if state is None else f"goes on from {state}"
        print(f"{file} cannot be read; training {then}", file=sys.stderr)
    return state
