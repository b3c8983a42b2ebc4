"""What the client knows about one key: the state of its futures, and the outcome once there is one."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, TypeAlias

from ..base.errors import CancelledError, MySchedulerError
from ..base.keys import Key
from ..protocol.blob import Payload

State: TypeAlias = Literal["pending", "finished", "error", "cancelled", "lost"]

PENDING: Final = "pending"  # no outcome yet
FINISHED: Final = "finished"  # the result exists: here, or on a worker
ERROR: Final = "error"  # the task raised, or something it needs did
CANCELLED: Final = "cancelled"  # by somebody, on purpose
LOST: Final = "lost"  # the world failed: the data or the connection is gone

#: The legal moves; ``ClientMachine._move`` holds them. A future that has an outcome keeps it, with three exceptions, all
#: of them asked for or told: a failed task is retried (and the retry may be refused), the result of a finished one is taken
#: away before it was fetched, and a closed client takes everything along.
MOVES: Final[dict[str, tuple[str, ...]]] = {
    PENDING: (FINISHED, ERROR, CANCELLED, LOST),
    FINISHED: (CANCELLED, LOST),
    ERROR: (PENDING, CANCELLED),
    CANCELLED: (),
    LOST: (CANCELLED,),
}


class Result(NamedTuple):
    """The outcome of a finished future: a row of IN_MEMORY as it arrived (a plain tuple; this class names its fields)."""

    key: Key
    nbytes: int
    type_name: str
    payload: Payload | None  # at hand when small
    address: str | None  # of a worker that holds it


class Failure(NamedTuple):
    """The outcome of a failed one: a row of FAILED as it arrived."""

    key: Key
    payload: Payload
    text: str
    traceback: str
    culprit: Key


class Ending(NamedTuple):
    """The outcome of a cancelled or lost one: what to raise."""

    kind: type[MySchedulerError]
    reason: str


class Record:
    """One key that somebody holds futures of. Several futures of one key share it.

    After cancellation or loss the same key may be submitted anew; it then gets a new record, and the old futures keep
    the old one.
    """

    __slots__ = ("key", "outcome", "refs", "state", "waiters")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.state: State = PENDING
        self.refs = 1  # futures, and internal holders
        self.outcome: tuple[Any, ...] | None = None  # by state: Result, Failure, Ending (the last one, when retrying)
        self.waiters: list[Any] | None = None  # tokens of those who wait; only when somebody does

    def __repr__(self) -> str:
        return f"<Record {self.key!r} {self.state}>"

    @property
    def result(self) -> Result:
        """The outcome of a finished record."""
        assert self.state == FINISHED
        assert self.outcome is not None
        return Result(*self.outcome)

    @property
    def failure(self) -> Failure:
        """The outcome of a failed record."""
        assert self.state == ERROR
        assert self.outcome is not None
        return Failure(*self.outcome)

    @property
    def ending(self) -> Ending:
        """The outcome of a cancelled or lost record."""
        assert self.state in (CANCELLED, LOST)
        assert self.outcome is not None
        return Ending(*self.outcome)


def reason_to_raise(ending: Ending, key: Key) -> MySchedulerError:
    """The exception for a cancelled or lost future.

    Examples
    --------
    >>> reason_to_raise(Ending(CancelledError, "cancelled by client a1"), "x")
    CancelledError("future 'x' was cancelled: cancelled by client a1")
    """
    verb = "was cancelled" if ending.kind is CancelledError else "is lost"
    return ending.kind(f"future {key!r} {verb}: {ending.reason}")
