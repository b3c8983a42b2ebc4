"""What a worker's machine is told (events) and what it wants done (instructions). Plain data, nothing else.

Rows are those of ``protocol/messages.py``: they pass through the machine as they came, so a task costs no conversion.
Named tuples rather than dataclasses: every worker process imports this, and frozen dataclasses take 20 ms to make.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from ..base.keys import Key
from ..protocol.messages import Message, Row

#: The reason in a DATA message for a key that its sender does not hold. Any other reason says why it cannot be sent.
NOT_HELD: Final = "not held here"

#: One run of a task or one copy of data: (key, attempt).
Copy: TypeAlias = tuple[Key, int]

# ---- events ---------------------------------------------------------------------------------------------------------


class Received(NamedTuple):
    """Messages from the scheduler, in order."""

    messages: tuple[Message, ...]


class ExecutionEnded(NamedTuple):
    """Runs that ended. Their values are in the store already; those the machine does not want come back as ``Drop``.

    ``results`` are rows of RESULTS, ``errors`` rows of ERRORS, ``final`` those whose error is not worth another try.
    """

    results: list[Row]
    errors: list[Row]
    final: Sequence[Copy] = ()


class Overdue(NamedTuple):
    """A run that goes on although it has taken longer than its terms allow: a row of OVERDUE; ``final`` as above."""

    row: Row
    final: bool


class Seceded(NamedTuple):
    """Runs that left (``True``) or took back (``False``) their thread slot, in order: (key, attempt, left)."""

    moves: list[tuple[Key, int, bool]]


class NotStarted(NamedTuple):
    """Runs that will not run and not end: ``Cancel`` caught them, or one before them in a ``Chain`` has no result."""

    copies: list[Copy]


class FetchEnded(NamedTuple):
    """An answered ``Fetch``. The values that came are in the store already.

    ``got`` are rows (key, attempt, nbytes); ``missing`` are keys the peer does not hold; ``failures`` are values that
    cannot be sent or read: rows (key, exception payload, text, traceback text, wall clock seconds).
    """

    address: str
    request: int
    got: list[tuple[Key, int, int]]
    missing: list[Key]
    failures: list[Row]


class FetchStalled(NamedTuple):
    """Nothing has come from the peer for a while; the fetch goes on."""

    address: str
    request: int


class FetchFailed(NamedTuple):
    """The peer cannot be reached, or its link broke before it answered."""

    address: str
    request: int


class Stored(NamedTuple):
    """A client placed data here: rows (key, attempt, nbytes); the values are in the store already."""

    rows: list[tuple[Key, int, int]]


class Weighed(NamedTuple):
    """How much memory the process uses, in bytes."""

    nbytes: int


class Disconnected(NamedTuple):
    """The link to the scheduler is gone. If there is another one later, a WELCOME comes over it."""

    reason: str


class Tick(NamedTuple):
    """The deadline the machine asked for has come."""


Event: TypeAlias = (
    Received
    | ExecutionEnded
    | Overdue
    | Seceded
    | NotStarted
    | FetchEnded
    | FetchStalled
    | FetchFailed
    | Stored
    | Weighed
    | Disconnected
    | Tick
)

# ---- instructions ---------------------------------------------------------------------------------------------------


class Define(NamedTuple):
    """Keep these functions: rows (func_id, payload)."""

    functions: tuple[Row, ...]


class Undefine(NamedTuple):
    """Forget these functions."""

    func_ids: tuple[bytes, ...]


class Bind(NamedTuple):
    """These runs, which are about to be executed, have terms: rows of TERMS."""

    rows: list[Row]


class Execute(NamedTuple):
    """Run these rows of COMPUTE, in this order; all their inputs are in the store."""

    rows: list[Row]


class Chain(NamedTuple):
    """Run these rows one after the other, each with the result of the one before; other inputs are in the store."""

    rows: list[Row]


class Cancel(NamedTuple):
    """Take these runs out of the executor's queue; what is taken out is reported by ``NotStarted``.

    With ``running``, interrupt also those that run, where that is possible (coroutines).
    """

    copies: list[Copy]
    running: bool


class Fetch(NamedTuple):
    """Get these copies from a peer; answered by ``FetchEnded`` or ``FetchFailed`` with the same request number."""

    address: str
    request: int
    rows: tuple[Copy, ...]


class Send(NamedTuple):
    """Send a message to the scheduler."""

    message: Message


class Drop(NamedTuple):
    """Forget these copies; a copy of another attempt stays."""

    copies: list[Copy]


class Serve(NamedTuple):
    """Send these values to the scheduler in DATA messages with this request number."""

    request: int
    rows: tuple[Copy, ...]


class Beat(NamedTuple):
    """Send a HEARTBEAT with these counts and what the process measures of itself."""

    executing: int
    ready: int
    paused: bool


class Stop(NamedTuple):
    """End this life of the worker: ``mode`` is "close" or "restart"."""

    mode: str
    reason: str


Instruction: TypeAlias = Define | Undefine | Bind | Execute | Chain | Cancel | Fetch | Send | Drop | Serve | Beat | Stop
