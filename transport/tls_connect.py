"""Connecting over TLS: who answers must show the certificate of the role that we look for."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Final, TypeVar

from ..base.certificates import RENEW, name_of
from ..base.credentials import Credentials
from ..base.errors import AuthenticationError, ConnectionFailedError, MySchedulerError
from ..protocol.messages import Role
from . import tcp_connect
from .addresses import Address
from .tcp import TcpLink
from .tcp_connect import Channel, NotYetError
from .tls import TlsLink, explain, make_context, wrap

T = TypeVar("T")

#: Of X509_V_ERR_*: what OpenSSL finds wrong with a certificate.
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_OTHER_NAME: Final = 62
_OTHER_PURPOSE: Final = 26
#: Alerts by which a server tells that it does not take our certificate.
_REFUSALS: Final = ("UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN", "DECRYPT_ERROR", "CERTIFICATE_REQUIRED")
#: What a peer that closes the connection comes to; which of them depends on how far OpenSSL has read.
_ENDED: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
#: Who speaks anything but TLS, or an old one.
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNSUPPORTED_PROTOCOL", "PROTOCOL_VERSION")


class TlsChannel(Channel):
    """A connection that is encrypted first."""

    link_type: ClassVar[type[TcpLink]] = TlsLink
    sock: ssl.SSLSocket

    def __init__(
        self, sock: socket.socket, address: Address, *, context: ssl.SSLContext, cluster: str, expected: Role
    ) -> None:
        name = name_of(expected, cluster)
        super().__init__(wrap(context, sock, server_hostname=name), address)
        self._cluster = cluster
        self._expected = expected

    async def secure(self) -> None:
        """Check the server's certificate and show ours."""
        try:
            await self._until_done(self.sock.do_handshake)
        except _ENDED:
            raise NotYetError("it closed the connection during the TLS handshake") from None

    async def receive(self, nbytes: int) -> bytes:
        """See ``Channel.receive``; the server's opinion of our certificate comes here as well."""
        return await self._until_done(partial(self.sock.recv, nbytes))

    async def send(self, data: bytes) -> None:
        """See ``Channel.send``."""
        while data:
            data = data[await self._until_done(partial(self.sock.send, data)) :]

    async def _until_done(self, operation: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        while True:
            ready: asyncio.Future[None] = loop.create_future()
            try:
                return operation()
            except ssl.SSLWantReadError:
                loop.add_reader(self.sock, _set, ready)
            except ssl.SSLWantWriteError:
                loop.add_writer(self.sock, _set, ready)
            except _ENDED:
                raise
            except ssl.SSLError as error:
                raise self._meaning(error) from None
            try:
                await ready
            finally:
                loop.remove_reader(self.sock)
                loop.remove_writer(self.sock)

    def _meaning(self, error: ssl.SSLError) -> MySchedulerError:
        place = self.address.host_port
        if isinstance(error, ssl.SSLCertVerificationError):
            return AuthenticationError(f"{self._objection(error.verify_code, error)}; nothing was sent to it")
        reason = error.reason or ""
        if "CERTIFICATE_EXPIRED" in reason:
            return AuthenticationError(f"{place} says that our certificate has expired: {RENEW}")
        if any(refusal in reason for refusal in _REFUSALS):
            return AuthenticationError(
                f"{place} does not take our certificate: it belongs to another cluster, or its certificates were renewed. "
                "Use the scheduler file that was written when `myscheduler` started there"
            )
        if any(sign in reason for sign in _NO_TLS):
            return ConnectionFailedError(
                f"what answers at {place} does not speak TLS. If it is a scheduler that listens on 127.0.0.1, or was "
                f"started with --insecure-plaintext, dial tcp://{place}; else check the port: schedulers listen on 8786 "
                "unless told otherwise"
            )
        return ConnectionFailedError(f"no TLS connection to {place}: {explain(error)}")

    def _objection(self, code: int, error: ssl.SSLCertVerificationError) -> str:
        place = self.address.host_port
        if code == _EXPIRED:
            return f"the certificate of {place} has expired: {RENEW}"
        if code == _NOT_YET_VALID:
            return f"the certificate of {place} is not valid yet: the clock there or here is wrong by more than a day"
        if code in (_OTHER_NAME, _OTHER_PURPOSE):
            return f"what answers at {place} has a certificate, but not that of a {self._expected} of our cluster"
        return (
            f"the certificate of {place} is not from the authority that our credentials name ({error.verify_message}): "
            f"it belongs to another cluster than {self._cluster}, or its certificates were renewed, or it is an impostor. "
            "Use the scheduler file that was written when `myscheduler` started there"
        )


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def connect(
    address: Address, *, credentials: Credentials | None, role: Role, expected: Role, **options: Any
) -> TcpLink:
    """See ``transport.connect``."""
    if credentials is None:
        raise AuthenticationError(f"{address} only lets in who has credentials; give the scheduler file of its cluster")
    context = make_context(credentials, role, server=False)
    make = partial(TlsChannel, context=context, cluster=credentials.cluster, expected=expected)
    return await tcp_connect.connect(
        address, credentials=credentials, role=role, expected=expected, channel=make, **options
    )
