"""What the client wants to tell the scheduler: messages in order, single tasks gathered into shared SUBMITs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

from ..base.keys import Key
from ..base.limits import FUNCTION_BYTES_REMEMBERED_MAX, FUNCTIONS_REMEMBERED_MAX, ROWS_PER_MESSAGE_MAX
from ..protocol.blob import Payload, payload_nbytes
from ..protocol.messages import RELEASE, SUBMIT, UNDEFINE, WANT, Message, Row

#: delay, backoff, max_delay, on, timeout; see messages.TERMS_FIELDS
Terms: TypeAlias = tuple[float, float, float | None, bytes | None, float | None]
#: priority, retries, workers, allow_other_workers, resources, terms; see messages.OPTION_FIELDS
Option: TypeAlias = tuple[float, int, tuple[str, ...] | None, bool, tuple[tuple[str, float], ...] | None, Terms | None]

DEFAULT_OPTION: Final[Option] = (0, 0, None, False, None, None)


class Call(NamedTuple):
    """One pickled call of a function, on its way into a SUBMIT row."""

    key: Key
    func_id: bytes
    payload: Payload
    deps: tuple[Key, ...]


class Outbox:
    """Collects messages until the shell takes them.

    Tasks submitted one by one share a SUBMIT as long as nothing else is said between them, so a loop of ``submit`` costs
    one message per flush. Keys wanted or released are gathered likewise.
    """

    __slots__ = (
        "_arriving",
        "_functions",
        "_messages",
        "_next_request",
        "_options",
        "_rows",
        "_sent",
        "_sent_bytes",
        "_wants",
    )

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._next_request = 0
        self._sent: dict[bytes, int] = {}  # functions the scheduler remembers for us, with their sizes, oldest first
        self._sent_bytes = 0
        self._arriving: dict[int, None] = {}  # requests of which more slices are to come
        # The open SUBMIT of single tasks:
        self._functions: dict[bytes, Payload] = {}
        self._options: dict[Option, int] = {}
        self._rows: list[Row] = []
        # The open WANT:
        self._wants: list[Key] = []

    def __bool__(self) -> bool:
        return bool(self._messages or self._rows or self._wants)

    def new_request(self) -> int:
        """A number for the next request; numbers grow in the order of asking."""
        self._next_request += 1
        return self._next_request

    def say(self, message: Message) -> None:
        """Queue one message behind everything queued before."""
        self._close_open()
        self._messages.append(message)

    def submit(self, call: Call, function: Payload, option: Option) -> None:
        """Queue a single wanted task."""
        if self._wants:
            self._close_open()
        key, func_id, payload, deps = call
        if func_id not in self._sent:
            self._remember(func_id, function)
            self._functions[func_id] = function
        options = self._options
        number = options.get(option)
        if number is None:
            number = options[option] = len(options)
        rows = self._rows
        rows.append((key, func_id, payload, deps, len(rows), number))
        if len(rows) == ROWS_PER_MESSAGE_MAX:
            self._close_open()

    def submit_many(
        self,
        request: int,
        functions: Iterable[tuple[bytes, Payload]],
        options: Sequence[Option],
        rows: Sequence[Row],
        wants: tuple[int, ...] | None,
        more: bool,
    ) -> None:
        """Queue at most ``ROWS_PER_MESSAGE_MAX`` finished rows of a request as a message of their own."""
        new = tuple((func_id, payload) for func_id, payload in functions if func_id not in self._sent)
        self._arriving[request] = None
        for func_id, payload in new:
            self._remember(func_id, payload)
        self.say((SUBMIT, request, new, tuple(options), tuple(rows), wants, more))
        if not more:
            del self._arriving[request]
        self._forget_functions()

    def _remember(self, func_id: bytes, payload: Payload) -> None:
        self._sent[func_id] = size = payload_nbytes(payload)
        self._sent_bytes += size

    def _forget_functions(self) -> None:
        """Let the scheduler drop the oldest functions, unless slices to come may refer to them."""
        sent = self._sent
        if self._arriving:
            return
        gone: list[bytes] = []
        while len(sent) > FUNCTIONS_REMEMBERED_MAX or self._sent_bytes > FUNCTION_BYTES_REMEMBERED_MAX:
            func_id = next(iter(sent))
            self._sent_bytes -= sent.pop(func_id)
            gone.append(func_id)
        if gone:
            self._messages.append((UNDEFINE, tuple(gone)))

    def want(self, key: Key) -> None:
        """Queue a key of which there is a future now."""
        if self._rows:
            self._close_open()
        self._wants.append(key)
        if len(self._wants) == ROWS_PER_MESSAGE_MAX:
            self._close_open()

    def release(self, keys: Sequence[Key]) -> None:
        """Queue keys of which there are no futures any more."""
        for start in range(0, len(keys), ROWS_PER_MESSAGE_MAX):
            self.say((RELEASE, tuple(keys[start : start + ROWS_PER_MESSAGE_MAX])))

    def take(self) -> list[Message]:
        """Everything queued, in order; the outbox is empty afterwards."""
        self._close_open()
        messages, self._messages = self._messages, []
        return messages

    def _close_open(self) -> None:
        # At most one of the two is open: each closes the other.
        if self._rows:
            rows, self._rows = tuple(self._rows), []
            functions, self._functions = tuple(self._functions.items()), {}
            options, self._options = tuple(self._options), {}
            self._messages.append((SUBMIT, self.new_request(), functions, options, rows, None, False))
            self._forget_functions()
        elif self._wants:
            wants, self._wants = tuple(self._wants), []
            self._messages.append((WANT, wants))
