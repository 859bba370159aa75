"""Training: the optimiser, the running average of the weights, validation, and what is logged."""

import copy
import math
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.plugins import MixedPrecision, Precision
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import Tensor

from timediff.config import TrainConfig
from timediff.diffusion.step_sampling import StepSampler
from timediff.errors import InputError
from timediff.timegrad.batch import Batch
from timediff.timegrad.model import TimeGrad
from timediff.tools.seeding import Stream, drawn_seed
from timediff.training.ranks import Share

__all__ = ["FUSED_DEVICES", "VALIDATION_LEVELS", "TimeGradModule"]

#: Noise levels at which each step of a validation window is scored.
VALIDATION_LEVELS = 8


#: Devices for which torch has a fused Adam, which updates all weights in one kernel.
FUSED_DEVICES = ("cpu", "cuda", "mps", "xpu")


class TimeGradModule(pl.LightningModule):
    """A Lightning module that trains a `TimeGrad`.

    Logs ``train_loss`` and ``val_loss``. Validation uses the same noise and diffusion steps every time,
    so that a lower loss means better weights. Nothing is kept as hyperparameters in the checkpoint:
    it holds tensors and plain numbers only.

    Args:
        model: The model to train.
        config: How to train it.
    """

    def __init__(self, model: TimeGrad, config: TrainConfig) -> None:
        super().__init__()
        self.model, self.config = model, config
        # A submodule, so that it is in every checkpoint; Lightning's own callback is lost when
        # GluonTS restores the best weights.
        self.average = copy.deepcopy(model).requires_grad_(False) if config.ema_decay else None
        # A submodule too: a resumed run goes on with what was learned about the steps.
        importance = config.step_sampling == "importance"
        self.steps = StepSampler(model.config.diffusion_steps) if importance else None
        self.seed = config.seed if config.seed is not None else drawn_seed()
        self.stream = Stream()
        #: Of torch on a CPU, once they are chosen (`timediff.training.threads`).
        self.threads: int | None = None
        #: One entry per epoch: epoch, train_loss and, with validation data, val_loss.
        self.history: list[dict[str, float]] = []
        #: Batches of the epoch that were done before training went on within it.
        self.begun = 0
        #: Sum over the windows of the epoch so far of their loss, and how many they are.
        self.losses: tuple[Tensor | float, int] = 0.0, 0

    @property
    def models(self) -> list[TimeGrad]:
        """The model that is trained and, if there is one, the average of its weights."""
        return [self.model] if self.average is None else [self.model, self.average]

    @property
    def forecaster(self) -> TimeGrad:
        """The model that forecasts: the averaged weights where there are any."""
        return self.models[-1]

    @property
    def ranks(self) -> int:
        """Processes that train the model together."""
        return 1 if self._trainer is None else self.trainer.world_size

    def on_fit_start(self) -> None:
        if self.ranks > 1:  # a seed that nobody gave is another in each process
            self.seed = self.trainer.strategy.broadcast(self.seed)

    def on_train_epoch_start(self) -> None:
        self.begun, self.losses = 0, (0.0, 0)
        # One seed per epoch: a run resumed from an epoch's checkpoint repeats what would have come.
        # The 0 was the rank; ranks share the numbers of one.
        mixed = np.random.SeedSequence([self.seed, self.current_epoch, 0])
        with self.stream.lent(self.device, seed=int(mixed.generate_state(1)[0])):
            pass
        # Not after an epoch: its checkpoint would have a schedule that its weights were not trained on.
        if self.current_epoch:
            self.model.reschedule(move=True)
            if self.average is not None and self.average.learned is not None:
                assert self.model.learned is not None
                self.average.learned.load_state_dict(self.model.learned.state_dict())
                self.average.reschedule()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        with self.stream.lent(self.device):
            if self.ranks == 1:
                return self._loss(batch)
            with Share(self.global_rank, self.ranks, len(batch.target)):
                return self._loss(batch)

    def _loss(self, batch: Batch) -> Tensor:
        positions = self._positions(batch)
        shape = self._taught(batch) if positions is None else positions.shape
        if self.steps is not None:
            n, weight = self.steps.draw(shape)
        else:
            n = torch.randint(1, self.model.config.diffusion_steps + 1, shape, device=self.device)
        eps = torch.randn(
            *shape, batch.target.shape[-1], dtype=batch.features.dtype, device=self.device
        )
        error, observed = self.model.loss(batch, n=n, eps=eps, positions=positions)
        if self.steps is not None:
            known = observed.any(dim=-1)
            mean = (error.detach() * observed).sum(dim=-1) / observed.sum(dim=-1).clamp(min=1)
            self.steps.update(n, torch.where(known, mean, torch.nan))
            error = weight[..., None] * error
        loss = _observed_mean(error, observed)
        if self.ranks > 1:
            # Gradients are averaged over the ranks, and each is to count by what it observed.
            own = observed.sum().to(error)
            mean = self.trainer.strategy.reduce(own.clone(), reduce_op="mean")
            loss = loss * own / torch.as_tensor(mean).clamp(min=1 / self.ranks)
        # Lightning would forget those of an epoch in whose middle a training goes on.
        total, count = self.losses
        self.losses = total + loss.detach() * len(n), count + len(n)
        return loss

    def _positions(self, batch: Batch) -> Tensor | None:
        """Random steps of each window, each set as likely as any other, ``[B, K]``; None for all."""
        windows, length = self._taught(batch)
        count = max(1, round(self.config.positions * length))
        if count == length:
            return None
        return torch.rand(windows, length, device=self.device).topk(count).indices

    def _taught(self, batch: Batch) -> tuple[int, int]:
        """Windows, and steps of each that the loss is asked about."""
        return len(batch.target), self.model.taught_steps

    def optimizer_step(self, *args: Any, **options: Any) -> None:
        super().optimizer_step(*args, **options)
        if self.average is not None:
            self.follow(self.average)

    def follow(self, average: TimeGrad) -> None:
        """Moves the average of the weights towards the weights after a step."""
        # The first steps forget faster, so that a short run does not average in its initial weights.
        step = self.global_step + 1
        decay = min(self.config.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(average.parameters()), list(self.model.parameters()), 1 - decay
            )

    def on_train_batch_end(self, *_: Any) -> None:
        if self.trainer.is_last_batch:
            self._log_loss()

    def _log_loss(self) -> None:
        total, count = self.losses
        if count:
            self.log(
                "train_loss",
                total / count,
                on_step=False,
                on_epoch=True,
                batch_size=1,
                sync_dist=self.ranks > 1,
            )
            self.losses = 0.0, 0

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        # Once: the first process tells the others, who stop and keep epochs by the same number.
        own = self.trainer.is_global_zero
        loss = (
            self._validation_loss(batch, batch_idx) if own else torch.zeros((), device=self.device)
        )
        if self.ranks > 1:
            loss = self.trainer.strategy.broadcast(loss).to(self.device)
        self.log("val_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch.target))

    def _validation_loss(self, batch: Batch, batch_idx: int) -> Tensor:
        generator = torch.Generator().manual_seed(batch_idx)
        shape, steps = self._taught(batch), self.model.config.diffusion_steps
        errors = []
        for level in range(VALIDATION_LEVELS):
            # Stratified: each level is drawn from a part of the chain of its own.
            u = (level + torch.rand(shape, generator=generator)) / VALIDATION_LEVELS
            n = (u * steps).long().clamp(max=steps - 1) + 1
            eps = torch.randn(*shape, batch.target.shape[-1], generator=generator)
            error, observed = self.forecaster.loss(
                batch, n=n.to(self.device), eps=eps.to(self.device, batch.features.dtype)
            )
            errors.append(_observed_mean(error, observed))
        return torch.stack(errors).mean()

    def on_train_epoch_end(self) -> None:
        self._log_loss()  # of an epoch that has ended early
        logged = self.trainer.callback_metrics
        losses = {
            name: float(logged[name]) for name in ("train_loss", "val_loss") if name in logged
        }
        self.check_finite(losses.get("train_loss", 0.0))
        self.history.append({"epoch": float(self.current_epoch)} | losses)

    def check_finite(self, loss: float = 0.0) -> None:
        """Raises `InputError` before a diverged state is kept; only then, as the device waits for it."""
        weights = all(bool(p.isfinite().all()) for p in self.parameters())
        if weights and math.isfinite(loss):
            return
        before = [getattr(c, "last_model_path", "") for c in self.trainer.checkpoint_callbacks]
        kept = next(filter(None, before), None)
        raise InputError(
            f"training diverged by step {self.trainer.global_step}: its loss or weights are infinite or "
            f"no numbers; lower learning_rate (it is {self.config.learning_rate:g}), or give a gradient_clip"
            + (f" (the state before is in {kept})" if kept else "")
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["seed"], checkpoint["history"] = self.seed, list(self.history)
        checkpoint["threads"] = self.threads
        checkpoint["total_steps"] = int(self.trainer.estimated_stepping_batches)
        checkpoint["random"] = list(self.stream.states)
        checkpoint["begun"] = self.trainer.fit_loop.batch_idx + 1
        checkpoint["losses"] = [float(self.losses[0]), self.losses[1]]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        total = int(self.trainer.estimated_stepping_batches)
        if checkpoint["total_steps"] != total:
            raise InputError(
                f"the checkpoint is of a training of {checkpoint['total_steps']} steps, whose learning "
                f"rates do not suit {total}; give the same number of steps, or train_from its predictor"
            )
        self.seed, self.history = checkpoint["seed"], list(checkpoint["history"])
        if (
            "begun" in checkpoint
        ):  # since 0.2.0; what is of the epoch alone is forgotten with its end
            self.begun, self.losses = checkpoint["begun"], tuple(checkpoint["losses"])
            self.stream.states = list(checkpoint["random"])

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(
            self.model.parameters(),
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            # Scaled gradients must be unscaled before they are clipped, a fused optimiser would do it later;
            # None leaves the choice to torch.
            fused=(self.device.type in FUSED_DEVICES and not self._scaled_gradients) or None,
        )
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=self.config.learning_rate,
            total_steps=int(self.trainer.estimated_stepping_batches),
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    @property
    def _scaled_gradients(self) -> bool:
        return getattr(self.trainer.precision_plugin, "scaler", None) is not None

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        plugin = self.trainer.precision_plugin
        if isinstance(plugin, MixedPrecision) and not self._scaled_gradients:
            # Its own method refuses a fused optimiser even where it scales no gradients (bf16).
            kind = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
            Precision.clip_gradients(plugin, optimizer, gradient_clip_val or 0.0, kind)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)


def _observed_mean(error: Tensor, observed: Tensor) -> Tensor:
    return (error * observed).sum() / observed.sum().clamp(min=1)
