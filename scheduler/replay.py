"""A journal, played again: the same machine is given the same turns, and must come to the same tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from ..base.errors import MySchedulerError, UsageError
from ..base.ids import Epoch
from ..protocol.codec import unpack_all
from .check import check
from .events import Event, Received
from .journal import END, TABLES, TURN, Marks, check_head, decode_event, marks
from .machine import SchedulerMachine
from .snapshot import digest, restore
from .state import FORGOTTEN, Status

_WHAT: Final = "this journal"


class DivergedError(MySchedulerError):
    """A replay came to other tables than the scheduler did; the message names the turn."""


class Replay:
    """One journal.

    Parameters
    ----------
    chunks : iterable of bytes
        The journal, as ``Journal.save`` made it, cut anywhere.

    Raises
    ------
    UsageError
        It is no journal, or one that this version cannot read.

    Examples
    --------
    >>> from myscheduler.scheduler.events import PeerJoined
    >>> from myscheduler.protocol.messages import Role
    >>> versions = {"python": "3.11", "myscheduler": "0.1.0"}
    >>> machine = SchedulerMachine(Epoch(1), "00" * 16, "tcp://127.0.0.1:8786", versions, journal=10**6)
    >>> _ = machine.handle(0.0, [PeerJoined("c1", Role.CLIENT, {"versions": versions})])
    >>> replay = Replay(machine.journal.save())
    >>> for _ in replay: pass
    >>> replay.verified, list(replay.machine.core.clients)
    ('by a digest of all tables', ['c1'])
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._records = unpack_all(chunks, _WHAT)
        self.version, self.turns, rows = check_head(next(self._records, None))
        #: the machine, after the turns that were played
        self.machine = SchedulerMachine(Epoch(0), "", "", {})
        vars(self.machine).update(restore(self._read_tables(rows)))
        #: turns, events and messages played
        self.played = self.events = self.messages = 0
        #: when the first and the last turn began, by the scheduler's clock
        self.began: float | None = None
        self.now = 0.0
        #: how it was found that the replay came to the same; empty before the end
        self.verified = ""

    def _read_tables(self, rows: int) -> list[Any]:
        found: list[Any] = []
        while len(found) < rows:
            record = next(self._records, None)
            if type(record) is not tuple or len(record) != 2 or record[0] != TABLES or not record[1]:
                raise UsageError(f"{_WHAT} does not begin with tables")
            found += record[1]
        return found

    @property
    def seconds(self) -> float:
        """How long after the first turn the last one that was played began."""
        return 0.0 if self.began is None else self.now - self.began

    def __iter__(self) -> Iterator[float]:
        """Play turn after turn; after each, the seconds since the first.

        Raises
        ------
        DivergedError
            The machine does not come to what the scheduler came to.
        UsageError
            The journal cannot be read on.
        """
        for record in self._records:
            if record[0] == END:
                self._end(*record[1:])
                return
            if record[0] != TURN:
                raise UsageError(f"{_WHAT} holds a record that is none: {record!r:.80}")
            _, now, before, events = record
            self._compare(before)
            if self.began is None:
                self.began = now
            self.now = now
            self._play(now, events)
            yield self.seconds
        raise UsageError(f"{_WHAT} has no end after {self.played} turns")

    def _play(self, now: float, records: tuple[Any, ...]) -> None:
        try:
            events: list[Event] = [decode_event(record) for record in records]
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"turn {self.played + 1} of {_WHAT} cannot be read: {error!r}") from error
        self.events += len(events)
        self.messages += sum(len(event.messages) for event in events if type(event) is Received)
        self.machine.handle(now, events)
        self.played += 1

    def _compare(self, expected: Marks) -> None:
        found = marks(self.machine)
        if found != expected:
            raise DivergedError(
                f"after turn {self.played} of {self.turns}, {self.seconds:.3f} s after the first, the replay differs from what "
                f"happened: {_describe(found)} instead of {_describe(expected)}"
            )

    def _end(self, expected: Marks, expected_digest: str) -> None:
        self._compare(expected)
        self.verified = "by the numbers of attempts, queue entries and tasks after each turn"
        if expected_digest:
            if digest(self.machine.tables()) != expected_digest:
                raise DivergedError(f"after the last of {self.turns} turns the tables differ from what they were")
            self.verified = "by a digest of all tables"

    def check(self) -> None:
        """Recompute all derived indexes of the tables; AssertionError if they are wrong."""
        check(self.machine.core)


def _describe(values: Marks) -> str:
    attempt, ticket, order, *totals = values
    tasks = ", ".join(
        f"{totals[status]} {status.name.lower()}" for status in Status if totals[status] or status is FORGOTTEN
    )
    return f"attempt {attempt}, ticket {ticket}, order {order}, {tasks}"
