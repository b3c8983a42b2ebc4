from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.client.api import loop as loop_module
from myscheduler.client.api.loop import LoopThread


async def answer(value: int) -> int:
    return value


def test_there_is_one_shared_thread() -> None:
    assert LoopThread.shared() is LoopThread.shared()
    assert LoopThread.shared().run(answer(3)) == 3


def test_exceptions_come_through() -> None:
    async def broken() -> None:
        raise KeyError("x")

    async def late() -> None:
        raise TimeoutError("its own")

    with pytest.raises(KeyError, match="x"):
        LoopThread.shared().run(broken())
    with pytest.raises(TimeoutError, match="its own"):
        LoopThread.shared().run(late(), 5)


def test_timeout_cancels() -> None:
    ended = threading.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(TimeoutError, match=r"not done after 0\.01 s"):
        LoopThread.shared().run(forever(), 0.01)
    assert ended.wait(5)


def test_what_is_handed_over_comes_out_on_the_calling_thread() -> None:
    async def count(take: Callable[[int], None]) -> None:
        for number in range(3):
            take(number)
            await asyncio.sleep(0)

    async def nothing(take: Callable[[int], None]) -> None:
        del take

    async def broken(take: Callable[[int], None]) -> None:
        take(0)
        raise KeyError("x")

    thread = LoopThread.shared()
    assert list(thread.stream(count)) == [0, 1, 2]
    assert list(thread.stream(nothing, 5)) == []
    parts = thread.stream(broken)
    assert next(parts) == 0
    with pytest.raises(KeyError, match="x"):
        next(parts)


@pytest.mark.parametrize("timeout", [0.01, None])
def test_whoever_wants_no_more_or_waits_too_long_ends_it(timeout: float | None) -> None:
    ended = threading.Event()

    async def forever(take: Callable[[int], None]) -> None:
        take(1)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    parts = LoopThread.shared().stream(forever, timeout)
    assert next(parts) == 1
    if timeout is None:
        parts.close()
    else:
        with pytest.raises(TimeoutError, match=r"not done after 0\.01 s"):
            next(parts)
    assert ended.wait(5)


def test_blocking_on_its_own_thread_is_refused() -> None:
    thread = LoopThread.shared()

    async def wrong() -> None:
        assert thread.is_current
        thread.run(answer(1))

    async def nothing(take: Callable[[int], None]) -> None:
        del take

    async def wrong_as_well() -> None:
        next(thread.stream(nothing))

    for coro in (wrong(), wrong_as_well()):
        with pytest.raises(UsageError, match="asynchronous=True"):
            thread.run(coro)
    assert not thread.is_current


def test_a_forked_child_gets_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    before = LoopThread.shared()
    monkeypatch.setattr(loop_module, "_shared", before)
    loop_module._forget_shared()
    after = LoopThread.shared()
    assert after is not before
    assert after.run(answer(os.getpid())) == os.getpid()
    after.loop.call_soon_threadsafe(after.loop.stop)
    after._thread.join(5)
    after.loop.close()
