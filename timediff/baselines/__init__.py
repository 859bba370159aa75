"""Forecasters to compare with, all of them joint over series and steps, on one interface.

`BASELINES` holds them by name: ``BASELINES["var"].forecast(task, num_samples=100, seed=1)`` gives paths
``[W, S, T, D]``. A `Task` is what they are given, and `chosen` gives the names behind ``--baselines fast``.
"""

from timediff.baselines.base import Baseline, chosen
from timediff.baselines.naive import seasonal_naive
from timediff.baselines.task import Fitted, Task, Window, check_task
from timediff.registry import BASELINES

__all__ = [
    "BASELINES",
    "Baseline",
    "Fitted",
    "Task",
    "Window",
    "check_task",
    "chosen",
    "seasonal_naive",
]
