"""Connecting over TCP: finding the peer, waiting for it to come up, proving ourselves."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from typing import Any, Final, TypeAlias

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


class _NotYetError(Exception):
    """Trying again may help; the text says what went wrong."""


async def connect(
    address: Address,
    *,
    credentials: Credentials | None,
    role: Role,
    incarnation: str,
    handler: LinkHandler,
    timeout: float,
) -> TcpLink:
    """See ``transport.connect``."""
    if credentials is None:
        raise AuthenticationError(f"{address} only lets in who has credentials; give the scheduler file of its cluster")
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    wait, problem = _RETRY_FIRST_S, "no answer"
    connected: tuple[socket.socket, ClientHandshake] | None = None
    try:
        async with asyncio.timeout_at(deadline):
            while connected is None:
                try:
                    connected = await _dial(address, credentials, role, incarnation)
                except _NotYetError as error:
                    problem = str(error)
                    await asyncio.sleep(wait)
                    wait = min(1.5 * wait, _RETRY_LAST_S)
    except TimeoutError:
        raise ConnectionFailedError(
            f"cannot reach {address} within {timeout:g} s: {problem}. "
            "Is a scheduler running there? Start one with `myscheduler`."
        ) from None
    sock, handshake = connected
    link = TcpLink(loop, sock, incarnation, handshake.peer_role, handshake.peer_incarnation, str(address))
    link.attach(handler)
    link.start()
    return link


async def _dial(
    address: Address, credentials: Credentials, role: Role, incarnation: str
) -> tuple[socket.socket, ClientHandshake]:
    problem = "the name has no address"
    for family, target in await _resolve(address):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            configure(sock)
            handshake = ClientHandshake(
                credentials, role, incarnation, address.host_port, secrets.token_bytes(NONCE_BYTES)
            )
            await asyncio.get_running_loop().sock_connect(sock, target)
            if sock.getsockname() == sock.getpeername():
                raise _NotYetError("connection refused")  # TCP connected us to ourselves, since nobody listens there
            await _prove(sock, handshake, address)
            return sock, handshake
        except OSError as error:
            sock.close()
            if isinstance(error, MySchedulerError):
                raise
            # asyncio puts the address into strerror, and hides the reason.
            problem = _lower(os.strerror(error.errno) if error.errno else str(error))
        except BaseException:
            sock.close()
            raise
    raise _NotYetError(problem)


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
        raise _NotYetError(f"{host!r}: {_lower(error.strerror or str(error))}") from None
    return [(socket.AddressFamily(family), target) for family, _, _, _, target in found]


async def _prove(sock: socket.socket, handshake: ClientHandshake, address: Address) -> None:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
            while not handshake.done:
                try:
                    data = await loop.sock_recv(sock, handshake.needed)
                except (ConnectionResetError, BrokenPipeError):
                    data = b""
                if not data:
                    error = handshake.closed_early()
                    raise error if isinstance(error, AuthenticationError) else _NotYetError(str(error))
                await loop.sock_sendall(sock, handshake.receive(data))
    except TimeoutError:
        raise _NotYetError(
            f"what listens at {address.host_port} accepted the connection but did not introduce itself within "
            f"{HANDSHAKE_TIMEOUT_S:g} s: it is no myscheduler, or is stuck"
        ) from None


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
