"""What every transport offers: links that carry messages, and listeners that accept links.

A link belongs to one event loop, and everything here is called on that loop's thread.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from ..base.errors import ProtocolError
from ..base.limits import MIB, UNANSWERED_S
from ..protocol.codec import Frame
from ..protocol.inbound import Inbound
from ..protocol.messages import Message, Role

#: ``drain`` waits until less than this is queued: enough to keep the peer busy while the next message is made.
LOW_WATER_BYTES: Final = 4 * MIB


class LinkHandler(Protocol):
    """Who is told what comes in on a link."""

    def on_messages(self, link: Link, frame: Frame) -> None:
        """A frame has come in; its messages are valid for the peer's role."""

    def on_closed(self, link: Link, reason: str) -> None:
        """The link is closed, from either side or by a failure. Called once, and never from inside ``send``/``close``."""


Accept: TypeAlias = "Callable[[Link], LinkHandler]"


class Link(ABC):
    """A connection to a peer that has proved who it is.

    Attributes
    ----------
    role : Role
        What the peer is; proven.
    peer : str
        The peer's incarnation.
    remote, local : str
        Addresses of both ends, for humans; the host of ``local`` is the one under which the peer sees us.
    epoch : int
        Start of the scheduler that this link belongs to; 0 until it is known. Frames of another epoch are dropped.
    closed : bool
        Nothing more is sent or delivered.
    bytes_in, bytes_out : int
        On the wire; an in-process link has no wire and counts nothing.
    last_read : float
        When the peer was last heard of, in ``loop.time()`` seconds.
    rejected : bool
        What the peer sent made no sense, or was more than our handler could bear, so the link was closed: there is no point in
        going on over another one.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, own: str, role: Role, peer: str, remote: str, local: str
    ) -> None:
        self.role = role
        self.peer = peer
        self.remote = remote
        self.local = local
        self.epoch = 0
        self.closed = False
        self.rejected = False
        self.bytes_in = 0
        self.bytes_out = 0
        self.last_read = loop.time()
        self._loop = loop
        self._own = own
        self._handler: LinkHandler | None = None
        self._inbound = Inbound(role, peer)
        self._drained: list[asyncio.Future[None]] = []
        self._closing: list[asyncio.Future[None]] = []
        self._gone = False

    def __repr__(self) -> str:
        state = "closed " if self.closed else ""
        return f"<{state}link to {self.role} {self.peer} at {self.remote}>"

    # ---- for users --------------------------------------------------------------------------------------------------

    @property
    def stale(self) -> int:
        """Frames dropped because their epoch or sender was not the link's."""
        return self._inbound.stale

    @property
    @abstractmethod
    def pending(self) -> int:
        """Bytes that wait to be sent (of an in-process link: messages)."""

    @abstractmethod
    def send(self, message: Message) -> None:
        """Queue a message; all that is queued in one turn of the loop leaves together. Does nothing once closed.

        Raises
        ------
        UsageError
            The message cannot be encoded; nothing of it is sent.
        """

    def queue(self, message: Message) -> None:
        """As ``send``, for those who call ``flush`` before they return to the loop: that need not come round for it."""
        self.send(message)

    def flush(self) -> None:  # noqa: B027 (optional: links that gain nothing by it do nothing)
        """Send what is queued now instead of at the end of this turn: one turn of the loop less until it arrives."""

    async def drain(self) -> None:
        """Wait until ``pending`` is below the low water mark, or the link is closed."""
        while not self.closed and self.pending >= LOW_WATER_BYTES:
            waiter = self._loop.create_future()
            self._drained.append(waiter)
            await waiter

    @abstractmethod
    def close(self, reason: str = "") -> None:
        """Send what is queued, as far as the peer takes it at once or within two seconds, then close.

        Parameters
        ----------
        reason : str
            What our own handler is told; the peer only sees that we have gone. Say GOODBYE first if it should know.
        """

    @abstractmethod
    def abort(self, reason: str) -> None:
        """Close at once, without sending what is queued."""

    async def wait_closed(self) -> None:
        """Wait until nothing is left of the connection; a process should do that before its loop ends."""
        if not self._gone:
            waiter = self._loop.create_future()
            self._closing.append(waiter)
            await waiter

    def machine_silence(self) -> float:
        """Seconds since the peer's machine was heard of, whatever its process does; 0 where that cannot be known."""
        return 0.0

    def give_up_unanswered(self) -> None:
        """Close if not even the kernel at the other end answers; that of a stopped process does."""
        if self.machine_silence() >= UNANSWERED_S:
            self.abort(f"the machine of the {self.role} has not answered for {UNANSWERED_S:g} s")

    def round_trip(self) -> float:
        """Seconds to the peer's machine and back, the least of the last minutes; 0 where that cannot be known."""
        return 0.0

    # ---- for transports ---------------------------------------------------------------------------------------------

    def attach(self, handler: LinkHandler) -> None:
        """Tell ``handler`` what comes in from now on."""
        self._handler = handler

    def deliver(self, frame: Frame) -> None:
        """Hand a frame to the handler, if it is this link's and its messages are valid; else close or drop."""
        handler = self._handler
        if self.closed or handler is None:
            return
        try:
            if not self._inbound.admits(frame, self.epoch):
                return
        except ProtocolError as error:
            self.reject(f"{self.role} {self.peer} broke the protocol: {error}")
            return
        try:
            handler.on_messages(self, frame)
        except Exception as error:  # noqa: BLE001 (a bug of ours: what the peer believes and what we do differ now)
            self._loop.call_exception_handler(
                {"message": f"the handler of {self!r} failed; closing the link", "exception": error}
            )
            self.reject(f"internal error while handling messages: {type(error).__name__}: {error}")

    def reject(self, reason: str) -> None:
        """Close at once because of what the peer sent."""
        self.rejected = True
        self.abort(reason)

    def _announce_closed(self, reason: str) -> None:
        """Nothing more is delivered from here on; the handler is told in the next turn of the loop."""
        if self.closed:
            return
        self.closed = True
        self._wake(self._drained)
        if self._handler is not None:
            self._loop.call_soon(self._handler.on_closed, self, reason)

    def _announce_gone(self) -> None:
        self._gone = True
        self._wake(self._closing)

    def _wake(self, waiters: list[asyncio.Future[None]]) -> None:
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        waiters.clear()


class Listener(ABC):
    """Accepts links.

    Attributes
    ----------
    address : str
        Where it listens, with the port that was chosen.
    refused : int
        Connections turned away because the peer could not prove itself.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.refused = 0

    def __repr__(self) -> str:
        return f"<listener at {self.address}>"

    @abstractmethod
    def close(self) -> None:
        """Accept no more; links that have been accepted stay."""
