"""A training that is stopped anywhere leaves a whole state, from which it ends as if nothing had happened."""

import errno
import logging
import os
import shutil
import signal
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from tiny import MODEL, QUIET, TRAIN, entry, estimator, paths, same_weights, weights

from timediff.errors import InputError
from timediff.training import checkpoints
from timediff.training.checkpoints import kept_states, read_state

pytestmark = QUIET
STEPS = TRAIN._replace(steps=20, steps_per_epoch=5)


class Does(Callback):
    """Something before a step, once."""

    def __init__(self, step, what):
        self.step, self.what = step, what

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step and not getattr(trainer, "done_once", False):
            trainer.done_once = True
            self.what()


def send(number):
    return lambda: os.kill(os.getpid(), number)


def cut():
    raise RuntimeError("power cut")


def last(folder):
    return folder / "checkpoints" / "last.ckpt"


@pytest.fixture(autouse=True)
def handlers():
    """Python's own, whatever the shell did to background jobs; they are to be there afterwards too."""
    own = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    outside = {number: signal.signal(number, handler) for number, handler in own.items()}
    yield
    left = {number: signal.signal(number, handler) for number, handler in outside.items()}
    assert left == own


KINDS = {
    "plain": ({}, {}, None),
    "dropout": ({"num_layers": 2, "dropout": 0.5, "self_conditioning": True}, {}, None),
    "validated": ({}, {"patience": 3}, [entry()]),
    "importance": ({}, {"step_sampling": "importance", "positions": 0.5}, None),
    "learned": ({"schedule": "learned"}, {}, None),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_stopped_within_an_epoch_goes_on_to_the_same_end(tmp_path, kind):
    model, train, validation = KINDS[kind]
    options = {"model": MODEL._replace(**model), "train": STEPS._replace(**train)}
    whole = estimator(tmp_path / "whole", **options).train_model([entry()], validation)
    stop = {"trainer_kwargs": {"callbacks": [Does(12, send(signal.SIGTERM))]}}
    with pytest.raises(SystemExit) as stopped:
        estimator(tmp_path / "cut", **options, **stop).train([entry()], validation)
    assert stopped.value.code == 128 + signal.SIGTERM
    state = read_state(last(tmp_path / "cut"))
    assert state["global_step"] == 13 and len(state["history"]) == 2  # the step in hand is finished
    torch.manual_seed(123)
    resumed = estimator(tmp_path / "cut", **options).train_model(
        [entry()], validation, ckpt_path=last(tmp_path / "cut")
    )
    assert resumed.trainer.global_step == whole.trainer.global_step
    assert resumed.trained_net.history == whole.trained_net.history
    assert same_weights(weights(resumed.trained_net), weights(whole.trained_net))
    np.testing.assert_array_equal(
        paths(resumed.predictor, [entry()]), paths(whole.predictor, [entry()])
    )


def test_a_state_is_kept_from_the_first_seconds_on(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    whole = estimator(tmp_path / "whole", train=STEPS).train_model([entry()])
    monkeypatch.setattr(checkpoints, "PAUSE", 0.0)
    monkeypatch.setattr(checkpoints, "SPARING", 0.0)
    stop = {"trainer_kwargs": {"callbacks": [Does(3, cut)]}}
    with pytest.raises(RuntimeError, match="power cut"):
        estimator(tmp_path / "cut", train=STEPS, **stop).train([entry()])
    assert read_state(last(tmp_path / "cut"))["global_step"] == 3
    assert "weights_only" not in caplog.text  # what Lightning says of a state is nobody's concern
    resumed = estimator(tmp_path / "cut", train=STEPS).train_model(
        [entry()], ckpt_path=last(tmp_path / "cut")
    )
    assert same_weights(weights(resumed.trained_net), weights(whole.trained_net))
    assert resumed.trained_net.history == whole.trained_net.history


def test_states_within_an_epoch_are_kept_sparingly(tmp_path, monkeypatch):
    times, saved = iter(np.arange(0.0, 1e4, 1.0)), []
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: float(next(times)))
    save = checkpoints.BestCheckpoint.keep

    def counted(self, trainer, module):
        kept = save(self, trainer, module)
        saved.append(trainer.global_step)
        return kept

    monkeypatch.setattr(checkpoints.BestCheckpoint, "keep", counted)
    train = TRAIN._replace(steps=200, steps_per_epoch=200)
    estimator(tmp_path, train=train).train([entry()])
    # The clock goes on by 1 with each look: the first after 5, and each takes 1, or 2 with the one after it.
    assert saved[0] <= 5 and 100 <= saved[1] - saved[0] <= 205 and len(saved) == 2


def test_ctrl_c_tells_where_the_state_is_and_what_goes_on_from_it(tmp_path, caplog):
    stop = {"trainer_kwargs": {"callbacks": [Does(7, send(signal.SIGINT))]}}
    with (
        caplog.at_level(logging.WARNING, "timediff.training.fit"),
        pytest.raises(KeyboardInterrupt),
    ):
        estimator(tmp_path, train=STEPS, **stop).train([entry()])
    said = [line.message for line in caplog.records if line.name == "timediff.training.fit"]
    assert said == [f"training stopped; ckpt_path={last(tmp_path)} goes on from step 8"]


def test_a_training_that_kept_nothing_tells_of_nothing(tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    made = estimator(tmp_path, trainer_kwargs={"callbacks": [Does(1, cut)]})
    del made.trainer_kwargs["default_root_dir"]
    with pytest.raises(RuntimeError, match="power cut"):
        made.train([entry()])
    assert "training stopped" not in caplog.text and list(tmp_path.iterdir()) == []


def test_a_second_signal_stops_at_once(tmp_path):
    def twice():
        send(signal.SIGTERM)()
        send(signal.SIGINT)()

    stop = {"trainer_kwargs": {"callbacks": [Does(7, twice)]}}
    with pytest.raises(SystemExit) as stopped:
        estimator(tmp_path, train=STEPS, **stop).train([entry()])
    assert stopped.value.code == 128 + signal.SIGTERM
    assert read_state(last(tmp_path))["global_step"] == 5


def test_signals_that_are_ignored_outside_are_ignored_inside(tmp_path):
    outside = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stop = {"trainer_kwargs": {"callbacks": [Does(7, send(signal.SIGINT))]}}
        output = estimator(tmp_path, train=STEPS, **stop).train_model([entry()])
    finally:
        signal.signal(signal.SIGINT, outside)
    assert output.trainer.global_step == 20


# ------------------------------------------------------------------------------ disks and files


def test_a_disk_that_fills_stops_the_training_and_leaves_the_state_before(tmp_path, monkeypatch):
    write = Path.write_bytes

    def full(path, content):
        if len(list((tmp_path / "checkpoints").glob("*step=10.ckpt"))):
            write(path, bytes(content)[:1000])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            estimator(tmp_path, train=STEPS).train([entry()])
    assert read_state(last(tmp_path))["global_step"] == 5
    left = sorted(path.name for path in last(tmp_path).parent.iterdir())
    assert left == ["epoch=1-step=10.ckpt", "last.ckpt"]
    whole = estimator(tmp_path / "whole", train=STEPS).train_model([entry()])
    resumed = estimator(tmp_path, train=STEPS).train_model([entry()], ckpt_path=last(tmp_path))
    assert same_weights(weights(resumed.trained_net), weights(whole.trained_net))


def test_space_is_looked_at_before_training(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6 - 10**5, 10**5))
    with pytest.raises(
        InputError, match=r"the checkpoints of this training take up to \d+ kB, and .*"
    ):
        estimator(tmp_path).train([entry()])
    assert list(tmp_path.rglob("*.ckpt")) == []
    without = {"trainer_kwargs": {"enable_checkpointing": False}}
    estimator(tmp_path, **without).train([entry()])


def test_the_space_asked_for_is_what_is_used(tmp_path, training):
    made = training[0].trained_net
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "check_space", lambda folder, needed, what: asked.append(needed))
        checkpoints.check_room(str(tmp_path), made)
    size = last(training[1]).stat().st_size
    assert size < asked[0] / 3 < 3 * size


def test_a_folder_deleted_while_training_is_not_made_again(tmp_path):
    def delete():
        shutil.rmtree(tmp_path / "a")

    stop = {"trainer_kwargs": {"callbacks": [Does(7, delete)]}}
    with pytest.raises(InputError, match=r"the folder .*a/checkpoints is not there; it was moved"):
        estimator(tmp_path / "a", train=STEPS, **stop).train([entry()])
    assert not (tmp_path / "a").exists()


def test_the_latest_whole_state_is_found_and_the_damaged_named(tmp_path):
    assert kept_states(tmp_path) == (None, [])
    estimator(tmp_path, train=STEPS).train([entry()], [entry()])
    best = next(path for path in last(tmp_path).parent.iterdir() if path.name != "last.ckpt")
    os.utime(best, ns=(0, 0))
    assert kept_states(tmp_path) == (last(tmp_path), [])
    content = last(tmp_path).read_bytes()
    last(tmp_path).write_bytes(content[: len(content) // 2])
    assert kept_states(tmp_path) == (best, [str(last(tmp_path))])
    best.write_bytes(b"")
    assert kept_states(tmp_path)[0] is None and len(kept_states(tmp_path)[1]) == 2
