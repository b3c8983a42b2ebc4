"""Workers that say nothing, but whose keepers vouch for them.

While a task holds the interpreter lock in C, or user code blocks the event loop, a worker cannot say that it lives. Its keeper,
a process beside it, sees that, and vouches for it every few seconds. Such a worker stays unresponsive, but is not given up: the
results of what it runs count when they come. What it alone holds, and others wait for, is made again elsewhere once they have
waited as long as making it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..protocol.messages import FREE
from .state import ASSIGNED, QUEUED, TaskState, WorkerState

if TYPE_CHECKING:
    from .core import Core

#: Seconds for which a word of a keeper holds; they come every 3 s.
WORD_S: Final = 8.0
#: Seconds of silence after which no word helps any more.
VOUCHED_MAX_S: Final = 300.0


def vouch(core: Core, name: str, pid: int, busy: float) -> None:
    """A keeper says that the process of a worker lives, and how much of a processor it uses."""
    for ws in core.workers.values():
        if ws.name == name and ws.info.get("pid") == pid:
            ws.vouched_until = core.attended + WORD_S
            ws.busy = busy


def is_vouched_for(core: Core, ws: WorkerState) -> bool:
    """Whether a silent worker may be waited for."""
    return core.attended < ws.vouched_until and core.attended - ws.last_seen < VOUCHED_MAX_S


def remake(core: Core, ws: WorkerState) -> None:
    """Have made elsewhere what only silent workers hold and others wait for."""
    silence = core.attended - ws.last_seen
    for ts in [ts for ts in ws.stored if ts.needed_by and _is_to_be_remade(ts, ws, silence)]:
        withdraw_readers(core, ts, ws)
        core.row(ws, FREE, (ts.key, ts.attempt))
        core.drop_holder(ts, ws)
        if not ts.holders:
            core.lose(ts)


def _is_to_be_remade(ts: TaskState, ws: WorkerState, silence: float) -> bool:
    """Whether others could go on with this data, nobody can send it, and making it takes no longer than they have waited."""
    if ts.function is None or silence < (ts.prefix.duration or 0.0):
        return False
    return all(holder.unresponsive for holder in ts.holders) and any(
        dependent.status is QUEUED or (dependent.status is ASSIGNED and dependent.worker is not ws)
        for dependent in ts.each_dependent()
    )


def withdraw_readers(core: Core, ts: TaskState, ws: WorkerState) -> None:
    """Take back the runs that wait, elsewhere, for data that only a silent worker holds: a fetch from it does not fail soon."""
    for dependent in list(ts.each_dependent()):
        if dependent.status is ASSIGNED and dependent.worker is not ws:
            core.abandon(dependent)
            core.retreat(dependent)
