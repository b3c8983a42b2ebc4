"""Any ``concurrent.futures.Executor`` as a scheduler: process pools of the standard library, of MPI, of job queues."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from concurrent.futures import BrokenExecutor, Executor, ThreadPoolExecutor
from typing import Any

from ..protocol.pickling import loads
from . import pipes, remote, serving
from .common import LocalScheduler, workers_wanted
from .loop import Run
from .team import Team
from .threads import ThreadsScheduler


def as_scheduler(executor: Executor) -> LocalScheduler:
    """The scheduler that runs tasks on ``executor``."""
    if isinstance(executor, ThreadPoolExecutor):
        return ThreadsScheduler(executor)
    return ExecutorScheduler(executor)


class ExecutorScheduler(LocalScheduler):
    """Submits tasks, pickled, to an executor whose workers share no memory with us.

    The option of ``compute`` is ``num_workers``: how many tasks are submitted at a time; by default as many as the executor
    has workers.

    Parameters
    ----------
    executor : Executor
        Not closed by us.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    name = "executor"
    options = ("num_workers",)

    def _work(self, run: Run, options: Mapping[str, Any]) -> list[Any]:
        return run_on(self._executor, run, options.get("num_workers"))

    def _value(self, value: Any) -> Any:
        return loads(value)


def run_on(executor: Executor, run: Run, wanted: int | None) -> list[Any]:
    """Run a graph on an executor whose workers share no memory with us.

    Parameters
    ----------
    executor : Executor
        Not closed by us.
    run : Run
        What to do.
    wanted : int, optional
        How many tasks are submitted at a time; by default as many as the executor has workers.

    Returns
    -------
    list
        The values of what is wanted.
    """
    limit = workers_wanted(getattr(executor, "_max_workers", None) if wanted is None else wanted)

    def execute(ranks: list[int]) -> list[Any]:
        request = remote.pack(run, ranks, ())
        try:
            reply = pickle.loads(executor.submit(_serve, pipes.dumps(request)).result())  # noqa: S301 - our tasks
        except BrokenExecutor as error:
            error.add_note(
                f"A process of {executor!r} died, perhaps while it ran task {run.keys[ranks[0]]!r}. If none could be "
                "started at all: with the start methods spawn and forkserver, the script that makes the executor needs "
                "`if __name__ == '__main__':` around what it runs."
            )
            raise
        return remote.unpack(reply)

    threads = ThreadPoolExecutor(limit, thread_name_prefix="myscheduler-executor")
    try:
        Team(run, threads, limit, execute).work()
    finally:
        threads.shutdown(wait=False)
    return remote.values(run)


def _serve(request: bytes) -> bytes:
    return pipes.dumps(serving.serve(pickle.loads(request), {}))  # noqa: S301 - sent by who made this process
