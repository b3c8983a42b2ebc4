"""Which workers answer, judged by silence while the scheduler was able to read.

``Core.attended`` is the clock for that. It stands still while the scheduler's own loop does (a stopped process, a suspended
machine, one very long turn), so a scheduler that wakes up holds its own absence against nobody, and what arrived meanwhile
is read before anybody is judged. Clocks of the day play no part.

A worker that is silent for a while is *unresponsive*: it gets no new work and loses what it cannot have started. What it
may be running stays with it, for its answer counts if it comes back. Silent for longer, it is lost, as if it had died, unless
somebody vouches for it (``vouching``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from . import vouching
from .placement import unbind
from .state import TaskState, WorkerState

if TYPE_CHECKING:
    from .core import Core

#: Seconds between two looks at who is silent.
WATCH_S: Final = 0.25
#: Seconds between two heartbeats of a worker.
HEARTBEAT_S: Final = 0.5
#: A worker is unresponsive after this many seconds of silence: with the beat before and the look after, within 5 s.
UNRESPONSIVE_AFTER_S: Final = 4.5
#: A worker is lost after this many seconds of silence: likewise, within 12 s. (A death is noticed at once, by its connection.)
LOST_AFTER_S: Final = 11.5
#: Of the time between two turns of the scheduler, no more than this counts as time in which it was able to read.
ATTENTION_S: Final = 0.5


def attend(core: Core, now: float) -> None:
    """Set the clocks at the beginning of a turn."""
    core.attended += min(now - core.now, ATTENTION_S)
    core.now = now


def watch(core: Core) -> list[WorkerState]:
    """Stop relying on workers that have become silent; those that are to be given up are returned."""
    lost = []
    for ws in core.workers.values():
        silence = core.attended - ws.last_seen
        if silence >= LOST_AFTER_S:
            if vouching.is_vouched_for(core, ws):
                vouching.remake(core, ws)
            else:
                lost.append(ws)
        elif silence >= UNRESPONSIVE_AFTER_S and not ws.unresponsive:
            _suspend(core, ws)
    return lost


def _suspend(core: Core, ws: WorkerState) -> None:
    """Give a silent worker no more work, and give to others what it cannot have started."""
    ws.unresponsive = True
    core.unresponsive[ws] = None
    running = dict.fromkeys(may_be_running(ws))
    for ts in [ts for ts in ws.runs() if ts not in running]:
        core.abandon(ts)
        core.retreat(ts)
    unbind(core, ws)


def resume(core: Core, ws: WorkerState) -> None:
    """An unresponsive worker has been heard of again."""
    ws.unresponsive = False
    ws.vouched_until = 0.0
    del core.unresponsive[ws]
    core.roomy[ws] = None


def may_be_running(ws: WorkerState) -> list[TaskState]:
    """Of the runs sent to a worker, those that it may have started: the lowest ranks, as many as it has threads."""
    return [*sorted(ws.assigned, key=lambda ts: ts.rank)[: ws.nthreads], *ws.long_running]


def farewell(core: Core, ws: WorkerState) -> str:
    """Prepare for the loss of a silent worker; returns the reason, in words."""
    for ts in ws.stored:
        if len(ts.holders) == 1:
            vouching.withdraw_readers(core, ts, ws)
    reason = f"nothing heard from worker {ws.name} for {core.attended - ws.last_seen:.0f} s"
    return f"{reason}, although its process lives" if core.attended < ws.vouched_until else reason
