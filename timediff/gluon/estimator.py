"""TimeGrad as a GluonTS estimator: ``TimeGradEstimator(prediction_length=24).train(dataset)``."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from gluonts.core.component import validated
from gluonts.torch.model.estimator import PyTorchLightningEstimator, TrainOutput
from gluonts.torch.model.predictor import PyTorchPredictor
from gluonts.transform import Chain, Transformation
from torch import Tensor

from timediff.arguments import checked
from timediff.checks import check_options
from timediff.config import ModelConfig, SamplingConfig, TrainConfig
from timediff.data.entry import columns_of, entries_of
from timediff.errors import InputError
from timediff.frequency import (
    default_difference,
    default_lags,
    num_time_features,
    to_period_freq,
)
from timediff.gluon.entries import (
    Series,
    changes,
    read_dataset,
    warn_of_poor_dimensions,
    warn_of_unused_fields,
)
from timediff.gluon.fields import covariate_shape
from timediff.gluon.joint import are_univariate, item_ids, joined
from timediff.gluon.linear import adaptive_shape, fit_centre, weigh
from timediff.gluon.predictor import TimeGradPredictor
from timediff.gluon.sense import check_training, filled_in, warn_of_signal, warn_of_univariate
from timediff.gluon.support import make_support
from timediff.gluon.windows import LastWindows, TrainingWindows, WindowData
from timediff.options import Between, Count
from timediff.timegrad.batch import Shape
from timediff.timegrad.model import TimeGrad
from timediff.timegrad.normalisation.training import training_default
from timediff.tools.seeding import Stream
from timediff.training.budget import epochs_of
from timediff.training.fit import fit, start_from
from timediff.training.module import TimeGradModule
from timediff.training.trainer import check_trainer_options

__all__ = ["TimeGradEstimator"]


class TimeGradEstimator(PyTorchLightningEstimator):
    """An estimator that trains TimeGrad on a GluonTS dataset of multivariate entries.

    Source: Rasul et al. (2021), arXiv:2101.12072.

    Args:
        prediction_length: Steps of a forecast.
        freq: Frequency of the data; read from the dataset when left out.
        target_dim: Dimensions of the target; read from the dataset when left out.
        model: What the network is; ``timediff.PRESETS["paper"].model`` is the published one.
        train: How it is trained.
        sampling: How its predictor draws paths; there it can be set to another.
        lead_time: Steps between the end of the known data and the forecast.
        joint: Whether entries with a target ``[T]`` each are the dimensions of one joint model, told by their
            ``item_id``. Its predictor takes such entries and gives a forecast of each. False makes them
            examples of one univariate model; None too, with a warning.
        progress: Show a progress bar on stderr while training.
        trainer_kwargs: Passed to `lightning.pytorch.Trainer`, over our own choices. Each training has
            copies of callbacks and loggers; those used are in the ``trainer`` that `train_model` returns.

    Raises:
        InputError: An option or the dataset does not make sense; raised before any training.
    """

    @checked
    @validated()
    def __init__(
        self,
        prediction_length: Count,
        freq: str | None = None,
        target_dim: Annotated[int | None, Between(1)] = None,
        model: ModelConfig = ModelConfig(),  # noqa: B008 (immutable)
        train: TrainConfig = TrainConfig(),  # noqa: B008
        sampling: SamplingConfig = SamplingConfig(),  # noqa: B008
        lead_time: Annotated[int, Between(0, 1_000_000)] = 0,
        joint: bool | None = None,
        progress: bool = True,
        trainer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.prediction_length, self.lead_time = prediction_length, lead_time
        self.freq = to_period_freq(freq) if freq else None
        self.target_dim = target_dim
        self.model, self.train_config, self.sampling = model, train, sampling
        self.progress, self.joint = progress, joint
        #: Fields of `Shape` that say what is known beside the target; read from the training data.
        self.beside: dict[str, Any] = {}
        check_options(model, train, sampling, target_dim=target_dim)
        check_trainer_options(trainer_kwargs or {})
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
        if difference is None:
            difference = 0 if model.scaling == "adaptive" else default_difference(self.freq)
        return Shape(
            target_dim=self.target_dim,
            horizon=self.prediction_length + self.lead_time,
            context_length=model.context_length or self.prediction_length,
            lags=sorted(model.lags) if model.lags else default_lags(self.freq),
            num_features=num_time_features(self.freq),
            difference=difference,
            **self.beside,
            **(adaptive_shape(model, self.freq) if model.scaling == "adaptive" else {}),
        )

    def create_transformation(self) -> Transformation:
        """An empty chain: entries are read by `timediff.gluon.windows`."""
        return Chain([])

    def create_lightning_module(self) -> TimeGradModule:
        """A network with fresh weights, the same for the same seed."""
        with Stream().lent(torch.device("cpu"), seed=self.train_config.seed):
            model = TimeGrad(self.model, self.shape)
        return TimeGradModule(model, self.train_config)

    def create_training_data_loader(
        self, data: Iterable[Mapping[str, Any]], module: TimeGradModule, **kwargs: Any
    ) -> TrainingWindows:
        windows = WindowData(self._read(data), self.shape)
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

    @checked
    def train(
        self,
        training_data: Iterable[Mapping[str, Any]],
        validation_data: Iterable[Mapping[str, Any]] | None = None,
        shuffle_buffer_length: int | None = None,
        cache_data: bool = False,
        ckpt_path: str | Path | None = None,
    ) -> TimeGradPredictor:
        """The predictor of `train_model`, which has the same arguments."""
        # Not GluonTS's own, which passes over arguments that it does not know.
        return self.train_model(training_data, validation_data, ckpt_path=ckpt_path).predictor

    @checked
    def train_from(
        self,
        predictor: PyTorchPredictor,
        training_data: Iterable[Mapping[str, Any]],
        validation_data: Iterable[Mapping[str, Any]] | None = None,
        shuffle_buffer_length: int | None = None,
        cache_data: bool = False,
        ckpt_path: str | Path | None = None,
    ) -> TimeGradPredictor:
        """The predictor of `train_model` that begins with the weights of another."""
        return self.train_model(
            training_data, validation_data, predictor, ckpt_path=ckpt_path
        ).predictor

    @checked
    def train_model(
        self,
        training_data: Iterable[Mapping[str, Any]],
        validation_data: Iterable[Mapping[str, Any]] | None = None,
        from_predictor: PyTorchPredictor | None = None,
        shuffle_buffer_length: int | None = None,
        cache_data: bool = False,
        ckpt_path: str | Path | None = None,
    ) -> TrainOutput:
        """Network, trainer and predictor after training.

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
        entries = list(entries_of(training_data, "training data"))
        if self.joint:
            names = item_ids(entries)
            entries = [joined(entries, names)]
            if validation_data is not None:
                validation_data = [
                    joined(list(entries_of(validation_data, "validation data")), names)
                ]
        elif self.joint is None and len(entries) > 1 and are_univariate(entries):
            warn_of_univariate(entries)
        all_series = self._read(entries)
        resolved = self._resolved(all_series, from_predictor)
        return resolved._fit(all_series, validation_data, from_predictor, ckpt_path)

    def _fit(
        self,
        all_series: list[Series],
        validation_data: Iterable[Mapping[str, Any]] | None,
        from_predictor: PyTorchPredictor | None,
        ckpt_path: str | Path | None,
    ) -> TrainOutput:
        validated = validation_data is not None
        check_training(all_series, self.shape, self.model, self.train_config, validated=validated)
        warn_of_poor_dimensions(all_series, horizon=self.shape.horizon)
        warn_of_unused_fields(all_series, {covariate.field for covariate in self.shape.covariates})
        module = self.create_lightning_module()
        warn_of_signal(module.model)
        entries = [series.entry for series in all_series]
        training = self.create_training_data_loader(entries, module)
        self._start_weights(module, all_series, from_predictor)
        validation = None
        if validation_data is not None:
            validation = self.create_validation_data_loader(validation_data, module)
        windows = training.data
        held_data, held = windows, windows.starts[:0]
        if self.model.linear:
            if validation is not None:
                held_data, held = validation.data, validation.data.ends
            elif self.train_config.held_out:
                training.data, held = windows.hold_out(self.train_config.held_out)
            if not len(training.data.starts):
                training.data, held = windows, held[:0]
            fit_centre(module.models, training.data)
        trainer = fit(
            module,
            training,
            validation,
            trainer_kwargs=self.trainer_kwargs,
            progress=self.progress,
            checkpoint=ckpt_path,
        )
        transformation = self.create_transformation()
        choices: dict[str, Any] = {"threads": module.threads}
        if self.model.linear:
            choices |= self._weighed(module, held_data, held)
            choices |= fit_centre(module.models, windows)
        predictor = self.create_predictor(transformation, module)
        predictor.choices = choices
        predictor.names = columns_of(entries[0])
        predictor.check_sound()
        return TrainOutput(transformation, module, trainer, predictor)

    def _weighed(self, module: TimeGradModule, data: WindowData, held: Tensor) -> dict[str, Any]:
        """Sets the share of the network in the forecast, and tells of it."""
        if not self.train_config.held_out:
            return {}
        weighed = weigh(module.forecaster, data, held, self.sampling, seed=module.seed)
        if self.progress:
            print(weighed.sentence, file=sys.stderr)
        return weighed.choices

    def _resolved(
        self, all_series: list[Series], predictor: PyTorchPredictor | None
    ) -> "TimeGradEstimator":
        """This estimator with what was left out filled in from the data."""
        freq = self.freq or to_period_freq(all_series[0].start.freqstr)
        before = None
        if isinstance(predictor, TimeGradPredictor):
            before = predictor.prediction_net.shape
        horizon = self.prediction_length + self.lead_time
        model = filled_in(self.model, all_series, freq=freq, horizon=horizon, before=before)
        resolved = TimeGradEstimator(
            prediction_length=self.prediction_length,
            freq=freq,
            target_dim=self.target_dim or all_series[0].values.shape[1],
            model=model,
            train=self.train_config,
            sampling=self.sampling,
            lead_time=self.lead_time,
            progress=self.progress,
            trainer_kwargs=self.trainer_kwargs,
        )
        holidays, cycle = model.holidays, min(model.cycles or [1])
        resolved.beside = covariate_shape(all_series, cycle, holidays=holidays, like=before)
        return resolved

    def _read(self, data: Iterable[Mapping[str, Any]], what: str = "training data") -> list[Series]:
        return read_dataset(data, freq=self.freq, target_dim=self.target_dim, what=what)

    def _start_weights(
        self, module: TimeGradModule, all_series: list[Series], predictor: PyTorchPredictor | None
    ) -> None:
        """Gives a module the support and scale of the training data, or a trained predictor's weights."""
        support = make_support(all_series, self.model, self.shape)
        for model in module.models:
            model.support.load_state_dict(support.state_dict())
        if predictor is not None:
            start_from(module, predictor.prediction_net)
            return
        scale = training_default(*changes(all_series, self.shape.difference))
        level = training_default(*changes(all_series, 0))[0]
        for model in module.models:
            model.training_scale.copy_(scale)
            model.training_level.copy_(level)
