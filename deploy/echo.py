"""What a child writes to stderr: passed on to where ours goes, while the end of it is kept for the day the child dies.

A thread does it, not the loop: a terminal that is held up, or a pipe that nobody reads, must not stop our own work.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
from collections import deque
from contextlib import suppress
from threading import Lock, Thread
from typing import Final

#: Bytes that are kept.
KEPT_BYTES: Final = 16 * 1024
#: What the kernel holds for a child while we do not get to read, so that its tasks do not wait for us.
_PIPE_BYTES: Final = 1024 * 1024
#: Seconds until a stderr that takes nothing is passed over: what it misses is lost, but the child goes on.
_PATIENCE_S: Final = 1.0
#: Seconds to wait, once a child has ended, for the last of what it wrote. Its own children may hold the pipe for longer.
_LAST_S: Final = 0.25


class Echo:
    """A pipe for the stderr of one child.

    Parameters
    ----------
    name : str
        Of the child, for the name of the thread.

    Notes
    -----
    The child inherits ``child_end``; ``start`` closes ours, so that the end of the child is the end of the pipe.
    """

    def __init__(self, name: str) -> None:
        self._read_end, self.child_end = os.pipe()
        with suppress(
            AttributeError, OSError
        ):  # not on this system, or the user has too many pipes: then it stays small
            fcntl.fcntl(self._read_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._kept: deque[bytes] = deque()
        self._nbytes = 0
        self._lock = Lock()
        self._target = -1
        self._thread = Thread(target=self._run, name=f"stderr of {name}", daemon=True)

    def start(self) -> None:
        """Begin to read: the child has been started."""
        os.close(self.child_end)
        with suppress(OSError):  # we have no stderr ourselves: what the child says is kept only
            self._target = os.dup(2)
        self._thread.start()

    def abandon(self) -> None:
        """Close all: the child could not be started."""
        os.close(self.child_end)
        os.close(self._read_end)

    @property
    def text(self) -> str:
        """The end of what the child wrote."""
        with self._lock:
            return b"".join(self._kept).decode("utf-8", "replace")

    async def finish(self) -> None:
        """Wait until all that an ended child wrote has been read, but not for long."""
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, _LAST_S)

    def _run(self) -> None:
        try:
            while data := os.read(self._read_end, _PIPE_BYTES):
                self._keep(data)
                self._pass_on(data)
        finally:
            os.close(self._read_end)
            if self._target >= 0:
                os.close(self._target)

    def _keep(self, data: bytes) -> None:
        with self._lock:
            self._kept.append(data[-KEPT_BYTES:])
            self._nbytes += len(self._kept[-1])
            while self._nbytes - len(self._kept[0]) >= KEPT_BYTES:
                self._nbytes -= len(self._kept.popleft())

    def _pass_on(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and self._target >= 0:
            try:
                rest = rest[os.write(self._target, rest) :]
            except BlockingIOError:
                if not select.select([], [self._target], [], _PATIENCE_S)[1]:
                    return
            except OSError:  # nobody will ever read it
                os.close(self._target)
                self._target = -1
