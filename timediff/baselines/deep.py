"""DeepAR and PatchTST of GluonTS: one network for all series, each forecast by itself."""

import tempfile
from typing import Any

from timediff.baselines.base import COPULA, Baseline
from timediff.baselines.external import train, univariate
from timediff.baselines.task import Fitted, Task

__all__ = [
    "DEEPAR",
    "DEEPAR_COPULA",
    "PATCHTST",
    "PATCHTST_COPULA",
    "STEPS",
    "fit_deepar",
    "fit_patchtst",
]

#: The training budget: optimiser steps of 32 windows of one series each.
STEPS = 1000
_STEPS_PER_EPOCH = 50


def fit_deepar(task: Task, *, seed: int, progress: bool) -> Fitted:
    """DeepAR with an embedding of the series, else as GluonTS has it."""
    from gluonts.torch import DeepAREstimator

    estimator = DeepAREstimator(
        freq=task.starts[0].freqstr,
        num_feat_static_cat=1,
        cardinality=[len(task.columns)],
        context_length=2 * task.horizon,
        **_options(task),
    )
    return _fit(estimator, task, seed=seed)


def fit_patchtst(task: Task, *, seed: int, progress: bool) -> Fitted:
    """PatchTST with a context of four horizons in patches of a sixth of a horizon."""
    from gluonts.torch import PatchTSTEstimator

    patch = max(task.horizon // 6, 2)
    estimator = PatchTSTEstimator(
        patch_len=patch, stride=patch, context_length=4 * task.horizon, **_options(task)
    )
    return _fit(estimator, task, seed=seed)


def _options(task: Task) -> dict[str, Any]:
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "enable_checkpointing": True}
    return {
        "prediction_length": task.horizon,
        "num_batches_per_epoch": _STEPS_PER_EPOCH,
        "trainer_kwargs": {**quiet, "max_epochs": max(STEPS // _STEPS_PER_EPOCH, 1)},
    }


def _fit(estimator: Any, task: Task, *, seed: int) -> Fitted:
    with tempfile.TemporaryDirectory(prefix="timediff-") as folder:
        estimator.trainer_kwargs["default_root_dir"] = folder
        predictor = train(estimator, task, seed=seed, one_by_one=True)
    return Fitted(univariate(predictor, task.columns), {"optimiser_steps": STEPS, "device": "cpu"})


DEEPAR = Baseline(
    "DeepAR",
    "GluonTS, one network for all series, 1000 optimiser steps on the CPU; independent series.",
    False,
    fit_deepar,
)
DEEPAR_COPULA = Baseline("DeepAR, copula", COPULA, False, fit_deepar, copula=True)
PATCHTST = Baseline(
    "PatchTST",
    "GluonTS, one network for all series, 1000 optimiser steps on the CPU; independent series and steps.",
    False,
    fit_patchtst,
)
PATCHTST_COPULA = Baseline("PatchTST, copula", COPULA, False, fit_patchtst, copula=True)
