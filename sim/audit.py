"""What must hold after every turn of the scheduler: its tables agree with each other, and with what really happened.

The whole of ``scheduler.check`` after each turn would take most of the time. So the tasks are compared with a picture of
them taken after the turn before, field by field, and what it checks about one task is checked about those that have changed
and their neighbours: what has not changed was right. Workers, queues and clients are checked whole each time, and once in a
while, between phases of a simulation, everything is.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from ..base.keys import Key
from ..scheduler.check import NEEDING, check, check_indexes, check_task
from ..scheduler.core import Core
from ..scheduler.replay import Replay
from ..scheduler.state import FORGOTTEN, MEMORY, TaskState
from ..scheduler.watchdog import BUG
from .graphs import SimTask

if TYPE_CHECKING:
    from .run import Simulation

_picture: Final = attrgetter(*TaskState.__slots__)
_ATTEMPT: Final = TaskState.__slots__.index("attempt")
_DEPS: Final = TaskState.__slots__.index("deps")
_STATUS: Final = TaskState.__slots__.index("status")


class Audit:
    """Checks of one scheduler.

    Parameters
    ----------
    simulation : Simulation
        Whose options count.
    core : Core
        The tables to check.
    """

    def __init__(self, simulation: Simulation, core: Core) -> None:
        self._simulation = simulation
        self._core = core
        self._pictures: dict[TaskState, tuple[Any, ...]] = {}
        #: runs started, by key
        self.runs: dict[Key, int] = {}
        #: fetches that did not bring this key
        self.failed_fetches: dict[Key, int] = {}
        self._raised: dict[Key, int] = {}
        self._started: dict[int, Key] = {}
        self._completed: dict[int, Key] = {}
        self._accepted: dict[int, Key] = {}

    # ---- what really happens ----------------------------------------------------------------------------------------

    def started(self, key: Key, attempt: int, task: SimTask) -> bool:
        """A run starts; returns whether it is to raise."""
        if attempt in self._started:
            raise AssertionError(f"attempt {attempt} of {key!r} starts a second time")
        self._started[attempt] = key
        self.runs[key] = self.runs.get(key, 0) + 1
        raised = self._raised.get(key, 0)
        if raised < task.raises:
            self._raised[key] = raised + 1
        return raised < task.raises

    def completed(self, key: Key, attempt: int) -> None:
        """A run has made its value."""
        self._completed[attempt] = key

    def unfetched(self, keys: Iterable[Key]) -> None:
        """A fetch did not bring these."""
        for key in keys:
            self.failed_fetches[key] = self.failed_fetches.get(key, 0) + 1

    # ---- after each turn --------------------------------------------------------------------------------------------

    def after(self) -> None:
        """Check everything that the turn may have touched."""
        if not self._simulation.options.check:
            return
        core = self._core
        stall = core.watchdog.stall
        assert stall is None or stall.cause != BUG, stall.text
        held = self._held()
        for ts in self._touched(held):
            if ts.status is FORGOTTEN:
                continue
            assert core.tasks.get(ts.key) is ts, ts
            check_task(core, ts)
            needed = sum(1 for user in ts.each_dependent() if user.status in NEEDING)
            assert ts.needed_by == needed + held.get(ts, 0), ts
        check_indexes(core)

    def whole(self) -> None:
        """Check all tables without a look at what has changed."""
        if self._simulation.options.check:
            check(self._core)

    def replay(self) -> None:
        """What the journal holds, if there is one, leads to the same tables once more."""
        machine = self._simulation.scheduler.machine
        if machine.journal.room:
            replay = Replay(machine.journal.save())
            for _ in replay:
                pass
            assert replay.verified == "by a digest of all tables"

    def _held(self) -> dict[TaskState, int]:
        """Tasks that graphs hold which are still arriving."""
        held: dict[TaskState, int] = {}
        for client in self._core.clients.values():
            for arriving in client.arriving.values():
                for ts in arriving.held:
                    held[ts] = held.get(ts, 0) + 1
        return held

    def _touched(self, held: dict[TaskState, int]) -> Iterable[TaskState]:
        """Tasks that differ from their pictures, with their neighbours where that concerns them; takes new pictures."""
        pictures, tasks = self._pictures, self._core.tasks
        touched = dict.fromkeys(held)
        for ts in tasks.values():
            old = pictures.get(ts)
            new = _picture(ts)
            if new != old:
                pictures[ts] = new
                touched[ts] = None
                if old is None or old[_STATUS] is not new[_STATUS]:
                    touched.update(dict.fromkeys(ts.deps))
                    touched.update(dict.fromkeys(ts.each_dependent()))
                if new[_STATUS] is MEMORY and (
                    old is None or old[_STATUS] is not MEMORY or old[_ATTEMPT] != ts.attempt
                ):
                    self._accept(ts)
        if len(pictures) > len(tasks):
            for ts in [ts for ts in pictures if tasks.get(ts.key) is not ts]:
                assert ts.status is FORGOTTEN, f"{ts!r} is in no table"
                touched.update(dict.fromkeys(pictures.pop(ts)[_DEPS]))
        return touched

    def _accept(self, ts: TaskState) -> None:
        """A result has been accepted: it must be that of a run which made it, and accepted once."""
        attempt = ts.attempt
        assert self._completed.get(attempt) == ts.key, (
            f"a result of {ts.key!r} is accepted that attempt {attempt} did not make"
        )
        again = attempt in self._accepted
        assert not again or self._is_back(ts), f"attempt {attempt} of {ts.key!r} is accepted a second time"
        self._accepted[attempt] = ts.key

    def _is_back(self, ts: TaskState) -> bool:
        """Whether the data was lost with a worker which has come back, and still holds it."""
        workers = [self._simulation.workers.get(ws.incarnation) for ws in ts.holders]
        return any(w is not None and w.returns and w.store.find(ts.key, ts.attempt) for w in workers)

    # ---- when nothing moves -----------------------------------------------------------------------------------------

    def disputed_copies(self) -> set[tuple[str, Key, int]]:
        """Copies (worker, key, attempt) that the scheduler believes in and are not there, or that it does not know of."""
        believed = {(ws.name, ts.key, ts.attempt) for ws in self._core.workers.values() for ts in ws.stored}
        held = {
            (worker.name, key, attempt)
            for worker in self._simulation.workers.values()
            for key, attempt in worker.store.copies()
        }
        return believed ^ held
