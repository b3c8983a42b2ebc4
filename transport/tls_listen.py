"""Listening over TLS: strangers do not get past the certificates, and then the handshake inside must agree with them."""

from __future__ import annotations

import socket
import ssl
from functools import partial
from typing import Any, ClassVar

from ..base.certificates import name_of
from ..base.credentials import Credentials
from ..base.errors import AuthenticationError, UsageError
from ..protocol.handshake import ServerHandshake
from ..protocol.messages import Role
from . import tcp_listen
from .addresses import Address
from .tcp import TcpLink, address_of
from .tcp_listen import Arrival, TcpListener
from .tls import TlsLink, explain, make_context, wrap


class TlsListener(TcpListener):
    """A listening socket whose peers must show a certificate."""

    def __init__(self, *arguments: Any, context: ssl.SSLContext, credentials: Credentials, **options: Any) -> None:
        super().__init__(*arguments, credentials=credentials, **options)
        self._context = context

    def _arrive(self, sock: socket.socket, name: tuple[object, ...], handshake: ServerHandshake) -> Arrival:
        wrapped = wrap(self._context, sock, server_side=True)
        return TlsArrival(
            self, self._loop, wrapped, address_of(name, "tls"), handshake, cluster=self._credentials.cluster
        )


class TlsArrival(Arrival):
    """A connection whose peer has to show a certificate, and then to prove itself."""

    link_type: ClassVar[type[TcpLink]] = TlsLink
    sock: ssl.SSLSocket

    def __init__(self, *arguments: Any, cluster: str) -> None:
        super().__init__(*arguments)
        self._cluster = cluster
        self._is_encrypted = False

    def start(self) -> None:
        """Go on with the TLS handshake as far as the peer's bytes allow; then with ours."""
        loop, sock = self._loop, self.sock
        loop.remove_writer(sock)
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            loop.add_reader(sock, self.start)
        except ssl.SSLWantWriteError:
            loop.add_writer(sock, self.start)
        except ssl.SSLError as error:
            self._listener.refuse(self, f"no TLS connection: {explain(error)}")
        except OSError as error:
            self._listener.refuse(self, f"no TLS connection: {error.strerror or error}")
        else:
            self._listener.heard(self)
            self._is_encrypted = True
            super().start()

    def hurry(self) -> None:
        """See ``Arrival.hurry``."""
        if self._is_encrypted:
            super().hurry()
        else:
            self.start()

    def check(self) -> None:
        """Both proofs must be of the same role, so that a certificate and a secret of different holders make no peer."""
        proven, shown = name_of(self.handshake.peer_role, self._cluster), names_in(self.sock)
        if proven not in shown:
            raise AuthenticationError(f"a peer proved to be {proven}, but its certificate is for {', '.join(shown)}")

    def _release(self) -> None:
        super()._release()
        self._loop.remove_writer(self.sock)


def names_in(sock: ssl.SSLSocket) -> list[str]:
    """The names in the certificate that the peer has shown."""
    certificate = sock.getpeercert() or {}
    pairs: Any = certificate.get("subjectAltName", ())
    return [value for kind, value in pairs if kind == "DNS"]


async def listen(address: Address, *, credentials: Credentials | None, own_role: Role, **options: Any) -> TcpListener:
    """See ``transport.listen``."""
    if credentials is None:
        raise UsageError(f"{address} needs credentials to let anybody in; make some with Credentials.generate()")
    context = make_context(credentials, own_role, server=True)
    serve = partial(TlsListener, context=context)
    return await tcp_listen.listen(address, credentials=credentials, own_role=own_role, serve=serve, **options)
