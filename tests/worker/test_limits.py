"""Deadlines of runs, and which errors were chosen."""

from __future__ import annotations

import asyncio
import pickle
import time

from myscheduler.base.errors import TaskTimeoutError
from myscheduler.worker.server.limits import Limited, Limits, is_worth_retrying


def run(attempt: int, timeout: float) -> Limited:
    return Limited("x", attempt, timeout, time.perf_counter(), 0, threaded=True)


async def test_each_overdue_run_is_reported_once_in_order_of_the_deadlines() -> None:
    done = asyncio.Event()
    overdue: list[int] = []

    def note(found: Limited) -> None:
        overdue.append(found.attempt)
        if found.attempt == 1:
            done.set()

    limits = Limits(asyncio.get_running_loop(), note)
    for attempt, timeout in ((1, 0.06), (2, 0.02), (3, 0.04), (4, 60.0)):
        limits.start(run(attempt, timeout))
    limits.end(3)
    async with asyncio.timeout(5):
        await done.wait()
    assert overdue == [2, 1]
    limits.close()


async def test_runs_that_ended_in_time_are_forgotten() -> None:
    limits = Limits(asyncio.get_running_loop(), lambda found: None)
    for attempt in range(1000):
        limits.start(run(attempt, 3600.0))
        limits.end(attempt)
    assert len(limits._heap) < 100
    limits.close()


def test_chosen_errors_are_worth_another_try() -> None:
    on = pickle.dumps((OSError, KeyError))
    assert is_worth_retrying(KeyError("x"), on)
    assert is_worth_retrying(ConnectionResetError(), on)
    assert not is_worth_retrying(ValueError(), on)


def test_all_errors_but_timeouts_are_if_none_were_chosen() -> None:
    assert is_worth_retrying(ValueError(), None)
    assert not is_worth_retrying(TaskTimeoutError("too long"), None)
    assert is_worth_retrying(TaskTimeoutError("too long"), pickle.dumps((TimeoutError,)))


def test_classes_that_cannot_be_read_are_told() -> None:
    error = ValueError("x")
    assert not is_worth_retrying(error, b"junk")
    assert error.__notes__[0].startswith("not tried again: Retry(on=...) cannot be unpickled on this worker: ")
