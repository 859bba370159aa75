"""Ways to run the jobs of an evaluation: functions that are called like `map`.

Jobs can be pickled, and what is called with them is a function of a module and data. So they may run
elsewhere, in any order and side by side, where the same folder can be written to: `map` of a
``concurrent.futures.ProcessPoolExecutor`` is such a function.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class Executor(Protocol):
    """Results of the function for every job, in the order of the jobs."""

    def __call__(
        self, function: Callable[[Job], Result], jobs: Iterable[Job], /
    ) -> Iterable[Result]: ...


def local(function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
    """Results of jobs that run here, one after the other."""
    return map(function, jobs)
