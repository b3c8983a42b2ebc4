"""Memory to receive buffers into: it costs nothing before it is written to, and what is to be ``bytes`` need not be copied."""

from __future__ import annotations

import ctypes
import mmap
from typing import Final

from ..base.errors import ProtocolError
from ..base.limits import KIB, MIB

_OWNED_BYTES_MIN: Final = 64 * KIB
_MAPPED_BYTES_MIN: Final = MIB
#: Receiving into huge pages is about twice as fast: the kernel has 500 times fewer pages to find and clear.
_HUGE_BYTES_MIN: Final = 4 * MIB
_MAP_FLAGS: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)

_new_bytes: Final = ctypes.pythonapi.PyBytes_FromStringAndSize
_new_bytes.restype = ctypes.py_object
_new_bytes.argtypes = (ctypes.c_void_p, ctypes.c_ssize_t)
_address_of: Final = ctypes.pythonapi.PyBytes_AsString
_address_of.restype = ctypes.c_void_p
_address_of.argtypes = (ctypes.py_object,)


def allocate(nbytes: int) -> memoryview:
    """Writable memory for ``nbytes`` bytes, whatever they are now; from 1 MiB on it is only occupied as it is written.

    Raises
    ------
    ProtocolError
        This process cannot have that much.

    Examples
    --------
    >>> memory = allocate(100_000)
    >>> memory[:] = b"x" * 100_000
    >>> as_bytes(memory)[:3]
    b'xxx'
    """
    if nbytes < _OWNED_BYTES_MIN:
        return memoryview(bytearray(nbytes))
    if nbytes < _MAPPED_BYTES_MIN:
        return _owned(nbytes)
    try:
        memory = mmap.mmap(-1, nbytes, flags=_MAP_FLAGS)
    except (OSError, ValueError, OverflowError) as error:
        raise ProtocolError(f"the peer announced a buffer of {nbytes} bytes: {error}") from error
    if nbytes >= _HUGE_BYTES_MIN and hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            memory.madvise(mmap.MADV_HUGEPAGE)
        except OSError:
            return memoryview(memory)  # a kernel without huge pages: slower, nothing else
    return memoryview(memory)


def _owned(nbytes: int) -> memoryview:
    """The memory of a new ``bytes``, which C code may fill before anybody has seen it."""
    owner = _new_bytes(None, nbytes)
    array = (ctypes.c_ubyte * nbytes).from_address(_address_of(owner))
    array.owner = owner  # type: ignore[attr-defined]
    return memoryview(array).cast("B")


def as_bytes(buffer: bytes | bytearray | memoryview) -> bytes:
    """The contents of a buffer: without a copy if it is all of what ``allocate`` gave, which nobody may write to any more."""
    if isinstance(buffer, memoryview):
        owner = getattr(buffer.obj, "owner", None)
        if type(owner) is bytes and len(owner) == buffer.nbytes:
            return owner
    return bytes(buffer)
