"""Signals that ask a training to stop: it goes on to the end of its step and keeps its state first."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from timediff.training.checkpoints import BestCheckpoint

__all__ = ["Stopped", "Stopping", "stopped_in_time"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """The end of a training that a signal asked for, raised once there is nothing more to keep."""


class Stopping(Callback):
    """Ctrl-C and SIGTERM end a training after the state that it can go on from; a second one at once.

    Attributes:
        asked: The first signal.
        before: What was done at a signal before the training.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self.before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        # Now: Lightning has set its own handlers, after which SIGTERM would end with status 0.
        for number in self.before if trainer.world_size == 1 else ():
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked is not None:
            self.deliver()
        self.asked = number

    def deliver(self) -> NoReturn:
        """Does what was to be done at the signal before the training, or else stops with its status."""
        assert self.asked is not None
        handler = self.before.get(self.asked)
        if callable(handler):
            handler(self.asked, None)
        if self.asked == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self.asked)

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        if self.asked is None:
            return
        ours = [one for one in trainer.checkpoint_callbacks if isinstance(one, BestCheckpoint)]
        if all(one.keep(trainer, module) for one in ours):
            raise Stopped

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.asked is not None:  # the epoch before was kept at its end
            raise Stopped


@contextmanager
def stopped_in_time(trainer: pl.Trainer) -> Iterator[None]:
    """Has the `Stopping` of a trainer hear the signals, and does as they ask afterwards."""
    (stopping,) = (one for one in trainer.callbacks if isinstance(one, Stopping))  # type: ignore[attr-defined]
    if threading.current_thread() is threading.main_thread():
        stopping.before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    except Stopped:
        pass
    except SIGTERMException:  # Lightning heard it before this did, and would exit with status 0
        stopping.asked = signal.SIGTERM
    except SystemExit as stop:
        # Lightning makes an exit of status 1 of Ctrl-C, and stays deaf to the next.
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        raise KeyboardInterrupt from None
    finally:
        for number, handler in stopping.before.items():
            if handler is not None:  # set by other than Python
                signal.signal(number, handler)
    if stopping.asked is not None:
        stopping.deliver()
