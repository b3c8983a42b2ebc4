"""Waiting for futures: block the calling thread, or await on the loop. A waiter costs one list entry per pending future."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from ...base.errors import UsageError
from ...base.units import parse_seconds
from ..records import FINISHED, PENDING, Record
from . import hooks

if TYPE_CHECKING:
    from .futures import Future
    from .session import Session

T = TypeVar("T")
ReturnWhen: TypeAlias = Literal["ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"]

ALL_COMPLETED: Final = "ALL_COMPLETED"
FIRST_COMPLETED: Final = "FIRST_COMPLETED"
FIRST_EXCEPTION: Final = "FIRST_EXCEPTION"


class DoneAndNotDone(NamedTuple, Generic[T]):
    """What ``wait`` returns: two sets of futures."""

    done: set[Future[T]]
    not_done: set[Future[T]]


class CountingWaiter:
    """Counts down the pending ones of some records and fires once."""

    __slots__ = ("_fire", "fired", "remaining", "return_when")

    def __init__(self, return_when: ReturnWhen, fire: Callable[[], object]) -> None:
        self.return_when = return_when
        self.remaining = 0  # set under the lock, before anybody can settle
        self.fired = False
        self._fire = fire

    def settled(self, records: list[Record]) -> None:
        """These have their outcome now."""
        self.remaining -= len(records)
        if not self.fired and (self.remaining <= 0 or _is_enough(self.return_when, records)):
            self.fired = True
            self._fire()

    def register(self, session: Session, records: Sequence[Record]) -> bool:
        """Begin to wait; False if there is nothing to wait for."""
        with session.lock:
            self.remaining = session.machine.watch(records, self)
            done = [] if self.remaining == len(records) else [r for r in records if r.state != PENDING]
            if self.remaining and not _is_enough(self.return_when, done):
                return True
            session.machine.unwatch(records, self)
            return False

    def unregister(self, session: Session, records: Sequence[Record]) -> None:
        """Stop waiting before it was enough, or before all were done."""
        if self.remaining > 0:
            with session.lock:
                session.machine.unwatch(records, self)


def _is_enough(return_when: ReturnWhen, settled: Sequence[Record]) -> bool:
    if return_when == FIRST_COMPLETED:
        return bool(settled)
    return return_when == FIRST_EXCEPTION and any(record.state != FINISHED for record in settled)


def block(
    session: Session, records: Sequence[Record], timeout: float | None = None, return_when: ReturnWhen = ALL_COMPLETED
) -> bool:
    """Block this thread until enough of ``records`` have an outcome; False on timeout. Ctrl-C works.

    Raises
    ------
    UsageError
        The thread is the one that would bring the outcome.
    """
    # The usual case costs no lock: an outcome does not go away.
    if return_when != FIRST_EXCEPTION and all(record.state != PENDING for record in records):
        return True
    refuse_on_loop(session)
    gate = threading.Lock()
    gate.acquire()
    waiter = CountingWaiter(return_when, gate.release)
    if not waiter.register(session, records):
        return True
    try:
        with hooks.around_wait():
            return gate.acquire(timeout=-1 if timeout is None else max(timeout, 0.0))
    finally:
        waiter.unregister(session, records)


async def until(
    session: Session, records: Sequence[Record], timeout: float | None = None, return_when: ReturnWhen = ALL_COMPLETED
) -> bool:
    """Await, on the session's loop, until enough of ``records`` have an outcome; False on timeout."""
    enough: asyncio.Future[None] = session.loop.create_future()

    def fire() -> None:
        if not enough.done():
            enough.set_result(None)

    waiter = CountingWaiter(return_when, fire)
    if not waiter.register(session, records):
        return True
    try:
        async with asyncio.timeout(timeout):
            await enough
    except TimeoutError:
        return False
    finally:
        waiter.unregister(session, records)
    return True


def refuse_on_loop(session: Session) -> None:
    """Raise UsageError if blocking here would block the loop that is waited for."""
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        return
    if running is session.loop:
        raise UsageError(
            "this would block the event loop that brings the result; await it instead "
            "(`await future`, `async for ... in as_completed(...)`, Client(..., asynchronous=True))"
        )


def one_session(futures: Sequence[Future[Any]]) -> Session:
    """The session that all these futures share; UsageError if they do not."""
    session = futures[0].session
    for future in futures:
        if future.session is not session:
            raise UsageError(
                f"futures {futures[0].key!r} and {future.key!r} belong to different clients; wait for each client's apart"
            )
    return session


def describe_timeout(records: Iterable[Record], timeout: float | None) -> str:
    """Text for a TimeoutError: which future, in which state, and how many more."""
    pending = [record for record in records if record.state == PENDING]
    if not pending:
        return f"not done after {timeout:g} s"
    more = f" and {len(pending) - 1} more" if len(pending) > 1 else ""
    return f"future {pending[0].key!r}{more} still pending after {timeout:g} s"


def wait(
    fs: Iterable[Future[T]] | Future[T],
    timeout: float | str | None = None,
    return_when: ReturnWhen = ALL_COMPLETED,
) -> DoneAndNotDone[T]:
    """Wait until futures are done: finished, failed, cancelled or lost.

    Parameters
    ----------
    fs : Future or iterable of Future
        What to wait for; all of one client.
    timeout : float or str, optional
        Seconds, or text such as ``"2 min"``.
    return_when : {"ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"}
        How many are enough.

    Returns
    -------
    DoneAndNotDone
        Two sets, ``done`` and ``not_done``; an awaitable of it when the client is asynchronous.

    Raises
    ------
    TimeoutError
        Not enough were done in time.
    UsageError
        Something is no future, or the futures belong to different clients.

    Examples
    --------
    >>> done, not_done = wait(client.map(abs, [-1, -2]), timeout="10 s")
    >>> len(done), len(not_done)
    (2, 0)
    """
    from .futures import Future

    futures: list[Future[T]] = [fs] if isinstance(fs, Future) else list(fs)
    for future in futures:
        if not isinstance(future, Future):
            raise UsageError(f"wait() takes futures, not {type(future).__name__} {future!r:.80}")
    if return_when not in (ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION):
        raise UsageError(
            f"return_when={return_when!r} is not one of 'ALL_COMPLETED', 'FIRST_COMPLETED', 'FIRST_EXCEPTION'"
        )
    seconds = parse_seconds(timeout)
    if not futures:
        return DoneAndNotDone(set(), set())
    session = one_session(futures)
    records = [future.record for future in futures]

    def split(enough: bool) -> DoneAndNotDone[T]:
        if not enough:
            raise TimeoutError(describe_timeout(records, seconds))
        done = {future for future in futures if future.record.state != PENDING}
        return DoneAndNotDone(done, set(futures) - done)

    if session.client.asynchronous:

        async def wait_async() -> DoneAndNotDone[T]:
            return split(await until(session, records, seconds, return_when))

        return wait_async()  # type: ignore[return-value]
    return split(block(session, records, seconds, return_when))


class Deadline:
    """A timeout that several steps share."""

    def __init__(self, timeout: float | None) -> None:
        self._end = None if timeout is None else time.monotonic() + timeout

    @property
    def remaining(self) -> float | None:
        """Seconds left, at least 0; None if there is no limit."""
        return None if self._end is None else max(self._end - time.monotonic(), 0.0)
