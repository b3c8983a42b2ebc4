"""A link to the scheduler for what runs the cluster: how many workers there are, which are to retire.

It submits nothing, so it needs none of the client's machinery.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import Any

from ..base.credentials import Credentials
from ..base.errors import ClosedError, ClusterError, ConnectionFailedError, VersionMismatchError
from ..base.ids import IdSource
from ..base.version import VERSION
from ..protocol import messages
from ..protocol.codec import Frame
from ..protocol.messages import Role
from ..transport import Link, connect


class ControlLink:
    """Calls methods of the scheduler by name.

    Use ``await ControlLink.open(...)``.
    """

    def __init__(self) -> None:
        self._link: Link | None = None
        self._requests = 0
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._closed: str | None = None
        self._welcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(
        cls, address: str, credentials: Credentials | None, *, role: Role = Role.CLIENT, timeout: float = 10.0
    ) -> ControlLink:
        """Connect.

        Parameters
        ----------
        address : str
            Of the scheduler.
        credentials : Credentials, optional
            With the secret of the role; None for ``inproc://``.
        role : Role
            Observers may only ask; they are not counted among the clients.
        timeout : float
            Seconds until the scheduler must have answered.

        Raises
        ------
        ConnectionFailedError, AuthenticationError, VersionMismatchError
            As for any client.
        """
        self = cls()
        deadline = asyncio.get_running_loop().time() + timeout
        self._link = await connect(
            address,
            credentials=credentials,
            role=role,
            incarnation=IdSource().incarnation(),
            handler=self,
            timeout=timeout,
        )
        self._link.send((messages.HELLO, _own_info()))
        try:
            async with asyncio.timeout_at(deadline):
                await self._welcome
        except TimeoutError:
            self._link.close("no answer")
            raise ConnectionFailedError(f"the scheduler at {address} did not answer within {timeout:g} s") from None
        return self

    @property
    def closed(self) -> bool:
        """Whether the scheduler is gone."""
        return self._closed is not None

    async def call(self, method: str, *args: Any) -> Any:
        """Call ``method`` of the scheduler and wait for its reply.

        Raises
        ------
        ClusterError
            The scheduler says no.
        ClosedError
            The scheduler went away.
        """
        if self._link is None or self._closed is not None:
            raise ClosedError(f"cannot ask the scheduler for {method}: {self._closed}")
        self._requests += 1
        request = self._requests
        reply = self._calls[request] = asyncio.get_running_loop().create_future()
        self._link.send((messages.CALL, request, method, args))
        try:
            return await reply
        finally:
            self._calls.pop(request, None)

    def close(self, reason: str) -> None:
        """Say goodbye."""
        if self._link is not None and self._closed is None:
            self._link.send((messages.GOODBYE, reason))
            self._link.close(reason)

    async def wait_closed(self) -> None:
        """Wait until nothing is left of the connection; whoever ends the loop next should."""
        if self._link is not None:
            await self._link.wait_closed()

    # ---- LinkHandler ------------------------------------------------------------------------------------------------

    def on_messages(self, link: Link, frame: Frame) -> None:
        """Replies, and the first answer."""
        for message in frame.messages:
            op = message[0]
            if op == messages.REPLY:
                self._replied(*message[1:])
            elif op == messages.WELCOME:
                link.epoch = message[1]["epoch"]
                if not self._welcome.done():
                    self._welcome.set_result(None)
            elif op == messages.REFUSED:
                kind = VersionMismatchError if message[1] == "version" else ClusterError
                if not self._welcome.done():
                    self._welcome.set_exception(kind(message[2]))

    def on_closed(self, link: Link, reason: str) -> None:
        """Nobody will reply any more."""
        self._closed = reason or "the connection was closed"
        for waiting in (self._welcome, *self._calls.values()):
            if not waiting.done():
                waiting.set_exception(ClosedError(f"the scheduler went away: {self._closed}"))
                waiting.exception()  # seen, even if nobody awaits it

    def _replied(self, request: int, ok: bool, value: Any) -> None:
        reply = self._calls.get(request)
        if reply is None or reply.done():
            return
        if ok:
            reply.set_result(value)
        else:
            _code, text = value
            reply.set_exception(ClusterError(text))


def _own_info() -> dict[str, Any]:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {
        "versions": {"python": python, "myscheduler": VERSION},
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }
