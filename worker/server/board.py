"""A little memory that a worker's process shares with its keeper: signs of life that cost neither side a system call."""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Final

#: Seconds between two beats.
BEAT_S: Final = 0.5
_BYTES: Final = mmap.PAGESIZE


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
    >>> read.beats
    1
    """

    def __init__(self, descriptor: int) -> None:
        self._words = memoryview(mmap.mmap(descriptor, _BYTES)).cast("Q")

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

    @property
    def beats(self) -> int:
        """How often the event loop of the process has come round to ``beat``; 0 before it has begun."""
        return self._words[0]

    def beat(self) -> None:
        """The event loop turns."""
        self._words[0] += 1

    def clear(self) -> None:
        """The process begins anew."""
        self._words[0] = 0
