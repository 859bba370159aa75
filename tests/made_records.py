"""Made-up forecasts, datasets and records that reports are made of."""

import json

import numpy as np
import pandas as pd

from timediff import metrics
from timediff.benchmark.diagnosis import diagnose
from timediff.benchmark.lifting import lifted
from timediff.benchmark.record import from_json
from timediff.data.dataset import Dataset
from timediff.registry import METRICS
from timediff.tools.files import plain

__all__ = ["HORIZON", "MEMBERS", "SERIES", "a_record", "dataset", "normal_forecast", "read_back"]

HORIZON, SERIES, MEMBERS = 6, 4, 40


def normal_forecast(windows, *, spread=1.0, shared=0.0, members=MEMBERS, dimensions=SERIES, seed=0):
    """Truth and paths, normal with one common part; ``spread`` and ``shared`` are of the paths alone."""
    rng = np.random.default_rng(seed)
    mean = 10 + rng.normal(size=(windows, HORIZON, dimensions))
    truth = mean + rng.normal(size=mean.shape)
    shape = (windows, members, HORIZON, dimensions)
    common = rng.normal(size=(*shape[:3], 1))
    noise = np.sqrt(1 - shared) * rng.normal(size=shape) + np.sqrt(shared) * common
    return mean[:, None] + spread * noise, truth


def dataset(truth):
    windows, horizon, dimensions = truth.shape
    start = pd.Period("2021-01-01", freq="h")
    known = np.full((dimensions, 48), 10, dtype=np.float32)
    test = [
        {"start": start + w * horizon, "target": np.hstack([known, truth[w].T]).astype(np.float32)}
        for w in range(windows)
    ]
    return Dataset(
        name="made <up>", freq="H", prediction_length=horizon,
        columns=[f"series {d} & co" for d in range(dimensions)],
        train=[{"start": start, "target": known}], test=test, aggregates={}, checksum="abc",
        verified=False, source="made up", licence="none", published=[],
    )  # fmt: skip


def a_record(data, truth, paths, naive):
    """The content of a record of format 2."""
    seconds = {"training": 12.5, "sampling": 3.25}
    comparison = {
        "windows": 3, "too_few": True, "difference": -1.0, "ratio": 0.876, "wins": 2,
        "differences": [-1.25, -2.5, 0.75], "overlap": 0,
    }  # fmt: skip
    return {
        "format": 2, "dataset": {
            "name": data.name, "series": truth.shape[2], "freq": "H", "checksum": "abc",
            "prediction_length": truth.shape[1], "windows": len(truth), "verified": False,
            "source": "made up", "licence": "none",
            "published": [
                {"metric": "mean_wquantile_loss_sum", "value": 0.02, "error": 0.001,
                 "model": "TimeGrad", "source": "arXiv:2101.12072, table 1"}
            ],
        },
        "observed_share": 0.987, "preset": "default", "config": {"model": {"cell": "gru"}},
        "seeds": [1, 2], "num_samples": paths.shape[1],
        "metrics": metrics.score(paths, truth), "metrics_mc_error": {"crps": 0.00321},
        "metrics_se": dict.fromkeys(METRICS, 0.0123), "aggregates": {},
        "baselines": {
            "naive": {
                "title": "naive <one>", "note": "a note", "metrics": metrics.score(naive, truth),
                "aggregates": {}, "seconds": {"training": 0.0, "sampling": 0.5},
            },
            "oracle": {
                "title": "the process", "note": "", "metrics": metrics.score(paths[:, ::2], truth),
                "aggregates": {}, "seconds": {"training": 0.0, "sampling": 0.5},
            },
        },
        "diagnosis": {
            name: diagnose(one, truth, columns=data.columns)
            for name, one in {"timediff": paths, "naive": naive}.items()
        },
        "recalibration": {
            "note": "mapped", "after": {"crps": 0.099},
            "after_se": {"crps": 0.004}, "diagnosis": diagnose(paths + 0.1, truth),
        },
        "comparisons": {"naive": comparison}, "seconds": seconds, "network_calls": 96,
        "protocols": {"timediff": {"nine levels": 0.1234}, "naive": {"nine levels": 0.4321}},
        "versions": {"timediff": "9.8.7"}, "commit": "0123abc", "hardware": {"cpu": "slow"},
        "definitions": {"crps": "how it is defined"},
    }  # fmt: skip


def read_back(record):
    return from_json(json.loads(json.dumps(plain(lifted(record)))))
