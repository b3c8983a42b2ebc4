"""A simulated worker process: the real machine and store, threads that take virtual time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from ..base.backoff import ANSWER_TIMEOUT_S, DIAL_TIMEOUT_S, Backoff
from ..base.items import base_of
from ..base.keys import Key
from ..protocol import messages as m
from ..protocol.messages import Message, Role, Row
from ..worker import events as e
from ..worker.exits import ExitReason, RefusedError
from ..worker.machine import WorkerMachine
from ..worker.store import Store
from .graphs import SimTask, part_of
from .links import End
from .scheduler import EPOCH, INCARNATION, VERSIONS
from .transfers import Transfers
from .world import Process

if TYPE_CHECKING:
    from .run import Simulation

#: Runs that end within so many seconds are reported together, sometimes.
_REPORT_S: Final = 0.0005
#: How long a worker tries to find a scheduler again that it has lost.
LEASE_S: Final = 300.0
#: Bytes at which a worker pauses.
PAUSE_AT: Final = 1000
#: Rows of a slice of an inventory, so that few copies are many slices.
_SLICE_ROWS: Final = 2


class SimWorker(Process):
    """One life of a worker.

    Parameters
    ----------
    simulation : Simulation
        The cluster it is part of.
    incarnation : str
        16 hexadecimal digits.
    name : str
        Unique among the living.
    nthreads : int
        Slots.
    """

    def __init__(self, simulation: Simulation, incarnation: str, name: str, nthreads: int) -> None:
        super().__init__(simulation.world)
        self.simulation = simulation
        self.incarnation = incarnation
        self.name = name
        self.nthreads = nthreads
        self.gpus = self.world.random.choice((1, 2))
        self.address = f"tcp://{name}:1"
        self.machine = WorkerMachine(incarnation, nthreads, self.address, PAUSE_AT)
        self.transfers = Transfers(self)
        self.store = Store()
        self.planned = False  # whether it ends because it was told to
        self._queue: list[deque[Row]] = []  # chains, mostly of one row
        self._pending: dict[int, dict[Key, int]] = {}  # inputs of rows that have not begun, by attempt
        self._running: dict[int, SimTask] = {}
        self._seceded: dict[int, SimTask] = {}
        self._results: list[Row] = []
        self._errors: list[Row] = []
        self._alarm: float | None = None
        self.returns = 0  # how often it has found the scheduler again
        self._backoff: Backoff | None = None  # while it has no scheduler
        self._dialled: End | None = None  # the next link, until it is welcome there
        self.link = self._dial()

    def _dial(self) -> End:
        end = End(self, self.incarnation, INCARNATION, Role.SCHEDULER)
        end.on_messages = lambda messages: self._on_messages(end, messages)
        end.on_closed = lambda reason: self._on_closed(end, reason)
        return end

    def start(self) -> None:
        """Reach the scheduler and say HELLO."""
        self.simulation.scheduler.accept(self.link, Role.WORKER)
        self.link.send([(m.HELLO, self._hello())])

    def _hello(self) -> dict[str, Any]:
        return {
            "versions": VERSIONS,
            "name": self.name,
            "address": self.address,
            "host": self.name,
            "pid": 1,
            "nthreads": self.nthreads,
            "memory_limit": 0,
            "resources": {"gpu": float(self.gpus)},
        }

    def die(self, silently: bool = False) -> None:
        """Stop at once; what is on the wires is lost. Silently: nobody's connection is closed, as when a host vanishes."""
        self.alive = False
        for end in (self.link, *([self._dialled] if self._dialled else ()), *self.transfers.ends):
            if silently:
                end.vanish()
            else:
                end.abort("dead")

    # ---- the scheduler ----------------------------------------------------------------------------------------------

    def _on_messages(self, end: End, messages: tuple[Message, ...]) -> None:
        if messages[0][0] == m.REFUSED:
            _, code, text = messages[0]
            if RefusedError(code, text).exit_reason is ExitReason.REFUSED:
                raise AssertionError(f"{self.name} is refused: {text}")
            self._stop(text)
            return
        if messages[0][0] == m.WELCOME:
            end.epoch = EPOCH
            self.link = end
            self.returns += self._dialled is not None
            self._dialled = self._backoff = None
        if end is self.link:
            self.feed(e.Received(messages))

    def _on_closed(self, end: End, reason: str) -> None:
        if end is self._dialled:
            self._redial_later()
        elif end is self.link and not end.epoch:
            self._give_up()
        elif end is self.link:
            self.feed(e.Disconnected(reason))
            self._backoff = Backoff(self.clock, LEASE_S)
            self._redial()

    def _redial(self) -> None:
        if self.simulation.is_isolated(self):
            self.after(DIAL_TIMEOUT_S, self._redial_later)
            return
        end = self._dialled = self._dial()
        self.simulation.scheduler.accept(end, Role.WORKER)
        end.send([(m.HELLO, {**self._hello(), "resume": (self.link.epoch, 0)})])
        self.after(ANSWER_TIMEOUT_S, lambda: end.abort("no answer") if end is self._dialled else None)

    def _redial_later(self) -> None:
        assert self._backoff is not None
        self._dialled = None
        wait = self._backoff.next_wait(self.clock, self.world.random.random())
        if wait is None:
            self._give_up()
        else:
            self.after(wait, self._redial)

    def _give_up(self) -> None:
        self.simulation.worker_stops(self)

    # ---- the machine ------------------------------------------------------------------------------------------------

    def feed(self, event: e.Event) -> None:
        """One event for the machine, and what it wants done."""
        if not self.alive:
            return
        outgoing: list[Message] = []
        for instruction in self.machine.handle(self.clock, event):
            if isinstance(instruction, e.Send):
                outgoing.append(instruction.message)
            elif isinstance(instruction, e.Execute):
                for row in instruction.rows:
                    self._hand_over([row])
            elif isinstance(instruction, e.Chain):
                self._hand_over(instruction.rows)
            elif isinstance(instruction, e.Drop):
                self.store.drop(instruction.copies)
            elif isinstance(instruction, e.Fetch):
                self.transfers.fetch(instruction)
            elif isinstance(instruction, e.Serve):
                outgoing.append((m.DATA, instruction.request, *self.transfers.pack(instruction.rows)))
            elif isinstance(instruction, e.Cancel):
                self._cancel(instruction)
            elif isinstance(instruction, e.Beat):
                outgoing.append((m.HEARTBEAT, instruction._asdict()))
            elif isinstance(instruction, e.Stop):
                self._stop(instruction.reason)
                return
        if self.simulation.options.check:
            self.machine.check()
        self._send(outgoing)
        self._start_threads()
        self.set_alarm()

    def _send(self, messages: list[Message]) -> None:
        """As a worker with much to tell: an inventory takes many slices, between which other things happen."""
        for message in messages:
            if message[0] == m.INVENTORY:
                for part in _in_small_slices(message):
                    self.link.send([part])
        self.link.send([message for message in messages if message[0] != m.INVENTORY])

    def _stop(self, reason: str) -> None:
        self.planned = True
        self.link.send([(m.GOODBYE, reason)])
        self.link.close(reason)
        self.simulation.worker_stops(self)

    def set_alarm(self) -> None:
        """Ring when the machine asks for it."""
        deadline = self.machine.next_deadline()
        if deadline is None:
            return
        time = max(deadline - self.clock_offset, self.world.now)
        if self._alarm is None or time < self._alarm:
            self._alarm = time
            self.at(time, lambda: self._ring(time))

    def _ring(self, time: float) -> None:
        if self._alarm == time:
            self._alarm = None
            self.feed(e.Tick())

    # ---- running tasks ----------------------------------------------------------------------------------------------

    def _hand_over(self, chain: list[Row]) -> None:
        """Inputs are in the store when a run is handed over, which keeps them then; one of a chain gets what is made before."""
        for before, row in zip([None, *chain], chain, strict=False):
            deps = [dep for dep in row[5] if before is None or dep != before[0]]
            held = {dep: dep if dep in self.store else base_of(dep) for dep in deps}
            missing = [dep for dep in deps if held[dep] not in self.store]
            if missing:
                raise AssertionError(f"{row[0]!r} is to run on {self.name} without its input {missing[0]!r}")
            self._pending[row[1]] = {
                dep: self.store[dep] if key == dep else part_of(self.store[key], dep) for dep, key in held.items()
            }
        self._queue.append(deque(chain))

    def _start_threads(self) -> None:
        while self._queue and len(self._running) < self.nthreads:
            chain = self._queue.pop(0)
            row = chain.popleft()
            key, attempt, _, payload, _, deps, _, flags = row
            inputs = self._pending.pop(attempt, None)
            if inputs is None:
                self._give_back(chain)
                continue
            if self.machine.pressure.paused and not flags & m.FLAG_ANYWAY:
                raise AssertionError(f"{key!r} starts on {self.name}, which is paused")
            task = SimTask.read(payload, deps)
            self._running[attempt] = task
            self._check_resources(key)
            fails = self.simulation.audit.started(key, attempt, task)
            if task.secedes:
                self.after(task.seconds / 2, lambda key=key, attempt=attempt: self._secede(key, attempt))  # type: ignore[misc]
            values = None if fails else [inputs[dep] for dep in deps]
            self.after(task.seconds, self._ender(row, task, values, chain))

    def _check_resources(self, key: Key) -> None:
        used = sum(task.gpus for task in (*self._running.values(), *self._seceded.values()))
        if used > self.gpus:
            raise AssertionError(f"{key!r} starts on {self.name}, which uses {used} of {self.gpus} gpus then")

    def _secede(self, key: Key, attempt: int) -> None:
        self._seceded[attempt] = self._running.pop(attempt)
        self.feed(e.Seceded([(key, attempt, True)]))

    def _ender(self, row: Row, task: SimTask, inputs: list[int] | None, chain: deque[Row]) -> Callable[[], None]:
        key, attempt, flags = row[0], row[1], row[7]

        def end() -> None:
            if self._running.pop(attempt, None) is None:
                del self._seceded[attempt]
            random = self.world.random
            if inputs is None:
                self._errors.append(
                    (key, attempt, b"exception", "ValueError: simulated", "", 0, 0.0, task.seconds),
                )
                self._give_back(chain)
            else:
                value = task.value(inputs)
                self.simulation.audit.completed(key, attempt)
                inline = flags & m.FLAG_WANTED and random.random() < 0.7
                nbytes = random.choice((8, 1000, 10**6))
                self.store.put(key, attempt, value, nbytes)
                payload = str(value).encode() if inline else None
                self._results.append((key, attempt, nbytes, "int", payload, 0, 0.0, task.seconds))
                if chain:
                    self._pending.get(chain[0][1], {})[key] = value
                    self._queue.insert(0, chain)
            if len(self._results) + len(self._errors) == 1:
                self.after(_REPORT_S if random.random() < 0.3 else 0.0, self._report)
            self._start_threads()

        return end

    def _report(self) -> None:
        results, self._results = self._results, []
        errors, self._errors = self._errors, []
        self.feed(e.ExecutionEnded(results, errors))

    def _cancel(self, cancel: e.Cancel) -> None:
        self._take_back(list(cancel.copies))

    def _give_back(self, chain: deque[Row]) -> None:
        """What is left of a chain, as a run before it has no result."""
        self._take_back([(row[0], row[1]) for row in chain])

    def _take_back(self, copies: list[e.Copy]) -> None:
        caught = [copy for copy in copies if self._pending.pop(copy[1], None) is not None]
        if caught:
            self.after(0.0, lambda: self.feed(e.NotStarted(caught)))


def _in_small_slices(inventory: Message) -> list[Message]:
    """What INVENTORY says, in slices of a row or two."""
    op, *tables, more = inventory
    parts = list(
        zip_longest(
            *([rows[i : i + _SLICE_ROWS] for i in range(0, len(rows), _SLICE_ROWS)] for rows in tables), fillvalue=()
        )
    )
    parts = parts or [((), (), ())]
    return [(op, *part, more or index < len(parts) - 1) for index, part in enumerate(parts)]
