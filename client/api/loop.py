"""The background thread whose event loop serves blocking clients and local clusters."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from ...base.errors import UsageError

T = TypeVar("T")

_shared: LoopThread | None = None
_shared_lock = threading.Lock()


class LoopThread:
    """A daemon thread that runs an asyncio loop until the process ends.

    Examples
    --------
    >>> LoopThread.shared().run(asyncio.sleep(0, "done"))
    'done'
    """

    def __init__(self, name: str = "myscheduler-io") -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @classmethod
    def shared(cls) -> LoopThread:
        """The one thread of this process; started when first asked for. A forked child gets its own."""
        global _shared
        with _shared_lock:
            if _shared is None:
                _shared = cls()
            return _shared

    @property
    def is_current(self) -> bool:
        """Whether the caller runs on this thread, where blocking would stop everything."""
        return threading.current_thread() is self._thread

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run(self, coro: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine on the loop and block until it ends; Ctrl-C cancels it.

        Parameters
        ----------
        coro : coroutine
            What to run.
        timeout : float, optional
            Seconds; without it, wait for ever.

        Returns
        -------
        object
            What the coroutine returns.

        Raises
        ------
        UsageError
            Called on the loop's own thread.
        TimeoutError
            It took longer; the coroutine has been cancelled.
        """
        future = self._start(coro)
        try:
            return future.result(timeout)
        except TimeoutError:
            if future.done():
                raise
            future.cancel()
            raise TimeoutError(f"not done after {timeout:g} s") from None
        except BaseException:
            future.cancel()
            raise

    def stream(
        self, start: Callable[[Callable[[T], None]], Coroutine[Any, Any, None]], timeout: float | None = None
    ) -> Generator[T, None, None]:
        """Run a coroutine on the loop, as ``run`` does, that hands over one thing after the other: they come out here.

        Parameters
        ----------
        start : callable
            Returns the coroutine, given what it is to call.
        timeout : float, optional
            Seconds that it may take to its end.

        Yields
        ------
        object
            What was handed over, in order.
        """
        inbox: SimpleQueue[Any] = SimpleQueue()
        future = self._start(start(inbox.put))
        future.add_done_callback(inbox.put)  # stands for the end
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while True:
                part = inbox.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
                if part is future:
                    future.result()
                    return
                yield part
        except Empty:
            raise TimeoutError(f"not done after {timeout:g} s") from None
        finally:
            future.cancel()

    def _start(self, coro: Coroutine[Any, Any, T]) -> Future[T]:
        if self.is_current:
            coro.close()
            raise UsageError(
                "a blocking call on the event loop's own thread would wait for itself; "
                "use Client(..., asynchronous=True) there and await the result"
            )
        return asyncio.run_coroutine_threadsafe(coro, self.loop)


def _forget_shared() -> None:
    """In a forked child the thread does not exist, and the lock may be held by a thread that does not either."""
    global _shared, _shared_lock
    _shared = None
    _shared_lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_shared)
