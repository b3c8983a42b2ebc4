"""``as_completed``: futures in the order in which they get their outcome."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Generic, TypeVar

from ...base.errors import UsageError
from ...base.units import parse_seconds
from ..records import FINISHED, Record
from . import gather, hooks, waiting
from .futures import Future
from .outcomes import exception_of

T = TypeVar("T")


class as_completed(Generic[T]):  # noqa: N801 (named as in concurrent.futures)
    """Iterate over futures as they complete; ``for`` or ``async for``.

    Futures may be added while iterating. Two loops over the same object share its futures.

    Parameters
    ----------
    futures : iterable of Future
        What to wait for.
    with_results : bool
        Give pairs of future and result.
    raise_errors : bool
        With results: raise what a task raised; otherwise the exception object stands in place of the result.
    timeout : float or str, optional
        Seconds from now after which asking for more raises TimeoutError.

    Examples
    --------
    >>> sorted(future.result() for future in as_completed(client.map(abs, [-1, -2, -3])))
    [1, 2, 3]
    >>> for future, result in as_completed([client.submit(pow, 2, 10)], with_results=True):
    ...     print(result)
    1024
    """

    def __init__(
        self,
        futures: Iterable[Future[T]] = (),
        *,
        with_results: bool = False,
        raise_errors: bool = True,
        timeout: float | str | None = None,
    ) -> None:
        self.with_results = with_results
        self.raise_errors = raise_errors
        self._timeout = parse_seconds(timeout)
        self._deadline = waiting.Deadline(self._timeout)
        # Reentrant: a garbage collection inside may run code that gets back here.
        self._changed = threading.Condition(threading.RLock())
        self._waiting: dict[Record, list[Future[T]]] = {}
        self._ready: deque[Future[T]] = deque()
        self._sleepers: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self.update(futures)

    # ---- filling ----------------------------------------------------------------------------------------------------

    def add(self, future: Future[T]) -> None:
        """Add one more future.

        Parameters
        ----------
        future : Future
            May be done already.
        """
        self.update((future,))

    def update(self, futures: Iterable[Future[T]]) -> None:
        """Add more futures.

        Parameters
        ----------
        futures : iterable of Future
            Some may be done already.

        Raises
        ------
        UsageError
            Something else is among them; then none has been added.
        """
        futures = list(futures)
        for future in futures:
            if not isinstance(future, Future):
                raise UsageError(f"as_completed takes futures, not {type(future).__name__} {future!r:.80}")
        for future in futures:
            session, record = future.session, future.record
            with self._changed:
                known = self._waiting.get(record)
                if known is not None:
                    known.append(future)
                    continue
                self._waiting[record] = [future]
            with session.lock:
                is_pending = session.machine.watch((record,), self)
            if not is_pending:
                self.settled([record])

    def clear(self) -> None:
        """Forget all futures."""
        with self._changed:
            records, self._waiting = self._waiting, {}
            self._ready.clear()
        for record, futures in records.items():
            session = futures[0].session
            with session.lock:
                session.machine.unwatch((record,), self)

    def settled(self, records: list[Record]) -> None:
        """Internal: these have their outcome now."""
        with self._changed:
            for record in records:
                self._ready.extend(self._waiting.pop(record, ()))
            self._changed.notify_all()
            sleepers, self._sleepers = self._sleepers, []
        for loop, sleeper in sleepers:
            loop.call_soon_threadsafe(_rouse, sleeper)

    # ---- looking ----------------------------------------------------------------------------------------------------

    def count(self) -> int:
        """How many futures have not been given out."""
        with self._changed:
            return len(self._ready) + sum(len(futures) for futures in self._waiting.values())

    def is_empty(self) -> bool:
        """Whether all futures have been given out."""
        return not self._ready and not self._waiting

    def has_ready(self) -> bool:
        """Whether the next one is there without waiting."""
        return bool(self._ready)

    # ---- taking, blocking -------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self._block():
            raise StopIteration
        return self._present([self._take(1)[0]])[0]

    def next_batch(self, block: bool = True) -> list[Any]:
        """Take all that are ready.

        Parameters
        ----------
        block : bool
            Wait for at least one.

        Returns
        -------
        list
            As iterating gives them. Empty when there are no more, or none is ready and ``block`` is False.

        Raises
        ------
        TimeoutError
            The timeout of this object is over.
        """
        if block:
            self._block()
        return self._present(self._take())

    def batches(self) -> Iterator[list[Any]]:
        """Iterate over batches: whatever has become ready since the last one.

        Yields
        ------
        list
            At least one future, or pair of future and result.
        """
        while True:
            batch = self.next_batch()
            if not batch:
                return
            yield batch

    def _block(self) -> bool:
        """Wait until one is ready; False if there are no more."""
        with self._changed:
            if self._ready or not self._waiting:
                return bool(self._ready)
            session = next(iter(self._waiting.values()))[0].session
        waiting.refuse_on_loop(session)
        with hooks.around_wait(), self._changed:
            self._changed.wait_for(lambda: self._ready or not self._waiting, self._deadline.remaining)
            if not self._ready and self._waiting:
                raise TimeoutError(waiting.describe_timeout(self._waiting, self._timeout))
            return bool(self._ready)

    def _take(self, most: int | None = None) -> list[Future[T]]:
        with self._changed:
            number = len(self._ready) if most is None else min(most, len(self._ready))
            return [self._ready.popleft() for _ in range(number)]

    def _present(self, futures: list[Future[T]]) -> list[Any]:
        if not self.with_results or not futures:
            return list(futures)
        session = waiting.one_session(futures)
        if self.raise_errors:
            results = gather.gather(session, futures, "raise", None, self._deadline.remaining)
            return list(zip(futures, results, strict=True))
        good = [future for future in futures if future.record.state == FINISHED]
        results = gather.gather(session, good, "raise", None, self._deadline.remaining)
        return _merge(futures, good, results)

    # ---- taking, awaiting -------------------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if not await self._sleep():
            raise StopAsyncIteration
        return (await self._present_async(self._take(1)))[0]

    async def _sleep(self) -> bool:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._deadline.remaining):
            while True:
                with self._changed:
                    if self._ready or not self._waiting:
                        return bool(self._ready)
                    sleeper: asyncio.Future[None] = loop.create_future()
                    self._sleepers.append((loop, sleeper))
                await sleeper

    async def _present_async(self, futures: list[Future[T]]) -> list[Any]:
        if not self.with_results:
            return list(futures)
        session = waiting.one_session(futures)
        good = futures if self.raise_errors else [future for future in futures if future.record.state == FINISHED]
        fetching: Any = gather.gather_async(session, good, "raise", None, self._deadline.remaining)
        if asyncio.get_running_loop() is not session.loop:
            fetching = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(fetching, session.loop))
        results = await fetching
        return list(zip(futures, results, strict=True)) if self.raise_errors else _merge(futures, good, results)


def _merge(futures: list[Future[Any]], good: list[Future[Any]], results: list[Any]) -> list[tuple[Future[Any], Any]]:
    """Pairs of futures and results, or exceptions of those that have no result."""
    by_future = dict(zip(good, results, strict=True))
    return [(future, by_future[future] if future in by_future else exception_of(future.record)) for future in futures]


def _rouse(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)
