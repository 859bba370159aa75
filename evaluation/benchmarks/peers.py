"""Training seconds to a stated score, and seconds of sampling: ours beside DeepAR and DeepVAR, in one run.

    python evaluation/benchmarks/peers.py [--dataset citylearn2022] [--score 0.09] [--threads 1]

Each peer is trained anew with each of its budgets, from few steps to many, on the training part, and draws
100 paths of the test windows; the record has seconds of the training, of the paths, and CRPS_sum. "Seconds
to the score" are those of the quickest training that reaches it. DeepAR is GluonTS's, one network for all
series, each forecast by itself. DeepVAR is pytorch-forecasting's DeepAR with a multivariate normal
distribution of low rank over the series of a step; it is left out where pytorch-forecasting, which nothing
else here needs, is not installed. Best on a machine that does nothing else.
"""

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import Trainer, seed_everything

from timediff import TimeGradEstimator, TrainConfig
from timediff.baselines.external import entries, univariate
from timediff.baselines.task import Task
from timediff.benchmark.problem import Problem, make_problem
from timediff.data.dataset import load_dataset
from timediff.metrics import score
from timediff.report.columns import aligned
from timediff.tools.files import plain, write_text
from timediff.tools.machine import commit, hardware

HERE = Path(__file__).parent
PATHS, SEED = 100, 1
QUIET = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
#: Paths [W, S, T, D] of the windows of a task.
Sample = Callable[[], np.ndarray]


class Peer(NamedTuple):
    """A forecaster, and what it is trained with.

    Attributes:
        unit: Of its budgets.
        budgets: Few to many.
        fit: Trains it on a problem with a budget and gives a function that draws the paths of its windows.
    """

    unit: str
    budgets: Sequence[int]
    fit: Callable[[Problem, int], Sample]


def fit_ours(problem: Problem, steps: int) -> Sample:
    """The default."""
    train = TrainConfig(seed=SEED, steps=steps, threads=torch.get_num_threads())
    estimator = TimeGradEstimator(
        problem.task.horizon, train=train, progress=False, trainer_kwargs={"accelerator": "cpu"}
    )
    predictor = estimator.train([problem.task.training])

    def sample() -> np.ndarray:
        forecasts = predictor.predict(problem.task.known, PATHS, seed=SEED, progress=False)
        return np.stack([each.samples for each in forecasts])

    return sample


def fit_deepar(problem: Problem, epochs: int) -> Sample:
    """GluonTS's, with an embedding of the series, epochs of 50 batches of 32 windows of one series."""
    from gluonts.torch import DeepAREstimator

    task = problem.task
    estimator = DeepAREstimator(
        freq=task.starts[0].freqstr,
        prediction_length=task.horizon,
        num_feat_static_cat=1,
        cardinality=[len(task.columns)],
        context_length=2 * task.horizon,
        num_batches_per_epoch=50,
        trainer_kwargs={**QUIET, "max_epochs": epochs},
    )
    with tempfile.TemporaryDirectory() as folder:
        estimator.trainer_kwargs["default_root_dir"] = folder
        predictor = estimator.train(entries(task.train, task.begin, task.columns))
    draw = univariate(predictor, task.columns)
    return lambda: by_window(
        task, lambda k: draw(task.windows[k], PATHS, np.random.default_rng(SEED))
    )


def fit_deepvar(problem: Problem, epochs: int) -> Sample:
    """pytorch-forecasting's, batches of all series at the same time, epochs of 50 of them."""
    from pytorch_forecasting import DeepAR, TimeSeriesDataSet
    from pytorch_forecasting.data import EncoderNormalizer
    from pytorch_forecasting.metrics import MultivariateNormalDistributionLoss

    task, context = problem.task, 2 * problem.task.horizon
    data = TimeSeriesDataSet(
        long_frame(task, task.train, 0),
        time_idx="step",
        target="value",
        group_ids=["series"],
        static_categoricals=["series"],
        time_varying_known_categoricals=["hour", "weekday"],
        time_varying_unknown_reals=["value"],
        min_encoder_length=context,
        max_encoder_length=context,
        max_prediction_length=task.horizon,
        target_normalizer=EncoderNormalizer(),
    )
    loader = data.to_dataloader(
        train=True, batch_size=len(task.columns), batch_sampler="synchronized", num_workers=0
    )
    network = DeepAR.from_dataset(
        data,
        learning_rate=1e-3,
        hidden_size=40,
        rnn_layers=2,
        loss=MultivariateNormalDistributionLoss(rank=10),
    )
    options = {**QUIET, "max_epochs": epochs, "limit_train_batches": 50, "gradient_clip_val": 10.0}
    Trainer(**options, enable_checkpointing=False).fit(network, loader)

    def one(k: int) -> np.ndarray:
        history = task.histories[k]
        ahead = np.concatenate([history, np.zeros((task.horizon, history.shape[1]))])
        frame = long_frame(
            task, ahead[-context - task.horizon :], len(ahead) - context - task.horizon
        )
        window = TimeSeriesDataSet.from_dataset(data, frame, predict=True, stop_randomization=True)
        batch = window.to_dataloader(train=False, batch_size=len(task.columns), num_workers=0)
        found = network.predict(
            batch,
            mode="samples",
            mode_kwargs={"n_samples": PATHS},
            n_samples=PATHS,
            return_index=True,
        )
        places = [list(found.index["series"]).index(name) for name in task.columns]
        return np.asarray(found.output[places].permute(2, 1, 0))  # [S, T, D]

    return lambda: by_window(task, one)


def long_frame(task: Task, values: np.ndarray, first: int) -> pd.DataFrame:
    """Rows ``series, step, hour, weekday, value`` of values ``[T, D]`` from a step on, gaps as 0."""
    stamps = pd.period_range(task.begin + first, periods=len(values), freq=task.starts[0].freq)
    one = pd.DataFrame(
        {
            "step": first + np.arange(len(values)),
            "hour": stamps.hour.astype(str),
            "weekday": stamps.dayofweek.astype(str),
        }
    )
    parts = [
        one.assign(series=name, value=np.nan_to_num(own))
        for name, own in zip(task.columns, values.T, strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def by_window(task: Task, paths: Callable[[int], np.ndarray]) -> np.ndarray:
    """Paths of every window, ``[W, S, T, D]``."""
    return np.stack([paths(k) for k in range(len(task.histories))])


PEERS: dict[str, Peer] = {
    "timediff": Peer("steps", (10, 50, 200), fit_ours),
    "DeepAR": Peer("epochs", (1, 2, 5, 10, 20), fit_deepar),
    "DeepVAR": Peer("epochs", (1, 2, 5, 10, 20), fit_deepvar),
}


def measure(problem: Problem, peer: Peer, budget: int) -> dict[str, Any]:
    """One training, its paths, and their score."""
    seed_everything(SEED, verbose=False)
    started = time.perf_counter()
    sample = peer.fit(problem, budget)
    trained = time.perf_counter()
    paths = sample()
    drawn = time.perf_counter()
    scores = score(paths, problem.truth)
    return {
        peer.unit: budget,
        "training_seconds": trained - started,
        "sampling_seconds": drawn - trained,
        "CRPS_sum": scores["mean_wquantile_loss_sum"],
        "energy_score": scores["energy_score"],
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The record."""
    torch.set_num_threads(options.threads)
    problem = make_problem(load_dataset(options.dataset))
    rows, left_out = {}, {}
    for name, peer in PEERS.items():
        if name == "DeepVAR" and find_spec("pytorch_forecasting") is None:
            left_out[name] = "pytorch-forecasting is not installed"
            print(f"{name} is left out: {left_out[name]}", file=sys.stderr)
            continue
        own = []
        for budget in peer.budgets[: options.budgets]:
            own.append(measure(problem, peer, budget))
            print(name, json.dumps(plain(own[-1])), file=sys.stderr)
        reached = [row["training_seconds"] for row in own if row["CRPS_sum"] <= options.score]
        rows[name] = {
            "trainings": own,
            "seconds_to_score": min(reached) if reached else None,
            "sampling_seconds": float(np.median([row["sampling_seconds"] for row in own])),
        }
    packages = ["torch", "gluonts", "lightning"]
    packages += ["pytorch-forecasting"] if "DeepVAR" in rows else []
    return {
        "dataset": options.dataset,
        "score": options.score,
        "paths": PATHS,
        "windows": len(problem.truth),
        "peers": rows,
        "left_out": left_out,
        "versions": {name: version(name) for name in packages},
        "commit": commit(),
        "hardware": {**hardware("cpu"), "threads": options.threads},
    }


def show(record: dict[str, Any]) -> str:
    """The table."""
    rows = [["", f"seconds to CRPS_sum {record['score']}", "best CRPS_sum", "seconds of the paths"]]
    for name, found in record["peers"].items():
        reached = found["seconds_to_score"]
        best = min(row["CRPS_sum"] for row in found["trainings"])
        cells = ["not reached" if reached is None else f"{reached:.3g}", f"{best:.3g}"]
        rows.append([name, *cells, f"{found['sampling_seconds']:.2g}"])
    return "\n".join(aligned(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", default="citylearn2022")
    parser.add_argument("--score", type=float, default=0.09, help="CRPS_sum to be reached")
    parser.add_argument("--budgets", type=int, help="only the first few of each peer")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "peers.json")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    record = plain(run(options))
    write_text(options.out, json.dumps(record, indent=1) + "\n")
    print(show(record))


if __name__ == "__main__":
    main()
