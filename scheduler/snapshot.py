"""The tables of a machine as plain values, and back: where a journal begins, and the proof that a replay came to the same.

Works on objects by what they are made of, without a list of their fields: a new field is part of it at once, a new class has
to be entered into ``CLASSES``. Payloads and texts of errors are left out; nothing is decided by them.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Final

from ..base.errors import InternalError, UsageError
from ..protocol.codec import pack, unpack
from ..protocol.redaction import error_class, hide_payload, hide_text, redact
from ..protocol.stream import Stream
from .core import Core
from .deaths import Death, Deaths
from .items import Inputs
from .membership import Membership
from .queues import OwnQueue, Queue, Requirement
from .relay import Fetch, Relay
from .retries import RetryQueue, Terms
from .sessions import Sessions
from .state import (
    Abandoned,
    Absence,
    Arriving,
    ClientState,
    Failure,
    Function,
    Lost,
    ObserverState,
    Prefix,
    Status,
    TaskState,
    WorkerState,
)
from .watchdog import Stall, Watchdog

#: All that a machine is made of, apart from plain values, tuples, lists, deques and dicts.
CLASSES: Final[tuple[type, ...]] = (
    Abandoned,
    Absence,
    Arriving,
    ClientState,
    Core,
    Death,
    Deaths,
    Failure,
    Fetch,
    Function,
    Inputs,
    Lost,
    Membership,
    ObserverState,
    OwnQueue,
    Prefix,
    Queue,
    Relay,
    Requirement,
    RetryQueue,
    Sessions,
    Stall,
    Stream,
    TaskState,
    Terms,
    Watchdog,
    WorkerState,
)

_ATOMS: Final = frozenset((type(None), bool, int, float, str, bytes, Status))
#: What the first element of an encoded array says of the rest.
_TUPLE, _LIST, _DICT, _OBJECT, _STATUS, _AS_IT_CAME, _DEQUE, _ORDERED = range(8)


class _AsItCame:
    """A value as a peer has sent it: never changed, so it need not be copied."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


#: By class and field, what is noted instead of the value.
_NOTED: Final[dict[type, dict[str, Callable[[Any], Any]]]] = {
    TaskState: {"payload": hide_payload},
    Function: {"payload": hide_payload},
    Failure: {"payload": hide_payload, "text": error_class, "traceback": hide_text},
    Death: {"story": hide_text},
    Deaths: {"early": lambda told: {who: (story[0], hide_text(story[1]), story[2]) for who, story in told.items()}},
    Terms: {"for_worker": lambda terms: terms and (terms[0], hide_payload(terms[1]))},
    Fetch: {
        "got": lambda rows: [(key, b"") for key, _ in rows],
        "missing": lambda rows: [(key, hide_text(reason)) for key, reason in rows],
    },
    # What is said decides nothing, only how much of it there is.
    Stream: {
        "_kept": lambda kept: [[()] * len(batch) for batch in kept],
        "_values": lambda _: 0,
        "_weights": lambda weights: [0] * len(weights),
    },
    Absence: {"backlog": lambda messages: [redact(message) for message in messages]},
    WorkerState: {"info": _AsItCame, "metrics": _AsItCame},
}


class _Plan:
    """How to read the objects of one class."""

    __slots__ = ("_get", "name", "names", "noted")

    def __init__(self, kind: type) -> None:
        self.name = kind.__name__
        slots = [name for base in reversed(kind.__mro__) for name in getattr(base, "__slots__", ())]
        self.names: tuple[str, ...] | None = tuple(slots) or None
        self._get = attrgetter(*slots) if slots else vars
        self.noted = tuple((slots.index(name), note) for name, note in _NOTED.get(kind, {}).items())

    def read(self, thing: Any) -> list[Any]:
        """The values of an object's slots."""
        return list(self._get(thing))


_PLANS: Final = {kind: _Plan(kind) for kind in CLASSES}
_BY_NAME: Final = {kind.__name__: kind for kind in CLASSES}


def fingerprint() -> str:
    """Differs between versions that cannot read each other's snapshots."""
    return blake2b(pack([(plan.name, plan.names) for plan in _PLANS.values()]), digest_size=8).hexdigest()


class Picture:
    """What the tables held at one moment; taken in one go, encoded in as many as one likes.

    Parameters
    ----------
    root : mapping of str to object
        Where the tables begin; see ``SchedulerMachine.tables``.

    Examples
    --------
    >>> from .queues import Queue
    >>> rows = [row for part in Picture({"queue": Queue()}).slices() for row in part]
    >>> restore(rows)["queue"].length
    0
    """

    __slots__ = ("_count", "_found", "_numbers", "_pressed", "_rows")

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._pressed: list[bytes] = []
        self._numbers: dict[object, int] = {}
        self._found: list[Any] = []
        self._rows: list[tuple[str, Any]] = [("", self._copy(dict(root)))]
        for thing in self._found:  # grows meanwhile
            plan = _PLANS[type(thing)]
            self._rows.append(
                (plan.name, self._copy(vars(thing)) if plan.names is None else self._copy_fields(plan, thing))
            )

        self._count = len(self._rows)

    def _copy_fields(self, plan: _Plan, thing: Any) -> list[Any]:
        """The values of an object's slots. What this costs for each task decides how many tasks there may be."""
        values = plan.read(thing)
        for index, note in plan.noted:
            values[index] = note(values[index])
        numbers, found = self._numbers, self._found
        for index, value in enumerate(values):
            kind = type(value)
            if kind in _ATOMS:
                continue
            if kind in _PLANS:
                if value not in numbers:
                    numbers[value] = len(found)
                    found.append(value)
            elif kind is not tuple or value:
                values[index] = self._copy(value)
        return values

    def __len__(self) -> int:
        return self._count

    @property
    def pressed_bytes(self) -> int:
        """What it takes, once all of it is pressed; else 0."""
        return 0 if self._rows else sum(map(len, self._pressed))

    def press(self, rows: int = 500) -> bool:
        """Turn some rows into bytes; False if all are.

        Until then it keeps all that it shows, also what has gone since: small objects, of which one keeps a megabyte of memory
        in use. Not while slices are being taken.
        """
        if not self._rows:
            return False
        start = len(self._pressed) * rows
        part = [(name, self._encode(values)) for name, values in self._rows[start : start + rows]]
        self._pressed.append(zlib.compress(pack(part), 1))
        if start + rows >= self._count:
            self._rows, self._found, self._numbers = [], [], {}
        return True

    def _copy(self, value: Any) -> Any:
        """A value that will not change, and whose objects have been found."""
        kind = type(value)
        if kind in _PLANS:
            if value not in self._numbers:
                self._numbers[value] = len(self._found)
                self._found.append(value)
            return value
        if kind is tuple:
            return tuple([self._copy(part) for part in value])
        if kind is list:
            return [self._copy(part) for part in value]
        if kind is deque:
            return deque([self._copy(part) for part in value])
        if kind is dict or kind is OrderedDict:
            return kind((self._copy(key), self._copy(part)) for key, part in value.items())
        if kind in _ATOMS or kind is _AsItCame:
            return value
        raise InternalError(f"a {kind.__name__} is in the scheduler's tables; enter it into snapshot.CLASSES")

    def slices(self, rows: int = 500) -> Iterator[list[Any]]:
        """All rows, as plain values, some at a time: ``(class, values)``. The first is the root's."""
        if not self._rows:
            yield from (list(unpack(zlib.decompress(part))) for part in self._pressed)
        for start in range(0, len(self._rows), rows):
            yield [(name, self._encode(values)) for name, values in self._rows[start : start + rows]]

    def _encode(self, value: Any) -> Any:
        kind = type(value)
        if kind is Status:
            return (_STATUS, int(value))
        if kind in _ATOMS:
            return value
        if kind is tuple:
            return (_TUPLE, *[self._encode(part) for part in value])
        if kind is list:
            return (_LIST, *[self._encode(part) for part in value])
        if kind is deque:
            return (_DEQUE, *[self._encode(part) for part in value])
        if kind is dict or kind is OrderedDict:
            tag = _DICT if kind is dict else _ORDERED
            return (tag, *[self._encode(part) for item in value.items() for part in item])
        if kind is _AsItCame:
            return (_AS_IT_CAME, pack(value.value))
        return (_OBJECT, self._numbers[value])

    def digest(self) -> Iterator[str]:
        """Some of the work at a time, which yields an empty text; the last text is the digest."""
        sum_ = blake2b(digest_size=16)
        for part in self.slices():
            sum_.update(pack(part))
            yield ""
        yield sum_.hexdigest()


def digest(root: Mapping[str, Any]) -> str:
    """Of all that the tables hold: equal if and only if they are."""
    return list(Picture(root).digest())[-1]


def restore(rows: Iterable[Any]) -> dict[str, Any]:
    """The tables that ``rows``, from ``Picture.slices``, are a picture of.

    Raises
    ------
    UsageError
        They are no such rows.
    """
    try:
        (_, root), *others = rows
        things: list[Any] = [object.__new__(_BY_NAME[name]) for name, _ in others]
        for thing, (_, row) in zip(things, others, strict=True):
            names = _PLANS[type(thing)].names
            values = _decode(row, things)
            for name, value in values.items() if names is None else zip(names, values, strict=True):
                setattr(thing, name, value)
        tables = _decode(root, things)
    except (AttributeError, KeyError, ValueError, TypeError, IndexError) as error:
        raise UsageError(f"the tables in this journal cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(tables, dict):
        raise UsageError("the tables in this journal have no root")
    return tables


def _decode(value: Any, things: list[Any]) -> Any:
    if type(value) is not tuple:
        return value
    tag, *parts = value
    if tag == _OBJECT:
        return things[parts[0]]
    if tag == _STATUS:
        return Status(parts[0])
    if tag == _AS_IT_CAME:
        return unpack(parts[0])
    decoded = [_decode(part, things) for part in parts]
    if tag in (_DICT, _ORDERED):
        return (dict if tag == _DICT else OrderedDict)(zip(decoded[::2], decoded[1::2], strict=True))
    return tuple(decoded) if tag == _TUPLE else deque(decoded) if tag == _DEQUE else decoded
