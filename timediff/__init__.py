"""Joint probabilistic forecasts of many time series by denoising diffusion.

The names below are loaded when first used, so that ``python -m timediff.evaluate --help`` does not
wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from timediff.config import PRESETS, ModelConfig, Preset, SamplingConfig, TrainConfig
    from timediff.datasets import Dataset, load_dataset
    from timediff.errors import InputError
    from timediff.estimator import TimeGradEstimator
    from timediff.metrics import score
    from timediff.model import TimeGrad
    from timediff.predictor import TimeGradPredictor

__version__ = "0.1.0"
__all__ = [
    "PRESETS",
    "Dataset",
    "InputError",
    "ModelConfig",
    "Preset",
    "SamplingConfig",
    "TimeGrad",
    "TimeGradEstimator",
    "TimeGradPredictor",
    "TrainConfig",
    "load_dataset",
    "score",
]

_HOMES = {
    "PRESETS": "config",
    "Dataset": "datasets",
    "InputError": "errors",
    "ModelConfig": "config",
    "Preset": "config",
    "SamplingConfig": "config",
    "TimeGrad": "model",
    "TimeGradEstimator": "estimator",
    "TimeGradPredictor": "predictor",
    "TrainConfig": "config",
    "load_dataset": "datasets",
    "score": "metrics",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'timediff' has no attribute {name!r}")
    return getattr(import_module(f"timediff.{_HOMES[name]}"), name)
