"""Messages that cannot be encoded: each harms only those whom it was for.

What arrived could be sent, so it can be sent on; but an answer that the scheduler makes up may be too large, and so may many
tasks in one message of which each would do alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..base.errors import UsageError
from ..base.keys import Key
from ..protocol.messages import COMPUTE, DATA, REPLY, Message
from ..protocol.stream import count_behind
from .core import Core
from .events import Unsendable
from .state import ASSIGNED, ClientState, Peer, WorkerState


def halves(message: Message) -> list[Message]:
    """Two messages that say the same, if it can be said in two.

    Examples
    --------
    >>> halves((COMPUTE, ((b"f", b"code"),), (("x", 1), ("y", 2))))
    [(40, ((b'f', b'code'),), (('x', 1),)), (40, (), (('y', 2),))]
    >>> halves((REPLY, 1, True, "long"))
    []
    """
    if message[0] != COMPUTE or len(message[2]) < 2:
        return []
    _, functions, rows = message
    middle = len(rows) // 2
    return [(COMPUTE, functions, rows[:middle]), (COMPUTE, (), rows[middle:])]


def describe(peer: str, messages: Sequence[Message], index: int, reason: str) -> Unsendable:
    """What the machine must know about the one of these messages that cannot be encoded; nothing of what cannot."""
    message = messages[index]
    op = message[0]
    request = message[1] if op in (REPLY, DATA) else 0
    runs: tuple[tuple[Key, int], ...] = ()
    functions: tuple[bytes, ...] = ()
    if op == DATA:
        runs = tuple((row[0], 0) for row in (*message[2], *message[3]))
    elif op == COMPUTE:
        runs = tuple((row[0], row[1]) for row in message[2])
        functions = tuple(func_id for func_id, _ in message[1])
    return Unsendable(peer, op, count_behind(messages, index), request, runs, functions, reason)


def on_unsendable(core: Core, event: Unsendable) -> None:
    """A message to a peer was left out."""
    if (ws := core.workers.get(event.peer)) is not None:
        if event.op == COMPUTE:
            _fail(core, ws, event)
        return
    peer: Peer | None = core.clients.get(event.peer) or core.observers.get(event.peer)
    if isinstance(peer, ClientState) and peer.stream is not None:
        peer.stream.withdraw(event.behind)
    if peer is not None and event.op == REPLY:
        why = f"the answer cannot be sent: {event.reason}"
        core.message(peer, (REPLY, event.request, False, ("usage", why)))
    elif peer is not None and event.op == DATA:
        missing = tuple((key, f"the values cannot be sent together: {event.reason}") for key, _ in event.runs)
        core.message(peer, (DATA, event.request, (), missing))


def _fail(core: Core, ws: WorkerState, event: Unsendable) -> None:
    """Tasks that cannot be sent to a worker fail."""
    core.set_functions(ws, [func_id for func_id in ws.functions if func_id not in event.functions])
    for key, attempt in event.runs:
        ts = core.tasks.get(key)
        if ts is None or ts.attempt != attempt or ts.status is not ASSIGNED or ts.worker is not ws:
            core.settle(ws, key, attempt, has_data=False)
            continue
        core.unassign(ts)
        core.fail(ts, core.own_failure(key, UsageError, f"task {key!r} cannot be sent to a worker: {event.reason}"))
