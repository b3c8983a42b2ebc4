"""How far some futures are, by kind of task: counting and drawing. Pure: who asks, waits and prints is elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from ..base import html
from ..base.keys import key_prefix
from .records import FINISHED, PENDING, Record

#: Of one kind: (name, not sent to a worker yet, sent to one, failed)
Row: TypeAlias = tuple[str, int, int, int]

#: Kinds that are shown; the others are added up.
KINDS_SHOWN: Final = 12


@dataclass(slots=True)
class Kind:
    """Tasks of one kind.

    Parameters
    ----------
    name : str
        What their keys begin with.
    total, sent, failed, left : int
        How many there are, how many are with workers now, have no result and never will, are still to be done (those that
        are with workers among them).
    """

    name: str
    total: int = 0
    sent: int = 0
    failed: int = 0
    left: int = 0

    @property
    def done(self) -> int:
        """How many have a result."""
        return self.total - self.left - self.failed

    def text(self) -> str:
        """In words.

        Examples
        --------
        >>> Kind("inc", total=8, sent=2, failed=1, left=3).text()
        '4/8, 2 on workers, 1 failed'
        """
        sent = f", {self.sent} on workers" if self.sent else ""
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.done}/{self.total}{sent}{failed}"


class Progress:
    """Counts what has become of some records, and of the tasks that they need.

    Parameters
    ----------
    records : iterable of Record
        Whose progress it is.

    Examples
    --------
    >>> progress = Progress([Record("sum-1")])
    >>> progress.take_stock()
    >>> progress.update([("inc", 3, 2, 0), ("sum", 1, 0, 0)])
    >>> progress.take_stock()
    >>> progress.update([("inc", 1, 1, 0), ("sum", 1, 0, 0)])
    >>> print(progress.draw(1.25, 10))
    inc  [######    ] 3/5, 1 on workers
    sum  [          ] 0/1
    1.2 s
    """

    def __init__(self, records: Iterable[Record]) -> None:
        #: those that have no outcome yet
        self.pending = list(records)
        self.kinds: dict[str, Kind] = {}
        self._done: dict[str, int] = {}
        self._failed: dict[str, int] = {}

    def take_stock(self) -> None:
        """Look which records have their outcome. To be done before the scheduler is asked: what ends between the question
        and the answer would be counted twice."""
        for record in self.pending:
            if record.state != PENDING:
                counts = self._done if record.state == FINISHED else self._failed
                name = key_prefix(record.key)
                counts[name] = counts.get(name, 0) + 1
        self.pending = [record for record in self.pending if record.state == PENDING]

    def update(self, rows: Sequence[Row] | None) -> None:
        """Count again.

        Parameters
        ----------
        rows : sequence of Row, optional
            What the scheduler says of the tasks behind ``pending``, those themselves included; None if it says nothing.
        """
        ours: dict[str, int] = {}
        for record in self.pending:
            name = key_prefix(record.key)
            ours[name] = ours.get(name, 0) + 1
        if rows is None:
            rows = [(name, left, 0, 0) for name, left in ours.items()]
        answers = {name: numbers for name, *numbers in rows}
        for name in dict.fromkeys((*answers, *ours, *self._done, *self._failed, *self.kinds)):
            waiting, sent, failed = answers.get(name, (0, 0, 0))
            kind = self.kinds.setdefault(name, Kind(name))
            kind.left, kind.sent = waiting + sent, sent
            kind.failed = max(kind.failed, self._failed.get(name, 0) + failed)
            kind.total = max(kind.total, self._done.get(name, 0) + kind.failed + max(kind.left, ours.get(name, 0)))

    def shown(self) -> list[Kind]:
        """The kinds, the largest if there are many and the sum of the others."""
        kinds = list(self.kinds.values())
        if len(kinds) <= KINDS_SHOWN:
            return kinds
        largest = {id(kind) for kind in sorted(kinds, key=lambda kind: -kind.total)[: KINDS_SHOWN - 1]}
        others = [kind for kind in kinds if id(kind) not in largest]
        rest = Kind(f"{len(others)} other kinds")
        for kind in others:
            rest.total += kind.total
            rest.sent += kind.sent
            rest.failed += kind.failed
            rest.left += kind.left
        return [*(kind for kind in kinds if id(kind) in largest), rest]

    def draw(self, seconds: float, width: int) -> str:
        """Lines of text, one for each kind and one for the time."""
        kinds = self.shown()
        margin = max((len(kind.name) for kind in kinds), default=0)
        lines = []
        for kind in kinds:
            bar = "#" * int(width * kind.done / kind.total) if kind.total else ""
            lines.append(f"{kind.name:<{margin}}  [{bar:<{width}}] {kind.text()}")
        return "\n".join([*lines, f"{seconds:.1f} s"])

    def to_html(self, seconds: float) -> str:
        """The same for notebooks."""
        rows = [
            (kind.name, kind.done / kind.total, kind.failed / kind.total, kind.text())
            for kind in self.shown()
            if kind.total
        ]
        return html.bars(rows, f"{seconds:.1f} s")
