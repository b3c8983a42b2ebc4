"""What a row of the table of faults is, and what one repeat of it reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any


class UnavailableError(Exception):
    """This machine lacks what the fault needs; the text says what."""


@dataclass
class Trial:
    """One repeat: what was measured, and which promises were broken."""

    row: str
    number: int
    #: by what was measured: the value, its unit, and whether the largest or the least of all repeats is the worst
    figures: dict[str, tuple[float, str, str]] = field(default_factory=dict)
    lost: int = 0
    duplicated: int = 0
    broken: list[str] = field(default_factory=list)

    @property
    def random(self) -> Random:
        """Chooses the same each time this repeat is run."""
        return Random(f"{self.row} {self.number}")

    def within(self, what: str, seconds: float, limit: float) -> None:
        """Something took so long; it should not have taken longer than ``limit``."""
        self.figure(what, seconds)
        if seconds > limit:
            self.broken.append(f"{what}: {seconds:.2f} s instead of {limit:g} s at most")

    def at_least(self, what: str, value: float, least: float, unit: str) -> None:
        """Something was so much; it should not have been less than ``least``."""
        self.figures[what] = (value, unit, "least")
        if value < least:
            self.broken.append(f"{what}: {value:.3g} {unit} instead of at least {least:g}")

    def figure(self, what: str, value: float, unit: str = "s") -> None:
        """Something that nobody promised, worth knowing."""
        self.figures[what] = (value, unit, "most")

    def expect(self, holds: object, text: str) -> None:
        """A promise; ``text`` says what is so when it is broken."""
        if not holds:
            self.broken.append(text)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "number": self.number,
            "figures": self.figures,
            "lost": self.lost,
            "duplicated": self.duplicated,
            "broken": self.broken,
        }


@dataclass(frozen=True)
class Row:
    """One fault.

    Attributes
    ----------
    id : str
        As in the matrix of faults: B for processes, C for networks, E for tasks.
    fault, promise : str
        For the table.
    theirs : str
        What ``distributed`` does, as far as it is known, and how.
    wanted : int
        Repeats that the matrix asks for.
    repeats : int
        Repeats by default.
    seconds : float
        When a lane of this row begins no further repeat.
    lanes : int
        Processes that share the repeats.
    waits : bool
        Whether a repeat mostly waits, so that other rows may run meanwhile.
    place : callable
        What all repeats of one lane share: a cluster, or nothing.
    trial : callable
        One repeat, in that place.
    """

    id: str
    fault: str
    promise: str
    theirs: str
    wanted: int
    repeats: int
    seconds: float
    lanes: int
    waits: bool
    place: Callable[[], AbstractContextManager[Any]]
    trial: Callable[[Any, Trial], None]


ROWS: dict[str, Row] = {}


def in_order() -> list[Row]:
    """All rows in the order of the table: by group, then by number."""
    return sorted(ROWS.values(), key=lambda row: (row.id[0], int(row.id[1:])))


@contextmanager
def nowhere() -> Iterator[None]:
    """The place of repeats that share nothing."""
    yield None


def row(
    id: str,
    fault: str,
    promise: str,
    *,
    theirs: str = "",
    wanted: int = 1,
    repeats: int | None = None,
    seconds: float = 120.0,
    lanes: int = 1,
    waits: bool = False,
    place: Callable[[], AbstractContextManager[Any]] = nowhere,
) -> Callable[[Callable[[Any, Trial], None]], Callable[[Any, Trial], None]]:
    """Enter a function into the table as one repeat of this fault."""

    def enter(trial: Callable[[Any, Trial], None]) -> Callable[[Any, Trial], None]:
        assert id not in ROWS, id
        count = wanted if repeats is None else repeats
        ROWS[id] = Row(id, fault, promise, theirs, wanted, count, seconds, lanes, waits, place, trial)
        return trial

    return enter


def until(condition: Callable[[], Any], timeout: float = 30.0, pause: float = 0.005, what: str = "") -> float:
    """Wait until the condition holds; how long that took, in seconds.

    Raises
    ------
    TimeoutError
        It does not.
    """
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout:
            raise TimeoutError(f"{what or 'what was waited for'} did not come true within {timeout:g} s")
        time.sleep(pause)
    return time.monotonic() - began


def holds_for(condition: Callable[[], Any], seconds: float, pause: float = 0.05) -> bool:
    """Whether the condition goes on to hold for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not condition():
            return False
        time.sleep(pause)
    return True
