"""What the worker's machine knows, and the ways in which a task ends there."""

from __future__ import annotations

from functools import partial
from typing import Final

from ..base.items import base_of
from ..base.keys import Key
from ..protocol import messages as m
from ..protocol.messages import Message, Row, in_slices
from .events import Cancel, Copy, Instruction, Send
from .fetching import Fetches, Want
from .inventory import KEPT
from .pressure import Pressure
from .state import Task, TaskIndex, TaskState

_READY: Final = TaskState.READY
_GONE: Final = TaskState.GONE

#: The order in which the rows of one batch are told to the scheduler: a copy before the run that ended because of it.
_REPORTS: Final = (m.SECEDED, m.RECALLED, m.REPLICAS, m.RESULTS, m.FINAL, m.ERRORS, m.OVERDUE, m.UNFETCHED)


class Tables:
    """The tables of a worker; ``WorkerMachine`` acts on them."""

    def __init__(self, incarnation: str, nthreads: int, address: str, pause_at: int) -> None:
        self.incarnation = incarnation
        self.address = address
        #: current tasks by key
        self.tasks: dict[Key, Task] = {}
        #: what the executor holds, by attempt; also those that were freed or superseded meanwhile
        self.runs: dict[int, Task] = {}
        #: copies held here: (attempt, bytes, name of the type if known). A higher attempt is newer and replaces a lower one
        self.data: dict[Key, tuple[int, int, str]] = {}
        #: those that the scheduler has defined here
        self.functions: dict[bytes, None] = {}
        #: whether there is a scheduler to report to
        self.linked = True
        #: rows of TERMS, by attempt, of runs that are not at the executor yet
        self.terms: dict[int, Row] = {}
        self.pressure = Pressure(pause_at)
        #: copies of items held here, with the attempts of the tasks that are to be run with them
        self.items: dict[Key, dict[int, None]] = {}
        self.fetches = Fetches(address, int(incarnation, 16))
        self.index = TaskIndex(nthreads)
        #: what runs were to make that have ended without
        self._forsaken: list[Want] = []
        #: items that nobody here needs any more
        self._spent: list[Copy] = []
        self._out: list[Instruction] = []
        self._reports: dict[int, list[Row]] = {op: [] for op in _REPORTS}

    # ---- ends of tasks ----------------------------------------------------------------------------------------------

    def _forget(self, task: Task) -> None:
        """Drop a task that the executor does not hold."""
        self.fetches.leave(task)
        if self.items:
            self._let_go_of_items(task)
        self.terms.pop(task.attempt, None)
        self._drop(task)
        self.index.move(task, _GONE)

    def _abandon(self, task: Task) -> None:
        """Nobody wants this attempt any more. If the executor holds it, it is answered for when that reports."""
        copy = (task.key, task.attempt)
        if task.attempt in self.runs:
            self._drop(task)
            self._out.append(Cancel([copy], running=True))
            self._cut_chain(task)
        else:
            self._forget(task)
            self._reports[m.RECALLED].append(copy)

    def _cut_chain(self, task: Task) -> None:
        """The result of a run will not count: what the executor is to begin with it had better not begin."""
        if task.behind is not None and task.behind.attempt in self.runs:
            self._out.append(Cancel([(task.behind.key, task.behind.attempt)], running=False))

    def _drop(self, task: Task) -> None:
        """It is not the current attempt any more. Unless its result is about to be here, who waits for that waits in vain."""
        del self.tasks[task.key]
        wants = self.fetches.wants
        if wants and (want := wants.get(task.key)) is not None and want.made_here and want.attempt == task.attempt:
            self._forsaken.append(want)

    def _forsake(self) -> None:
        """Give back what waits for results that there will not be."""
        while self._forsaken:
            want = self._forsaken.pop()
            if self.fetches.wants.get(want.key) is want:
                self._give_up(want)

    # ---- inputs -----------------------------------------------------------------------------------------------------

    def _inputs_held(self, task: Task) -> bool:
        """Whether the inputs are here; if not (they were freed, or never were), the scheduler is told."""
        missing = [key for key in task.row[5] if key not in self.data]
        if missing and task.row[7] & m.FLAG_ITEMS:
            missing = [base for key in missing if (base := base_of(key)) not in self.data]
        lost = tuple((key, 0, self.address) for key in missing)
        if lost:
            self._forget(task)
            self._reports[m.UNFETCHED].append((task.key, task.attempt, lost))
        return not lost

    def _use_items(self, task: Task) -> None:
        """``task``, which has just come, needs items: those that are here, and those of a result that is on its way."""
        items, wants, missing = self.items, self.fetches.wants, task.missing
        for key in task.row[5]:
            if items and key in items:
                items[key][task.attempt] = None
            elif (
                wants
                and (base := base_of(key)) in wants
                and base not in missing
                and key not in missing
                and key not in self.data
                and base not in self.data
            ):
                self.fetches.join(task, wants[base])

    def _let_go_of_items(self, task: Task) -> None:
        """``task`` has been handed over with its inputs, or is over: of the items, others may need the copies."""
        for key in task.row[5]:
            users = self.items.get(key)
            if users is not None and users.pop(task.attempt, 0) is None and not users:
                del self.items[key]
                self._spent.append((key, self.data.pop(key)[0]))

    def _arrived(self, want: Want) -> None:
        for task in self.fetches.arrived(want):
            self.index.move(task, _READY)

    def _give_up(self, want: Want) -> None:
        failed = tuple((base_of(want.key), want.attempt, address) for address in want.failed or ("",))
        for task in list(want.tasks.values()):
            self._forget(task)
            self._reports[m.UNFETCHED].append((task.key, task.attempt, failed))
        if want.acquired:
            self.fetches.forget(want)
            self._reports[m.UNFETCHED].append((want.key, want.attempt, failed))

    # ---- reports ----------------------------------------------------------------------------------------------------

    def _report(self) -> None:
        """Tell the scheduler what has gathered, or keep of it what an inventory does not say."""
        if not any(self._reports.values()):
            return
        for op, rows in self._reports.items():
            if rows and self.linked:
                self._out += map(Send, in_slices(rows, partial(_message, op)))
                rows.clear()
            elif rows and op not in KEPT:
                rows.clear()


def _message(op: int, rows: tuple[Row, ...]) -> Message:
    return (op, rows)
