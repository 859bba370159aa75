"""The true distribution of the future of ``load_dataset("oracle")``, as entrants of the tasks made of it."""

from functools import partial

import numpy as np

from timediff.baselines.base import Baseline
from timediff.baselines.task import Array, Fitted, Task, Window
from timediff.data.oracle.dataset import true_paths

__all__ = ["ORACLES", "fit_oracle"]


def fit_oracle(task: Task, *, seed: int, progress: bool, knows_regime: bool = False) -> Fitted:
    """`true_paths`, for which nothing is fitted."""

    def bulk(task: Task, num_samples: int, seed: int) -> Array:
        sizes = {"horizon": task.horizon, "num_samples": num_samples}
        return true_paths(task.known, seed=seed, knows_regime=knows_regime, **sizes)

    def sample(window: Window, num_samples: int, rng: np.random.Generator) -> Array:
        past = {"start": window.begin, "target": window.history.T, "info": task.known[0]["info"]}
        return bulk(task._replace(known=[past]), num_samples, int(rng.integers(2**31)))[0]

    return Fitted(sample, {}, bulk)


ORACLES = {
    "oracle": Baseline(
        "oracle",
        "Paths from the true distribution of the future given the observed past: the floor, which "
        "nothing that sees the past alone can beat in expectation.",
        True,
        fit_oracle,
    ),
    "oracle_regime": Baseline(
        "oracle that knows the regime",
        "The same, given the hidden regime too, which no forecaster can see: not the floor.",
        True,
        partial(fit_oracle, knows_regime=True),
    ),
}
"""Those that know the process of the data, for tasks where there is one."""
