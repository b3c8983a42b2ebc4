"""A worker that says nothing: what its keeper makes of it, who sees it from outside.

The event loop of a worker cannot turn while a task holds the interpreter lock in C, or while the user's own code blocks it.
To the scheduler that looks like a machine that is gone. The keeper sees that the process lives, and vouches for it. A process
that somebody has stopped (SIGSTOP) will not go on by itself: it is killed, so that another one takes its place.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from ..worker.server.metrics import Sight, look_at

#: Seconds without a beat after which a look is taken; beats come twice a second.
SILENT_S: Final = 3.0
#: Seconds between two times that we vouch for a process.
VOUCH_S: Final = 3.0
#: Seconds after which a process that is stopped is killed: a little after the scheduler has given it up.
STOPPED_MAX_S: Final = 12.0
#: Seconds after which one that lives, but does not answer, is killed.
SILENT_MAX_S: Final = 300.0
#: Of the time between two looks, no more than this counts: we may have been stopped ourselves.
ATTENTION_S: Final = 0.5


class Verdict(Enum):
    """What to do about a process."""

    NOTHING = 0
    VOUCH = 1
    #: kill it: it is stopped
    STOPPED = 2
    #: kill it: it has not answered for too long
    STUCK = 3


class Standstill:
    """Watches the beats of one process.

    Parameters
    ----------
    pid : int
        Of the process.
    now : float
        Seconds on a clock that never goes back, as for ``judge``.
    look : callable
        Sees how the process is.

    Examples
    --------
    >>> watch = Standstill(12, 0.0, lambda pid: Sight(stopped=False, cpu_s=1.5))
    >>> [watch.judge(quarter / 4, beats=quarter).name for quarter in (1, 2, 3)]
    ['NOTHING', 'NOTHING', 'NOTHING']
    >>> sorted({watch.judge(quarter / 4, beats=3).name for quarter in range(4, 20)})
    ['NOTHING', 'VOUCH']
    """

    def __init__(self, pid: int, now: float, look: Callable[[int], Sight | None] = look_at) -> None:
        self._pid = pid
        self._look = look
        self._now = now
        self._beats = 0
        #: seconds without a beat, in which we were able to see one
        self.silent_s = 0.0
        #: how much of a processor it has used lately; known when it is vouched for
        self.busy = 0.0
        self._unstopped_s = 0.0  # how long it was silent when it was last seen not stopped
        self._measured: tuple[float, float] | None = (
            None  # likewise, where ``busy`` begins, and its processor seconds then
        )
        self._vouch_at = 0.0  # likewise, when we vouch for it again

    def judge(self, now: float, beats: int) -> Verdict:
        """Take in the number of beats at this time; called several times a second."""
        elapsed, self._now = min(now - self._now, ATTENTION_S), now
        if beats != self._beats:
            self._beats = beats
            self.silent_s = self._unstopped_s = self._vouch_at = 0.0
            self._measured = None
            return Verdict.NOTHING
        self.silent_s += elapsed
        if self.silent_s < SILENT_S:
            return Verdict.NOTHING
        sight = self._look(self._pid)
        if sight is None:
            return Verdict.NOTHING  # it has ended, which is noticed elsewhere
        if sight.stopped:
            return Verdict.STOPPED if self.silent_s - self._unstopped_s >= STOPPED_MAX_S else Verdict.NOTHING
        self._unstopped_s = self.silent_s
        if not beats:
            return Verdict.NOTHING  # it has not come so far: imports and preloads take what they take
        if self.silent_s >= SILENT_MAX_S:
            return Verdict.STUCK
        return self._vouch(sight.cpu_s)

    def _vouch(self, cpu_s: float) -> Verdict:
        if self._measured is None:  # the first look
            self._measured = (self.silent_s, cpu_s)
            return Verdict.NOTHING
        if self.silent_s < self._vouch_at:
            return Verdict.NOTHING
        since, cpu_then = self._measured
        self.busy = (cpu_s - cpu_then) / (self.silent_s - since)
        self._measured = (self.silent_s, cpu_s)
        self._vouch_at = self.silent_s + VOUCH_S
        return Verdict.VOUCH
