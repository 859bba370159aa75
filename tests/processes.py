"""Python in processes of its own that begin with the slow imports made: forked from one that made them."""

import multiprocessing
import os
import runpy
import sys
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

FORKS = multiprocessing.get_context("forkserver")
# Libraries of others only: timediff itself is imported anew each time.
FORKS.set_forkserver_preload(
    [
        *(
            "torch",
            "torch._dynamo",
            "lightning.pytorch",
            "gluonts.torch",
            "gluonts.evaluation",
            "gluonts.ev",
        ),
        *("gluonts.dataset.pandas", "scipy.stats", "pyarrow", "matplotlib.pyplot"),
    ]
)


def run_python(what: Path | str, folder: Path, *arguments: str, **environment: str):
    """What is left of a script, or of a module by its name, that ran in a folder."""
    with TemporaryDirectory() as place:
        streams = [Path(place) / name for name in ("stdout", "stderr")]
        process = FORKS.Process(target=_run, args=(what, folder, arguments, environment, streams))
        process.start()
        process.join()
        texts = [stream.read_text() for stream in streams]
    return CompletedProcess([what, *arguments], process.exitcode, *texts)


def _run(what, folder, arguments, environment, streams):
    for number, stream in enumerate(streams, start=1):
        with stream.open("w") as file:
            os.dup2(file.fileno(), number)
    os.environ.update(environment)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.argv = [str(what), *arguments]
    if isinstance(what, Path):
        runpy.run_path(str(what), run_name="__main__")
    else:
        runpy.run_module(what, run_name="__main__", alter_sys=True)
