"""Tasks side by side: order, threads, failures, and an end when nobody waits any more."""

import os
import signal
import threading
import time

import pytest
import torch
from groups import contracts

from timediff.tools.threads import Abandoned, side_by_side, workers_for

with_workers = pytest.mark.parametrize("workers", [0, 1, 2, 3])


def task(value):
    return lambda check: value


@contracts
@with_workers
def test_results_come_in_the_order_of_the_tasks(workers):
    assert list(side_by_side([task(i) for i in range(7)], workers=workers)) == list(range(7))


@contracts
@with_workers
def test_no_more_tasks_are_begun_than_there_are_workers(workers):
    begun = []

    def begin(i):
        return lambda check: begun.append(i)

    results = side_by_side((begin(i) for i in range(9)), workers=workers)
    for taken in range(1, 10):
        next(results)
        assert len(begun) < taken + max(workers, 1)


@contracts
def test_workers_have_one_thread_each_and_the_caller_keeps_its_own():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert workers_for(torch.device("cpu")) == 2
        assert workers_for(torch.device("cuda")) == 0
        seen = list(side_by_side([lambda check: torch.get_num_threads()] * 4, workers=2))
        assert seen == [1] * 4
        assert torch.get_num_threads() == 2
        later = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert later == [2]
    finally:
        torch.set_num_threads(before)


@contracts
@with_workers
def test_a_failure_comes_out_where_its_result_would(workers):
    def fail(check):
        raise ValueError("no")

    results = side_by_side([task(1), fail, task(3)], workers=workers)
    assert next(results) == 1
    with pytest.raises(ValueError, match="no"):
        next(results)


@contracts
def test_tasks_under_way_end_when_the_iterator_is_closed():
    begun, ended = threading.Event(), []

    def endless(check):
        begun.set()
        try:
            while True:
                check()
        except Abandoned:
            ended.append(True)
            raise

    results = side_by_side([task(1), endless, task(3)], workers=2)
    assert next(results) == 1
    assert begun.wait(timeout=60)
    results.close()
    assert ended


@contracts
def test_threads_stay_and_a_forked_child_has_its_own():
    def who(check):
        time.sleep(0.01)
        return threading.get_ident()

    first, again = (set(side_by_side([who] * 6, workers=2)) for _ in range(2))
    assert first == again and len(first) == 2
    if not hasattr(os, "fork"):
        return
    child = os.fork()
    if not child:
        signal.alarm(60)
        os._exit(0 if list(side_by_side([lambda check: 5] * 4, workers=2)) == [5] * 4 else 1)
    assert os.waitpid(child, 0)[1] == 0
