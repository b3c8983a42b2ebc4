"""Connecting over TCP: finding the peer, waiting for it to come up, proving ourselves."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import socket
from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeAlias

from ..base.credentials import Credentials
from ..base.errors import AuthenticationError, ConnectionFailedError, MySchedulerError
from ..base.limits import HANDSHAKE_TIMEOUT_S
from ..protocol.handshake import NONCE_BYTES, ClientHandshake
from ..protocol.messages import Role
from .addresses import Address
from .link import LinkHandler
from .tcp import TcpLink, configure

_RETRY_FIRST_S: Final = 0.02
_RETRY_LAST_S: Final = 0.5

_Target: TypeAlias = tuple[socket.AddressFamily, Any]


class NotYetError(Exception):
    """Trying again may help; the text says what went wrong."""


class UnreachableError(NotYetError):
    """No connection came about at all."""


class Channel:
    """A connection before the handshake: how its bytes travel. This one is plain."""

    link_type: ClassVar[type[TcpLink]] = TcpLink

    def __init__(self, sock: socket.socket, address: Address) -> None:
        self.sock = sock
        self.address = address

    async def secure(self) -> None:
        """Do what must come before the handshake."""

    async def receive(self, nbytes: int) -> bytes:
        """At most ``nbytes`` bytes; none if the peer has closed."""
        return await asyncio.get_running_loop().sock_recv(self.sock, nbytes)

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        await asyncio.get_running_loop().sock_sendall(self.sock, data)


async def connect(
    address: Address,
    *,
    credentials: Credentials | None,
    role: Role,
    incarnation: str,
    handler: LinkHandler,
    timeout: float,
    expected: Role,
    reach_timeout: float | None = None,
    channel: Callable[[socket.socket, Address], Channel] = Channel,
) -> TcpLink:
    """See ``transport.connect``."""
    if credentials is None:
        raise AuthenticationError(f"{address} only lets in who has credentials; give the scheduler file of its cluster")
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    wait, problem = _RETRY_FIRST_S, "no answer"
    connected: tuple[Channel, ClientHandshake] | None = None
    try:
        async with asyncio.timeout_at(deadline):
            while connected is None:
                try:
                    connected = await _dial(address, credentials, role, incarnation, channel, reach_timeout)
                except NotYetError as error:
                    problem = str(error)
                    if reach_timeout is not None and isinstance(error, UnreachableError):
                        raise ConnectionFailedError(f"{address} is gone: {problem}") from None
                    await asyncio.sleep(wait)
                    wait = min(1.5 * wait, _RETRY_LAST_S)
    except TimeoutError:
        raise ConnectionFailedError(
            f"cannot reach {address} within {timeout:g} s: {problem}. "
            "Is a scheduler running there? Start one with `myscheduler`."
        ) from None
    made, handshake = connected
    if handshake.peer_role is not expected:
        made.sock.close()
        raise ConnectionFailedError(
            f"what listens at {address.host_port} is a {handshake.peer_role}, not a {expected}; check the address"
        )
    link = made.link_type(loop, made.sock, incarnation, handshake.peer_role, handshake.peer_incarnation, str(address))
    link.attach(handler)
    link.start()
    return link


async def _dial(
    address: Address,
    credentials: Credentials,
    role: Role,
    incarnation: str,
    channel: Callable[[socket.socket, Address], Channel],
    reach_timeout: float | None,
) -> tuple[Channel, ClientHandshake]:
    problem = "the name has no address"
    kind: type[NotYetError] = UnreachableError
    for family, target in await _resolve(address):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            configure(sock)
            handshake = ClientHandshake(
                credentials, role, incarnation, address.host_port, secrets.token_bytes(NONCE_BYTES)
            )
            await _reach(sock, target, reach_timeout)
            kind = NotYetError
            made = channel(sock, address)
            sock = made.sock
            await _prove(made, handshake)
            return made, handshake
        except OSError as error:
            sock.close()
            if isinstance(error, MySchedulerError):
                raise
            # asyncio puts the address into strerror, and hides the reason.
            problem = _lower(os.strerror(error.errno) if error.errno else str(error))
        except BaseException:
            sock.close()
            raise
    raise kind(problem)


async def _reach(sock: socket.socket, target: object, timeout: float | None) -> None:
    try:
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().sock_connect(sock, target)  # type: ignore[arg-type]
    except TimeoutError as error:
        if error.errno is not None:  # the kernel's own
            raise
        raise OSError(errno.ETIMEDOUT, "no answer") from None
    if sock.getsockname() == sock.getpeername():  # TCP connected us to ourselves, since nobody listens there
        raise OSError(errno.ECONNREFUSED, "connected to itself")


async def _resolve(address: Address) -> list[_Target]:
    host = address.host or "127.0.0.1"
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return [(family, (host, address.port))]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise NotYetError(f"{host!r}: {_lower(error.strerror or str(error))}") from None
    return [(socket.AddressFamily(family), target) for family, _, _, _, target in found]


async def _prove(channel: Channel, handshake: ClientHandshake) -> None:
    address = channel.address
    try:
        async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
            await channel.secure()
            while not handshake.done:
                try:
                    data = await channel.receive(handshake.needed)
                except (ConnectionResetError, BrokenPipeError):
                    data = b""
                if not data:
                    error = handshake.closed_early()
                    raise error if isinstance(error, AuthenticationError) else NotYetError(str(error))
                await channel.send(handshake.receive(data))
    except TimeoutError:
        encrypted = f"it speaks TLS (then dial tls://{address.host_port}), " if address.scheme == "tcp" else ""
        raise NotYetError(
            f"what listens at {address.host_port} accepted the connection but did not introduce itself within "
            f"{HANDSHAKE_TIMEOUT_S:g} s: {encrypted}it is no myscheduler, or is stuck"
        ) from None


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
