"""Telling the scheduler what it cannot see of a worker: how its process ended, or that it lives though it says nothing."""

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
    """Reports deaths and vouches for the living, if the scheduler can be reached.

    On the reports of deaths nothing depends but the text of errors. A worker that is not vouched for is given up sooner.

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
            what = ("worker_died", name, obituary.pid, obituary.cause, obituary.sentence, obituary.running)
            self._call_soon(f"report of worker {name}", *what)

        return tell

    def vouch_for(self, name: str) -> Callable[[int, float], None]:
        """What to call now and then while the process of the worker with that name lives, but its loop does not turn."""

        def tell(pid: int, busy: float) -> None:
            self._call_soon(f"word for worker {name}", "vouch", name, pid, busy)

        return tell

    async def finish(self) -> None:
        """Wait until all that was to be told has been, or cannot be."""
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    def _call_soon(self, label: str, method: str, *args: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._tell(label, method, args), name=label)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    async def _tell(self, label: str, method: str, args: tuple[Any, ...]) -> None:
        try:
            async with asyncio.timeout(REPORT_S):
                await self._call(method, *args)
        except (MySchedulerError, OSError, TimeoutError) as error:
            logger.debug("the scheduler did not get our %s: %s", label, error)
