"""Messages over the pipes between a process and its child. Large buffers are written and read without copies."""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any, BinaryIO, Final

from ..protocol.blob import Blob

_COUNT: Final = struct.Struct("<I")
_LENGTH: Final = struct.Struct("<Q")


class _Pickler(pickle.Pickler):
    """Knows how to leave out the buffers of blobs."""

    def reducer_override(self, item: Any) -> Any:
        """Take blobs apart; all else as usual."""
        if type(item) is Blob:
            return _make_blob, tuple(map(pickle.PickleBuffer, item.buffers))
        return NotImplemented


def _make_blob(*buffers: Any) -> Blob:
    return Blob(buffers)


def dumps(message: Any) -> bytes:
    """Write one message as bytes, its buffers among them, for pipes that are not ours; ``pickle`` reads it."""
    control = io.BytesIO()
    _Pickler(control, 5).dump(message)
    return control.getvalue()


def send(stream: BinaryIO, message: Any) -> None:
    """Write one message.

    Parameters
    ----------
    stream : binary file
        Buffered.
    message : object
        Plain data and payloads.

    Raises
    ------
    OSError
        The other side is gone.
    """
    buffers: list[pickle.PickleBuffer] = []
    control = io.BytesIO()
    _Pickler(control, 5, buffer_callback=buffers.append).dump(message)
    parts = [control.getbuffer(), *(buffer.raw() for buffer in buffers)]
    stream.write(_COUNT.pack(len(parts)) + b"".join([_LENGTH.pack(part.nbytes) for part in parts]))
    stream.writelines(parts)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Read one message.

    Parameters
    ----------
    stream : binary file
        Buffered.

    Raises
    ------
    EOFError
        The other side has closed the pipe, or is gone.
    """
    (count,) = _COUNT.unpack(_read(stream, _COUNT.size))
    lengths = _read(stream, count * _LENGTH.size)
    control, *buffers = [_read(stream, length) for (length,) in _LENGTH.iter_unpack(lengths)]
    return pickle.loads(control, buffers=buffers)  # noqa: S301 - our own child, over a pipe that nobody else has


def _read(stream: BinaryIO, length: int) -> bytearray:
    data = bytearray(length)
    view = memoryview(data)
    done = 0
    while done < length:
        count = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        done += count
    return data
