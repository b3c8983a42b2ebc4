"""Memory to receive large buffers into, used again when what was made of it is gone.

Half of the time of a transfer within a host is the kernel finding memory and clearing it. So memory is kept for a few
seconds, while data keeps coming; the kernel is told that it may take it back when it is short.

There is no lock, as memory comes back from the garbage collector, at any moment in any thread: each step is one operation
of a list.
"""

from __future__ import annotations

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
#: Sizes are rounded up to this: a huge page.
_GRAIN_BYTES: Final = 2 * MIB
_KEPT_BYTES_MAX: Final = 1024 * MIB
_KEPT_PART: Final = 16  # of the memory that this process may use


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
    4194304
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
        size = -(-(shift + nbytes) // _GRAIN_BYTES) * _GRAIN_BYTES
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
        if now - self._taken_at < IDLE_S and self.kept_bytes + len(memory) <= self.limit:
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


#: Of this process.
buffers: Final = Buffers(min(_KEPT_BYTES_MAX, memory_limit() // _KEPT_PART))
