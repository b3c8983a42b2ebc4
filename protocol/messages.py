"""Every message that may cross a link: its number, its fields, who may send it.

A message is a plain tuple ``(op, field, ...)`` as msgpack decodes it; what concerns many tasks carries *rows*, one tuple
per task, so that a batch costs one dispatch. Rows are at most ``ROWS_PER_MESSAGE_MAX`` long: senders cut.

Identity: a frame names the epoch of the scheduler and the incarnation of its sender (see ``codec``). An *attempt* is a
number the scheduler gives to one run of a task, or to one placement of scattered data; it is unique within an epoch and
names the run as well as the copy of the data which that run made. Answers carry it back; stale ones change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

from ..base.errors import ProtocolError
from ..base.limits import ROWS_PER_MESSAGE_MAX
from . import contents
from .blob import Blob
from .contents import KEY_TYPES
from .shared import PipedBlob, SharedBlob

Message: TypeAlias = tuple[Any, ...]
Row: TypeAlias = tuple[Any, ...]


class Role(StrEnum):
    """Who a peer proved to be in the handshake."""

    SCHEDULER = "scheduler"
    WORKER = "worker"
    CLIENT = "client"
    OBSERVER = "observer"


# ---- everybody ------------------------------------------------------------------------------------------------------
#: (op, info: map) first message of whoever connected: what it is, and resume: (epoch it was welcomed in, number of messages it
#: has received). Both are 0 when a client comes for the first time; a worker only adds it when it comes back, and counts none
HELLO: Final = 1
#: (op, info: map) you are in; keys: epoch, cluster, address, heartbeat_s; for clients also grace_s (how long a client that is
#: away is remembered) and received (the number of its messages that have arrived)
WELCOME: Final = 2
#: (op, code: str, text: str) you are not; code is "version", "name", "closing", or for those who come back "session" (what you
#: come back to is over) or "restart" (begin anew); the connection closes
REFUSED: Final = 3
#: (op, reason: str) I am leaving on purpose
GOODBYE: Final = 4
#: (op, received: int) I have received so many of your messages in all, see ``stream``
ACK: Final = 5

# ---- client to scheduler --------------------------------------------------------------------------------------------
#: (op, request: int, functions: rows (func_id: bytes, payload), options: rows OPTION_FIELDS, rows TASK_FIELDS,
#:  wants: tuple of row indexes or nil for all, more: bool) a slice of a graph, dependencies before dependents
SUBMIT: Final = 10
#: (op, keys) I hold a future of these
WANT: Final = 11
#: (op, keys) I no longer do
RELEASE: Final = 12
#: (op, request: int, keys, force: bool, reason: str) answered by REPLY
CANCEL: Final = 13
#: (op, request: int, keys) run failed tasks again; answered by REPLY
RETRY: Final = 14
#: (op, request: int, rows (key, attempt, nbytes, type_name, tuple of worker incarnations)) scattered data is in place;
#: answered by REPLY
PLACED: Final = 15
#: (op, request: int, keys) give me these values through you; answered by DATA, as soon as all are there
FETCH: Final = 16
#: (op, request: int, method: str, args: tuple) a question or a command by name; answered by REPLY
CALL: Final = 17
#: (op, func_ids) I will not refer to these functions again without sending them; from the scheduler to a worker: no task
#: that was sent to you calls them any more
UNDEFINE: Final = 18

# ---- scheduler to client --------------------------------------------------------------------------------------------
#: (op, rows (key, nbytes: int, type_name: str, payload or nil, address or nil)) results you want exist
IN_MEMORY: Final = 30
#: (op, rows (key, exception: payload, text: str, traceback: str, culprit: key)) tasks you want failed
FAILED: Final = 31
#: (op, rows (key, reason: str))
CANCELLED: Final = 32
#: (op, rows (key, reason: str)) data you want is gone and cannot be made again
LOST: Final = 33
#: (op, request: int, ok: bool, value) value is (code: str, text: str) when not ok
REPLY: Final = 34

# ---- scheduler to worker --------------------------------------------------------------------------------------------
#: (op, functions: rows (func_id, payload), rows COMPUTE_FIELDS)
COMPUTE: Final = 40
#: (op, rows (key, attempt)) give these back if they have not started
RECALL: Final = 41
#: (op, rows (key, attempt)) forget this copy of the data
FREE: Final = 42
#: (op, request: int, rows (key, attempt)) send these values to me; answered by DATA
GATHER: Final = 43
#: (op, mode: "close" or "restart", reason: str)
STOP: Final = 44
#: (op, rows (key, attempt, nbytes: int, addresses)) fetch copies of these and keep them; answered by REPLICAS or UNFETCHED
ACQUIRE: Final = 45
#: (op, rows (key, attempt, timeout: seconds or nil, on: bytes or nil)) terms of runs of the COMPUTE that follows: how long
#: each may take, and which exceptions are worth another try (a pickled tuple of classes; nil for all)
TERMS: Final = 46

# ---- worker to scheduler --------------------------------------------------------------------------------------------
#: (op, rows (key, attempt, nbytes: int, type_name: str, payload or nil, thread: int, start: float, duration: float))
RESULTS: Final = 50
#: (op, rows (key, attempt, exception: payload, text: str, traceback: str, thread: int, start: float, duration: float))
ERRORS: Final = 51
#: (op, rows (key, attempt)) copies fetched from peers that I now hold too
REPLICAS: Final = 52
#: (op, rows (key, attempt, rows (dependency, its attempt, address that failed))) I cannot get the inputs; take it back
UNFETCHED: Final = 53
#: (op, rows (key, attempt)) given back, will not run here
RECALLED: Final = 54
#: (op, rows (key, attempt)) still running but no longer in a thread slot
SECEDED: Final = 55
#: (op, metrics: map) how I am; ``paused`` is true while I am short of memory: I give back what I have not started then, and
#: start nothing but what has FLAG_ANYWAY
HEARTBEAT: Final = 56
#: (op, rows (key, attempt)) what these runs raised, in the ERRORS or OVERDUE that follows, is not worth another try
FINAL: Final = 57
#: (op, rows as of ERRORS) these runs have failed by taking longer than their terms allow; each occupies its slot until it
#: ends, which RECALLED tells
OVERDUE: Final = 58

#: (op, copies: rows (key, attempt, nbytes: int, type_name: str), runs: rows (key, attempt, stage: int, given_up: bool),
#: func_ids, more: bool) a slice of what I hold, after I came back: copies of data; runs that I have not answered for, see
#: STAGE_*, and whether they are taken to be over; functions that I know
INVENTORY: Final = 59

# ---- data links: client or worker to worker -------------------------------------------------------------------------
#: (op, request: int, rows (key or item, attempt)) attempt 0 means any; answered by DATA
GET_DATA: Final = 60
#: (op, request: int, rows (key, attempt, payload)) keep this; answered by STORED
PUT_DATA: Final = 61
#: (op, request: int, rows (key, attempt, nbytes, type_name))
STORED: Final = 62
#: (op, request: int, rows (key, payload), missing: rows (key, reason: str))
DATA: Final = 63
#: (op, request: int, rows (key, attempt), place: str) like GET_DATA, from a process that can open descriptors of others at
#: this place; answered by SHARED
GET_SHARED: Final = 64
#: (op, request: int, rows (key, payload, pipe or segment), missing: rows (key, reason: str)) like DATA, where large values are
#: named instead of sent if the sender is at the same place
SHARED: Final = 65
#: (op, request: int, rows (key, attempt, payload or pipe), place: str) like PUT_DATA, where large values are named instead of
#: sent; what cannot be had that way is left out of the answer
PUT_SHARED: Final = 66

# ---- observers ------------------------------------------------------------------------------------------------------
#: (op,) stream EVENTS to me
OBSERVE: Final = 70
#: (op, runs: rows (key, worker incarnation, thread, start: float, duration: float, ok: bool)) tasks that ended
EVENTS: Final = 71

#: A row of SUBMIT's tasks. ``deps`` are what the payload refers to: keys, or items (mark, name, key, index) that are parts of
#: the result of a key (``base/items.py``); ``order`` is the static order within the request;
#: ``option`` indexes the message's option rows.
TASK_FIELDS: Final = ("key", "func_id", "payload", "deps", "order", "option")
#: A row of SUBMIT's options: priority (higher first), retries, workers (names or addresses) or nil, whether other workers
#: will do, resources as pairs (name, amount) or nil, TERMS_FIELDS or nil.
OPTION_FIELDS: Final = ("priority", "retries", "workers", "allow_other_workers", "resources", "terms")
#: What there is to say of retries beside their number, and of runs. ``delay``: seconds before the first retry. ``backoff``: the
#: factor from each wait to the next. ``max_delay``: the longest wait, or nil. ``on`` and ``timeout``: as in TERMS.
TERMS_FIELDS: Final = ("delay", "backoff", "max_delay", "on", "timeout")
#: A row of COMPUTE. ``rank``: lower runs first. ``deps``: as in SUBMIT. ``locations``: rows (key or item, attempt, nbytes,
#: addresses) for what this worker lacks of them. ``flags``: see FLAG_*.
COMPUTE_FIELDS: Final = ("key", "attempt", "func_id", "payload", "rank", "deps", "locations", "flags")

#: INVENTORY stages of a run: it has not started, it runs in a thread slot (or has just ended), it runs outside of the slots.
STAGE_SENT, STAGE_RUNNING, STAGE_SECEDED = 0, 1, 2

#: COMPUTE flag: a client waits for this result; send its payload along if it is small.
FLAG_WANTED: Final = 1
#: COMPUTE flag: run it even if you are paused, short of memory; there is nobody else.
FLAG_ANYWAY: Final = 2
#: COMPUTE flag: inputs that are neither here nor in ``locations`` are being made here, by runs that were sent before.
FLAG_FOLLOWS: Final = 4
#: COMPUTE flag: there are items among ``deps``, and may be among ``locations``: see ``base/items.py``.
FLAG_ITEMS: Final = 8


# ---- validation -----------------------------------------------------------------------------------------------------

_Types: TypeAlias = tuple[type, ...]
_NIL: Final = type(None)
_KEY: Final[_Types] = KEY_TYPES
_PAYLOAD: Final[_Types] = (bytes, Blob)
_NUMBER: Final[_Types] = (float, int)
_RUN: Final[tuple[_Types, ...]] = (_KEY, (int,))
_ERROR: Final[tuple[_Types, ...]] = (_KEY, (int,), _PAYLOAD, (str,), (str,), (int,), (float,), (float,))


@dataclass(slots=True)
class Rows:
    """A field that is a tuple of rows, each with the given types by position."""

    fields: tuple[_Types, ...]
    seen: set[tuple[type, ...]] = field(default_factory=set)
    #: Positions that may hold arrays: keys, or arrays of them. A map inside would make them unfit for dicts.
    hashed: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.hashed = tuple(position for position, types in enumerate(self.fields) if tuple in types)

    def check(self, name: str, rows: Any) -> None:
        """Raise ProtocolError unless every row has a known sequence of types."""
        if not rows:
            return
        if len(rows) > ROWS_PER_MESSAGE_MAX:
            raise ProtocolError(f"{name}: {len(rows)} rows, at most {ROWS_PER_MESSAGE_MAX} are allowed")
        seen = self.seen
        for row in rows:
            if type(row) is not tuple:
                raise ProtocolError(f"{name}: a row is a {type(row).__name__}, not an array")
            types = tuple(map(type, row))
            if types not in seen:
                self._check_types(name, types)
                seen.add(types)
        try:
            for position in self.hashed:
                for row in rows:
                    hash(row[position])
        except TypeError:
            raise ProtocolError(f"{name}: a key holds a map") from None

    def _check_types(self, name: str, types: tuple[type, ...]) -> None:
        if len(types) != len(self.fields):
            raise ProtocolError(f"{name}: a row has {len(types)} fields, not {len(self.fields)}")
        for position, (found, allowed) in enumerate(zip(types, self.fields, strict=True)):
            if found not in allowed:
                raise ProtocolError(f"{name}: field {position} of a row is a {found.__name__}")


def _check_hashable(name: str, values: Iterable[Any]) -> None:
    try:
        for value in values:
            hash(value)
    except TypeError:
        raise ProtocolError(f"{name}: a key holds a map") from None


@dataclass(frozen=True, slots=True)
class Spec:
    """What a message looks like and who may send it."""

    name: str
    senders: frozenset[Role]
    fields: tuple[_Types | Rows, ...]
    #: Arrays in it are of keys; else they may hold anything.
    hashed: bool = True
    #: Looks at what the types do not say.
    content: contents.Check | None = None
    #: Senders and sequences of types that have been found right: looked up faster than checked again.
    seen: set[tuple[Role, tuple[type, ...]]] = field(default_factory=set)
    #: Positions in the message of what is to be looked into: rows, and fields that may be arrays of keys.
    rows: tuple[tuple[int, Rows], ...] = field(init=False)
    arrays: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        numbered = list(enumerate(self.fields, 1))
        object.__setattr__(self, "rows", tuple((at, kind) for at, kind in numbered if isinstance(kind, Rows)))
        arrays = (at for at, kind in numbered if not isinstance(kind, Rows) and {tuple, object} & {*kind})
        object.__setattr__(self, "arrays", tuple(arrays) if self.hashed else ())

    def check_types(self, message: tuple[Any, ...], sender: Role) -> None:
        """Raise ProtocolError unless ``sender`` may send it, with fields of these types."""
        if sender not in self.senders:
            raise ProtocolError(f"a {sender} may not send {self.name}")
        if len(message) != len(self.fields) + 1:
            raise ProtocolError(f"{self.name} has {len(self.fields)} fields, got {len(message) - 1}")
        for value, expected in zip(message[1:], self.fields, strict=True):
            if type(expected) is Rows:
                if type(value) is not tuple:
                    raise ProtocolError(f"{self.name}: rows are a {type(value).__name__}, not an array")
            elif type(value) not in expected and object not in expected:  # type: ignore[operator]
                raise ProtocolError(f"{self.name}: unexpected {type(value).__name__}")


def _spec(
    name: str,
    senders: Iterable[Role],
    *fields: _Types | Rows,
    hashed: bool = True,
    content: contents.Check | None = None,
    keys: int | None = None,
) -> Spec:
    """``keys``: the position of an array that holds keys and nothing else."""
    if keys is not None:
        content = contents.each_of(name, keys)
    return Spec(name, frozenset(senders), fields, hashed, content)


_ANY = tuple(Role)
_S, _W, _C = (Role.SCHEDULER,), (Role.WORKER,), (Role.CLIENT,)
_FUNCTIONS: Final[tuple[_Types, ...]] = ((bytes,), _PAYLOAD)

SPECS: Final[dict[int, Spec]] = {
    HELLO: _spec("HELLO", _ANY, (dict,), content=contents.check_hello),
    WELCOME: _spec("WELCOME", (Role.SCHEDULER, Role.WORKER), (dict,)),
    REFUSED: _spec("REFUSED", (Role.SCHEDULER, Role.WORKER), (str,), (str,)),
    GOODBYE: _spec("GOODBYE", _ANY, (str,)),
    ACK: _spec("ACK", (Role.SCHEDULER, Role.CLIENT), (int,), content=contents.check_ack),
    SUBMIT: _spec(
        "SUBMIT",
        _C,
        (int,),
        Rows(_FUNCTIONS),
        Rows((_NUMBER, (int,), (tuple, _NIL), (bool,), (tuple, _NIL), (tuple, _NIL))),
        Rows((_KEY, (bytes,), _PAYLOAD, (tuple,), (int,), (int,))),
        (tuple, _NIL),
        (bool,),
        content=contents.check_submit,
    ),
    WANT: _spec("WANT", _C, (tuple,), keys=1),
    RELEASE: _spec("RELEASE", _C, (tuple,), keys=1),
    CANCEL: _spec("CANCEL", _C, (int,), (tuple,), (bool,), (str,), keys=2),
    RETRY: _spec("RETRY", _C, (int,), (tuple,), keys=2),
    PLACED: _spec("PLACED", _C, (int,), Rows((_KEY, (int,), (int,), (str,), (tuple,))), content=contents.check_placed),
    FETCH: _spec("FETCH", _C, (int,), (tuple,), keys=2),
    UNDEFINE: _spec(
        "UNDEFINE", (Role.CLIENT, Role.SCHEDULER), (tuple,), content=contents.each_of("UNDEFINE", 1, (bytes,))
    ),
    CALL: _spec("CALL", (Role.CLIENT, Role.OBSERVER), (int,), (str,), (tuple,), hashed=False),
    IN_MEMORY: _spec("IN_MEMORY", _S, Rows((_KEY, (int,), (str,), (*_PAYLOAD, _NIL), (str, _NIL)))),
    FAILED: _spec("FAILED", _S, Rows((_KEY, _PAYLOAD, (str,), (str,), _KEY))),
    CANCELLED: _spec("CANCELLED", _S, Rows((_KEY, (str,)))),
    LOST: _spec("LOST", _S, Rows((_KEY, (str,)))),
    REPLY: _spec("REPLY", _S, (int,), (bool,), (object,), hashed=False),
    COMPUTE: _spec(
        "COMPUTE",
        _S,
        Rows(_FUNCTIONS),
        Rows((_KEY, (int,), (bytes,), _PAYLOAD, (int,), (tuple,), (tuple,), (int,))),
    ),
    RECALL: _spec("RECALL", _S, Rows(_RUN)),
    FREE: _spec("FREE", _S, Rows(_RUN)),
    GATHER: _spec("GATHER", _S, (int,), Rows(_RUN)),
    STOP: _spec("STOP", _S, (str,), (str,)),
    ACQUIRE: _spec("ACQUIRE", _S, Rows((_KEY, (int,), (int,), (tuple,)))),
    TERMS: _spec("TERMS", _S, Rows((_KEY, (int,), (*_NUMBER, _NIL), (bytes, _NIL)))),
    RESULTS: _spec(
        "RESULTS",
        _W,
        Rows((_KEY, (int,), (int,), (str,), (*_PAYLOAD, _NIL), (int,), (float,), (float,))),
        content=contents.check_results,
    ),
    ERRORS: _spec("ERRORS", _W, Rows(_ERROR), content=contents.check_errors),
    REPLICAS: _spec("REPLICAS", _W, Rows(_RUN)),
    UNFETCHED: _spec("UNFETCHED", _W, Rows((_KEY, (int,), (tuple,))), content=contents.check_unfetched),
    RECALLED: _spec("RECALLED", _W, Rows(_RUN)),
    SECEDED: _spec("SECEDED", _W, Rows(_RUN)),
    HEARTBEAT: _spec("HEARTBEAT", _W, (dict,), content=contents.check_heartbeat),
    FINAL: _spec("FINAL", _W, Rows(_RUN)),
    OVERDUE: _spec("OVERDUE", _W, Rows(_ERROR), content=contents.check_errors),
    INVENTORY: _spec(
        "INVENTORY",
        _W,
        Rows((_KEY, (int,), (int,), (str,))),
        Rows((_KEY, (int,), (int,), (bool,))),
        (tuple,),
        (bool,),
        content=contents.check_inventory,
    ),
    GET_DATA: _spec("GET_DATA", (Role.WORKER, Role.CLIENT), (int,), Rows(_RUN)),
    PUT_DATA: _spec("PUT_DATA", _C, (int,), Rows((_KEY, (int,), _PAYLOAD))),
    STORED: _spec("STORED", _W, (int,), Rows((_KEY, (int,), (int,), (str,)))),
    DATA: _spec("DATA", (Role.WORKER, Role.SCHEDULER), (int,), Rows((_KEY, _PAYLOAD)), Rows((_KEY, (str,)))),
    GET_SHARED: _spec("GET_SHARED", (Role.WORKER, Role.CLIENT), (int,), Rows(_RUN), (str,)),
    SHARED: _spec("SHARED", _W, (int,), Rows((_KEY, (*_PAYLOAD, SharedBlob, PipedBlob))), Rows((_KEY, (str,)))),
    PUT_SHARED: _spec("PUT_SHARED", _C, (int,), Rows((_KEY, (int,), (*_PAYLOAD, PipedBlob))), (str,)),
    OBSERVE: _spec("OBSERVE", (Role.OBSERVER,)),
    EVENTS: _spec("EVENTS", _S, Rows((_KEY, (str,), (int,), (float,), (float,), (bool,)))),
}


def validate(message: Any, sender: Role) -> None:
    """Check one decoded message before anybody acts on it.

    Parameters
    ----------
    message : object
        What the codec decoded.
    sender : Role
        Who the peer proved to be.

    Raises
    ------
    ProtocolError
        No message at all, an unknown op, a role that may not send it, or fields of the wrong number or type.

    Examples
    --------
    >>> validate((GOODBYE, "done"), Role.CLIENT)
    >>> validate((RESULTS, ()), Role.CLIENT)
    Traceback (most recent call last):
    ...
    myscheduler.base.errors.ProtocolError: a client may not send RESULTS
    """
    if type(message) is not tuple or not message or type(message[0]) is not int:
        raise ProtocolError("a message is an array that starts with its op")
    spec = SPECS.get(message[0])
    if spec is None:
        raise ProtocolError(f"unknown op {message[0]}")
    types = (sender, tuple(map(type, message)))
    if types not in spec.seen:
        spec.check_types(message, sender)
        spec.seen.add(types)
    for position, rows in spec.rows:
        rows.check(spec.name, message[position])
    for position in spec.arrays:
        if type(message[position]) is tuple:
            _check_hashable(spec.name, message[position])
    if spec.content is not None:
        spec.content(message)


def in_slices(rows: list[Row], make: Callable[[tuple[Row, ...]], Message]) -> list[Message]:
    """Cut ``rows`` into messages of at most ``ROWS_PER_MESSAGE_MAX`` rows.

    Examples
    --------
    >>> in_slices([("x", 1)], lambda rows: (FREE, rows))
    [(42, (('x', 1),))]
    """
    if len(rows) <= ROWS_PER_MESSAGE_MAX:
        return [make(tuple(rows))]
    return [
        make(tuple(rows[start : start + ROWS_PER_MESSAGE_MAX])) for start in range(0, len(rows), ROWS_PER_MESSAGE_MAX)
    ]
