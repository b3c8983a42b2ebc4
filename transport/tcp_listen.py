"""Listening over TCP: letting in who proves itself, and keeping strangers from costing much.

Until a peer has proved itself it costs one socket and one timer; no decoder exists for it, and it is answered with
nothing but the server's greeting. There are no asyncio tasks here: an arrival is a small object fed by the loop.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import secrets
import socket
from collections.abc import Callable, Collection
from typing import ClassVar, Final

from ..base.credentials import Credentials
from ..base.errors import ConnectionFailedError, MySchedulerError, UsageError
from ..base.limits import HANDSHAKE_TIMEOUT_S, UNAUTHENTICATED_MAX
from ..protocol.handshake import NONCE_BYTES, ServerHandshake, check_incarnation
from ..protocol.messages import Role
from .addresses import Address
from .link import Accept, Listener
from .tcp import TcpLink, address_of, configure

logger = logging.getLogger(__name__)

_BACKLOG: Final = 4096
#: While others wait at the door: who has said nothing for so long is dropped for them (a peer of ours answers at once), and who
#: has begun to speak, but has not proved itself, for so long.
_PATIENCE_SILENT_S: Final = 0.25
_PATIENCE_S: Final = 1.0
#: When there are no descriptors left.
_PAUSE_S: Final = 1.0
_LOG_INTERVAL_S: Final = 10.0
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_FULL: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class TcpListener(Listener):
    """A listening socket."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        address: str,
        *,
        credentials: Credentials,
        dialled: Collection[str] | None,
        incarnation: str,
        own_role: Role,
        accept: Accept,
    ) -> None:
        """Serve a bound socket; ``listen`` makes one."""
        super().__init__(address)
        self._loop = loop
        self._sock = sock
        self._credentials = credentials
        self._dialled = dialled
        self._incarnation = incarnation
        self._own_role = own_role
        self._accept = accept
        self._arrivals: dict[Arrival, None] = {}  # oldest first
        self._silent: dict[Arrival, None] = {}  # of those, who has not said anything yet
        # Descriptors are for those who have proved themselves.
        self._room = min(UNAUTHENTICATED_MAX, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
        self._resume: asyncio.TimerHandle | None = None
        self._logged_at = float("-inf")
        self.closed = False
        loop.add_reader(sock, self._on_acceptable)

    def close(self) -> None:
        """See ``Listener.close``."""
        if self.closed:
            return
        self.closed = True
        if self._resume is not None:
            self._resume.cancel()
        self._loop.remove_reader(self._sock)
        self._sock.close()
        for arrival in list(self._arrivals):
            arrival.drop()

    def _on_acceptable(self) -> None:
        while not self.closed:
            oldest = self._to_drop() if len(self._arrivals) >= self._room else None
            if oldest is not None and (patience := self._patience_with(oldest)) > 0:
                self._pause(patience)  # the others wait in the kernel's queue
                return
            try:
                sock, name = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                self._log(f"cannot accept connections on {self.address} for now: {error.strerror}")
                self._pause(_PAUSE_S)
                return
            if oldest is not None:
                oldest.hurry()
                if oldest in self._arrivals:
                    self.refuse(oldest, "it does not prove itself, and others wait")
            configure(sock)
            handshake = ServerHandshake(
                self._credentials,
                self._dialled,
                secrets.token_bytes(NONCE_BYTES),
                role=self._own_role,
                incarnation=self._incarnation,
            )
            try:
                arrival = self._arrive(sock, name, handshake)
            except OSError:  # gone again
                sock.close()
                continue
            self._arrivals[arrival] = self._silent[arrival] = None
            arrival.start()

    def _to_drop(self) -> Arrival:
        return next(iter(self._silent or self._arrivals))

    def _patience_with(self, arrival: Arrival) -> float:
        patience = _PATIENCE_SILENT_S if arrival in self._silent else _PATIENCE_S
        return arrival.arrived_at + patience - self._loop.time()

    def _arrive(self, sock: socket.socket, name: tuple[object, ...], handshake: ServerHandshake) -> Arrival:
        return Arrival(self, self._loop, sock, address_of(name), handshake)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._sock)
        if self._resume is None:
            self._resume = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        if self._resume is not None and not self.closed:
            self._resume.cancel()
            self._resume = None
            self._loop.add_reader(self._sock, self._on_acceptable)

    def leave(self, arrival: Arrival) -> None:
        """An arrival is none any more, one way or the other."""
        self._arrivals.pop(arrival, None)
        self._silent.pop(arrival, None)
        self._go_on()

    def heard(self, arrival: Arrival) -> None:
        """An arrival has begun to speak."""
        self._silent.pop(arrival, None)

    def refuse(self, arrival: Arrival, reason: str) -> None:
        """Close without a word to the peer; our own log says why."""
        self.refused += 1
        arrival.drop()
        self._log(
            f"refused a connection from {arrival.remote} to {self.address}: {reason} (the {self.refused}. in all)"
        )

    def admit(self, arrival: Arrival) -> None:
        """The peer has proved itself."""
        handshake = arrival.handshake
        role, peer = handshake.peer_role, handshake.peer_incarnation
        link = arrival.link_type(self._loop, arrival.sock, self._incarnation, role, peer, arrival.remote)
        try:
            link.attach(self._accept(link))
        except BaseException:
            link.abort("not accepted")
            raise
        if not link.closed:
            link.start()

    def _log(self, text: str) -> None:
        now = self._loop.time()
        if now - self._logged_at >= _LOG_INTERVAL_S:
            self._logged_at = now
            logger.warning("%s", text)


class Arrival:
    """A connection whose peer has not proved itself yet."""

    link_type: ClassVar[type[TcpLink]] = TcpLink

    def __init__(
        self,
        listener: TcpListener,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        remote: str,
        handshake: ServerHandshake,
    ) -> None:
        self.sock = sock
        self.remote = remote
        self.handshake = handshake
        self.arrived_at = loop.time()
        self._listener = listener
        self._loop = loop
        self._deadline = loop.call_later(
            HANDSHAKE_TIMEOUT_S, listener.refuse, self, f"no proof within {HANDSHAKE_TIMEOUT_S:g} s"
        )

    def start(self) -> None:
        """Begin the handshake."""
        self._loop.add_reader(self.sock, self._on_readable)
        self._send(self.handshake.start())

    def hurry(self) -> None:
        """The last chance: take what has arrived already. After a long turn of our loop it is late by our fault."""
        self._on_readable()

    def _on_readable(self) -> None:
        try:
            data = self.sock.recv(self.handshake.needed)
        except self.link_type.blocked:
            return
        except OSError:
            data = b""
        if not data:
            self._listener.refuse(self, "it left before it had proved itself")
            return
        self._listener.heard(self)
        try:
            answer = self.handshake.receive(data)
            if self.handshake.done:
                self.check()
        except MySchedulerError as error:
            self._listener.refuse(self, str(error))
            return
        if answer and self._send(answer):
            self._release()
            self._listener.admit(self)

    def check(self) -> None:
        """Refuse, by MySchedulerError, a peer that has proved itself but contradicts something else that is known."""

    def _send(self, data: bytes) -> bool:
        """All at once: the first few bytes of a connection always fit, unless the peer plays tricks."""
        try:
            if self.sock.send(data) == len(data):
                return True
        except OSError as error:
            self._listener.refuse(self, f"it cannot be answered: {error.strerror}")
            return False
        self._listener.refuse(self, "it takes no answer")
        return False

    def _release(self) -> None:
        """The loop has nothing to do with the socket any more."""
        self._deadline.cancel()
        self._loop.remove_reader(self.sock)
        self._listener.leave(self)

    def drop(self) -> None:
        """Close the connection."""
        self._release()
        self.sock.close()


async def listen(
    address: Address,
    *,
    credentials: Credentials | None,
    incarnation: str,
    own_role: Role,
    accept: Accept,
    sock: socket.socket | None = None,
    dialled: Collection[str] | None = None,
    serve: Callable[..., TcpListener] = TcpListener,
) -> TcpListener:
    """See ``transport.listen``."""
    if credentials is None:
        raise UsageError(f"{address} needs credentials to let anybody in; make some with Credentials.generate()")
    check_incarnation(incarnation)
    loop = asyncio.get_running_loop()
    sock = sock or await _bind(loop, address)
    try:
        sock.setblocking(False)
        sock.listen(_BACKLOG)
        bound = sock.getsockname()
        real = Address(address.scheme, address.host or bound[0], bound[1])
        if dialled is None and bound[0] in _LOOPBACK:
            hosts = dict.fromkeys((*_LOOPBACK, address.host or bound[0], bound[0]))
            dialled = tuple(Address(address.scheme, host, bound[1]).host_port for host in hosts)
        return serve(
            loop,
            sock,
            str(real),
            credentials=credentials,
            dialled=dialled,
            incarnation=incarnation,
            own_role=own_role,
            accept=accept,
        )
    except BaseException:
        sock.close()
        raise


async def _bind(loop: asyncio.AbstractEventLoop, address: Address) -> socket.socket:
    host = address.host or "0.0.0.0"  # noqa: S104 (what `tcp://:8786` means; peers have to prove themselves)
    try:
        found = await loop.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConnectionFailedError(f"cannot listen on {address}: {host!r}: {error.strerror}") from None
    family, kind, protocol, _, target = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(target)
    except OSError as error:
        sock.close()
        taken = error.errno == errno.EADDRINUSE
        advice = " Is a scheduler running there already? Choose another port, or 0 for any." if taken else ""
        raise ConnectionFailedError(f"cannot listen on {address}: {error.strerror}.{advice}") from None
    return sock
