"""What may happen to a task: become needed, run, finish, fail, be released, be forgotten.

``Core`` holds the tables and the worklists of one batch. The functions of the other modules of this package (submission,
outcomes, membership, placement, relay, queries) act on it; only the functions here change how far a task has come.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import takewhile
from typing import Final, TypeAlias

from ..base.errors import LostDataError, MySchedulerError
from ..base.ids import Epoch
from ..base.keys import Key
from ..protocol.blob import Payload
from ..protocol.messages import CANCELLED, FAILED, FREE, IN_MEMORY, UNDEFINE, Message, Row
from . import awaiting
from .deaths import Deaths
from .items import Inputs
from .placement import choose_queue
from .queues import Requirement
from .retries import RetryQueue
from .state import (
    ASSIGNED,
    ERRED,
    FORGOTTEN,
    LOOSE,
    MEMORY,
    QUEUED,
    RELEASED,
    RETRYING,
    WAITING,
    Abandoned,
    ClientState,
    Failure,
    Lost,
    Outbox,
    Peer,
    Tables,
    TaskState,
    WorkerState,
)
from .watchdog import Watchdog

#: Workers of which the first leaves again and again: in a dict it would have to be looked for behind all that have left.
Line: TypeAlias = "OrderedDict[WorkerState, None]"
#: Seconds until a worker to which nothing else is said hears what it may drop.
FREE_AFTER_S: Final = 0.01
#: From so many holders of one task on they stand in a list: to copy a tuple for each more would take too long.
HOLDERS_LISTED: Final = 16
#: Where a task needs what it depends on. A tuple: enum members are slow to hash.
_NEEDING: Final = (WAITING, QUEUED, ASSIGNED, RETRYING)


class Core(Tables):
    """The tables, the counters, and what this batch has touched."""

    def __init__(self, epoch: Epoch, cluster: str, address: str, dashboard: str | None = None) -> None:
        super().__init__()
        self.epoch = epoch
        self.cluster = cluster
        self.address = address
        self.dashboard = dashboard
        self.now = 0.0
        self.attended = 0.0  # seconds in which the scheduler was able to read, see liveness
        self.last_attempt = 0
        self.last_ticket = 0
        self.next_order = 0  # where the ranks of the next request begin
        self.common = Requirement()
        self.requirements: dict[tuple[object, ...], Requirement] = {}  # by what they ask for, to be shared
        self.special: dict[Requirement, None] = {}  # requirements, other than the common one, with queued tasks
        self.unoffered: dict[Requirement, None] = {}  # of those, the ones that idle workers have not been offered
        self.reserved: dict[WorkerState, None] = {}  # workers that a suspect has, or will have, to itself
        self.deaths = Deaths()
        self.items: dict[TaskState, Inputs] = {}  # of tasks that need parts of results
        self.roomy: dict[WorkerState, None] = {}  # workers whose room has changed since tasks were placed last
        self.idle: Line = OrderedDict()  # workers with a free thread and nothing to take, longest first
        self.warm: WorkerState | None = None  # who gave the last result, unless something went wrong since
        self.hungry: Line = OrderedDict()  # workers whose threads are taken, and that may be sent more ahead
        self.laden: Line = OrderedDict()  # workers that may have tasks in queues of their own
        self.ahead: dict[WorkerState, None] = {}  # workers that may have been sent more than they can run at once
        self.recall_at = 0.0  # before that there is nothing to be recalled from them
        self.unresponsive: dict[WorkerState, None] = {}  # workers that have not been heard of for a while
        self.awaited: dict[TaskState, Lost] = {}  # scattered data that went with a worker which may come back
        self.gone: dict[str, bytes] = {}  # of workers that were lost without a verdict: their attempts, see rejoin
        self.paused: dict[WorkerState, None] = {}  # workers that are short of memory
        self.all_paused = False  # whether all are, which has been said
        self.retries = RetryQueue()  # tasks that wait for their next try
        self.loose: list[TaskState] = []  # perhaps needed by nobody any more
        self.arrived: list[TaskState] = []  # newly in memory or failed in this batch, for those that wait for a key
        self.runs: list[Row] = []  # runs that ended, while somebody observes
        self.outboxes: dict[Peer, Outbox] = {}  # what this batch has to say, and to whom
        #: workers that have unneeded copies, and when they are told at the latest
        self.freeing: OrderedDict[WorkerState, float] = OrderedDict()
        self.unfetched: dict[Key, dict[Key, int]] = {}  # by task, how often each input could not be fetched
        #: messages that changed nothing: about runs or copies of the past, of strangers, frames of another epoch or sender
        self.stale = {"answers": 0, "strangers": 0, "frames": 0}
        self.watchdog = Watchdog()

    # ---- outboxes ---------------------------------------------------------------------------------------------------

    def row(self, peer: Peer, op: int, row: Row | bytes) -> None:
        """Add a row to the message ``op`` that goes to ``peer`` after this batch."""
        outbox = self.outboxes.get(peer)
        if outbox is None:
            self.outboxes[peer] = {op: [row]}
        elif op in outbox:
            outbox[op].append(row)
        else:
            outbox[op] = [row]

    def message(self, peer: Peer, message: Message) -> None:
        """Add a message that goes to ``peer`` after this batch, after all rows."""
        self.outboxes.setdefault(peer, {}).setdefault(LOOSE, []).append(message)

    # ---- wanting ----------------------------------------------------------------------------------------------------

    def want(self, client: ClientState, ts: TaskState) -> None:
        """A client holds a future of this task."""
        if ts not in client.wants:
            client.wants[ts] = None
            ts.wanted_by = (*ts.wanted_by, client) if ts.wanted_by else client.only

    def unwant(self, client: ClientState, ts: TaskState) -> None:
        """A client holds no future of this task any more."""
        if ts in client.wants:
            del client.wants[ts]
            ts.wanted_by = tuple(c for c in ts.wanted_by if c is not client) if len(ts.wanted_by) > 1 else ()
            self.loose.append(ts)

    def tell(self, client: ClientState, ts: TaskState, payload: Payload | None = None) -> None:
        """Tell a client the outcome of a task, if there is one."""
        if ts.status is MEMORY:
            address = None if payload is not None else ts.holders[0].address
            self.row(client, IN_MEMORY, (ts.key, ts.nbytes, ts.type_name, payload, address))
        elif ts.status is ERRED:
            failure = ts.failure
            assert failure is not None
            row = (ts.key, failure.payload, failure.text, failure.traceback, failure.culprit)
            self.row(client, FAILED, row)

    # ---- forward ----------------------------------------------------------------------------------------------------

    def ensure(self, wanted: TaskState) -> None:
        """Make a RELEASED task, and what it needs, run."""
        stack = [wanted]
        while stack:
            ts = stack.pop()
            if ts.status is not RELEASED:
                continue
            if ts.function is None:
                if not (self.awaited and awaiting.wait(self, ts)):
                    self.fail(ts, self.own_failure(ts.key, LostDataError, f"the scattered data {ts.key!r} is gone"))
                continue
            waiting = 0
            failure = None
            for dep in ts.deps:
                status = dep.status
                if status is MEMORY:
                    continue
                if status is ERRED:
                    failure = dep.failure
                    break
                waiting += 1
                if status is RELEASED:
                    stack.append(dep)
            if failure is not None:
                self.fail(ts, failure)
                continue
            for dep in ts.deps:
                dep.needed_by += 1
            ts.waiting_on = waiting
            if ts.deps:
                self.move(ts, WAITING)
            if not waiting:
                self.enqueue(ts)

    def enqueue(self, ts: TaskState) -> None:
        """Put a runnable task into the queue it belongs to. ``placement`` decides which."""
        self.last_ticket += 1
        ws = choose_queue(self, ts) if ts.deps or ts.requirement is not self.common else None
        if ts.status is ERRED:
            return
        self.move(ts, QUEUED)
        ts.worker = ws
        if ws is None:
            ts.requirement.queue.push(ts, self.last_ticket)
            if ts.requirement is not self.common and ts.requirement.queue.length == 1:
                self.special[ts.requirement] = self.unoffered[ts.requirement] = None
        else:
            ws.local.push(ts, self.last_ticket)
            if ws.local.length == 1 or ws.sent < ws.nthreads:
                self.roomy[ws] = self.laden[ws] = None

    def requeue(self, ts: TaskState) -> None:
        """Choose a queue again for a QUEUED task that has been taken out of its own."""
        ts.worker = None
        ts.waiting_on = 0
        self.move(ts, WAITING)
        self.enqueue(ts)

    def leave(self, ts: TaskState) -> None:
        """Take a task out of the queue or off the worker where it is; its status must change next."""
        if ts.status is QUEUED:
            queue = ts.requirement.queue if ts.worker is None else ts.worker.local
            queue.discard(ts)
            ts.worker = None
        elif ts.status is ASSIGNED and ts.worker is not None:  # None: its run has just been answered
            self.abandon(ts)
        elif ts.status is RETRYING:
            self.retries.discard(ts)
            ts.failure = None

    def abandon(self, ts: TaskState) -> None:
        """Give up a run. Its slot stays booked until the worker answers, whatever the answer."""
        # Not RECALL: that leaves alone what has started, and a coroutine can be stopped.
        self.row(self.detach(ts), FREE, (ts.key, ts.attempt))

    def detach(self, ts: TaskState) -> WorkerState:
        """Look at a run as over, although it still occupies its worker: its slot stays booked until the worker answers."""
        ws = ts.worker
        assert ws is not None
        slot = ts in ws.assigned
        del (ws.assigned if slot else ws.following if ts in ws.following else ws.long_running)[ts]
        ws.fetching.pop(ts, None)
        ws.abandoned[ts.attempt] = Abandoned(ts.estimate, ts.requirement, slot)
        ws.abandoned_slots += slot
        ws.recalled.pop(ts.attempt, None)
        ts.worker = None
        return ws

    def unassign(self, ts: TaskState) -> WorkerState:
        """The worker has answered for this run: free its slot."""
        ws = ts.worker
        assert ws is not None
        if ts in ws.assigned:
            del ws.assigned[ts]
            ws.subtract(ts.estimate)
        else:
            del (ws.following if ts in ws.following else ws.long_running)[ts]
        if ts.deps and ws.fetching:
            ws.fetching.pop(ts, None)
        if ws.recalled:
            ws.recalled.pop(ts.attempt, None)
        if ts.requirement.resources is not None:
            ts.requirement.give_back(ws)
        ts.worker = None
        self.roomy[ws] = None
        return ws

    def settle(self, ws: WorkerState, key: Key, attempt: int, has_data: bool) -> None:
        """An answer for a run that is not current: free the slot if it was one we gave up, and refuse its data."""
        self.stale["answers"] += 1
        self.unbook(ws, attempt)
        if has_data:
            self.refuse(ws, key, attempt)

    def unbook(self, ws: WorkerState, attempt: int) -> None:
        """If this run was one we gave up: it occupies its worker no longer."""
        given_up = ws.abandoned.pop(attempt, None)
        if given_up is not None:
            if given_up.slot:
                ws.abandoned_slots -= 1
                ws.subtract(given_up.estimate)
            given_up.requirement.give_back(ws)
            self.roomy[ws] = None

    def finish(self, ts: TaskState, payload: Payload | None) -> None:
        """The data of a task is in memory (its holders are set): tell everybody who waits."""
        self.move(ts, MEMORY)
        for client in ts.wanted_by:
            self.tell(client, ts, payload)
        for dep in ts.deps:
            self.drop_need(dep)
        if ts.dependents is not None:
            for dependent in ts.dependents:  # those that are forgotten neither wait nor follow
                if dependent.status is WAITING:
                    dependent.waiting_on -= 1
                    if not dependent.waiting_on:
                        self.enqueue(dependent)
                elif dependent.follows:
                    self.catch_up(dependent)
        if not ts.wanted_by and not ts.needed_by:
            self.loose.append(ts)
        self.arrived.append(ts)

    def catch_up(self, ts: TaskState) -> None:
        """An input is there of a task that was sent to follow: with the last, it takes a slot like any other."""
        ts.waiting_on -= 1
        ws = ts.worker
        if not ts.waiting_on and ws is not None:
            del ws.following[ts]
            ws.assigned[ts] = None
            ws.occupancy += ts.estimate
            self.roomy[ws] = None
            if ws.sent > ws.nthreads:
                self.ahead[ws] = None

    def retry(self, ts: TaskState, failure: Failure) -> None:
        """A run has failed, and another is allowed: begin again, now or after a wait."""
        ts.retries -= 1
        terms = ts.terms
        seconds = 0.0 if terms is None else terms.wait(terms.times - ts.retries)
        if seconds:
            self.move(ts, RETRYING)  # what it needs is kept meanwhile
            ts.failure = failure
            self.retries.add(ts, self.now + seconds)
        else:
            self.retreat(ts)

    def wake(self) -> None:
        """Begin again with the tasks whose wait is over."""
        if self.retries.due:
            for ts in self.retries.pop_due(self.now):
                ts.failure = None
                self.retreat(ts)

    def retreat(self, ts: TaskState) -> None:
        """Begin again with a task that is WAITING or RETRYING, or whose run has ended without a result."""
        for dep in ts.deps:
            dep.needed_by -= 1
            self.loose.append(dep)
        self.move(ts, RELEASED)
        self.ensure(ts)

    def fail(self, first: TaskState, failure: Failure) -> None:
        """A task has failed for good, and with it all that wait for it."""
        stack = [first]
        while stack:
            ts = stack.pop()
            if ts.status is ERRED:
                continue
            needing = ts.status in _NEEDING
            self.leave(ts)
            self.move(ts, ERRED)
            ts.failure = failure
            for client in ts.wanted_by:
                self.tell(client, ts)
            if needing:
                for dep in ts.deps:
                    self.drop_need(dep)
            stack.extend(d for d in ts.each_dependent() if d.status is WAITING)
            self.loose.append(ts)
            self.arrived.append(ts)

    def own_failure(self, key: Key, kind: type[MySchedulerError], text: str) -> Failure:
        """A failure whose author is the scheduler: no pickled exception, only its class name and text."""
        return Failure(key, b"", f"{kind.__name__}: {text}", "")

    def drop_need(self, dep: TaskState) -> None:
        """One of those that needed this task's data does not any more."""
        dep.needed_by -= 1
        if not dep.needed_by and not dep.wanted_by:
            self.loose.append(dep)

    def drop_function_user(self, func_id: bytes) -> None:
        """A task or a client does not refer to a function any more. If it was the last, workers need not keep it."""
        function = self.functions.get(func_id)
        if function is None:
            return
        function.users -= 1
        if not function.users:
            del self.functions[func_id]
            for ws in function.workers:
                del ws.functions[func_id]
                self.row(ws, UNDEFINE, func_id)

    # ---- data -------------------------------------------------------------------------------------------------------

    def add_holder(self, ts: TaskState, ws: WorkerState) -> None:
        """A worker holds the data of a task."""
        if ts not in ws.stored:
            ws.stored[ts] = None
            ws.nbytes += ts.nbytes
            holders = ts.holders
            if not holders:
                ts.holders = ws.only
            elif isinstance(holders, list):
                holders.append(ws)
            else:
                ts.holders = (*holders, ws) if len(holders) < HOLDERS_LISTED else [*holders, ws]

    def drop_holder(self, ts: TaskState, ws: WorkerState) -> None:
        """A worker does not hold the data any more. If it was the last, see ``lose``."""
        if ts in ws.stored:
            del ws.stored[ts]
            ws.nbytes -= ts.nbytes
            ts.holders = tuple(holder for holder in ts.holders if holder is not ws)

    def free(self, ts: TaskState) -> None:
        """Let all holders drop the data. They hear of it with what they are told next: a message of its own costs more."""
        row = (ts.key, ts.attempt)
        for ws in ts.holders:
            if not ws.unneeded:
                self.freeing.setdefault(ws, self.now + FREE_AFTER_S)
            ws.unneeded.append(row)
            del ws.stored[ts]
            ws.nbytes -= ts.nbytes
        ts.holders = ()

    def refuse(self, ws: WorkerState, key: Key, attempt: int) -> None:
        """A worker has got a copy that does not count. An older one, which may, has made room for it there."""
        self.row(ws, FREE, (key, attempt))
        ts = self.tasks.get(key)
        if ts is not None and ts.status is MEMORY and ts.attempt < attempt and ts in ws.stored:
            self.drop_holder(ts, ws)
            if not ts.holders:
                self.lose(ts)

    def lose(self, ts: TaskState) -> None:
        """The last copy of the data is gone: make it again if somebody needs it."""
        self.move(ts, RELEASED)
        ts.nbytes = 0
        for dependent in list(ts.each_dependent()):
            if dependent.status is QUEUED:
                self.leave(dependent)
                dependent.waiting_on = 1
                self.move(dependent, WAITING)
            elif dependent.status is WAITING or dependent.follows:
                dependent.waiting_on += 1
        if ts.wanted_by or ts.needed_by:
            self.ensure(ts)
        else:
            self.loose.append(ts)

    def free_overdue(self) -> None:
        """See to it that workers to which nothing else was said hear what they may drop."""
        for ws, _ in list(takewhile(lambda item: item[1] <= self.now, self.freeing.items())):
            del self.freeing[ws]
            if ws.unneeded:
                self.outboxes.setdefault(ws, {})

    def next_free(self) -> float | None:
        """When the first of them is due."""
        return next(iter(self.freeing.values()), None)

    # ---- backward ---------------------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Release and forget what nobody needs. Iterative: a chain may be a million tasks long."""
        loose = self.loose
        while loose:
            ts = loose.pop()
            status = ts.status
            if ts.wanted_by or ts.needed_by or status is FORGOTTEN:
                continue
            if status is MEMORY:
                if ts.live_dependents:
                    if ts.function is not None:  # scattered data could not be made again
                        self.free(ts)
                        self.move(ts, RELEASED)
                    continue
                self.free(ts)
            elif status in _NEEDING:
                self.leave(ts)
                for dep in ts.deps:
                    self.drop_need(dep)
                if ts.live_dependents:
                    self.move(ts, RELEASED)
                    continue
            elif ts.live_dependents:
                continue
            self._forget(ts)

    def _forget(self, ts: TaskState) -> None:
        self.move(ts, FORGOTTEN)
        del self.tasks[ts.key]
        if ts.function is not None:
            self.drop_function_user(ts.function.func_id)
        if self.unfetched:
            self.unfetched.pop(ts.key, None)
        if self.awaited:
            self.awaited.pop(ts, None)
        if self.items:
            self.items.pop(ts, None)
        if self.deaths.suffered:
            self.deaths.suffered.pop(ts.key, None)
        for dep in ts.deps:
            dep.drop_dependent()
            if not dep.live_dependents and not dep.needed_by and not dep.wanted_by:
                self.loose.append(dep)
        ts.deps = ()

    def cancel(self, first: TaskState, reason: str) -> None:
        """Take a task, and all that depend on it, away from everybody who wants them."""
        stack = [first]
        seen = {first: None}
        while stack:
            ts = stack.pop()
            for client in ts.wanted_by:
                del client.wants[ts]
                self.row(client, CANCELLED, (ts.key, reason))
            ts.wanted_by = ()
            self.loose.append(ts)
            self.arrived.append(ts)
            for dependent in ts.each_dependent():
                if dependent not in seen and dependent.status is not MEMORY:
                    seen[dependent] = None
                    stack.append(dependent)
