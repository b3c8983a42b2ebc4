"""How many tasks to hand to the executor: long ones one per thread, short ones ahead.

What is handed over runs soon and in that order. So a long task is only handed to a free thread, which keeps priorities
and recalls meaningful, while of short ones as many go along as fill a few milliseconds, so that a thread need not wait
for the event loop between two of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .state import Task

#: Work to keep queued per thread: about as long as the loop takes to come round while threads hold the GIL.
AHEAD_NS: Final = 5_000_000
#: Durations remembered; functions that were not used for longest are forgotten first.
FUNCTIONS_MAX: Final = 10_000


class Pace:
    """Counts what the executor holds and remembers how long functions take.

    Parameters
    ----------
    nthreads : int
        Thread slots of the executor.

    Examples
    --------
    >>> pace = Pace(1)
    >>> pace.admits(b"f"), pace.expected(b"f")
    (True, 5000000)
    >>> pace.learn(b"f", 1_000)
    >>> pace.expected(b"f")
    1000
    """

    __slots__ = ("_durations", "long", "nthreads", "short", "short_ns")

    def __init__(self, nthreads: int) -> None:
        self.nthreads = nthreads
        self._durations: dict[bytes, int] = {}
        #: handed over, and expected to take longer than AHEAD_NS or nobody knows how long
        self.long = 0
        #: handed over, and expected to be short
        self.short = 0
        #: nanoseconds the short ones will take
        self.short_ns = 0

    def expected(self, func_id: bytes) -> int:
        """Nanoseconds a call is expected to take; at least AHEAD_NS means long or unknown."""
        return self._durations.get(func_id, AHEAD_NS)

    def admits(self, func_id: bytes) -> bool:
        """Whether another call may be handed over now."""
        if self.long + self.short < self.nthreads:
            return True
        expected = self._durations.get(func_id, AHEAD_NS)
        return self.short_ns + expected < AHEAD_NS * (self.nthreads - self.long)

    def enter(self, task: Task) -> None:
        """The task was handed over, or took its slot back."""
        expected = task.expected_ns = self._durations.get(task.func_id, AHEAD_NS)
        if expected < AHEAD_NS:
            self.short += 1
            self.short_ns += expected
        else:
            self.long += 1

    def leave(self, task: Task) -> None:
        """The task ended or left its slot."""
        expected = task.expected_ns
        if expected < AHEAD_NS:
            self.short -= 1
            self.short_ns -= expected
        else:
            self.long -= 1

    def learn(self, func_id: bytes, duration_ns: int) -> None:
        """Remember how long a call took; recent calls count most."""
        durations = self._durations
        known = durations.get(func_id)
        if known is not None:
            durations[func_id] = (known + duration_ns) >> 1
            return
        if len(durations) >= FUNCTIONS_MAX:
            del durations[next(iter(durations))]
        durations[func_id] = duration_ns
