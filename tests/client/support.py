"""Waiting for conditions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


def eventually(condition: Callable[[], object], timeout: float = 5.0) -> None:
    """Return once ``condition()`` is true; fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.001)


async def eventually_async(condition: Callable[[], object], timeout: float = 5.0) -> None:
    """The same on a running loop."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.001)
