"""The event loop on which a worker runs tasks that are coroutines.

It has a thread of its own, so that a task that blocks it blocks other coroutines, but not the worker.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from ...protocol.messages import Row
from .context import Run, current_run

if TYPE_CHECKING:
    from .executor import Executor


_CANCELLED: Final = "the task was cancelled"


class Coroutines:
    """Runs coroutines, any number at a time.

    Parameters
    ----------
    executor : Executor
        To whom runs are reported.
    name : str
        Of the thread.
    """

    def __init__(self, executor: Executor, name: str) -> None:
        self._executor = executor
        self._loop = asyncio.new_event_loop()
        self._tasks: dict[int, tuple[asyncio.Task[None], Run]] = {}
        self.thread = threading.Thread(target=self._main, name=name, daemon=True)
        self.thread.start()

    # ---- for other threads ------------------------------------------------------------------------------------------

    def start(self, row: Row, start: float, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        """Call an async function and await what it returns."""
        with suppress(RuntimeError):  # closed: the worker is going away
            self._loop.call_soon_threadsafe(self._begin, row, start, function, args, kwargs)

    def cancel(self, attempt: int) -> None:
        """Cancel a run, if it is here."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._cancel, attempt)

    def close(self) -> None:
        """Cancel everything and end the thread when all is done."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._loop.stop)

    # ---- in the thread ----------------------------------------------------------------------------------------------

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            if left:
                self._loop.run_until_complete(asyncio.wait(left, timeout=1.0))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()

    def _begin(self, row: Row, start: float, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        attempt = row[1]
        run = Run(self._executor, row[0], attempt, None)
        task = self._loop.create_task(self._run(run, row, start, function, args, kwargs))
        self._tasks[attempt] = (task, run)
        self._executor.moved(row[0], attempt, left=True)

    def _cancel(self, attempt: int) -> None:
        found = self._tasks.get(attempt)
        if found is not None:
            task, run = found
            run.interrupted = True
            if run.begun:  # else it would end without a word
                task.cancel(_CANCELLED)

    async def _run(
        self, run: Run, row: Row, start: float, function: Callable[..., Any], args: Any, kwargs: Any
    ) -> None:
        executor = self._executor
        lane = executor.take_lane(row[1])
        current_run.set(run)
        run.begun = True
        try:
            if run.interrupted:
                raise asyncio.CancelledError(_CANCELLED)
            value = await function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 (whatever a task raises is its outcome, SystemExit included)
            executor.fail(row[0], row[1], error, lane, start)
        else:
            executor.finish(row, value, lane, start)
            del value
        finally:
            executor.release_lane(lane)
            del self._tasks[row[1]]
