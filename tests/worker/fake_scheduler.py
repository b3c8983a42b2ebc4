"""A scheduler that only listens and remembers, for tests of workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from myscheduler.base.credentials import Credentials
from myscheduler.base.ids import IdSource
from myscheduler.protocol import messages as m
from myscheduler.protocol import pickling
from myscheduler.protocol.codec import Frame
from myscheduler.transport import Link, Listener, connect, listen

TIMEOUT_S = 20.0
EPOCH = 3


class FakeScheduler:
    """Lets workers in, and records what they say.

    Use ``async with FakeScheduler(address)``.
    """

    def __init__(self, address: str = "inproc://", credentials: Credentials | None = None) -> None:
        self.credentials = credentials
        self.refusal: tuple[str, str] | None = None
        self.silent = False
        self.heartbeat_s = 60.0
        self.links: dict[str, Link] = {}
        self.hellos: dict[str, dict[str, Any]] = {}
        self.received: list[tuple[str, tuple]] = []
        self.closed: list[tuple[str, str]] = []
        self.attempts = 0
        self._asked_address = address
        self._changed = asyncio.Event()
        self._listener: Listener | None = None

    async def __aenter__(self) -> FakeScheduler:
        self._listener = await listen(
            self._asked_address,
            credentials=self.credentials,
            incarnation=IdSource().incarnation(),
            own_role=m.Role.SCHEDULER,
            accept=lambda link: self,
        )
        self.address = self._listener.address
        return self

    def refuse_connections(self) -> None:
        """Listen no more; the links that are there stay."""
        assert self._listener is not None
        self._listener.close()

    async def __aexit__(self, *_: object) -> None:
        assert self._listener is not None
        self._listener.close()
        for link in self.links.values():
            link.close("the test is over")
            await link.wait_closed()

    def on_messages(self, link: Link, frame: Frame) -> None:
        for message in frame.messages:
            if message[0] == m.HELLO:
                self.links[link.peer] = link
                self.hellos[link.peer] = message[1]
                if self.refusal is not None:
                    link.send((m.REFUSED, *self.refusal))
                    link.close("refused")
                elif not self.silent:
                    link.send((m.WELCOME, {"epoch": EPOCH, "cluster": "00" * 16, "heartbeat_s": self.heartbeat_s}))
                    link.epoch = EPOCH
            else:
                self.received.append((link.peer, message))
        self._changed.set()

    def on_closed(self, link: Link, reason: str) -> None:
        self.closed.append((link.peer, reason))
        self._changed.set()

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until ``condition`` is true; it is looked at when something comes in."""
        async with asyncio.timeout(TIMEOUT_S):
            while not (found := condition()):
                self._changed.clear()
                await self._changed.wait()
        return found

    def send(self, worker: Any, *messages: tuple) -> None:
        for message in messages:
            self.links[getattr(worker, "incarnation", worker)].send(message)

    def rows(self, op: int) -> dict[Any, tuple]:
        """Rows received in messages of one kind, by key."""
        return {row[0]: row for _, message in self.received if message[0] == op for row in message[1]}

    def compute(
        self,
        worker: Any,
        key: Any,
        function: Callable[..., Any],
        *args: Any,
        locations: tuple = (),
        flags: int = m.FLAG_WANTED,
        rank: int = 0,
    ) -> int:
        """Send one task; returns its attempt."""
        self.attempts += 1
        func_id, code = pickling.dumps_function(function)
        payload, references = pickling.dumps_call(str(key), args, {})
        row = (key, self.attempts, func_id, payload, rank, tuple(references), locations, flags)
        self.send(worker, (m.COMPUTE, ((func_id, code),), (row,)))
        return self.attempts

    async def result(self, key: Any) -> Any:
        """The value that came with the result of ``key``."""
        row = (await self.until(lambda: key in self.rows(m.RESULTS) and self.rows(m.RESULTS)))[key]
        return pickling.loads(row[4])

    async def error(self, key: Any) -> BaseException:
        row = (await self.until(lambda: key in self.rows(m.ERRORS) and self.rows(m.ERRORS)))[key]
        return pickling.loads_exception(*row[2:5])


class DataClient:
    """A client's link to a worker's data listener."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self.answers: asyncio.Queue[tuple] = asyncio.Queue()
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, address: str, credentials: Credentials | None) -> DataClient:
        self = cls()
        self.link = await connect(
            address,
            credentials=credentials,
            role=m.Role.CLIENT,
            incarnation=IdSource().incarnation(),
            handler=self,
            timeout=TIMEOUT_S,
            expected=m.Role.WORKER,
        )
        return self

    def on_messages(self, link: Link, frame: Frame) -> None:
        for message in frame.messages:
            self.answers.put_nowait(message)

    def on_closed(self, link: Link, reason: str) -> None:
        self.closed.set_result(reason)

    async def ask(self, message: tuple) -> tuple:
        assert self.link is not None
        self.link.send(message)
        return await asyncio.wait_for(self.answers.get(), TIMEOUT_S)

    async def close(self) -> None:
        assert self.link is not None
        self.link.close("done")
        await self.link.wait_closed()
