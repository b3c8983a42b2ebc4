"""Client, scheduler and worker in one thread, so that what each does for a task can be counted.

All is the real thing but threads and sockets: frames are encoded, decoded and checked; calls are pickled, run and reported. The
clock counts turns, and all tasks take equally long, so that each run is like the one before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from types import SimpleNamespace
from typing import Any, cast

from myscheduler.base.ids import Epoch, Incarnation
from myscheduler.client.api.futures import Future
from myscheduler.client.api.gather import gather
from myscheduler.client.api.session import Session
from myscheduler.client.api.submitting import Submitter, make_option
from myscheduler.protocol.codec import Encoder, Frame
from myscheduler.protocol.frames import FrameDecoder
from myscheduler.protocol.inbound import Inbound
from myscheduler.protocol.messages import Message, Role
from myscheduler.scheduler.events import Disconnect, PeerJoined, Send
from myscheduler.scheduler.events import Received as FromPeer
from myscheduler.scheduler.machine import SchedulerMachine
from myscheduler.worker.events import Define, Drop, Execute, ExecutionEnded, Received
from myscheduler.worker.events import Send as ToScheduler
from myscheduler.worker.machine import WorkerMachine
from myscheduler.worker.server.context import Slot
from myscheduler.worker.server.executor import Executor, Reports
from myscheduler.worker.store import Store

PARTS = ("client", "scheduler", "worker")
EPOCH = 7
SCHEDULER, CLIENT, WORKER = Incarnation("0" * 16), Incarnation("c" * 16), Incarnation("d" * 16)
VERSIONS = {"python": "3", "myscheduler": "1"}
HELLO = {
    "versions": VERSIONS,
    "name": "worker",
    "address": "tcp://127.0.0.1:1",
    "host": "here",
    "pid": 1,
    "nthreads": 1,
    "memory_limit": 0,
    "resources": {},
}
#: Around what a part does: a context manager for its name.
Meter = Callable[[str], AbstractContextManager[object]]


class Wire:
    """One direction of a connection: what ``transport`` does with messages on one side and with bytes on the other."""

    def __init__(self, sender: str, role: Role) -> None:
        self.epoch = EPOCH
        self.closed = self.rejected = False
        self.pending = 0
        #: sent so far
        self.nbytes = 0
        self.written: list[bytes] = []
        self._sender = sender
        self._encoder = Encoder()
        self._decoder = FrameDecoder()
        self._inbound = Inbound(role, sender)
        self._sequence = 0

    def send(self, message: Message) -> None:
        self.pending += self._encoder.add(message)

    queue = send

    def flush(self) -> None:
        parts, frames = self._encoder.take(EPOCH, self._sender, self._sequence)
        self._sequence += frames
        self.pending = 0
        data = b"".join(parts)
        self.nbytes += len(data)
        self.written += [data] if data else []

    def read(self) -> list[Frame]:
        data = b"".join(self.written)
        self.written.clear()
        found: list[Frame] = []
        position = 0
        while position < len(data):
            buffer = self._decoder.get_buffer()
            size = min(len(buffer), len(data) - position)
            buffer[:size] = data[position : position + size]
            position += size
            found += [frame for frame in self._decoder.received(size) if self._inbound.admits(frame, EPOCH)]
        return found


class Trio:
    """A client, a scheduler and a worker with one thread.

    Parameters
    ----------
    meter : callable
        Entered whenever a part has its turn.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._now = 0.0
        self._loop = loop = asyncio.new_event_loop()  # never turned
        self._session = Session(cast("Any", SimpleNamespace(as_current=nullcontext)), loop)
        self._session.incarnation = CLIENT
        self._submitter = Submitter(self._session)
        self._scheduler = SchedulerMachine(Epoch(EPOCH), "00" * 16, "tcp://127.0.0.1:8786", VERSIONS)
        self._worker = WorkerMachine(WORKER, 1, "tcp://127.0.0.1:1", 0)
        self._store = Store()
        self._executor = loop.run_until_complete(self._make_executor())
        self._slot = Slot(0)
        self._context = copy_context()  # a run is noted in it, which is no concern of whoever called us
        self._executor._runs = self._executor._board.pool(1)  # noqa: SLF001 (it starts no thread of its own)
        self._rows: list[Any] = []
        self._from_client, self._from_worker = Wire(CLIENT, Role.CLIENT), Wire(WORKER, Role.WORKER)
        self._to_client, self._to_worker = Wire(SCHEDULER, Role.SCHEDULER), Wire(SCHEDULER, Role.SCHEDULER)
        self._session.link = cast("Any", self._from_client)
        with self._session.lock:
            self._session.machine.hello(loop.create_future(), {"versions": VERSIONS})
            self._session.machine.take_outbox()
        joined = [
            PeerJoined(CLIENT, Role.CLIENT, {"versions": VERSIONS, "resume": (0, 0)}),
            PeerJoined(WORKER, Role.WORKER, HELLO),
        ]
        self._let_scheduler(joined)
        self._settle()

    async def _make_executor(self) -> Executor:
        return Executor(0, self._on_reports)

    def close(self) -> None:
        """Nothing is left."""
        self._executor.close()
        self._loop.close()

    def map(self, function: Callable[..., Any], *items: Sequence[Any]) -> list[Any]:
        """The values of ``function`` for all items; the futures go when this returns."""
        with self._meter("client"):
            futures = self._submitter.map(function, items, {}, None, False, make_option(), None)
        self._settle()
        with self._meter("client"):
            values: list[Any] = gather(self._session, futures, "raise", None)
        self._release(futures)
        return values

    def bytes_sent(self) -> dict[str, int]:
        """By each part, so far."""
        return {
            "client": self._from_client.nbytes,
            "scheduler": self._to_client.nbytes + self._to_worker.nbytes,
            "worker": self._from_worker.nbytes,
        }

    def _release(self, futures: list[Future[Any]]) -> None:
        with self._meter("client"):
            futures.clear()
        self._settle()

    def _settle(self) -> None:
        """Until nobody has anything to say."""
        while True:
            self._now += 0.001
            with self._meter("client"):
                self._session.flush()
                self._from_client.flush()
            heard = self._let_scheduler([])
            with self._meter("worker"):
                self._let_worker()
            with self._meter("client"):
                for frame in self._to_client.read():
                    self._session.on_messages(cast("Any", self._from_client), frame)
            if not (heard or self._rows or self._from_worker.written):
                return

    def _let_scheduler(self, joined: list[Any]) -> bool:
        with self._meter("scheduler"):
            events = [
                *joined,
                *(FromPeer(CLIENT, frame.messages, bytes(frame.control)) for frame in self._from_client.read()),
                *(FromPeer(WORKER, frame.messages, bytes(frame.control)) for frame in self._from_worker.read()),
            ]
            for instruction in self._scheduler.handle(self._now, events):
                assert type(instruction) is not Disconnect, instruction.reason
                if type(instruction) is Send:
                    wire = self._to_client if instruction.peer == CLIENT else self._to_worker
                    for message in instruction.messages:
                        wire.send(message)
                    wire.flush()
        return bool(events)

    def _let_worker(self) -> None:
        for frame in self._to_worker.read():
            self._feed(Received(tuple(frame.messages)))
        rows, self._rows = self._rows, []
        run, pending = self._executor._run, self._executor._pending  # noqa: SLF001 (what its threads call)
        for row in rows:
            self._context.run(run, row, pending.pop(row[1]), self._slot)
        self._executor._collect()  # noqa: SLF001 (what the loop would call)
        self._from_worker.flush()

    def _on_reports(self, reports: Reports) -> None:
        for row, value in zip(reports.results, reports.values, strict=True):
            self._store.put(row[0], row[1], value, row[2])
        # How long it took decides how many come next.
        results = [(*row[:6], 0.0, 1e-5) for row in reports.results]
        self._feed(ExecutionEnded(results, reports.errors, reports.final))

    def _feed(self, event: Any) -> None:
        for instruction in self._worker.handle(self._now, event):
            if type(instruction) is ToScheduler:
                self._from_worker.send(instruction.message)
            elif type(instruction) is Execute:
                for row in instruction.rows:
                    self._executor.submit(row, {key: self._store[key] for key in row[5]})
                    self._rows.append(row)
            elif type(instruction) is Define:
                self._executor.functions.define(instruction.functions)
            elif type(instruction) is Drop:
                self._store.drop(instruction.copies)
