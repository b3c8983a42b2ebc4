"""Messages to bytes and back: the control part of frames, in msgpack, with blobs left out of it.

A frame is ``header, lengths, control, buffers``: the length of the control part and the number of buffers (u32 each),
the length of each buffer (u64), the control part, the raw buffers; all integers big-endian. The control part is one
msgpack array ``[epoch, sender, sequence, messages]``. A ``Blob`` in a message is an extension of type 1 that says which
of the frame's buffers are its own (index of the first and number, u32 each). A ``SharedBlob`` is an extension of
type 2, a ``PipedBlob`` of type 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from struct import Struct
from typing import Any, Final, NamedTuple, TypeAlias

import msgpack  # type: ignore[import-untyped]

from ..base.errors import ProtocolError, UsageError
from ..base.limits import BUFFERS_PER_FRAME_MAX, CONTROL_BYTES_MAX, MIB, ROWS_PER_MESSAGE_MAX
from .blob import Blob
from .messages import SPECS, Message
from .shared import ENCODED_BYTES_MAX, PipedBlob, SharedBlob

Buffer: TypeAlias = bytes | bytearray | memoryview

HEADER: Final = Struct("!II")
#: A batch of messages is cut into frames of about this size, so that the peer can start on the first.
FRAME_BYTES: Final = MIB
#: Entries of one array. Only a message beyond FRAME_BYTES can have more, so only those are looked through.
ARRAY_LENGTH_MAX: Final = 1024 * 1024

#: Maps of one frame: infos, metrics, answers. An empty one takes 1 byte on the wire and 88 in memory.
MAPS_PER_FRAME_MAX: Final = 65_536
_BLOB_CODE: Final = 1
_BLOB: Final = Struct("!II")
_SHARED_CODE: Final = 2
_PIPED_CODE: Final = 3
_BUFFERS_PER_FRAME: Final = 1024  # as FRAME_BYTES: where to cut, not a limit
_ENVELOPE_BYTES_MAX: Final = 512
_SENDER_CHARS_MAX: Final = 64
_JOINED_BYTES_MAX: Final = 256 * 1024
#: Arrays up to this length are decoded as they come; nested as deep as msgpack goes, they can claim 4 MiB.
_UNCHECKED_LENGTH_MAX: Final = ROWS_PER_MESSAGE_MAX
#: One value in a file.
_RECORD_BYTES_MAX: Final = 256 * MIB


class Frame(NamedTuple):
    """The envelope and the messages of one frame, as they came in; the messages are not validated yet.

    ``control`` is what they were decoded from: empty if that were no bytes, and to be copied by whoever wants to keep it.
    """

    epoch: int
    sender: str
    sequence: int
    messages: tuple[Message, ...]
    control: Buffer = b""

    def __repr__(self) -> str:
        return (
            f"Frame(epoch={self.epoch}, sender={self.sender!r}, sequence={self.sequence}, messages={self.messages!r})"
        )


class Encoder:
    """Encodes messages one by one and hands them over as frames.

    Messages are encoded when they are added: an error reaches whoever made the message, and changing it afterwards
    has no effect. Buffers of blobs are not copied.

    Examples
    --------
    >>> encoder = Encoder()
    >>> control = b"".join(encoder.encode(7, "a1", 0, [(4, "done")]))[HEADER.size:]
    >>> decode(control, ())
    Frame(epoch=7, sender='a1', sequence=0, messages=((4, 'done'),))
    """

    __slots__ = ("_buffers", "_closed", "_packer", "_parts", "_prefix", "_prefixed", "_size", "_surrogate_packer")

    def __init__(self) -> None:
        self._packer = msgpack.Packer(default=self._pack_other)
        self._surrogate_packer: msgpack.Packer | None = None
        self._closed: list[tuple[list[bytes], int, list[Buffer]]] = []  # frames that are full
        self._prefixed: tuple[int, str] | None = None  # what _prefix says
        self._prefix = b""
        self._parts: list[bytes] = []
        self._size = 0
        self._buffers: list[Buffer] = []

    def add(self, message: Message) -> int:
        """Encode one message.

        Parameters
        ----------
        message : tuple
            See ``messages``.

        Returns
        -------
        int
            Bytes it will take on the wire, buffers included.

        Raises
        ------
        UsageError
            The message is too large, or holds something that does not travel.
        """
        buffers = self._buffers
        before = len(buffers)
        try:
            part: bytes = self._packer.pack(message)
        except Exception as error:  # noqa: BLE001 (the other packer, or a name for what is wrong)
            del buffers[before:]
            part = self._pack_again(message, error)
        nbytes = len(part)
        size = self._size + nbytes
        if size < FRAME_BYTES and not buffers:  # the usual case: nothing is near any limit
            self._parts.append(part)
            self._size = size
            return nbytes
        return self._add_large(message, part, before)

    def _add_large(self, message: Message, part: bytes, before: int) -> int:
        """Note what has been encoded, with the buffers after the first ``before``, if it is not too large."""
        buffers = self._buffers
        full = self._size + len(part) > CONTROL_BYTES_MAX - _ENVELOPE_BYTES_MAX
        if self._parts and (full or len(buffers) > BUFFERS_PER_FRAME_MAX):
            del buffers[before:]
            self._close_frame()
            return self.add(message)
        try:
            if len(part) > FRAME_BYTES:
                _check_large(message, len(part))
            if len(buffers) - before > BUFFERS_PER_FRAME_MAX:
                raise UsageError(f"{_name(message)} has more than {BUFFERS_PER_FRAME_MAX} buffers; send less at once")
        except UsageError:
            del buffers[before:]
            raise
        nbytes = len(part)
        if len(buffers) > before:
            nbytes += sum(_nbytes(buffer) for buffer in buffers[before:])
        self._parts.append(part)
        self._size += len(part)
        if self._size >= FRAME_BYTES or len(buffers) >= _BUFFERS_PER_FRAME:
            self._close_frame()
        return nbytes

    def take(self, epoch: int, sender: str, sequence: int) -> tuple[list[Buffer], int]:
        """Hand over what was added since the last time.

        Parameters
        ----------
        epoch : int
            Start of the scheduler, 0 if not known yet.
        sender : str
            Incarnation of the sender.
        sequence : int
            Number of the first frame; later ones count on.

        Returns
        -------
        tuple of (list of bytes-like, int)
            What to write, in order, and the number of frames it makes.
        """
        if self._parts:
            self._close_frame()
        frames, self._closed = self._closed, []
        if (epoch, sender) != self._prefixed:
            self._prefixed = epoch, sender
            self._prefix = b"\x94" + self._packer.pack(epoch) + self._packer.pack(sender)
        out: list[Buffer] = []
        for number, (parts, nbytes, buffers) in enumerate(frames, sequence):
            envelope = self._prefix + self._packer.pack(number) + self._packer.pack_array_header(len(parts))
            size = len(envelope) + nbytes
            header = HEADER.pack(size, len(buffers))
            if buffers:
                header += Struct(f"!{len(buffers)}Q").pack(*map(_nbytes, buffers))
            if size <= _JOINED_BYTES_MAX or len(parts) > 8:
                out.append(b"".join((header, envelope, *parts)))
            else:
                out.append(header + envelope)
                out += parts
            out += buffers
        return out, len(frames)

    def encode(self, epoch: int, sender: str, sequence: int, messages: Sequence[Message]) -> list[Buffer]:
        """Encode ``messages`` at once; see ``add`` and ``take``."""
        for message in messages:
            self.add(message)
        return self.take(epoch, sender, sequence)[0]

    def _close_frame(self) -> None:
        self._closed.append((self._parts, self._size, self._buffers))
        self._parts, self._size, self._buffers = [], 0, []

    def _pack_again(self, message: Message, error: Exception) -> bytes:
        """What the usual packer could not do."""
        if isinstance(error, UnicodeEncodeError):  # names of files may hold lone surrogates; that packer is slower
            if self._surrogate_packer is None:
                self._surrogate_packer = msgpack.Packer(default=self._pack_other, unicode_errors="surrogatepass")
            try:
                packed: bytes = self._surrogate_packer.pack(message)
            except Exception as other:  # noqa: BLE001 (as the usual packer)
                error = other
            else:
                return packed
        if isinstance(error, (TypeError, ValueError, OverflowError)):
            raise UsageError(f"{_name(message)} cannot be encoded: {error}") from error
        raise error

    def _pack_other(self, value: Any) -> msgpack.ExtType:
        if type(value) is SharedBlob:
            return msgpack.ExtType(_SHARED_CODE, value.encode())
        if type(value) is PipedBlob:
            return msgpack.ExtType(_PIPED_CODE, value.encode())
        if type(value) is not Blob:
            raise TypeError(f"a {type(value).__name__} does not travel in messages: {value!r:.80}")
        first = len(self._buffers)
        self._buffers += [_flat(buffer) for buffer in value.buffers]
        return msgpack.ExtType(_BLOB_CODE, _BLOB.pack(first, len(value.buffers)))


def _flat(buffer: Buffer) -> Buffer:
    if type(buffer) is memoryview and (buffer.ndim != 1 or buffer.itemsize != 1):
        return buffer.cast("B")
    return buffer


def _nbytes(buffer: Buffer) -> int:
    return buffer.nbytes if type(buffer) is memoryview else len(buffer)


def _name(message: Any) -> str:
    spec = SPECS.get(message[0]) if isinstance(message, tuple) and message else None
    return f"a {spec.name} message" if spec else "a message"


def _check_large(message: Message, nbytes: int) -> None:
    if nbytes > CONTROL_BYTES_MAX - _ENVELOPE_BYTES_MAX:
        raise UsageError(
            f"{_name(message)} takes {nbytes} bytes without its buffers, at most {CONTROL_BYTES_MAX} can be sent; "
            "send fewer rows, shorter keys or fewer dependencies at once"
        )
    longest = _longest(message)
    if longest > ARRAY_LENGTH_MAX:
        raise UsageError(
            f"{_name(message)} holds an array of {longest} entries, at most {ARRAY_LENGTH_MAX} can be sent; "
            "send fewer at once"
        )


def _longest(message: Message) -> int:
    """The length of the longest array. One depth after the other, as there may be many thousand short ones."""
    longest = 0
    level: list[Any] = [message]
    while level:
        arrays = [part for part in level if not isinstance(part, dict)]
        longest = max(longest, max(map(len, arrays), default=0))
        parts = chain(chain.from_iterable(arrays), *[part.values() for part in level if isinstance(part, dict)])
        level = [part for part in parts if isinstance(part, (tuple, list, dict))]
    return longest


def decode(control: Buffer, buffers: Sequence[Buffer]) -> Frame:
    """Decode the control part of a frame.

    Parameters
    ----------
    control : bytes-like
        One msgpack value.
    buffers : sequence of bytes-like
        The raw buffers of the same frame; blobs refer to them.

    Returns
    -------
    Frame
        Arrays are tuples; the messages are not validated.

    Raises
    ------
    ProtocolError
        It is anything else than an encoder makes.
    """

    def extension(code: int, data: bytes) -> Blob | SharedBlob | PipedBlob:
        if code == _SHARED_CODE:
            return SharedBlob.decode(data)
        if code == _PIPED_CODE:
            return PipedBlob.decode(data)
        if code != _BLOB_CODE or len(data) != _BLOB.size:
            raise ProtocolError(f"unknown extension {code} of {len(data)} bytes")
        first, count = _BLOB.unpack(data)
        if not count or first + count > len(buffers):
            raise ProtocolError(f"a blob refers to buffers {first} to {first + count} of {len(buffers)}")
        return Blob(tuple(buffers[first : first + count]))

    try:
        try:
            value = _unpack(control, extension, _UNCHECKED_LENGTH_MAX)
        except ValueError:
            if len(control) <= _UNCHECKED_LENGTH_MAX:
                raise
            _check_claims(control)
            value = _unpack(control, extension, ARRAY_LENGTH_MAX)
    except ProtocolError:
        raise
    except Exception as error:
        raise ProtocolError(f"a frame cannot be decoded: {type(error).__name__}: {error!s:.200}") from error
    if type(value) is not tuple or len(value) != 4:
        raise ProtocolError("a frame is an array of epoch, sender, sequence and messages")
    epoch, sender, sequence, messages = value
    if type(epoch) is not int or type(sender) is not str or type(sequence) is not int or type(messages) is not tuple:
        raise ProtocolError("the envelope of a frame is an integer, a string, an integer and an array")
    if epoch < 0 or sequence < 0 or len(sender) > _SENDER_CHARS_MAX:
        raise ProtocolError("the envelope of a frame is out of range")
    return Frame(epoch, sender, sequence, messages, control)


def _unpack(control: Buffer, extension: Callable[[int, bytes], Any], longest: int) -> Any:
    """The value, if no array or map in it says that it is longer than ``longest``; else ValueError."""
    nbytes = len(control)
    if longest > nbytes:
        longest = nbytes
    return msgpack.unpackb(
        control,
        use_list=False,
        strict_map_key=True,
        unicode_errors="surrogatepass",
        object_hook=_count_maps() if nbytes > MAPS_PER_FRAME_MAX else None,
        ext_hook=extension,
        max_array_len=longest,
        max_map_len=longest,
        max_str_len=nbytes,
        max_bin_len=nbytes,
        max_ext_len=min(nbytes, ENCODED_BYTES_MAX),
    )


def _count_maps() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Leaves maps as they are; ProtocolError when there are too many."""
    maps = 0

    def count(value: dict[str, Any]) -> dict[str, Any]:
        nonlocal maps
        maps += 1
        if maps > MAPS_PER_FRAME_MAX:
            raise ProtocolError(f"a frame with more than {MAPS_PER_FRAME_MAX} maps")
        return value

    return count


def _check_claims(control: Buffer) -> None:
    """Raise ValueError unless all elements that arrays claim are there, without making any.

    An array is allocated when its head is read. Long ones inside each other could claim a thousand times more memory
    than the frame has bytes, and only fail at its end. It takes a fifth of the time that decoding does, so frames
    that have no long arrays are spared.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=len(control))
    unpacker.feed(control)
    try:
        unpacker.skip()
    except msgpack.OutOfData:
        raise ValueError("it ends before the arrays in it do") from None


# ---- in files: the same values, without an envelope and its limits ----------------------------------------------------


_file_packer: Final = msgpack.Packer(unicode_errors="surrogatepass")


def pack(value: Any) -> bytes:
    """Encode numbers, strings, bytes, tuples, lists and maps; tuples and lists become the same.

    Examples
    --------
    >>> unpack(pack(("x", [1, None])))
    ('x', (1, None))
    """
    packed: bytes = _file_packer.pack(value)
    return packed


def unpack(data: bytes) -> Any:
    """Decode what ``pack`` has made."""
    return msgpack.unpackb(data, use_list=False, strict_map_key=False, unicode_errors="surrogatepass")


def unpack_control(control: bytes) -> tuple[Message, ...]:
    """The messages of a frame of which only the control part is there: large payloads are empty.

    Examples
    --------
    >>> unpack_control(b"".join(Encoder().encode(7, "a1", 0, [(4, "done")]))[HEADER.size:])
    ((4, 'done'),)
    """
    messages: tuple[Message, ...] = msgpack.unpackb(
        control, use_list=False, strict_map_key=True, unicode_errors="surrogatepass", ext_hook=_nothing
    )[3]
    return messages


def _nothing(code: int, data: bytes) -> bytes:
    return b""


def unpack_all(chunks: Iterable[bytes], what: str) -> Iterator[Any]:
    """The values that ``pack`` has made, from one stream.

    Parameters
    ----------
    chunks : iterable of bytes
        Cut anywhere.
    what : str
        Names the stream in errors.

    Raises
    ------
    UsageError
        It is no such stream. An end that is missing is not noticed here.
    """
    unpacker = msgpack.Unpacker(
        use_list=False, strict_map_key=False, unicode_errors="surrogatepass", max_buffer_size=_RECORD_BYTES_MAX
    )
    try:
        for chunk in chunks:
            unpacker.feed(chunk)
            yield from unpacker
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise UsageError(f"{what} cannot be read: {type(error).__name__}: {error}") from error
