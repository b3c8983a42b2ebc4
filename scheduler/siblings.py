"""Tasks without inputs whose results will be used together are made on one worker.

They wait in the common queue, from which whoever has room takes the next. If that were all, the two inputs of a sum would
be made on two workers, and one of them moved. So a task goes on from there to the queue of the worker that makes, or has,
something that is used together with it: by a task with a few inputs, or, where results are added up by pairs, by the next
pair. That holds nobody up: a task goes there only if it will not wait for long, whoever has nothing to do takes it over
(see ``helping``), and once fewer are left than there are threads, each goes where it can begin first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .helping import MOVE_LATENCY_S, backlog
from .state import TaskState, WorkerState

if TYPE_CHECKING:
    from .core import Core

#: Of a task with more inputs than this, they are made wherever there is room.
INPUTS_MAX: Final = 8
#: How many times as long as it takes itself a task may have to wait for such a worker.
PATIENCE: Final = 4.0


def better_place(core: Core, ws: WorkerState, ts: TaskState) -> WorkerState | None:
    """The worker for which a task should wait that ``ws`` has taken out of the common queue, if there is a better one."""
    if ts.deps or not ts.dependents or core.common.queue.length < len(core.workers) * ws.nthreads:
        return None
    if ts.prefix.estimate < MOVE_LATENCY_S:  # of short ones, each worker takes many in a row
        return None
    user = ts.dependents[0]
    if not 1 < len(user.deps) <= INPUTS_MAX:  # 0: it is forgotten
        return None
    other = _place_of_another(user, ts)
    if other is None and len(user.deps) == 2 and user.live_dependents == 1 and user.dependents is not None:
        following = user.dependents[0]
        if len(following.deps) == 2:
            other = _place_of_another(following, user)
    if other is None or other is ws or not other.accepting:
        return None
    return other if backlog(other, core.now) <= PATIENCE * ts.prefix.estimate else None


def _place_of_another(user: TaskState, ts: TaskState) -> WorkerState | None:
    """Where an input of ``user`` other than ``ts`` is, is made, or will be, as its own first input is made there."""
    for dep in user.deps:
        if dep is not ts:
            ws = _place(dep)
            if ws is None and dep.deps:
                ws = _place(dep.deps[0])
            if ws is not None:
                return ws
    return None


def _place(ts: TaskState) -> WorkerState | None:
    """Where a task runs, waits, or its result is held, if it is anywhere."""
    return ts.worker or (ts.holders[0] if ts.holders else None)
