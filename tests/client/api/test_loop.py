from __future__ import annotations

import asyncio
import os
import threading

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


def test_blocking_on_its_own_thread_is_refused() -> None:
    thread = LoopThread.shared()

    async def wrong() -> None:
        assert thread.is_current
        thread.run(answer(1))

    with pytest.raises(UsageError, match="asynchronous=True"):
        thread.run(wrong())
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
