"""Around a fit: what Lightning says, how it is interrupted, what it goes on from."""

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from timediff.errors import InputError
from timediff.training.module import TimeGradModule


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Without what Lightning says about things that are as they should be here."""
    expected = (
        ".*(max_epochs|validation_step|num_workers|LeafSpec|many workers|Checkpoint directory).*"
    )
    # Where a tip to install something else, and the devices that are not there, are told.
    log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=expected)
            yield
    finally:
        log.setLevel(level)


@contextmanager
def interruptible() -> Iterator[None]:
    """Lets Ctrl-C out of Lightning, which exits with status 1 instead and stays deaf to the next."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


def check_checkpoint(path: Path, module: TimeGradModule) -> dict[str, Any]:
    """The content of a checkpoint that training of this module can go on from.

    Raises:
        InputError: The file is not one.
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
    shapes, found = (
        {name: tuple(value.shape) for name, value in state.items()}
        for state in (module.state_dict(), content["state_dict"])
    )
    if shapes != found:
        differing = sorted(k for k in shapes | found if shapes.get(k) != found.get(k))
        raise InputError(
            f"{path} is of a training with other options (its {differing[0]} differs); give the same"
        )
    return content
