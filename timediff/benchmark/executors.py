"""Ways to run the jobs of an evaluation: functions that are called like `map`.

Jobs can be pickled, and what is called with them is a function of a module and data. So they may run
elsewhere, in any order and side by side, where the same folder can be written to:
`timediff.benchmark.workers.Workers` runs them in processes of this machine or on Ray.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

__all__ = ["Executor", "Job", "Outcome", "local"]

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")
_Function = Callable[[Job], Outcome]


class Executor(Protocol):
    """Outcomes of a function for every job, in the order of the jobs."""

    def __call__(
        self, function: _Function[Job, Outcome], jobs: Iterable[Job], /
    ) -> Iterable[Outcome]: ...


def local(function: _Function[Job, Outcome], jobs: Iterable[Job]) -> Iterator[Outcome]:
    """Outcomes of jobs that run here, one after the other."""
    return map(function, jobs)
