"""A team of threads that works off one graph.

Each member takes what is ready, runs it, reports and takes again, so a task costs a lock and no hand-over between threads.
A member that finds nothing ready leaves; one that makes more ready than it can run itself calls others in. The thread that
asked for the results waits, so that Ctrl-C reaches it; any other than the main thread lends a hand instead, so that tasks
which run graphs of their own on the same pool cannot starve each other.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from .loop import Run


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
        self._changed = threading.Condition(threading.Lock())

    def work(self) -> None:
        """Return when all is done; raise the error of the first task that failed, or what interrupts this thread."""
        try:
            with self._changed:
                recruits = self._recruit(len(self._run.ready) - self._helps)
            self._call_in(recruits)
            while self._helps and not self._over():
                self._take_part(invited=False)
                self._wait(or_ready=True)
            self._wait(or_ready=False)
        finally:
            with self._changed:
                self._stopped = True
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # else the error, its frames and we would hold each other

    def _over(self) -> bool:
        return not self._run.unfinished or self._error is not None

    def _wait(self, or_ready: bool) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._over() or (or_ready and bool(self._run.ready)))

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
                with self._changed:
                    self._members -= count - called
                    self._fail(error)
                return

    def _take_part(self, invited: bool = True) -> None:
        """Work until nothing is ready."""
        run, changed = self._run, self._changed
        with changed:
            ranks = self._next(invited)
        while ranks:
            try:
                values = self._execute(ranks)
            except BaseException as error:  # noqa: BLE001 - it is raised where the results are asked for
                with changed:
                    self._members -= invited
                    self._fail(error)
                return
            with changed:
                try:
                    for rank, value in zip(ranks, values, strict=True):
                        run.finish(rank, value)
                except BaseException as error:  # noqa: BLE001 - a callback's
                    self._fail(error)
                del values
                ranks = self._next(invited)
                recruits = self._recruit(len(run.ready)) if ranks else 0
                if not run.unfinished or (self._helps and run.ready):
                    changed.notify_all()
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
        self._changed.notify_all()
