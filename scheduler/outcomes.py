"""What workers answer: results, errors, copies, inputs they cannot get, tasks given back.

Each run that was sent to a worker is answered exactly once: by RESULTS, ERRORS, UNFETCHED or RECALLED. (OVERDUE comes before
that: the task has failed, the run goes on.) An answer counts only
if it names the current attempt of the task and comes from the worker that was given it.
"""

from __future__ import annotations

from typing import Final

from ..base.errors import ClusterError
from ..base.keys import Key
from ..protocol.messages import FREE, Message
from .core import Core
from .observing import is_observed
from .state import ASSIGNED, MEMORY, Failure, WorkerState

#: How often a task may come back because the same input could not be fetched from workers that said they have it.
UNFETCHED_MAX: Final = 5


def on_results(core: Core, ws: WorkerState, message: Message) -> None:
    """Runs ended well; the worker holds the data."""
    tasks = core.tasks
    observed = is_observed(core)
    incarnation = ws.incarnation
    ws.last_result = core.now
    for key, attempt, nbytes, type_name, payload, thread, start, duration in message[1]:
        ts = tasks.get(key)
        if ts is None or ts.attempt != attempt or ts.status is not ASSIGNED or ts.worker is not ws:
            core.settle(ws, key, attempt, has_data=True)
            continue
        core.unassign(ts)
        if ts.waiting_on:  # it ran with a result that has been refused since
            core.row(ws, FREE, (key, attempt))
            core.retreat(ts)
            continue
        prefix = ts.prefix
        prefix.done += 1
        prefix.observe(duration)
        ts.nbytes = nbytes
        ts.type_name = type_name
        core.add_holder(ts, ws)
        core.finish(ts, payload)
        if observed:
            core.runs.append((key, incarnation, thread, start, duration, True))
    if ws in core.roomy:
        core.warm = ws


def on_errors(core: Core, ws: WorkerState, message: Message) -> None:
    """Runs raised."""
    observed = is_observed(core)
    ws.last_result = core.now
    for key, attempt, payload, text, traceback, thread, start, duration in message[1]:
        ts = core.tasks.get(key)
        if ts is None or ts.attempt != attempt or ts.status is not ASSIGNED or ts.worker is not ws:
            core.settle(ws, key, attempt, has_data=False)
            continue
        core.unassign(ts)
        core.warm = None  # something may be wrong with this worker: the next try is for another
        failure = Failure(key, payload, text, traceback)
        if ts.retries > 0:
            core.retry(ts, failure)
        else:
            core.fail(ts, failure)
        if observed:
            core.runs.append((key, ws.incarnation, thread, start, duration, False))


def on_final(core: Core, ws: WorkerState, message: Message) -> None:
    """What these runs raised is no reason to try again."""
    for key, attempt in message[1]:
        ts = core.tasks.get(key)
        if ts is not None and ts.attempt == attempt and ts.status is ASSIGNED and ts.worker is ws:
            ts.retries = 0
        else:
            core.stale["answers"] += 1


def on_overdue(core: Core, ws: WorkerState, message: Message) -> None:
    """Runs took too long. They go on, and occupy their slots until they are answered."""
    for key, attempt, payload, text, traceback, *_ in message[1]:
        ts = core.tasks.get(key)
        if ts is None or ts.attempt != attempt or ts.status is not ASSIGNED or ts.worker is not ws:
            core.stale["answers"] += 1
            continue
        core.detach(ts)
        failure = Failure(key, payload, text, traceback)
        if ts.retries > 0:
            core.retry(ts, failure)
        else:
            core.fail(ts, failure)


def on_replicas(core: Core, ws: WorkerState, message: Message) -> None:
    """The worker has fetched copies and keeps them."""
    for key, attempt in message[1]:
        ts = core.tasks.get(key)
        if ts is None or ts.status is not MEMORY or ts.attempt != attempt:
            core.stale["answers"] += 1
            core.refuse(ws, key, attempt)
            if ts is not None:
                for holder in ts.holders:  # if this copy stood in the way of the one that was asked for, ask again
                    holder.copying.pop(ts, None)
        else:
            core.add_holder(ts, ws)
            core.arrived.append(ts)  # somebody may wait to have it sent through us, while all other holders are away


def on_unfetched(core: Core, ws: WorkerState, message: Message) -> None:
    """The worker could not get the inputs of runs: their holders are not to be believed."""
    for key, attempt, failures in message[1]:
        missed = []
        for dep_key, dep_attempt, address in failures:
            dep = core.tasks.get(dep_key)
            if dep is None or dep.status is not MEMORY or dep_attempt not in (0, dep.attempt):
                continue  # it is gone, or was to be made there and was not
            missed.append((dep_key, address))
            for holder in dep.holders:
                if holder.address == address:
                    core.row(holder, FREE, (dep_key, dep.attempt))
                    core.drop_holder(dep, holder)
            if not dep.holders:
                core.lose(dep)
        ts = core.tasks.get(key)
        if ts is not None and ts.status is MEMORY:
            for holder in ts.holders:
                if holder.copying.get(ts) is ws:
                    del holder.copying[ts]  # it was to have a copy itself: somebody is asked again
        if ts is None or ts.attempt != attempt or ts.status is not ASSIGNED or ts.worker is not ws:
            core.settle(ws, key, attempt, has_data=False)
            continue
        core.unassign(ts)
        core.warm = None
        if not missed:
            core.retreat(ts)
            continue
        counts = core.unfetched.setdefault(key, {})
        for dep_key, _ in missed:
            counts[dep_key] = counts.get(dep_key, 0) + 1
        worst, count = max(counts.items(), key=lambda item: item[1])
        if count < UNFETCHED_MAX:
            core.retreat(ts)
            continue
        text = (
            f"task {key!r} could not get its input {worst!r} in {count} attempts, last from {missed[0][1]}. Either "
            "workers cannot reach each other (check --host and firewalls), or the value cannot be pickled (return "
            "something that can)."
        )
        core.fail(ts, core.own_failure(key, ClusterError, text))


def on_recalled(core: Core, ws: WorkerState, message: Message) -> None:
    """The worker gave runs back that it had not started."""
    for key, attempt in message[1]:
        ts = core.tasks.get(key)
        if ts is None or ts.attempt != attempt or ts.status is not ASSIGNED or ts.worker is not ws:
            core.settle(ws, key, attempt, has_data=False)
            continue
        core.unassign(ts)
        core.retreat(ts)


def on_seceded(core: Core, ws: WorkerState, message: Message) -> None:
    """Runs go on outside of the thread slots."""
    for key, attempt in message[1]:
        if not vacate(core, ws, key, attempt):
            core.stale["answers"] += 1


def vacate(core: Core, ws: WorkerState, key: Key, attempt: int) -> bool:
    """A run goes on outside of the thread slots; whether it was in one."""
    ts = core.tasks.get(key)
    abandoned = ws.abandoned.get(attempt)
    if ts is not None and ts.attempt == attempt and ts.worker is ws and ts in ws.assigned:
        del ws.assigned[ts]
        ws.fetching.pop(ts, None)
        ws.long_running[ts] = None
        ws.subtract(ts.estimate)
    elif abandoned is not None and abandoned.slot:
        abandoned.slot = False
        ws.abandoned_slots -= 1
        ws.subtract(abandoned.estimate)
    else:
        return False
    core.roomy[ws] = None
    return True
