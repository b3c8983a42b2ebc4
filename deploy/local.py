"""``LocalCluster``: a scheduler and workers on this machine, started and ended together with the program that wants them."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import secrets
from collections.abc import Coroutine, Generator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

from ..base import config, html
from ..base.config import CONFIGURED, Configured
from ..base.credentials import Credentials
from ..base.errors import ClosedError, UsageError
from ..base.units import format_bytes, parse_bytes, parse_seconds
from ..client.api.loop import LoopThread
from .process import refuse_inside_spawned_import
from .sizing import check_whole, size
from .sockets import is_loopback, parse_dashboard_address
from .spec import Spec

T = TypeVar("T")

#: Seconds until all processes must have started and registered.
START_TIMEOUT_S: Final = 60.0
#: The certificates of a cluster that lives no longer than this program need no short life.
CERTIFICATES_S: Final = 365 * 86400.0


class Backend(Protocol):
    """What runs the scheduler and the workers: processes, or this process. All on one loop."""

    address: str
    credentials: Credentials | None
    dashboard_link: str | None

    @property
    def workers(self) -> Mapping[str, Any]:
        """By name."""

    async def start(self, timeout: float) -> None:
        """Return when all have registered."""

    async def call(self, method: str, *args: Any) -> Any:
        """Call a method of the scheduler."""

    async def scale(self, n: int) -> None:
        """Have ``n`` workers."""

    async def close(self) -> None:
        """End all; idempotent."""

    def stop_now(self) -> None:
        """End all without a loop."""


class LocalCluster:
    """A scheduler and workers on this machine.

    Nobody but this program (and whom it gives the credentials) can use them: they listen on 127.0.0.1 and ask for a secret
    that was drawn for this cluster. With a ``host`` that other machines can reach, connections are encrypted as well. They
    end with this program, however it ends.

    Other defaults than those below can be configured, under ``local-cluster``, for ``n_workers``, ``threads_per_worker``,
    ``memory_limit`` and ``dashboard_address``.

    Parameters
    ----------
    n_workers : int, optional
        Workers to start; by default all cores are used, by as many processes up to four and about the square root beyond.
    threads_per_worker : int, optional
        Threads of each worker; by default what the cores leave.
    processes : bool
        True: each worker is a process. False: scheduler and workers are threads of this process; nothing is copied and
        nothing listens, but all share one GIL.
    memory_limit : int, float, str or None
        Per worker: bytes, ``"2 GiB"``, a fraction of the machine's memory, ``"auto"`` (the default) for this machine's
        memory times threads over cores, None for no limit.
    host : str
        The address to listen on; ``"0.0.0.0"`` for all of this machine. Unless it is a loopback address, clients of other
        machines can connect with TLS: give them a file made by ``client.write_scheduler_file``.
    scheduler_port : int
        0 for any free port.
    dashboard_address : str or None
        ``":8787"`` (the default), ``"host:port"``, or None for no dashboard. If the port is taken, the next free one is used.
    name : str, optional
        Of the cluster, for ``repr`` and the dashboard.
    asynchronous : bool
        True: use it as ``async with LocalCluster(asynchronous=True) as cluster`` (or ``await`` it) on a running loop;
        all methods return awaitables.
    resources : mapping of str to float, optional
        Abstract resources of each worker, such as ``{"GPU": 1}``.
    silence_logs : int, str or bool
        The least level that the processes log: a number or a name of ``logging``; True for errors only, False for all.
    local_directory : str, optional
        Where workers put temporary files.
    shared_memory : bool, optional
        Whether large values move between the processes of this machine without the network; default: as configured.
    timeout : float or str
        Seconds until all must have started.

    Raises
    ------
    UsageError
        An option makes no sense, or a script without ``if __name__ == "__main__"`` is being imported again by a
        child of ``multiprocessing``.
    ClusterError
        A process does not start.

    Examples
    --------
    >>> from myscheduler import Client
    >>> with LocalCluster(n_workers=1, dashboard_address=None) as cluster, Client(cluster) as client:
    ...     client.submit(pow, 2, 10).result()
    1024
    """

    def __init__(
        self,
        n_workers: int | None = None,
        threads_per_worker: int | None = None,
        processes: bool = True,
        *,
        memory_limit: int | float | str | Configured | None = CONFIGURED,
        host: str = "127.0.0.1",
        scheduler_port: int = 0,
        dashboard_address: str | Configured | None = CONFIGURED,
        name: str | None = None,
        asynchronous: bool = False,
        resources: Mapping[str, float] | None = None,
        silence_logs: int | str | bool = logging.WARNING,
        local_directory: str | os.PathLike[str] | None = None,
        shared_memory: bool | None = None,
        timeout: float | str = START_TIMEOUT_S,
    ) -> None:
        self._state = "created"
        refuse_inside_spawned_import("LocalCluster()")
        defaults = config.get("local-cluster")
        place: str | None = defaults["dashboard-address"] if dashboard_address is CONFIGURED else dashboard_address
        memory = defaults["memory-limit"] if memory_limit is CONFIGURED else memory_limit
        if n_workers is None and threads_per_worker is None:
            n_workers, threads_per_worker = defaults["n-workers"], defaults["threads-per-worker"]
        dashboard = None if place is None else parse_dashboard_address(place)
        if dashboard is not None:
            _refuse_other_machines(dashboard[0])
        credentials = Credentials.generate()
        self._spec = Spec(
            name=name or f"local-{secrets.token_hex(3)}",
            sizing=size(n_workers, threads_per_worker, memory, processes=processes),
            host=host,
            scheduler_port=scheduler_port,
            dashboard=dashboard,
            resources=resources or {},
            log_level=_level_name(silence_logs),
            local_directory=None if local_directory is None else os.fspath(local_directory),
            shared_memory=config.get("shared-memory") if shared_memory is None else shared_memory,
            journal=parse_bytes(config.get("journal")),
            memory_pause=float(config.get("memory-pause")) if processes else 0.0,
            client_grace=parse_seconds(config.get("client-grace")) or 0.0,
            credentials=credentials if is_loopback(host) else credentials.certified(CERTIFICATES_S),
        )
        self.asynchronous = asynchronous
        self._timeout = parse_seconds(timeout) or START_TIMEOUT_S
        self._pid = os.getpid()
        self._backend = _backend(self._spec, processes)
        if not asynchronous:
            LoopThread.shared().run(self._start())

    # ---- what it is -------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Of the cluster."""
        return self._spec.name

    @property
    def status(self) -> str:
        """``"created"``, ``"running"`` or ``"closed"``."""
        return self._state

    @property
    def scheduler_address(self) -> str:
        """Where the scheduler listens; empty before the start."""
        return self._backend.address

    @property
    def credentials(self) -> Credentials | None:
        """With which clients and workers prove themselves to this cluster; None with ``processes=False``: none are asked."""
        return self._backend.credentials

    @property
    def dashboard_link(self) -> str | None:
        """The dashboard's link with its token, which lets whoever has it look but not touch; None without a dashboard."""
        return self._backend.dashboard_link

    @property
    def workers(self) -> Mapping[str, Any]:
        """The workers by name: what keeps each process running, or the worker itself with ``processes=False``."""
        return self._backend.workers

    @property
    def scheduler_info(self) -> Any:
        """What the scheduler says of itself and its workers: a dict; awaitable if the cluster is asynchronous."""
        return self._sync(self._backend.call("scheduler_info"))

    # ---- what it does -----------------------------------------------------------------------------------------------

    def scale(self, n: int) -> Any:
        """Start or retire workers until there are ``n``.

        Retired workers hand their data to others first and are waited for; new ones are not: see ``wait_for_workers``.

        Parameters
        ----------
        n : int
            How many workers there are to be.

        Raises
        ------
        UsageError
            ``n`` is negative.

        Examples
        --------
        >>> with LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster:
        ...     cluster.scale(3)
        ...     cluster.wait_for_workers(3, timeout="30 s")
        ...     len(cluster.workers)
        3
        """
        check_whole("n", n, 0)
        return self._sync(self._backend.scale(n))

    def wait_for_workers(self, n_workers: int, timeout: float | str | None = None) -> Any:
        """Wait until at least ``n_workers`` have registered.

        Parameters
        ----------
        n_workers : int
            How many.
        timeout : float or str, optional
            Seconds, or text such as ``"2 min"``.

        Raises
        ------
        TimeoutError
            They have not after ``timeout`` seconds.
        """
        return self._sync(self._wait_for_workers(n_workers, parse_seconds(timeout)))

    def get_client(self) -> Any:
        """A ``Client`` of this cluster; closing it does not close the cluster.

        Returns
        -------
        Client
            Connected, unless the cluster is asynchronous: then to be awaited.
        """
        from ..client.api.client import Client

        return Client(self, asynchronous=self.asynchronous)

    def close(self) -> Any:
        """End the workers and the scheduler. Running tasks are not waited for. Idempotent."""
        if os.getpid() != self._pid:  # a fork of the program that started the cluster: not its to close
            self._state = "closed"
        return self._sync(self._close())

    # ---- lifetime ---------------------------------------------------------------------------------------------------

    async def _start(self) -> Self:
        if self._state == "closed":
            raise ClosedError(f"{self.name} has been closed; make a new LocalCluster")
        if self._state == "created":
            await self._backend.start(self._timeout)
            self._state = "running"
            _running[self] = None
        return self

    async def _close(self) -> None:
        if self._state == "running":
            self._state = "closed"
            _running.pop(self, None)
            await self._backend.close()
        self._state = "closed"

    async def _wait_for_workers(self, n_workers: int, timeout: float | None) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._backend.call("wait_for_workers", n_workers)
        except TimeoutError:
            raise TimeoutError(f"{self.name} did not have {n_workers} workers after {timeout:g} s") from None

    def _stop_now(self) -> None:
        self._state = "closed"
        self._backend.stop_now()

    def _sync(self, coro: Coroutine[Any, Any, T]) -> Any:
        return coro if self.asynchronous else LoopThread.shared().run(coro)

    def __await__(self) -> Generator[Any, None, Self]:
        return self._start().__await__()

    async def __aenter__(self) -> Self:
        return await self._start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    def __enter__(self) -> Self:
        if self.asynchronous:
            raise UsageError("LocalCluster(asynchronous=True) is used with `async with`")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # ---- how it looks -----------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"LocalCluster({', '.join(f'{name}={value}' for name, value in self._facts().items())})"

    def _repr_html_(self) -> str:
        return html.facts("LocalCluster", self._facts(), self.dashboard_link)

    def _facts(self) -> dict[str, str]:
        sizing = self._spec.sizing
        limit = sizing.memory_limit
        return {
            "name": self.name,
            "status": self._state,
            "scheduler": self.scheduler_address,
            "workers": str(len(self.workers)),
            "threads": str(len(self.workers) * sizing.threads),
            "memory": format_bytes(limit * len(self.workers)) if limit else "unlimited",
        }


def _backend(spec: Spec, processes: bool) -> Backend:
    # Each mode pays for its own imports only.
    if processes:
        from .processes import ProcessBackend

        return ProcessBackend(spec)
    from .inprocess import InprocessBackend

    return InprocessBackend(spec)


def _refuse_other_machines(host: str) -> None:
    if not is_loopback(host):
        raise UsageError(
            f"the dashboard speaks plain HTTP, and {host!r} can be reached from other machines, who could read what is sent; "
            "use 127.0.0.1 and an SSH tunnel, or start `myscheduler --dashboard-address`, which says what that means"
        )


def _level_name(level: int | str | bool) -> str:
    if isinstance(level, bool):
        return "ERROR" if level else "DEBUG"
    names = logging.getLevelNamesMapping()
    for name, number in names.items():
        if level == number or (isinstance(level, str) and level.upper() == name):
            return name
    raise UsageError(f"silence_logs={level!r} is no level of logging; use one of {', '.join(names)}")


# ---- end of the program ---------------------------------------------------------------------------------------------

#: Clusters that nobody has closed yet.
_running: dict[LocalCluster, None] = {}


def _close_all() -> None:
    for cluster in list(_running):
        if cluster._pid != os.getpid():  # noqa: SLF001
            continue
        if cluster.asynchronous:
            cluster._stop_now()  # noqa: SLF001
        else:
            with suppress(Exception):
                cluster.close()


atexit.register(_close_all)
