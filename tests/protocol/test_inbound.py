"""Frames are taken in order, of this connection's sender and epoch only, and with messages that the peer may send."""

from __future__ import annotations

from typing import Any

import pytest

from myscheduler.base.errors import ProtocolError
from myscheduler.protocol.codec import Frame
from myscheduler.protocol.inbound import Inbound
from myscheduler.protocol.messages import COMPUTE, GOODBYE, Role

PEER = "a" * 16


def _frame(sequence: int, *messages: Any, epoch: int = 7, sender: str = PEER) -> Frame:
    return Frame(epoch, sender, sequence, messages or ((GOODBYE, "done"),))


def test_frames_follow_each_other() -> None:
    inbound = Inbound(Role.WORKER, PEER)
    assert [inbound.admits(_frame(sequence), 7) for sequence in range(3)] == [True] * 3
    assert inbound.stale == 0


@pytest.mark.parametrize("sequence", [0, 2])
def test_a_frame_that_came_before_or_comes_too_early_is_refused(sequence: int) -> None:
    inbound = Inbound(Role.WORKER, PEER)
    inbound.admits(_frame(0), 7)
    with pytest.raises(ProtocolError, match=f"^frame {sequence} came where 1 was due$"):
        inbound.admits(_frame(sequence), 7)


def test_frames_of_others_and_of_other_epochs_are_dropped_unread_and_the_next_is_taken() -> None:
    inbound = Inbound(Role.WORKER, PEER)
    assert not inbound.admits(_frame(0, "no message", sender="b" * 16), 7)
    assert not inbound.admits(_frame(1, "no message", epoch=6), 7)
    assert inbound.stale == 2
    assert inbound.admits(_frame(2), 7)


@pytest.mark.parametrize(("frame_epoch", "epoch"), [(0, 7), (7, 0)])
def test_until_both_sides_know_the_epoch_any_is_taken(frame_epoch: int, epoch: int) -> None:
    assert Inbound(Role.WORKER, PEER).admits(_frame(0, epoch=frame_epoch), epoch)


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("no message", "a message is an array that starts with its op"),
        ((COMPUTE, (), ()), "a worker may not send COMPUTE"),
    ],
)
def test_messages_are_validated_for_the_role_of_the_peer(message: Any, problem: str) -> None:
    with pytest.raises(ProtocolError, match=f"^{problem}$"):
        Inbound(Role.WORKER, PEER).admits(_frame(0, (GOODBYE, "done"), message), 7)
