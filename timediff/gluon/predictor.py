"""The trained model as one of GluonTS's predictors for torch, which load Lightning: a second or more."""

from pathlib import Path
from typing import Any

import torch
from gluonts.torch.model.predictor import PyTorchPredictor
from gluonts.transform import Chain

from timediff.gluon.paths import PathPredictor
from timediff.gluon.storage import OPTIONS
from timediff.timegrad.batch import Batch
from timediff.timegrad.model import TimeGrad

__all__ = ["TimeGradPredictor"]


class TimeGradPredictor(PathPredictor, PyTorchPredictor):
    __doc__ = PathPredictor.__doc__

    def _begin(self, model: TimeGrad, **options: Any) -> None:
        PyTorchPredictor.__init__(
            self,
            input_names=list(Batch._fields),
            prediction_net=model,
            input_transform=Chain([]),
            **options,
        )

    @classmethod
    def of(cls, predictor: PathPredictor) -> "TimeGradPredictor":
        """A predictor as one of this class, with the same network."""
        if isinstance(predictor, cls):
            return predictor
        options = {name: getattr(predictor, name) for name in OPTIONS}
        return cls(
            predictor.prediction_net,
            sampling=predictor.sampling,
            device=str(predictor.device),
            **options,
        )

    @classmethod
    def deserialize(cls, path: Path, device: str | torch.device = "auto") -> "TimeGradPredictor":
        """The predictor that `serialize` wrote. No file decides what is imported or run.

        Raises:
            InputError: A file is missing or damaged, or names a class that is not ours.
        """
        return cls.of(PathPredictor.deserialize(path, device))
