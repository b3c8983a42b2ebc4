"""The client's machine: which futures there are, what became of them, and what to tell the scheduler.

It holds keys, states and payloads unread. Users' threads call its methods under one lock; what the scheduler says goes
through ``handle``. Each call runs to completion and never blocks. What is to be sent collects in the outbox; what has to
be told to waiting users comes back as ``Effects``.

Rules it keeps:

- A key has exactly one outcome. Whatever arrives for a future that has one changes nothing (see ``records.MOVES``).
- Futures cost nothing but their record: a waiter is noted only when somebody waits for a pending future.
- A released key may be submitted again at once. Outcomes of its earlier life may still be on their way then; a *fence*
  (an empty RETRY, whose answer comes after them on the same link) tells them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..base.errors import (
    CancelledError,
    ClosedError,
    InternalError,
    LostDataError,
    ProtocolError,
    UsageError,
)
from ..base.keys import Key
from ..protocol import messages as m
from ..protocol.blob import Payload
from ..protocol.messages import Message
from ..protocol.stream import NEW, Stream, count_behind
from .effects import Answer, Effects, Request
from .fences import Fences
from .outbox import Call, Option, Outbox
from .records import CANCELLED, ERROR, FINISHED, LOST, MOVES, PENDING, Ending, Record, State

#: HELLO has no number; its answer is kept here.
_HELLO_REQUEST = 0


class ClientMachine:
    """The state of one client.

    Examples
    --------
    >>> machine = ClientMachine()
    >>> record = machine.want("x")
    >>> machine.take_outbox()
    [(11, ('x',))]
    >>> effects = machine.handle([(m.IN_MEMORY, (("x", 28, "int", b"...", None),))])
    >>> record
    <Record 'x' finished>
    """

    def __init__(self) -> None:
        self.records: dict[Key, Record] = {}
        self.closed = ""  # why nothing can be asked any more
        self.away = ""  # how the link was lost, until there is another
        self.epoch = 0  # of the scheduler, once welcome
        self.grace = 0.0  # seconds that the scheduler expects us back
        self.farewell = ""  # what the scheduler said before it left
        self._outbox = Outbox()
        self._stream = Stream()
        self._hello: list[Message] = []  # goes first, and alone while we are away
        self._requests: dict[int, Request] = {}
        self._orphans: list[Record] = []  # may have no futures left; decided when the outbox is taken
        self._fences = Fences()  # around keys released without an outcome
        self._effects = Effects()
        self._handlers: dict[int, Callable[[Message], None]] = {
            m.WELCOME: self._on_welcome,
            m.REFUSED: self._on_refused,
            m.GOODBYE: self._on_goodbye,
            m.ACK: self._on_ack,
            m.IN_MEMORY: self._on_in_memory,
            m.FAILED: self._on_failed,
            m.CANCELLED: self._on_cancelled,
            m.LOST: self._on_lost,
            m.REPLY: self._on_reply,
            m.DATA: self._on_data,
        }

    # ---- futures ----------------------------------------------------------------------------------------------------

    def submit(self, call: Call, function: Payload, option: Option) -> Record:
        """Queue one task and return the record of its future."""
        self._check_open()
        record = self._new_reference(call.key)
        self._outbox.submit(call, function, option)
        return record

    def submit_slice(
        self,
        request: int,
        functions: Iterable[tuple[bytes, Payload]],
        options: Sequence[Option],
        rows: Sequence[m.Row],
        wants: tuple[int, ...] | None,
        more: bool,
    ) -> list[Record]:
        """Queue a slice of a graph or map, dependencies first, and return the records of the wanted rows.

        Parameters
        ----------
        request : int
            From ``new_request``, the same for all slices.
        functions : iterable of (func_id, payload)
            All functions that the rows call; those already known to the scheduler are left out.
        options : sequence of Option
            What the rows' option numbers mean.
        rows : sequence
            At most ``ROWS_PER_MESSAGE_MAX`` rows of ``messages.TASK_FIELDS``.
        wants : tuple of int, optional
            Which rows get futures; None for all.
        more : bool
            Whether another slice of this request follows.
        """
        self._check_open()
        wanted = rows if wants is None else [rows[index] for index in wants]
        made = [self._new_reference(row[0]) for row in wanted]
        self._outbox.submit_many(request, functions, options, rows, wants, more)
        return made

    def _new_reference(self, key: Key) -> Record:
        """The record of a key that is being submitted: usually a new one."""
        record = self.records.get(key)
        if record is None or record.state in (CANCELLED, LOST):
            record = self.records[key] = Record(key)
        else:
            record.refs += 1
        return record

    def find(self, key: Key) -> Record | None:
        """One more reference to the record of ``key``, if there is one that has or may still get a result or an error."""
        record = self.records.get(key)
        if record is None or record.state in (CANCELLED, LOST):
            return None
        record.refs += 1
        return record

    def want(self, key: Key) -> Record:
        """One more future of ``key``, whoever submitted it."""
        self._check_open()
        record = self.find(key)
        if record is None:
            record = self.records[key] = Record(key)
            self._outbox.want(key)
        return record

    def hold(self, record: Record) -> None:
        """One more reference to a record somebody else refers to."""
        record.refs += 1

    def release(self, records: Iterable[Record]) -> None:
        """One reference less to each. The scheduler hears of it when the outbox is taken, if there is no new one by then."""
        for record in records:
            record.refs -= 1
            if record.refs == 0:
                self._orphans.append(record)

    def watch(self, records: Iterable[Record], waiter: Any) -> int:
        """Have ``waiter`` told about each of these that is pending; returns how many are (duplicates count each time)."""
        count = 0
        for record in records:
            if record.state == PENDING:
                count += 1
                if record.waiters is None:
                    record.waiters = [waiter]
                else:
                    record.waiters.append(waiter)
        return count

    def unwatch(self, records: Iterable[Record], waiter: Any) -> None:
        """``waiter`` does not want to be told any more."""
        for record in records:
            waiters = record.waiters
            if waiters is not None:
                waiters[:] = [other for other in waiters if other is not waiter]
                if not waiters:
                    record.waiters = None

    # ---- requests ---------------------------------------------------------------------------------------------------

    def new_request(self) -> int:
        """A number for a SUBMIT in slices."""
        self._check_open()
        return self._outbox.new_request()

    def hello(self, token: Any, info: Mapping[str, Any]) -> None:
        """Introduce us, on a new link; answered with WELCOME's info, or refused."""
        self._requests[_HELLO_REQUEST] = Request(token, m.HELLO)
        resume = (self.epoch, self._stream.tell()) if self.epoch else NEW
        self._hello = [(m.HELLO, {**info, "resume": resume})]

    def call(self, token: Any, method: str, args: tuple[Any, ...]) -> None:
        """Ask the scheduler a question by name."""
        self._ask(Request(token, m.CALL), lambda request: (m.CALL, request, method, args))

    def fetch(self, token: Any, keys: tuple[Key, ...]) -> None:
        """Ask for values through the scheduler; answered with ``(rows (key, payload), rows (key, reason))``."""
        self._ask(Request(token, m.FETCH), lambda request: (m.FETCH, request, keys))

    def placed(self, token: Any, rows: tuple[m.Row, ...]) -> list[Record]:
        """Tell that scattered data is in place and that we hold futures of it; returns their records."""
        self._ask(Request(token, m.PLACED), lambda request: (m.PLACED, request, rows))
        return [self._new_reference(row[0]) for row in rows]

    def cancel(self, token: Any, records: Sequence[Record], force: bool, reason: str) -> None:
        """Ask that these be cancelled. Once granted, those still pending are."""
        keys = tuple(record.key for record in records)
        self._ask(
            Request(token, m.CANCEL, tuple(records), reason), lambda request: (m.CANCEL, request, keys, force, reason)
        )

    def retry(self, token: Any, records: Iterable[Record]) -> None:
        """Run those that failed again: they are pending from now on, or failed again if the scheduler refuses."""
        failed = tuple(record for record in records if record.state == ERROR)
        keys = tuple(record.key for record in failed)
        self._ask(Request(token, m.RETRY, failed), lambda request: (m.RETRY, request, keys))
        for record in failed:
            self._move(record, PENDING, record.outcome)

    def forget_request(self, token: Any) -> None:
        """Nobody waits for this answer any more."""
        for request, asked in self._requests.items():
            if asked.token is token:
                self._requests[request] = asked._replace(token=None)
                return

    def _ask(self, asked: Request, make: Callable[[int], Message]) -> None:
        self._check_open()
        request = self._outbox.new_request()
        self._requests[request] = asked
        self._outbox.say(make(request))

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedError(self.closed)

    # ---- to the scheduler -------------------------------------------------------------------------------------------

    @property
    def has_outbox(self) -> bool:
        """Whether ``take_outbox`` would return something."""
        return bool(self._outbox or self._orphans or self._stream.is_due)

    def take_outbox(self) -> list[Message]:
        """Messages to send, in order. Releases come last: a key released and wanted again in between is kept."""
        hello, self._hello = self._hello, []
        if self.away:
            return hello
        if self._orphans:
            self._release_orphans()
        return hello + self._stream.send(self._outbox.take())

    @property
    def progress(self) -> int:
        """Grows with every message that is known to have got through, either way."""
        return self._stream.received + self._stream.acknowledged

    @property
    def owes_ack(self) -> bool:
        """Whether the scheduler should hear, within ``stream.ACK_AFTER_S``, of what has arrived: see ``acknowledge``."""
        return self._stream.owes_ack

    def acknowledge(self) -> None:
        """Have what has arrived acknowledged with the next ``take_outbox``."""
        self._stream.ack_due = self._stream.owes_ack

    def unsendable(self, messages: Sequence[Message], index: int, reason: str) -> Effects:
        """The shell could not encode one of the messages that it has just taken: what it was about fails."""
        message = messages[index]
        self._stream.withdraw(count_behind(messages, index))
        if message[0] == m.SUBMIT:
            for row in message[4]:
                record = self.records.get(row[0])
                if record is not None and record.state == PENDING:
                    self._move(record, LOST, Ending(UsageError, reason))
        elif len(message) > 1 and isinstance(message[1], int):
            asked = self._requests.pop(message[1], None)
            if asked is not None and asked.token is not None:
                self._effects.answers.append(Answer(asked.token, False, ("usage", reason)))
        return self._take_effects()

    def _release_orphans(self) -> None:
        orphans, self._orphans = self._orphans, []
        records = self.records
        keys: list[Key] = []
        unsettled: list[Key] = []
        for record in orphans:
            key = record.key
            if record.refs == 0 and records.get(key) is record:
                del records[key]
                keys.append(key)
                if record.state == PENDING:
                    unsettled.append(key)
        if self.closed:
            return  # the scheduler has released them all
        self._outbox.release(keys)
        if unsettled:
            request = self._outbox.new_request()
            self._requests[request] = Request(None, m.RELEASE)
            self._fences.put_up(request, tuple(unsettled))
            self._outbox.say((m.RETRY, request, ()))

    # ---- from the scheduler -----------------------------------------------------------------------------------------

    def handle(self, messages: Sequence[Message]) -> Effects:
        """Take in what the scheduler said, in order.

        Raises
        ------
        ProtocolError
            A message that a scheduler does not send to clients.
        """
        self._stream.receive(messages)
        for message in messages:
            handler = self._handlers.get(message[0])
            if handler is None:
                raise ProtocolError(f"the scheduler sent {m.SPECS[message[0]].name}, which is not for clients")
            handler(message)
        return self._take_effects()

    def link_lost(self, reason: str) -> Effects:
        """The link is gone. If we are expected back and the scheduler has not said farewell, we are away."""
        if self.farewell or not self.grace or self.closed:
            return self.disconnected(reason)
        self.away = self.away or reason
        asked = self._requests.pop(_HELLO_REQUEST, None)
        if asked is not None:
            self._effects.answers.append(Answer(asked.token, False, ("link", reason)))
        return self._take_effects()

    def disconnected(self, reason: str) -> Effects:
        """We are cut off for good. What is pending or not at hand is lost; results and errors that are here stay."""
        if not self.closed:
            text = f"{reason}: {self.farewell}" if self.farewell else reason
            self.closed = f"the connection to the scheduler was lost ({text})"
            if self.away:
                self.closed += "; make a new Client, and submit again what is needed"
            self.away = ""
            for record in self.records.values():
                if record.state == PENDING or (record.state == FINISHED and record.result.payload is None):
                    self._move(record, LOST, Ending(ClosedError, self.closed))
            self._refuse_requests()
        return self._take_effects()

    def close(self, reason: str) -> Effects:
        """The user closes the client: every future is cancelled."""
        self.closed = reason
        self.away = ""
        for record in self.records.values():
            if record.state != CANCELLED:
                self._move(record, CANCELLED, Ending(CancelledError, reason))
        self._refuse_requests()
        return self._take_effects()

    def _refuse_requests(self) -> None:
        requests, self._requests = self._requests, {}
        for asked in requests.values():
            if asked.token is not None:
                self._effects.answers.append(Answer(asked.token, False, ("closed", self.closed)))

    def _take_effects(self) -> Effects:
        effects, self._effects = self._effects, Effects()
        return effects

    def _on_welcome(self, message: Message) -> None:
        asked = self._requests.pop(_HELLO_REQUEST, None)
        if asked is None:
            raise ProtocolError("the scheduler sent a second WELCOME")
        info = message[1]
        if self.away:
            self._stream.resume(info.get("received", 0))
            self.away = ""
        self.epoch = info.get("epoch", 0)
        self.grace = info.get("grace_s", 0.0)
        self._effects.answers.append(Answer(asked.token, True, info))

    def _on_refused(self, message: Message) -> None:
        _, code, text = message
        self.farewell = text
        asked = self._requests.pop(_HELLO_REQUEST, None)
        if asked is not None:
            self._effects.answers.append(Answer(asked.token, False, (code, text)))

    def _on_goodbye(self, message: Message) -> None:
        self.farewell = message[1]

    def _on_ack(self, message: Message) -> None:
        self._stream.on_ack(message[1])

    def _on_in_memory(self, message: Message) -> None:
        find, fences = self.records.get, self._fences
        for row in message[1]:
            record = find(row[0])
            if record is None or (fences and fences.refuses(row[0])):
                continue
            if record.state == PENDING:
                self._move(record, FINISHED, row)
            elif record.state == FINISHED and record.outcome is not None and record.outcome[3] is None:
                record.outcome = row  # the same result, held elsewhere now

    def _on_failed(self, message: Message) -> None:
        for row in message[1]:
            self._settle(row[0], ERROR, row)

    def _on_cancelled(self, message: Message) -> None:
        for key, reason in message[1]:
            self._settle(key, CANCELLED, Ending(CancelledError, reason))

    def _on_lost(self, message: Message) -> None:
        for key, reason in message[1]:
            self._settle(key, LOST, Ending(LostDataError, reason))

    def _settle(self, key: Key, state: State, outcome: tuple[Any, ...]) -> None:
        record = self.records.get(key)
        if record is None or self._fences.refuses(key):
            return
        taken_away = state != ERROR and record.state == FINISHED and record.result.payload is None
        if record.state == PENDING or taken_away:
            self._move(record, state, outcome)

    def _on_reply(self, message: Message) -> None:
        _, request, ok, value = message
        asked = self._requests.pop(request, None)
        if asked is None:
            return  # a refused SUBMIT tells its keys through FAILED as well
        if asked.op == m.RELEASE:
            for key in self._fences.take_down(request):
                if key in self.records:
                    self._outbox.want(key)
        elif asked.op == m.CANCEL and ok:
            for record in asked.records:
                if record.state == PENDING:
                    self._move(record, CANCELLED, Ending(CancelledError, asked.reason))
        elif asked.op == m.RETRY and not ok:
            for record in asked.records:
                if record.state == PENDING:
                    self._move(record, ERROR, record.outcome)
        if asked.token is not None:
            self._effects.answers.append(Answer(asked.token, ok, value))

    def _on_data(self, message: Message) -> None:
        _, request, rows, missing = message
        self._stream.ack_due = True  # these may be large, and the scheduler keeps them for us
        asked = self._requests.pop(request, None)
        if asked is not None and asked.token is not None:
            self._effects.answers.append(Answer(asked.token, True, (rows, missing)))

    # ---- the one place where a state changes ------------------------------------------------------------------------

    def _move(self, record: Record, state: State, outcome: tuple[Any, ...] | None) -> None:
        if state not in MOVES[record.state]:
            raise InternalError(f"future {record.key!r} may not move from {record.state} to {state}")
        record.state = state
        record.outcome = outcome
        waiters = record.waiters
        if waiters is not None and state != PENDING:
            record.waiters = None
            settled = self._effects.settled
            for waiter in waiters:
                settled.setdefault(waiter, []).append(record)

    def check(self) -> None:
        """Recompute what must hold between calls; for tests.

        Raises
        ------
        InternalError
            Something does not.
        """
        for key, record in self.records.items():
            if record.key != key:
                raise InternalError(f"{record!r} is filed under {key!r}")
            if record.refs < 0 or (record.refs == 0 and record not in self._orphans):
                raise InternalError(f"{record!r} has {record.refs} references and was not released")
            if record.waiters is not None and (record.state != PENDING or not record.waiters):
                raise InternalError(f"{record!r} still has waiters {record.waiters!r}")
            if record.state != PENDING and record.outcome is None:
                raise InternalError(f"{record!r} has no outcome")
        self._fences.check()
