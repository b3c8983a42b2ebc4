"""A selector that waits awake for a moment."""

from __future__ import annotations

import asyncio
import selectors
import socket
import time
from collections.abc import Iterator

import pytest

from myscheduler.transport import attentive
from myscheduler.transport.attentive import AttentiveSelector, run


@pytest.fixture
def selector() -> Iterator[AttentiveSelector]:
    with AttentiveSelector() as selector:
        yield selector


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """For how long each look was ready to sleep; one in vain, with something ready at the fourth."""
    looks: list[float | None] = []
    key = selectors.SelectorKey(0, 0, 0, None)

    def select(self: object, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        looks.append(timeout)
        return [(key, 1)] if len(looks) == 4 else []

    monkeypatch.setattr(selectors.DefaultSelector, "select", select)
    return looks


def test_it_sleeps_at_once_unless_told_otherwise(selector: AttentiveSelector, looks: list[float | None]) -> None:
    assert selector.select() == []
    selector.until = time.monotonic() - 1
    assert selector.select(2.0) == []
    assert looks[0] is None
    assert looks[1] == pytest.approx(2.0, abs=1.0)


def test_it_looks_until_something_is_ready(selector: AttentiveSelector, looks: list[float | None]) -> None:
    selector.until = time.monotonic() + 3600
    assert len(selector.select()) == 1
    assert looks == [0, 0, 0, 0]


def test_who_does_not_want_to_wait_looks_once(selector: AttentiveSelector, looks: list[float | None]) -> None:
    selector.until = time.monotonic() + 3600
    assert selector.select(0) == []
    assert looks == [0]


def test_without_a_way_to_leave_the_processor_to_others_it_sleeps(
    selector: AttentiveSelector, looks: list[float | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attentive, "_give_way", None)
    selector.until = time.monotonic() + 3600
    assert selector.select() == []
    assert looks == [None]


def test_timers_are_not_late(selector: AttentiveSelector) -> None:
    selector.until = time.monotonic() + 3600
    began = time.monotonic()
    assert selector.select(0.01) == []
    assert time.monotonic() - began >= 0.01  # and it has come to an end


async def _hear(selector: AttentiveSelector) -> bytes:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        selector.until = loop.time() + 3600
        loop.call_later(0.01, theirs.send, b"news")
        return await loop.sock_recv(ours, 4)


def test_a_loop_hears_and_keeps_time_while_it_is_attentive() -> None:
    assert run(_hear) == b"news"
