"""Values between workers, and from and to clients: what we serve, and what we fetch.

Serving: one listener; each link is answered in order, one request at a time, and the next one only when the peer has
taken most of the last answer. Fetching: one link per peer, opened when first needed, closed when not used for a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from ...base.credentials import Credentials
from ...base.errors import ConnectionFailedError, MySchedulerError, ProtocolError, SerializationError
from ...base.keys import Key
from ...protocol.messages import DATA, GET_DATA, GET_SHARED, PUT_DATA, PUT_SHARED, SHARED, STORED, Message, Role, Row
from ...transport import Link, connect
from ...transport.shared import fetch_rows, is_near, place
from ...transport.stuck import StuckLinks
from ..events import NOT_HELD, Event, Fetch, FetchEnded, FetchFailed, FetchStalled, Stored
from ..fetching import REACH_TIMEOUT_S, SLOW_S, STALLED_S
from ..store import Store
from .calls import type_name
from .packing import Packer, failure

if TYPE_CHECKING:
    from ...protocol.codec import Frame

#: Links not used for this long are closed.
IDLE_S: Final = 60.0

logger = logging.getLogger(__name__)

Handle = Callable[[Event], None]


# ---- serving --------------------------------------------------------------------------------------------------------


class Server:
    """Answers GET_DATA, GET_SHARED, PUT_DATA and PUT_SHARED.

    Parameters
    ----------
    store : Store
        Where the values are.
    packer : Packer
        Pickles and unpickles them.
    handle : callable
        Tells the machine of data that clients placed here.
    """

    def __init__(self, store: Store, packer: Packer, handle: Handle) -> None:
        self.store = store
        self.packer = packer
        self.handle = handle
        self._links: dict[Link, None] = {}
        self._stuck = StuckLinks()
        self.bytes_in = 0
        self.bytes_out = 0

    def accept(self, link: Link) -> _Served:
        """A client or another worker has connected."""
        self._links[link] = None
        return _Served(self)

    def left(self, link: Link) -> None:
        """It has gone."""
        self._links.pop(link, None)
        self.bytes_in += link.bytes_in
        self.bytes_out += link.bytes_out

    def sweep(self) -> None:
        """Disconnect who stopped reading; call now and then."""
        self._stuck.look(asyncio.get_running_loop().time(), self._links)

    def traffic(self) -> tuple[int, int]:
        """Bytes received and sent since the start."""
        return (
            self.bytes_in + sum(link.bytes_in for link in self._links),
            self.bytes_out + sum(link.bytes_out for link in self._links),
        )

    def close(self, reason: str) -> None:
        """Close all links."""
        for link in list(self._links):
            link.close(reason)


class _Served:
    """One link to a client or worker that asks us for data."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._requests: deque[Message] = deque()
        self._task: asyncio.Task[None] | None = None

    def on_messages(self, link: Link, frame: Frame) -> None:
        """Requests."""
        for message in frame.messages:
            if message[0] not in (GET_DATA, GET_SHARED, PUT_DATA, PUT_SHARED):
                link.close(f"op {message[0]} means nothing on a data link")
                return
        self._requests += frame.messages
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._answer(link))

    def on_closed(self, link: Link, reason: str) -> None:
        """Nobody waits for the answers."""
        self._requests.clear()
        self._server.left(link)

    async def _answer(self, link: Link) -> None:
        try:
            while self._requests:
                message = self._requests.popleft()
                if message[0] == PUT_DATA:
                    link.send((STORED, message[1], await self._store(message[2])))
                elif message[0] == PUT_SHARED:
                    rows = await self._read(message[2], message[3])
                    link.send((STORED, message[1], await self._store(rows)))
                    del rows
                else:
                    asker_place = message[3] if message[0] == GET_SHARED else ""
                    packed = await self._server.packer.pack(self._server.store, message[2], asker_place)
                    op = SHARED if message[0] == GET_SHARED else DATA
                    link.send((op, message[1], packed.rows, packed.missing))
                    del packed
                del message
                await link.drain()
        except MySchedulerError as error:  # an answer that cannot be sent
            link.close(str(error))
        finally:
            self._task = None

    async def _read(self, rows: tuple[Row, ...], client_place: str) -> tuple[Row, ...]:
        """Get what a client names instead of sending it; nothing if it cannot be had that way."""
        sharing = self._server.packer.sharing
        if sharing is None or not client_place or client_place != sharing.place:
            return ()
        try:
            found = await fetch_rows((key, payload) for key, _, payload in rows)
        except (OSError, ProtocolError) as error:
            logger.info("a client sends what it would share from now on: %s", error)
            return ()
        return tuple((key, row[1], payload) for row, (key, payload) in zip(rows, found, strict=True))

    async def _store(self, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        """Keep what a client sent; what cannot be unpickled is left out of the answer."""
        server = self._server
        attempts = {key: attempt for key, attempt, _ in rows}
        unpacked = await server.packer.unpack((key, payload) for key, _, payload in rows)
        stored: list[tuple[Key, int, int]] = []
        answer: list[Row] = []
        for key, value, nbytes in unpacked.values:
            server.store.put(key, attempts[key], value, nbytes)
            stored.append((key, attempts[key], nbytes))
            answer.append((key, attempts[key], nbytes, type_name(type(value))))
        server.handle(Stored(stored))
        return tuple(answer)


# ---- fetching -------------------------------------------------------------------------------------------------------


class Fetcher:
    """Performs ``Fetch`` instructions.

    Parameters
    ----------
    store : Store
        Where values go.
    packer : Packer
        Unpickles them.
    handle : callable
        Told ``FetchEnded`` or ``FetchFailed`` for every fetch.
    credentials : Credentials, optional
        With the workers' secret; None for ``inproc://``.
    incarnation : str
        The worker's.
    """

    def __init__(
        self, store: Store, packer: Packer, handle: Handle, credentials: Credentials | None, incarnation: str
    ) -> None:
        self._store = store
        self._packer = packer
        self._handle = handle
        self._credentials = credentials
        self._incarnation = incarnation
        self._peers: dict[str, _Peer] = {}
        self._tasks: dict[asyncio.Task[None], None] = {}
        self.bytes_in = 0
        self.bytes_out = 0

    def start(self, fetch: Fetch) -> None:
        """Perform one instruction."""
        task = asyncio.get_running_loop().create_task(self._fetch(fetch))
        self._tasks[task] = None
        task.add_done_callback(partial(self._ended, fetch))

    def _ended(self, fetch: Fetch, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        error = None if task.cancelled() else task.exception()
        if error is not None:  # a bug of ours; but the machine waits for an answer
            logger.error("fetching from worker %s failed", fetch.address, exc_info=error)
            self._handle(FetchFailed(fetch.address, fetch.request))

    def sweep(self) -> None:
        """Look after peers that keep us waiting, and close links that are not used; call now and then."""
        now = asyncio.get_running_loop().time()
        for address, peer in list(self._peers.items()):
            link = peer.link
            if link is None or peer.answer is not None:
                self._look_after(address, peer, now)
            elif now - peer.asked_at > IDLE_S:
                link.close("not used")
            if link is not None and link.closed:
                self._forget(address, peer)

    def _look_after(self, address: str, peer: _Peer, now: float) -> None:
        link = peer.link
        silence = now - (peer.asked_at if link is None else max(link.last_read, peer.asked_at))
        if silence < SLOW_S:
            return
        if not peer.is_slow:
            peer.is_slow = True
            self._handle(FetchStalled(address, peer.request))
        if link is None:
            return  # to be dialled has a limit of its own
        if silence > STALLED_S:
            peer.give_up(f"no byte came for {STALLED_S:g} s")
        elif link.machine_silence() > SLOW_S:
            peer.give_up(f"its machine has been silent for {SLOW_S:g} s")

    def traffic(self) -> tuple[int, int]:
        """Bytes received and sent since the start."""
        links = [peer.link for peer in self._peers.values() if peer.link is not None]
        return (
            self.bytes_in + sum(link.bytes_in for link in links),
            self.bytes_out + sum(link.bytes_out for link in links),
        )

    def close(self, reason: str) -> None:
        """Give up all fetches and close all links."""
        for task in self._tasks:
            task.cancel()
        for address, peer in list(self._peers.items()):
            self._forget(address, peer)
            if peer.link is not None:
                peer.link.close(reason)

    async def _fetch(self, fetch: Fetch) -> None:
        try:
            try:
                rows, missing = await self._ask(fetch)
            except _BrokenLinkError as error:
                # It says nothing of the peer, whose data would be lost for nothing; whether it is still there, dialling tells.
                logger.info("asking worker %s again: %s", fetch.address, error)
                rows, missing = await self._ask(fetch)
        except (MySchedulerError, OSError) as error:
            logger.info("cannot fetch %d values from worker %s: %s", len(fetch.rows), fetch.address, error)
            self._handle(FetchFailed(fetch.address, fetch.request))
            return
        unpacked = await self._packer.unpack(rows)
        del rows
        attempts = dict(fetch.rows)
        got: list[tuple[Key, int, int]] = []
        for key, value, nbytes in unpacked.values:
            if key in attempts:
                self._store.put(key, attempts[key], value, nbytes)
                got.append((key, attempts[key], nbytes))
        failures = list(unpacked.failures)
        del unpacked
        for key, reason in missing:
            if reason != NOT_HELD:
                failures.append(failure(key, SerializationError(f"{reason} (it is an input, held by {fetch.address})")))
        absent = [key for key, reason in missing if reason == NOT_HELD]
        self._handle(FetchEnded(fetch.address, fetch.request, got, absent, failures))

    async def _ask(self, fetch: Fetch) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
        """The rows and the missing of the answer."""
        peer = self._peers.get(fetch.address)
        if peer is None or peer.link is None or peer.link.closed:
            peer = await self._dial(fetch)
        if not peer.place:
            return await peer.ask((GET_DATA, fetch.request, fetch.rows))
        rows, missing = await peer.ask((GET_SHARED, fetch.request, fetch.rows, peer.place))
        try:
            return await fetch_rows(rows), missing
        except (OSError, ProtocolError) as error:
            logger.info("worker %s sends what it would share from now on: %s", fetch.address, error)
            peer.place = ""
            return await peer.ask((GET_DATA, fetch.request, fetch.rows))

    async def _dial(self, fetch: Fetch) -> _Peer:
        replaced = self._peers.get(fetch.address)
        if replaced is not None:
            self._forget(fetch.address, replaced)
        peer = self._peers[fetch.address] = _Peer()
        peer.expect(fetch.request)
        try:
            peer.link = await connect(
                fetch.address,
                credentials=self._credentials,
                role=Role.WORKER,
                incarnation=self._incarnation,
                handler=peer,
                timeout=STALLED_S,
                expected=Role.WORKER,
                reach_timeout=REACH_TIMEOUT_S,
            )
        finally:
            if peer.link is None:
                self._forget(fetch.address, peer)
        peer.place = place() if self._packer.sharing is not None and is_near(peer.link) else ""
        return peer

    def _forget(self, address: str, peer: _Peer) -> None:
        if self._peers.get(address) is peer:
            del self._peers[address]
        if peer.link is not None:
            self.bytes_in += peer.link.bytes_in
            self.bytes_out += peer.link.bytes_out


class _BrokenLinkError(ConnectionFailedError):
    """A link broke before the answer had come."""


class _Peer:
    """A worker that we fetch from."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self.answer: asyncio.Future[Message] | None = None
        #: the request under way, or the last one; since when; and whether others were asked instead
        self.request = 0
        self.asked_at = 0.0
        self.is_slow = False
        #: ours, if the peer seems to be there too
        self.place = ""

    def expect(self, request: int) -> None:
        """The time that it takes to answer this begins."""
        self.request = request
        self.asked_at = asyncio.get_running_loop().time()
        self.is_slow = False

    async def ask(self, request: Message) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
        """The rows and the missing of the answer. The machine has one request per address under way, so have we."""
        assert self.link is not None
        if self.link.closed:
            raise _BrokenLinkError(f"the link to worker {self.link.remote} was lost")
        self.answer = asyncio.get_running_loop().create_future()
        self.expect(request[1])
        self.link.send(request)
        try:
            message = await self.answer
        finally:
            self.answer = None
        if message[1] != request[1]:
            self.link.close("it answered another request")
            raise ConnectionFailedError(f"worker {self.link.remote} answered another request")
        return message[2], message[3]

    def on_messages(self, link: Link, frame: Frame) -> None:
        """Answers."""
        for message in frame.messages:
            if message[0] not in (DATA, SHARED) or self.answer is None:
                link.close(f"op {message[0]} was not asked for")
            elif not self.answer.done():
                self.answer.set_result(message)

    def on_closed(self, link: Link, reason: str) -> None:
        """No answer will come."""
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(_BrokenLinkError(f"the link to worker {link.remote} was lost: {reason}"))

    def give_up(self, reason: str) -> None:
        """Wait no longer for the answer."""
        assert self.link is not None
        assert self.answer is not None
        if not self.answer.done():
            self.answer.set_exception(ConnectionFailedError(f"gave up worker {self.link.remote}: {reason}"))
        self.link.close(reason)
