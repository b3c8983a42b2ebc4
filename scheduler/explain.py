"""Why a task is where it is, in words a user can act on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..base.keys import Key
from .liveness import LOST_AFTER_S
from .state import ASSIGNED, ERRED, MEMORY, QUEUED, RETRYING, WAITING, TaskState, WorkerState
from .vouching import VOUCHED_MAX_S, is_vouched_for

if TYPE_CHECKING:
    from .core import Core


def explain(core: Core, key: Key) -> str:
    """One to three sentences about a task.

    Parameters
    ----------
    core : Core
        The scheduler's tables.
    key : Key
        Any key.

    Returns
    -------
    str
        What the task waits for, where it runs, or why it failed.
    """
    ts = core.tasks.get(key)
    if ts is None:
        return f"The scheduler does not know {key!r}: it was never submitted, or nobody holds a future of it any more."
    if ts in core.deaths.pending:
        return f"{key!r} was running on {ts.kills} workers when they died; how the last one did is about to be known."
    if ts.status is WAITING:
        return _explain_waiting(ts)
    if ts.status is QUEUED:
        return _explain_queued(core, ts)
    if ts.status is ASSIGNED and ts.worker is not None:
        sent = f"{key!r} was sent to worker {ts.worker.name} ({ts.worker.address}) as attempt {ts.attempt}."
        if ts in ts.worker.following:
            leader = next(dep for dep in ts.deps if dep.status is not MEMORY)
            sent += f" It runs there as soon as {leader.key!r}, which it needs, has ended there."
        return sent + _silence(core, ts.worker)
    if ts.status is RETRYING and ts in core.awaited and ts.failure is not None:
        seconds = max(core.retries.due[ts] - core.now, 0.0)
        return (
            f"{key!r} was scattered to worker {core.awaited[ts].name}, which has lost its connection and may come back within "
            f"{seconds:.0f} s. Nobody else has the data, so it is waited for."
        )
    if ts.status is RETRYING and ts.terms is not None and ts.failure is not None:
        seconds = max(core.retries.due[ts] - core.now, 0.0)
        number = f"retry {ts.terms.times - ts.retries} of {ts.terms.times}"
        return f"{key!r} failed, and its next try, {number}, is in {seconds:.1f} s. The error was: {ts.failure.text}"
    if ts.status is MEMORY:
        return f"{key!r} is done: {ts.nbytes} bytes of {ts.type_name}, held by {_names(ts.holders)}."
    if ts.status is ERRED and ts.failure is not None:
        if ts.failure.culprit == key:
            return f"{key!r} failed: {ts.failure.text}"
        return f"{key!r} cannot run because {ts.failure.culprit!r}, which it needs, failed: {ts.failure.text}"
    return f"{key!r} is known, but nobody needs its result now."


def _names(workers: Sequence[WorkerState]) -> str:
    shown = ", ".join(ws.name for ws in workers[:10])
    more = f" and {len(workers) - 10} more" if len(workers) > 10 else ""
    return f"worker{'' if len(workers) == 1 else 's'} {shown}{more}"


def _explain_waiting(ts: TaskState) -> str:
    missing = [dep for dep in ts.deps if dep.status is not MEMORY]
    shown = ", ".join(f"{dep.key!r} ({dep.status.name.lower()})" for dep in missing[:5])
    more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    return f"{ts.key!r} waits for {len(missing)} of its {len(ts.deps)} inputs: {shown}{more}."


def _explain_queued(core: Core, ts: TaskState) -> str:
    if not core.workers:
        return f"{ts.key!r} is ready to run, but no worker is connected. Start one with `myworker`."
    requirement = ts.requirement
    admitted = [ws for ws in core.workers.values() if requirement.admits(ws)]
    if not admitted:
        return (
            f"{ts.key!r} is ready to run, but none of the {len(core.workers)} workers meets its requirement: "
            f"{requirement.describe()}."
        )
    queue = requirement.queue if ts.worker is None else ts.worker.local
    ahead = sum((rank, ticket) < (ts.rank, ts.ticket) for rank, ticket, _ in queue.entries())
    where = f"in the queue of worker {ts.worker.name}" if ts.worker is not None else "in the common queue"
    if requirement.usual is not None:
        deaths = "a worker" if ts.kills == 1 else f"{ts.kills} workers"
        where = f"among those that get a worker to themselves, because {deaths} died while they may have been running"
    note = (
        ""
        if requirement.usual is not None or any(requirement.fits_now(ws) for ws in admitted)
        else " The resources it needs are all in use."
    )
    if ts.worker is not None:
        note = _silence(core, ts.worker)
    elif all(ws.unresponsive for ws in admitted):
        note = " No worker that may run it answers at the moment."
    if not note and not any(ws.accepting for ws in admitted) and any(ws.paused for ws in admitted):
        note = (
            " All workers that may run it are paused, because they are short of memory; each runs one task at a time."
        )
    return f"{ts.key!r} is ready to run; {ahead} tasks are before it {where}.{note}"


def _silence(core: Core, ws: WorkerState) -> str:
    """What there is to add about a worker that does not answer."""
    if not ws.unresponsive:
        return ""
    if ws.absence is not None:
        return (
            " The connection of that worker is broken. Unless it comes back within a second, the task goes elsewhere."
        )
    silent = core.attended - ws.last_seen
    vouched = is_vouched_for(core, ws)
    seen = ""
    if vouched:
        what = "computes" if ws.busy > 0.5 else "sleeps or waits"
        why = "a task holds the interpreter lock, or blocks its event loop"
        seen = f" Its keeper sees that its process lives and {what}: {why}."
    limit = VOUCHED_MAX_S if vouched else LOST_AFTER_S
    return (
        f" Nothing has been heard from that worker for {silent:.0f} s.{seen} If it stays silent, it is given up in "
        f"{max(limit - silent, 0):.0f} s, and the task goes elsewhere."
    )
