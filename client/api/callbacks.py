"""Callbacks of users (``Future.add_done_callback``): run in one thread of their own, so that they can block nobody."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("myscheduler.client")


class CallbackThread:
    """Runs callbacks one after the other; the thread starts with the first one."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[Callable[[Any], object], Any]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, function: Callable[[Any], object], argument: Any) -> None:
        """Run ``function(argument)`` soon."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="myscheduler-callbacks", daemon=True)
                self._thread.start()
        self._queue.put((function, argument))

    def _run(self) -> None:
        while True:
            function, argument = self._queue.get()
            try:
                function(argument)
            except Exception:
                logger.exception("a done callback of %r failed", argument)
            # Do not keep the last future alive until the next callback comes.
            del function, argument


shared = CallbackThread()
