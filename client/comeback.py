"""When a client that has lost its connection dials again, and when it stops trying."""

from __future__ import annotations

from typing import Final

from ..base.backoff import Backoff

#: A connection that has lasted for so many seconds was one, even if nothing was said.
STABLE_S: Final = 10.0


class Comeback:
    """The patience of one client, over all of its connections.

    A connection that breaks again before anything has got through was none: the patience goes on from the loss before it.

    Attributes
    ----------
    since : float
        The moment of the loss from which the patience counts.

    Examples
    --------
    >>> comeback = Comeback()
    >>> comeback.lost(now=100.0, progress=3, patience=30.0)
    >>> comeback.next_wait(100.0, 1.0), comeback.next_wait(100.05, 1.0)
    (0.05, 0.1)
    >>> comeback.back(now=100.15)
    >>> comeback.lost(now=100.2, progress=3, patience=30.0)  # nothing has got through
    >>> comeback.next_wait(100.2, 1.0), comeback.since
    (0.2, 100.0)
    """

    __slots__ = ("_back_at", "_backoff", "_progress", "since")

    def __init__(self) -> None:
        self._backoff: Backoff | None = None
        self._progress = 0
        self._back_at = 0.0
        self.since = 0.0

    def lost(self, now: float, progress: int, patience: float) -> None:
        """The connection is gone.

        Parameters
        ----------
        now : float
            Seconds of any clock.
        progress : int
            Differs from that of the loss before if something has got through since.
        patience : float
            For how many seconds to try.
        """
        if self._backoff is None or progress != self._progress or now - self._back_at > STABLE_S:
            self._backoff = Backoff(now, patience)
            self.since = now
        self._progress = progress

    def next_wait(self, now: float, chance: float) -> float | None:
        """Seconds to wait before the next attempt, as ``Backoff.next_wait``; None when there is no patience left."""
        assert self._backoff is not None
        return self._backoff.next_wait(now, chance)

    def back(self, now: float) -> None:
        """The scheduler has taken the client back."""
        self._back_at = now
