"""Calls on a loop that other threads ask for."""

from __future__ import annotations

import asyncio
import threading
from collections import deque

from myscheduler.transport.wakeup import Wakeup


async def test_nothing_that_threads_put_down_before_they_ask_is_left_behind() -> None:
    items: deque[int] = deque()
    seen: list[int] = []
    enough = asyncio.Event()

    def collect() -> None:
        seen.extend(items.popleft() for _ in range(len(items)))
        if len(seen) == 4 * 5000:
            enough.set()

    wakeup = Wakeup(asyncio.get_running_loop(), collect)

    def work() -> None:
        for number in range(5000):
            items.append(number)
            wakeup.ask()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    await asyncio.wait_for(enough.wait(), 60)
    for thread in threads:
        thread.join()
    wakeup.close()
    assert sorted(seen) == sorted([*range(5000)] * 4)


async def test_those_who_ask_before_the_loop_comes_round_share_a_call() -> None:
    calls: list[str] = []
    called = asyncio.Event()

    def call() -> None:
        calls.append(threading.current_thread().name)
        called.set()

    wakeup = Wakeup(asyncio.get_running_loop(), call)
    for _ in range(1000):
        wakeup.ask()
    await asyncio.wait_for(called.wait(), 10)
    await asyncio.sleep(0)
    assert calls == [threading.current_thread().name]
    wakeup.close()


async def test_once_closed_it_calls_nothing() -> None:
    calls: list[int] = []
    wakeup = Wakeup(asyncio.get_running_loop(), lambda: calls.append(1))
    wakeup.ask()
    wakeup.close()
    wakeup.close()
    wakeup.ask()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert calls == []
