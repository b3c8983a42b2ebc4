"""Links within one event loop: messages are handed over as they are, without being encoded.

Same rules as over a network: the same handshake, the same validation, delivery in a later turn of the loop. Buffers of
payloads are shared between both ends, not copied.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from typing import Final

from ..base.credentials import Credentials
from ..base.errors import AuthenticationError, ConnectionFailedError, MySchedulerError, UsageError
from ..protocol.codec import Frame
from ..protocol.handshake import NONCE_BYTES, ClientHandshake, ServerHandshake, check_incarnation
from ..protocol.messages import Message, Role
from .addresses import Address
from .link import Accept, Link, LinkHandler, Listener

_listeners: dict[str, InprocListener] = {}
_numbers: Final = itertools.count(1)


class InprocLink(Link):
    """One end of a pair."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, own: str, role: Role, peer: str, remote: str, local: str
    ) -> None:
        super().__init__(loop, own, role, peer, remote, local)
        self.other: InprocLink = self
        self._outbox: list[Message] = []
        self._sequence_out = 0

    @property
    def pending(self) -> int:
        """Messages that wait to be handed over."""
        return len(self._outbox)

    def send(self, message: Message) -> None:
        """See ``Link.send``; anything can be sent."""
        if self.closed:
            return
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append(message)

    def close(self, reason: str = "") -> None:
        """See ``Link.close``."""
        if not self.closed:
            self._announce_closed(reason or "closed")
            self._loop.call_soon(self._leave)

    def _flush(self) -> None:
        if not self._outbox:
            return
        messages, self._outbox = tuple(self._outbox), []
        frame = Frame(self.epoch, self._own, self._sequence_out, messages)
        self._sequence_out += 1
        self._wake(self._drained)
        self.other.last_read = self._loop.time()
        self.other.deliver(frame)

    def _leave(self) -> None:
        self._flush()
        self._announce_gone()
        self.other.abort("the peer closed the connection")

    def abort(self, reason: str) -> None:
        """See ``Link.abort``."""
        if not self.closed:
            self._outbox.clear()
            self._announce_closed(reason)
            self._loop.call_soon(self._leave)


class InprocListener(Listener):
    """A name in this process."""

    def __init__(
        self,
        name: str,
        loop: asyncio.AbstractEventLoop,
        credentials: Credentials | None,
        role: Role,
        incarnation: str,
        accept: Accept,
    ) -> None:
        super().__init__(f"inproc://{name}")
        self.name = name
        self.loop = loop
        self.credentials = credentials
        self.role = role
        self.incarnation = incarnation
        self.accept = accept

    def close(self) -> None:
        """See ``Listener.close``."""
        if _listeners.get(self.name) is self:
            del _listeners[self.name]


async def listen(
    address: Address, *, credentials: Credentials | None, incarnation: str, own_role: Role, accept: Accept
) -> InprocListener:
    """See ``transport.listen``; without a name, one is made up."""
    name = address.host or f"anonymous-{next(_numbers)}"
    check_incarnation(incarnation)
    if name in _listeners:
        raise UsageError(f"inproc://{name} is taken by another listener of this process")
    listener = InprocListener(name, asyncio.get_running_loop(), credentials, own_role, incarnation, accept)
    _listeners[name] = listener
    return listener


async def connect(
    address: Address,
    *,
    credentials: Credentials | None,
    role: Role,
    incarnation: str,
    handler: LinkHandler,
    timeout: float,
) -> InprocLink:
    """See ``transport.connect``."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while (listener := _listeners.get(address.host)) is None:
        if loop.time() >= deadline:
            raise ConnectionFailedError(
                f"cannot reach {address} within {timeout:g} s: nobody in this process listens under that name"
            )
        await asyncio.sleep(0.01)
    if listener.loop is not loop:
        raise UsageError(f"{address} belongs to another event loop; use tcp:// between threads")
    check_incarnation(incarnation)
    await asyncio.sleep(0)  # as over a network: never without giving up the loop
    _prove(address, listener, credentials, role, incarnation)
    client = InprocLink(loop, incarnation, listener.role, listener.incarnation, str(address), f"inproc://{incarnation}")
    server = InprocLink(loop, listener.incarnation, role, incarnation, f"inproc://{incarnation}", str(address))
    client.other, server.other = server, client
    client.attach(handler)
    server.attach(listener.accept(server))
    return client


def _prove(
    address: Address, listener: InprocListener, credentials: Credentials | None, role: Role, incarnation: str
) -> None:
    """The handshake of the wire, without one; skipped if neither side has credentials."""
    if credentials is None and listener.credentials is None:
        return
    if credentials is None or listener.credentials is None:
        who = "we have" if credentials is None else "it has"
        raise AuthenticationError(f"{address} cannot be proved: {who} no credentials; give both sides the same")
    client = ClientHandshake(credentials, role, incarnation, address.host_port, secrets.token_bytes(NONCE_BYTES))
    server = ServerHandshake(
        listener.credentials,
        None,
        secrets.token_bytes(NONCE_BYTES),
        role=listener.role,
        incarnation=listener.incarnation,
    )
    proof = client.receive(server.start())
    try:
        answer = server.receive(proof)
    except MySchedulerError:
        listener.refused += 1
        raise client.closed_early() from None
    client.receive(answer)
