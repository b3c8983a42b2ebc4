"""Memory to receive large buffers into, used again when what was made of it is gone.

Half of the time of a transfer within a host is the kernel finding memory and clearing it. So memory is kept for a few
seconds, while data keeps coming; the kernel is told that it may take it back when it is short.

There is no lock, as memory comes back from the garbage collector, at any moment in any thread: each step is one operation
of a list.
"""

from __future__ import annotations

import asyncio
import ctypes
import mmap
import time
import weakref
from contextlib import suppress
from typing import Final

from ..base.limits import MIB
from ..base.system import memory_limit
from ..protocol.memory import allocate

#: Memory is kept for this long after it was used last, and only if data came in not longer ago.
IDLE_S: Final = 5.0
#: Smaller buffers are left to the allocator.
POOLED_BYTES_MIN: Final = MIB
#: ``take`` asks for a look at what is kept this often, at most.
_TRIM_EVERY_S: Final = 1.0
_KEPT_BYTES_MAX: Final = 1024 * MIB
_KEPT_PART: Final = 16  # of the memory that this process may use
#: Each is looked at whenever one is taken.
KEPT_MAX: Final = 256


class Buffers:
    """A pool of memory.

    Parameters
    ----------
    limit : int
        Bytes that are kept at most.

    Examples
    --------
    >>> buffers = Buffers(2**30)
    >>> first = buffers.take(3_000_000)
    >>> first[0], len(first), buffers.kept_bytes
    (0, 3000000, 0)
    >>> del first
    >>> buffers.kept_bytes
    3145728
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._free: list[tuple[mmap.mmap, float]] = []  # and since when
        self._taken_at = 0.0

    @property
    def kept_bytes(self) -> int:
        """Bytes that are free now."""
        return sum(len(memory) for memory, _ in list(self._free))

    def take(self, nbytes: int, shift: int = 0) -> memoryview:
        """Writable memory for ``nbytes`` bytes, whatever they are now.

        Parameters
        ----------
        nbytes : int
            From ``POOLED_BYTES_MIN`` on it is this pool's.
        shift : int
            How many bytes behind the start of a page it begins, then.

        Raises
        ------
        ProtocolError
            This process cannot have that much.
        """
        if nbytes < POOLED_BYTES_MIN:
            return allocate(nbytes)
        self._taken_at = time.monotonic()
        size = _rounded(shift + nbytes)
        memory = self._find(size)
        if memory is None:
            made = allocate(size).obj
            assert isinstance(made, mmap.mmap)
            memory = made
        array = (ctypes.c_ubyte * nbytes).from_buffer(memory, shift)
        # Whatever is made of the view keeps the array; at the end of the program nobody needs the memory back.
        weakref.finalize(array, self._give_back, memory).atexit = False
        return memoryview(array).cast("B")

    def _find(self, size: int) -> mmap.mmap | None:
        """The smallest that is large enough and does not waste more than a quarter."""
        fitting = [entry for entry in list(self._free) if size <= len(entry[0]) <= size + size // 4]
        for entry in sorted(fitting, key=lambda entry: len(entry[0])):
            with suppress(ValueError):  # another thread was faster
                self._free.remove(entry)
                return entry[0]
        return None

    def _give_back(self, memory: mmap.mmap) -> None:
        now = time.monotonic()
        wanted = now - self._taken_at < IDLE_S and len(self._free) < KEPT_MAX
        if wanted and self.kept_bytes + len(memory) <= self.limit:
            if hasattr(mmap, "MADV_FREE"):
                with suppress(OSError, ValueError):
                    memory.madvise(mmap.MADV_FREE)
            self._free.append((memory, now))

    def trim(self) -> None:
        """Let go of what was not used for a while; to be called ``2 * IDLE_S`` after each use."""
        latest = time.monotonic() - IDLE_S
        for entry in [entry for entry in list(self._free) if entry[1] <= latest]:
            with suppress(ValueError):
                self._free.remove(entry)


def _rounded(nbytes: int) -> int:
    """An eighth more at most, so that it does for data of about the same size; what is not written to is not occupied."""
    step = 1 << (nbytes.bit_length() - 4)
    return -(-nbytes // step) * step


#: Of this process.
buffers: Final = Buffers(min(_KEPT_BYTES_MAX, memory_limit() // _KEPT_PART))

#: The loop that will trim these, and when it was told to.
_trimmer: tuple[asyncio.AbstractEventLoop | None, float] = (None, 0.0)


def take(nbytes: int, shift: int = 0) -> memoryview:
    """Memory of this process's pool, on a running event loop, which lets go of it in time: see ``Buffers.take``."""
    global _trimmer
    if nbytes >= POOLED_BYTES_MIN:
        loop = asyncio.get_running_loop()
        told = (loop, loop.time())
        if _trimmer[0] is not loop or told[1] - _trimmer[1] >= _TRIM_EVERY_S:
            _trimmer = told
            loop.call_later(2 * IDLE_S + _TRIM_EVERY_S, buffers.trim)
    return buffers.take(nbytes, shift)
