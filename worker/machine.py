"""The worker's machine: which tasks wait, which are ready, which run, and which data is here.

``WorkerMachine.handle`` is the only way to change it. It sees keys, attempts, sizes and places; payloads pass through
unread inside their rows. Two rules settle all races: an attempt is an object of its own, and what is reported about one
that is not the current one changes nothing here; and every row of COMPUTE is answered exactly once, by RESULTS, ERRORS,
UNFETCHED or RECALLED, even if nobody wants it any more, because the scheduler books a slot for it until then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from ..base.errors import ProtocolError
from ..base.items import base_of, is_item
from ..base.keys import Key
from ..protocol import messages as m
from ..protocol.messages import Message, Row
from .check import check
from .events import (
    Beat,
    Bind,
    Cancel,
    Chain,
    Copy,
    Define,
    Disconnected,
    Drop,
    Event,
    Execute,
    ExecutionEnded,
    FetchEnded,
    FetchFailed,
    FetchStalled,
    Instruction,
    NotStarted,
    Overdue,
    Received,
    Seceded,
    Send,
    Serve,
    Stop,
    Stored,
    Tick,
    Undefine,
    Weighed,
)
from .fetching import Want
from .inventory import hold, inventory
from .pace import AHEAD_NS
from .state import Task, TaskState
from .tables import Tables

_WAITING: Final = TaskState.WAITING
_READY: Final = TaskState.READY
_RUNNING: Final = TaskState.RUNNING
_SECEDED: Final = TaskState.SECEDED
_GONE: Final = TaskState.GONE


class WorkerMachine(Tables):
    """The state of one life of a worker.

    Parameters
    ----------
    incarnation : str
        16 hexadecimal digits; only decides which of several equally good peers is asked first.
    nthreads : int
        Thread slots of the executor.
    address : str
        The worker's own data address; holders on the same host are preferred.
    pause_at : int
        Bytes above which it is paused, see ``Pressure``.

    Examples
    --------
    >>> machine = WorkerMachine("00000000000000a1", nthreads=1)
    >>> row = ("x", 1, b"f", b"payload", 0, (), (), 0)
    >>> machine.handle(0.0, Received(((m.COMPUTE, (), (row,)),)))
    [Execute(rows=[('x', 1, b'f', b'payload', 0, (), (), 0)])]
    >>> machine.handle(0.1, ExecutionEnded([("x", 1, 28, "int", None, 0, 0.0, 0.1)], []))
    [Send(message=(50, (('x', 1, 28, 'int', None, 0, 0.0, 0.1),)))]
    >>> machine.data
    {'x': (1, 28, 'int')}
    """

    def __init__(self, incarnation: str, nthreads: int, address: str = "", pause_at: int = 0) -> None:
        super().__init__(incarnation, nthreads, address, pause_at)
        self.heartbeat_s = 0.0
        self._deadline: float | None = None
        self._events: dict[type, Callable[[float, Any], None]] = {
            Received: self._received,
            ExecutionEnded: self._execution_ended,
            Overdue: self._overdue,
            Seceded: self._seceded,
            NotStarted: self._not_started,
            FetchEnded: self._fetch_ended,
            FetchStalled: self._fetch_stalled,
            FetchFailed: self._fetch_failed,
            Stored: self._stored,
            Weighed: self._weighed,
            Disconnected: self._disconnected,
            Tick: self._tick,
        }
        self._messages: dict[int, Callable[[float, Message], None]] = {
            m.WELCOME: self._welcome,
            m.TERMS: self._learn_terms,
            m.COMPUTE: self._compute,
            m.RECALL: self._recall,
            m.UNDEFINE: self._undefine,
            m.FREE: self._free,
            m.GATHER: self._gather,
            m.ACQUIRE: self._acquire,
            m.STOP: self._stop,
            m.GOODBYE: self._goodbye,
        }

    # ---- from outside -----------------------------------------------------------------------------------------------

    def handle(self, now: float, event: Event) -> list[Instruction]:
        """Take in one event and say what is to be done, in order.

        Parameters
        ----------
        now : float
            Seconds on a clock that never goes back.
        event : Event
            What happened.

        Returns
        -------
        list of Instruction
        """
        self._events[type(event)](now, event)
        self._feed()
        self._forsake()
        if self._spent:
            self._out.append(Drop(self._spent))
            self._spent = []
        self._out += self.fetches.plan()
        self._report()
        out, self._out = self._out, []
        return out

    def next_deadline(self) -> float | None:
        """When to call ``handle(now, Tick())`` at the latest."""
        return self._deadline

    @property
    def executing(self) -> int:
        """Tasks handed to the executor, those without a thread slot included."""
        return len(self.runs)

    # ---- messages ---------------------------------------------------------------------------------------------------

    def _received(self, now: float, event: Received) -> None:
        handlers = self._messages
        for message in event.messages:
            handler = handlers.get(message[0])
            if handler is None:
                raise ProtocolError(f"{m.SPECS[message[0]].name} means nothing to a worker")
            handler(now, message)

    def _welcome(self, now: float, message: Message) -> None:
        self.heartbeat_s = float(message[1]["heartbeat_s"])
        self._deadline = now
        if not self.linked:
            self.linked = True
            self._out += map(Send, inventory(self, self._reports))

    def _learn_terms(self, now: float, message: Message) -> None:
        for row in message[1]:
            self.terms[row[1]] = row

    def _compute(self, now: float, message: Message) -> None:
        if message[1]:
            self._out.append(Define(message[1]))
            self.functions.update(dict.fromkeys([func_id for func_id, _ in message[1]]))
        tasks, paused = self.tasks, self.pressure.paused
        for row in message[2]:
            task = Task(row)
            known = tasks.get(task.key)
            if known is not None:
                if known.attempt > task.attempt:
                    self._reports[m.RECALLED].append((task.key, task.attempt))
                    self.terms.pop(task.attempt, None)
                if known.attempt >= task.attempt:
                    continue
                self._abandon(known)
            if paused and not row[7] & m.FLAG_ANYWAY:
                self._reports[m.RECALLED].append((task.key, task.attempt))
                self.terms.pop(task.attempt, None)
                continue
            tasks[task.key] = task
            if row[5]:
                hopeless = self.fetches.require(task, row[5], row[6], self.data)
                if row[7] & m.FLAG_ITEMS:
                    self._use_items(task)
                if row[7] & m.FLAG_FOLLOWS:
                    self._follow(task)
                if task.missing:
                    self.index.move(task, _WAITING)
                    if hopeless is not None:
                        self._give_up(hopeless)
                    continue
            self.index.move(task, _READY)

    def _follow(self, task: Task) -> None:
        """Wait for runs of our own that are to make what nobody has yet."""
        for key in dict.fromkeys(map(base_of, task.row[5])):
            if key not in self.data and key not in task.missing and (leader := self.tasks.get(key)) is not None:
                self.fetches.await_run(task, key, leader.attempt)

    def _undefine(self, now: float, message: Message) -> None:
        self._out.append(Undefine(message[1]))
        for func_id in message[1]:
            self.functions.pop(func_id, None)

    def _recall(self, now: float, message: Message) -> None:
        self._give_back(message[1])

    def _give_back(self, copies: Sequence[Copy]) -> None:
        """Answer for runs that have not started, as if they had never come; those at the executor, if it has not begun."""
        started: list[Copy] = []
        for copy in copies:
            key, attempt = copy
            if attempt in self.runs:
                started.append(copy)
                continue
            task = self.tasks.get(key)
            if task is not None and task.attempt == attempt:
                self._forget(task)
                self._reports[m.RECALLED].append(copy)
        if started:
            self._out.append(Cancel(started, running=False))

    def _free(self, now: float, message: Message) -> None:
        drops: list[Copy] = []
        for copy in message[1]:
            key, attempt = copy
            held = self.data.get(key)
            if held is not None and held[0] == attempt:
                del self.data[key]
                drops.append(copy)
            task = self.tasks.get(key)
            if task is not None and task.attempt == attempt:
                self._abandon(task)
        if drops:
            self._out.append(Drop(drops))

    def _acquire(self, now: float, message: Message) -> None:
        for key, attempt, nbytes, addresses in message[1]:
            held = self.data.get(key)
            if held is not None and held[0] >= attempt:
                self._reports[m.REPLICAS].append((key, held[0]))
                continue
            want = self.fetches.acquire(key, attempt, nbytes, addresses)
            if want.peer is None and not want.made_here:
                self._give_up(want)

    def _gather(self, now: float, message: Message) -> None:
        self._out.append(Serve(message[1], message[2]))

    def _stop(self, now: float, message: Message) -> None:
        self._out.append(Stop(message[1], message[2]))

    def _goodbye(self, now: float, message: Message) -> None:
        self._out.append(Stop("close", f"the scheduler left: {message[1]}"))

    # ---- the executor -----------------------------------------------------------------------------------------------

    def _execution_ended(self, now: float, event: ExecutionEnded) -> None:
        data, wants, accepted = self.data, self.fetches.wants, self._reports[m.RESULTS]
        unwanted: list[Copy] = []
        for row in event.results:
            key, attempt = row[0], row[1]
            task = self.runs[attempt]
            self.index.pace.learn(task.func_id, int(row[7] * 1e9))
            held = data.get(key)
            if not self._end(task) or (held is not None and held[0] > attempt):
                unwanted.append((key, attempt))
                continue
            if held is not None:
                self._out.append(Drop([(key, held[0])]))
            data[key] = (attempt, row[2], row[3])
            accepted.append(row)
            if wants and key in wants and wants[key].attempt <= attempt:
                self._arrived(wants[key])
        if unwanted:
            self._out.append(Drop(unwanted))
            self._reports[m.RECALLED] += unwanted
        for key, attempt in event.final:
            if self.tasks.get(key) is self.runs[attempt]:
                self._reports[m.FINAL].append((key, attempt))
        for row in event.errors:
            if self._end(self.runs[row[1]]):
                self._reports[m.ERRORS].append(row)
            else:
                self._reports[m.RECALLED].append((row[0], row[1]))

    def _overdue(self, now: float, event: Overdue) -> None:
        """A run has failed by its terms. It stays with the executor; its end will be answered by RECALLED."""
        key, attempt = event.row[:2]
        task = self.runs.get(attempt)
        if task is None or self.tasks.get(key) is not task:
            return
        self._drop(task)
        self._cut_chain(task)
        if event.final:
            self._reports[m.FINAL].append((key, attempt))
        self._reports[m.OVERDUE].append(event.row)

    def _end(self, task: Task) -> bool:
        """The executor is done with a task; whether it still was the current attempt."""
        del self.runs[task.attempt]
        self.index.move(task, _GONE)
        if self.tasks.get(task.key) is not task:
            return False
        self._drop(task)
        return True

    def _seceded(self, now: float, event: Seceded) -> None:
        for key, attempt, left in event.moves:
            task = self.runs[attempt]
            self.index.move(task, _SECEDED if left else _RUNNING)
            if left:
                self._reports[m.SECEDED].append((key, attempt))
                if self.tasks.get(key) is not task:
                    # It was given up before it could be interrupted; a coroutine can be from now on.
                    self._out.append(Cancel([(key, attempt)], running=True))

    def _not_started(self, now: float, event: NotStarted) -> None:
        for copy in event.copies:
            self._end(self.runs[copy[1]])
            self._reports[m.RECALLED].append(copy)

    def _feed(self) -> None:
        """Hand over to the executor what it should have, in rank order."""
        index, wants = self.index, self.fetches.wants
        rows: list[Row] = []
        bound: list[Row] = []
        orders: list[Instruction] = []
        while (task := index.next_ready()) is not None:
            if task.row[5] and not self._inputs_held(task):
                continue
            self._start(task, bound)
            if wants and (chain := self._chain(task, bound)):
                orders += [Execute(rows), Chain(chain)] if rows else [Chain(chain)]
                rows = []
            else:
                rows.append(task.row)
        if rows:
            orders.append(Execute(rows))
        if bound:
            self._out.append(Bind(bound))
        self._out += orders

    def _start(self, task: Task, bound: list[Row]) -> None:
        self.index.move(task, _RUNNING)
        self.runs[task.attempt] = task
        if self.items:
            self._let_go_of_items(task)
        if self.terms and task.attempt in self.terms:
            bound.append(self.terms.pop(task.attempt))

    def _chain(self, first: Task, bound: list[Row]) -> list[Row]:
        """Start what lacks nothing but the result of the run before, as far as all is short and there is room: their rows."""
        rows = [first.row]
        last, pace = first, self.index.pace
        while last.expected_ns < AHEAD_NS and (task := self._next_link(last)) and pace.admits(task.func_id):
            self.fetches.arrived(task.missing[last.key])
            self._start(task, bound)
            rows.append(task.row)
            last.behind = last = task
        return rows if last is not first else []

    def _next_link(self, last: Task) -> Task | None:
        """The one task that waits for a run, if it waits for nothing else."""
        want = self.fetches.wants.get(last.key)
        if want is None or not want.made_here or want.attempt != last.attempt or len(want.tasks) != 1:
            return None
        [task] = want.tasks.values()
        if len(task.missing) > 1 or any(key != last.key and key not in self.data for key in task.row[5]):
            return None
        return task

    # ---- data -------------------------------------------------------------------------------------------------------

    def _fetch_ended(self, now: float, event: FetchEnded) -> None:
        asked = self.fetches.answered(event.address, event.request)
        stale: list[Copy] = []
        for key, attempt, nbytes in event.got:
            if self._take(key, attempt, nbytes, stale):
                asked.pop(key, None)
            else:
                stale.append((key, attempt))
        if stale:
            self._out.append(Drop(stale))
        for key, payload, text, traceback, when in event.failures:
            want = asked.pop(key, None)
            if want is None:
                continue
            for task in list(want.tasks.values()):
                if task.attempt in self.terms and self.terms[task.attempt][3] is not None:
                    self._reports[m.FINAL].append((task.key, task.attempt))  # nobody chose this error
                self._forget(task)
                self._reports[m.ERRORS].append((task.key, task.attempt, payload, text, traceback, -1, when, 0.0))
            if want.acquired:
                want.failed.append(event.address)
                self._give_up(want)
        for want in asked.values():
            self._failed(want, event.address)

    def _take(self, key: Key, attempt: int, nbytes: int, stale: list[Copy]) -> bool:
        """A fetched copy is in the store; False if nobody here needs it. ``stale`` gets what it replaces."""
        held = self.data.get(key)
        if held is not None and held[0] >= attempt:
            return held[0] == attempt
        want = self.fetches.wants.get(key)
        if want is None or want.attempt > attempt:
            return False
        stale += hold(self.data, key, attempt, nbytes)
        if is_item(key):
            self.items.setdefault(key, {}).update(dict.fromkeys(want.tasks))
        else:
            self._reports[m.REPLICAS].append((key, attempt))
        self._arrived(want)
        return True

    def _fetch_stalled(self, now: float, event: FetchStalled) -> None:
        self.fetches.ask_others(event.address, event.request)

    def _fetch_failed(self, now: float, event: FetchFailed) -> None:
        asked = self.fetches.answered(event.address, event.request)
        for want in (*asked.values(), *self.fetches.drain(event.address)):
            self._failed(want, event.address)

    def _failed(self, want: Want, address: str) -> None:
        if self.fetches.wants.get(want.key) is want and not self.fetches.failed(want, address):
            self._give_up(want)

    def _stored(self, now: float, event: Stored) -> None:
        stale: list[Copy] = []
        for key, attempt, nbytes in event.rows:
            held = self.data.get(key)
            if held is not None and held[0] > attempt:
                stale.append((key, attempt))
                continue
            stale += hold(self.data, key, attempt, nbytes)
            want = self.fetches.wants.get(key)
            if want is not None and want.attempt <= attempt:
                self._arrived(want)
        if stale:
            self._out.append(Drop(stale))

    # ---- the link and the clock -------------------------------------------------------------------------------------

    def _disconnected(self, now: float, event: Disconnected) -> None:
        """What is here stays, and what runs goes on: there will be another link, or the shell ends this life."""
        self.linked = False
        self._deadline = None

    def _tick(self, now: float, event: Tick) -> None:
        if self._deadline is not None and now >= self._deadline:
            self._deadline = now + self.heartbeat_s
            self._beat()

    def _beat(self) -> None:
        self._out.append(Beat(self.executing, self.index.counts[_READY], self.pressure.paused))

    def _weighed(self, now: float, event: Weighed) -> None:
        """The scheduler is told of a pause before anything that follows from it."""
        if self._deadline is not None and self.pressure.changes(event.nbytes):
            self._beat()
            if self.pressure.paused:
                self._give_back([(task.key, task.attempt) for task in self.tasks.values()])

    def check(self) -> None:
        """Recompute every derived index; raise InternalError where one differs. For tests: it reads everything."""
        check(self)
