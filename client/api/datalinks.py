"""Links from the client to workers, for values: opened when first needed, shared, and remembered when unreachable."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from ...base import config
from ...base.credentials import Credentials
from ...base.errors import ConnectionFailedError, ProtocolError, UsageError
from ...protocol.blob import Blob, Payload
from ...protocol.messages import DATA, GET_DATA, GET_SHARED, PUT_DATA, PUT_SHARED, SHARED, STORED, Message, Role, Row
from ...protocol.shared import SHARED_BYTES_MIN, PipedBlob
from ...transport import Link, connect
from ...transport.pipes import Outflows
from ...transport.shared import fetch_rows, is_near, place

if TYPE_CHECKING:
    from ...protocol.codec import Frame

#: How long a worker is dialled.
CONNECT_TIMEOUT_S: Final = 3.0
#: Workers often run where the client cannot reach them. So a request waits for a link only this long and asks the scheduler
#: then, while dialling goes on for the requests after it.
PATIENCE_S: Final = 0.3
#: How long an unreachable worker is not tried again. Nobody waits for it the next time.
UNREACHABLE_S: Final = 60.0
#: Unreachable workers that are remembered at most; the oldest are forgotten.
UNREACHABLE_MAX: Final = 4096
#: A worker that neither sends nor takes anything for so long while it owes us an answer is given up: it may be stopped or cut
#: off, and the scheduler will know before TCP does.
STALLED_S: Final = 15.0
#: Open links at most; the longest unused one is closed.
LINKS_MAX: Final = 128

logger = logging.getLogger("myscheduler.client")


class _Peer:
    """One worker: its link, and the requests it has not answered."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.link: Link | None = None
        self.open: dict[int, asyncio.Future[Message]] = {}
        self.closed = ""
        #: ours, if the worker seems to be there too
        self.place = ""
        #: whether it has not failed to read what we named
        self.reads_pipes = True

    def on_messages(self, link: Link, frame: Frame) -> None:
        """Answers."""
        for message in frame.messages:
            if message[0] not in (DATA, SHARED, STORED):
                link.close(f"op {message[0]} on a data link")
                return
            future = self.open.pop(message[1], None)
            if future is not None and not future.done():
                future.set_result(message)

    def on_closed(self, link: Link, reason: str) -> None:
        """No more answers will come."""
        self.closed = reason or "closed"
        for future in self.open.values():
            if not future.done():
                future.set_exception(
                    ConnectionFailedError(f"the connection to worker {self.address} was lost: {reason}")
                )
        self.open.clear()


class DataLinks:
    """The pool. Everything runs on the client's loop.

    Parameters
    ----------
    incarnation : str
        The client's.
    """

    def __init__(self, incarnation: str) -> None:
        self.credentials: Credentials | None = None
        self._incarnation = incarnation
        self._peers: dict[str, asyncio.Task[_Peer]] = {}  # by address, the longest unused first
        self._closing: list[asyncio.Task[_Peer]] = []
        self._unreachable: dict[str, float] = {}  # address -> loop time until which it is not tried
        self._reached_any = False
        self._next_request = 0
        self._outflows = Outflows()

    def is_reachable(self, address: str) -> bool:
        """Whether it is worth trying."""
        until = self._unreachable.get(address)
        return until is None or asyncio.get_running_loop().time() >= until

    async def put(self, address: str, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        """Have the worker at ``address`` keep rows (key, attempt, payload); returns the rows of its STORED.

        Raises
        ------
        ClusterError
            It cannot be reached, or went away before it answered.
        """
        peer = await self._reach(address)
        stored: tuple[Row, ...] = ()
        if peer.place and peer.reads_pipes:
            offered = tuple((key, attempt, self._offer(payload)) for key, attempt, payload in rows)
            if any(type(payload) is PipedBlob for _, _, payload in offered):
                stored = (await self._ask(peer, PUT_SHARED, offered, peer.place))[2]
                kept = {row[0] for row in stored}
                rows = tuple(row for row in rows if row[0] not in kept)
                if not rows:
                    return stored
                logger.info("worker %s does not read from pipes", address)
                peer.reads_pipes = False
        return (*stored, *(await self._ask(peer, PUT_DATA, rows))[2])

    def _offer(self, payload: Payload) -> Payload | PipedBlob:
        if not isinstance(payload, Blob) or payload.nbytes < SHARED_BYTES_MIN:
            return payload
        return self._outflows.start(payload) or payload

    async def fetch(self, address: str, rows: tuple[Row, ...], largest: int) -> tuple[Row, ...]:
        """What the worker at ``address`` has of these values.

        Parameters
        ----------
        address : str
            Of the worker.
        rows : tuple of (Key, int)
            Keys and attempts.
        largest : int
            Estimated bytes of the largest value.

        Returns
        -------
        tuple of (Key, bytes or Blob)
            Keys and payloads.

        Raises
        ------
        ClusterError
            It cannot be reached, or went away before it answered.
        """
        peer = await self._reach(address)
        if peer.place and largest >= SHARED_BYTES_MIN:
            answer = await self._ask(peer, GET_SHARED, rows, peer.place)
            try:
                return await fetch_rows(answer[2])
            except (OSError, ProtocolError) as error:
                logger.info("worker %s sends what it would share from now on: %s", address, error)
                peer.place = ""
        found: tuple[Row, ...] = (await self._ask(peer, GET_DATA, rows))[2]
        return found

    async def _ask(self, peer: _Peer, op: int, *fields: object) -> Message:
        assert peer.link is not None
        if peer.closed:
            raise ConnectionFailedError(f"the connection to worker {peer.address} was lost: {peer.closed}")
        self._next_request += 1
        request = self._next_request
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        peer.open[request] = future
        try:
            peer.link.send((op, request, *fields))
            return await self._answer(peer, peer.link, future)
        finally:
            peer.open.pop(request, None)

    async def _answer(self, peer: _Peer, link: Link, future: asyncio.Future[Message]) -> Message:
        """Wait for an answer as long as something moves."""
        loop = asyncio.get_running_loop()
        asked, sent = loop.time(), link.bytes_out
        while True:
            silent_since = max(asked, link.last_read)
            await asyncio.wait((future,), timeout=silent_since + STALLED_S - loop.time())
            if future.done():
                return future.result()
            if link.bytes_out != sent or len(self._outflows):  # these end by themselves if nothing moves
                asked, sent = loop.time(), link.bytes_out
            elif loop.time() - max(asked, link.last_read) >= STALLED_S:
                self._give_up(peer.address)
                link.close("stalled")
                raise ConnectionFailedError(f"worker {peer.address} sent nothing for {STALLED_S:g} s")

    def close(self, reason: str) -> None:
        """Close all links."""
        peers, self._peers = self._peers, {}
        self._closing += peers.values()
        for task in peers.values():
            _close_peer(task, reason)
        self._outflows.close()

    async def wait_closed(self) -> None:
        """Wait until nothing is left of the links that ``close`` has closed."""
        closing, self._closing = self._closing, []
        for peer in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(peer, _Peer) and peer.link is not None:
                await peer.link.wait_closed()

    async def _reach(self, address: str) -> _Peer:
        if not self.is_reachable(address):
            raise ConnectionFailedError(f"worker {address} could not be reached a moment ago")
        task = self._peers.pop(address, None)
        if task is None or (task.done() and (task.cancelled() or task.exception() or task.result().closed)):
            task = asyncio.create_task(self._dial(address))
            task.add_done_callback(lambda task: self._on_dialled(address, task))
        self._peers[address] = task  # at the end: most recently used
        self._trim()
        # Not awaited itself: several requests may share the attempt, and it outlives their patience.
        await asyncio.wait((task,), timeout=self._patience(address))
        if not task.done():
            self._give_up(address)
            raise ConnectionFailedError(f"worker {address} does not answer at once")
        try:
            return task.result()
        except UsageError as error:
            # An in-process worker of another loop, or an address of a later version: no fault of our caller.
            raise ConnectionFailedError(str(error)) from error

    def _patience(self, address: str) -> float:
        """None for a worker that disappointed us before, nor where we stand outside of the workers' network, it seems."""
        outside = self._unreachable and not self._reached_any
        return 0.0 if outside or address in self._unreachable else PATIENCE_S

    def _give_up(self, address: str) -> None:
        """Do not ask this worker for a while, unless a link to it comes up after all."""
        self._unreachable.pop(address, None)
        self._unreachable[address] = asyncio.get_running_loop().time() + UNREACHABLE_S
        if len(self._unreachable) > UNREACHABLE_MAX:
            del self._unreachable[next(iter(self._unreachable))]

    def _on_dialled(self, address: str, task: asyncio.Task[_Peer]) -> None:
        if task.cancelled():
            return
        if task.exception() is None:
            self._unreachable.pop(address, None)
            self._reached_any = True
        else:
            self._give_up(address)
            if self._peers.get(address) is task:
                del self._peers[address]

    async def _dial(self, address: str) -> _Peer:
        peer = _Peer(address)
        peer.link = await connect(
            address,
            credentials=self.credentials,
            role=Role.CLIENT,
            incarnation=self._incarnation,
            handler=peer,
            timeout=CONNECT_TIMEOUT_S,
            expected=Role.WORKER,
        )
        if config.get("shared-memory") and is_near(peer.link):
            peer.place = place()
        return peer

    def _trim(self) -> None:
        """Close the longest unused links that have nothing to answer."""
        if len(self._peers) <= LINKS_MAX:
            return
        for address, task in list(self._peers.items())[: len(self._peers) - LINKS_MAX]:
            if task.done() and not task.cancelled() and task.exception() is None and not task.result().open:
                del self._peers[address]
                _close_peer(task, "not used")


def _close_peer(task: asyncio.Task[_Peer], reason: str) -> None:
    if not task.done():
        task.cancel()
    elif not task.cancelled() and task.exception() is None:
        link = task.result().link
        if link is not None:
            link.close(reason)
