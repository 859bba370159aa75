"""Tasks of baselines for tests."""

import pandas as pd

from timediff.baselines import Task

START = pd.Period("2020-01-06", freq="h")


def task_of(full, *, ends, horizon=4, seasons=(1,), train=None, start=START):
    """A task whose windows begin at the steps ``ends`` of hourly data ``[T, D]``."""
    train = min(ends) if train is None else train
    return Task(
        train=full[:train],
        histories=[full[:end] for end in ends],
        gaps=[end - train for end in ends],
        horizon=horizon,
        freq="h",
        starts=[start + end for end in ends],
        seasons=list(seasons),
        columns=[f"series {d}" for d in range(full.shape[1])],
    )
