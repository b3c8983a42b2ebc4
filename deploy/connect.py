"""Shows the client the parts that stand beside and above it: the cluster it may start, the worker it may run in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from ..client.api import hooks
from ..client.api.hooks import WorkerContext
from ..worker.server.context import Run, current_run

if TYPE_CHECKING:
    from ..worker.server.worker import Worker

_IN_NO_POOL: Final = nullcontext()
_contexts: WeakKeyDictionary[Worker, WorkerContext] = WeakKeyDictionary()


def connect_client() -> None:
    """Set the client's hooks. Idempotent."""
    hooks.cluster_factory = _start_cluster
    hooks.current_worker = _current_worker
    hooks.around_wait = _outside_of_the_pool


def _start_cluster(**options: Any) -> Any:
    from .local import LocalCluster

    return LocalCluster(**options)


def _current_worker() -> WorkerContext | None:
    run = current_run.get()
    if run is None:
        return None
    # Loaded already if there is a run; most programs are clients only, and it is a fifth of what they would import.
    from ..worker.server.worker import Worker

    worker = run.executor.owner
    if not isinstance(worker, Worker):
        return None
    context = _contexts.get(worker)
    if context is None:
        context = _contexts[worker] = WorkerContext(worker.scheduler_address, worker.credentials)
        worker.at_close(_closer(context))
    return context


def _closer(context: WorkerContext) -> Callable[[], Awaitable[None] | None]:
    """Closes the client that tasks of a worker have opened, if any, when the worker closes."""

    def close() -> Awaitable[None] | None:
        client = context.cache.get("client")
        # In a thread: the client may live on this very loop, and its close waits for that.
        return None if client is None else asyncio.to_thread(client.close)

    return close


def _outside_of_the_pool() -> AbstractContextManager[None]:
    """A task that waits for other tasks gives up its thread slot meanwhile, or they might never get one."""
    run = current_run.get()
    return _IN_NO_POOL if run is None or run.slot is None or run.slot.left else _seceded(run)


@contextmanager
def _seceded(run: Run) -> Iterator[None]:
    run.secede()
    try:
        yield
    finally:
        run.rejoin()
