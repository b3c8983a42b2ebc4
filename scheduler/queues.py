"""Queues of runnable tasks, in rank order, and the requirements that decide who may take from them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from .state import TaskState, WorkerState


#: A task in a queue: its rank, its ticket.
Entry: TypeAlias = "tuple[int, int, TaskState]"

#: Resources are booked as floats; a thousand bookings of 0.1 must still add up.
TOLERANCE: Final = 1e-6


class Queue:
    """Runnable tasks, lowest rank first. Removal is lazy: an entry counts only while the task's ticket names it.

    Most tasks come in rank order. Those stand in a line, which costs the same however long it is; the others in a heap.
    """

    __slots__ = ("heap", "length", "line")

    def __init__(self) -> None:
        self.line: deque[Entry] = deque()  # in order
        self.heap: list[Entry] = []  # what came after something of a higher rank
        self.length = 0  # entries that count

    def push(self, ts: TaskState, ticket: int) -> None:
        """Enter a task; equal ranks leave in the order of their tickets."""
        ts.ticket = ticket
        self.length += 1
        entry = (ts.rank, ticket, ts)
        line = self.line
        if not line or entry > line[-1]:
            line.append(entry)
        else:
            heappush(self.heap, entry)

    def discard(self, ts: TaskState) -> None:
        """Take a task out that is somewhere in this queue."""
        ts.ticket = 0
        self._leave(ts)
        if len(self.heap) + len(self.line) > 2 * self.length + 64:
            self.line = deque(sorted(self.entries()))
            self.heap = []

    def peek(self) -> TaskState | None:
        """The next task, or None."""
        line, heap = self.line, self.heap
        while line and line[0][2].ticket != line[0][1]:
            line.popleft()
        while heap and heap[0][2].ticket != heap[0][1]:
            heappop(heap)
        if heap and not (line and line[0] < heap[0]):
            return heap[0][2]
        return line[0][2] if line else None

    def pop(self) -> TaskState:
        """Take out the task that ``peek`` has just shown."""
        line, heap = self.line, self.heap
        ts = (heappop(heap) if heap and not (line and line[0] < heap[0]) else line.popleft())[2]
        ts.ticket = 0
        self._leave(ts)
        return ts

    def drain(self) -> list[TaskState]:
        """Take out all tasks, in order."""
        tasks = []
        while self.peek() is not None:
            tasks.append(self.pop())
        return tasks

    def entries(self) -> Iterator[Entry]:
        """Those that count, in no order."""
        return (entry for entry in chain(self.line, self.heap) if entry[2].ticket == entry[1])

    def _leave(self, ts: TaskState) -> None:
        self.length -= 1


class OwnQueue(Queue):
    """The queue of one worker, which knows how long its tasks will take.

    They count for what is known of their kind when they come. If nothing is, they count for a guess until something is, see
    ``Prefix.guessed``.
    """

    __slots__ = ("work",)

    def __init__(self) -> None:
        super().__init__()
        self.work = 0.0  # seconds, for all entries that count

    def push(self, ts: TaskState, ticket: int) -> None:
        """Enter a task; equal ranks leave in the order of their tickets."""
        super().push(ts, ticket)
        prefix = ts.prefix
        if prefix.duration is None:
            ts.estimate = 0.0
            self.work += prefix.guess
            prefix.guessed[self] = prefix.guessed.get(self, 0) + 1
        else:
            ts.estimate = prefix.estimate
            self.work += prefix.estimate

    def _leave(self, ts: TaskState) -> None:
        self.length -= 1
        prefix = ts.prefix
        if not ts.estimate and prefix.duration is None:
            prefix.guessed[self] -= 1
            if not prefix.guessed[self]:
                del prefix.guessed[self]
        self.work = self.work - (ts.estimate or prefix.guess) if self.length else 0.0


class Requirement:
    """Where a task may run: on which workers, with which resources. Shared by all tasks that ask for the same.

    Parameters
    ----------
    workers : tuple of str or None
        Names, addresses or hosts of workers; None means any.
    loose : bool
        ``workers`` is a wish only.
    resources : tuple of (str, float) or None
        Amounts that are taken from the worker while the task is assigned to it.
    """

    __slots__ = ("_solitary", "loose", "queue", "resources", "usual", "workers")

    def __init__(
        self,
        workers: tuple[str, ...] | None = None,
        loose: bool = False,
        resources: tuple[tuple[str, float], ...] | None = None,
    ) -> None:
        self.workers = workers
        self.loose = loose
        self.resources = resources
        self.queue = Queue()  # runnable tasks with this requirement that are bound to no worker
        self.usual: Requirement | None = None  # for suspects, who run alone: what they asked for before
        self._solitary: Requirement | None = None

    def solitary(self) -> Requirement:
        """The same for suspects: a worker to itself. ``suspects.place_suspects`` chooses it."""
        if self._solitary is None:
            self._solitary = Requirement(self.workers, self.loose, self.resources)
            self._solitary.usual = self
        return self._solitary

    def prefers(self, ws: WorkerState) -> bool:
        """Whether the worker is among those asked for."""
        workers = self.workers
        return workers is None or ws.name in workers or ws.address in workers or ws.host in workers

    def admits(self, ws: WorkerState) -> bool:
        """Whether the worker could ever run such a task."""
        if not self.loose and not self.prefers(ws):
            return False
        return self.resources is None or all(ws.resources.get(name, 0) >= amount for name, amount in self.resources)

    def fits_now(self, ws: WorkerState) -> bool:
        """Whether the worker could start such a task at this moment, next to what it runs."""
        return self.usual is None and self.has_resources(ws)

    def has_resources(self, ws: WorkerState) -> bool:
        """Whether the worker has the resources left."""
        return self.resources is None or all(
            ws.free_resources[name] + TOLERANCE >= amount for name, amount in self.resources
        )

    def take(self, ws: WorkerState) -> None:
        """Book the resources."""
        for name, amount in self.resources or ():
            ws.free_resources[name] -= amount

    def give_back(self, ws: WorkerState) -> None:
        """Return the resources."""
        for name, amount in self.resources or ():
            ws.free_resources[name] += amount

    def describe(self) -> str:
        """In words, for explanations and errors."""
        parts = []
        if self.workers is not None:
            parts.append(f"workers {', '.join(self.workers)}" + (" (preferred)" if self.loose else ""))
        if self.resources:
            parts.append("resources " + ", ".join(f"{name}={amount:g}" for name, amount in self.resources))
        return " and ".join(parts) or "any worker"
