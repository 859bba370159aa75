"""Tasks side by side on a CPU, one thread each.

The operators of a forecast take microseconds on small tensors: two threads inside each of them wait for one
another longer than they work. Paths are independent, so threads are given paths instead.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["Abandoned", "T", "Task", "side_by_side", "workers_for"]

T = TypeVar("T")
#: A piece of work ``task(check)``. It calls ``check()`` now and then, which raises `Abandoned` once nobody
#: waits for the result.
Task = Callable[[Callable[[], None]], T]


def _one_thread() -> None:
    torch.set_num_threads(1)


# The threads that torch's operators share stay with the parent: an operator of a forked child that counts on
# them waits for ever. With one thread none does, as in the workers of torch's own data loaders.
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_one_thread)


class Abandoned(Exception):
    """End of a task that nobody waits for any more."""


def workers_for(device: torch.device) -> int:
    """Number of threads for tasks: torch's on a CPU, 0 on a device that works in parallel by itself."""
    return torch.get_num_threads() if device.type == "cpu" else 0


def side_by_side(tasks: Iterable[Task[T]], *, workers: int) -> Generator[T]:
    """Results in the order of the tasks, at most ``workers`` of which are under way or waiting to be taken.

    Without workers the caller does them one after another. Tasks that are under way when the iterator is
    closed, by Ctrl-C for instance, end at their next call.
    """
    if not workers:
        for task in tasks:
            yield task(lambda: None)
        return
    threads, closed = torch.get_num_threads(), threading.Event()

    def check() -> None:
        if closed.is_set():
            raise Abandoned

    # torch keeps a number of threads for each thread, and gives the last one set to all that start later.
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    under_way: deque[Future[T]] = deque()
    try:
        for task in tasks:
            if len(under_way) == workers:
                yield under_way.popleft().result()
            under_way.append(pool.submit(task, check))
        while under_way:
            yield under_way.popleft().result()
    finally:
        closed.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
