"""What somebody who looks closer may see: one task, one worker, a list of tasks. Plain values, bounded, no user's data.

Every function here reads and changes nothing. What a task computes with, and what came out, is in payloads, which never
leave the tables through here; of a failure only the texts do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import nsmallest
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from ..base.keys import Key
from .explain import explain
from .state import FORGOTTEN, Status, TaskState, WorkerState

if TYPE_CHECKING:
    from .core import Core
    from .queues import Queue

#: Inputs, dependents, results and so on that one answer names; how many there are in all is said beside.
ITEMS_MAX: Final = 100
#: Rows of one list of tasks.
ROWS_MAX: Final = 200
#: Characters of an error's text and of its traceback; the end of a traceback says most.
TEXT_CHARS_MAX: Final = 8 * 1024
_STATUSES: Final = {status.name.lower(): status for status in Status if status is not FORGOTTEN}


def inspect_task(core: Core, key: Key) -> dict[str, Any]:
    """Everything about one task that is worth looking at.

    Parameters
    ----------
    core : Core
        The scheduler's tables.
    key : Key
        Any key.

    Returns
    -------
    dict
        ``key``, ``status`` (``"unknown"`` if it is not in the tables) and ``why`` always.
    """
    ts = core.tasks.get(key)
    if ts is None:
        return {"key": key, "status": "unknown", "why": explain(core, key)}
    failure = ts.failure
    return {
        **_row(ts),
        "why": explain(core, key),
        "attempt": ts.attempt,
        "retries_left": ts.retries,
        "deaths": ts.kills,
        "data": ts.function is None,
        "requirement": None if ts.requirement is core.common else ts.requirement.describe(),
        "duration": ts.prefix.duration,
        "clients": len(ts.wanted_by),
        "inputs": _brief(ts.deps),
        "inputs_total": len(ts.deps),
        "dependents": _brief(ts.each_dependent()),
        "dependents_total": ts.live_dependents,
        "error": None
        if failure is None
        else {
            "culprit": failure.culprit,
            "text": failure.text[:TEXT_CHARS_MAX],
            "traceback": failure.traceback[-TEXT_CHARS_MAX:],
        },
    }


def inspect_worker(ws: WorkerState) -> dict[str, Any]:
    """What a worker has to do and what it holds; the rest of what is known about it is in its row of the overview."""
    versions = ws.info.get("versions")
    return {
        "versions": dict(versions) if isinstance(versions, dict) else {},
        "free_resources": dict(ws.free_resources),
        "functions": len(ws.functions),
        "at_worker": _rows(ws.runs()[:ITEMS_MAX]),
        "at_worker_total": len(ws.assigned) + len(ws.following) + len(ws.long_running),
        "queued_here": _rows(_first(ws.local)),
        "queued_here_total": ws.local.length,
        "results": _rows(islice(ws.stored, ITEMS_MAX)),
        "results_total": len(ws.stored),
    }


def list_tasks(core: Core, kind: str | None, status: str | None, offset: int, limit: int) -> dict[str, Any]:
    """Some of the tasks, in the order in which they came.

    Parameters
    ----------
    core : Core
        The scheduler's tables.
    kind, status : str or None
        Only those of this kind and in this state; None for any.
    offset, limit : int
        How many to leave out, and how many to name at most; never more than ``ROWS_MAX``.

    Returns
    -------
    dict
        ``total`` (how many there are), ``offset``, ``tasks``. Takes at most one pass over the table, and none when the
        counters already say that there is nothing to find.

    Raises
    ------
    ValueError
        There is no such state.
    """
    wanted = None if status is None else _STATUSES.get(status)
    if status is not None and wanted is None:
        raise ValueError(f"no state is called {status!r}; they are {', '.join(_STATUSES)}")
    total = _count(core, kind, wanted)
    offset, limit = max(offset, 0), min(max(limit, 0), ROWS_MAX)
    stop = min(offset + limit, total)
    found: Iterable[TaskState] = ()
    if offset < stop:
        found = islice(_matching(core.tasks.values(), kind, wanted), offset, stop)
    return {"total": total, "offset": offset, "tasks": _rows(found)}


def _count(core: Core, kind: str | None, wanted: Status | None) -> int:
    if kind is None:
        return len(core.tasks) if wanted is None else core.totals[wanted]
    prefix = core.prefixes.get(kind)
    if prefix is None:
        return 0
    return prefix.live if wanted is None else prefix.counts[wanted]


def _matching(tasks: Iterable[TaskState], kind: str | None, wanted: Status | None) -> Iterator[TaskState]:
    for ts in tasks:
        if (kind is None or ts.prefix.name == kind) and (wanted is None or ts.status is wanted):
            yield ts


def _first(queue: Queue) -> list[TaskState]:
    """The tasks at the head of a queue, in the order in which they leave it."""
    return [ts for _, _, ts in nsmallest(ITEMS_MAX, queue.entries())]


def _row(ts: TaskState) -> dict[str, Any]:
    places = (ts.worker,) if ts.worker is not None else ts.holders
    return {
        "key": ts.key,
        "kind": ts.prefix.name,
        "status": ts.status.name.lower(),
        "nbytes": ts.nbytes,
        "type": ts.type_name,
        "workers": [(ws.incarnation, ws.name) for ws in places[:ITEMS_MAX]],
        "workers_total": len(places),
    }


def _rows(tasks: Iterable[TaskState]) -> list[dict[str, Any]]:
    return [_row(ts) for ts in tasks]


def _brief(tasks: Iterable[TaskState]) -> list[tuple[Key, str]]:
    return [(ts.key, ts.status.name.lower()) for ts in islice(tasks, ITEMS_MAX)]
