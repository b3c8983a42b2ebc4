"""Listening sockets, bound before the process that will serve them exists, so that its address is known at once."""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import socket
import struct
from typing import Final

from ..base.errors import ClusterError, ConnectionFailedError, UsageError

#: Where the scheduler and the dashboard listen unless told otherwise.
SCHEDULER_PORT: Final = 8786
DASHBOARD_PORT: Final = 8787
#: How many ports after the wished one are tried for the dashboard, before any free one is taken.
DASHBOARD_PORTS_TRIED: Final = 10

_BACKLOG: Final = 1024
#: An address that is nobody's (RFC 5737), so the way to it is the way out.
_ELSEWHERE: Final = "198.51.100.1"
#: Linux: ask for the address of an interface.
_SIOCGIFADDR: Final = 0x8915


class PortInUseError(ClusterError):
    """Somebody else listens where we were told to."""


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen; connections wait in the kernel until somebody accepts them.

    Parameters
    ----------
    host : str
        An address or a name of this machine.
    port : int
        0 for any free one.

    Raises
    ------
    PortInUseError
        The port is taken.
    UsageError
        ``host`` is no address of this machine, or the port may not be bound.
    """
    if not 0 <= port < 65536:
        raise UsageError(f"{port} is no port; ports are 0 (any free one) to 65535")
    try:
        family, kind, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UsageError(f"cannot listen on {host!r}: no such address ({error})") from None
    sock = socket.socket(family, kind)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(target)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"port {port} on {host} is taken by another process (`ss -ltnp 'sport = :{port}'` names it)"
            ) from None
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    sock.setblocking(False)
    return sock


def listen_for_dashboard(host: str, port: int) -> tuple[socket.socket, str | None]:
    """Like ``listen``, but a taken port is no error: the next free one will do.

    Returns
    -------
    tuple of socket and str or None
        The text says, if so, that another port was taken than asked for.
    """
    candidates = [port, *range(port + 1, min(port + 1 + DASHBOARD_PORTS_TRIED, 65536)), 0] if port else [0]
    for candidate in candidates:
        try:
            sock = listen(host, candidate)
        except PortInUseError:
            continue
        taken = None if candidate == port else f"port {port} is taken; the dashboard is on {sock.getsockname()[1]}"
        return sock, taken
    raise PortInUseError(f"no free port on {host} for the dashboard")


def parse_dashboard_address(text: str) -> tuple[str, int]:
    """Host and port of ``":8787"``, ``"8787"``, ``"host"`` or ``"host:port"``; without a host, only this machine.

    Examples
    --------
    >>> parse_dashboard_address(":8787")
    ('127.0.0.1', 8787)
    >>> parse_dashboard_address("[::1]:0")
    ('::1', 0)
    """
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = ("", text) if text.isdigit() else (text, "")
    if port and not port.isdigit():
        raise UsageError(f"dashboard address {text!r}: {port!r} is no port; write it as ':8787' or 'host:8787'")
    return host.strip("[]") or "127.0.0.1", int(port) if port else DASHBOARD_PORT


def address_of(sock: socket.socket, host: str | None = None, scheme: str = "tcp") -> str:
    """The address of a listening socket; ``host`` to name another host than the bound one."""
    bound = sock.getsockname()
    return f"{scheme}://{bracketed(host or bound[0])}:{bound[1]}"


def bracketed(host: str) -> str:
    """An IPv6 address as it is written in front of a port."""
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``.

    Examples
    --------
    >>> [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "", "10.0.0.1")]
    [True, True, True, False, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_wildcard(host: str) -> bool:
    """Whether ``host`` means all interfaces of this machine."""
    return host in ("", "0.0.0.0", "::")  # noqa: S104  # compared, not bound


def interface_address(name: str) -> str:
    """The IPv4 address of a network interface.

    Raises
    ------
    UsageError
        There is no such interface, or it has no address.

    Examples
    --------
    >>> interface_address("lo")
    '127.0.0.1'
    """
    known = ", ".join(interface for _, interface in socket.if_nameindex())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("256s", name.encode()[:15])
        try:
            answer = fcntl.ioctl(sock.fileno(), _SIOCGIFADDR, request)
        except OSError as error:
            raise UsageError(
                f"network interface {name!r} has no IPv4 address ({error.strerror}); interfaces here: {known}"
            ) from None
    return socket.inet_ntoa(answer[20:24])


def address_towards(host: str, port: int) -> str:
    """The address of this machine from which ``host`` is reached; nothing is sent.

    Raises
    ------
    UsageError
        ``host`` cannot be resolved, or there is no route to it.

    Examples
    --------
    >>> address_towards("127.0.0.1", 8786)
    '127.0.0.1'
    """
    try:
        family, kind, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as sock:
            sock.connect(target)
            return str(sock.getsockname()[0])
    except OSError as error:
        raise ConnectionFailedError(f"cannot reach the scheduler's host {host}: {error}") from None


def outward_address() -> str:
    """The address of this machine that other machines most likely reach; nothing is sent. Its name if there is no route."""
    try:
        return address_towards(_ELSEWHERE, SCHEDULER_PORT)
    except ConnectionFailedError:
        return socket.gethostname()


def host_and_port(address: str) -> tuple[str, int]:
    """Host and port of a ``tcp://`` or ``tls://`` address.

    Examples
    --------
    >>> host_and_port("tcp://[::1]:8786"), host_and_port("node7")
    (('::1', 8786), ('node7', 8786))
    """
    rest = address.partition("://")[2] if "://" in address else address
    host, colon, port = rest.rpartition(":")
    if not colon or rest.endswith("]"):
        host, port = rest, str(SCHEDULER_PORT)
    if not port.isdigit():
        raise UsageError(f"address {address!r}: {port!r} is no port; write it as tcp://host:port")
    return host.strip("[]"), int(port)
