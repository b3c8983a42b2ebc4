"""Workers whose links break: they are away for a moment, and when they come back both sides agree again on what is where.

A broken link is no death. For ``AWAY_S`` the worker keeps its place: it gets no new work, and what it runs and holds stays its
own. Then, or as soon as whoever keeps its process tells of its death, it is lost like any other. It may come back even later,
under the same incarnation, as long as this scheduler lives.

Who comes back presents an inventory, see ``inventory``. Until that is settled it counts as away.
"""

from __future__ import annotations

from array import array
from typing import Final

from ..protocol.messages import FREE
from . import deaths
from .core import Core
from .placement import unbind
from .state import LOOSE, Absence, Outbox, WorkerState

#: Seconds, by the clock of ``Core.attended``, that a worker may be without a link: with it a death is still noticed within 1 s.
AWAY_S: Final = 0.9
#: Workers that were given up whose attempts are remembered.
GONE_MAX: Final = 100

# ---- going ----------------------------------------------------------------------------------------------------------


def leave(core: Core, ws: WorkerState, reason: str) -> None:
    """The link of a worker has broken: it may be back at once."""
    ws.absence = Absence(core.attended + AWAY_S, reason, {} if ws.absence is None else ws.absence.given)
    ws.unneeded = []
    core.outboxes.pop(ws, None)
    ws.unresponsive = True
    core.unresponsive[ws] = None
    unbind(core, ws)


def remember(core: Core, ws: WorkerState) -> None:
    """A worker is given up that may come back: note which attempts are its own."""
    attempts = array("q", [ts.attempt for table in (ws.stored, ws.runs()) for ts in table])
    attempts.extend(ws.abandoned)
    if ws.absence is not None:
        attempts.extend(ws.absence.given)
    core.gone[ws.incarnation] = attempts.tobytes()
    if len(core.gone) > GONE_MAX:
        del core.gone[next(iter(core.gone))]


def away(core: Core) -> list[tuple[WorkerState, str]]:
    """The workers without a link, and why they have none."""
    absences = [(ws, ws.absence) for ws in core.unresponsive]
    return [(ws, absence.reason) for ws, absence in absences if absence is not None and absence.until is not None]


def overdue(core: Core) -> list[tuple[WorkerState, str]]:
    """Those of them that have not come back in time."""
    return [(ws, reason) for ws, reason in away(core) if core.attended >= _until(ws)]


def next_due(core: Core) -> float | None:
    """When somebody is to be back at the latest, or has more to say, in seconds of the machine's clock."""
    if not core.unresponsive:
        return None
    if any(ws.absence is not None and ws.absence.until is None and ws.absence.backlog for ws in core.unresponsive):
        return core.now
    ends = [_until(ws) for ws, _ in away(core)]
    return core.now + max(min(ends) - core.attended, 0.0) if ends else None


def _until(ws: WorkerState) -> float:
    assert ws.absence is not None
    assert ws.absence.until is not None
    return ws.absence.until


# ---- coming back ----------------------------------------------------------------------------------------------------


def welcome_back(core: Core, ws: WorkerState) -> None:
    """A worker has a link again, or one that had been given up is back: it is to say what it holds."""
    given = {} if ws.absence is None else ws.absence.given
    given |= dict.fromkeys(array("q", core.gone.pop(ws.incarnation, b"")))
    ws.absence = Absence(None, "", given)
    ws.unresponsive = True
    core.unresponsive[ws] = None
    ws.last_seen = core.attended
    deaths.recant(core, ws.incarnation)


def hold_back(ws: WorkerState, absence: Absence, outbox: Outbox) -> None:
    """What was to be said to a worker that is away: its inventory settles that, but for copies that have had their turn."""
    absence.freed.update(dict.fromkeys(outbox.get(FREE, ())))
    absence.freed.update(dict.fromkeys(ws.unneeded))
    for op in [op for op in outbox if op != LOOSE]:
        del outbox[op]
    ws.unneeded = []
