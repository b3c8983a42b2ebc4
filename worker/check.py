"""Recomputation of everything the worker's machine derives. Unit tests run it after each event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..base.errors import InternalError
from .pace import AHEAD_NS
from .state import TaskState

if TYPE_CHECKING:
    from .machine import WorkerMachine


def check(machine: WorkerMachine) -> None:
    """Compare the machine's indexes with what follows from its tables.

    Parameters
    ----------
    machine : WorkerMachine
        What to check.

    Raises
    ------
    InternalError
        One differs; the message names it.
    """
    alive = {id(task): task for task in (*machine.tasks.values(), *machine.runs.values())}.values()
    for state in (TaskState.WAITING, TaskState.READY, TaskState.RUNNING, TaskState.SECEDED):
        found = [task for task in alive if task.state is state]
        _expect(f"number of {state.name} tasks", machine.index.counts[state], len(found))
        at_executor = state in (TaskState.RUNNING, TaskState.SECEDED)
        for task in found:
            _expect(f"{task!r} lacks inputs", bool(task.missing), state is TaskState.WAITING)
            _expect(f"{task!r} is at the executor", task.attempt in machine.runs, at_executor)
            for want in task.missing.values():
                _expect(f"{task!r} waits for {want!r}", want.tasks.get(task.attempt) is task, True)
                _expect(f"{want!r} is in the table", machine.fetches.wants.get(want.key) is want, True)
    live = [t for _, sequence, t in machine.index.queue if t.state is TaskState.READY and t.sequence == sequence]
    _expect("live entries of the queue", len(live), machine.index.counts[TaskState.READY])
    for key, task in machine.tasks.items():
        _expect(f"{task!r} stands under its key", task.key, key)
    for attempt, task in machine.runs.items():
        _expect(f"{task!r} stands under its attempt", task.attempt, attempt)
    running = [task.expected_ns for task in alive if task.state is TaskState.RUNNING]
    short = [expected for expected in running if expected < AHEAD_NS]
    pace = machine.index.pace
    _expect("the pace", (pace.short, pace.short_ns, pace.long), (len(short), sum(short), len(running) - len(short)))
    early = {task.attempt for task in alive if task.attempt not in machine.runs}
    _expect("terms of runs that are not here", [attempt for attempt in machine.terms if attempt not in early], [])
    for want in machine.fetches.wants.values():
        held = machine.data.get(want.key)
        if want.made_here:
            leader = machine.tasks.get(want.key)
            _expect(f"{want!r} is being made", leader is not None and leader.attempt == want.attempt, True)
        _expect(f"{want!r} is held", held is not None and held[0] >= want.attempt, False)
    for key, users in machine.items.items():
        _expect(f"the item {key!r} is here", key in machine.data, True)
        _expect(f"the item {key!r} is needed", bool(users), True)
        _expect(f"attempts that need the item {key!r}", [*users], [attempt for attempt in users if attempt in early])
    machine.fetches.check()


def _expect(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise InternalError(f"{what}: {found!r}, should be {expected!r}")
