"""Recomputes every derived index of the scheduler's tables. Runs after each event in tests and in the simulator."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from .core import Core
from .queues import TOLERANCE, Queue
from .state import (
    ASSIGNED,
    ERRED,
    FORGOTTEN,
    MEMORY,
    QUEUED,
    RELEASED,
    RETRYING,
    WAITING,
    Status,
    TaskState,
    WorkerState,
)

#: A task in one of these needs the data of its dependencies.
NEEDING: Final = (WAITING, QUEUED, ASSIGNED, RETRYING)


def check(core: Core) -> None:
    """Raise AssertionError unless the tables agree with each other.

    Parameters
    ----------
    core : Core
        Between two calls of ``handle``.
    """
    needed: dict[TaskState, int] = {}
    for client in core.clients.values():
        for arriving in client.arriving.values():
            for ts in arriving.held:
                needed[ts] = needed.get(ts, 0) + 1
    for ts in core.tasks.values():
        if ts.status in NEEDING:
            for dep in ts.deps:
                needed[dep] = needed.get(dep, 0) + 1
    for key, ts in core.tasks.items():
        assert ts.key == key
        assert ts.needed_by == needed.get(ts, 0), ts
        check_task(core, ts)
    check_indexes(core)


def check_indexes(core: Core) -> None:
    """Of what ``check`` does, all that does not look at tasks one by one."""
    assert not core.loose
    assert not core.outboxes
    assert all(core.tasks.get(ts.key) is ts for ts in core.items)
    assert core.warm is None or core.workers.get(core.warm.incarnation) is core.warm
    for ws in core.workers.values():
        _check_worker(core, ws)
    for client in core.clients.values():
        for ts in client.wants:
            assert client in ts.wanted_by
            assert core.tasks.get(ts.key) is ts
    for place, workers in core.workers_at.items():
        assert workers, place
        assert all(core.workers.get(ws.incarnation) is ws for ws in workers), place
    for function in core.functions.values():
        assert all(function.func_id in ws.functions for ws in function.workers)
    _check_queue(core.common.queue)
    for requirement in core.special:
        _check_queue(requirement.queue)
    counts = [0] * len(Status)
    for ts in core.tasks.values():
        counts[ts.status] += 1
    assert core.totals[:FORGOTTEN] == counts[:FORGOTTEN]
    for status in Status:
        if status is not FORGOTTEN:
            assert counts[status] == sum(prefix.counts[status] for prefix in core.prefixes.values()), status


def check_task(core: Core, ts: TaskState) -> None:
    """Check one task against its neighbours, its workers and its clients."""
    status = ts.status
    assert status is not FORGOTTEN
    assert (status is MEMORY) == bool(ts.holders), ts
    assert (status in (ERRED, RETRYING)) == (ts.failure is not None), ts
    assert (status is RETRYING) == (ts in core.retries.due), ts
    assert (ts.ticket != 0) == (status is QUEUED), ts
    assert (ts.worker is not None) or status is not ASSIGNED, ts
    assert ts.worker is None or status in (ASSIGNED, QUEUED), ts
    assert ts.live_dependents == sum(1 for _ in ts.each_dependent()), ts
    if ts in core.items:
        assert ts.deps == core.items[ts].deps == tuple(dict.fromkeys(core.items[ts].makers)), ts
    for dep in ts.deps:
        assert core.tasks.get(dep.key) is dep, (ts, dep)
        assert ts in list(dep.each_dependent())
    if status is WAITING:
        assert ts.waiting_on == sum(dep.status is not MEMORY for dep in ts.deps) > 0, ts
        assert not any(dep.status in (ERRED, RELEASED) for dep in ts.deps), ts
    if status is QUEUED:
        assert ts.worker is not None or ts.requirement is core.common or ts.requirement in core.special, ts
        assert all(dep.status is MEMORY for dep in ts.deps), ts
    if status is ASSIGNED:
        assert ts.worker is not None
        assert core.workers.get(ts.worker.incarnation) is ts.worker, ts
        tables = (ts.worker.assigned, ts.worker.following, ts.worker.long_running)
        assert sum(ts in table for table in tables) == 1, ts
        if ts in ts.worker.following:
            assert ts.waiting_on == sum(dep.status is not MEMORY for dep in ts.deps) > 0, ts
            assert ts.requirement is core.common, ts
        else:
            assert not ts.waiting_on, ts
    if status is RELEASED:
        assert not ts.wanted_by, ts
        assert not ts.needed_by, ts
        assert ts.live_dependents, ts
    for ws in ts.holders:
        assert core.workers.get(ws.incarnation) is ws, ts
        assert ts in ws.stored, ts
    for client in ts.wanted_by:
        assert ts in client.wants


def _check_worker(core: Core, ws: WorkerState) -> None:
    assert ws.reserved == (ws in core.reserved), ws.name
    if any(ts.requirement.usual is not None for ts in ws.assigned):
        assert ws.reserved, ws.name
        assert len(ws.assigned) == 1, ws.name
    assert ws.unresponsive == (ws in core.unresponsive), ws.name
    assert ws.unresponsive or ws.absence is None, ws.name
    assert ws.paused == (ws in core.paused), ws.name
    for ts in ws.runs():
        assert ts.status is ASSIGNED
        assert ts.worker is ws
    for ts in ws.stored:
        assert ws in ts.holders
    assert not ws.unneeded or ws in core.freeing, ws.name
    assert ws.nbytes == sum(ts.nbytes for ts in ws.stored), ws.name
    assert ws.abandoned_slots == sum(abandoned.slot for abandoned in ws.abandoned.values())
    expected = sum(ts.estimate for ts in ws.assigned) + sum(a.estimate for a in ws.abandoned.values() if a.slot)
    assert abs(ws.occupancy - expected) < 1e-6, ws.name
    if ws.sent < ws.nthreads and ws.accepting:
        assert (ws in core.roomy) != (ws in core.idle), ws.name
    else:
        assert ws not in core.idle, ws.name
    if ws.sent > ws.nthreads and ws.accepting:
        assert ws in core.ahead, ws.name
    assert not ws.local.length or ws in core.laden, ws.name
    assert all(ts in ws.assigned for ts in ws.fetching), ws.name
    for name, amount in ws.resources.items():
        used = sum(
            wanted
            for requirement in [
                *(ts.requirement for ts in ws.runs()),
                *(abandoned.requirement for abandoned in ws.abandoned.values()),
            ]
            for resource, wanted in requirement.resources or ()
            if resource == name
        )
        assert abs(amount - used - ws.free_resources[name]) < TOLERANCE, ws.name
        assert used <= amount + TOLERANCE, ws.name
    for place in (ws.name, ws.address, ws.host):
        assert ws in core.workers_at[place], ws.name
    for func_id in ws.functions:
        assert ws in core.functions[func_id].workers, ws.name
    _check_queue(ws.local)
    queued = [ts for _, _, ts in ws.local.entries()]
    assert abs(ws.local.work - sum(ts.estimate or ts.prefix.guess for ts in queued)) < 1e-6, ws.name
    for prefix in {ts.prefix.name: ts.prefix for ts in queued}.values():
        guessed = sum(ts.prefix is prefix and not ts.estimate for ts in queued)
        assert prefix.guessed.get(ws.local, 0) == (guessed if prefix.duration is None else 0), ws.name


def _check_queue(queue: Queue) -> None:
    live = [ts for _, _, ts in queue.entries()]
    assert all(before < after for before, after in pairwise(queue.line))
    assert queue.length == len(live)
    assert all(ts.status is QUEUED for ts in live)
