"""Workers that are short of memory.

A worker that uses most of its memory limit is *paused*: it says so in its heartbeats, gives back what it has not started, and
gets nothing new until it has become smaller. Its data can still be fetched. What only paused workers may run would wait for
ever if nothing that runs makes room; such tasks go to paused workers one at a time, which finishes graphs that let data go as
they advance. The limit itself is kept by whoever keeps the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..protocol.messages import FLAG_ANYWAY
from .events import Instruction, Warn
from .placement import assign, unbind
from .state import QUEUED, WorkerState
from .suspects import reserve

if TYPE_CHECKING:
    from .core import Core
    from .queues import Queue, Requirement


def heed(core: Core, ws: WorkerState, metrics: dict[str, Any]) -> None:
    """A heartbeat says whether the worker is paused."""
    paused = metrics.get("paused") is True
    if paused and not ws.paused:
        ws.paused = True
        core.paused[ws] = None
        unbind(core, ws)
    elif ws.paused and not paused:
        forget(core, ws)
        core.roomy[ws] = None


def forget(core: Core, ws: WorkerState) -> None:
    """A worker is not paused any more, or gone."""
    ws.paused = False
    core.paused.pop(ws, None)
    if not core.paused:
        core.all_paused = False


def press_on(core: Core) -> list[Instruction]:
    """Give paused workers that run nothing one task each, of those that nobody else may run."""
    if core.totals[QUEUED]:
        for ws in core.paused:
            if ws.usable and not ws.sent and (queue := _first_stranded(core, ws)) is not None:
                ts = queue.pop()
                if ts.requirement.usual is not None:
                    reserve(core, ws)
                assign(core, ws, ts, FLAG_ANYWAY)
    said, core.all_paused = core.all_paused, len(core.paused) == len(core.workers)
    return [Warn(_all_paused(core))] if core.all_paused and not said else []


def _first_stranded(core: Core, ws: WorkerState) -> Queue | None:
    """The queue with the lowest rank among those that only paused workers can serve."""
    queues: list[Queue] = [ws.local]
    able = [requirement for requirement in core.special if requirement.admits(ws) and requirement.has_resources(ws)]
    queues += [requirement.queue for requirement in (core.common, *able) if not _is_served(core, requirement)]
    heads = [(ts.rank, ts.ticket, queue) for queue in queues if queue.length and (ts := queue.peek()) is not None]
    return min(heads, key=lambda head: head[:2])[2] if heads else None


def _is_served(core: Core, requirement: Requirement) -> bool:
    return any(ws.accepting and requirement.admits(ws) for ws in core.workers.values())


def _all_paused(core: Core) -> str:
    count = len(core.workers)
    who = "the only worker is" if count == 1 else f"all {count} workers are"
    return (
        f"{who} paused, short of memory: tasks run one at a time for each of them until they use less. What helps: let go of "
        "futures whose results you do not need, give workers more memory (LocalCluster(memory_limit=...), myworker "
        "--memory-limit), or fewer threads each, or split the work into smaller tasks"
    )
