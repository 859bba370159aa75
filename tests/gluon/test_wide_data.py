"""Many series and long histories: nothing of D x D is made, and a step reads its windows and no more."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import MODEL, QUIET, TRAIN, entry, estimator, paths
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from toys import Squares

from timediff.gluon.entries import read_dataset
from timediff.gluon.linear import ERRORS, LEAST_ERRORS, fewer
from timediff.gluon.windows import TrainingWindows, WindowData
from timediff.timegrad import centre, innovations
from timediff.timegrad.batch import Shape
from timediff.timegrad.wide import WIDE

pytestmark = QUIET
LINEAR = MODEL._replace(scaling="adaptive", cycles=[8], beta_end=0.7)


class Read(TorchDispatchMode):
    """Counts the numbers that operators read and write; of a gather, what it takes."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        results = function(*args, **(kwargs or {}))
        if function.is_view:
            return results
        inputs = tree_leaves((args, kwargs))
        if function is torch.ops.aten.index.Tensor:
            inputs = tree_leaves(args[1])
        numbers = [one for one in (*inputs, *tree_leaves(results)) if isinstance(one, torch.Tensor)]
        self.count += sum(one.numel() for one in numbers)
        return results


@pytest.mark.parametrize("wide", [True, False])
def test_from_entries_to_paths_nothing_is_made_of_each_pair_of_many_series(
    tmp_path, monkeypatch, wide
):
    data = entry(101, 60)
    if wide:
        for module in (centre, innovations):
            monkeypatch.setattr(module, "WIDE", 100)
    with Squares(101) as squares:
        predictor = estimator(tmp_path, model=LINEAR, train=TRAIN._replace(steps=2)).train([data])
        for share in (1.0, 0.5):
            predictor.prediction_net.use(share)
            assert np.isfinite(paths(predictor, [data], num_samples=4)).all()
    assert bool(squares.seen) is not wide  # the watch sees what there is to see


SHAPES = {
    "adaptive": Shape(12, 4, 6, [1, 8], 4, 0, [8, 24], 4.0, 8.0, [[8, 1.0], [24, 4.0]]),
    "own units": Shape(12, 4, 6, [1, 8], 4, 0),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_step_reads_as_much_of_a_long_history_as_of_a_short_one(shape):
    module = SimpleNamespace(
        seed=1, current_epoch=0, global_rank=0, ranks=1, begun=0, device=torch.device("cpu")
    )
    counts = []
    for length in (500, 85_000):
        data = WindowData(read_dataset([entry(12, length)]), shape)
        windows = iter(TrainingWindows(data, batch_size=4, batches=3, module=module))
        with Read() as read:
            batches = [next(windows), next(windows)]
        counts.append(read.count)
    assert len(batches) == 2 and counts[0] == counts[1] > 0


def test_series_up_to_a_thousand_have_all_origins_and_more_have_fewer():
    found = [fewer(ERRORS, LEAST_ERRORS, dim) for dim in (1, 400, WIDE, 2 * WIDE, 10**6)]
    assert found == [ERRORS, ERRORS, ERRORS, ERRORS // 2, LEAST_ERRORS]
