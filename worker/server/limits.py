"""Runs that may only take so long, and what is worth another try: the terms of a run, kept where it runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from heapq import heapify, heappop, heappush
from threading import Lock
from typing import Final, NamedTuple

from ...base.errors import TaskTimeoutError
from ...base.keys import Key
from ...protocol import pickling

_clock: Final = time.perf_counter


class Terms(NamedTuple):
    """What the scheduler said of a run: seconds it may take, and the pickled classes of errors worth another try."""

    timeout: float | None
    on: bytes | None


class Limited(NamedTuple):
    """A run with a timeout. ``start`` is the executor's clock; ``threaded`` is whether it holds a thread."""

    key: Key
    attempt: int
    timeout: float
    start: float
    lane: int
    threaded: bool


class Limits:
    """Watches the runs that have a timeout. ``start`` and ``end`` are for any thread.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop
        Where the alarm rings.
    on_overdue : callable
        Called on the loop with each run that goes on when its time is over, once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_overdue: Callable[[Limited], None]) -> None:
        self._loop = loop
        self._on_overdue = on_overdue
        self._lock = Lock()
        self._running: dict[int, Limited] = {}
        self._heap: list[tuple[float, int]] = []  # deadlines and attempts; those not running any more are void
        self._alarm: asyncio.TimerHandle | None = None

    def start(self, run: Limited) -> None:
        """A run begins."""
        deadline = run.start + run.timeout
        with self._lock:
            self._running[run.attempt] = run
            if len(self._heap) > 2 * len(self._running) + 64:
                self._heap = [entry for entry in self._heap if entry[1] in self._running]
                heapify(self._heap)
            heappush(self._heap, (deadline, run.attempt))
            earliest = self._heap[0][1] == run.attempt
        if earliest:
            with suppress(RuntimeError):  # the loop is closed: nobody wants to know
                self._loop.call_soon_threadsafe(self._look)

    def end(self, attempt: int) -> None:
        """A run has ended."""
        self._running.pop(attempt, None)

    def close(self) -> None:
        """Watch nothing any more; on the loop."""
        self._running.clear()
        if self._alarm is not None:
            self._alarm.cancel()

    def _look(self) -> None:
        """Report what is overdue, and set the alarm for what is next."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        overdue: list[Limited] = []
        with self._lock:
            heap = self._heap
            while heap:
                deadline, attempt = heap[0]
                remaining = deadline - _clock()
                if attempt in self._running and remaining > 0:
                    self._alarm = self._loop.call_later(remaining, self._look)
                    break
                heappop(heap)
                run = self._running.pop(attempt, None)
                if run is not None:
                    overdue.append(run)
        for run in overdue:
            self._on_overdue(run)


def is_worth_retrying(error: BaseException, on: bytes | None) -> bool:
    """Whether the author of a task chose this error as one to try again after.

    Parameters
    ----------
    error : BaseException
        What the task raised; gets a note if the answer could not be found.
    on : bytes or None
        A pickled tuple of classes. None: all errors but ``TaskTimeoutError``.
    """
    if on is None:
        return not isinstance(error, TaskTimeoutError)
    try:
        return isinstance(error, pickling.loads(on))
    except Exception as problem:  # noqa: BLE001 (unpickling runs code of users, which may raise anything)
        error.add_note(f"not tried again: Retry(on=...) cannot be unpickled on this worker: {problem}")
        return False
