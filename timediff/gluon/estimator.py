"""TimeGrad as a GluonTS estimator: ``TimeGradEstimator(prediction_length=24).train(dataset)``."""

import copy
import logging
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from gluonts.core.component import validated
from gluonts.torch.model.estimator import PyTorchLightningEstimator, TrainOutput
from gluonts.torch.model.predictor import PyTorchPredictor
from gluonts.transform import Chain, Transformation

from timediff.checks import check_options
from timediff.config import ModelConfig, SamplingConfig, TrainConfig
from timediff.errors import InputError
from timediff.frequency import default_difference, default_lags, num_time_features, to_period_freq
from timediff.gluon.entries import (
    Series,
    changes,
    read_dataset,
    warn_of_poor_dimensions,
    warn_of_unused_fields,
)
from timediff.gluon.predictor import TimeGradPredictor
from timediff.gluon.windows import LastWindows, TrainingWindows, WindowData
from timediff.timegrad.batch import Shape
from timediff.timegrad.model import TimeGrad
from timediff.timegrad.normalisation.training import training_default
from timediff.tools.precision import matmul_precision
from timediff.training.budget import (
    RESERVE,
    TIMED,
    WARM_UP,
    Pace,
    Stopwatch,
    epochs_of,
    steps_within,
)
from timediff.training.callbacks import BestCheckpoint, Patience, TrainingBar
from timediff.training.fit import check_checkpoint, interruptible, quiet_lightning
from timediff.training.module import TimeGradModule

logger = logging.getLogger(__name__)

#: Options that say what a network's weights mean, beside those that give them their shapes.
_MEANING = ("parameterisation", "schedule", "beta_start", "beta_end", "diffusion_steps", "scaling")

#: Share of the data's variance at the end of the chain from which forecasts go visibly wrong.
MOST_SIGNAL_LEFT = 0.1


class TimeGradEstimator(PyTorchLightningEstimator):
    """Trains TimeGrad on a GluonTS dataset of multivariate entries.

    Source: Rasul et al. (2021), arXiv:2101.12072.

    Args:
        prediction_length: Steps of a forecast.
        freq: Frequency of the data; read from the dataset when left out.
        target_dim: Dimensions of the target; read from the dataset when left out.
        model: What the network is; ``timediff.PRESETS["paper"].model`` is the published one.
        train: How it is trained.
        sampling: How its predictor draws paths, until told otherwise.
        lead_time: Steps between the end of the known data and the forecast.
        progress: Show a progress bar on stderr while training.
        trainer_kwargs: Passed to `lightning.pytorch.Trainer`, over our own choices.

    Raises:
        InputError: An option or the dataset does not make sense; said before any training.
    """

    @validated()
    def __init__(
        self,
        prediction_length: int,
        freq: str | None = None,
        target_dim: int | None = None,
        model: ModelConfig = ModelConfig(),  # noqa: B008 (immutable)
        train: TrainConfig = TrainConfig(),  # noqa: B008
        sampling: SamplingConfig = SamplingConfig(),  # noqa: B008
        lead_time: int = 0,
        progress: bool = True,
        trainer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.prediction_length, self.lead_time = prediction_length, lead_time
        self.freq = to_period_freq(freq) if freq else None
        self.target_dim = target_dim
        self.model, self.train_config, self.sampling = model, train, sampling
        self.progress = progress
        if lead_time < 0:
            raise InputError(f"lead_time is {lead_time}; it must not be negative")
        check_options(
            model, train, sampling, prediction_length=prediction_length, target_dim=target_dim
        )
        super().__init__(trainer_kwargs=dict(trainer_kwargs or {}), lead_time=lead_time)

    @property
    def shape(self) -> Shape:
        """Sizes of the network; known once frequency and dimension are."""
        if self.freq is None or self.target_dim is None:
            raise InputError(
                "freq and target_dim are read from the training data: call train first"
            )
        model = self.model
        difference = model.difference
        return Shape(
            target_dim=self.target_dim,
            horizon=self.prediction_length + self.lead_time,
            context_length=model.context_length or self.prediction_length,
            lags=sorted(model.lags) if model.lags else default_lags(self.freq),
            num_features=num_time_features(self.freq),
            difference=default_difference(self.freq) if difference is None else difference,
        )

    def create_transformation(self) -> Transformation:
        """Nothing: entries are read by `timediff.gluon.windows`."""
        return Chain([])

    def create_lightning_module(self) -> TimeGradModule:
        """A network with fresh weights, the same for the same seed."""
        with torch.random.fork_rng(devices=[]):
            if self.train_config.seed is not None:
                torch.manual_seed(self.train_config.seed)
            model = TimeGrad(self.model, self.shape)
        return TimeGradModule(model, self.train_config)

    def create_training_data_loader(
        self, data: Iterable[Mapping[str, Any]], module: TimeGradModule, **kwargs: Any
    ) -> TrainingWindows:
        series = self._read(data)
        windows = WindowData(series, self.shape)
        if not len(windows.starts):
            longest = max(len(one.values) for one in series)
            raise InputError(
                f"no series is longer than the horizon of {self.shape.horizon} steps (the longest has "
                f"{longest}), so there is no window to train on; give longer series or a shorter horizon"
            )
        _, batches = epochs_of(self.train_config.steps, self.train_config.steps_per_epoch)
        return TrainingWindows(
            windows, batch_size=self.train_config.batch_size, batches=batches, module=module
        )

    def create_validation_data_loader(
        self, data: Iterable[Mapping[str, Any]], module: TimeGradModule, **kwargs: Any
    ) -> LastWindows:
        windows = WindowData(self._read(data, what="validation data"), self.shape)
        if not len(windows.ends):
            raise InputError(
                "no series of the validation data is longer than the horizon of "
                f"{self.shape.horizon} steps; give it the training series with their future"
            )
        return LastWindows(windows, batch_size=self.train_config.batch_size)

    def create_predictor(
        self, transformation: Transformation, module: TimeGradModule
    ) -> TimeGradPredictor:
        assert self.freq is not None
        return TimeGradPredictor(
            module.forecaster,
            sampling=self.sampling,
            freq=self.freq,
            prediction_length=self.prediction_length,
            lead_time=self.lead_time,
        )

    def train_model(
        self,
        training_data: Iterable[Mapping[str, Any]],
        validation_data: Iterable[Mapping[str, Any]] | None = None,
        from_predictor: PyTorchPredictor | None = None,
        shuffle_buffer_length: int | None = None,
        cache_data: bool = False,
        ckpt_path: str | Path | None = None,
    ) -> TrainOutput:
        """Trains and returns network, trainer and predictor.

        With validation data (each entry's last window is forecast) the weights of the best epoch are
        returned, otherwise the last. Checkpoints hold the optimiser too and can be resumed from.

        Args:
            training_data: GluonTS entries, target ``[D, T]``, or ``[T]`` for one dimension.
            validation_data: Entries whose last ``lead_time + prediction_length`` steps are the truth.
            from_predictor: Start from its weights.
            shuffle_buffer_length: Part of GluonTS's interface; windows are always drawn from everywhere.
            cache_data: Part of GluonTS's interface; data is always held in memory.
            ckpt_path: A checkpoint (``last.ckpt``) to go on from, optimiser included.
        """
        series = read_dataset(training_data, freq=self.freq, target_dim=self.target_dim)
        resolved = self._resolved(series, from_predictor)
        return resolved._fit(series, validation_data, from_predictor, ckpt_path)

    def _fit(
        self,
        series: list[Series],
        validation_data: Iterable[Mapping[str, Any]] | None,
        from_predictor: PyTorchPredictor | None,
        ckpt_path: str | Path | None,
    ) -> TrainOutput:
        self._check_training(series, validated=validation_data is not None)
        warn_of_poor_dimensions(series, horizon=self.shape.horizon)
        warn_of_unused_fields(series)
        module = self.create_lightning_module()
        before = None if ckpt_path is None else check_checkpoint(Path(ckpt_path), module)
        self._warn_of_signal(module)
        entries = [one.entry for one in series]
        training = self.create_training_data_loader(entries, module)
        self._start_weights(module, series, from_predictor)
        validation = None
        if validation_data is not None:
            validation = self.create_validation_data_loader(validation_data, module)
        steps = self._steps(before, module, training, validation)
        epochs, training.batches = epochs_of(steps, self.train_config.steps_per_epoch)

        # Without a folder of the user's, checkpoints stay out of the way, and go once they are not needed.
        given = self.trainer_kwargs.get("default_root_dir")
        folder = str(given) if given else tempfile.mkdtemp(prefix="timediff-")
        callbacks = self._callbacks(validated=validation is not None)
        trainer, checkpoint = self._trainer(
            self.trainer_kwargs, folder, callbacks, epochs=epochs, validated=validation is not None
        )
        try:
            precision = matmul_precision(self.train_config.precision, trainer.strategy.root_device)
            with interruptible(), quiet_lightning(), precision:
                trainer.fit(module, training, validation, ckpt_path=ckpt_path)
        except BaseException:
            logger.warning(f"training stopped; its checkpoints are in {folder}")
            raise
        if validation is not None and checkpoint is not None and checkpoint.best_model_path:
            # Restored as tensors only: a checkpoint is a file like any other.
            best = torch.load(checkpoint.best_model_path, map_location="cpu", weights_only=True)
            module.load_state_dict(best["state_dict"])
        if not given:
            shutil.rmtree(folder, ignore_errors=True)
        transformation = self.create_transformation()
        return TrainOutput(
            transformation, module, trainer, self.create_predictor(transformation, module)
        )

    def _check_training(self, series: list[Series], *, validated: bool) -> None:
        """Raises `InputError` for what the data and the options do not allow together."""
        if self.train_config.patience and not validated:
            raise InputError(
                "patience stops on the validation loss; give validation data, or patience 0"
            )
        if validated and self.model.schedule == "learned":
            raise InputError(
                "a learned schedule moves the levels that a validation loss would be measured at, so no two "
                "epochs compare; leave out validation data, or choose another schedule"
            )
        longest = max(len(one.values) for one in series)
        if longest <= self.shape.difference:
            raise InputError(
                f"difference is {self.shape.difference}, but the longest series has {longest} steps; "
                "give a smaller one, or 0"
            )

    def _warn_of_signal(self, module: TimeGradModule) -> None:
        last = module.model.schedule.points[-1]
        left = (last.alpha / last.norm) ** 2
        if left > MOST_SIGNAL_LEFT:
            warnings.warn(
                f"after {self.model.diffusion_steps} diffusion steps {left:.0%} of the data's variance "
                "is left, but sampling starts from pure noise: raise beta_end, or have more "
                "diffusion_steps and choose fewer sampling steps",
                stacklevel=4,
            )

    def _resolved(
        self, series: list[Series], predictor: PyTorchPredictor | None
    ) -> "TimeGradEstimator":
        """This estimator with what was left out filled in from the data."""
        freq = self.freq or to_period_freq(series[0].start.freqstr)
        difference = self.model.difference
        if difference is None and isinstance(predictor, TimeGradPredictor):
            difference = predictor.prediction_net.shape.difference
        if difference is None:
            difference = default_difference(freq)
            longest = max(len(one.values) for one in series)
            if longest < 2 * difference + self.prediction_length + self.lead_time:
                difference = 0
        return TimeGradEstimator(
            prediction_length=self.prediction_length,
            freq=freq,
            target_dim=self.target_dim or series[0].values.shape[1],
            model=self.model._replace(difference=difference),
            train=self.train_config,
            sampling=self.sampling,
            lead_time=self.lead_time,
            progress=self.progress,
            trainer_kwargs=self.trainer_kwargs,
        )

    def _read(self, data: Iterable[Mapping[str, Any]], what: str = "training data") -> list[Series]:
        return read_dataset(data, freq=self.freq, target_dim=self.target_dim, what=what)

    def _steps(
        self,
        before: dict[str, Any] | None,
        module: TimeGradModule,
        training: TrainingWindows,
        validation: LastWindows | None,
    ) -> int:
        """Optimiser steps: those asked for, or as many as fit into the time, which a resumed run knows."""
        config = self.train_config
        if config.time_budget is None:
            return config.steps
        given = sorted({"max_epochs", "max_steps"} & self.trainer_kwargs.keys())
        if given:
            raise InputError(
                f"{given[0]} and time_budget both say how long training is; give one of them"
            )
        if before is not None:
            return before["total_steps"]
        stopwatch = Stopwatch(config.time_budget)
        pace = self._pace(stopwatch, module, training, validation)
        left = (1 - RESERVE) * config.time_budget - (stopwatch.clock() - stopwatch.began)
        steps = steps_within(left, pace, config.steps_per_epoch)
        said = (
            f"time budget of {config.time_budget:g} s: {steps} steps of {pace.step:.3g} s, "
            f"about {pace.seconds(steps, config.steps_per_epoch):.3g} s"
        )
        if self.progress:
            print(said, file=sys.stderr)
        else:
            logger.info(said)
        return steps

    def _pace(
        self,
        stopwatch: Stopwatch,
        module: TimeGradModule,
        training: TrainingWindows,
        validation: LastWindows | None,
    ) -> Pace:
        """That of a trial with a copy of the module, which leaves nothing behind."""
        trial = copy.deepcopy(module)
        windows = TrainingWindows(
            training.data, batch_size=training.batch_size, batches=WARM_UP + TIMED, module=trial
        )
        theirs = ("callbacks", "logger", "default_root_dir")
        options = {k: v for k, v in self.trainer_kwargs.items() if k not in theirs}
        with tempfile.TemporaryDirectory(prefix="timediff-") as folder:
            trainer, _ = self._trainer(
                options, folder, [stopwatch], epochs=1, validated=validation is not None
            )
            if trainer.world_size > 1:
                raise InputError(
                    "time_budget times one process, and several would disagree; give steps instead"
                )
            precision = matmul_precision(self.train_config.precision, trainer.strategy.root_device)
            with interruptible(), quiet_lightning(), precision:
                trainer.fit(trial, windows, validation)
        return stopwatch.pace()

    def _start_weights(
        self, module: TimeGradModule, series: list[Series], predictor: PyTorchPredictor | None
    ) -> None:
        """The scale of the training data, or everything from a trained predictor."""
        models = [module.model] + ([module.average] if module.average is not None else [])
        if predictor is None:
            scale = training_default(*changes(series, self.shape.difference))
            level = training_default(*changes(series, 0))[0]
            for model in models:
                model.training_scale.copy_(scale)
                model.training_level.copy_(level)
            return
        start = predictor.prediction_net
        if getattr(start, "shape", None) != self.shape:
            raise InputError(
                f"the predictor was made for {getattr(start, 'shape', 'another model')}, this estimator "
                f"is for {self.shape}; use the same data layout and options for both"
            )
        for name in _MEANING:
            theirs, ours = getattr(start.config, name), getattr(self.model, name)
            if theirs != ours:
                raise InputError(
                    f"the predictor was trained with {name} {theirs}, this estimator has {ours}; its weights "
                    "mean something else then: use the same"
                )
        try:
            for model in models:
                model.load_state_dict(start.state_dict())
        except RuntimeError as error:
            raise InputError(
                "the predictor was made with other model options than this estimator's; use the same"
            ) from error

    def _callbacks(self, *, validated: bool) -> list[pl.Callback]:
        """The user's, and ours beside the checkpoint."""
        # A copy: GluonTS itself pops the list and so loses it on the second train.
        callbacks = list(self.trainer_kwargs.get("callbacks") or [])
        if self.progress:
            callbacks.append(TrainingBar())
        if validated and self.train_config.patience:
            patience = self.train_config.patience
            callbacks.append(Patience("val_loss", patience=patience, check_on_train_epoch_end=True))
        return callbacks

    def _trainer(
        self,
        given: Mapping[str, Any],
        folder: str,
        callbacks: list[pl.Callback],
        *,
        epochs: int,
        validated: bool,
    ) -> tuple[pl.Trainer, BestCheckpoint | None]:
        """A trainer with the options ``given`` over our own, and its checkpoint if it makes any."""
        config = self.train_config
        options = dict(given)
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
        if options.get("max_epochs") == -1:
            raise InputError(
                "max_epochs is -1; the learning rates need to know how long training is"
            )
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
        with quiet_lightning():
            return pl.Trainer(**{**ours, **options, "callbacks": callbacks}), checkpoint
