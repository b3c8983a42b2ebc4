"""A simulated worker process: the real machine, a store, threads that take virtual time, transfers between peers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..base.keys import Key
from ..protocol import messages as m
from ..protocol.messages import Message, Role, Row
from ..worker import events as e
from ..worker.machine import WorkerMachine
from .graphs import SimTask
from .world import Wire

if TYPE_CHECKING:
    from .run import Simulation


class SimWorker:
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
        self.simulation = simulation
        self.world = simulation.world
        self.incarnation = incarnation
        self.name = name
        self.nthreads = nthreads
        self.address = f"tcp://{name}:1"
        self.machine = WorkerMachine(incarnation, nthreads, self.address)
        self.store: dict[Key, tuple[int, int]] = {}  # key -> (attempt, value)
        self.alive = True
        self.executed = 0
        self._queue: list[Row] = []
        self._running: dict[int, None] = {}
        self.to_scheduler = Wire(self.world, Role.WORKER, incarnation, simulation.scheduler.receiver(incarnation))
        self.from_scheduler = Wire(self.world, Role.SCHEDULER, "0" * 16, self._on_messages)

    def hello(self) -> dict[str, Any]:
        """What it says of itself when it joins."""
        return {
            "name": self.name,
            "address": self.address,
            "host": self.name,
            "pid": 1,
            "nthreads": self.nthreads,
            "memory_limit": 0,
            "resources": {},
        }

    def die(self) -> None:
        """Stop at once; what is on the wires is lost."""
        self.alive = False
        self.to_scheduler.cut = True
        self.from_scheduler.cut = True

    # ---- the machine ------------------------------------------------------------------------------------------------

    def _on_messages(self, messages: tuple[Message, ...]) -> None:
        self.feed(e.Received(messages))

    def feed(self, event: e.Event) -> None:
        """One event for the machine, and what it wants done."""
        if not self.alive:
            return
        outgoing: list[Message] = []
        for instruction in self.machine.handle(self.world.now, event):
            if isinstance(instruction, e.Send):
                outgoing.append(instruction.message)
            elif isinstance(instruction, e.Execute):
                self._queue += instruction.rows
            elif isinstance(instruction, e.Drop):
                for key, attempt in instruction.copies:
                    if key in self.store and self.store[key][0] == attempt:
                        del self.store[key]
            elif isinstance(instruction, e.Fetch):
                self._fetch(instruction)
            elif isinstance(instruction, e.Serve):
                rows = tuple(
                    (key, str(self.store[key][1]).encode()) for key, _ in instruction.rows if key in self.store
                )
                missing = tuple((key, e.NOT_HELD) for key, _ in instruction.rows if key not in self.store)
                outgoing.append((m.DATA, instruction.request, rows, missing))
            elif isinstance(instruction, e.Cancel):
                self._cancel(instruction)
            elif isinstance(instruction, e.Stop):
                self.simulation.worker_stops(self)
        if self.simulation.options.check:
            self.machine.check()
        self.to_scheduler.send(outgoing)
        self._start_threads()

    # ---- running tasks ----------------------------------------------------------------------------------------------

    def _start_threads(self) -> None:
        while self._queue and len(self._running) < self.nthreads:
            row = self._queue.pop(0)
            key, attempt, _, payload, _, deps, _, flags = row
            missing = [dep for dep in deps if dep not in self.store]
            if missing:
                raise AssertionError(f"{key!r} starts on {self.name} without its input {missing[0]!r}")
            task = SimTask.read(payload, deps)
            inputs = [self.store[dep][1] for dep in deps]
            self._running[attempt] = None
            self.executed += 1
            self.world.after(task.seconds, self._ender(key, attempt, task, inputs, flags))

    def _ender(self, key: Key, attempt: int, task: SimTask, inputs: list[int], flags: int) -> Callable[[], None]:
        def end() -> None:
            if not self.alive:
                return
            del self._running[attempt]
            if task.raises:
                row = (key, attempt, b"exception", "ValueError: simulated", "", 0, 0.0, task.seconds)
                self.feed(e.ExecutionEnded([], [row]))
                return
            value = task.value(inputs)
            if key not in self.store or self.store[key][0] < attempt:
                self.store[key] = (attempt, value)
            inline = flags & m.FLAG_WANTED and self.world.random.random() < 0.7
            nbytes = self.world.random.choice((8, 1000, 10**6))
            payload = str(value).encode() if inline else None
            self.feed(e.ExecutionEnded([(key, attempt, nbytes, "int", payload, 0, 0.0, task.seconds)], []))

        return end

    def _cancel(self, cancel: e.Cancel) -> None:
        queued = {row[1] for row in self._queue}
        caught = [copy for copy in cancel.copies if copy[1] in queued]
        if caught:
            attempts = {attempt for _, attempt in caught}
            self._queue = [row for row in self._queue if row[1] not in attempts]
            self.world.after(0.0, lambda: self.feed(e.NotStarted(caught)))

    # ---- transfers --------------------------------------------------------------------------------------------------

    def _fetch(self, fetch: e.Fetch) -> None:
        delay = self.world.random.expovariate(1 / 0.001)
        self.world.after(delay, lambda: self._ask_peer(fetch))

    def _ask_peer(self, fetch: e.Fetch) -> None:
        peer = self.simulation.worker_at(fetch.address)
        if peer is None:
            self.world.after(0.0, lambda: self.feed(e.FetchFailed(fetch.address, fetch.request)))
            return
        got = [(key, *peer.store[key]) for key, _ in fetch.rows if key in peer.store]
        missing = [key for key, _ in fetch.rows if key not in peer.store]
        self.world.after(self.world.random.expovariate(1 / 0.001), lambda: self._receive(peer, fetch, got, missing))

    def _receive(self, peer: SimWorker, fetch: e.Fetch, got: list[tuple[Key, int, int]], missing: list[Key]) -> None:
        if not peer.alive:
            self.feed(e.FetchFailed(fetch.address, fetch.request))
            return
        for key, attempt, value in got:
            if key not in self.store or self.store[key][0] < attempt:
                self.store[key] = (attempt, value)
        rows = [(key, attempt, 8) for key, attempt, _ in got]
        self.feed(e.FetchEnded(fetch.address, fetch.request, rows, missing, []))
