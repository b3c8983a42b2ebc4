"""Links over TCP, on raw non-blocking sockets.

asyncio's transports copy what they send and what they receive; here large buffers go from the object's memory to the
kernel, and from the kernel to where they stay. One readiness event moves a bounded number of bytes, so that a large
transfer does not keep other links waiting.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import deque
from itertools import islice
from typing import ClassVar, Final

from ..base.errors import ProtocolError
from ..base.limits import KIB, MIB
from ..protocol.codec import Encoder
from ..protocol.frames import FrameDecoder
from ..protocol.messages import Message, Role
from .buffers import take
from .link import LOW_WATER_BYTES, Link

#: What one readiness event may move before others get their turn.
READ_BYTES_PER_TURN: Final = 2 * MIB
#: Of that, bytes of messages, without the buffers that go with them: acting on so many takes tens of milliseconds.
MESSAGE_BYTES_PER_TURN: Final = 128 * KIB
_READS_PER_TURN: Final = 8
WRITE_BYTES_PER_TURN: Final = 8 * MIB
_IOV_MAX: Final = 1024
#: How long a closed link goes on sending what was queued and waits for the peer to close as well.
_LINGER_S: Final = 2.0
#: Dead peers behind dead networks are noticed even on idle links. Asking often tells ``machine_silence`` what it needs.
_KEEPALIVE: Final = (("TCP_KEEPIDLE", 2), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 30))
#: Where ``struct tcp_info`` of Linux has ``tcpi_retransmits`` and ``tcpi_probes``, a byte each; ``tcpi_last_ack_recv``, in
#: milliseconds; and ``tcpi_min_rtt``, in microseconds.
_ASKED_AGAIN: Final = slice(2, 4)
_LAST_ACK_OFFSET: Final = 56
_MIN_RTT_OFFSET: Final = 148


def configure(sock: socket.socket) -> None:
    """Set the options every connection has: no delays, no blocking, keepalive."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def address_of(name: tuple[object, ...] | str, scheme: str = "tcp") -> str:
    """The text of what ``getsockname`` and ``getpeername`` return."""
    host, port = (name[0], name[1]) if isinstance(name, tuple) else (name, 0)
    return f"{scheme}://[{host}]:{port}" if ":" in str(host) else f"{scheme}://{host}:{port}"


class TcpLink(Link):
    """A link over a connected socket on which the handshake is done."""

    scheme: ClassVar[str] = "tcp"
    #: What the socket raises when there is nothing to read, or no room to write, for now.
    blocked: ClassVar[tuple[type[OSError], ...]] = (BlockingIOError, InterruptedError)

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, own: str, role: Role, peer: str, remote: str
    ) -> None:
        super().__init__(loop, own, role, peer, remote, address_of(sock.getsockname(), self.scheme))
        self._sock = sock
        self._encoder = Encoder()
        self._decoder = FrameDecoder(take)
        self._queue: deque[memoryview] = deque()
        self._queued = 0  # bytes in _queue
        self._unflushed = 0  # bytes in the encoder
        self._sequence_out = 0
        self._writer_on = False
        self._linger: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to read."""
        self._loop.add_reader(self._sock, self._on_readable)

    def machine_silence(self) -> float:
        """See ``Link.machine_silence``: the kernel there acknowledges what we send, and answers probes.

        One whose process does not read is probed ever more rarely, so silence means nothing unless an answer is due.
        """
        info = self._tcp_info(_LAST_ACK_OFFSET + 4)
        return _number(info, _LAST_ACK_OFFSET) / 1000 if any(info[_ASKED_AGAIN]) else 0.0

    def round_trip(self) -> float:
        """See ``Link.round_trip``."""
        microseconds = _number(self._tcp_info(_MIN_RTT_OFFSET + 4), _MIN_RTT_OFFSET)
        return microseconds / 1e6 if microseconds != 0xFFFFFFFF else 0.0  # that means that it has measured none yet

    def _tcp_info(self, nbytes: int) -> bytes:
        """The beginning of ``struct tcp_info``; nothing where there is none."""
        if self.closed or not hasattr(socket, "TCP_INFO"):
            return b""
        return self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, nbytes)

    # ---- sending ----------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Bytes that wait to be taken by the kernel."""
        return self._queued + self._unflushed

    def send(self, message: Message) -> None:
        """See ``Link.send``."""
        if not (self.closed or self._unflushed):
            self._loop.call_soon(self.flush)
        self.queue(message)

    def queue(self, message: Message) -> None:
        """See ``Link.queue``."""
        if not self.closed:
            self._unflushed += self._encoder.add(message)

    def flush(self) -> None:
        """See ``Link.flush``."""
        if not self._unflushed:
            return
        out, frames = self._encoder.take(self.epoch, self._own, self._sequence_out)
        self._unflushed = 0
        self._sequence_out += frames
        if len(out) == 1 and not self._queue:
            rest = self._write_one(memoryview(out[0]))
            if not rest:
                return
            out = [rest]
        for buffer in out:
            view = memoryview(buffer)
            if view.nbytes:
                self._queue.append(view)
                self._queued += view.nbytes
        if not self._writer_on:
            self._write()

    def _write_one(self, frame: memoryview) -> memoryview:
        """Write what is alone, as most frames are; returns what is left of it, if the kernel has no room for all."""
        try:
            count = self._sock.send(frame)
        except self.blocked:
            return frame
        except OSError as error:
            self.abort(_lost(error))
            return frame[:0]
        self.bytes_out += count
        if count == len(frame) and self.closed:
            self._shut_down()
        return frame[count:]

    def _write(self) -> None:
        try:
            self._write_some()
        except OSError as error:
            self.abort(_lost(error))
            return
        if self._queue:
            if not self._writer_on:
                self._writer_on = True
                self._loop.add_writer(self._sock, self._write)
        elif self._writer_on:
            self._writer_on = False
            self._loop.remove_writer(self._sock)
        if self._drained and self.pending < LOW_WATER_BYTES:
            self._wake(self._drained)
        if self.closed and not self._queue:
            self._shut_down()

    def _write_some(self) -> None:
        """Write until the kernel is full, this turn's share is used up, or nothing is left."""
        queue, sock, written = self._queue, self._sock, 0
        while queue and written < WRITE_BYTES_PER_TURN:
            try:
                count = sock.send(queue[0]) if len(queue) == 1 else sock.sendmsg(islice(queue, _IOV_MAX))
            except self.blocked:
                return
            written += count
            self._written(count)

    def _written(self, count: int) -> None:
        """Take what has been sent out of the queue."""
        queue = self._queue
        self._queued -= count
        self.bytes_out += count
        while count:
            first = queue[0]
            if count < first.nbytes:
                queue[0] = first[count:]
                return
            count -= first.nbytes
            queue.popleft()

    # ---- receiving --------------------------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        decoder, total, said = self._decoder, 0, 0
        self.last_read = self._loop.time()
        for _ in range(_READS_PER_TURN):
            buffers = decoder.get_buffers()
            try:
                count = self._receive(buffers)
            except self.blocked:
                return
            except OSError as error:
                self.abort(_lost(error))
                return
            if not count:
                self.abort("the peer closed the connection")
                return
            self.bytes_in += count
            total += count
            try:
                frames = decoder.received(count)
            except ProtocolError as error:
                self.reject(f"{self.role} {self.peer} broke the protocol: {error}")
                return
            for frame in frames:
                self.deliver(frame)
                said += len(frame.control)
            enough = total >= READ_BYTES_PER_TURN or said >= MESSAGE_BYTES_PER_TURN
            if self.closed or enough or count < sum(map(len, buffers)):
                return

    def _receive(self, buffers: list[memoryview]) -> int:
        """Fill ``buffers`` one after the other; if not all, there is nothing more to read for now."""
        return self._sock.recv_into(buffers[0]) if len(buffers) == 1 else self._sock.recvmsg_into(buffers)[0]

    def _discard(self) -> None:
        """After our last word: read until the peer has heard it and closes, for unread bytes would destroy it."""
        try:
            while self._sock.recv(MIB):
                continue
        except self.blocked:
            return
        except OSError:
            self._dispose()
            return
        self._dispose()

    # ---- closing ----------------------------------------------------------------------------------------------------

    def close(self, reason: str = "") -> None:
        """See ``Link.close``."""
        if self.closed:
            return
        self._announce_closed(reason or "closed")
        self._linger = self._loop.call_later(_LINGER_S, self._dispose)
        self._loop.add_reader(self._sock, self._discard)
        if self._unflushed:
            self.flush()
        elif not self._queue:
            self._shut_down()

    def _shut_down(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._dispose()

    def abort(self, reason: str) -> None:
        """See ``Link.abort``."""
        self._announce_closed(reason)
        self._dispose()

    def _dispose(self) -> None:
        if self._gone:
            return
        if self._linger is not None:
            self._linger.cancel()
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._writer_on = False
        self._sock.close()
        self._queue.clear()
        self._queued = self._unflushed = 0
        self._announce_gone()


def _number(info: bytes, offset: int) -> int:
    return int.from_bytes(info[offset : offset + 4], sys.byteorder)


def _lost(error: OSError) -> str:
    return f"the connection was lost: {error.strerror or error}"
