"""Peers that stopped reading: what waits for them must not wait for ever."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .link import Link

#: A peer that takes nothing of what waits for it for so long is disconnected.
STUCK_S: Final = 30.0
#: Of the time between two looks, no more than this counts: who was stopped itself holds nothing against anybody.
_LOOK_S: Final = 1.0


class StuckLinks:
    """Notices which links get rid of nothing, by looking again and again.

    Examples
    --------
    >>> StuckLinks().look(0.0, [])
    []
    """

    def __init__(self) -> None:
        self._looked = 0.0
        #: of links for which something waits: bytes sent so far, and seconds for which there were no more
        self._waiting: dict[Link, tuple[int, float]] = {}

    def look(self, now: float, links: Iterable[Link]) -> list[Link]:
        """Disconnect the peers that are stuck, and return their links.

        Parameters
        ----------
        now : float
            Seconds of a clock that never goes back.
        links : iterable of Link
            All that are to be watched.
        """
        elapsed = min(now - self._looked, _LOOK_S)
        self._looked = now
        before, self._waiting = self._waiting, {}
        stuck = []
        for link in links:
            if (
                not link.pending or not link.bytes_out
            ):  # those within a process count no bytes, and are read by ourselves
                continue
            sent, seconds = before.get(link, (-1, 0.0))
            seconds = seconds + elapsed if sent == link.bytes_out else 0.0
            self._waiting[link] = (link.bytes_out, seconds)
            if seconds >= STUCK_S:
                stuck.append(link)
        for link in stuck:
            link.abort(f"it read nothing for {STUCK_S:g} s, while {link.pending} bytes waited for it")
        return stuck
