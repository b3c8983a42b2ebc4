"""Tasks in threads of this process: the scheduler without a client. Best for what releases the GIL: numpy, files, networks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

from ..base.errors import UsageError
from .common import LocalScheduler, choose_pool, workers_wanted
from .loop import Run
from .serving import check_result
from .team import Team


class ThreadsScheduler(LocalScheduler):
    """Runs tasks in a pool of threads, which is kept for later.

    Options of ``compute`` are ``num_workers``, how many threads: one for each processor by default; and ``pool``, an
    ``Executor`` with threads of this process, used instead of our own.

    Parameters
    ----------
    pool : Executor, optional
        Whose threads to use; by default one thread for each processor.

    Examples
    --------
    >>> from myscheduler.graph.task import Task
    >>> ThreadsScheduler().compute({"x": Task(abs, (-1,))}, ["x"], num_workers=2)
    [1]
    """

    def __init__(self, pool: Executor | None = None) -> None:
        self._given = pool
        self._own: ThreadPoolExecutor | None = None
        self._pid = 0

    name = "threads"
    options = ("num_workers", "pool")

    def _work(self, run: Run, options: Mapping[str, Any]) -> list[Any]:
        pool, wanted = choose_pool(options, self._given)
        if pool is not None:
            _check_pool(pool)
            size = getattr(pool, "_max_workers", None) if wanted is None else wanted
            _run_on(run, pool, workers_wanted(size))
        elif wanted is None:
            _run_on(run, self._kept_pool(), workers_wanted(None))
        else:
            own = ThreadPoolExecutor(workers_wanted(wanted), thread_name_prefix="myscheduler")
            try:
                _run_on(run, own, wanted)
            finally:
                own.shutdown(wait=False)
        return run.values()

    def _kept_pool(self) -> ThreadPoolExecutor:
        # Threads do not survive a fork; the object does.
        if self._own is None or self._pid != os.getpid():
            self._own = ThreadPoolExecutor(workers_wanted(None), thread_name_prefix="myscheduler")
            self._pid = os.getpid()
        return self._own


def _run_on(run: Run, pool: Executor, limit: int) -> None:
    def execute(ranks: list[int]) -> list[Any]:
        (rank,) = ranks
        func, args, kwargs = run.call(rank)
        value = func(*args, **kwargs)
        check_result(run.keys[rank], value)
        return [value]

    Team(run, pool, limit, execute).work()


def _check_pool(pool: Any) -> None:
    if not isinstance(pool, Executor):
        raise UsageError(f"pool={pool!r} is not a concurrent.futures.Executor")
    if isinstance(pool, ProcessPoolExecutor):
        raise UsageError("the threads scheduler cannot use a pool of processes; pass it as scheduler=pool instead")
