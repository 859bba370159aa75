"""Executors that run jobs side by side: in processes of this machine, or as tasks of Ray.

Both are one loop. As many threads as there are workers take the jobs in turn; each gives its job to a process
elsewhere, waits for it, and gives it away again if the process died. What a job says on stderr and warns of
is said here, once it is finished.
"""

import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, redirect_stderr, suppress
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context, parent_process
from typing import Any, Literal, NamedTuple, Protocol

from timediff.arguments import checked
from timediff.benchmark.executors import Job, Outcome
from timediff.errors import InputError
from timediff.options import Threads, Whole
from timediff.registry import TABLES, import_plugin

__all__ = ["RETRIES", "Workers"]

#: Times that a job is done again whose worker died, before the run ends.
RETRIES = 2
#: Fresh processes, which read the number of threads when they import torch.
_SPAWN = get_context("spawn")


class Workers:
    """Runs jobs in other processes, several at a time; an `timediff.benchmark.executors.Executor`.

    A job that raises ends the run, and so does one whose worker died (killed, out of memory) more than
    `RETRIES` times; those under way are asked to stop, as by SIGTERM or Ctrl-C.

    Args:
        workers: Jobs side by side, at most.
        on: ``local`` for processes of this machine, ``ray`` for tasks of the Ray cluster that
            `ray.init` finds, or else one that it starts here (extra ``ray``). Tasks need the same timediff
            and the same folders on each machine; they ask for CPUs, not for GPUs.
        threads: Of each worker, and the CPUs that a task of Ray asks for; when left out the number in the
            variable OMP_NUM_THREADS, or else the processors over the workers.

    Raises:
        InputError: A value makes no sense, or Ray is not installed.
    """

    @checked
    def __init__(
        self,
        workers: Whole,
        *,
        on: Literal["local", "ray"] = "local",
        threads: Threads = None,
    ) -> None:
        if on == "ray" and find_spec("ray") is None:
            raise InputError(
                "the package ray is not installed; install timediff with its extra [ray]"
            )
        self.workers, self.on, self.threads = workers, on, threads

    def __call__(
        self, function: Callable[[Job], Outcome], jobs: Iterable[Job], /
    ) -> Iterator[Outcome]:
        """Outcomes in the order of the jobs; each is told on stderr when it is finished."""
        jobs, finished, following = list(jobs), {}, 0
        modules = {part.registered_by for table in TABLES.values() for part in table.parts.values()}
        call = partial(_heard, function, sorted(modules - {"", "__main__"}))
        place: _Place = (_Ray if self.on == "ray" else _Local)(call, self.workers, self.threads)
        pool = ThreadPoolExecutor(self.workers)
        try:
            numbers = {pool.submit(_kept_on, place, job): k for k, job in enumerate(jobs)}
            for count, future in enumerate(as_completed(numbers), start=1):
                number, done = numbers[future], future.result()
                done.tell()
                print(f"{count} of {len(jobs)} done: {jobs[number]}", file=sys.stderr)
                finished[number] = done.outcome
                while following in finished:
                    yield finished.pop(following)
                    following += 1
        except BaseException:  # of a job, Ctrl-C, or nobody waits for more
            pool.shutdown(wait=False, cancel_futures=True)
            place.stop()
            raise
        finally:
            pool.shutdown()
            place.close()


class _Done(NamedTuple):
    """What a job came to, what it said on stderr, and its warnings."""

    outcome: Any
    said: str
    warned: list[tuple[Warning, type[Warning], str, int]]

    def tell(self) -> None:
        """Says it here."""
        sys.stderr.write(self.said)
        for message, category, filename, line in self.warned:
            warnings.warn_explicit(message, category, filename, line)


def _heard(function: Callable[[Any], Any], modules: list[str], job: Any) -> _Done:
    """A job done in a worker, which knows the parts that are registered by these modules."""
    for module in modules:
        import_plugin(module)
    with redirect_stderr(io.StringIO()) as said, warnings.catch_warnings(record=True) as warned:
        outcome = function(job)
    # Bars, whose lines begin anew, are of no use when all is over.
    lines = [f"{line}\n" for line in said.getvalue().split("\n") if line and "\r" not in line]
    told = [(one.message, one.category, one.filename, one.lineno) for one in warned]
    return _Done(outcome, "".join(lines), told)  # type: ignore[arg-type]


class _Died(Exception):
    """The end of a worker before that of its job."""


class _Place(Protocol):
    """Where jobs are run, each of the threads of `Workers` one at a time."""

    stopped: bool

    def run(self, job: Any) -> _Done:
        """What a job comes to; raises `_Died` where its worker does."""

    def stop(self) -> None:
        """Asks all that is under way to stop."""

    def close(self) -> None:
        """Ends the workers, once none is under way."""


def _kept_on(place: _Place, job: Any) -> _Done:
    """What a job comes to, done again where its worker died."""
    for left in reversed(range(RETRIES + 1)):
        try:
            return place.run(job)
        except _Died:
            if place.stopped:
                raise
            again = "it is done again" if left else "it is given up"
            print(f"the worker of {job} died; {again}", file=sys.stderr)
    raise InputError(
        f"the worker of {job} died {RETRIES + 1} times, as one does that is killed for the memory it "
        "takes; run it again with fewer workers, what is finished is kept"
    )


def _environment(threads: int) -> dict[str, str]:
    """Variables that torch and the libraries of linear algebra read when they are imported."""
    wait = os.environ.get("OMP_WAIT_POLICY", "PASSIVE")
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {"OMP_WAIT_POLICY": wait, **dict.fromkeys(names, str(threads))}


def _threads(told: int | None, processors: int, workers: int) -> int:
    """Threads of each worker."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return told or (int(given) if given.isdecimal() else 0) or max(processors // workers, 1)


class _Local:
    """A process of this machine for each thread, and a new one for one that died."""

    def __init__(self, call: Callable[[Any], _Done], workers: int, threads: int | None) -> None:
        # Not all that the machine has, where a scheduler gave this process some.
        here = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
        self.call, self.stopped = call, False
        self.environment = _environment(_threads(threads, len(here), workers))
        self.lock, self.mine = threading.Lock(), threading.local()
        self.pools: dict[ProcessPoolExecutor, int] = {}

    def run(self, job: Any) -> _Done:
        pool: ProcessPoolExecutor | None = getattr(self.mine, "pool", None)
        if pool is None:
            pool = self.mine.pool = self._start()
        try:
            return pool.submit(self.call, job).result()
        except (BrokenProcessPool, SystemExit) as error:
            self.mine.pool = None
            with self.lock:
                del self.pools[pool]
            pool.shutdown()
            raise _Died from error

    def _start(self) -> ProcessPoolExecutor:
        with self.lock:
            if self.stopped:
                raise _Died
            pool = ProcessPoolExecutor(1, mp_context=_SPAWN, initializer=_begin)
            with _variables(self.environment):
                self.pools[pool] = pool.submit(os.getpid).result()
        return pool

    def stop(self) -> None:
        with self.lock:
            self.stopped = True
            for process in self.pools.values():
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGTERM)

    def close(self) -> None:
        for pool in self.pools:
            pool.shutdown()


def _begin() -> None:
    """Has a worker leave Ctrl-C to its parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # or a run that goes on from there would meet this one in the same folder


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Has these variables in the environment, for processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Ray:
    """A task of Ray for each job."""

    def __init__(self, call: Callable[[Any], _Done], workers: int, threads: int | None) -> None:
        import ray

        self.ray, self.stopped, self.tasks = ray, False, set[Any]()
        self.begun = not ray.is_initialized()
        if self.begun:
            before = signal.getsignal(signal.SIGTERM)
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)  # Ray has set its own
        # A task has its processors on one machine.
        each = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
        threads = _threads(threads, int(ray.cluster_resources().get("CPU", 0)), workers)
        if threads > each:
            threads = each
        environment = {"env_vars": _environment(threads)}
        # Done again here, as for local processes, and not by Ray.
        task = ray.remote(_called).options(num_cpus=threads, max_retries=0, runtime_env=environment)
        self.submit = partial(task.remote, ray.put(call))

    def run(self, job: Any) -> _Done:
        from ray import exceptions as ends

        died = (
            ends.WorkerCrashedError,
            ends.OutOfMemoryError,
            ends.NodeDiedError,
            ends.ObjectLostError,
        )
        if self.stopped:
            raise _Died
        task = self.submit(job)
        self.tasks.add(task)
        try:
            return self.ray.get(task)
        except ends.RayTaskError as error:
            raise error.cause from error
        except (*died, ends.TaskCancelledError) as error:
            raise _Died from error
        finally:
            self.tasks.discard(task)

    def stop(self) -> None:
        self.stopped = True
        for task in list(self.tasks):
            self.ray.cancel(task)

    def close(self) -> None:
        if self.begun:
            self.ray.shutdown()


def _called(call: Callable[[Any], _Done], job: Any) -> _Done:
    """A job done in a task of Ray."""
    return call(job)
