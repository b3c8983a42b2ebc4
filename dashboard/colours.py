"""A colour for every kind of task, the same one wherever it is shown. Pure.

The colours are close in strength, so that none shouts, and differ in lightness as well as in hue. Red is kept for
failures.
"""

from __future__ import annotations

import zlib
from typing import Final

PALETTE: Final = (
    "#4c78c8",  # blue
    "#2f9e8f",  # teal
    "#e0a03c",  # amber
    "#8d6cc9",  # violet
    "#66ab6a",  # green
    "#46a5d6",  # sky
    "#cf74a6",  # pink
    "#c0946c",  # tan
    "#9aa83c",  # olive
    "#5f6fb0",  # indigo
    "#d98661",  # apricot
    "#6d8a99",  # slate
)
FAILED: Final = "#d64550"
_KINDS_MAX: Final = 4096


class Colours:
    """Gives kinds of tasks their colours.

    The colour depends on the name, so that it is the same tomorrow; if it is taken, the next free one is used, so that
    two kinds share a colour only when there are more kinds than colours.

    Examples
    --------
    >>> colours = Colours()
    >>> colours.of("inc") == colours.of("inc") == Colours().of("inc")
    True
    >>> len({colours.of(f"kind-{i}") for i in range(11)} | {colours.of("inc")})
    12
    """

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}

    def of(self, kind: str) -> str:
        """The colour of a kind of task, as ``#rrggbb``."""
        colour = self._taken.get(kind)
        if colour is None:
            if len(self._taken) >= _KINDS_MAX:
                self._taken.clear()
            colour = self._taken[kind] = self._choose(kind)
        return colour

    def _choose(self, kind: str) -> str:
        start = zlib.crc32(kind.encode("utf-8", "replace")) % len(PALETTE)
        if len(self._taken) < len(PALETTE):
            used = set(self._taken.values())
            for step in range(len(PALETTE)):
                colour = PALETTE[(start + step) % len(PALETTE)]
                if colour not in used:
                    return colour
        return PALETTE[start]
