"""A team of threads that works off one graph.

Each member takes what is ready, runs it, reports and takes again, so a task costs a lock and no hand-over between threads.
A member that finds nothing ready leaves; one that makes more ready than it can run itself calls others in. The thread that
asked for the results waits, so that Ctrl-C reaches it; any other than the main thread lends a hand instead, so that tasks
which run graphs of their own on the same pool cannot starve each other.

Ctrl-C raises in the main thread between any two steps of Python code, so that thread never takes a ``Condition``: interrupted
inside of one, it would leave the lock taken, or free where it is thought to be taken. It waits for a plain lock.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Final

from .loop import Run

#: Seconds after which a thread that waits looks whether it was interrupted.
_NAP_S: Final = 0.5


class Team:
    """Runs a graph on the threads of a pool.

    Parameters
    ----------
    run : Run
        What is to be done.
    pool : Executor
        Where members come from; its threads share our memory.
    limit : int
        How many may work at the same time.
    execute : callable
        Runs the tasks of some ranks and returns their values; called by members, without a lock.
    batch : callable, optional
        How many tasks a member should take at a time; one by default.
    """

    def __init__(
        self,
        run: Run,
        pool: Executor,
        limit: int,
        execute: Callable[[list[int]], list[Any]],
        batch: Callable[[], int] | None = None,
    ) -> None:
        self._run = run
        self._pool = pool
        self._execute = execute
        self._batch = batch
        self._helps = threading.current_thread() is not threading.main_thread()
        self._limit = limit
        self._members = 0
        self._stopped = False
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)  # for those who help
        self._over = threading.Lock()  # taken until all is done, or something has failed
        self._over.acquire()

    def work(self) -> None:
        """Return when all is done; raise the error of the first task that failed, or what interrupts this thread."""
        try:
            if self._run.unfinished:
                self._call_in(self._recruit(len(self._run.ready) - self._helps))  # nobody else is here yet
                if self._helps:
                    self._help()
                else:
                    # Not for ever: a signal that comes just before the thread falls asleep is seen only when it wakes up.
                    while not self._over.acquire(timeout=_NAP_S):
                        continue
        finally:
            self._stopped = True
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # else the error, its frames and we would hold each other

    def _help(self) -> None:
        while True:
            self._take_part(invited=False)
            with self._lock:
                self._changed.wait_for(lambda: self._is_over() or self._run.ready)
                if self._is_over():
                    return

    def _is_over(self) -> bool:
        return not self._run.unfinished or self._error is not None

    def _announce(self) -> None:
        """Wake who waits, if there is a reason; with the lock."""
        if self._is_over() and self._over.locked():
            self._over.release()
        if self._helps and (self._is_over() or self._run.ready):
            self._changed.notify_all()

    def _recruit(self, tasks: int) -> int:
        """How many more members ``tasks`` tasks are worth; they count as members from now on."""
        free = self._limit - self._helps - self._members
        count = max(0, min(tasks, free))
        self._members += count
        return count

    def _call_in(self, count: int) -> None:
        for called in range(count):
            try:
                self._pool.submit(contextvars.copy_context().run, self._take_part)
            except RuntimeError as error:  # the pool has been shut down
                with self._lock:
                    self._members -= count - called
                    self._fail(error)
                return

    def _take_part(self, invited: bool = True) -> None:
        """Work until nothing is ready."""
        run, lock = self._run, self._lock
        with lock:
            ranks = self._next(invited)
        while ranks:
            try:
                values = self._execute(ranks)
            except BaseException as error:  # noqa: BLE001 - it is raised where the results are asked for
                with lock:
                    self._members -= invited
                    self._fail(error)
                return
            with lock:
                try:
                    for rank, value in zip(ranks, values, strict=True):
                        run.finish(rank, value)
                except BaseException as error:  # noqa: BLE001 - a callback's
                    self._fail(error)
                del values
                ranks = self._next(invited)
                recruits = self._recruit(len(run.ready)) if ranks else 0
                self._announce()
            if recruits:
                self._call_in(recruits)

    def _next(self, invited: bool) -> list[int]:
        """What a member is to do now; nothing if it is to leave."""
        if not self._stopped and self._error is None and self._run.ready:
            try:
                return self._take()
            except BaseException as error:  # noqa: BLE001 - a callback's
                self._fail(error)
        self._members -= invited
        return []

    def _take(self) -> list[int]:
        run = self._run
        if self._batch is None:
            return [run.take()]
        fair = max(1, len(run.ready) // self._limit)
        return [run.take() for _ in range(min(self._batch(), fair))]

    def _fail(self, error: BaseException) -> None:
        """Note the first error; what is running goes on, nothing new is begun."""
        if self._error is None and not self._stopped:
            self._error = error
        self._announce()
