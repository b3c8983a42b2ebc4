"""What every client has: a beginning, a scheduler, an end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Generator, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from ...base import html
from ...base.credentials import Credentials, write_scheduler_file
from ...base.errors import ClosedError, ClusterError, UsageError
from ...base.keys import Key
from ...base.units import format_bytes, parse_seconds
from ..records import Record
from . import defaults, hooks
from .connect import Target, find_target, introduction, start_cluster, start_cluster_async
from .graphs import ClusterScheduler, GraphSubmitter
from .loop import LoopThread
from .session import Session
from .submitting import Submitter

#: How long ``repr`` may wait for fresh numbers.
_REFRESH_TIMEOUT_S = 1.0


class Lifetime:
    """Connects, is somebody's default, closes. ``Client`` adds what it is for."""

    asynchronous: bool

    def __init__(
        self,
        address: Any,
        *,
        scheduler_file: str | os.PathLike[str] | None,
        credentials: Credentials | str | os.PathLike[str] | None,
        timeout: float | str,
        asynchronous: bool,
        set_as_default: bool,
        name: str | None,
        cluster_options: dict[str, Any],
    ) -> None:
        seconds = parse_seconds(timeout)
        if seconds is None:
            raise UsageError(
                "timeout=None would wait for ever for a scheduler that is not there; give seconds, e.g. '30s'"
            )
        hooks.connect_worker()
        self.asynchronous = asynchronous
        self.name = name
        self._status = "connecting"
        self._timeout = seconds
        self._set_as_default = set_as_default
        self._cluster_options = cluster_options
        self._session: Session | None = None
        self._scheduler_info: Mapping[str, Any] = {}
        self._closing: asyncio.Task[None] | None = None
        self._pid = os.getpid()
        self._target = find_target(address, scheduler_file, credentials, cluster_options)
        if not asynchronous:
            if self._target is None:
                self._target = start_cluster(cluster_options)
            thread = LoopThread.shared()
            try:
                thread.run(self._connect(self._target, thread.loop, thread))
            except BaseException:
                self._abandon_cluster()
                raise

    # ---- beginning --------------------------------------------------------------------------------------------------

    async def _start(self) -> Self:
        if self._status == "connecting":
            if self._target is None:
                self._target = await start_cluster_async(self._cluster_options)
            await self._connect(self._target, asyncio.get_running_loop(), None)
        return self

    async def _connect(self, target: Target, loop: asyncio.AbstractEventLoop, thread: LoopThread | None) -> None:
        session = Session(self._as_client(), loop, thread)
        await session.connect(target.address, target.credentials, introduction(self.name), self._timeout)
        self._session = session
        self._submitter = Submitter(session)
        self._scheduler = ClusterScheduler(session, GraphSubmitter(session, self._submitter))
        self._status = "running"
        defaults.opened(self._as_client(), self._set_as_default)

    def _as_client(self) -> Any:
        # Lifetime is only ever used as the base of Client, which it cannot import.
        return self

    def _abandon_cluster(self) -> None:
        if self._target is not None and self._target.owned:
            self._target.cluster.close()

    # ---- what it is -------------------------------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """Internal: the connection; UsageError before it has been made."""
        return self._session if self._session is not None and self._pid == os.getpid() else self._refuse()

    def _refuse(self) -> NoReturn:
        if self._session is None:
            raise UsageError(
                "this client is not connected yet; "
                "use `async with Client(..., asynchronous=True) as client` or `client = await Client(...)`"
            )
        raise UsageError("this client was made before a fork and belongs to the parent; make a new one in the child")

    @property
    def id(self) -> str:
        """Names this client in the scheduler's logs; never used twice."""
        return self.session.incarnation

    @property
    def status(self) -> str:
        """``connecting``, ``running``, ``reconnecting`` (the connection was lost), ``closing`` or ``closed``.

        It is closed, too, when the scheduler is gone for good.
        """
        if self._status == "running" and self._session is not None:
            if not self._session.is_open:
                return "closed"
            if self._session.is_away:
                return "reconnecting"
        return self._status

    @property
    def cluster(self) -> Any:
        """The cluster object that this client was given or has started, or None."""
        return None if self._target is None else self._target.cluster

    @property
    def scheduler_address(self) -> str:
        """Where the scheduler listens."""
        return "" if self._target is None else self._target.address

    @property
    def dashboard_link(self) -> str | None:
        """Where to look at the cluster with a browser, or None."""
        if self._target is not None and self._target.dashboard:
            return self._target.dashboard
        self._refresh()
        return self._scheduler_info.get("dashboard") or None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that serves this client."""
        return self.session.loop

    @property
    def futures(self) -> Mapping[Key, Record]:
        """The keys of which there are futures now, and what is known of them."""
        with self.session.lock:
            return dict(self.session.machine.records)

    @property
    def submitter(self) -> Submitter:
        """Internal: what queues calls; UsageError before the connection has been made."""
        return self._submitter if self._session is not None and self._pid == os.getpid() else self._refuse()

    @property
    def scheduler(self) -> ClusterScheduler:
        """This client as the scheduler of graphs: what ``compute(..., scheduler=client)`` uses."""
        return self._scheduler if self._session is not None and self._pid == os.getpid() else self._refuse()

    def as_current(self) -> AbstractContextManager[Any]:
        """Make this the client that is meant inside a ``with`` block, in this thread or asyncio task.

        Returns
        -------
        context manager
            Gives the client.

        Examples
        --------
        >>> from myscheduler import get_client
        >>> with client.as_current():
        ...     get_client() is client
        True
        """
        return defaults.as_current(self._as_client())

    def write_scheduler_file(self, path: str | os.PathLike[str]) -> Path:
        """Write the address and the credentials into a private file, with which others connect to the same scheduler.

        Parameters
        ----------
        path : path
            Where to; ``Client(scheduler_file=path)`` and ``myworker --scheduler-file PATH`` read it.

        Returns
        -------
        Path
            Where it is.

        Raises
        ------
        UsageError
            The scheduler lives in this process only, and has no credentials.

        Examples
        --------
        >>> client.write_scheduler_file("cluster.json")       # this one has its scheduler inside this process
        Traceback (most recent call last):
        ...
        myscheduler.base.errors.UsageError: <Client: ...> has no credentials to write: its scheduler lives in this process only
        """
        target = self._target
        if target is None or target.credentials is None:
            raise UsageError(f"{self!r} has no credentials to write: its scheduler lives in this process only")
        return write_scheduler_file(path, target.address, target.credentials, target.dashboard)

    def __repr__(self) -> str:
        if self.status != "running":
            return f"<Client: {self.scheduler_address or 'no scheduler'!r} {self.status}>"
        workers, threads, memory = self._size()
        text = f"<Client: {self.scheduler_address!r} processes={workers} threads={threads}"
        return f"{text}, memory={format_bytes(memory)}>" if memory else f"{text}>"

    def _repr_html_(self) -> str:
        rows: dict[str, object] = {"scheduler": self.scheduler_address or None, "status": self.status}
        if self.status == "running":
            workers, threads, memory = self._size()
            rows |= {"workers": workers, "threads": threads, "memory": format_bytes(memory) if memory else None}
        return html.facts("Client", rows, self.dashboard_link)

    def _size(self) -> tuple[int, int, int]:
        """Workers, their threads and memory."""
        self._refresh()
        workers = self._scheduler_info.get("workers", ())
        threads = sum(worker["nthreads"] for worker in workers)
        return len(workers), threads, sum(worker["memory_limit"] for worker in workers)

    def _refresh(self) -> None:
        """Ask the scheduler about itself, if that can be done here and now; older numbers will do."""
        if self.status == "running" and not self.asynchronous and not LoopThread.shared().is_current:
            with suppress(ClusterError, TimeoutError):
                self._scheduler_info = self.session.run(self.session.call("scheduler_info"), _REFRESH_TIMEOUT_S)

    # ---- end --------------------------------------------------------------------------------------------------------

    def close(self, timeout: float | str | None = "10s") -> Any:
        """Leave the scheduler. All futures of this client become cancelled; a cluster it has started ends. Idempotent.

        Parameters
        ----------
        timeout : float or str, optional
            Seconds to wait for an orderly end.

        Examples
        --------
        >>> from myscheduler import Client
        >>> fresh = Client(n_workers=1, processes=False, dashboard_address=None)
        >>> fresh.close()
        >>> fresh.status
        'closed'
        """
        if self.asynchronous:
            return self._close()
        if self._pid != os.getpid():
            self._status = "closed"  # a fork: the connection is the parent's
        if self._status == "closed":
            return None
        session = self._session
        if session is not None:
            try:
                LoopThread.shared().run(self._close_session(), parse_seconds(timeout))
            finally:
                self._status = "closed"
                self._abandon_cluster()
        self._status = "closed"
        return None

    async def _close(self) -> None:
        await self._close_session()
        if self._status != "closed":
            self._status = "closed"
            if self._target is not None and self._target.owned:
                await self._target.cluster.close()

    async def _close_session(self) -> None:
        session = self._session
        if session is None or self._status in ("closing", "closed"):
            return
        self._status = "closing"
        defaults.closed(self._as_client())
        await session.close(f"client {session.incarnation} was closed")

    def shutdown(self) -> Any:
        """Stop the scheduler and all workers, for everybody, and close this client.

        Examples
        --------
        >>> from myscheduler import Client
        >>> fresh = Client(n_workers=1, processes=False, dashboard_address=None)
        >>> fresh.shutdown()
        >>> fresh.status
        'closed'
        """
        if self.asynchronous:
            return self._shutdown()
        with suppress(ClosedError):
            self.session.run(self.session.call("shutdown"))
        return self.close()

    async def _shutdown(self) -> None:
        with suppress(ClosedError):  # gone before it could answer: that is what was asked for
            await self.session.call("shutdown")
        await self._close()

    def _do(self, coro: Coroutine[Any, Any, Any], timeout: float | None = None) -> Any:
        """Run a coroutine: block for a blocking client, hand it on for an asynchronous one."""
        if self.asynchronous:
            return coro
        try:
            session = self.session
        except UsageError:
            coro.close()
            raise
        return session.run(coro, timeout)

    def __enter__(self) -> Self:
        if self.asynchronous:
            raise UsageError("Client(asynchronous=True) is used with `async with`")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __await__(self) -> Generator[Any, None, Self]:
        if not self.asynchronous:
            raise UsageError("only Client(..., asynchronous=True) is awaited; this one is connected already")
        return self._start().__await__()

    async def __aenter__(self) -> Self:
        if not self.asynchronous:
            raise UsageError("`async with` needs Client(..., asynchronous=True)")
        return await self._start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()
