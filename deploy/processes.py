"""A local cluster of processes: one for the scheduler, one per worker, one for the dashboard."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Coroutine, Mapping
from typing import Any, Final, TypeVar

from ..base.credentials import Credentials
from ..base.errors import ClosedError, ClusterError
from .control import ControlLink
from .dashboard import DashboardPlace
from .exits import CLOSED
from .keeper import Keeper
from .process import ChildProcess, describe_exit
from .reporting import Reporter
from .sockets import address_of, is_wildcard, listen, outward_address
from .spec import Spec

logger = logging.getLogger(__name__)

T = TypeVar("T")

SCHEDULER_MODULE: Final = "myscheduler.scheduler.server"
WORKER_MODULE: Final = "myscheduler.worker.server"
#: Seconds a process may take to close when the cluster does. Running tasks are not waited for.
GRACE_S: Final = 3.0
#: Seconds they get before that to close because the scheduler says so.
PATIENCE_S: Final = 1.0
#: A default for a variable the user has not set: glibc shall ask the kernel for huge pages. Finding 500 small ones takes it
#: longer than filling them, and the processor remembers where few pages are; what is freed is given back as before.
SCHEDULER_ENVIRONMENT: Final = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
#: Besides, numeric libraries start a thread per core in every worker unless told otherwise; workers are parallel already. And
#: tasks that sort by ``hash(text)`` must agree across workers.
WORKER_ENVIRONMENT: Final = SCHEDULER_ENVIRONMENT | {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
}


def worker_process(config: Mapping[str, Any], name: str) -> ChildProcess:
    """Start a worker as its keeper needs it."""
    return ChildProcess(
        *(WORKER_MODULE, config), name=name, echo=True, tells_ready=True, has_board=True, environment=WORKER_ENVIRONMENT
    )


class ProcessBackend:
    """Starts and ends the processes of a local cluster, and replaces workers that die.

    Parameters
    ----------
    spec : Spec
        What to start.
    """

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        # Others must be told one address; of all, the one that faces them.
        self._host = outward_address() if is_wildcard(spec.host) else spec.host
        self._scheduler: ChildProcess | None = None
        self._watch: asyncio.Task[None] | None = None
        self._control: ControlLink | None = None
        self._dashboard: DashboardPlace | None = None
        self._keepers: dict[str, Keeper] = {}
        self._reporter = Reporter(self.call)
        self._names = 0
        self._ready = False
        self._closing: asyncio.Task[None] | None = None
        self.address = ""
        self.credentials: Credentials | None = spec.credentials
        self.dashboard_link: str | None = None

    @property
    def workers(self) -> dict[str, Keeper]:
        """By name, what keeps each worker running."""
        return dict(self._keepers)

    # ---- start ------------------------------------------------------------------------------------------------------

    async def start(self, timeout: float) -> None:
        """Start all; returns when the scheduler answers and every worker has registered.

        Raises
        ------
        ClusterError
            A process failed, or it took longer than ``timeout`` seconds.
        """
        self._failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        try:
            self._start_processes()
            async with asyncio.timeout(timeout):
                control = ControlLink.open(self.address, self._spec.credentials, timeout=timeout)
                self._control = await self._unless_failed(control)
                if self._keepers:
                    await self._unless_failed(self._control.call("wait_for_workers", len(self._keepers)))
        except TimeoutError:
            await self.close()
            raise ClusterError(
                f"the local cluster was not ready after {timeout:g} s; is this machine overloaded? "
                "LocalCluster(timeout=...) waits longer"
            ) from None
        except BaseException:
            await self.close()
            raise
        self._ready = True
        for keeper in self._keepers.values():
            keeper.ready = True
        if self._dashboard is not None:
            self._dashboard.start(self.address, self._spec.credentials, self._spec.name)

    def _start_processes(self) -> None:
        spec = self._spec
        if spec.dashboard is not None:
            self._dashboard = DashboardPlace(*spec.dashboard)
            self.dashboard_link = self._dashboard.link
            if self._dashboard.note:
                logger.warning("%s", self._dashboard.note)
        config = {
            "credentials": spec.credentials.to_dict(),
            "options": {
                "name": spec.name,
                "dashboard": self.dashboard_link,
                "tls": spec.tls,
                "journal": spec.journal,
                "client_grace": spec.client_grace,
            },
            "log_level": spec.log_level,
        }
        # The socket listens before the scheduler runs, so all processes start at once: connections wait in the kernel.
        with listen(spec.host, spec.scheduler_port) as sock:
            self.address = address_of(sock, self._host, "tls" if spec.tls else "tcp")
            self._scheduler = ChildProcess(
                *(SCHEDULER_MODULE, config),
                name="scheduler",
                sockets={"listen_fd": sock},
                environment=SCHEDULER_ENVIRONMENT,
            )
        # The reference keeps the task alive; it ends with the scheduler.
        self._watch = asyncio.get_running_loop().create_task(self._watch_scheduler(self._scheduler))
        for _ in range(spec.sizing.workers):
            self._add_worker()

    def _add_worker(self) -> None:
        name = str(self._names)
        self._names += 1
        spec = self._spec
        config = {
            "scheduler": self.address,
            "host": self._host,
            "credentials": spec.credentials.restricted("worker", "client").to_dict(),
            "options": spec.worker_options(name),
            # What tasks import must be found where the user's program finds it.
            "sys_path": list(sys.path),
            "log_level": spec.log_level,
        }

        def spawn() -> ChildProcess:
            return worker_process(config, f"worker {name}")

        keeper = Keeper(
            f"worker {name}",
            spawn,
            self._worker_ended,
            on_death=self._reporter.about(name),
            on_silence=self._reporter.vouch_for(name),
            memory_limit=spec.sizing.memory_limit,
        )
        keeper.ready = self._ready
        self._keepers[name] = keeper
        keeper.start()

    async def _unless_failed(self, coro: Coroutine[Any, Any, T]) -> T:
        """The outcome of ``coro``, or ClusterError as soon as a process has failed for good."""
        task = asyncio.ensure_future(coro)
        try:
            await asyncio.wait((task, self._failed), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ClusterError(f"the local cluster cannot start: {self._failed.result()}; its output says why")
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    # ---- what happens to processes ----------------------------------------------------------------------------------

    def _worker_ended(self, keeper: Keeper, reason: str) -> None:
        for name, other in list(self._keepers.items()):
            if other is keeper:
                del self._keepers[name]
        if keeper.failure is not None and not self._failed.done():
            self._failed.set_result(keeper.failure)

    async def _watch_scheduler(self, scheduler: ChildProcess) -> None:
        code = await scheduler.wait()
        how = describe_exit(code)
        if not self._failed.done():
            self._failed.set_result(f"the scheduler {how}")
        if self._ready and self._closing is None:
            if code != CLOSED:
                logger.error("the scheduler (pid %d) %s; the cluster closes", scheduler.pid, how)
            self._begin_close()

    # ---- while it runs ----------------------------------------------------------------------------------------------

    async def call(self, method: str, *args: Any) -> Any:
        """Call a method of the scheduler."""
        if self._control is None or self._closing is not None:
            raise ClosedError("the local cluster is closed")
        return await self._control.call(method, *args)

    async def scale(self, n: int) -> None:
        """Start workers, or retire the youngest, until ``n`` are left. Retired ones are waited for, new ones are not."""
        if self._closing is not None:
            raise ClosedError("the local cluster is closed")
        while len(self._keepers) < n:
            self._add_worker()
        surplus = list(self._keepers.items())[n:]
        if surplus:
            await self.call("retire_workers", tuple(name for name, _ in surplus))
            for name, _ in surplus:
                self._keepers.pop(name, None)
            await asyncio.gather(*(keeper.stop(GRACE_S, patience=PATIENCE_S) for _, keeper in surplus))

    async def close(self) -> None:
        """End all processes. Idempotent."""
        await asyncio.shield(self._begin_close())

    def _begin_close(self) -> asyncio.Task[None]:
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(
                self._end_processes(), name="close the local cluster"
            )
        return self._closing

    async def _end_processes(self) -> None:
        patience = PATIENCE_S if await self._shut_down() else 0.0
        keepers = self._keepers.values()
        ends: list[Coroutine[Any, Any, object]] = [keeper.stop(GRACE_S, patience=patience) for keeper in keepers]
        if self._scheduler is not None:
            ends.append(self._scheduler.stop(GRACE_S, patience=patience))
        if self._dashboard is not None:
            ends.append(self._dashboard.stop())
        outcomes = await asyncio.gather(*ends, return_exceptions=True)
        await self._reporter.finish()
        self._keepers.clear()
        for outcome in outcomes:  # all have been ended as far as possible before anything is said
            if isinstance(outcome, BaseException):
                raise outcome

    async def _shut_down(self) -> bool:
        """Have the scheduler tell workers and clients that this is on purpose; whether it was there to do so."""
        if self._control is None or self._control.closed:
            return False
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._control.call("shutdown")
        except (ClusterError, TimeoutError):
            return self._control.closed  # it may have been quicker to close than to answer
        finally:
            self._control.close("the local cluster closes")
        return True

    def stop_now(self) -> None:
        """``close`` for when the loop does not run any more."""
        if self._scheduler is not None:
            self._scheduler.terminate()
        for keeper in self._keepers.values():
            keeper.stop_now()
        if self._dashboard is not None:
            self._dashboard.stop_now()
        if self._scheduler is not None:
            self._scheduler.stop_now()
