"""Trying again: what a task's author asked for, and the tasks that wait for their next try."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from ..base.errors import ProtocolError
from ..protocol.messages import TERMS_FIELDS, Row

if TYPE_CHECKING:
    from .state import TaskState

#: Seconds; no wait is longer.
WAIT_MAX_S: Final = 1e9


class Terms:
    """How often a task is tried again and when, and how long a run may take. Shared by the tasks of a SUBMIT.

    Parameters
    ----------
    times : int
        Retries in all.
    row : tuple
        As a client sent it, see TERMS_FIELDS.

    Raises
    ------
    ProtocolError
        The row is none.
    """

    __slots__ = ("backoff", "delay", "for_worker", "max_delay", "times")

    def __init__(self, times: int, row: Row) -> None:
        if len(row) != len(TERMS_FIELDS):
            raise ProtocolError(f"SUBMIT: terms have {len(TERMS_FIELDS)} fields, not {len(row)}")
        delay, backoff, max_delay, on, timeout = row
        for value in (delay, backoff, 0 if max_delay is None else max_delay, 0 if timeout is None else timeout):
            if type(value) not in (float, int) or not isfinite(value) or value < 0:
                raise ProtocolError(f"SUBMIT: the terms {row[:3]!r}, {timeout!r} are no durations")
        if on is not None and type(on) is not bytes:
            raise ProtocolError(f"SUBMIT: the exceptions of terms are a {type(on).__name__}")
        self.times = times
        self.delay: float = delay
        self.backoff: float = backoff
        self.max_delay: float = WAIT_MAX_S if max_delay is None else min(max_delay, WAIT_MAX_S)
        #: timeout and exceptions; None if the worker need not know anything
        self.for_worker: tuple[Any, Any] | None = None if on is None and timeout is None else (timeout, on)

    def wait(self, retry: int) -> float:
        """Seconds to wait before a retry; the first one is 1.

        Examples
        --------
        >>> terms = Terms(3, (1.0, 2.0, 3.0, None, None))
        >>> [terms.wait(retry) for retry in (1, 2, 3)]
        [1.0, 2.0, 3.0]
        """
        if not self.delay:
            return 0.0
        try:
            return min(self.delay * self.backoff ** (retry - 1), self.max_delay)
        except OverflowError:
            return self.max_delay


class RetryQueue:
    """The tasks that are RETRYING, and when each is due."""

    __slots__ = ("_heap", "_sequence", "due")

    def __init__(self) -> None:
        self.due: dict[TaskState, float] = {}
        self._heap: list[tuple[float, int, TaskState]] = []  # entries of tasks that are due at another time are void
        self._sequence = 0

    def add(self, ts: TaskState, when: float) -> None:
        """Enter a task."""
        self.due[ts] = when
        self._sequence += 1
        heappush(self._heap, (when, self._sequence, ts))

    def discard(self, ts: TaskState) -> None:
        """Take a task out before it is due."""
        del self.due[ts]
        if len(self._heap) > 2 * len(self.due) + 64:
            self._heap = [entry for entry in self._heap if self.due.get(entry[2]) == entry[0]]
            heapify(self._heap)

    def next_due(self) -> float | None:
        """When the first task is due; None if none waits."""
        heap = self._heap
        while heap:
            when, _, ts = heap[0]
            if self.due.get(ts) == when:
                return when
            heappop(heap)
        return None

    def pop_due(self, now: float) -> list[TaskState]:
        """Take out the tasks that are due, in that order."""
        found: list[TaskState] = []
        while (when := self.next_due()) is not None and when <= now:
            ts = heappop(self._heap)[2]
            del self.due[ts]
            found.append(ts)
        return found
