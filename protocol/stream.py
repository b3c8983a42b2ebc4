"""A conversation that survives its links: every message arrives once and in order, over however many links it takes.

Each side counts the messages that it has sent and received since the first welcome; the counts are the numbers, and none
travels with a message. What was sent is kept until the peer says by ACK how many it has received. Who comes back over
another link tells its count in HELLO, is told the peer's in WELCOME, and both send the rest again. What only concerns one
link (HELLO, WELCOME, REFUSED, GOODBYE, ACK itself) is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ..base.errors import ProtocolError
from ..base.limits import MIB
from .blob import payload_nbytes
from .messages import (
    ACK,
    CANCELLED,
    FAILED,
    GOODBYE,
    HELLO,
    IN_MEMORY,
    LOST,
    REFUSED,
    WELCOME,
    Message,
)

#: What concerns one link only.
UNCOUNTED: Final = (HELLO, WELCOME, REFUSED, GOODBYE, ACK)

#: What HELLO says under "resume" when a conversation begins: no epoch yet, nothing received.
NEW: Final = (0, 0)
#: So many messages are acknowledged with the next that is sent, or at once if there is none to send.
ACK_EVERY: Final = 16
#: Fewer are acknowledged after this many seconds: what the peer keeps for us is memory.
ACK_AFTER_S: Final = 0.1
#: News (of keys, or answers) that gather for a peer which is away; what is more ends the conversation.
BACKLOG_MAX: Final = 1_000_000
#: Bytes of values that may wait for a peer, whether it is away or reads nothing; later results are announced without, as they
#: can be fetched.
VALUES_BYTES_MAX: Final = 64 * MIB
#: Messages that a peer which is there leaves unacknowledged before the values among them are counted. One that reads
#: acknowledges more often, so nothing is counted for it.
BEHIND: Final = 2 * ACK_EVERY
#: Messages that a peer which is there may leave unacknowledged.
UNACKNOWLEDGED_MAX: Final = 1_000_000
#: Messages whose rows each are news of one key.
_NEWS: Final = (IN_MEMORY, FAILED, CANCELLED, LOST)


class Stream:
    """One side of a conversation.

    Attributes
    ----------
    sent, received : int
        Messages that count.
    acknowledged : int
        Of those sent, how many the peer is known to have received.
    ack_due : bool
        The next ``send`` acknowledges what was received.
    backlog : int
        News kept by ``keep`` since the last link was lost.

    Examples
    --------
    >>> ours, theirs = Stream(), Stream()
    >>> on_the_link = ours.send([("one",), ("two",)])
    >>> theirs.receive(on_the_link[:1])                # then the link is lost
    >>> ours.resume(theirs.received)
    >>> ours.send([("three",)])
    [('two',), ('three',)]
    """

    __slots__ = (
        "_again",
        "_first",
        "_kept",
        "_told",
        "_values",
        "_weights",
        "ack_due",
        "acknowledged",
        "backlog",
        "received",
        "sent",
    )

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0
        self.ack_due = False
        self.backlog = 0
        self.acknowledged = 0
        self._values = 0  # bytes of values in what is kept, as far as they have been counted
        self._weights: list[int] = []  # the same, of each batch in front
        self._told = 0  # how many the peer knows we have received
        self._kept: list[list[Message]] = []  # as they were sent; those that are acknowledged leave in front
        self._first = 0  # messages before those kept
        self._again: list[Message] = []  # to be sent first over the new link

    # ---- out --------------------------------------------------------------------------------------------------------

    def send(self, messages: list[Message]) -> list[Message]:
        """Count and keep new messages, and say what to put on the link: those that are due again, these, perhaps an ACK."""
        if messages:
            if self.sent - self.acknowledged > BEHIND:
                messages = self._fit(messages)
            self._kept.append(messages)
            self.sent += len(messages)
        again, self._again = self._again, []
        out = [*again, *messages]
        if self.ack_due:
            out.append((ACK, self.tell()))
        return out

    def keep(self, messages: list[Message]) -> None:
        """Count and keep new messages while there is no link."""
        if messages:
            messages = self._fit(messages)
            self._kept.append(messages)
            self.sent += len(messages)
            self.backlog += sum(len(message[1]) if message[0] in _NEWS else 1 for message in messages)

    def _fit(self, messages: list[Message]) -> list[Message]:
        """These messages, about to be kept, without the values for which there is no room."""
        for batch in self._kept[len(self._weights) :]:
            self._weigh(sum(map(_nbytes_of_values, batch)))
        fitting, weight = [], 0
        for message in messages:
            nbytes = _nbytes_of_values(message)
            if nbytes and self._values + weight + nbytes > VALUES_BYTES_MAX:
                rows = tuple((key, size, type_name, None, None) for key, size, type_name, _, _ in message[1])
                fitting.append((IN_MEMORY, rows))
            else:
                fitting.append(message)
                weight += nbytes
        self._weigh(weight)
        return fitting

    def _weigh(self, nbytes: int) -> None:
        self._weights.append(nbytes)
        self._values += nbytes

    def withdraw(self, behind: int) -> None:
        """Of what was to be sent just now, the message with so many ``behind`` it cannot be: it does not count."""
        for batch in reversed(self._kept):
            if behind < len(batch):
                del batch[len(batch) - 1 - behind]
                self.sent -= 1
                return
            behind -= len(batch)

    @property
    def is_due(self) -> bool:
        """Whether ``send`` has something to say even without new messages."""
        return self.ack_due or bool(self._again)

    @property
    def unacknowledged(self) -> int:
        """How many messages the peer may not have received."""
        return self.sent - self.acknowledged

    # ---- in ---------------------------------------------------------------------------------------------------------

    def receive(self, messages: Iterable[Message]) -> None:
        """Count what has arrived."""
        count = self.received
        for message in messages:
            if message[0] not in UNCOUNTED:
                count += 1
        self.received = count
        if count - self._told >= ACK_EVERY:
            self.ack_due = True

    def tell(self) -> int:
        """How many messages were received, for a message that says so."""
        self.ack_due = False
        self._told = self.received
        return self.received

    @property
    def owes_ack(self) -> bool:
        """Whether something was received that the peer does not know of."""
        return self.received != self._told

    def on_ack(self, count: int) -> None:
        """The peer has received so many.

        Raises
        ------
        ProtocolError
            Fewer than it said before, or more than there were.
        """
        if not self.can_resume(count):
            raise ProtocolError(
                f"{count} messages were acknowledged of {self.sent} that were sent, after {self.acknowledged} before"
            )
        self.acknowledged = count
        done = 0
        for batch in self._kept:
            if self._first + len(batch) > count:
                break
            self._first += len(batch)
            done += 1
        del self._kept[:done]
        self._values -= sum(self._weights[:done])
        del self._weights[:done]

    # ---- another link -----------------------------------------------------------------------------------------------

    def can_resume(self, count: int) -> bool:
        """Whether the peer may have received so many: what is behind them is kept."""
        return self.acknowledged <= count <= self.sent

    def resume(self, count: int, greeting: Sequence[Message] = ()) -> None:
        """There is a new link, and the peer says that it has received ``count``: the rest follows the greeting.

        Raises
        ------
        ProtocolError
            That cannot be.
        """
        self.on_ack(count)
        self.backlog = 0
        rest = [message for batch in self._kept for message in batch]
        self._again = [*greeting, *rest[count - self._first :]]


def _nbytes_of_values(message: Message) -> int:
    """Of news that results are there, how large the values are that come with it."""
    if not message or message[0] != IN_MEMORY:
        return 0
    return sum(payload_nbytes(row[3]) for row in message[1] if row[3] is not None)


def count_behind(messages: Sequence[Message], index: int) -> int:
    """How many messages behind the one at ``index`` count; see ``Stream.withdraw``."""
    return sum(message[0] not in UNCOUNTED for message in messages[index + 1 :])
