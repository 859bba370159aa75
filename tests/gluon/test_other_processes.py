"""Predictors, estimators and forecasters in other processes: pickled, spawned, forked."""

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from groups import contracts
from tiny import HORIZON, MODEL, QUIET, TRAIN, entry, estimator, paths, same_weights, weights

from timediff import Forecaster, TimeGradEstimator
from timediff.registry import NETWORKS, NORMALISATIONS, PARAMETERISATIONS, SCHEDULES
from timediff.timegrad.batch import Shape
from timediff.timegrad.model import TimeGrad

pytestmark = [QUIET, contracts]
TESTS = Path(__file__).resolve().parents[1]
DATA = [entry(seed=seed, item_id=f"item {seed}") for seed in range(2)]
LINEAR = MODEL._replace(scaling="adaptive", cycles=[8], variance="learned", beta_end=0.7)
SHAPE = Shape(target_dim=3, horizon=HORIZON, context_length=6, lags=[1, 3], num_features=4)
#: Seconds after which a process counts as one that hangs.
PATIENCE = 240

# What torch's operators share two threads for, and then a child that has only one of them.
FORKED = """
import os, select, sys, tempfile, warnings
warnings.simplefilter("ignore")
import numpy as np, torch
from tiny import entry, estimator, paths
from timediff import TimeGradPredictor

torch.set_num_threads(2)
torch.randn(1_000_000).exp().sum()
data = [entry(dim=64)]
folder = tempfile.mkdtemp()
made = estimator(folder).train(data)
made.serialize(folder + "/saved")
expected = paths(made, data, num_samples=1000)
read, write = os.pipe()
child = os.fork()
if not child:
    loaded = TimeGradPredictor.deserialize(folder + "/saved", device="cpu")
    found = [paths(p, data, num_samples=1000) for p in (made, loaded)]
    again = estimator(folder).train(data)
    found.append(paths(again, data, num_samples=1000))
    off = max(np.abs(one - expected).max() / expected.std() for one in found)
    os.write(write, f"off by {off:.1e}, threads {torch.get_num_threads()}".encode())
    os._exit(0)
ready, _, _ = select.select([read], [], [], float(sys.argv[1]))
if not ready:
    os.kill(child, 9)
print(os.read(read, 100).decode() if ready else "the child hangs")
os.waitpid(child, 0)
assert torch.get_num_threads() == 2
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_forecasts_and_trains_after_two_threads_did(tmp_path):
    places = [str(TESTS.parent), str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", FORKED, str(PATIENCE / 2)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert words[:2] == ["off", "by"] and words[-2:] == ["threads", "1"], done.stdout
    # Training with one thread rounds as it likes.
    assert float(words[2].strip(",")) < 1e-3


def test_a_spawned_process_takes_and_gives_predictors_and_estimators(tmp_path):
    made, untrained = estimator(tmp_path).train(DATA), estimator(tmp_path)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        drawn = pool.submit(paths, made, DATA)
        trained = pool.submit(TimeGradEstimator.train, untrained, DATA)
        spread = paths(made, DATA).std()
        for found in (drawn.result(PATIENCE), paths(trained.result(PATIENCE), DATA)):
            # As many threads as the process likes.
            assert np.abs(found - paths(made, DATA)).max() < 1e-3 * spread


@pytest.mark.parametrize(
    "model", [MODEL, LINEAR, MODEL._replace(schedule="learned")], ids=["plain", "linear", "learned"]
)
def test_a_predictor_that_was_pickled_gives_the_same_paths(tmp_path, model):
    made = estimator(tmp_path, model=model).train(DATA)
    made.batch_size, made.memory = 1, 1e6
    expected = paths(made, DATA)
    for found in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        np.testing.assert_array_equal(paths(found, DATA), expected)
        assert (found.batch_size, found.memory, found.sampling) == (1, 1e6, made.sampling)
        assert found.compiler is not made.compiler
        assert not any(p.requires_grad for p in found.prediction_net.parameters())
    # A learned schedule still follows the weights.
    network = pickle.loads(pickle.dumps(made)).prediction_net
    network.schedule = None
    network.load_state_dict(made.prediction_net.state_dict())
    assert (network.schedule is None) is (model.schedule != "learned")


@pytest.mark.parametrize(
    ("option", "names"),
    [
        ("denoiser", NETWORKS),
        ("schedule", SCHEDULES),
        ("parameterisation", PARAMETERISATIONS),
        ("scaling", NORMALISATIONS),
        ("cell", ["gru", "lstm"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_networks_of_all_parts_can_be_pickled(option, names):
    for name in names:
        for config in (MODEL, LINEAR):
            model = config._replace(**{option: name})
            made = TimeGrad(model, SHAPE._replace(cycles=[8] if model.linear else []))
            found = pickle.loads(pickle.dumps(made))
            assert same_weights(weights(found), weights(made)) and found.config == model


def test_an_estimator_that_was_pickled_trains_the_same(tmp_path):
    one = estimator(tmp_path, model=LINEAR)
    other = pickle.loads(pickle.dumps(one))
    found, expected = (weights(each.train(DATA).prediction_net) for each in (other, one))
    assert same_weights(found, expected)


def test_a_forecaster_that_was_pickled_forecasts_the_same(tmp_path):
    trainer = {"default_root_dir": str(tmp_path), "accelerator": "cpu"}
    stamps = pd.date_range("2024-01-05", periods=60, freq="h", tz="Europe/Berlin")
    frame = pd.DataFrame(DATA[0]["target"].T, stamps, ["a", "b", "c"])
    made = Forecaster(MODEL, TRAIN, progress=False, trainer_kwargs=trainer).fit(frame, h=HORIZON)
    found = pickle.loads(pickle.dumps(made)).simulate(n_paths=5, seed=1)
    pd.testing.assert_frame_equal(found, made.simulate(n_paths=5, seed=1))


def test_a_training_in_spawned_processes_is_that_of_one(tmp_path):
    model = MODEL._replace(dropout=0.0)
    spawned = {"strategy": "ddp_spawn", "devices": 2}
    one, several = (
        estimator(tmp_path, model=model, trainer_kwargs=options).train(DATA)
        for options in ({}, spawned)
    )
    expected = paths(one, DATA)
    assert np.abs(paths(several, DATA) - expected).max() < 1e-3 * expected.std()
