"""Asking a worker for tasks back that it was sent ahead and cannot have started, while another one has nothing to do."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from ..protocol.messages import RECALL
from .state import WorkerState

if TYPE_CHECKING:
    from .core import Core

#: A worker that has reported nothing for so long is taken to be busy with longer tasks than estimated.
SILENCE_S: Final = 0.05
#: Seconds between two looks for what may be recalled, at least, for each worker that is looked at: a small part of the time.
RECALL_S: Final = 20e-6
#: Idle workers whose room is counted, at most: what they can take is asked back, the next time more.
HELPERS_COUNTED: Final = 256


def recall(core: Core) -> None:
    """When a worker idles while another sits on tasks it cannot have started: ask for those back."""
    if core.now < core.recall_at or not may_recall(core):
        return
    room = sum(ws.nthreads - ws.sent for ws in islice(core.idle, HELPERS_COUNTED))
    soonest = core.now + SILENCE_S
    for victim in list(core.ahead):
        surplus = victim.sent - victim.nthreads - len(victim.recalled)
        due = victim.last_result + SILENCE_S + victim.round_trip
        if victim.sent <= victim.nthreads:
            del core.ahead[victim]
        elif core.now < due:
            soonest = min(soonest, due)
        elif surplus > 0 and room > 0:
            room -= _recall_from(core, victim, min(surplus, room))
    core.recall_at = max(soonest, core.now + RECALL_S * (len(core.idle) + len(core.ahead)))


def _recall_from(core: Core, victim: WorkerState, most: int) -> int:
    """Ask a worker for the tasks back that it was sent last, if anybody may run them; returns for how many."""
    count = 0
    for ts in list(victim.assigned)[::-1][:most]:
        if ts.attempt not in victim.recalled and any(ts.requirement.admits(ws) for ws in core.idle):
            victim.recalled[ts.attempt] = None
            core.row(victim, RECALL, (ts.key, ts.attempt))
            count += 1
    return count


def may_recall(core: Core) -> bool:
    """Whether ``recall`` could find something to do, now or soon."""
    return bool(core.idle and core.ahead)
