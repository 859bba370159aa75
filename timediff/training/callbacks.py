"""Lightning callbacks: checkpoints, early stopping, the progress bar."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint

from timediff.tools.progress import progress_bar


class BestCheckpoint(ModelCheckpoint):
    """Ours: a class of its own, because Lightning takes two of one class only by chance."""


class Patience(EarlyStopping):
    """Ours, beside any that the user brings."""


class TrainingBar(Callback):
    """One progress bar over all optimiser steps, on stderr, with the losses of the last epoch."""

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
        # Lightning leaves out teardown then.
        self.teardown(trainer, module, "fit")

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        if hasattr(self, "bar"):
            self.bar.close()
