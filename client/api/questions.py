"""What a client can ask about the cluster, and tell it to do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import Any

from ...base.errors import UsageError
from ...base.keys import Key
from ...base.units import parse_seconds
from .futures import Future
from .journal import save_journal
from .lifetime import Lifetime


class Questions(Lifetime):
    """Each method is one CALL to the scheduler; ``Client`` adds the work itself. Awaitable when asynchronous."""

    def scheduler_info(self) -> Any:
        """The cluster at a glance.

        Returns
        -------
        dict
            ``address``, ``dashboard``, ``tasks`` (how many are known), ``clients`` and others; ``stalled``: None, or, while
            nothing goes on although tasks wait to be run, a dict with ``cause``, ``text`` and ``seconds``; ``stale``: how
            many messages of the past were dropped, by kind; under ``workers`` a dict for
            each worker, by address, with ``name``, ``host``, ``pid``, ``nthreads``, ``memory_limit`` (bytes),
            ``resources``, ``status``, ``stored`` (results held), ``nbytes`` (their size), ``metrics`` and others.

        Examples
        --------
        >>> info = client.scheduler_info()
        >>> [worker["nthreads"] for worker in info["workers"].values()]
        [2]
        """
        return self._do(self._scheduler_info_now())

    async def _scheduler_info_now(self) -> dict[str, Any]:
        info: dict[str, Any] = await self.session.call("scheduler_info")
        self._scheduler_info = info
        return info | {"workers": {worker["address"]: worker for worker in info["workers"]}}

    def nthreads(self, workers: str | Iterable[str] | None = None) -> Any:
        """Threads of each worker, by address.

        Parameters
        ----------
        workers : str or iterable of str, optional
            Addresses; all by default.

        Returns
        -------
        dict of str to int
            Threads by address.

        Examples
        --------
        >>> sum(client.nthreads().values())
        2
        """
        return self._do(self._by_address("nthreads", (), workers))

    ncores = nthreads

    def processing(self, workers: str | Iterable[str] | None = None) -> Any:
        """Keys of the tasks that each worker is running or has been sent, by address.

        Parameters
        ----------
        workers : str or iterable of str, optional
            Addresses; all by default.

        Returns
        -------
        dict of str to tuple of Key
            Keys by address.

        Examples
        --------
        >>> import time
        >>> nap = client.submit(time.sleep, 1, key="nap")
        >>> while not any(client.processing().values()):  # until it has been sent to a worker
        ...     time.sleep(0.01)
        >>> list(client.processing().values())
        [('nap',)]
        """
        return self._do(self._by_address("processing", (), workers))

    def has_what(self, workers: str | Iterable[str] | None = None) -> Any:
        """Keys of the results that each worker holds, by address.

        Parameters
        ----------
        workers : str or iterable of str, optional
            Addresses or names; all by default.

        Returns
        -------
        dict of str to tuple of Key
            Keys by address.

        Examples
        --------
        >>> from myscheduler import wait
        >>> done = wait(client.submit(abs, -5, key="five"))
        >>> ["five" in keys for keys in client.has_what().values()]
        [True]
        """
        return self._do(self._by_address("has_what", (names_of(workers),), None))

    async def _by_address(
        self, method: str, args: tuple[Any, ...], workers: str | Iterable[str] | None
    ) -> dict[str, Any]:
        rows = await self.session.call(method, *args)
        names = names_of(workers)
        return {address: value for address, value in rows if names is None or address in names}

    def who_has(self, futures: Any = None) -> Any:
        """Addresses of the workers that hold each result, by key.

        Parameters
        ----------
        futures : Future, key, or iterable of those, optional
            Everything in memory by default.

        Returns
        -------
        dict of Key to list of str
            Addresses by key; an empty list for a result that nobody holds.

        Examples
        --------
        >>> six = client.submit(abs, -6, key="six")
        >>> six.result()
        6
        >>> client.who_has(six) == {"six": list(client.nthreads())}
        True
        """
        return self._do(self._who_has(None if futures is None else keys_of(futures)))

    async def _who_has(self, keys: tuple[Key, ...] | None) -> dict[Key, list[str]]:
        return {key: list(addresses) for key, addresses in await self.session.call("who_has", keys)}

    def explain(self, future: Future[Any] | Key) -> Any:
        """Why a task is where it is: what it waits for, where it may run, what became of it.

        Parameters
        ----------
        future : Future or Key
            Of the task.

        Returns
        -------
        str
            A sentence or several, for humans.

        Examples
        --------
        >>> seven = client.submit(abs, -7, key="seven")
        >>> seven.result()
        7
        >>> client.explain(seven)
        "'seven' is done: 28 bytes of int, held by worker 0."
        """
        (key,) = keys_of(future)
        return self._do(self.session.call("explain", key))

    def save_journal(self, path: str | os.PathLike[str]) -> Any:
        """Save what has happened at the scheduler during the last minutes, to be looked at with ``myscheduler journal``.

        Parameters
        ----------
        path : str or path
            Of the file, which only you can read then. It holds keys, addresses, sizes and times; no functions, arguments
            or results, and of errors only the names of their classes.

        Raises
        ------
        UsageError
            The scheduler keeps no journal.

        Examples
        --------
        >>> import os, tempfile
        >>> path = f"{tempfile.mkdtemp()}/journal"
        >>> client.save_journal(path)
        >>> os.path.getsize(path) > 0
        True
        """
        return self._do(save_journal(self.session.call, path))

    # ---- commands ---------------------------------------------------------------------------------------------------

    def wait_for_workers(self, n_workers: int = 1, timeout: float | str | None = None) -> Any:
        """Wait until the scheduler has at least ``n_workers``.

        Parameters
        ----------
        n_workers : int
            How many.
        timeout : float or str, optional
            Seconds.

        Raises
        ------
        TimeoutError
            There were fewer; the message says how many.

        Examples
        --------
        >>> client.wait_for_workers(1, timeout="30 s")
        """
        if n_workers < 0:
            raise UsageError(f"n_workers={n_workers!r} is not a number of workers")
        return self._do(self._wait_for_workers(n_workers, parse_seconds(timeout)))

    async def _wait_for_workers(self, n_workers: int, timeout: float | None) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self.session.call("wait_for_workers", n_workers)
        except TimeoutError:
            present = len(await self.session.call("nthreads"))
            raise TimeoutError(f"only {present} of {n_workers} workers were there after {timeout:g} s") from None

    def restart(self, timeout: float | str | None = "2 min", wait_for_workers: bool = True) -> Any:
        """Forget all tasks of all clients and start all workers anew.

        Futures become cancelled, but for those whose result this client has received already.

        Parameters
        ----------
        timeout : float or str, optional
            Seconds until as many workers must be back.
        wait_for_workers : bool
            False returns as soon as the scheduler has been told.

        Raises
        ------
        TimeoutError
            There were fewer workers than before after that time.

        Examples
        --------
        >>> from myscheduler import Client
        >>> with Client(n_workers=1, processes=False, dashboard_address=None) as fresh:
        ...     fresh.restart(timeout="1 min")
        ...     fresh.submit(abs, -1).result()
        1
        """
        return self._do(self._restart(parse_seconds(timeout), wait_for_workers))

    async def _restart(self, timeout: float | None, wait: bool) -> None:
        session = self.session
        if not wait:
            with session.lock:
                session.machine.call(None, "restart", ())
            session.flush()
            return
        try:
            async with asyncio.timeout(timeout):
                await session.call("restart")
        except TimeoutError:
            raise TimeoutError(f"the workers were not back {timeout:g} s after the restart") from None

    def retire_workers(self, workers: str | Iterable[str]) -> Any:
        """Move the results of workers elsewhere, then stop them.

        Parameters
        ----------
        workers : str or iterable of str
            Names or addresses.

        Raises
        ------
        UsageError
            There is no such worker.

        Examples
        --------
        >>> from myscheduler import Client
        >>> with Client(n_workers=2, processes=False, dashboard_address=None) as fresh:
        ...     _ = fresh.retire_workers("1")
        ...     len(fresh.nthreads())
        1
        """
        return self._do(self.session.call("retire_workers", names_of(workers) or ()))


def names_of(workers: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """One name, or several, as the scheduler expects them."""
    if workers is None:
        return None
    return (workers,) if isinstance(workers, str) else tuple(workers)


def keys_of(futures: Any) -> tuple[Key, ...]:
    """Keys of futures or keys, one or several.

    Examples
    --------
    >>> keys_of("x"), keys_of(["x", ("y", 0)])
    (('x',), ('x', ('y', 0)))
    """
    if isinstance(futures, Future):
        return (futures.key,)
    if isinstance(futures, (str, bytes, int, float, tuple)):
        return (futures,)
    if isinstance(futures, dict):
        futures = futures.values()
    return tuple(future.key if isinstance(future, Future) else future for future in futures)
