"""Seconds per training batch: our tensor gather against GluonTS's chain of transformations.

python evaluation/benchmarks/windows.py [--series 370] [--out evaluation/results/windows.json]

Both cut batches of random windows with all lags, mask and calendar features from the same hourly data.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from gluonts.dataset.loader import as_stacked_batches
from gluonts.itertools import Cyclic
from gluonts.time_feature import time_features_from_frequency_str
from gluonts.transform import (
    AddObservedValuesIndicator,
    AddTimeFeatures,
    AsNumpyArray,
    Chain,
    ExpectedNumInstanceSampler,
    InstanceSplitter,
)

from timediff.frequency import default_lags, num_time_features
from timediff.gluon.entries import read_dataset
from timediff.gluon.windows import TrainingWindows, WindowData
from timediff.timegrad.batch import Shape

FREQ, HORIZON, BATCH, BATCHES = "h", 24, 64, 20


def ours(data: list[dict[str, Any]], shape: Shape) -> Iterator[Any]:
    """Batches as `timediff.gluon.windows` makes them."""
    windows = WindowData(read_dataset(data), shape)
    module = SimpleNamespace(
        seed=1, current_epoch=0, global_rank=0, ranks=1, begun=0, device=torch.device("cpu")
    )
    return iter(TrainingWindows(windows, batch_size=BATCH, batches=BATCHES, module=module))


def gluonts(data: list[dict[str, Any]], shape: Shape) -> Iterator[Any]:
    """The same batches by GluonTS's own transformations, as its torch estimators chain them."""
    chain = Chain(
        [
            AsNumpyArray("target", expected_ndim=2),
            AddObservedValuesIndicator("target", "observed_values"),
            AddTimeFeatures(
                "start", "target", "time_feat", time_features_from_frequency_str(FREQ), HORIZON
            ),
            InstanceSplitter(
                "target",
                "is_pad",
                "start",
                "forecast_start",
                instance_sampler=ExpectedNumInstanceSampler(
                    num_instances=1.0, min_past=shape.history_length, min_future=HORIZON
                ),
                past_length=shape.history_length,
                future_length=HORIZON,
                time_series_fields=["time_feat", "observed_values"],
            ),
        ]
    )
    names = [
        f"{when}_{what}"
        for when in ("past", "future")
        for what in ("target", "observed_values", "time_feat")
    ]
    windows = chain.apply(Cyclic(data), is_train=True)
    return as_stacked_batches(
        windows, batch_size=BATCH, field_names=names, num_batches_per_epoch=BATCHES
    )


def median_seconds(make: Callable[[], Iterator[Any]]) -> float:
    """Of a batch, the first few left out."""
    batches, times = iter(make()), []
    for _ in range(BATCHES - 1):
        started = time.perf_counter()
        next(batches)
        times.append(time.perf_counter() - started)
    return statistics.median(times[3:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=370)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lags = default_lags(FREQ)
    shape = Shape(options.series, HORIZON, HORIZON, lags, num_time_features(FREQ))
    target = np.random.default_rng(0).normal(size=(options.series, 5833)).astype(np.float32)
    data = [{"item_id": "a", "start": pd.Period("2014-01-01", freq=FREQ), "target": target}]
    record = {
        "series": options.series,
        "batch_size": BATCH,
        "seconds_per_batch": median_seconds(lambda: ours(data, shape)),
        "seconds_per_batch_gluonts": median_seconds(lambda: gluonts(data, shape)),
    }
    record["ratio"] = record["seconds_per_batch_gluonts"] / record["seconds_per_batch"]
    print(json.dumps(record, indent=1))
    if options.out:
        options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
