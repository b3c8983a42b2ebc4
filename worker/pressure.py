"""When a worker is short of memory."""

from __future__ import annotations

from typing import Final

#: A worker that is paused goes on when it uses less than this part of the bytes at which it was paused: if these are 80 % of
#: its memory limit, below 70 % of it.
RESUME: Final = 7 / 8


class Pressure:
    """Whether a worker is paused: it starts nothing then but what nobody else can run.

    Parameters
    ----------
    pause_at : int
        Bytes above which it is; 0 for never.

    Examples
    --------
    >>> pressure = Pressure(800)
    >>> [pressure.changes(nbytes) for nbytes in (750, 810, 750, 690)]
    [False, True, False, True]
    """

    __slots__ = ("_pause_at", "paused")

    def __init__(self, pause_at: int) -> None:
        self._pause_at = pause_at
        self.paused = False

    def changes(self, nbytes: int) -> bool:
        """Take in how much is used; whether the worker is paused, or goes on, because of that."""
        limit = self._pause_at
        changed = nbytes < RESUME * limit if self.paused else nbytes > limit > 0
        self.paused ^= changed
        return changed
