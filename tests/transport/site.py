"""A listener and links to it, over either transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from myscheduler.base.credentials import Credentials
from myscheduler.protocol.codec import Frame
from myscheduler.protocol.messages import Message, Role
from myscheduler.transport import Link, Listener, connect, listen

CREDENTIALS = Credentials("ab" * 16, {"client": b"c" * 32, "worker": b"w" * 32, "observer": b"o" * 32}).certified()
SERVER, CLIENT = "5" * 16, "c" * 16


class Recorder:
    """A handler that keeps what it is told and can be waited for."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.messages: list[Message] = []
        self.reasons: list[str] = []
        self.on_frame: Callable[[Link, Frame], None] | None = None
        self._changed = asyncio.Event()

    def on_messages(self, link: Link, frame: Frame) -> None:
        self.frames.append(frame)
        self.messages += frame.messages
        self._changed.set()
        if self.on_frame is not None:
            self.on_frame(link, frame)

    def on_closed(self, link: Link, reason: str) -> None:
        self.reasons.append(reason)
        self._changed.set()

    async def until(self, condition: Callable[[], Any], timeout: float = 10.0) -> None:
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def received(self, count: int) -> list[Message]:
        await self.until(lambda: len(self.messages) >= count)
        return self.messages

    async def closed(self) -> str:
        await self.until(lambda: self.reasons)
        return self.reasons[0]


class Site:
    """One listener, and the links made to it."""

    def __init__(self, scheme: str) -> None:
        self.address = "inproc://" if scheme == "inproc" else f"{scheme}://127.0.0.1:0"
        self.listener: Listener
        self.own_role = Role.SCHEDULER
        self.accepted: list[Link] = []
        self.handlers: list[Recorder] = []
        self.links: list[Link] = []

    def accept(self, link: Link) -> Recorder:
        self.accepted.append(link)
        self.handlers.append(Recorder())
        return self.handlers[-1]

    async def open(self, **options: Any) -> Listener:
        defaults: dict[str, Any] = {"credentials": CREDENTIALS, "incarnation": SERVER, "own_role": Role.SCHEDULER}
        options = defaults | options
        self.own_role = options["own_role"]
        self.listener = await listen(self.address, accept=self.accept, **options)
        return self.listener

    async def connect(self, role: Role = Role.WORKER, **options: Any) -> tuple[Link, Recorder, Link, Recorder]:
        """The client's link and handler, the server's link and handler."""
        handler = Recorder()
        address = options.pop("address", None) or self.listener.address
        defaults: dict[str, Any] = {"credentials": CREDENTIALS, "incarnation": CLIENT, "expected": self.own_role}
        link = await connect(address, role=role, handler=handler, **(defaults | options))
        self.links.append(link)
        async with asyncio.timeout(5):
            while len(self.accepted) < len(self.links):
                await asyncio.sleep(0)
        return link, handler, self.accepted[-1], self.handlers[-1]

    async def close(self) -> None:
        if hasattr(self, "listener"):
            self.listener.close()
        for link in (*self.links, *self.accepted):
            link.close()
        async with asyncio.timeout(5):
            for link in (*self.links, *self.accepted):
                await link.wait_closed()
