"""The first bytes of every connection: both sides prove that they hold the secret, before any decoder exists.

Three messages of fixed size, nothing optional, nothing negotiated. The server speaks first:

1. server: magic, version, its role, cluster, a random nonce;
2. client: magic, version, its role, cluster, its incarnation, a nonce of its own, the address it dialled, and its proof:
   the HMAC of all bytes so far, under a key made from the secret of its role;
3. server: its incarnation and its proof, over all bytes so far, under a key for this direction.

A stranger gets no proof from the server to test guesses on. Both nonces and the cluster in both proofs stop replay, keys
per direction stop reflection. A program that squats on another port cannot pass our bytes on to the real server, because
the client's proof names the address it dialled, and the server only takes its own.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from struct import Struct
from typing import Final

from ..base.credentials import Credentials
from ..base.errors import (
    AuthenticationError,
    ConnectionFailedError,
    InternalError,
    MySchedulerError,
    ProtocolError,
    UsageError,
    VersionMismatchError,
)
from .messages import Role

MAGIC: Final = b"myscheduler\n"
VERSION: Final = 1
NONCE_BYTES: Final = 32
#: Incarnations are this many hexadecimal digits.
INCARNATION_CHARS: Final = 16
DIALLED_BYTES_MAX: Final = 256

_SERVER_HELLO: Final = Struct("!12sHBx16s32s")  # magic, version, role, cluster, nonce
_CLIENT_HELLO: Final = Struct("!12sHBx16s16s32s256s")  # magic, version, role, cluster, incarnation, nonce, dialled
_PROOF: Final = Struct("!32s")
_SERVER_ANSWER: Final = Struct("!16s32s")  # incarnation, proof
_ROLE_CODES: Final = {Role.SCHEDULER: 0, Role.WORKER: 1, Role.CLIENT: 2, Role.OBSERVER: 3}
_ROLES: Final = {code: role for role, code in _ROLE_CODES.items()}


def check_incarnation(incarnation: str) -> bytes:
    """The incarnation as it travels in the handshake.

    Examples
    --------
    >>> check_incarnation("00c0ffee00c0ffee")
    b'00c0ffee00c0ffee'
    >>> check_incarnation("alice")
    Traceback (most recent call last):
    ...
    myscheduler.base.errors.UsageError: an incarnation is 16 hexadecimal digits, not 'alice'
    """
    if not _is_incarnation(incarnation):
        raise UsageError(f"an incarnation is {INCARNATION_CHARS} hexadecimal digits, not {incarnation!r:.80}")
    return incarnation.encode()


def _is_incarnation(text: str) -> bool:
    return len(text) == INCARNATION_CHARS and all(digit in "0123456789abcdef" for digit in text)


def _proof(credentials: Credentials, role: Role, direction: bytes, *parts: bytes) -> bytes:
    """HMAC-SHA256 of the transcript, under a key for this role and direction."""
    key = hmac.digest(credentials.secret(role), b"myscheduler/v1|" + direction, "sha256")
    return hmac.digest(key, b"".join((direction, b"|", role.encode(), b"|", *parts)), "sha256")


class _Exchange:
    """Gathers the bytes of the next message of the peer, exactly as many as it has."""

    def __init__(self, credentials: Credentials, nonce: bytes, needed: int) -> None:
        if len(nonce) != NONCE_BYTES:
            raise InternalError(f"a nonce is {NONCE_BYTES} bytes, not {len(nonce)}")
        self._credentials = credentials
        self._cluster = bytes.fromhex(credentials.cluster)
        self._nonce = nonce
        self._received = b""
        self._length = needed
        #: Both sides have proved themselves, as far as this side can know.
        self.done = False

    @property
    def needed(self) -> int:
        """Bytes to read from the peer before anything else can happen; never read more. 0 when done."""
        return 0 if self.done else self._length - len(self._received)

    def _gather(self, data: bytes) -> bytes | None:
        if len(data) > self.needed:
            raise ProtocolError("the peer sent more than the handshake allows")
        self._received += data
        if len(self._received) < self._length:
            return None
        message, self._received = self._received, b""
        return message


class ServerHandshake(_Exchange):
    """The listening side.

    Parameters
    ----------
    credentials : Credentials
        Secrets of the roles that may come in.
    addresses : collection of str, optional
        ``host:port`` texts under which this server may be dialled; None takes any (behind address translation).
    nonce : bytes
        32 fresh random bytes.
    role : Role
        What this server is: scheduler or worker.
    incarnation : str
        Its incarnation, 16 hexadecimal digits.

    Attributes
    ----------
    peer_role : Role
        Proven, once ``done``.
    peer_incarnation : str
        Likewise.
    """

    def __init__(
        self, credentials: Credentials, addresses: Collection[str] | None, nonce: bytes, *, role: Role, incarnation: str
    ) -> None:
        super().__init__(credentials, nonce, _CLIENT_HELLO.size + _PROOF.size)
        self._addresses = addresses
        self._incarnation = check_incarnation(incarnation)
        self._hello = _SERVER_HELLO.pack(MAGIC, VERSION, _ROLE_CODES[role], self._cluster, nonce)
        self.peer_role = Role.OBSERVER
        self.peer_incarnation = ""

    def start(self) -> bytes:
        """What to send first."""
        return self._hello

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the client; returns what to send.

        Raises
        ------
        ProtocolError, VersionMismatchError, AuthenticationError
            Close the connection, without a word to the peer. The text is for our own log.
        """
        message = self._gather(data)
        if message is None:
            return b""
        hello, proof = message[: _CLIENT_HELLO.size], message[_CLIENT_HELLO.size :]
        magic, version, code, cluster, incarnation, _nonce, dialled = _CLIENT_HELLO.unpack(hello)
        if magic != MAGIC:
            what = (
                "it speaks TLS, and this address is plain tcp://"
                if magic[:2] == b"\x16\x03"
                else f"it began with {magic!r}"
            )
            raise ProtocolError(f"the peer is no myscheduler: {what}")
        if version != VERSION:
            raise VersionMismatchError(f"the peer speaks version {version} of the protocol, we speak {VERSION}")
        role, name = _ROLES.get(code), incarnation.decode("latin-1")
        if role is None or not _is_incarnation(name):
            raise ProtocolError("the peer names no role and incarnation")
        if cluster != self._cluster:
            raise AuthenticationError(f"a {role} looked for another cluster, {cluster.hex()}")
        host_port = dialled.rstrip(b"\0").decode("latin-1")
        if self._addresses is not None and host_port not in self._addresses:
            raise AuthenticationError(
                f"a {role} dialled {host_port!r}, but this server only goes by {', '.join(self._addresses)}"
            )
        expected = _proof(self._credentials, role, b"client", self._hello, hello)
        if not hmac.compare_digest(proof, expected):
            raise AuthenticationError(f"a {role} has a wrong secret")
        self.peer_role, self.peer_incarnation = role, name
        self.done = True
        answer = _proof(self._credentials, role, b"server", self._hello, message, self._incarnation)
        return _SERVER_ANSWER.pack(self._incarnation, answer)


class ClientHandshake(_Exchange):
    """The connecting side.

    Parameters
    ----------
    credentials : Credentials
        Must hold the secret of ``role``.
    role : Role
        What we come as: worker, client or observer.
    incarnation : str
        Ours, 16 hexadecimal digits.
    dialled : str
        ``host:port`` as the user wrote it.
    nonce : bytes
        32 fresh random bytes.

    Attributes
    ----------
    peer_role : Role
        What the server is; proven, once ``done``.
    peer_incarnation : str
        Likewise.
    """

    def __init__(self, credentials: Credentials, role: Role, incarnation: str, dialled: str, nonce: bytes) -> None:
        super().__init__(credentials, nonce, _SERVER_HELLO.size)
        credentials.secret(role)  # better a clear error now than a silent one from the server
        if len(dialled.encode()) > DIALLED_BYTES_MAX:
            raise UsageError(f"the address {dialled!r:.80} is longer than {DIALLED_BYTES_MAX} bytes")
        self._role = role
        self._incarnation = check_incarnation(incarnation)
        self._dialled = dialled
        self._transcript = b""
        self._server_seen = False
        self.peer_role = Role.SCHEDULER
        self.peer_incarnation = ""

    def start(self) -> bytes:
        """Nothing: the server speaks first."""
        return b""

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server; returns what to send.

        Raises
        ------
        ConnectionFailedError
            What answers there is no myscheduler.
        VersionMismatchError
            It speaks another version of the protocol.
        AuthenticationError
            It belongs to another cluster, or could not prove itself.
        """
        if not self._server_seen and not MAGIC.startswith((self._received + data)[: len(MAGIC)]):
            raise ConnectionFailedError(
                f"what answers at {self._dialled} is no myscheduler: it began with {(self._received + data)[:24]!r}. "
                "Check the port: schedulers listen on 8786 unless told otherwise, their dashboards on 8787"
            )
        message = self._gather(data)
        if message is None:
            return b""
        if self._server_seen:
            return self._finish(message)
        return self._answer(message)

    def _answer(self, hello: bytes) -> bytes:
        _magic, version, code, cluster, _nonce = _SERVER_HELLO.unpack(hello)
        if version != VERSION:
            older = "there" if version < VERSION else "here"
            raise VersionMismatchError(
                f"the server at {self._dialled} speaks version {version} of the protocol, this process speaks {VERSION}: "
                f"install the same myscheduler on both sides (the older one is {older})"
            )
        role = _ROLES.get(code)
        if role is None:
            raise ProtocolError(f"the server at {self._dialled} names no role")
        if cluster != self._cluster:
            raise AuthenticationError(
                f"the {role} at {self._dialled} belongs to cluster {cluster.hex()}, our credentials are for cluster "
                f"{self._cluster.hex()}: it was started anew, or another one has taken the port. "
                "Use the scheduler file of the cluster that runs there"
            )
        self.peer_role = role
        own = _CLIENT_HELLO.pack(
            MAGIC,
            VERSION,
            _ROLE_CODES[self._role],
            self._cluster,
            self._incarnation,
            self._nonce,
            self._dialled.encode(),
        )
        own += _PROOF.pack(_proof(self._credentials, self._role, b"client", hello, own))
        self._transcript = hello + own
        self._server_seen = True
        self._length = _SERVER_ANSWER.size
        return own

    def _finish(self, message: bytes) -> bytes:
        incarnation, proof = _SERVER_ANSWER.unpack(message)
        expected = _proof(self._credentials, self._role, b"server", self._transcript, incarnation)
        name = incarnation.decode("latin-1")
        if not hmac.compare_digest(proof, expected) or not _is_incarnation(name):
            raise AuthenticationError(
                f"the {self.peer_role} at {self._dialled} could not prove that it belongs to cluster "
                f"{self._cluster.hex()}; nothing was sent to it"
            )
        self.peer_incarnation = name
        self.done = True
        return b""

    def closed_early(self) -> MySchedulerError:
        """What it means that the server has closed the connection before the handshake was done."""
        if not self._server_seen:
            return ConnectionFailedError(
                f"{self._dialled} closed the connection before it said anything: "
                "it is no myscheduler, is closing, or has too many strangers at its door"
            )
        return AuthenticationError(
            f"the {self.peer_role} at {self._dialled} does not let us in as {self._role}: its secret for {self._role}s "
            "is another one, or it does not go by that address (a server on the loopback interface only takes "
            f"connections to its own host and port). Use the scheduler file that it wrote, and the address in it"
        )
