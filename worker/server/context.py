"""What a task can ask of the worker it runs on: public functions for use inside tasks, and the run they speak of."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, cast

from ...base.errors import CancelledError, UsageError
from ...base.keys import Key

if TYPE_CHECKING:
    from .executor import Executor
    from .worker import Worker


class Slot:
    """The place of a thread in the pool."""

    __slots__ = ("attempt", "cancelled", "index", "left")

    def __init__(self, index: int) -> None:
        #: row of the task stream: 0 to nthreads - 1 for slots of the pool, above for what runs outside of it
        self.index = index
        #: whether the thread gave its place to another and runs outside of the pool
        self.left = False
        #: the run it has, or had last
        self.attempt = 0
        #: the run that should end, because nobody waits for it any more
        self.cancelled = 0


class Run:
    """One run of a task, as seen from inside the task."""

    __slots__ = ("attempt", "begun", "executor", "interrupted", "key", "slot")

    def __init__(self, executor: Executor, key: Key, attempt: int, slot: Slot | None) -> None:
        self.executor = executor
        self.key = key
        self.attempt = attempt
        #: None for coroutines
        self.slot = slot
        #: of a coroutine: whether it has begun, and whether it has been cancelled
        self.begun = False
        self.interrupted = False

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.interrupted or (self.slot is not None and self.slot.cancelled == self.attempt)

    def secede(self) -> None:
        """Leave the thread slot; without effect if left already."""
        if self.slot is not None and not self.slot.left:
            self.executor.secede(self, self.slot)

    def rejoin(self) -> None:
        """Wait for a thread slot and take it; without effect if one is held."""
        if self.slot is not None and self.slot.left:
            self.executor.rejoin(self, self.slot)


#: The run that the current code belongs to. Threads and asyncio tasks inherit it where they copy their context.
current_run: Final[ContextVar[Run | None]] = ContextVar("myscheduler_run", default=None)


def get_worker() -> Worker:
    """The worker that runs the current task.

    Returns
    -------
    Worker
        Of its attributes, ``name``, ``address``, ``incarnation``, ``nthreads``, ``scheduler_address`` and
        ``local_directory`` may be read from any thread.

    Raises
    ------
    UsageError
        Called outside of a task.

    Examples
    --------
    >>> client.submit(lambda: get_worker().nthreads).result()
    2
    >>> get_worker()
    Traceback (most recent call last):
    ...
    myscheduler.base.errors.UsageError: get_worker() works only inside a task that a worker runs
    """
    return cast("Worker", _run("get_worker").executor.owner)


def get_task_key() -> Key:
    """The key of the current task.

    Returns
    -------
    Key
        As in the graph.

    Raises
    ------
    UsageError
        Called outside of a task.

    Examples
    --------
    >>> client.submit(get_task_key, key="mine").result()
    'mine'
    """
    return _run("get_task_key").key


def cancelled() -> bool:
    """Whether nobody waits for the current task any more, so that it may as well end.

    True when the task was cancelled, when the last future of it is gone, when its ``timeout`` is over, or when the worker is
    closing. A function in a thread cannot be stopped from outside: one that takes long should ask now and then. Coroutines
    are stopped, by ``asyncio.CancelledError``.

    Returns
    -------
    bool

    Raises
    ------
    UsageError
        Called outside of a task.

    Examples
    --------
    >>> def search(items):
    ...     from myscheduler import cancelled
    ...     for item in items:
    ...         if cancelled():
    ...             return None                    # nobody will see it
    ...         if item > 10:
    ...             return item
    >>> client.submit(search, range(100)).result()
    11
    """
    return _run("cancelled").cancelled


def check_cancelled() -> None:
    """Raise ``CancelledError`` if nobody waits for the current task any more; see ``cancelled``.

    Raises
    ------
    CancelledError
        The task should end.
    UsageError
        Called outside of a task.

    Examples
    --------
    >>> def count(n):
    ...     from myscheduler import check_cancelled
    ...     for _ in range(n):
    ...         check_cancelled()
    ...     return n
    >>> client.submit(count, 1000).result()
    1000
    """
    run = _run("check_cancelled")
    if run.cancelled:
        raise CancelledError(f"nobody waits for task {run.key!r} any more: it was cancelled, or its time is over")


def secede() -> None:
    """Leave the worker's thread pool, so that another task can run while this one waits for something.

    The task goes on in its thread, and another thread takes its slot. Without effect if the task has seceded before, or
    is a coroutine, which holds no slot.

    Raises
    ------
    UsageError
        Called outside of a task.

    Examples
    --------
    >>> def work(seconds):
    ...     import time
    ...     from myscheduler import rejoin, secede
    ...     secede()
    ...     time.sleep(seconds)                # a network, a file, another program
    ...     rejoin()
    ...     return "done"
    >>> client.submit(work, 0.01).result()
    'done'
    """
    _run("secede").secede()


def rejoin() -> None:
    """Wait for a slot of the worker's thread pool and take it: undoes ``secede``.

    Raises
    ------
    UsageError
        Called outside of a task.

    Examples
    --------
    >>> client.submit(rejoin).result()         # without effect while a slot is held
    """
    _run("rejoin").rejoin()


def _run(caller: str) -> Run:
    run = current_run.get()
    if run is None:
        raise UsageError(f"{caller}() works only inside a task that a worker runs")
    return run
