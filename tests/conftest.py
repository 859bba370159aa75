"""Every test starts from the same seeds; ``--device cuda`` runs the core's tests on a GPU."""

import copy
import os
import warnings
from pathlib import Path

# Tests use small arrays and may run side by side: one thread each is fastest, since numpy and torch wait for
# their threads in a busy loop. They read this when they are imported, in processes of tests as well.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

import numpy as np
import pytest
import torch
from hypothesis import settings

from timediff.registry import TABLES

# How long an example takes says more of the other processes of the machine than of the code.
settings.register_profile("timediff", deadline=None)
settings.load_profile("timediff")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="torch device of the core's tests")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (GluonTS and others draw from the global state)


@pytest.fixture
def float64():
    """float64 as torch's default, so that identities can be checked to the last digits."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def clean_tables():
    """Takes out the parts that a test has registered."""
    before = {kind: list(table) for kind, table in TABLES.items()}
    yield
    for kind, table in TABLES.items():
        for name in set(table) - set(before[kind]):
            table.remove(name)


@pytest.fixture
def device(request):
    """The device given by ``--device``."""
    return torch.device(request.config.getoption("--device"))


@pytest.fixture(scope="session")
def shared_data():
    """Folder of larger datasets beside the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the folder shared/data beside the repository is not there")
    return SHARED_DATA


@pytest.fixture(scope="session")
def training(tmp_path_factory):
    """The training of the tiny estimator on one entry, and its folder: for reading only."""
    from tiny import entry, estimator  # Lightning takes seconds, and most tests do without

    folder = tmp_path_factory.mktemp("training")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator(folder).train_model([entry()]), folder


@pytest.fixture
def plain(training):
    """The predictor of that training: a copy, with which a test may do what it likes."""
    return copy.deepcopy(training[0].predictor)
