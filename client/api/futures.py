"""``Future``: what users hold of a task on the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Generator, Iterable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from ...base import html
from ...base.collector import spare
from ...base.errors import CancelledError
from ...base.keys import Key, validate_key
from ...base.refs import TaskRef
from ...base.units import format_bytes, parse_seconds
from ..records import CANCELLED, ERROR, FINISHED, LOST, PENDING, Ending, Record, State
from . import callbacks, waiting
from .outcomes import exception_of

if TYPE_CHECKING:
    from .client import Client
    from .session import Session

T = TypeVar("T")
#: A client that holds more futures has the garbage collector spare the next ones: going through all of them takes 0.1 us for
#: each, as often as their number has grown by a quarter, and stops the program meanwhile.
_SPARED_FROM: Final = 20_000


class Future(TaskRef, Generic[T]):
    """The result of a task on the cluster, which may not be there yet.

    Futures come from ``Client.submit``, ``map``, ``compute``, ``persist`` and ``scatter``. ``Future(key)`` attaches to a key
    that somebody else submitted. The cluster keeps a result as long as there is a future of it. A future may be passed as
    an argument of another task, at any depth: the task waits for it and gets its value.

    Parameters
    ----------
    key : Key
        Names the task.
    client : Client, optional
        Whose future this is; by default the current client.

    Examples
    --------
    >>> future = client.submit(pow, 2, 10, key="kilo")
    >>> future.result()
    1024
    >>> future
    <Future: finished, type: int, key: kilo>
    >>> Future("kilo").result()                      # another future of the same task
    1024
    """

    __slots__ = ("held", "record", "session")

    #: Internal: what the client knows of the key, whether we count as a reference to it, and through whom.
    record: Record
    session: Session
    held: bool

    def __init__(self, key: Key, client: Client | None = None) -> None:
        from .defaults import get_client

        self.held = False
        self.key = validate_key(key)
        self.session = session = (client or get_client()).session
        with session.lock:
            self.record = session.machine.want(key)
        self.held = True
        session.wake()

    def __del__(self) -> None:
        if self.held:
            self.session.drop(self.record)

    # ---- state ------------------------------------------------------------------------------------------------------

    @property
    def status(self) -> State:
        """``pending``, ``finished``, ``error``, ``cancelled`` or ``lost``."""
        return self.record.state

    @property
    def client(self) -> Client:
        """The client whose future this is."""
        return self.session.client

    executor = client

    @property
    def type(self) -> str | None:
        """Name of the result's type, once it is finished."""
        return self.record.result.type_name if self.record.state == FINISHED else None

    @property
    def nbytes(self) -> int | None:
        """Size of the result in bytes, as the worker estimates it, once it is finished."""
        return self.record.result.nbytes if self.record.state == FINISHED else None

    def done(self) -> bool:
        """Whether there is an outcome: a result, an error, a cancellation, or a loss."""
        return self.record.state != PENDING

    def cancelled(self) -> bool:
        """Whether the task was cancelled."""
        return self.record.state == CANCELLED

    def __repr__(self) -> str:
        state = self.record.state
        kind = f", type: {self.type}" if state == FINISHED else ""
        key = self.key if isinstance(self.key, str) else repr(self.key)
        return f"<Future: {state}{kind}, key: {key}>"

    def _repr_html_(self) -> str:
        record = self.record
        rows: dict[str, object] = {"key": self.key, "status": record.state, "type": self.type}
        if self.nbytes is not None:
            rows["size"] = format_bytes(self.nbytes)
        if record.state == ERROR:
            rows["error"] = record.failure.text
        elif record.state in (CANCELLED, LOST):
            rows["reason"] = record.ending.reason
        return html.facts("Future", rows)

    # ---- outcome ----------------------------------------------------------------------------------------------------

    def result(self, timeout: float | str | None = None) -> T:
        """Wait for the task and return its result.

        Parameters
        ----------
        timeout : float or str, optional
            Seconds, or text such as ``"2 min"``.

        Returns
        -------
        object
            The result; an awaitable of it when the client is asynchronous.

        Raises
        ------
        TimeoutError
            Not done in time.
        CancelledError
            The task was cancelled.
        LostDataError, ClosedError
            The result, or the connection, is gone.
        Exception
            Whatever the task raised, with the remote traceback as its cause.
        """
        from . import gather

        seconds = parse_seconds(timeout)
        if self.session.client.asynchronous:
            return gather.gather_async(self.session, self, "raise", None, seconds)  # type: ignore[return-value]
        result: T = gather.gather_one(self.session, self, seconds)
        return result

    def exception(self, timeout: float | str | None = None) -> BaseException | None:
        """Wait for the task and return what it raised.

        Parameters
        ----------
        timeout : float or str, optional
            Seconds, or text such as ``"2 min"``.

        Returns
        -------
        BaseException or None
            None if it has a result; an awaitable when the client is asynchronous.

        Raises
        ------
        TimeoutError, CancelledError, LostDataError, ClosedError
            As for ``result``.

        Examples
        --------
        >>> client.submit(abs, None).exception()
        TypeError("bad operand type for abs(): 'NoneType'")
        """
        error: BaseException | None = self._after(timeout, self._exception)
        return error

    def traceback(self, timeout: float | str | None = None) -> str | None:
        """Wait for the task and return the traceback of what it raised, as the worker printed it.

        Parameters
        ----------
        timeout : float or str, optional
            Seconds, or text such as ``"2 min"``.

        Returns
        -------
        str or None
            None if it raised nothing; an awaitable when the client is asynchronous.

        Raises
        ------
        TimeoutError
            Not done in time.
        """
        text: str | None = self._after(
            timeout, lambda: self.record.failure.traceback if self.record.state == ERROR else None
        )
        return text

    def _exception(self) -> BaseException | None:
        error = exception_of(self.record)
        if self.record.state == ERROR or error is None:
            return error
        raise error

    def _after(self, timeout: float | str | None, look: Callable[[], Any]) -> Any:
        """Wait, then ``look``; awaitable when the client is asynchronous."""
        seconds = parse_seconds(timeout)
        if self.session.client.asynchronous:

            async def after() -> Any:
                self._check_in_time(await waiting.until(self.session, [self.record], seconds), seconds)
                return look()

            return after()
        self._check_in_time(waiting.block(self.session, [self.record], seconds), seconds)
        return look()

    def _check_in_time(self, in_time: bool, seconds: float | None) -> None:
        if not in_time:
            raise TimeoutError(waiting.describe_timeout([self.record], seconds))

    def __await__(self) -> Generator[Any, None, T]:
        from . import gather

        outcome: Any = gather.gather_async(self.session, self, "raise", None)
        if asyncio.get_running_loop() is not self.session.loop:
            # A blocking client's future, awaited in somebody's own loop.
            outcome = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(outcome, self.session.loop))
        result: Generator[Any, None, T] = outcome.__await__()
        return result

    # ---- acts -------------------------------------------------------------------------------------------------------

    def cancel(self, reason: str | None = None, force: bool = False) -> Any:
        """Cancel the task, and what depends on it.

        Parameters
        ----------
        reason : str, optional
            Part of the CancelledError that those see who wait.
        force : bool
            Cancel even if other clients want the result, too.
        """
        return self.client.cancel(self, reason=reason, force=force)

    def retry(self) -> Any:
        """Run the task again if it failed, beginning with the one that failed first; else do nothing."""
        return self.client.retry(self)

    def release(self) -> None:
        """Give the result up before this object goes away. Idempotent."""
        if self.held:
            self.held = False
            record = self.record
            if record.state == PENDING:
                # The scheduler will not tell us any more: nobody must wait for this object.
                self.record = Record(self.key)
                self.record.state = CANCELLED
                self.record.outcome = Ending(CancelledError, "it was released by its owner")
            self.session.drop(record)

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Call ``fn(future)`` once there is an outcome, or soon if there is one already.

        Callbacks run one by one in a thread of their own; what they raise is logged.

        Parameters
        ----------
        fn : callable
            Takes this future.

        Examples
        --------
        >>> import queue
        >>> finished = queue.Queue()
        >>> client.submit(abs, -1, key="one").add_done_callback(finished.put)
        >>> finished.get(timeout=10).key
        'one'
        """
        waiter = _Callback(self, fn)
        with self.session.lock:
            waiting_now = self.session.machine.watch([self.record], waiter)
        if not waiting_now:
            waiter.settled([self.record])

    def reduce_outside_call(self) -> tuple[Any, ...]:
        """In a task's result, or a file: a future of whichever client is current where it is unpickled."""
        return (_attach, (self.key,))


class _Callback:
    """A waiter that keeps its future alive and passes it on."""

    __slots__ = ("_fn", "_future")

    def __init__(self, future: Future[Any], fn: Callable[[Future[Any]], object]) -> None:
        self._future = future
        self._fn = fn

    def settled(self, records: list[Record]) -> None:
        callbacks.shared.put(self._fn, self._future)


def _attach(key: Key) -> TaskRef:
    """Unpickle a future: where there is no client, the bare reference is all that can be had."""
    from .defaults import find_client

    client = find_client()
    return TaskRef(key) if client is None else Future(key, client)


def make_futures(session: Session, records: Collection[Record]) -> list[Future[Any]]:
    """Futures for records that already count them.

    Neither is in a cycle, but for waiters that keep futures until they are told of the outcome, which all are in the end.
    """
    new: Callable[[type[Future[Any]]], Future[Any]] = Future.__new__
    futures = []
    for record in records:
        future = new(Future)
        future.key = record.key
        future.record = record
        future.session = session
        future.held = True
        futures.append(future)
    if len(session.machine.records) > _SPARED_FROM:
        spare(futures)
        spare(records)
    return futures


def fire_and_forget(futures: Future[Any] | Iterable[Future[Any]]) -> None:
    """Run tasks to their end although nobody holds their futures, as long as this client is open.

    Parameters
    ----------
    futures : Future or iterable of Future
        May be dropped afterwards.

    Examples
    --------
    >>> import time
    >>> fire_and_forget(client.submit(time.sleep, 0.01))
    """
    for future in [futures] if isinstance(futures, Future) else futures:
        waiter = _Keeper(future)
        with future.session.lock:
            future.session.machine.watch([future.record], waiter)


class _Keeper:
    """A waiter that only keeps its future alive until then: the record refers to it, and it to the future."""

    __slots__ = ("_future",)

    def __init__(self, future: Future[Any]) -> None:
        self._future: Future[Any] | None = future

    def settled(self, records: list[Record]) -> None:
        self._future = None
