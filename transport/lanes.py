"""Who moves bytes through pipes: the event loop in its turns, or threads of their own, so that several processors copy.

To begin with, the loop is cheaper. Threads leave the loop free, and are woken sooner.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from threading import Thread
from typing import Final, Protocol

from ..base.errors import ConnectionFailedError, MySchedulerError
from ..base.limits import MIB
from ..base.system import cpu_count

#: A transfer that makes no progress for so long is given up.
STALLED_S: Final = 10.0
#: What one readiness event may move before others on the loop get their turn.
_BYTES_PER_TURN: Final = 4 * MIB


class Lane(Protocol):
    """One descriptor, and what has to go through it."""

    descriptor: int
    #: whether it is written to, not read from
    writes: bool

    def move(self) -> int:
        """Move some bytes and return how many; raises ``BlockingIOError`` if none can be moved now."""

    @property
    def over(self) -> bool:
        """Whether all is moved."""


class Movement(Protocol):
    """Lanes that are being moved."""

    #: Resolved when all is moved, failed when one lane has.
    done: asyncio.Future[None]

    def end(self) -> None:
        """Touch the lanes no more. To be called once, whether all is done or not."""


@cache
def processors() -> int:
    """Processors of this process, counted once."""
    return cpu_count()


def move(lanes: Sequence[Lane]) -> Movement:
    """Begin to move these.

    Parameters
    ----------
    lanes : sequence of Lane
        One is moved by the running event loop; several by a thread each.

    Raises
    ------
    OSError
        There are no descriptors or threads for it.
    """
    return _OnLoop(lanes[0]) if len(lanes) == 1 else _InThreads(lanes)


def _stalled() -> ConnectionFailedError:
    return ConnectionFailedError(f"nothing moved through a pipe for {STALLED_S:g} s")


class _OnLoop:
    """One lane, moved whenever the loop finds that it can be."""

    def __init__(self, lane: Lane) -> None:
        self._loop = asyncio.get_running_loop()
        self._lane = lane
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._moved_at = self._loop.time()
        self._timer = self._loop.call_later(STALLED_S, self._check)
        listen = self._loop.add_writer if lane.writes else self._loop.add_reader
        listen(lane.descriptor, self._on_ready)

    def _on_ready(self) -> None:
        if self.done.done():
            return
        self._moved_at = self._loop.time()
        moved = 0
        try:
            while not self._lane.over and moved < _BYTES_PER_TURN:
                moved += self._lane.move()
        except BlockingIOError:
            return
        except (OSError, MySchedulerError) as error:
            self.done.set_exception(error)
            return
        if self._lane.over:
            self.done.set_result(None)

    def _check(self) -> None:
        if self.done.done():
            return
        if self._loop.time() - self._moved_at >= STALLED_S:
            self.done.set_exception(_stalled())
        else:
            self._timer = self._loop.call_later(STALLED_S, self._check)

    def end(self) -> None:
        self._timer.cancel()
        forget = self._loop.remove_writer if self._lane.writes else self._loop.remove_reader
        forget(self._lane.descriptor)


class _InThreads:
    """Several lanes, each moved by a thread. Each waits for its lane, and for ``end``."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._ending = False
        self._running = len(lanes)
        self._threads: list[Thread] = []
        try:
            for lane in lanes:
                thread = Thread(target=self._run, args=(lane,), name="pipes", daemon=True)
                thread.start()
                self._threads.append(thread)
        except RuntimeError as error:
            self.end()
            raise BlockingIOError(errno.EAGAIN, f"no thread can be started: {error}") from error

    def _run(self, lane: Lane) -> None:
        failure = None
        try:
            self._move(lane)
        except Exception as error:  # noqa: BLE001 - goes to whoever waits
            failure = error
        with suppress(RuntimeError):  # the loop is closed, and with it whoever waited
            self._loop.call_soon_threadsafe(self._ended, failure)

    def _move(self, lane: Lane) -> None:
        poller = select.poll()
        poller.register(self._stop, select.POLLIN)
        poller.register(lane.descriptor, select.POLLOUT if lane.writes else select.POLLIN)
        while not lane.over and not self._ending:
            try:
                lane.move()
            except BlockingIOError:
                # Not before: each call of the kernel may have to wait for the GIL afterwards.
                if not poller.poll(STALLED_S * 1000):
                    raise _stalled() from None

    def _ended(self, failure: Exception | None) -> None:
        self._running -= 1
        if self.done.done():
            return
        if failure is not None:
            self.done.set_exception(failure)
        elif not self._running:
            self.done.set_result(None)

    def end(self) -> None:
        self._ending = True
        os.eventfd_write(self._stop, 1)
        for thread in self._threads:
            thread.join()  # it moves what one call of the kernel does, at most
        os.close(self._stop)
