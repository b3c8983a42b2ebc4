"""Telling the scheduler how the process of a worker ended: it only sees that a connection broke."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from ..base.errors import MySchedulerError
from .obituary import Obituary

logger = logging.getLogger(__name__)

#: Seconds for one report. The scheduler waits about one before it judges a task without.
REPORT_S: Final = 2.0


class Reporter:
    """Reports deaths, if the scheduler can be reached; nothing depends on it but the text of errors.

    Parameters
    ----------
    call : callable
        Calls a method of the scheduler by name.
    """

    def __init__(self, call: Callable[..., Awaitable[Any]]) -> None:
        self._call = call
        self._tasks: dict[asyncio.Task[None], None] = {}

    def about(self, name: str) -> Callable[[Obituary], None]:
        """What to call when the process of the worker with that name has ended."""

        def tell(obituary: Obituary) -> None:
            task = asyncio.get_running_loop().create_task(self._tell(name, obituary), name=f"report of worker {name}")
            self._tasks[task] = None
            task.add_done_callback(self._tasks.pop)

        return tell

    async def finish(self) -> None:
        """Wait until all that was to be told has been, or cannot be."""
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    async def _tell(self, name: str, obituary: Obituary) -> None:
        try:
            async with asyncio.timeout(REPORT_S):
                await self._call("worker_died", name, obituary.pid, obituary.cause, obituary.sentence)
        except (MySchedulerError, OSError, TimeoutError) as error:
            logger.debug("the scheduler was not told how worker %s ended: %s", name, error)
