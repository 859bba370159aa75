"""Jobs for the workers of an evaluation that say what happened to them; their processes begin at once."""

import os
import signal
import sys
import time
import warnings

from timediff.errors import InputError


def threads(job):
    """Process, threads of torch, and the variables that libraries read when they are imported."""
    time.sleep(0.5)  # so that both workers have one
    import torch

    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY")
    return os.getpid(), torch.get_num_threads(), [os.environ.get(name) for name in names]


def spoken(job):
    """The square, which takes the longer the smaller the number is; says something, and warns."""
    time.sleep(0.5 * (2 - job))
    print(f"said by {job}", file=sys.stderr)
    sys.stderr.write("\rbar 10%")
    sys.stderr.write("\rbar 100%\n")
    warnings.warn(f"warned by {job}", UserWarning, stacklevel=1)
    return job * job


def wrong(job):
    """Raises a mistake."""
    raise InputError("no such data")


def deadly(job):
    """Has its worker killed if its file is called so; else makes it."""
    with job.open("a") as file:
        file.write("x")
    if job.name == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)


def stopped(job):
    """The name; ``long`` takes a minute, which it lets be cut short, and ``short`` waits for it to begin."""
    place, name = job
    if name == "short":
        while not (place / "long").exists():
            time.sleep(0.02)
        return name
    # As a training does at SIGTERM; at Ctrl-C, which is Ray's way, Python does it by itself.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    (place / "long").touch()
    try:
        for _ in range(600):
            time.sleep(0.1)
    except (SystemExit, KeyboardInterrupt):
        (place / "stopped").touch()
        raise
    return name
