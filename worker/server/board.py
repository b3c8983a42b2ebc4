"""A little memory that a worker's process shares with its keeper: signs of life, and what runs. No side needs a system call.

It outlives the process, however that ends, so the keeper can tell which runs it died with.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import MutableSequence
from typing import Final

#: Seconds between two beats.
BEAT_S: Final = 0.5
#: Lanes whose runs are noted: as many threads, and functions that have left their threads, and coroutines.
LANES_MAX: Final = 4096
_BYTES: Final = 8 * (LANES_MAX + 2)
_BEATS, _OVERFLOWN, _LANES = 0, 1, 2


class Board:
    """Written by the process, read by its keeper.

    Parameters
    ----------
    descriptor : int
        Of memory made by ``make``; may be closed afterwards.

    Examples
    --------
    >>> descriptor = Board.make()
    >>> written, read = Board(descriptor), Board(descriptor)
    >>> os.close(descriptor)
    >>> written.beat()
    >>> written.pool(nthreads=1)[0] = 7
    >>> read.beats, read.running
    (1, (7,))
    """

    def __init__(self, descriptor: int) -> None:
        self._words = memoryview(mmap.mmap(descriptor, _BYTES)).cast("Q")
        self._runs = self._words[_LANES:]  # by lane, the attempt that runs there; 0 for none

    @staticmethod
    def make() -> int:
        """A descriptor of new memory, all zeros, that a child can inherit; it has no name in the file system."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("myscheduler-board")
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, _BYTES)
        return descriptor

    @classmethod
    def private(cls) -> Board:
        """One that nobody else sees."""
        descriptor = cls.make()
        try:
            return cls(descriptor)
        finally:
            os.close(descriptor)

    @property
    def beats(self) -> int:
        """How often the event loop of the process has come round to ``beat``; 0 before it has begun."""
        return self._words[_BEATS]

    @property
    def running(self) -> tuple[int, ...]:
        """The attempts that run; none also if there were once more than can be noted."""
        return () if self._words[_OVERFLOWN] else tuple(attempt for attempt in self._runs if attempt)

    def beat(self) -> None:
        """The event loop turns."""
        self._words[_BEATS] += 1

    def pool(self, nthreads: int) -> MutableSequence[int] | memoryview:
        """Where threads note what they run, by their numbers; 0 for nothing."""
        if nthreads <= LANES_MAX:
            return self._runs
        self._words[_OVERFLOWN] = 1
        return [0] * nthreads

    def note(self, lane: int, attempt: int) -> None:
        """An attempt runs in a lane, or none (0) any more."""
        if lane < LANES_MAX:
            self._runs[lane] = attempt
        else:
            self._words[_OVERFLOWN] = 1

    def clear(self) -> None:
        """The process begins anew."""
        self._words[_BEATS] = self._words[_OVERFLOWN] = 0
        for lane in range(LANES_MAX):
            self._runs[lane] = 0
