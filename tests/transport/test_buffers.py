from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import numpy as np
import pytest

from myscheduler.transport import buffers as module
from myscheduler.transport.buffers import Buffers, take

MIB = 1024 * 1024


def address(view: memoryview) -> int:
    return int(np.frombuffer(view, np.uint8).ctypes.data)


def test_memory_is_used_again_when_nothing_refers_to_it() -> None:
    buffers = Buffers(64 * MIB)
    view = buffers.take(3 * MIB)
    array = np.frombuffer(view, np.uint8)[MIB:]
    where = address(view)
    del view
    assert buffers.kept_bytes == 0
    assert address(buffers.take(3 * MIB)) != where
    del array
    assert buffers.kept_bytes == 6 * MIB
    again = [buffers.take(3 * MIB), buffers.take(3 * MIB - 1)]
    assert where in map(address, again)
    assert buffers.kept_bytes == 0
    assert {len(view) for view in again} == {3 * MIB, 3 * MIB - 1}


def test_much_too_large_memory_is_not_used() -> None:
    buffers = Buffers(64 * MIB)
    buffers.take(16 * MIB)
    view = buffers.take(2 * MIB)
    assert buffers.kept_bytes == 16 * MIB
    assert len(view) == 2 * MIB


def test_there_is_a_limit() -> None:
    buffers = Buffers(5 * MIB)
    views = [buffers.take(2 * MIB) for _ in range(4)]
    views.clear()
    assert buffers.kept_bytes == 4 * MIB


def test_there_is_a_limit_to_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_MAX", 3)
    buffers = Buffers(64 * MIB)
    views = [buffers.take(MIB) for _ in range(5)]
    views.clear()
    assert buffers.kept_bytes == 3 * MIB


@pytest.mark.parametrize("nbytes", [MIB, MIB + 1, 3 * MIB - 5, 200_000_001])
def test_what_is_kept_is_little_more_than_was_asked_for(nbytes: int) -> None:
    buffers = Buffers(256 * MIB)
    buffers.take(nbytes)
    assert nbytes <= buffers.kept_bytes <= nbytes * 9 / 8


def test_small_buffers_are_not_kept() -> None:
    buffers = Buffers(64 * MIB)
    view = buffers.take(1000)
    view[:] = bytes(1000)
    del view
    assert buffers.kept_bytes == 0


def test_memory_is_let_go_when_nothing_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    buffers = Buffers(64 * MIB)
    buffers.take(2 * MIB)
    buffers.trim()
    assert buffers.kept_bytes == 2 * MIB
    monkeypatch.setattr(module, "IDLE_S", 0.0)
    buffers.trim()
    assert buffers.kept_bytes == 0
    buffers.take(2 * MIB)
    assert buffers.kept_bytes == 0


def test_threads_never_get_the_same_memory() -> None:
    buffers = Buffers(64 * MIB)
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(300):
            view = buffers.take(MIB)
            view[:8] = view[-8:] = number.to_bytes(8, "big")
            if bytes(view[:8]) != bytes(view[-8:]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert buffers.kept_bytes <= 64 * MIB


async def test_loops_are_told_to_trim_the_pool_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    told: list[float] = []

    def call_later(delay: float, callback: Callable[[], None]) -> None:
        told.append(delay)
        callback()

    monkeypatch.setattr(loop, "call_later", call_later)
    monkeypatch.setattr(module, "buffers", Buffers(64 * MIB))
    assert len(take(1000)) == 1000
    assert told == []
    assert len(take(MIB)) == MIB
    take(2 * MIB)
    assert told == [11.0]
    assert module.buffers.kept_bytes == 3 * MIB  # used just now
