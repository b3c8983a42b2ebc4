"""A worker with a free thread and nothing to take helps the one with the longest queue of its own.

It takes over the first tasks of that queue, if two things hold. They would wait there for more than twice as long as bringing
their inputs takes: what is moved will often have to be moved back. And they are at least as much work as it is to bring their
inputs: a large chunk is not worth moving for a few short tasks. How long tasks of a kind take is known from those that have
ended. Before the first has, all together count as one guess, or for as long as others of their kind have already been running.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from .durations import UNKNOWN_DURATION_S
from .items import needed_by
from .state import TaskState, WorkerState

if TYPE_CHECKING:
    from .core import Core

#: What moving one input costs beside its bytes: a round trip between workers, pickling on both sides.
MOVE_LATENCY_S: Final = 0.001
#: Bytes per second between workers, assumed.
BANDWIDTH: Final = 500e6
#: How many times as long as moving its inputs a task must have to wait, for the move to pay.
PAYS: Final = 2.0
#: Workers with queues of their own that one who could help compares: of many, the longest of a few will do.
QUEUES_COMPARED: Final = 2
#: Tasks at the head of a queue that may be passed over because moving them does not pay.
PASSED_OVER: Final = 4
#: Tasks that are taken over at once, at most.
SHARE_MAX: Final = 1000


def backlog(ws: WorkerState, now: float) -> float:
    """Seconds until a new task would start on a worker, by estimate."""
    seconds = (ws.occupancy + ws.local.work) / ws.nthreads
    if seconds < now - ws.last_result and ws.sent >= ws.nthreads:
        return now - ws.last_result
    return seconds


def take_over(core: Core, ws: WorkerState) -> list[TaskState]:
    """For an idle worker: take some tasks out of the longest queue of another worker, if it pays to run them here instead."""
    victim = _longest(core, ws)
    if victim is None:
        return []
    share = min(1 + victim.local.length // (len(core.idle) + 2), SHARE_MAX)  # the other idle ones shall have theirs
    chosen, others = _take_out(core, ws, victim, share)
    for ts in others:
        core.last_ticket += 1
        victim.local.push(ts, core.last_ticket)
    return chosen


def _longest(core: Core, ws: WorkerState) -> WorkerState | None:
    """Of some workers with queues of their own, in turn, the one with the most to do."""
    laden = core.laden
    victim = None
    longest = 0.0
    for _ in range(min(QUEUES_COMPARED, len(laden))):
        other, _ = laden.popitem(last=False)
        if not other.local.length:
            continue
        laden[other] = None  # to the end
        if other is not ws and not other.unresponsive:
            seconds = backlog(other, core.now)
            if seconds > longest:
                longest, victim = seconds, other
    return victim


def _take_out(core: Core, ws: WorkerState, victim: WorkerState, share: int) -> tuple[list[TaskState], list[TaskState]]:
    """Take tasks out of the queue of ``victim``: those that are worth moving to ``ws``, and others to be put back."""
    queue = victim.local
    first = queue.peek()
    silence = core.now - victim.last_result if victim.sent >= victim.nthreads else 0.0
    running = next(iter(victim.assigned)).prefix if victim.assigned else None
    work = UNKNOWN_DURATION_S if first is not None and first.prefix.duration is None else 0.0
    cost = 0.0
    coming: dict[TaskState, None] = {}
    chosen: list[TaskState] = []
    others: list[TaskState] = []
    paying = 0
    while len(chosen) < share and len(others) < PASSED_OVER and (ts := queue.peek()) is not None:
        queue.pop()
        more = _moving_cost(core, ts, ws, coming)
        waiting = (victim.occupancy + queue.work) / victim.nthreads
        if waiting < silence:
            waiting = silence
        if PAYS * (cost + more) + work / ws.nthreads >= waiting:
            others.append(ts)
            continue
        prefix = ts.prefix
        seconds = 0.0 if prefix.duration is None else prefix.estimate
        if prefix is running and seconds < silence:
            seconds = silence
        chosen.append(ts)
        cost += more
        if not paying and cost > work + share * seconds:
            break
        work += seconds
        if work >= cost:
            paying = len(chosen)
        if ts not in core.items:
            coming.update(dict.fromkeys(ts.deps))
    return chosen[:paying], chosen[paying:] + others


def _moving_cost(core: Core, ts: TaskState, ws: WorkerState, coming: dict[TaskState, None]) -> float:
    """Seconds to bring the inputs of a task to a worker that are not there or ``coming``; infinite if it may not run there."""
    deps = ts.deps
    if len(deps) == 1 and ts.requirement is core.common and not core.items:  # the usual case
        dep = deps[0]
        if ws.memory_limit and dep.nbytes > ws.memory_limit:
            return inf
        return 0.0 if dep in coming or dep in ws.stored else dep.nbytes / BANDWIDTH + MOVE_LATENCY_S
    missing = 0
    total = 0
    count = 0
    for dep, nbytes in zip(deps, needed_by(core, ts), strict=True):
        total += nbytes
        if dep not in ws.stored and dep not in coming:
            missing += nbytes
            count += 1
    if (ws.memory_limit and total > ws.memory_limit) or not ts.requirement.admits(ws):
        return inf
    return missing / BANDWIDTH + count * MOVE_LATENCY_S
