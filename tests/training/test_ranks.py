"""Several processes train one model as one would: two of them, on a CPU, over gloo."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import run_python
from tiny import QUIET, TRAIN, entry, estimator

from timediff.errors import InputError
from timediff.training.checkpoints import read_state
from timediff.training.ranks import Share, check_share

pytestmark = QUIET

#: What each process does: trains on data with gaps, and tells of it.
SCRIPT = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, {tests!r})
import numpy as np
from lightning.pytorch.callbacks import Callback
from tiny import MODEL, TRAIN, entry, estimator, paths

options = json.loads(sys.argv[1])
rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


class Watch(Callback):
    # What this process saw of the training.
    def __init__(self):
        self.losses, self.windows, self.validated = [], [], 0

    def __deepcopy__(self, memo):
        return self

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.windows.append(float(batch.target[:, 0, 0].double().sum()))
        if rank == 1 and trainer.global_step == options.get("killed"):
            os._exit(9)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        loss = trainer.strategy.reduce(outputs["loss"].detach().clone(), reduce_op="mean")
        self.losses.append(float(loss))


watch = Watch()
data = entry(length=80)
data["target"][0, ::3] = np.nan  # ranks observe different numbers of values
model = MODEL._replace(**options.get("model", {{}}))
trainer = {{"callbacks": [watch], "use_distributed_sampler": False}}
if ranks > 1:
    trainer |= {{"strategy": "ddp", "devices": ranks}}
made = estimator(
    options["folder"], model=model, trainer_kwargs=trainer,
    train=TRAIN._replace(steps=50, steps_per_epoch=10, batch_size=8, seed=options["seed"]),
)
validation = [entry(length=84, seed=s) for s in range(3)] if options.get("validated") else None
output = made.train_model([data], validation, ckpt_path=options.get("checkpoint"))
told = {{
    "losses": watch.losses, "windows": watch.windows, "history": output.trained_net.history,
    "paths": paths(output.predictor, [data], num_samples=3).tolist(),
}}
with open(options["told"] + f"-{{rank}}.json", "w") as file:
    json.dump(told, file)
"""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def train(folder, name, *, ranks, expect=0, **options):
    """What each of some processes tells of a training."""
    folder.mkdir(exist_ok=True)
    script = folder / "script.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parents[1])))
    told = folder / name
    options = {"seed": 1, "folder": str(folder / "kept"), "told": str(told)} | options
    port = free_port()

    def one(rank):
        # As torchrun sets them.
        cluster = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(ranks),
            "LOCAL_WORLD_SIZE": str(ranks),
            "GROUP_RANK": "0",
            "TORCHELASTIC_RUN_ID": name,
        }
        environment = cluster if ranks > 1 else {}
        return run_python(script, folder, json.dumps(options), **environment)

    with ThreadPoolExecutor(ranks) as pool:
        done = list(pool.map(one, range(ranks)))
    if expect:
        assert all(one.returncode for one in done), done
        return []
    assert not any(one.returncode for one in done), "\n".join(one.stderr[-2000:] for one in done)
    return [json.loads(Path(f"{told}-{rank}.json").read_text()) for rank in range(ranks)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    (told,) = train(tmp_path_factory.mktemp("alone"), "alone", ranks=1, validated=True)
    return told


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    return train(folder, "pair", ranks=2, validated=True), folder


def test_two_processes_have_the_losses_of_one(alone, pair):
    (first, second), _ = pair
    assert len(alone["losses"]) == 50
    np.testing.assert_allclose(first["losses"], alone["losses"], rtol=1e-4)
    for ours, theirs in zip(first["history"], alone["history"], strict=True):
        assert ours.keys() == theirs.keys() == {"epoch", "train_loss", "val_loss"}
        np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=1e-4)
    assert first["history"] == second["history"]
    # One model in both, that of the one process but for rounding.
    np.testing.assert_array_equal(first["paths"], second["paths"])
    np.testing.assert_allclose(first["paths"], alone["paths"], rtol=1e-2)


def test_two_processes_draw_different_windows(alone, pair):
    (first, second), _ = pair
    both = np.add(first["windows"], second["windows"])
    np.testing.assert_allclose(both, alone["windows"], rtol=1e-6)
    assert (np.abs(np.subtract(first["windows"], second["windows"])) > 1e-6).mean() > 0.9


def test_checkpoints_are_kept_once(pair):
    _, folder = pair
    files = sorted(file.name for file in (folder / "kept" / "checkpoints").iterdir())
    assert len(files) == 2 and "last.ckpt" in files  # the best, and the last
    assert read_state(folder / "kept" / "checkpoints" / "last.ckpt")["global_step"] == 50


def test_a_killed_process_ends_the_other_and_both_go_on_to_the_same_end(tmp_path, pair):
    train(tmp_path, "killed", ranks=2, killed=27, validated=True, expect=1)
    last = tmp_path / "kept" / "checkpoints" / "last.ckpt"
    assert read_state(last)["global_step"] == 20
    resumed = train(tmp_path, "resumed", ranks=2, validated=True, checkpoint=str(last))
    whole, _ = pair
    for ours, theirs in zip(resumed, whole, strict=True):
        assert ours["history"] == theirs["history"]
        assert ours["losses"] == theirs["losses"][20:]
        np.testing.assert_array_equal(ours["paths"], theirs["paths"])


def test_without_a_seed_two_processes_agree_on_one(tmp_path):
    first, second = train(tmp_path, "unseeded", ranks=2, seed=None)
    assert first["history"] == second["history"]
    assert first["windows"] != second["windows"]


# ------------------------------------------------------------------------------------- shares


def draws():
    """Numbers as a training step draws them."""
    like = torch.zeros(4, 3, dtype=torch.float64)
    torch.manual_seed(3)
    return [
        torch.randn(4, 2),
        torch.rand((4, 5)),
        torch.randint(1, 9, (4, 2)),
        torch.randint(1, 9, torch.Size([4])),
        torch.randn_like(like),
        torch.rand(()),
        torch.randn(7, 2),
    ]


def whole_draws():
    torch.manual_seed(3)
    return [
        torch.randn(12, 2),
        torch.rand(12, 5),
        torch.randint(1, 9, (12, 2)),
        torch.randint(1, 9, (12,)),
        torch.randn(12, 3, dtype=torch.float64),
        torch.rand(()),
        torch.randn(7, 2),
    ]


def test_the_numbers_of_all_ranks_are_those_of_one():
    shares = []
    for rank in range(3):
        with Share(rank, 3, 4):
            shares.append(draws())
    for *parts, whole in zip(*shares, whole_draws(), strict=True):
        assert all(part.dtype == whole.dtype for part in parts)
        if whole.ndim and len(whole) == 12:
            assert torch.equal(torch.cat(parts), whole)
        else:  # not a number for each window
            assert all(part.shape == whole.shape for part in parts)
            assert all(torch.equal(part, parts[0]) for part in parts)


def test_a_batch_that_ranks_cannot_share_is_refused_before_training(tmp_path):
    check_share(8, 4)
    with pytest.raises(InputError, match="batch_size is 9, which 2 processes cannot share evenly"):
        check_share(9, 2)
    made = estimator(
        tmp_path,
        train=TRAIN._replace(batch_size=3),
        trainer_kwargs={"strategy": "ddp_spawn", "devices": 2},
    )
    with pytest.raises(InputError, match="cannot share evenly"):
        made.train([entry()])
