"""DeepAR and PatchTST of GluonTS: one network for all series, each forecast by itself."""

import tempfile
import warnings
from typing import Any

from timediff.baselines.external import entries, univariate
from timediff.baselines.task import Fitted, Task
from timediff.frequency import quiet_business_days
from timediff.tools.seeding import seeded

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
    from timediff.training.trainer import quiet_lightning

    begin = task.starts[0] - task.gaps[0] - len(task.train)
    with tempfile.TemporaryDirectory(prefix="timediff-") as folder, seeded(seed):
        estimator.trainer_kwargs["default_root_dir"] = folder
        with quiet_business_days(), quiet_lightning(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predictor = estimator.train(list(entries(task.train, begin, task.columns)))
    return Fitted(univariate(predictor, task.columns), {"optimiser_steps": STEPS, "device": "cpu"})
