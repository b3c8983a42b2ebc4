"""TLS 1.3 with certificates on both sides: contexts, links, and what its failures mean.

The same sockets, frames and handshake as over plain TCP, inside an encrypted stream. There is no farewell on the TLS level:
frames have lengths and GOODBYE is said in them, so a connection that was cut is never taken for one that ended.
"""

from __future__ import annotations

import errno
import functools
import os
import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final, cast

from ..base.certificates import RENEW, Leaf
from ..base.credentials import Credentials
from ..base.errors import AuthenticationError
from ..base.limits import KIB, MIB
from ..protocol.messages import Role
from .tcp import READ_BYTES_PER_TURN, TcpLink

#: What one TLS record holds; less would cost as many calls, keys and system calls.
_RECORD_BYTES: Final = 16 * KIB
#: Encrypting takes the time of the loop, so others get their turn earlier than with plain TCP.
_WRITE_BYTES_PER_TURN: Final = 2 * MIB
#: What a socket raises when it has to wait for the peer.
BLOCKED: Final = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError, InterruptedError)


def make_context(credentials: Credentials, role: Role, *, server: bool) -> ssl.SSLContext:
    """A context that shows the certificate of ``role`` and asks the peer for one of the same cluster.

    Parameters
    ----------
    credentials : Credentials
        With the certificate of ``role``.
    role : Role
        What we are.
    server : bool
        Whether peers connect to us.

    Raises
    ------
    AuthenticationError
        There is no such certificate, or it has expired.
    """
    certificates = credentials.certificates
    leaf = None if certificates is None else certificates.leaves.get(role)
    if certificates is None or leaf is None:
        raise AuthenticationError(
            f"these credentials hold no certificate for {role}s, which tls:// addresses ask for; use the scheduler file "
            "that `myscheduler` has written since it listens there, or make one with `myscheduler --write-credentials FILE`"
        )
    if certificates.remaining <= 0:
        raise AuthenticationError(f"the certificates of this cluster expired at {certificates.expiry}: {RENEW}")
    return _context(certificates.authority, leaf, server)


@functools.lru_cache(maxsize=8)  # as costly as a handshake, and a worker connects to all the others
def _context(authority: str, leaf: Leaf, server: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if server:
        context.num_tickets = 0  # connections are few and long: nothing to resume
    try:
        context.load_verify_locations(cadata=authority)
        with _named(f"{leaf.certificate}{leaf.key}".encode()) as path:
            context.load_cert_chain(path)
    except ssl.SSLError:
        # Without the cause: its text could quote a key.
        raise AuthenticationError(f"the certificates in these credentials are damaged; {RENEW}") from None
    return context


@contextmanager
def _named(content: bytes) -> Iterator[str]:
    """A path with this content for a library that takes nothing else; in memory only, where the system has that."""
    if hasattr(os, "memfd_create"):
        with open(os.memfd_create("myscheduler-certificate"), "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile() as file:  # mode 0600, gone in a moment
            file.write(content)
            file.flush()
            yield file.name


class _Socket(ssl.SSLSocket):
    """Closed if its connection turns out to be reset while it is made: nobody else has it yet who could close it."""

    is_made = False

    def getpeername(self) -> Any:
        try:
            return super().getpeername()
        except OSError:
            if self.is_made:  # somebody has it; even its repr asks for the peer's name
                raise
            self.close()
            # Not ENOTCONN: for that, an unconnected socket would be made.
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)) from None


def wrap(context: ssl.SSLContext, sock: socket.socket, **options: Any) -> ssl.SSLSocket:
    """Put TLS around a connection, without a handshake yet; ``sock`` itself is of no more use.

    Raises
    ------
    OSError
        It has been reset already.
    """
    context.sslsocket_class = _Socket
    wrapped = cast("_Socket", context.wrap_socket(sock, do_handshake_on_connect=False, **options))
    wrapped.is_made = True
    return wrapped


class TlsLink(TcpLink):
    """A link over an encrypted connection on which both handshakes are done."""

    scheme: ClassVar[str] = "tls"
    blocked: ClassVar[tuple[type[OSError], ...]] = BLOCKED
    _sock: ssl.SSLSocket

    def _write_some(self) -> None:
        """One record at a time: OpenSSL takes no more, and no lists of buffers."""
        queue, sock, written = self._queue, self._sock, 0
        while queue and written < _WRITE_BYTES_PER_TURN:
            if len(queue) > 1 and queue[0].nbytes < _RECORD_BYTES:
                self._join_small()
            try:
                # After a refusal the same bytes must be offered again; more of them may follow.
                count = sock.send(queue[0])
            except self.blocked:
                return
            written += count
            self._written(count)

    def _join_small(self) -> None:
        """Make the first of the queue as long as a record, from those behind it."""
        queue, parts, room = self._queue, [], _RECORD_BYTES
        while queue and room:
            first = queue.popleft()
            if first.nbytes > room:
                queue.appendleft(first[room:])
                first = first[:room]
            parts.append(first)
            room -= first.nbytes
        queue.appendleft(memoryview(b"".join(parts)))

    def start(self) -> None:
        """See ``TcpLink.start``."""
        super().start()
        self._read_on()

    def _on_readable(self) -> None:
        super()._on_readable()
        self._read_on()

    def _read_on(self) -> None:
        """Nothing will report bytes that OpenSSL holds already: they have left the socket."""
        if not self.closed and self._sock.pending():
            self._loop.call_soon(self._read_pending)

    def _read_pending(self) -> None:
        if not self.closed:
            self._on_readable()

    def _receive(self, buffers: list[memoryview]) -> int:
        filled = 0
        for buffer in buffers:
            view = buffer[: READ_BYTES_PER_TURN - filled]
            while view:
                try:
                    count = self._sock.recv_into(view)
                except OSError:
                    if not filled:
                        raise
                    return filled  # nothing more for now; if it is worse than that, the next call says so
                if not count:
                    return filled
                filled += count
                view = view[count:]
        return filled


def explain(error: ssl.SSLError) -> str:
    """What a failed TLS handshake means, for humans."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return str(error.reason or error.strerror or error).replace("_", " ").lower()
