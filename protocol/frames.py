"""Bytes to frames, sans I/O: gives out memory to receive into, and takes what was received apart.

Memory grows with the bytes that have arrived, never with what was announced: large buffers live in anonymous memory of
the operating system, which costs nothing until it is written; small ones are allocated one at a time, in their turn.
"""

from __future__ import annotations

import sys
from array import array
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final

from ..base.errors import ProtocolError
from ..base.limits import BUFFER_BYTES_MAX, BUFFERS_PER_FRAME_MAX, CONTROL_BYTES_MAX, KIB, MIB
from .codec import HEADER, Buffer, Frame, decode
from .memory import allocate

#: What every connection holds; larger ones measured no faster.
_STAGING_BYTES: Final = 64 * KIB
#: Larger pieces are received where they are to stay.
_STAGED_BYTES_MAX: Final = _STAGING_BYTES // 2
#: Memory for the next buffers of a frame is found ahead of them, up to so many and so many bytes, for one call of the kernel to
#: fill; if they are smaller than the staging memory, that does better.
_AHEAD_MAX: Final = 32
_AHEAD_BYTES_MAX: Final = MIB
_NO_LENGTHS: Final = array("Q")


class FrameDecoder:
    """Turns a stream of bytes into frames.

    Write into what ``get_buffer`` returns (or into the start of it) and tell ``received`` how much; nothing else. Or into what
    ``get_buffers`` returns, one after the other.

    Parameters
    ----------
    allocate : callable
        Gives memory for so many bytes, which is only occupied as it is written, or was before.

    Examples
    --------
    >>> from .codec import Encoder
    >>> data = b"".join(Encoder().encode(1, "a1", 0, [(4, "done")]))
    >>> decoder = FrameDecoder()
    >>> decoder.get_buffer()[:len(data)] = data
    >>> decoder.received(len(data))
    [Frame(epoch=1, sender='a1', sequence=0, messages=((4, 'done'),))]
    """

    __slots__ = (
        "_ahead",
        "_allocate",
        "_buffers",
        "_control",
        "_control_length",
        "_count",
        "_end",
        "_filled",
        "_lengths",
        "_staging",
        "_start",
        "_target",
    )

    def __init__(self, allocate: Callable[[int], memoryview] = allocate) -> None:
        self._allocate = allocate
        self._staging = memoryview(bytearray(_STAGING_BYTES))
        self._start = self._end = 0  # of what is in the staging memory and not taken yet
        self._target: memoryview | None = None  # what is received in place, up to _filled
        self._filled = 0
        self._ahead: deque[memoryview] = deque()  # the buffers behind the target
        self._forget_frame()

    def _forget_frame(self) -> None:
        self._control_length = 0  # 0: the header is next
        self._count = 0
        self._lengths: array[int] | None = None
        self._control: Buffer | None = None
        self._buffers: list[Buffer] = []

    def get_buffer(self) -> memoryview:
        """Where to write the next bytes of the stream; never empty."""
        if self._target is not None:
            return self._target[self._filled :]
        start, end = self._start, self._end
        if start == end:
            self._start = self._end = end = 0
        elif end > _STAGED_BYTES_MAX:
            staging = self._staging
            staging[: end - start] = staging[start:end]
            self._start, self._end = 0, end - start
            end -= start
        return self._staging[end:]

    def get_buffers(self) -> list[memoryview]:
        """Where to write the next bytes of the stream: what ``get_buffer`` returns first, then perhaps more."""
        return [self.get_buffer(), *self._ahead]

    def received(self, nbytes: int) -> list[Frame]:
        """Take note of ``nbytes`` written into the last buffers, and return the frames that are now complete.

        Raises
        ------
        ProtocolError
            The bytes are no frames, or exceed a limit. The stream is of no use any more.
        """
        if self._target is None:
            self._end += nbytes
        else:
            self._filled += nbytes
            while self._ahead and self._filled >= len(self._target):
                self._filled -= len(self._target)
                self._buffers.append(self._target)
                self._target = self._ahead.popleft()
            if self._filled < len(self._target):
                return []
        frames: list[Frame] = []
        while (frame := self._next_frame()) is not None:
            frames.append(frame)
            if self._start == self._end:
                break
        return frames

    def _next_frame(self) -> Frame | None:
        if not self._control_length:
            start, available = self._start, self._end - self._start
            if self._target is None and available >= HEADER.size:
                length, count = HEADER.unpack_from(self._staging, start)
                if not count and 0 < length <= available - HEADER.size:  # most frames: all there, and no buffers
                    begin = start + HEADER.size
                    self._start = end = begin + length
                    return decode(self._staging[begin:end], ())
            header = self._take(HEADER.size)
            if header is None:
                return None
            self._control_length, self._count = HEADER.unpack(header)
            self._check_header()
        if self._lengths is None:
            if not self._count:
                self._lengths = _NO_LENGTHS
            else:
                lengths = self._take(8 * self._count)
                if lengths is None:
                    return None
                self._lengths = _unpack_lengths(lengths)
        if self._control is None:
            control = self._take(self._control_length)
            if control is None:
                return None
            # What lies in the staging memory will be overwritten while buffers are awaited.
            self._control = bytes(control) if self._count and self._control_length <= _STAGED_BYTES_MAX else control
        while len(self._buffers) < self._count:
            buffer = self._take_buffer(self._lengths[len(self._buffers)])
            if buffer is None:
                return None
            self._buffers.append(buffer)
        frame = decode(self._control, self._buffers)
        self._forget_frame()
        return frame

    def _check_header(self) -> None:
        if not 0 < self._control_length <= CONTROL_BYTES_MAX:
            raise ProtocolError(
                f"a frame with a control part of {self._control_length} bytes; 1 to {CONTROL_BYTES_MAX} are allowed"
            )
        if self._count > BUFFERS_PER_FRAME_MAX:
            raise ProtocolError(f"a frame with {self._count} buffers; at most {BUFFERS_PER_FRAME_MAX} are allowed")

    def _take_buffer(self, nbytes: int) -> Buffer | None:
        """As ``_take``, in memory of its own."""
        if self._target is None and nbytes <= self._end - self._start:
            start = self._start
            self._start = start + nbytes
            # Of the smallest there may be 65,536 in a frame: one object each, not three.
            return bytearray(self._staging[start : start + nbytes])
        buffer = self._take(nbytes, to_keep=True)
        if buffer is None and not self._ahead:
            self._look_ahead()
        return buffer

    def _look_ahead(self) -> None:
        """Find memory for what comes behind the target, which is the buffer that is being received."""
        assert self._lengths is not None
        assert self._target is not None
        lengths: list[int] = []
        nbytes = len(self._target)
        first = len(self._buffers) + 1
        for length in islice(self._lengths, first, first + _AHEAD_MAX):
            nbytes += length
            if nbytes > _AHEAD_BYTES_MAX:
                break
            lengths.append(length)
        if nbytes >= _STAGING_BYTES:
            self._ahead.extend(map(self._allocate, lengths))

    def _take(self, nbytes: int, to_keep: bool = False) -> memoryview | None:
        """The next ``nbytes`` of the stream, or None until they are there; in memory of their own if ``to_keep``."""
        target = self._target
        if target is not None:
            if self._filled < len(target):
                return None
            self._target = None
            return target
        start, available = self._start, self._end - self._start
        if available >= nbytes and not to_keep:
            self._start = start + nbytes
            return self._staging[start : start + nbytes]
        if not to_keep and nbytes <= _STAGED_BYTES_MAX:
            return None
        target = self._allocate(nbytes)
        target[:available] = self._staging[start : start + available]
        self._start = start + available
        self._target, self._filled = target, available
        return None


def _unpack_lengths(data: memoryview) -> array[int]:
    """The lengths of buffers, in as much memory as they took on the wire."""
    lengths = array("Q")
    lengths.frombytes(data)
    if sys.byteorder == "little":
        lengths.byteswap()
    if max(lengths) > BUFFER_BYTES_MAX:
        raise ProtocolError(f"a buffer of {max(lengths)} bytes; at most {BUFFER_BYTES_MAX} are allowed")
    return lengths
