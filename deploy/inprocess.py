"""A local cluster inside this process: scheduler and workers share its loop and pass objects by reference."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Any

from ..base.credentials import Credentials
from ..base.errors import ClosedError, ClusterError
from ..scheduler.server.scheduler import SchedulerServer
from ..worker.exits import ExitReason
from ..worker.server.worker import Worker
from .control import ControlLink
from .dashboard import DashboardPlace
from .spec import Spec

logger = logging.getLogger(__name__)


class InprocessBackend:
    """Runs scheduler and workers on the running loop; tasks run in the workers' threads.

    Parameters
    ----------
    spec : Spec
        What to start.

    Notes
    -----
    Nothing listens on TCP, unless there is a dashboard: that is a process of its own and needs a way in.
    """

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._server: SchedulerServer | None = None
        self._control: ControlLink | None = None
        self._dashboard: DashboardPlace | None = None
        self._workers: dict[str, Worker] = {}
        self._minders: dict[str, asyncio.Task[None]] = {}
        self._names = 0
        self._closed = False
        self.address = ""
        self.credentials: Credentials | None = None
        self.dashboard_link: str | None = None

    @property
    def workers(self) -> dict[str, Worker]:
        """By name."""
        return dict(self._workers)

    async def start(self, timeout: float) -> None:
        """Start all; returns when every worker has registered.

        Raises
        ------
        ClusterError
            It took longer than ``timeout`` seconds.
        """
        spec = self._spec
        try:
            if spec.dashboard is not None:
                self._dashboard = DashboardPlace(*spec.dashboard)
                self.dashboard_link = self._dashboard.link
                if self._dashboard.note:
                    logger.warning("%s", self._dashboard.note)
            self._server = SchedulerServer(
                spec.credentials,
                host=spec.host,
                port=spec.scheduler_port,
                inproc=f"{spec.name}-{secrets.token_hex(4)}",
                tcp=spec.dashboard is not None,
                tls=spec.tls,
                dashboard=self.dashboard_link,
                journal=spec.journal,
                name=spec.name,
                client_grace=spec.client_grace,
            )
            async with asyncio.timeout(timeout):
                await self._server.start()
                self.address = self._server.address
                self._control = await ControlLink.open(self.address, None, timeout=timeout)
                await self._add(spec.sizing.workers)
        except TimeoutError:
            await self.close()
            raise ClusterError(f"the local cluster was not ready after {timeout:g} s") from None
        except BaseException:
            await self.close()
            raise
        if self._dashboard is not None:
            self._dashboard.start(self._server.addresses[-1], spec.credentials, spec.name)

    async def _add(self, count: int) -> None:
        names = [str(self._names + index) for index in range(count)]
        self._names += count
        await asyncio.gather(*map(self._start_worker, names))

    async def _start_worker(self, name: str) -> None:
        worker = Worker(self.address, **self._spec.worker_options(name))
        self._workers[name] = worker
        try:
            await worker.start()
        except BaseException:
            del self._workers[name]
            raise
        self._minders[name] = asyncio.get_running_loop().create_task(
            self._mind(name, worker), name=f"mind worker {name}"
        )

    async def _mind(self, name: str, worker: Worker) -> None:
        """Start a worker again when the scheduler wants it restarted; forget it when it has ended otherwise."""
        reason = await worker.finished()
        if self._workers.get(name) is worker:
            del self._workers[name]
        del self._minders[name]
        if reason is ExitReason.RESTART and not self._closed:
            await self._start_worker(name)
        elif reason is not ExitReason.CLOSED and not self._closed:
            logger.warning("worker %s has ended: %s", name, worker.exit_text)

    async def call(self, method: str, *args: Any) -> Any:
        """Call a method of the scheduler."""
        if self._control is None or self._closed:
            raise ClosedError("the local cluster is closed")
        return await self._control.call(method, *args)

    async def scale(self, n: int) -> None:
        """Start workers, or retire the youngest, until ``n`` are left."""
        if self._closed:
            raise ClosedError("the local cluster is closed")
        await self._add(max(0, n - len(self._workers)))
        surplus = list(self._workers.items())[n:]
        if surplus:
            await self.call("retire_workers", tuple(name for name, _ in surplus))
            for name, worker in surplus:
                self._workers.pop(name, None)
                await worker.finished()

    async def close(self) -> None:
        """End all. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._control is not None:
            self._control.close("the local cluster closes")
        if self._server is not None:
            await self._server.close("the local cluster closes")
        minders = list(self._minders.values())
        await asyncio.gather(*(worker.close() for worker in self._workers.values()))
        if self._dashboard is not None:
            await self._dashboard.stop()
        if minders:
            await asyncio.wait(minders)

    def stop_now(self) -> None:
        """``close`` for when the loop does not run any more: threads end with this process."""
        self._closed = True
        if self._dashboard is not None:
            self._dashboard.stop_now()
