"""Payloads that are named instead of sent: a process of the same host opens a descriptor of the sender's.

A ``PipedBlob`` names the read ends of one or several pipes. Each gives the token, then its part of the buffers, which are
concatenated and cut into as many equal parts (``transport/pipes.py``). A ``SharedBlob`` names a segment of memory, for
data that several processes want.

A segment is memory without a name that its owner has open as a file descriptor. It begins with a header: a magic word,
and the token of what it holds now. Whoever opens it must find the token he was told, so memory that has been given to
other data since, and a descriptor that has been closed, are noticed. The rest is buffers, aligned.

``transport/shared.py`` opens segments, ``transport/segments.py`` makes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final, TypeAlias

from ..base.errors import ProtocolError
from ..base.limits import BUFFER_BYTES_MAX, BUFFERS_PER_FRAME_MAX, MIB

#: Smaller payloads are sent: opening something costs about as much as sending this many bytes.
SHARED_BYTES_MIN: Final = MIB
TOKEN_BYTES: Final = 16
#: What stands at the start of a segment: magic word, token, zeros.
HEADER: Final = Struct(f"8s{TOKEN_BYTES}s40x")
MAGIC: Final = b"mysched\x01"
#: Of the offsets of buffers: a cache line, which is also what vector instructions want at most.
ALIGNMENT: Final = 64

_NAME: Final = Struct(f"!II{TOKEN_BYTES}s")
_SPAN: Final = Struct("!QQ")
_PIPES: Final = Struct(f"!IB{TOKEN_BYTES}s")
_DESCRIPTOR: Final = Struct("!I")
#: Pipes through which one payload comes, at most.
PIPES_PER_BLOB_MAX: Final = 16
#: Longest encoded form, in bytes.
ENCODED_BYTES_MAX: Final = _PIPES.size + PIPES_PER_BLOB_MAX * _DESCRIPTOR.size + BUFFERS_PER_FRAME_MAX * _SPAN.size

Spans: TypeAlias = tuple[tuple[int, int], ...]


class SharedBlob:
    """Names the buffers of a ``Blob`` in a segment.

    Parameters
    ----------
    pid : int
        The process that owns the segment.
    descriptor : int
        Its descriptor of the segment.
    token : bytes
        Says which data, of all that the segment may hold in its life.
    spans : tuple of (int, int)
        Offset and length in bytes of each buffer, in ascending order.

    Raises
    ------
    ProtocolError
        No segment can look like this.

    Examples
    --------
    >>> shared = SharedBlob(7, 3, b"t" * 16, ((64, 5), (128, 1000)))
    >>> shared, shared.end
    (<SharedBlob of 1005 bytes in 2 buffers of process 7>, 1128)
    >>> SharedBlob.decode(shared.encode()) == shared
    True
    """

    __slots__ = ("descriptor", "nbytes", "pid", "spans", "token")

    def __init__(self, pid: int, descriptor: int, token: bytes, spans: Spans) -> None:
        if pid < 1 or len(token) != TOKEN_BYTES:
            raise ProtocolError(f"a segment of process {pid} with a token of {len(token)} bytes")
        if not 0 < len(spans) <= BUFFERS_PER_FRAME_MAX:
            raise ProtocolError(f"a segment with {len(spans)} buffers; 1 to {BUFFERS_PER_FRAME_MAX} are allowed")
        at = HEADER.size
        for offset, length in spans:
            if offset < at or offset % ALIGNMENT or not 0 <= length <= BUFFER_BYTES_MAX or offset > BUFFER_BYTES_MAX:
                raise ProtocolError(f"a buffer of {length} bytes at offset {offset} of a segment, after {at}")
            at = offset + length
        self.pid = pid
        self.descriptor = descriptor
        self.token = token
        self.spans = spans
        self.nbytes = sum(length for _, length in spans)

    def __repr__(self) -> str:
        return f"<SharedBlob of {self.nbytes} bytes in {len(self.spans)} buffers of process {self.pid}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SharedBlob):
            return NotImplemented
        return self.encode() == other.encode()

    def __hash__(self) -> int:
        return hash(self.token)

    @property
    def end(self) -> int:
        """The bytes of the segment that must be there."""
        offset, length = self.spans[-1]
        return offset + length

    def encode(self) -> bytes:
        """As it travels."""
        spans = b"".join(_SPAN.pack(offset, length) for offset, length in self.spans)
        return _NAME.pack(self.pid, self.descriptor, self.token) + spans

    @classmethod
    def decode(cls, data: bytes) -> SharedBlob:
        """Read what ``encode`` wrote.

        Raises
        ------
        ProtocolError
            It did not.
        """
        if len(data) <= _NAME.size or (len(data) - _NAME.size) % _SPAN.size:
            raise ProtocolError(f"the name of a segment has {len(data)} bytes")
        pid, descriptor, token = _NAME.unpack_from(data)
        return cls(pid, descriptor, token, tuple(_SPAN.iter_unpack(data[_NAME.size :])))


class PipedBlob:
    """Names the pipes from which the buffers of a ``Blob`` come.

    Parameters
    ----------
    pid : int
        The process that has the pipes.
    descriptors : tuple of int
        Its descriptors of the ends to read from.
    token : bytes
        What comes first, from each.
    spans : tuple of (int, int)
        Of each buffer: how far behind a multiple of ``ALIGNMENT`` it begins at the sender's, and its length in bytes. The
        kernel copies faster if it begins as far behind one at the receiver's.

    Raises
    ------
    ProtocolError
        No pipes can be like this.

    Examples
    --------
    >>> piped = PipedBlob(7, (3, 5), b"t" * 16, ((0, 5), (16, 1000)))
    >>> piped, PipedBlob.decode(piped.encode()) == piped
    (<PipedBlob of 1005 bytes in 2 buffers of process 7>, True)
    >>> piped.parts
    ((0, 503), (503, 1005))
    """

    __slots__ = ("descriptors", "nbytes", "pid", "spans", "token")

    def __init__(self, pid: int, descriptors: tuple[int, ...], token: bytes, spans: Spans) -> None:
        if pid < 1 or len(token) != TOKEN_BYTES:
            raise ProtocolError(f"a pipe of process {pid} with a token of {len(token)} bytes")
        if not 0 < len(descriptors) <= PIPES_PER_BLOB_MAX or len(set(descriptors)) < len(descriptors):
            raise ProtocolError(f"pipes {descriptors}; 1 to {PIPES_PER_BLOB_MAX} different ones are allowed")
        if not 0 < len(spans) <= BUFFERS_PER_FRAME_MAX:
            raise ProtocolError(f"a pipe with {len(spans)} buffers; 1 to {BUFFERS_PER_FRAME_MAX} are allowed")
        for shift, length in spans:
            if not 0 <= shift < ALIGNMENT or not 0 <= length <= BUFFER_BYTES_MAX:
                raise ProtocolError(
                    f"a pipe with a buffer of {length} bytes, {shift} behind a multiple of {ALIGNMENT}; "
                    f"at most {BUFFER_BYTES_MAX} are allowed"
                )
        self.pid = pid
        self.descriptors = descriptors
        self.token = token
        self.spans = spans
        self.nbytes = sum(length for _, length in spans)

    def __repr__(self) -> str:
        return f"<PipedBlob of {self.nbytes} bytes in {len(self.spans)} buffers of process {self.pid}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PipedBlob):
            return NotImplemented
        return self.encode() == other.encode()

    def __hash__(self) -> int:
        return hash(self.token)

    @property
    def parts(self) -> Spans:
        """Where the part of the concatenated buffers that comes through each pipe begins and ends."""
        return divide(self.nbytes, len(self.descriptors))

    def encode(self) -> bytes:
        """As it travels."""
        pipes = b"".join(map(_DESCRIPTOR.pack, self.descriptors))
        spans = b"".join(_SPAN.pack(shift, length) for shift, length in self.spans)
        return _PIPES.pack(self.pid, len(self.descriptors), self.token) + pipes + spans

    @classmethod
    def decode(cls, data: bytes) -> PipedBlob:
        """Read what ``encode`` wrote.

        Raises
        ------
        ProtocolError
            It did not.
        """
        if len(data) < _PIPES.size:
            raise ProtocolError(f"the name of a pipe has {len(data)} bytes")
        pid, count, token = _PIPES.unpack_from(data)
        spans_at = _PIPES.size + count * _DESCRIPTOR.size
        if len(data) <= spans_at or (len(data) - spans_at) % _SPAN.size:
            raise ProtocolError(f"the name of {count} pipes has {len(data)} bytes")
        descriptors = tuple(number for (number,) in _DESCRIPTOR.iter_unpack(data[_PIPES.size : spans_at]))
        return cls(pid, descriptors, token, tuple(_SPAN.iter_unpack(data[spans_at:])))


def divide(nbytes: int, count: int) -> Spans:
    """Cut ``nbytes`` bytes into ``count`` parts, all but the last of the same length: where each begins and ends.

    Examples
    --------
    >>> divide(10, 3)
    ((0, 4), (4, 8), (8, 10))
    """
    step = -(-nbytes // count)
    return tuple((min(number * step, nbytes), min((number + 1) * step, nbytes)) for number in range(count))


def lay_out(lengths: Iterable[int]) -> tuple[Spans, int]:
    """Where buffers of these lengths go in a segment, and how long it must be.

    Examples
    --------
    >>> lay_out([5, 1000])
    (((64, 5), (128, 1000)), 1128)
    """
    spans: list[tuple[int, int]] = []
    at = end = HEADER.size
    for length in lengths:
        spans.append((at, length))
        end = at + length
        at = -(-end // ALIGNMENT) * ALIGNMENT
    return tuple(spans), end
