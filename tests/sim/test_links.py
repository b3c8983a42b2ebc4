"""Connections keep order, can be cut at any byte, and are closed by nonsense as the transport closes them."""

from __future__ import annotations

from typing import Any

import pytest

from myscheduler.base.ids import seeded
from myscheduler.protocol import messages as m
from myscheduler.sim.links import End, connect
from myscheduler.sim.world import Process, World

SENT = [(m.RELEASE, (f"x-{index}",)) for index in range(200)]


class Pair:
    """A client and a scheduler, connected."""

    def __init__(self, seed: int) -> None:
        self.world = World(seeded(seed))
        self.client = End(Process(self.world), "ab" * 8, "0" * 16, m.Role.SCHEDULER)
        self.scheduler = End(Process(self.world), "0" * 16, "ab" * 8, m.Role.CLIENT)
        connect(self.client, self.scheduler)
        self.arrived: list[Any] = []
        self.closed: list[str] = []
        self.scheduler.on_messages = lambda messages: self.arrived.extend(messages)
        self.client.on_closed = lambda reason: self.closed.append("client")
        self.scheduler.on_closed = lambda reason: self.closed.append("scheduler")

    def run(self) -> None:
        while self.world.step():
            pass


@pytest.mark.parametrize("seed", range(5))
def test_everything_arrives_in_order(seed: int) -> None:
    pair = Pair(seed)
    for message in SENT:
        pair.client.send([message])
    pair.run()
    assert pair.arrived == SENT
    assert pair.closed == []


def test_what_was_sent_before_closing_still_arrives_and_both_ends_are_told() -> None:
    pair = Pair(1)
    pair.client.send(SENT)
    pair.client.close("done")
    pair.run()
    assert pair.arrived == SENT
    assert pair.closed == ["client", "scheduler"]


def test_a_broken_connection_delivers_a_prefix_cut_at_any_byte() -> None:
    lengths = []
    for seed in range(30):
        pair = Pair(seed)
        for message in SENT:
            pair.client.send([message])
        pair.client.abort("cut")
        pair.run()
        assert pair.arrived == SENT[: len(pair.arrived)]
        assert pair.closed == ["client", "scheduler"]
        lengths.append(len(pair.arrived))
    assert len(set(lengths)) > 10


def test_a_blocked_or_slow_wire_is_late_and_loses_nothing() -> None:
    pair = Pair(1)
    pair.client.out.blocked_until = 50.0
    pair.client.out.rate = 1000.0
    pair.client.send(SENT)
    pair.run()
    assert pair.arrived == SENT
    assert pair.world.now >= 50.0


def test_nobody_is_told_when_a_host_vanishes() -> None:
    pair = Pair(1)
    pair.client.send(SENT)
    pair.client.process.alive = False
    pair.client.vanish()
    pair.run()
    assert pair.closed == []
    assert pair.arrived == []


@pytest.mark.parametrize(
    "data", [b"\0" * 8, b"\xff" * 40, b"\0\0\0\x04\0\0\0\0abcd"], ids=["empty", "too large", "not msgpack"]
)
def test_bytes_that_are_no_frames_close_the_connection(data: bytes) -> None:
    pair = Pair(1)
    pair.client.nonsense = True
    pair.client.send_raw(data)
    pair.run()
    assert pair.scheduler.closed
    assert sorted(pair.closed) == ["client", "scheduler"]


def test_a_frame_that_comes_twice_and_a_message_of_another_role_close_the_connection() -> None:
    for twice in (False, True):
        pair = Pair(1)
        pair.client.nonsense = True
        pair.client.send([SENT[0]] if twice else [(m.RESULTS, ())])
        if twice:
            pair.client.send_raw(pair.client.last_frame)
        pair.run()
        assert pair.arrived == ([SENT[0]] if twice else [])
        assert pair.scheduler.closed


def test_refusing_somebody_who_sent_no_nonsense_is_an_error() -> None:
    pair = Pair(1)
    pair.client.send([(m.RESULTS, ())])
    with pytest.raises(
        AssertionError, match="refuses what client abababababababab sent: a client may not send RESULTS"
    ):
        pair.run()


@pytest.mark.parametrize(("epoch", "sender"), [(6, "ab" * 8), (7, "f" * 16)])
def test_frames_of_another_epoch_or_sender_are_dropped_and_counted(epoch: int, sender: str) -> None:
    pair = Pair(1)
    pair.scheduler.epoch = pair.client.epoch = 7
    pair.client.send_foreign([SENT[0]], epoch, sender)
    pair.client.send([SENT[1]])
    pair.run()
    assert pair.arrived == [SENT[1]]
    assert pair.scheduler.stale == 1
