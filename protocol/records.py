"""Plain values as bytes, for files: the same encoding as on the wire, without its envelope and limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]

from ..base.errors import UsageError
from ..base.limits import MIB
from .messages import Message

#: One record of a file.
RECORD_BYTES_MAX: Final = 256 * MIB

_packer: Final = msgpack.Packer(unicode_errors="surrogatepass")


def pack(value: Any) -> bytes:
    """Encode numbers, strings, bytes, tuples, lists and maps; tuples and lists become the same.

    Examples
    --------
    >>> unpack(pack(("x", [1, None])))
    ('x', (1, None))
    """
    packed: bytes = _packer.pack(value)
    return packed


def unpack(data: bytes) -> Any:
    """Decode what ``pack`` has made."""
    return msgpack.unpackb(data, use_list=False, strict_map_key=False, unicode_errors="surrogatepass")


def unpack_control(control: bytes) -> tuple[Message, ...]:
    """The messages of a frame of which only the control part is there: large payloads are empty.

    Examples
    --------
    >>> from .codec import HEADER, Encoder
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
        use_list=False, strict_map_key=False, unicode_errors="surrogatepass", max_buffer_size=RECORD_BYTES_MAX
    )
    try:
        for chunk in chunks:
            unpacker.feed(chunk)
            yield from unpacker
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise UsageError(f"{what} cannot be read: {type(error).__name__}: {error}") from error
