"""What is fuzzed: one function per reader of bytes that we did not write. Each takes any bytes and raises only what is a bug.

A target swallows the errors that its reader documents, and asserts what must hold besides. ``LIMITS`` says how much memory a
reader may allocate for so many bytes.
"""

from __future__ import annotations

import os
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from unittest import mock

from myscheduler.base import config, credentials
from myscheduler.base.errors import (
    AuthenticationError,
    ConnectionFailedError,
    MySchedulerError,
    ProtocolError,
    UsageError,
    VersionMismatchError,
)
from myscheduler.base.limits import KIB, ROWS_PER_MESSAGE_MAX
from myscheduler.base.options import OPTIONS
from myscheduler.protocol import frames
from myscheduler.protocol.codec import Encoder, Frame, decode
from myscheduler.protocol.frames import FrameDecoder
from myscheduler.protocol.handshake import ClientHandshake, ServerHandshake
from myscheduler.protocol.messages import Message, Role, validate

CREDENTIALS: Final = credentials.Credentials(
    "ab" * 16, {"client": b"c" * 32, "worker": b"w" * 32, "observer": b"o" * 32}
)
_BUFFERS: Final = (b"first", b"", b"x" * 100, *[b"more"] * 5)
#: Nested containers that msgpack follows, and what each of them costs at least.
_DEPTH_MAX: Final = 1024


# ---- frames ---------------------------------------------------------------------------------------------------------


def feed(decoder: FrameDecoder, data: bytes, steps: list[int]) -> Iterator[Frame]:
    """Receive ``data`` in pieces of these sizes, round and round; 0 is as much as fits."""
    view, turn = memoryview(data), 0
    while view:
        buffer = decoder.get_buffer()
        assert len(buffer) > 0
        count = min(len(buffer), len(view), steps[turn % len(steps)] or len(view))
        buffer[:count] = view[:count]
        view, turn = view[count:], turn + 1
        yield from decoder.received(count)


def fuzz_frames(data: bytes) -> None:
    """Byte 0 says in which pieces the rest arrives."""
    steps = [[0], [1], [7, 100], [1000, 1]][data[0] % 4] if data else [0]
    try:
        for frame in feed(FrameDecoder(), data[1:], steps):
            assert type(frame) is Frame
            assert type(frame.messages) is tuple
    except ProtocolError:
        return


# ---- messages -------------------------------------------------------------------------------------------------------


def read_messages(data: bytes) -> list[Message]:
    """Those messages of a control part that somebody may send; its frame has eight buffers."""
    try:
        frame = decode(data, _BUFFERS)
    except ProtocolError:
        return []
    return [message for message in frame.messages if any(_is_valid(message, role) for role in Role)]


def _is_valid(message: Message, role: Role) -> bool:
    try:
        validate(message, role)
    except ProtocolError:
        return False
    return True


def fuzz_messages(data: bytes) -> None:
    """A control part. What is valid can be sent again."""
    valid = read_messages(data)
    if valid:
        again = b"".join(Encoder().encode(1, "a", 0, valid))
        assert sum(len(frame.messages) for frame in feed(FrameDecoder(), again, [0])) == len(valid)


# ---- handshake ------------------------------------------------------------------------------------------------------


def server_side() -> ServerHandshake:
    """Always the same, so that a recorded answer of the client fits."""
    return ServerHandshake(CREDENTIALS, ["host:1"], b"S" * 32, role=Role.SCHEDULER, incarnation="5" * 16)


def client_side() -> ClientHandshake:
    """Always the same, so that recorded answers of the server fit."""
    return ClientHandshake(CREDENTIALS, Role.CLIENT, "c" * 16, "host:1", b"C" * 32)


def recorded() -> tuple[bytes, bytes]:
    """What the server and what the client say in a handshake that succeeds."""
    server, client = server_side(), client_side()
    hello = server.start()
    proof = client.receive(hello)
    return hello + server.receive(proof), proof


_SERVER_SAYS, _CLIENT_SAYS = recorded()


def _shake(side: Any, data: bytes, expected: bytes, errors: tuple[type[MySchedulerError], ...]) -> None:
    at = 0
    try:
        while at < len(data) and not side.done:
            # As transport reads: never more than is needed, and now and then less.
            count = min(side.needed, 1 + data[at]) if at % 2 else side.needed
            assert count > 0
            side.receive(data[at : at + count])
            at += count
    except errors:
        assert not side.done
        return
    assert not side.done or data[:at] == expected, "somebody without the secret was let in"


def fuzz_handshake_server(data: bytes) -> None:
    """What a client says."""
    _shake(server_side(), data, _CLIENT_SAYS, (ProtocolError, VersionMismatchError, AuthenticationError))


def fuzz_handshake_client(data: bytes) -> None:
    """What a server says."""
    errors = (ProtocolError, VersionMismatchError, AuthenticationError, ConnectionFailedError)
    _shake(client_side(), data, _SERVER_SAYS, errors)


# ---- files ----------------------------------------------------------------------------------------------------------


class _File:
    """One private file that is written anew for each case; in memory where there is such a place."""

    def __init__(self) -> None:
        place = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self._descriptor, self.path = tempfile.mkstemp(prefix="myscheduler-fuzz-", dir=place)

    def hold(self, data: bytes) -> str:
        """The path of the file, which now holds ``data``."""
        os.pwrite(self._descriptor, data, 0)
        os.ftruncate(self._descriptor, len(data))
        return self.path

    def __del__(self) -> None:
        os.close(self._descriptor)
        os.unlink(self.path)


_files: list[_File] = []


def _hold(data: bytes) -> str:
    if not _files:
        _files.append(_File())
    return _files[0].hold(data)


def fuzz_scheduler_file(data: bytes) -> None:
    """A scheduler file, which may also lie about its address."""
    try:
        found = credentials.read_scheduler_file(_hold(data))
    except AuthenticationError:
        return
    assert type(found.dial("host:1")) is str
    assert "<secret>" in repr(found) or not found.credentials.secrets


def fuzz_config(data: bytes) -> None:
    """A configuration file."""
    try:
        for key, _ in config._checked(config._read(Path(_hold(data))), "file", from_file=True):
            assert key in OPTIONS
    except UsageError:
        return


# ---- all ------------------------------------------------------------------------------------------------------------

TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "frames": fuzz_frames,
    "messages": fuzz_messages,
    "handshake-server": fuzz_handshake_server,
    "handshake-client": fuzz_handshake_client,
    "scheduler-file": fuzz_scheduler_file,
    "config": fuzz_config,
}


def _frames_limit(data: bytes) -> int:
    """Twice what has arrived, and the one piece that is awaited, which is below 1 MiB or costs nothing until it arrives."""
    decoder, awaited = FrameDecoder(), 0
    try:
        for _ in feed(decoder, data[1:], [0]):
            pass
        awaited = len(decoder.get_buffer())
    except ProtocolError:
        awaited = 0
    return 2 * len(data) + 64 * KIB + awaited


def _messages_limit(data: bytes) -> int:
    """Python's objects are larger than what they are made from: at most 88 bytes for one byte, an empty map.

    Arrays inside each other may say that they are longer than they are, until the data is at its end.
    """
    claimed = min(_DEPTH_MAX, len(data)) * (min(len(data), ROWS_PER_MESSAGE_MAX) * 8 + 64)
    return 100 * len(data) + 64 * KIB + claimed


LIMITS: Final[dict[str, Callable[[bytes], int]]] = {
    "frames": _frames_limit,
    "messages": _messages_limit,
    "handshake-server": lambda data: 2 * len(data) + 64 * KIB,
    "handshake-client": lambda data: 2 * len(data) + 64 * KIB,
}


def _no_decode(control: Any, buffers: Any) -> Frame:
    return Frame(0, "", 0, ())


def check_memory(name: str, data: bytes) -> None:
    """Run a case once more and compare the peak of what it allocated with its limit."""
    # What a frame holds is the business of the next target; here it is what the decoder itself allocates.
    with mock.patch.object(frames, "decode", _no_decode if name == "frames" else decode):
        limit = LIMITS[name](data)
        tracemalloc.start()
        try:
            (read_messages if name == "messages" else TARGETS[name])(data)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    if name == "frames":
        peak -= frames._STAGING_BYTES  # what every connection holds
    assert peak <= limit, f"{peak} bytes allocated for {len(data)}, {limit} are allowed"
