"""However links break, every message arrives once and in order; what is kept is bounded and let go of when acknowledged."""

from __future__ import annotations

from typing import Any

import pytest

from myscheduler.base.errors import ProtocolError
from myscheduler.base.ids import seeded
from myscheduler.protocol import messages as m
from myscheduler.protocol import stream as s
from myscheduler.protocol.stream import Stream


def note(number: int) -> m.Message:
    return (m.RELEASE, (f"key{number}",))


class Side:
    """A stream, what it was handed, and what arrived."""

    def __init__(self) -> None:
        self.stream = Stream()
        self.arrived: list[m.Message] = []
        self.wire: list[m.Message] = []  # on the way to the other side

    def say(self, *messages: m.Message) -> None:
        self.wire += self.stream.send(list(messages))

    def take(self, messages: list[m.Message]) -> None:
        self.stream.receive(messages)
        for message in messages:
            if message[0] == m.ACK:
                self.stream.on_ack(message[1])
            elif message[0] not in s.UNCOUNTED:
                self.arrived.append(message)


def test_control_messages_do_not_count() -> None:
    stream = Stream()
    stream.receive([(m.WELCOME, {}), note(1), (m.ACK, 0), (m.GOODBYE, "done"), (m.HELLO, {}), (m.REFUSED, "a", "b")])
    assert stream.received == 1


@pytest.mark.parametrize("arrived", range(5))
@pytest.mark.parametrize("batches", [[4], [1, 3], [2, 2], [1, 1, 1, 1]])
def test_what_did_not_arrive_is_sent_again_and_nothing_else(arrived: int, batches: list[int]) -> None:
    ours, theirs = Side(), Side()
    number = 0
    for size in batches:
        ours.say(*(note(number + index) for index in range(size)))
        number += size
    theirs.take(ours.wire[:arrived])
    ours.stream.resume(theirs.stream.received, [(m.WELCOME, {})])
    again = ours.stream.send([note(4)])
    assert again == [(m.WELCOME, {}), *map(note, range(arrived, 5))]
    theirs.take(again)
    assert theirs.arrived == [note(index) for index in range(5)]


@pytest.mark.parametrize("seed", range(200))
def test_any_interleaving_of_losses_delivers_everything_once(seed: int) -> None:
    """Both sides talk; links break at random places, also while the greetings are on their way."""
    random = seeded(seed)
    client, server = Side(), Side()
    total = 0
    for _ in range(random.randint(1, 30)):
        for side in (client, server):
            side.say(*(note(total + index) for index in range(random.choice((0, 1, 3, 20)))))
            total += 20
        for side, other in ((client, server), (server, client)):
            part = random.randint(0, len(side.wire))
            other.take(side.wire[:part])
            del side.wire[:part]
        if random.random() < 0.4:  # the link is lost, with all that is on the way
            client.wire.clear()
            server.wire.clear()
            hello = client.stream.tell()
            server.stream.resume(hello, [(m.WELCOME, {})])
            welcome = server.stream.tell()
            if random.random() < 0.7:  # else WELCOME is lost, and the client comes again
                client.stream.resume(welcome)
            else:
                server.say(note(total))
                total += 20
                server.wire.clear()
                hello = client.stream.tell()
                server.stream.resume(hello, [(m.WELCOME, {})])
                client.stream.resume(server.stream.tell())
    client.say()
    server.say()
    server.take(client.wire)
    client.take(server.wire)
    for side, other in ((client, server), (server, client)):
        assert len(other.arrived) == side.stream.sent
        assert len(set(other.arrived)) == len(other.arrived)
        assert other.arrived == sorted(other.arrived, key=lambda message: int(message[1][0][3:]))


def test_many_messages_are_acknowledged_at_once_and_few_when_asked_for() -> None:
    stream = Stream()
    stream.receive([note(index) for index in range(s.ACK_EVERY - 1)])
    assert (stream.send([]), stream.owes_ack, stream.ack_due) == ([], True, False)
    stream.receive([note(99)])
    assert stream.ack_due
    assert stream.send([note(1)]) == [note(1), (m.ACK, s.ACK_EVERY)]
    assert not stream.owes_ack
    stream.receive([note(100)])
    stream.ack_due = True
    assert stream.send([]) == [(m.ACK, s.ACK_EVERY + 1)]


def test_what_is_acknowledged_is_let_go_of() -> None:
    stream = Stream()
    for index in range(0, 9, 3):
        stream.send([note(index), note(index + 1), note(index + 2)])
    stream.on_ack(4)
    assert stream.unacknowledged == 5
    assert [len(batch) for batch in stream._kept] == [3, 3]
    stream.on_ack(9)
    assert not stream._kept


@pytest.mark.parametrize("count", [1, 4])
def test_impossible_acknowledgements_are_refused(count: int) -> None:
    stream = Stream()
    stream.send([note(1), note(2), note(3)])
    stream.on_ack(2)
    assert not stream.can_resume(count)
    with pytest.raises(ProtocolError, match=rf"{count} messages were acknowledged of 3 that were sent, after 2 before"):
        stream.on_ack(count)
    with pytest.raises(ProtocolError, match="were acknowledged"):
        stream.resume(count)


def test_a_message_that_cannot_be_sent_does_not_count() -> None:
    stream = Stream()
    stream.send([note(1)])
    messages = stream.send([note(2), note(3)])
    stream.withdraw(s.count_behind([*messages, (m.ACK, 1)], 0))
    assert stream.sent == 2
    stream.withdraw(1)
    stream.withdraw(7)  # never sent
    assert stream.sent == 1
    stream.resume(0)
    assert stream.send([]) == [note(3)]


def test_the_backlog_of_one_who_is_away_is_counted() -> None:
    stream = Stream()
    stream.keep([])
    assert stream.backlog == 0
    stream.keep([(m.DATA, 1, (("x", b"z"),), ()), (m.LOST, (("x", "gone"), ("y", "gone")))])
    assert stream.backlog == 3
    stream.resume(0)
    assert stream.backlog == 0
    assert len(stream.send([])) == 2


def test_values_are_left_out_when_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s, "VALUES_BYTES_MAX", 1500)
    stream = Stream()
    row: tuple[Any, ...] = ("x", 28, "int", b"v" * 1000, None)
    stream.keep([(m.IN_MEMORY, (row,))])
    stream.keep([(m.IN_MEMORY, (row,)), (m.LOST, (("y", "gone"),))])
    stream.resume(0)
    assert stream.send([]) == [
        (m.IN_MEMORY, (row,)),
        (m.IN_MEMORY, (("x", 28, "int", None, None),)),
        (m.LOST, (("y", "gone"),)),
    ]


def test_values_are_left_out_for_one_who_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s, "VALUES_BYTES_MAX", 100_000)
    stream = Stream()
    row: tuple[Any, ...] = ("x", 28, "int", b"v" * 1000, None)
    for _ in range(200):
        stream.send([(m.IN_MEMORY, (row, row)), note(1)])
    said = [message for batch in stream._kept for message in batch]
    assert stream.sent == len(said) == 400
    values = [len(r[3]) for message in said if message[0] == m.IN_MEMORY for r in message[1] if r[3] is not None]
    assert sum(values) == 100_000
    stream.on_ack(20)  # ten of the fifty that had room
    assert stream._values == 80_000
    stream.send([(m.IN_MEMORY, (row,) * 20)])
    assert stream._values == 100_000
    stream.on_ack(stream.sent)
    assert (stream._values, stream._kept, stream._weights) == (0, [], [])
    assert stream.send([(m.IN_MEMORY, (row,))]) == [(m.IN_MEMORY, (row,))]


def test_nothing_is_counted_for_one_who_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s, "VALUES_BYTES_MAX", 100)
    stream = Stream()
    row: tuple[Any, ...] = ("x", 28, "int", b"v" * 1000, None)
    for index in range(0, 1000, s.ACK_EVERY):
        for _ in range(s.ACK_EVERY):
            assert stream.send([(m.IN_MEMORY, (row,))]) == [(m.IN_MEMORY, (row,))]
        stream.on_ack(index + s.ACK_EVERY - 3)
    assert stream._weights == []
