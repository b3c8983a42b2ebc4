"""The states of a task on a worker, and which may follow which. The docs' diagram is made from ``MOVES``."""

from __future__ import annotations

from enum import IntEnum
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from ..base.errors import InternalError
from ..base.keys import Key
from ..protocol.messages import Row
from .pace import Pace

if TYPE_CHECKING:
    from .fetching import Want


class TaskState(IntEnum):
    """Where a task is in its life here."""

    #: just received
    NEW = 0
    #: some inputs are on their way
    WAITING = 1
    #: all inputs are here; queued in rank order
    READY = 2
    #: handed over to the executor; holds a thread slot, or stands in the executor's short queue
    RUNNING = 3
    #: runs, but in no thread slot: a coroutine, or a task that called ``secede()``
    SECEDED = 4
    #: ended, given back, or forgotten
    GONE = 5


MOVES: Final[dict[TaskState, tuple[TaskState, ...]]] = {
    TaskState.NEW: (TaskState.WAITING, TaskState.READY, TaskState.GONE),
    TaskState.WAITING: (TaskState.READY, TaskState.RUNNING, TaskState.GONE),
    TaskState.READY: (TaskState.RUNNING, TaskState.GONE),
    TaskState.RUNNING: (TaskState.SECEDED, TaskState.GONE),
    TaskState.SECEDED: (TaskState.RUNNING, TaskState.GONE),
    TaskState.GONE: (),
}

# Enum members are slow to look up and slow to hash, and this is done several times per task.
_NEW: Final = TaskState.NEW
_READY: Final = TaskState.READY
_RUNNING: Final = TaskState.RUNNING
_LEGAL: Final = tuple(tuple(after in MOVES[before] for after in TaskState) for before in TaskState)


class Task:
    """One attempt of one task.

    Parameters
    ----------
    row : tuple
        Its row of COMPUTE; handed to the executor as it is.
    """

    __slots__ = ("attempt", "behind", "expected_ns", "func_id", "key", "missing", "rank", "row", "sequence", "state")

    def __init__(self, row: Row) -> None:
        self.row = row
        self.key: Key = row[0]
        self.attempt: int = row[1]
        self.func_id: bytes = row[2]
        self.rank: int = row[4]
        self.state = _NEW
        #: breaks ties of rank: first come, first served
        self.sequence = 0
        #: what ``Pace`` counted it as when it was handed over
        self.expected_ns = 0
        #: inputs that are on their way
        self.missing: dict[Key, Want] = {}
        #: the run that the executor begins with our result, as soon as we have one
        self.behind: Task | None = None

    def __repr__(self) -> str:
        return f"<Task {self.key!r} attempt {self.attempt} {self.state.name.lower()}>"


class TaskIndex:
    """What follows from the states of all tasks: their numbers, the queue of those ready, the executor's load.

    Parameters
    ----------
    nthreads : int
        Thread slots of the executor.
    """

    __slots__ = ("_sequence", "counts", "pace", "queue")

    def __init__(self, nthreads: int) -> None:
        self.pace = Pace(nthreads)
        #: tasks by state; those that are NEW or GONE are in no table, so their numbers mean nothing
        self.counts = [0] * len(TaskState)
        #: heap of (rank, sequence, task); entries of tasks that are ready no more are void
        self.queue: list[tuple[int, int, Task]] = []
        self._sequence = 0

    def move(self, task: Task, state: TaskState) -> None:
        """The only place where the state of a task changes, and with it everything that follows from it."""
        before = task.state
        if not _LEGAL[before][state]:
            raise InternalError(f"{task!r} may not become {state.name.lower()}")
        task.state = state
        counts = self.counts
        counts[before] -= 1
        counts[state] += 1
        if before is _RUNNING:
            self.pace.leave(task)
        if state is _RUNNING:
            self.pace.enter(task)
        elif state is _READY:
            self._sequence += 1
            task.sequence = self._sequence
            heappush(self.queue, (task.rank, task.sequence, task))

    def next_ready(self) -> Task | None:
        """The ready task of the lowest rank, if the executor should have another; it stays ready."""
        queue = self.queue
        while queue:
            _, sequence, task = queue[0]
            if task.state is _READY and task.sequence == sequence:
                return task if self.pace.admits(task.func_id) else None
            heappop(queue)
        return None
