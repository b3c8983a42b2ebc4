"""Scattered data that went with a worker which may come back.

Nobody knows how to make it again, so it is waited for as long as the worker tries to find us (its lease), unless its death is
told of, another one takes its place, or it comes back without the data. Tasks that need the data wait as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..base.errors import LostDataError
from .state import RETRYING, Lost, TaskState, WorkerState

if TYPE_CHECKING:
    from .core import Core


def expect(core: Core, ws: WorkerState) -> None:
    """A worker is about to be lost, and nobody knows that it has died."""
    lease: float = ws.info.get("lease", 0.0)
    if lease > 0:
        lost = Lost(ws, core.now + lease)
        core.awaited.update({ts: lost for ts in ws.stored if ts.function is None and ts.holders == ws.only})


def wait(core: Core, ts: TaskState) -> bool:
    """Somebody needs this data: whether it may still come."""
    lost = core.awaited.get(ts)
    if lost is None or core.now >= lost.until:
        core.awaited.pop(ts, None)
        return False
    text = f"the scattered data {ts.key!r} is with worker {lost.name}, which has lost its connection"
    core.move(ts, RETRYING)
    ts.failure = core.own_failure(ts.key, LostDataError, text)
    core.retries.add(ts, lost.until)
    return True


def despair_of(core: Core, is_meant: Callable[[Lost], bool]) -> None:
    """Workers that will not come back, or have come back without what is awaited still."""
    for ts, lost in list(core.awaited.items()):
        if is_meant(lost):
            del core.awaited[ts]
            if ts.status is RETRYING:
                core.leave(ts)
                core.retreat(ts)
