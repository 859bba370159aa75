"""Trainings share nothing: each has callbacks of its own, and random numbers that no other one disturbs."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from gluonts.torch import SimpleFeedForwardEstimator
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from tiny import HORIZON, MODEL, QUIET, TRAIN, entry, estimator, same_weights, weights

from timediff.baselines.external import afresh
from timediff.errors import InputError
from timediff.tools.seeding import Stream, seeded

pytestmark = [QUIET, pytest.mark.filterwarnings("ignore:The number of training batches")]


class Locked(Callback):
    """What no copy can be made of."""

    def __init__(self):
        self.lock = threading.Lock()


class Stop(Callback):
    """Stops after the first epoch it has ever seen, and at once ever after."""

    def __init__(self):
        self.epochs = 0

    def on_train_epoch_end(self, trainer, module):
        self.epochs += 1
        trainer.should_stop = self.epochs > 1


def test_early_stopping_of_the_user_begins_anew_in_every_training(tmp_path):
    # A rate far too high: the loss soon rises.
    made = estimator(
        tmp_path,
        train=TRAIN._replace(steps=90, learning_rate=3.0),
        trainer_kwargs={"callbacks": [EarlyStopping("val_loss", patience=2)]},
    )
    outputs = [made.train_model([entry()], [entry()]) for _ in range(3)]
    assert 6 < outputs[0].trainer.global_step < 90
    assert len({output.trainer.global_step for output in outputs}) == 1
    stops = [output.trainer.early_stopping_callbacks[0] for output in outputs]
    assert all(stop.stopped_epoch for stop in stops) and len(set(map(id, stops))) == 3
    (given,) = made.trainer_kwargs["callbacks"]
    assert not given.stopped_epoch and given not in stops


def test_a_training_of_another_estimator_uses_none_of_its_callbacks(tmp_path):
    callbacks = [Stop()]
    for folder in ("a", "b"):
        made = estimator(
            tmp_path / folder,
            train=TRAIN._replace(steps=30),
            trainer_kwargs={"callbacks": callbacks},
        )
        output = made.train_model([entry()])
        (used,) = [one for one in output.trainer.callbacks if isinstance(one, Stop)]
        assert used.epochs == 2 and output.trainer.global_step == 6
    assert callbacks[0].epochs == 0


def test_one_callback_needs_no_list(tmp_path):
    output = estimator(tmp_path, trainer_kwargs={"callbacks": Stop()}).train_model([entry()])
    assert [one.epochs for one in output.trainer.callbacks if isinstance(one, Stop)] == [2]


def test_checkpoints_and_loggers_are_those_of_one_training(tmp_path):
    own = {
        "logger": CSVLogger(tmp_path / "logs"),
        "callbacks": [ModelCheckpoint(dirpath=tmp_path / "own", monitor="train_loss")],
    }
    made = estimator(tmp_path, trainer_kwargs=own)
    outputs = [made.train_model([entry()]) for _ in range(2)]
    versions = {output.trainer.logger.version for output in outputs}
    assert versions == {0, 1}
    for output in outputs:
        own_one = next(c for c in output.trainer.callbacks if type(c) is ModelCheckpoint)
        assert own_one.best_model_path
    assert not own["callbacks"][0].best_model_path


def test_what_cannot_be_copied_is_refused_by_name_before_training(tmp_path):
    made = estimator(tmp_path, trainer_kwargs={"callbacks": [Locked()]})
    with pytest.raises(InputError, match=r"callbacks of trainer_kwargs cannot be copied .*lock"):
        made.train([entry()])


def test_an_estimator_of_gluonts_is_trained_afresh_each_time(tmp_path):
    made = SimpleFeedForwardEstimator(
        HORIZON,
        trainer_kwargs={
            "max_epochs": 5,
            "accelerator": "cpu",
            "logger": False,
            "default_root_dir": str(tmp_path),
            "callbacks": [Stop()],
        },
        num_batches_per_epoch=1,
    )
    series = [{"start": entry()["start"], "target": entry(dim=1)["target"][0]}]
    outputs = [afresh(made).train_model(series) for _ in range(2)]
    assert [output.trainer.global_step for output in outputs] == [2, 2]


OPTIONS = {
    "model": MODEL._replace(num_layers=2, dropout=0.5, self_conditioning=True),
    "train": TRAIN._replace(steps=40, steps_per_epoch=20, positions=0.5),
}


def test_trainings_in_threads_with_one_seed_agree_with_one_alone(tmp_path):
    alone = weights(estimator(tmp_path / "alone", **OPTIONS).train([entry()]).prediction_net)

    def train(i):
        return weights(estimator(tmp_path / str(i), **OPTIONS).train([entry()]).prediction_net)

    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(train, range(3)))
    assert [same_weights(alone, other) for other in together] == [True] * 3


def test_training_leaves_the_global_generators_as_they_were(tmp_path):
    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002

    before = states()
    estimator(tmp_path, **OPTIONS).train([entry()], [entry()])
    assert states() == before


def test_what_is_drawn_between_the_steps_changes_nothing(tmp_path):
    class Draws(Callback):
        def on_train_batch_end(self, *_):
            torch.rand(3)

    plain = estimator(tmp_path / "a", **OPTIONS).train([entry()])
    drawing = estimator(tmp_path / "b", **OPTIONS, trainer_kwargs={"callbacks": [Draws()]})
    assert same_weights(
        weights(drawing.train([entry()]).prediction_net), weights(plain.prediction_net)
    )


def test_a_stream_goes_on_where_it_was_left_and_draws_what_the_global_generator_does(device):
    device = torch.device(device)
    torch.manual_seed(4)
    expected = [torch.rand(3, device=device) for _ in range(4)]
    torch.manual_seed(5)
    outside = torch.get_rng_state()
    one, other = Stream(), Stream()
    found = []
    for i in range(4):
        with one.lent(device, seed=None if i else 4):
            found.append(torch.rand(3, device=device))
        with other.lent(device, seed=7):
            torch.rand(5, device=device)
    assert torch.equal(torch.stack(found), torch.stack(expected))
    assert torch.equal(torch.get_rng_state(), outside)


def test_seeded_code_in_threads_has_the_numbers_it_has_alone():
    def draws(seed):
        with seeded(seed):
            found = []
            for _ in range(20):
                time.sleep(1e-4)  # the others have their turn
                found.append((torch.rand(()).item(), random.random(), np.random.rand()))  # noqa: NPY002
            return found

    alone = [draws(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(draws, range(4))) == alone
