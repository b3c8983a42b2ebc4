"""Connections: bytes in order, late, slow, blocked or cut at any place; frames taken and refused as the transport does."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from zlib import crc32

from ..base.errors import ProtocolError
from ..protocol.codec import Encoder, Frame
from ..protocol.frames import FrameDecoder
from ..protocol.inbound import Inbound
from ..protocol.messages import Message, Role
from .world import Process, World

#: Sometimes they take up to this long.
_HICCUP_S = 0.2
_NEVER = float("inf")


class Wire:
    """One direction of a connection.

    Parameters
    ----------
    reader : Process
        At its end; what arrives while it stands still waits.
    deliver : callable
        Takes the next bytes; ``None`` is the end of the stream.
    """

    def __init__(self, reader: Process, deliver: Callable[[bytes | None], None]) -> None:
        self._world: World = reader.world
        self._reader = reader
        self._deliver = deliver
        self._queue: deque[tuple[float, bytes | None]] = deque()
        self._free_at = 0.0
        self._ended = False
        #: seconds that everything takes longer
        self.lag = 0.0
        #: nothing arrives before this time
        self.blocked_until = 0.0
        #: bytes per second that the reader takes
        self.rate = 0.0

    @property
    def busy_until(self) -> float:
        """When the last of what was written arrives."""
        return self._free_at

    def write(self, data: bytes) -> None:
        """Put bytes on the wire."""
        if self._ended:
            return
        random = self._world.random
        if len(data) > 1 and random.random() < 0.05:  # segments end anywhere
            middle = random.randrange(1, len(data))
            self._enter(data[:middle])
            data = data[middle:]
        self._enter(data)

    def end(self) -> None:
        """Nothing follows any more."""
        if not self._ended:
            self._enter(None)
            self._ended = True

    def truncate(self) -> None:
        """The connection breaks: what is on the way is lost from some byte on."""
        if self._ended:
            return
        whole = b"".join(data for _, data in self._queue if data is not None)
        kept = whole[: self._world.random.randint(0, len(whole))] if whole else b""
        scheduled = bool(self._queue)
        self._queue.clear()
        self._queue.append((self._world.now, kept))
        if not scheduled:
            self._world.at(self._world.now, self._pump)
        self.end()

    def _enter(self, data: bytes | None) -> None:
        random = self._world.random
        delay = (
            random.expovariate(1 / self._world.latency) if random.random() < 0.95 else random.uniform(0.0, _HICCUP_S)
        )
        arrival = max(self._free_at, self._world.now + delay + self.lag)
        if self.rate and data:
            arrival += len(data) / self.rate
        self._free_at = arrival
        self._queue.append((arrival, data))
        if len(self._queue) == 1:
            self._world.at(arrival, self._pump)

    def _pump(self) -> None:
        world, queue = self._world, self._queue
        resumes = max(self.blocked_until, self._reader.frozen_until)
        if world.now < resumes:
            if resumes < _NEVER:
                world.at(resumes, self._pump)
            return
        while queue and queue[0][0] <= world.now:
            data = queue[0][1]
            if data:
                world.trace = crc32(data, world.trace)
            if data != b"" and self._reader.alive:
                self._deliver(data)
            queue.popleft()
        if queue:
            world.at(queue[0][0], self._pump)


class End:
    """One end of a connection: what ``transport.Link`` does, on a ``Wire``.

    Parameters
    ----------
    process : Process
        Whose end it is.
    own : str
        Its incarnation.
    peer : str
        The incarnation that the other end has proved.
    role : Role
        The role that the other end has proved.
    """

    def __init__(self, process: Process, own: str, peer: str, role: Role) -> None:
        self.process = process
        self.own = own
        self.peer = peer
        self.role = role
        self.epoch = 0
        self.closed = False
        #: whether it was closed because of nonsense that came in
        self.rejected = False
        #: whether nonsense was sent from here, so that the other end may refuse to go on
        self.nonsense = False
        self.on_messages: Callable[[tuple[Message, ...]], None] = _ignore
        self.on_closed: Callable[[str], None] = _ignore
        self.last_read = process.world.now
        self.out: Wire
        self.other: End
        self._encoder = Encoder()
        self._decoder = FrameDecoder()
        self._sequence_out = 0
        self._inbound = Inbound(role, peer)
        #: the last frame that was sent, for those who send it twice
        self.last_frame = b""

    @property
    def stale(self) -> int:
        """Frames dropped because their epoch or sender was not the connection's."""
        return self._inbound.stale

    # ---- out --------------------------------------------------------------------------------------------------------

    def send(self, messages: Sequence[Message]) -> None:
        """Send messages in order."""
        if messages and not self.closed:
            self.last_frame = self._encode(self.epoch, self.own, messages)
            self.out.write(self.last_frame)

    def send_raw(self, data: bytes) -> None:
        """Put any bytes on the wire."""
        if not self.closed:
            self.out.write(data)

    def send_foreign(self, messages: Sequence[Message], epoch: int, sender: str) -> None:
        """Send a well-formed frame of another epoch or of somebody else."""
        if not self.closed:
            self.out.write(self._encode(epoch, sender, messages))

    def _encode(self, epoch: int, sender: str, messages: Sequence[Message]) -> bytes:
        encoder = self._encoder
        for message in messages:
            encoder.add(message)
        parts, frames = encoder.take(epoch, sender, self._sequence_out)
        self._sequence_out += frames
        return b"".join(parts)

    def close(self, reason: str) -> None:
        """What was sent still arrives; the other end is told after it, ours at once."""
        if not self.closed:
            self.closed = True
            self.out.end()
            self.process.after(0.0, lambda: self.on_closed(reason))

    def abort(self, reason: str) -> None:
        """Like ``close``, but what is on the way is lost from some byte on."""
        if not self.closed:
            self.out.truncate()
            self.close(reason)

    def vanish(self) -> None:
        """The machine is gone without a word: nobody is told."""
        self.closed = True
        self.out.blocked_until = _NEVER

    def lose(self, reason: str) -> None:
        """The connection breaks, and only this end is told."""
        self.vanish()
        self.process.after(0.0, lambda: self.on_closed(reason))

    # ---- in ---------------------------------------------------------------------------------------------------------

    def take(self, data: bytes | None) -> None:
        """Bytes have arrived."""
        if self.closed:
            return
        if data is None:
            self.close("the other end closed the connection")
            return
        self.last_read = self.process.world.now
        decoder = self._decoder
        position = 0
        while position < len(data):
            buffer = decoder.get_buffer()
            size = min(len(buffer), len(data) - position)
            buffer[:size] = data[position : position + size]
            position += size
            try:
                frames = decoder.received(size)
            except ProtocolError as error:
                self._refuse(str(error))
                return
            for frame in frames:
                self._deliver(frame)

    def _deliver(self, frame: Frame) -> None:
        if self.closed:
            return
        try:
            if not self._inbound.admits(frame, self.epoch):
                return
        except ProtocolError as error:
            self._refuse(str(error))
            return
        self.on_messages(frame.messages)

    def _refuse(self, reason: str) -> None:
        if not self.other.nonsense:
            raise AssertionError(f"{self.own} refuses what {self.role} {self.peer} sent: {reason}")
        self.rejected = True
        self.abort(f"{self.role} {self.peer} broke the protocol: {reason}")


def connect(dialler: End, acceptor: End) -> None:
    """Join two ends."""
    for end, other in ((dialler, acceptor), (acceptor, dialler)):
        end.other = other
        end.out = Wire(other.process, other.take)


def _ignore(_: object) -> None:
    return
