"""The schedulers of one machine: synchronous, threads, processes, any ``concurrent.futures.Executor``; and all names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from ..graph.schedulers import Scheduler


def register_all() -> None:
    """Make schedulers known by name; called when the first public name of graphs is used. Nothing heavy is imported.

    Examples
    --------
    >>> from myscheduler.graph.schedulers import resolve
    >>> register_all()
    >>> type(resolve("sync")).__name__
    'SynchronousScheduler'
    """
    # Not above: processes that run tasks import this package, and shall start fast.
    from concurrent.futures import Executor

    from ..graph.schedulers import register, register_type

    for name in ("synchronous", "sync", "single-threaded"):
        register(name, _synchronous)
    for name in ("threads", "threading"):
        register(name, _threads)
    for name in ("processes", "multiprocessing"):
        register(name, _processes)
    register("distributed", _distributed)
    register_type(Executor, _executor)


def _synchronous() -> Scheduler:
    from .synchronous import SynchronousScheduler

    return SynchronousScheduler()


def _threads() -> Scheduler:
    from .threads import ThreadsScheduler

    return ThreadsScheduler()


def _processes() -> Scheduler:
    from .processes import ProcessesScheduler

    return ProcessesScheduler()


def _distributed() -> Scheduler:
    from ..client.api.graphs import DefaultClientScheduler

    return DefaultClientScheduler()


def _executor(executor: Executor) -> Scheduler:
    from .executors import as_scheduler

    return as_scheduler(executor)
