"""Lightning callbacks: early stopping, the progress bar."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, EarlyStopping

from timediff.tools.progress import progress_bar

__all__ = ["Patience", "TrainingBar"]


class Patience(EarlyStopping):
    """Our early stopping. Of a class of its own: Lightning refuses two of one class and like options."""


class TrainingBar(Callback):
    """A progress bar over all optimiser steps, on stderr, with the losses of the last epoch."""

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        total = int(trainer.estimated_stepping_batches)
        self.bar = progress_bar("training", total=total, initial=trainer.global_step)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.bar.update(trainer.global_step - self.bar.n)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        logged = trainer.callback_metrics
        losses = {k: f"{float(logged[k]):.4f}" for k in ("train_loss", "val_loss") if k in logged}
        self.bar.set_postfix(losses, refresh=False)

    def on_exception(
        self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException
    ) -> None:
        # Lightning does not call teardown after an exception.
        self.teardown(trainer, module, "fit")

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        if hasattr(self, "bar"):
            self.bar.close()
