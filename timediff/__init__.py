"""Joint probabilistic forecasts of many time series by denoising diffusion.

The names below are loaded when first used, so that ``python -m timediff.evaluate --help`` does not
wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from timediff.benchmark.backtest import backtest
    from timediff.benchmark.comparison import compare
    from timediff.config import ModelConfig, Preset, SamplingConfig, TrainConfig
    from timediff.data.dataset import Dataset, load_dataset
    from timediff.errors import InputError
    from timediff.exported.write import export
    from timediff.forecaster.forecast import Forecast
    from timediff.forecaster.forecaster import Forecaster
    from timediff.gluon.distill import distill
    from timediff.gluon.estimator import TimeGradEstimator
    from timediff.gluon.predictor import TimeGradPredictor
    from timediff.metrics import score
    from timediff.presets import PRESETS
    from timediff.registry import register
    from timediff.sharing.hub import from_pretrained, push_to_hub, save_pretrained
    from timediff.timegrad.model import TimeGrad

__version__ = "0.2.0.dev0"
__all__ = [
    "PRESETS",
    "Dataset",
    "Forecast",
    "Forecaster",
    "InputError",
    "ModelConfig",
    "Preset",
    "SamplingConfig",
    "TimeGrad",
    "TimeGradEstimator",
    "TimeGradPredictor",
    "TrainConfig",
    "backtest",
    "compare",
    "distill",
    "export",
    "from_pretrained",
    "load_dataset",
    "push_to_hub",
    "register",
    "save_pretrained",
    "score",
]

_HOMES = {
    "PRESETS": "presets",
    "Dataset": "data.dataset",
    "Forecast": "forecaster.forecast",
    "Forecaster": "forecaster.forecaster",
    "InputError": "errors",
    "ModelConfig": "config",
    "Preset": "config",
    "SamplingConfig": "config",
    "TimeGrad": "timegrad.model",
    "TimeGradEstimator": "gluon.estimator",
    "TimeGradPredictor": "gluon.predictor",
    "TrainConfig": "config",
    "distill": "gluon.distill",
    "export": "exported.write",
    "backtest": "benchmark.backtest",
    "compare": "benchmark.comparison",
    "load_dataset": "data.dataset",
    "from_pretrained": "sharing.hub",
    "push_to_hub": "sharing.hub",
    "register": "registry",
    "save_pretrained": "sharing.hub",
    "score": "metrics",
}


def __getattr__(name: str) -> Any:
    if name == "predictor":
        # Where predictors saved by 0.1.0 say that their class is; GluonTS's own loader looks it up.
        return import_module("timediff.gluon.predictor")
    if name not in _HOMES:
        raise AttributeError(f"module 'timediff' has no attribute {name!r}")
    return getattr(import_module(f"timediff.{_HOMES[name]}"), name)
