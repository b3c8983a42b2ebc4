"""Workers that come back say what they hold: the tables are brought into line with it.

An inventory (INVENTORY) is the copies it holds, the runs it has not answered for, the functions it knows. Nothing else is known
for sure: what was on the way when the link broke may have arrived or not. So the tables are brought into line with it, whether
they have changed meanwhile or not. What was reported and lost on the way is made up for, a run that went on has a head start on
one that was started in its place, and what the worker does not have any more begins again.

An inventory may be long, and nobody else is to wait for it. So what the worker says is acted on in its order, but no more than
``MESSAGES_PER_TURN`` in a turn, until all is settled: copies slice by slice, and with the last of them runs, functions, and
what is not there. Until then the worker counts as away. A copy that is given up meanwhile, whether its slice has had its turn
or not, is not believed in again, and freed in the end.

Only what was the worker's own when it was given up counts in the place of other results and runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..base.errors import ProtocolError
from ..base.keys import Key
from ..protocol.messages import FREE, RECALL, STAGE_SECEDED, STAGE_SENT, UNDEFINE, Message, Row
from . import awaiting, liveness, outcomes
from .core import Core
from .durations import UNKNOWN_DURATION_S
from .queues import Requirement
from .rejoin import hold_back
from .state import ASSIGNED, MEMORY, QUEUED, RELEASED, RETRYING, WAITING, Abandoned, Absence, TaskState, WorkerState

#: Messages of workers that are settling which are acted on in one turn; a slice of an inventory has at most 512 rows.
MESSAGES_PER_TURN: Final = 8

#: A task in one of these has no result and waits for one.
_OPEN: Final = (WAITING, QUEUED, ASSIGNED, RETRYING)


def on_inventory(core: Core, ws: WorkerState, message: Message) -> None:
    """A slice of what a worker holds that was away."""
    _, copies, runs, func_ids, more = message
    absence = ws.absence
    if absence is None:
        raise ProtocolError("INVENTORY of a worker that was not away")
    hold_back(ws, absence, core.outboxes.get(ws, {}))
    _take_copies(core, ws, absence, copies)
    absence.runs += runs
    absence.func_ids += func_ids
    if not more:
        _reconcile(core, ws, absence)


def _reconcile(core: Core, ws: WorkerState, absence: Absence) -> None:
    """All slices are here: bring the tables into line with the rest of the inventory."""
    _take_copies(core, ws, absence, absence.placed)
    hold_back(ws, absence, core.outboxes.get(ws, {}))
    for row in absence.freed:
        core.row(ws, FREE, row)
    awaiting.despair_of(core, lambda lost: lost.incarnation == ws.incarnation)
    for key, attempt, stage, given_up in absence.runs:
        _take_run(core, ws, key, attempt, stage, given_up)
    _drop_absent(core, ws, absence)
    known = dict.fromkeys(absence.func_ids)
    core.set_functions(ws, known)
    ws.new_functions = {}
    for func_id in known:
        if func_id not in core.functions:
            core.row(ws, UNDEFINE, func_id)
    for other in core.workers.values():  # it may not have heard that it was to copy something
        other.copying = {ts: target for ts, target in other.copying.items() if target is not ws}
    ws.absence = None
    ws.last_result = core.now
    liveness.resume(core, ws)
    core.arrived += ws.stored  # some may wait to have it sent through us


def _is_of(core: Core, ts: TaskState, attempt: int) -> bool:
    """Whether an attempt is one of this very task, not of an earlier one of the same key; scattered data has only one."""
    return attempt == ts.attempt if ts.function is None else ts.since < attempt <= core.last_attempt


# ---- copies ---------------------------------------------------------------------------------------------------------


def _take_copies(core: Core, ws: WorkerState, absence: Absence, rows: Iterable[Row]) -> None:
    """A worker holds these copies; mostly, as is known."""
    tasks, stored, present, freed = core.tasks, ws.stored, absence.present, absence.freed
    for key, attempt, nbytes, type_name in rows:
        ts = tasks.get(key)
        if ts is not None and ts.attempt == attempt and ts in stored:
            present[ts] = None
        elif (key, attempt) not in freed:
            _take_copy(core, ws, absence, key, attempt, nbytes, type_name)


def _take_copy(
    core: Core, ws: WorkerState, absence: Absence, key: Key, attempt: int, nbytes: int, type_name: str
) -> None:
    """A worker holds a copy: it counts if it is of the current result, or if there is none and it may have made it."""
    ts = core.tasks.get(key)
    if ts is not None and _is_of(core, ts, attempt):
        if ts.status is MEMORY and ts.attempt == attempt:
            absence.present[ts] = None
            core.add_holder(ts, ws)
            return
        if (ts.status in _OPEN or (ts.status is RELEASED and ts.function is None)) and _was_given(ws, ts, attempt):
            _conclude_open_run(core, ws, ts, attempt)
            core.unbook(ws, attempt)
            ts.attempt = attempt
            ts.nbytes = nbytes
            ts.type_name = type_name or ts.type_name
            ts.prefix.done += 1
            core.awaited.pop(ts, None)
            absence.present[ts] = None
            core.add_holder(ts, ws)
            core.finish(ts, None)
            return
    if not any(attempt in client.placing for client in core.clients.values()):
        core.row(ws, FREE, (key, attempt))


def _was_given(ws: WorkerState, ts: TaskState, attempt: int) -> bool:
    """Whether an attempt was this worker's, as far as is known: it runs, was given up, or was there when the worker was."""
    assert ws.absence is not None
    runs = ts.status is ASSIGNED and ts.worker is ws and ts.attempt == attempt
    return runs or attempt in ws.abandoned or attempt in ws.absence.given


def _conclude_open_run(core: Core, ws: WorkerState, ts: TaskState, attempt: int) -> None:
    """Take a task to where it can become MEMORY."""
    if ts.status is ASSIGNED:
        if ts.worker is ws and ts.attempt == attempt:
            core.unassign(ts)  # the answer was lost on the way
        else:
            core.abandon(ts)
    elif ts.status is not RELEASED:
        core.leave(ts)
        core.move(ts, RELEASED)


# ---- runs -----------------------------------------------------------------------------------------------------------


def _take_run(core: Core, ws: WorkerState, key: Key, attempt: int, stage: int, given_up: bool) -> None:
    """A worker has not answered for a run yet, for which a slot is booked until it does."""
    ts = core.tasks.get(key)
    if ts is not None and ts.worker is ws and ts.attempt == attempt and ts.status is ASSIGNED:
        if given_up:  # why was said, and lost on the way
            core.detach(ts)
            core.retreat(ts)
        elif attempt in ws.recalled:
            core.row(ws, RECALL, (key, attempt))
    elif not given_up and stage != STAGE_SENT and ts is not None and _has_head_start(core, ws, ts, attempt):
        _take_back(core, ws, ts, attempt)
    else:
        _book_abandoned(core, ws, ts, attempt)
        if not given_up:
            core.row(ws, FREE, (key, attempt))
    if stage == STAGE_SECEDED:
        outcomes.vacate(core, ws, key, attempt)


def _has_head_start(core: Core, ws: WorkerState, ts: TaskState, attempt: int) -> bool:
    """Whether a run that has started is to be believed in again."""
    if ts.status not in _OPEN or not _is_of(core, ts, attempt) or not _was_given(ws, ts, attempt):
        return False
    if ws.reserved or ts.requirement.usual is not None or ts in core.deaths.pending:
        return False  # a suspect runs alone
    return ts.status is not ASSIGNED or attempt < ts.attempt


def _take_back(core: Core, ws: WorkerState, ts: TaskState, attempt: int) -> None:
    """A run goes on that had been given up; what was to be run in its place is not."""
    if ts.status is ASSIGNED:
        core.abandon(ts)
    else:
        core.leave(ts)
        if ts.status is RETRYING:
            core.move(ts, RELEASED)
        if ts.status is not QUEUED:
            core.move(ts, QUEUED)
        core.move(ts, ASSIGNED)
    core.unbook(ws, attempt)
    ts.waiting_on = 0
    ts.attempt = attempt
    ts.worker = ws
    ts.requirement.take(ws)
    ws.assigned[ts] = None
    ts.estimate = ts.prefix.estimate
    ws.occupancy += ts.estimate


def _book_abandoned(core: Core, ws: WorkerState, ts: TaskState | None, attempt: int) -> None:
    """Nobody waits for this run, but it occupies the worker until that answers."""
    if attempt in ws.abandoned:
        return
    if ts is not None and _is_of(core, ts, attempt):
        requirement = ts.requirement
    else:  # what it needs is not known any more: perhaps all there is
        requirement = Requirement(resources=tuple(ws.free_resources.items()))
    ws.abandoned[attempt] = Abandoned(UNKNOWN_DURATION_S, requirement, slot=True)
    ws.abandoned_slots += 1
    ws.occupancy += UNKNOWN_DURATION_S
    requirement.take(ws)


# ---- what is not there ----------------------------------------------------------------------------------------------


def _drop_absent(core: Core, ws: WorkerState, absence: Absence) -> None:
    """What we believed and the worker does not have: it never arrived, or its answer did not."""
    runs: dict[int, None] = {row[1]: None for row in absence.runs}
    for ts in ws.runs():
        if ts.attempt not in runs:
            core.unassign(ts)
            core.retreat(ts)
    for attempt in [attempt for attempt in ws.abandoned if attempt not in runs]:
        core.unbook(ws, attempt)
    for ts in [ts for ts in ws.stored if ts not in absence.present]:
        core.drop_holder(ts, ws)
        if not ts.holders:
            core.lose(ts)
