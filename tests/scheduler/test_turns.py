"""Pressed or not, the turns that come out are those that went in."""

from __future__ import annotations

import pytest

from myscheduler.scheduler import turns as module
from myscheduler.scheduler.turns import Turns


def test_what_is_pressed_comes_out_as_it_went_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE_BYTES", 1000)
    turns, added = Turns(), [b"turn %d " % number * (number % 7) for number in range(500)]
    for number, turn in enumerate(added):
        turns.add(turn)
        if number % 100 == 50:
            assert turns.press()
    assert (list(turns.read()), turns.count) == (added, 500)
    before = turns.nbytes
    while turns.press():
        assert turns.nbytes < before
        before = turns.nbytes
    assert (list(turns.read()), turns.count) == (added, 500)
    assert turns.nbytes < sum(map(len, added)) / 2


def test_what_is_added_while_they_are_read_is_not_read() -> None:
    turns = Turns()
    turns.add(b"one")
    reading = turns.read()
    turns.add(b"two")
    assert list(reading) == [b"one"]
    assert list(turns.read()) == [b"one", b"two"]
    assert (turns.press(), turns.nbytes) == (False, 14)
