"""What a worker's process uses of its memory limit, for the machine, which pauses above a part of it.

It is weighed at each beat, and whenever new results have taken a sixteenth of that part: short tasks may fill a worker faster
than it beats.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable
from functools import cache
from math import inf
from typing import Final

from ..events import Weighed
from .metrics import used_bytes

#: Above this part of the bytes at which a worker pauses, what was freed is given back to the system before it is weighed.
TIDY_ABOVE: Final = 0.75
#: Of the bytes at which the worker pauses, what new results may take until the next look.
STEP: Final = 1 / 16
#: Seconds between two times of that: it may take some milliseconds per GiB.
TIDY_S: Final = 2.0


class Scales:
    """Weighs this process.

    Parameters
    ----------
    pause_at : int
        Bytes at which the worker pauses; 0 if it never does.
    handle : callable
        Called on the running loop with ``Weighed``, soon after each ``weigh``.
    """

    def __init__(self, pause_at: int, handle: Callable[[Weighed], None]) -> None:
        self._pause_at = pause_at
        self._handle = handle
        self._due_at = inf  # bytes of results from which on the next look is due before the next beat
        self._tidied_at = -TIDY_S
        self._tidying: asyncio.Task[None] | None = None

    def note(self, managed: int) -> None:
        """There are new results; with them, this many bytes are held."""
        if managed >= self._due_at:
            self.weigh(managed)

    def weigh(self, managed: int) -> None:
        """Find out how much is used, while this many bytes of results are held."""
        used = used_bytes(os.getpid()) if self._pause_at else None
        if used is None or self._tidying is not None:
            return
        self._due_at = managed + STEP * self._pause_at
        loop = asyncio.get_running_loop()
        if used > TIDY_ABOVE * self._pause_at and loop.time() >= self._tidied_at + TIDY_S:
            self._tidied_at = loop.time()
            self._tidying = loop.create_task(self._tidy(), name="give memory back")
        else:
            loop.call_soon(self._handle, Weighed(used))

    async def _tidy(self) -> None:
        try:
            await asyncio.to_thread(give_back_memory)
        finally:
            self._tidying = None
        self._handle(Weighed(used_bytes(os.getpid()) or 0))

    def close(self) -> None:
        """Weigh no more."""
        self._pause_at = 0
        self._due_at = inf
        if self._tidying is not None:
            self._tidying.cancel()


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it


def give_back_memory() -> None:
    """Have the C library return what was freed to the system: else a process stays large when what made it large is gone."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)
