"""Links between processes (``tcp://``, ``tls://``) and within one (``inproc://``); nothing above this knows which it has."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Collection

from ..base.credentials import Credentials
from ..base.errors import UsageError
from ..protocol.messages import Role
from . import addresses, inproc, tcp_connect, tcp_listen
from .link import Accept, Link, LinkHandler, Listener

__all__ = ["Link", "LinkHandler", "Listener", "connect", "listen"]


async def connect(
    address: str,
    *,
    credentials: Credentials | None,
    role: Role,
    incarnation: str,
    handler: LinkHandler,
    timeout: float = 10.0,
    expected: Role = Role.SCHEDULER,
    reach_timeout: float | None = None,
) -> Link:
    """Connect to a listener and prove ourselves.

    Parameters
    ----------
    address : str
        ``tcp://host:port``, ``tls://host:port`` or ``inproc://name``.
    credentials : Credentials, optional
        Must hold the secret of ``role``, and for ``tls://`` its certificate; only an in-process listener without any can be
        reached without.
    role : Role
        What we come as.
    incarnation : str
        Ours, 16 hexadecimal digits.
    handler : LinkHandler
        Is told what comes in.
    timeout : float
        Seconds to go on trying while nobody listens there yet.
    expected : Role
        What the listener must be: the scheduler, or a worker that serves data.
    reach_timeout : float, optional
        For a peer that listened already: if its machine refuses the connection, or does not take it within so many seconds,
        it is gone, and not tried again. Introducing itself may take as long as ``timeout``, for it may be busy.

    Returns
    -------
    Link
        Open, with the peer's proven role and incarnation.

    Raises
    ------
    ConnectionFailedError
        Nobody listens there, or it is no myscheduler, or not what was expected.
    AuthenticationError
        The secrets or certificates do not match or have expired, or the address belongs to another cluster.
    VersionMismatchError
        The peer speaks another version of the protocol.
    UsageError
        The address is none.
    """
    parsed = addresses.parse(address)
    if parsed.scheme == "inproc":
        return await inproc.connect(
            parsed,
            credentials=credentials,
            role=role,
            incarnation=incarnation,
            handler=handler,
            timeout=timeout if reach_timeout is None else 0.0,
        )
    dial: Callable[..., Awaitable[Link]] = tcp_connect.connect
    if parsed.scheme == "tls":
        from . import tls_connect

        dial = tls_connect.connect
    return await dial(
        parsed,
        credentials=credentials,
        role=role,
        incarnation=incarnation,
        handler=handler,
        timeout=timeout,
        expected=expected,
        reach_timeout=reach_timeout,
    )


async def listen(
    address: str,
    *,
    credentials: Credentials | None,
    incarnation: str,
    own_role: Role,
    accept: Accept,
    sock: socket.socket | None = None,
    dialled: Collection[str] | None = None,
) -> Listener:
    """Listen for peers that can prove themselves.

    Parameters
    ----------
    address : str
        ``tcp://host:port`` (port 0: any free one; no host: all interfaces), the same with ``tls``, or ``inproc://name``
        (no name: any).
    credentials : Credentials, optional
        Secrets of the roles that may come in, and for ``tls://`` the certificate of ``own_role``; only an in-process
        listener can do without.
    incarnation : str
        Ours, 16 hexadecimal digits.
    own_role : Role
        What peers see us as: scheduler or worker.
    accept : callable
        Is called with each new link and returns its handler.
    sock : socket, optional
        Bound already; the listener owns it from now on.
    dialled : collection of str, optional
        The only ``host:port`` under which peers may have dialled us. By default the names of the loopback interface
        for a listener there, and anything for other listeners, since names and translated addresses vary.

    Returns
    -------
    Listener
        With its real ``address``.

    Raises
    ------
    ConnectionFailedError
        The port is taken, or the host is not ours.
    UsageError
        The address is none, or credentials are missing.
    """
    parsed = addresses.parse(address)
    if parsed.scheme == "inproc":
        if sock is not None:
            raise UsageError(f"{address} takes no socket")
        return await inproc.listen(
            parsed, credentials=credentials, incarnation=incarnation, own_role=own_role, accept=accept
        )
    serve: Callable[..., Awaitable[Listener]] = tcp_listen.listen
    if parsed.scheme == "tls":
        from . import tls_listen

        serve = tls_listen.listen
    return await serve(
        parsed,
        credentials=credentials,
        incarnation=incarnation,
        own_role=own_role,
        accept=accept,
        sock=sock,
        dialled=dialled,
    )
