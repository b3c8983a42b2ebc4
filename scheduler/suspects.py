"""Tasks that may have killed a worker run alone: each gets a worker to itself, which is emptied for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol.messages import RECALL
from .placement import assign
from .state import QUEUED, WorkerState

if TYPE_CHECKING:
    from .core import Core
    from .queues import Requirement


def place_suspects(core: Core) -> None:
    """Give each suspect a worker to itself, and workers that no suspect needs any more back to all.

    A reserved worker is given nothing else; its suspect is sent when the last run before has ended. What has left the slots
    may go on beside it, or tasks that wait for others might wait for ever; workers without such come first. While other
    tasks wait as well, suspects get half of the workers.
    """
    asking = [requirement for requirement in core.special if requirement.usual is not None and requirement.queue.length]
    waiting = sum(requirement.queue.length for requirement in asking)
    free: list[WorkerState] = []  # reserved, and without a suspect so far
    for ws in list(core.reserved):
        if any(ts.requirement.usual is not None for ts in ws.assigned):
            continue
        if len(free) < waiting and ws.accepting and any(requirement.admits(ws) for requirement in asking):
            free.append(ws)
        else:
            release(core, ws)
    most = len(core.workers) if core.totals[QUEUED] == waiting else max(1, len(core.workers) // 2)
    for requirement in asking:
        while len(free) < waiting and len(core.reserved) < most:
            quietest = _quietest(core, requirement)
            if quietest is None:
                break
            reserve(core, quietest)
            free.append(quietest)
    for ws in free:
        if not ws.assigned and not ws.following and not ws.abandoned_slots:
            able = [requirement for requirement in asking if requirement.admits(ws) and requirement.has_resources(ws)]
            suspects = [ts for requirement in able if (ts := requirement.queue.peek()) is not None]
            if suspects:
                ts = min(suspects, key=lambda ts: (ts.rank, ts.ticket))
                ts.requirement.queue.pop()
                assign(core, ws, ts)


def _quietest(core: Core, requirement: Requirement) -> WorkerState | None:
    """The worker that will soonest have nothing to run beside a suspect."""
    able = [ws for ws in core.workers.values() if ws.accepting and not ws.reserved and requirement.admits(ws)]
    return min(able, key=lambda ws: (len(ws.long_running), ws.sent, ws.occupancy), default=None)


def reserve(core: Core, ws: WorkerState) -> None:
    """Keep a worker for a suspect."""
    ws.reserved = True
    core.idle.pop(ws, None)
    core.reserved[ws] = None
    for ts in (*list(ws.assigned)[ws.nthreads :], *ws.following):  # not started yet, most likely
        if ts.attempt not in ws.recalled:
            ws.recalled[ts.attempt] = None
            core.row(ws, RECALL, (ts.key, ts.attempt))


def release(core: Core, ws: WorkerState) -> None:
    """A worker need not be kept for a suspect any more."""
    ws.reserved = False
    core.reserved.pop(ws, None)
    core.roomy[ws] = None
