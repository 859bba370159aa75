"""Scripts in processes of their own that begin with the slow imports made: forked from one that made them."""

import multiprocessing
import os
import runpy
import sys
from pathlib import Path
from typing import NamedTuple

FORKS = multiprocessing.get_context("forkserver")
# Libraries of others only: timediff itself is imported anew by each script.
FORKS.set_forkserver_preload(
    [
        *("torch", "lightning.pytorch", "gluonts.torch", "gluonts.evaluation", "gluonts.ev"),
        *("gluonts.dataset.pandas", "scipy.stats", "pyarrow", "matplotlib.pyplot"),
    ]
)


class Done(NamedTuple):
    """What is left of a script.

    Attributes:
        status: Its exit status.
        stdout: What it printed.
        stderr: Its messages.
    """

    status: int
    stdout: str
    stderr: str


def run_script(script: Path, folder: Path, **environment: str) -> Done:
    """What is left of a script that ran in a folder, beside whose files its output then lies."""
    process = FORKS.Process(target=_run, args=(script, folder, environment))
    process.start()
    process.join()
    stdout, stderr = ((folder / name).read_text() for name in ("stdout.txt", "stderr.txt"))
    return Done(process.exitcode, stdout, stderr)


def _run(script: Path, folder: Path, environment: dict[str, str]) -> None:
    import torch

    torch.set_num_threads(1)
    os.environ.update(environment)
    os.chdir(folder)
    for name, stream in (("stdout.txt", 1), ("stderr.txt", 2)):
        with open(name, "w") as file:
            os.dup2(file.fileno(), stream)
    sys.path.insert(0, str(script.parent))
    runpy.run_path(str(script), run_name="__main__")
