"""What has gone into the machine during the last minutes, so that it can be looked at again, elsewhere, step by step.

A journal begins with a picture of the tables (``snapshot``), and then holds what each turn was given. It is kept in two
segments, each with its picture; when the later one has filled its half of the room, the earlier one goes, and a third
begins. A picture is only taken while there are few tasks, as the work stands still meanwhile: with many, a segment goes on
beyond its half. When there is no room any more then, all of it goes, and the journal begins again once there are few tasks.

A frame is kept as it came, which costs next to nothing, and is read again when the journal is saved: only then are payloads and
texts of errors left out. Frames that are mostly payload are read at once, so that they do not fill the room. When nothing goes
on, what has been noted is pressed (``turns``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, get_args

from ..base.errors import UsageError
from ..base.limits import KIB, MIB
from ..protocol.codec import pack, unpack, unpack_control
from ..protocol.messages import Message, Role
from ..protocol.redaction import redact
from .events import Event, Received
from .snapshot import Picture, fingerprint
from .turns import Turns

if TYPE_CHECKING:
    from .machine import SchedulerMachine

#: Bytes for the journal, unless told otherwise.
ROOM_BYTES: Final = 64 * MIB
#: Seconds that the journal need not reach back further than.
ROOM_S: Final = 600.0
#: With more tasks no picture is taken: it takes a few microseconds for each.
PICTURE_TASKS_MAX: Final = 10_000
#: What a task takes in a picture, about.
_PICTURED_BYTES: Final = 600
#: A picture is taken of a full segment if it is smaller than the segment by this factor.
_WORTH: Final = 4
#: Stands where other events have their name.
_FRAME: Final = ""
#: Frames below this are kept as they came, whatever is in them.
_SMALL_BYTES: Final = 4 * KIB
#: Frames with more bytes for each row are mostly payload.
_ROW_BYTES: Final = 512
#: What one part of a saved journal is made of, about: bytes of frames.
_PART_BYTES: Final = 128 * KIB
#: Seconds after which nobody is expected to ask for the next part of a journal.
PATIENCE_S: Final = 60.0

#: The first value of each record of a journal.
HEAD: Final = "myscheduler journal"
TABLES: Final = "tables"
TURN: Final = "turn"
END: Final = "end"

EVENTS: Final[dict[str, type[Any]]] = {kind.__name__: kind for kind in get_args(Event)}
_NAMES: Final = {kind: tuple(field.name for field in fields(kind)) for kind in EVENTS.values()}
_READ: Final[dict[type, Callable[[Any], tuple[Any, ...]]]] = {
    kind: attrgetter(*names) for kind, names in _NAMES.items() if len(names) > 1
}

Marks = tuple[int, ...]


def marks(machine: SchedulerMachine) -> Marks:
    """Numbers that hardly stay the same if two machines do not: cheap enough to be noted with each turn."""
    core = machine.core
    return (core.last_attempt, core.last_ticket, core.next_order, *core.totals)


class _Segment:
    """A picture, and the turns since: when, the marks before it, what it was given."""

    __slots__ = ("_pictured", "began", "picture", "turns")

    def __init__(self, machine: SchedulerMachine, now: float) -> None:
        self.began = now
        self.picture = Picture(machine.tables())
        self.turns = Turns()
        self._pictured = len(machine.core.tasks) * _PICTURED_BYTES

    @property
    def nbytes(self) -> int:
        return (self.picture.pressed_bytes or self._pictured) + self.turns.nbytes

    def press(self) -> bool:
        """Make it smaller; False if it is as small as can be."""
        return self.picture.press() or self.turns.press()


class Journal:
    """The journal of one machine.

    Parameters
    ----------
    machine : SchedulerMachine
        Whose turns are noted.
    room : int
        Bytes that it may take, about; 0 turns it off.
    version : str
        Of our package, for whoever reads it.
    """

    def __init__(self, machine: SchedulerMachine, room: int, version: str) -> None:
        self.room = room
        self.version = version
        self._machine = machine
        self._earlier: _Segment | None = None
        self._segment: _Segment | None = None
        self._noted: tuple[_Segment, float, Marks, list[Event]] | None = None  # the last turn, not in its segment yet
        self._seen: Marks = ()  # when it was to be pressed last
        self._pressing = False  # there was something to be pressed then
        self._asked = False
        self._parts: Iterator[bytes] | None = None  # of the journal that is being saved
        self._who = ""  # by whom
        self._touched = 0.0

    # ---- noting -----------------------------------------------------------------------------------------------------

    def note(self, now: float, events: list[Event]) -> None:
        """A turn begins: note what it is given. The tables are those after the turn before."""
        if not self.room:
            return
        self.write()
        if self._asked or self._parts is not None:
            self._serve(now)
        segment = self._segment
        if segment is None or segment.nbytes > self.room // 2 or now - segment.began > ROOM_S / 2:
            segment = self._turn_over(now)
            if segment is None:
                return
        self._noted = (segment, now, marks(self._machine), events)

    def write(self) -> None:
        """Write down the turn that was noted last. May be called as soon as it is over; else it is done before the next."""
        if self._noted is None:
            return
        segment, now, before, events = self._noted
        self._noted = None
        kept = [
            (_FRAME, event.peer, _control(event)) if type(event) is Received else _encode_event(event)
            for event in events
        ]
        segment.turns.add(pack((now, before, kept)))

    def _turn_over(self, now: float) -> _Segment | None:
        """Begin a new segment if that can be done; else see to it that the room suffices."""
        segment, tasks = self._segment, len(self._machine.core.tasks)
        full = segment is None or segment.nbytes > self.room
        if tasks <= PICTURE_TASKS_MAX:
            late = segment is None or now - segment.began > ROOM_S / 2
            if full or late or (segment is not None and tasks * _PICTURED_BYTES * _WORTH <= segment.nbytes):
                self._earlier, self._segment = None if full else segment, _Segment(self._machine, now)
                return self._segment
        if full:
            self._segment = None
        if self._earlier is not None and (segment is None or self._earlier.nbytes + segment.nbytes > self.room):
            self._earlier = None
        return self._segment

    def press(self) -> bool:
        """Make it smaller, by a piece, if nothing has happened since the last call: to be called a few times a second.

        Returns
        -------
        bool
            It has just become as small as it can be: there is memory to be given back.
        """
        before, self._seen = self._seen, marks(self._machine)
        if before != self._seen or self._parts is not None:
            return False
        was, segments = self._pressing, (self._earlier, self._segment)
        self._pressing = any(segment.press() for segment in segments if segment is not None)
        return was and not self._pressing

    @property
    def nbytes(self) -> int:
        """What it takes at the moment, about."""
        return sum(segment.nbytes for segment in (self._earlier, self._segment) if segment is not None)

    # ---- saving -----------------------------------------------------------------------------------------------------

    def save(self) -> Iterator[bytes]:
        """The journal up to now, in parts that are made one by one, each quickly; to be called between two turns.

        Raises
        ------
        UsageError
            There is none; the text says why.
        """
        self.write()
        if not self.room:
            raise UsageError("this scheduler keeps no journal: where it was started, the configuration said journal: 0")
        segments = [segment for segment in (self._earlier, self._segment) if segment is not None]
        if not segments:
            raise UsageError(
                f"the journal is empty: more happened than fits into {self.room} bytes while there were more than "
                f"{PICTURE_TASKS_MAX} tasks. It begins again when there are fewer. A scheduler can be given more room, by "
                "journal: in the configuration"
            )
        machine = self._machine
        final = Picture(machine.tables()) if len(machine.core.tasks) <= PICTURE_TASKS_MAX else None
        count = sum(segment.turns.count for segment in segments)
        turns = chain.from_iterable([segment.turns.read() for segment in segments])
        return _encode(segments[0].picture, count, turns, final, marks(machine), self.version)

    def begin(self, who: str, now: float) -> None:
        """Somebody wants the journal up to the end of this turn. Whoever was being served is not any more."""
        if not self.room:
            self.save()  # says why not
        self._asked, self._parts, self._who, self._touched = True, None, who, now

    def part(self, who: str, now: float) -> bytes | None:
        """The next part of the journal that this one has asked for; None after the last.

        Raises
        ------
        UsageError
            None was asked for, or somebody else has asked since.
        """
        if self._parts is None or self._who != who:
            raise UsageError(
                "no journal is being saved here: somebody else has asked for it since, or it took too long"
            )
        self._touched = now
        part = next(self._parts, None)
        if part is None:
            self._parts = None
        return part

    def _serve(self, now: float) -> None:
        if self._asked:
            self._asked = False
            try:
                self._parts = self.save()
            except UsageError as error:
                self._parts = _refused(error)
        elif now - self._touched > PATIENCE_S:
            self._parts = None


def _refused(error: UsageError) -> Iterator[bytes]:
    """Parts of nothing: whoever asks for the first is told why."""
    yield from _raise(error)


def _raise(error: UsageError) -> Iterator[bytes]:
    raise error


def _control(event: Received) -> bytes:
    """The control part of a frame, as it came or in the same form."""
    control = event.control
    if control and (len(control) <= _SMALL_BYTES or len(control) <= _ROW_BYTES * _rows(event.messages)):
        return control
    return pack((0, "", 0, [redact(message) for message in event.messages]))


def _rows(messages: tuple[Message, ...]) -> int:
    return sum(len(part) for message in messages for part in message if type(part) is tuple)


def _encode(
    picture: Picture,
    count: int,
    turns: Iterator[bytes],
    final: Picture | None,
    final_marks: Marks,
    version: str,
) -> Iterator[bytes]:
    yield pack((HEAD, version, fingerprint(), count, len(picture)))
    for rows in picture.slices():
        yield pack((TABLES, rows))
    parts: list[bytes] = []
    size = 0
    for turn in turns:
        now, before, kept = unpack(turn)
        parts.append(pack((TURN, now, before, [_redacted(event) for event in kept])))
        size += len(turn)
        if size > _PART_BYTES:
            yield b"".join(parts)
            parts, size = [], 0
    yield b"".join(parts)
    digest = ""
    if final is not None:
        steps = final.digest()
        while not (digest := next(steps)):
            yield b""
    yield pack((END, final_marks, digest))


def _redacted(event: tuple[Any, ...]) -> tuple[Any, ...]:
    """A frame is read now, without payloads; all else is as it shall be."""
    if event[0] != _FRAME:
        return event
    _, peer, control = event
    return (Received.__name__, peer, [redact(message) for message in unpack_control(control)])


def _encode_event(event: Any) -> tuple[Any, ...]:
    names = _NAMES[type(event)]
    values = _READ[type(event)](event) if len(names) > 1 else (getattr(event, names[0]),)
    return (type(event).__name__, *values)


def decode_event(record: tuple[Any, ...]) -> Event:
    """An event as it was noted.

    Raises
    ------
    KeyError, TypeError, ValueError
        It is none.
    """
    name, *values = record
    kind = EVENTS[name]
    for number, field in enumerate(fields(kind)[: len(values)]):
        if field.type == Role.__name__:
            values[number] = Role(values[number])
    event: Event = kind(*values)
    return event


def check_head(record: Mapping[int, Any] | Any) -> tuple[str, int, int]:
    """The version, the number of turns and of rows of tables that a journal begins by telling.

    Raises
    ------
    UsageError
        It is no journal, or one that this version cannot read.
    """
    if type(record) is not tuple or len(record) != 5 or record[0] != HEAD:
        raise UsageError("this is no journal of a scheduler")
    _, version, print_, turns, rows = record
    if print_ != fingerprint():
        raise UsageError(
            f"this journal was kept by myscheduler {version}, whose tables differ from those of this version; "
            "replay it with that one"
        )
    return version, turns, rows
