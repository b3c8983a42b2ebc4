"""Addresses as users write them: ``tcp://host:port``, ``tls://host:port`` and ``inproc://name``."""

from __future__ import annotations

from typing import Final, NamedTuple

from ..base.errors import UsageError

#: Where schedulers listen unless told otherwise.
DEFAULT_PORT: Final = 8786
SCHEMES: Final = ("tcp", "tls", "inproc")


class Address(NamedTuple):
    """A place to connect to or to listen on.

    Parameters
    ----------
    scheme : str
        ``"tcp"``, ``"tls"`` (TCP, encrypted) or ``"inproc"``.
    host : str
        Name or IP address without brackets; of ``inproc``, the name.
    port : int
        0 lets the system choose; of ``inproc``, always 0.
    """

    scheme: str
    host: str
    port: int

    @property
    def host_port(self) -> str:
        """The address without its scheme, as it is bound into the handshake."""
        if self.scheme == "inproc":
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host_port}"


def parse(text: str, default_port: int = DEFAULT_PORT) -> Address:
    """Take an address apart.

    Parameters
    ----------
    text : str
        ``tcp://host:port``, ``tcp://[::1]:port``, the same with ``tls``, ``inproc://name``; scheme (``tcp``) and port may be
        left out.
    default_port : int
        The port if there is none.

    Returns
    -------
    Address

    Raises
    ------
    UsageError
        It is no address; the text says what is wrong with it.

    Examples
    --------
    >>> parse("tcp://10.0.0.5:8786")
    Address(scheme='tcp', host='10.0.0.5', port=8786)
    >>> str(parse("localhost"))
    'tcp://localhost:8786'
    >>> parse("[::1]:0").host
    '::1'
    >>> parse("tcp://host:http")
    Traceback (most recent call last):
    ...
    myscheduler.base.errors.UsageError: 'tcp://host:http' is no address: 'http' is no port from 0 to 65535
    """
    if not isinstance(text, str):
        raise UsageError(f"an address is a string such as tcp://host:{DEFAULT_PORT}, not a {type(text).__name__}")
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = "tcp", scheme
    if scheme == "inproc":
        return Address(scheme, rest, 0)
    if scheme not in SCHEMES:
        raise UsageError(
            f"{text!r} has the unknown scheme {scheme!r}; write tcp://host:port, tls://host:port or inproc://name"
        )
    host, port = _split(text, rest.rstrip("/"), default_port)
    if any(character in "/@?# \0" or not character.isprintable() for character in host):
        raise UsageError(f"{text!r} is no address: {host!r} is no host; write {scheme}://host:port")
    return Address(scheme, host.lower(), port)


def _split(text: str, rest: str, default_port: int) -> tuple[str, int]:
    if rest.startswith("["):
        host, bracket, tail = rest[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise UsageError(f"{text!r} is no address: write tcp://[::1]:port for IPv6")
        port = tail[1:]
    elif rest.count(":") > 1:
        raise UsageError(f"{text!r} is no address: put an IPv6 host in brackets, tcp://[::1]:port")
    else:
        host, _, port = rest.partition(":")
    if not port:
        return host, default_port
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{text!r} is no address: {port!r} is no port from 0 to 65535")
    return host, int(port)
