"""Threads of a CPU: how many torch's operators are given, and tasks side by side with one each.

The operators of a forecast take microseconds on small tensors: two threads inside each of them wait for one
another longer than they work. Paths are independent, so threads are given paths instead. The steps of a
training are not: how many threads make them quickest depends on their size and on who else uses the
processor, and is found by timing a few.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from math import inf
from typing import NamedTuple, TypeVar

import torch

__all__ = [
    "GAIN",
    "MOST_ROUNDS",
    "Abandoned",
    "Pick",
    "T",
    "Task",
    "given_threads",
    "quickest",
    "side_by_side",
    "with_threads",
    "workers_for",
]

T = TypeVar("T")
#: A piece of work ``task(check)``. It calls ``check()`` now and then, which raises `Abandoned` once nobody
#: waits for the result.
Task = Callable[[Callable[[], None]], T]

#: Times that more threads must be as fast as fewer, whose processors others can use.
GAIN = 1.05
#: Most times that a step is timed with a number of threads.
MOST_ROUNDS = 5
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_AT_IMPORT = torch.get_num_threads()


#: Threads that do tasks, by how many there are. They stay: in a child that is forked after some have ended,
#: MKL's memory manager may look for its own record for ever (torch 2.13, in few forks of many).
_pools: dict[int, ThreadPoolExecutor] = {}


def _one_thread() -> None:
    # The first question makes torch give a thread the number that was set last; what is set before is lost.
    torch.get_num_threads()
    torch.set_num_threads(1)


def _forked() -> None:
    _pools.clear()
    _one_thread()


# The threads that torch's operators share stay with the parent: an operator of a forked child that counts on
# them waits for ever. With one thread none does, as in the workers of torch's own data loaders.
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forked)


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

    pool = _pools.setdefault(workers, ThreadPoolExecutor(workers, initializer=_one_thread))
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
        wait([future for future in under_way if not future.cancel()])
        torch.set_num_threads(threads)  # what was set last is that of all threads that start later


class Pick(NamedTuple):
    """A number of threads, and why.

    Args:
        threads: How many.
        seconds: Of a step by the numbers of threads that were timed; none where it was not timed.
    """

    threads: int
    seconds: dict[int, float] = {}  # noqa: RUF012 (never changed)

    def __str__(self) -> str:
        """What was chosen, for those who wait."""
        if not self.seconds:
            return f"threads: {self.threads}"
        others = [f"{s:.3g} s with {n}" for n, s in self.seconds.items() if n != self.threads]
        step = f"a step takes {self.seconds[self.threads]:.3g} s"
        return f"threads: {self.threads} ({', '.join([step, *others])})"


def given_threads() -> int | None:
    """Torch's threads if its user gave their number; None if torch chose it.

    It was given in the environment, or by `torch.set_num_threads` since this module was imported. A forked
    child and the threads of `side_by_side` were given one.
    """
    threads = torch.get_num_threads()
    named = any(os.environ.get(name) for name in _VARIABLES)
    return threads if named or threads != _AT_IMPORT else None


@contextmanager
def with_threads(threads: int) -> Iterator[None]:
    """Gives torch's operators so many threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def quickest(
    step: Callable[[], object],
    most: int,
    *,
    rounds: int = MOST_ROUNDS,
    limit: float = inf,
    clock: Callable[[], float] = time.perf_counter,
) -> Pick:
    """The number of threads, 1, 2, 4, .. up to ``most``, with which a step takes least time.

    More are tried as long as each number is `GAIN` times as fast as the one before. The two take turns, so
    that a machine that gets busier or idle is so for both, and their time is summed: a step that waits for
    others now and then is a slow one.

    Args:
        step: What is timed, once more in the beginning.
        most: Threads that there may be.
        rounds: Times that a step is timed with each number.
        limit: Seconds after which no other round begins, but for the first of all.
        clock: Seconds since some moment.
    """
    began, seconds, threads = clock(), dict[int, float](), 1
    with with_threads(threads):
        step()  # the first allocates, and is slower than the rest
    while (more := min(2 * threads, most)) > threads:
        spent = {more: 0.0, threads: 0.0}
        for done in range(1, rounds + 1):
            for number in sorted(spent, reverse=bool(done % 2)):
                with with_threads(number):
                    started = clock()
                    step()
                    spent[number] += clock() - started
            if clock() - began > limit:
                break
        seconds |= {number: total / done for number, total in sorted(spent.items())}
        if GAIN * spent[more] >= spent[threads]:
            break
        threads = more
        if clock() - began > limit:
            break
    return Pick(threads, seconds)
