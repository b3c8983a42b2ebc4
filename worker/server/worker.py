"""The worker daemon: the shell around the machine. It collects events, calls ``handle``, performs instructions."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

from ...base import config
from ...base.credentials import Credentials
from ...base.errors import ConnectionFailedError, UsageError
from ...base.ids import IdSource
from ...base.system import cpu_count, memory_share
from ...base.units import parse_seconds
from ...base.version import VERSION
from ...protocol.messages import DATA, HEARTBEAT, Message, Role
from ...transport import Link, Listener, listen
from ...transport.shared import mapped_bytes
from ..events import (
    Beat,
    Bind,
    Cancel,
    Chain,
    Define,
    Disconnected,
    Drop,
    Event,
    Execute,
    ExecutionEnded,
    Fetch,
    NotStarted,
    Overdue,
    Received,
    Seceded,
    Send,
    Serve,
    Stop,
    Tick,
    Undefine,
)
from ..exits import ExitReason
from ..machine import WorkerMachine
from ..store import Store
from .board import Board
from .executor import Executor, Reports
from .inputs import inputs_of
from .metrics import Metrics
from .packing import Packer
from .pressure import Scales
from .registration import Registration
from .scratch import Scratch
from .sharing import Sharing
from .transfers import Fetcher, Server

logger = logging.getLogger(__name__)

#: Seconds to try to reach the scheduler without ``death_timeout``.
CONNECT_TIMEOUT_S: Final = 30.0
#: Seconds that ``close`` waits for running tasks to end; threads cannot be stopped, so they are left behind then.
JOIN_TIMEOUT_S: Final = 0.5

#: Of the memory limit, what large results that others of this host have asked for may take once more.
_SHARED_PART: Final = 4

_NO_INPUTS: Final[dict[Any, Any]] = {}


class Worker:
    """Runs tasks for a scheduler, keeps their results and serves them to others.

    Parameters
    ----------
    scheduler_address : str
        ``tcp://host:port``, ``tls://host:port`` or ``inproc://name``; the worker listens with the same scheme.
    credentials : Credentials, optional
        Must hold the workers' secret, and the clients' for clients to fetch results and tasks to open clients; for
        ``tls://`` the certificates as well. None only for ``inproc://``.
    nthreads : int, optional
        Tasks that run at a time; default: the processors this process may use.
    name : str, optional
        Must be unique in the cluster; default: the worker's address.
    memory_limit : int, float, str or None
        Bytes, ``"4 GiB"``, a fraction of this machine's memory up to 1.0, ``"auto"`` for its share by threads, None or 0
        for no limit.
    resources : mapping of str to number, optional
        Abstract resources for tasks that ask for them, such as ``{"GPU": 2}``.
    host : str, optional
        Where to listen for those who fetch data; default: the interface over which the scheduler is reached.
    port : int
        Likewise; 0 for any free one.
    local_directory : str, optional
        Where the worker's temporary directory is made when a task asks for it; default: the system's.
    death_timeout : float or str, optional
        Seconds to try to reach the scheduler at the start; default 30.
    memory_pause : float
        The part of its memory limit above which it starts nothing new; 0 for never. The whole process is what counts.
    shared_memory : bool, optional
        Whether large values go to processes of the same user on this host, and come from there, without the network;
        default: as configured.
    lease : float or str, optional
        Seconds for which the worker goes on when it has lost the scheduler; default: as configured (``worker-lease``).

    Notes
    -----
    Belongs to the event loop on which it is started; several may live on one loop. When the link to the scheduler
    breaks, the worker keeps its data, goes on with its tasks, and connects again; then it tells the scheduler what it
    holds and runs. If it cannot for the whole of its lease, it ends with ``ExitReason.LOST_SCHEDULER``.

    Examples
    --------
    >>> async def main():
    ...     async with Worker("tcp://10.0.0.1:8786", credentials=credentials, nthreads=4) as worker:
    ...         return await worker.finished()
    """

    def __init__(
        self,
        scheduler_address: str,
        *,
        credentials: Credentials | None = None,
        nthreads: int | None = None,
        name: str | None = None,
        memory_limit: float | str | None = "auto",
        resources: Mapping[str, float] | None = None,
        host: str | None = None,
        port: int = 0,
        local_directory: str | None = None,
        death_timeout: float | str | None = None,
        memory_pause: float = 0.0,
        shared_memory: bool | None = None,
        lease: float | str | None = None,
        board: Board | None = None,
    ) -> None:
        if nthreads is not None and nthreads < 1:
            raise UsageError(f"a worker needs at least one thread, not {nthreads}")
        self.scheduler_address = scheduler_address
        self.credentials = credentials
        self.nthreads = nthreads or cpu_count()
        self.name = name or ""
        self.memory_limit = memory_share(memory_limit, self.nthreads)
        self._pause_at = int(self.memory_limit * memory_pause)
        self._board = board
        self.resources = {str(key): float(amount) for key, amount in (resources or {}).items()}
        self.incarnation = IdSource().incarnation()
        #: where others fetch data; known after ``start``
        self.address = ""
        #: why it ended, for people; known when it has
        self.exit_text = ""
        self._host = host
        self._port = port
        self._scratch = Scratch(local_directory)
        self._shares = config.get("shared-memory") if shared_memory is None else shared_memory
        timeout = parse_seconds(death_timeout)
        self._connect_timeout = CONNECT_TIMEOUT_S if timeout is None else timeout
        self._at_registration: Callable[[], None] | None = None
        self._at_close: list[Callable[[], Awaitable[None] | None]] = []
        self._closing: asyncio.Task[None] | None = None
        self._exit: asyncio.Future[ExitReason] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._listener: Listener | None = None
        self._lease = parse_seconds(config.get("worker-lease") if lease is None else lease) or 0.0
        self._scheduler = Registration(scheduler_address, credentials, self.incarnation, self._lease, self, self._hello)
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._perform: dict[type, Callable[[Any], None]] = {
            Bind: self._bind,
            Execute: self._execute,
            Chain: self._chain,
            Send: self._send,
            Drop: self._drop,
            Fetch: self._fetch,
            Define: self._define,
            Undefine: self._undefine,
            Cancel: self._cancel,
            Serve: self._serve,
            Beat: self._beat,
            Stop: self._stop,
        }

    def __repr__(self) -> str:
        state = f"exited: {self._exit.result()}" if self._exit is not None and self._exit.done() else self.address
        return f"<Worker {self.name} {state or 'not started'}, {self.nthreads} threads>"

    # ---- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> Self:
        """Connect to the scheduler and register.

        Returns
        -------
        Worker
            Itself.

        Raises
        ------
        ConnectionFailedError
            The scheduler cannot be reached within ``death_timeout``.
        AuthenticationError, VersionMismatchError, UsageError
            It refused us: the secret, the version, the name.
        """
        if self._exit is not None:
            raise UsageError(f"{self!r} has been started already; make another one")
        self._loop = asyncio.get_running_loop()
        self._exit = self._loop.create_future()
        self._store = Store()
        limit = self.memory_limit or memory_share("auto", self.nthreads)
        self._packer = Packer(Sharing(limit // _SHARED_PART) if self._shares else None)
        self._metrics = Metrics()
        self._scales = Scales(self._pause_at, self._handle)
        self._server = Server(self._store, self._packer, self._handle)
        self._fetcher = Fetcher(self._store, self._packer, self._handle, self.credentials, self.incarnation)
        try:
            await self._register()
        except BaseException as error:
            # Whoever waits with finished() is told as well; the text is in the exception.
            reached = not isinstance(error, (ConnectionFailedError, TimeoutError, asyncio.CancelledError))
            await self._end(ExitReason.REFUSED if reached else ExitReason.DEATH_TIMEOUT, str(error))
            raise
        logger.info("worker %s at %s registered with %s", self.name, self.address, self.scheduler_address)
        return self

    async def _register(self) -> None:
        link = await self._scheduler.dial(self._connect_timeout)
        self._listener = await listen(
            self._listen_address(link),
            credentials=self.credentials,
            incarnation=self.incarnation,
            own_role=Role.WORKER,
            accept=self._server.accept,
        )
        self.address = self._listener.address
        self.name = self.name or self.address
        self._machine = WorkerMachine(self.incarnation, self.nthreads, self.address, self._pause_at)
        self._executor = Executor(self.nthreads, self._on_reports, self, f"worker-{self.name}", self._board)
        await self._scheduler.register(self._connect_timeout)

    def _listen_address(self, link: Link) -> str:
        scheme, _, place = link.local.partition("://")
        if scheme == "inproc":
            return "inproc://"
        if self._host is not None:
            host = f"[{self._host}]" if ":" in self._host and not self._host.startswith("[") else self._host
        else:
            host = place.rpartition(":")[0]
        return f"{scheme}://{host}:{self._port}"

    def _hello(self) -> dict[str, Any]:
        return {
            "versions": {"python": f"{sys.version_info[0]}.{sys.version_info[1]}", "myscheduler": VERSION},
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "name": self.name,
            "address": self.address,
            "nthreads": self.nthreads,
            "memory_limit": self.memory_limit,
            "resources": self.resources,
            "lease": self._lease,
        }

    async def finished(self) -> ExitReason:
        """Wait until the worker has ended.

        Returns
        -------
        ExitReason
            Why; ``exit_text`` says more.
        """
        if self._exit is None:
            raise UsageError(f"{self!r} has not been started")
        return await asyncio.shield(self._exit)

    async def close(self, reason: str = "closed") -> None:
        """Leave the cluster. Running tasks are not waited for for long; what they return is dropped.

        Parameters
        ----------
        reason : str
            Told to the scheduler.
        """
        if self._exit is not None:
            await self._end(ExitReason.CLOSED, reason)

    def at_registration(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called when the scheduler has let the worker in, before any task can run."""
        self._at_registration = callback

    def at_close(self, callback: Callable[[], Awaitable[None] | None]) -> None:
        """Have ``callback`` called on the worker's loop when it closes, before the link to the scheduler does."""
        self._at_close.append(callback)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def local_directory(self) -> str:
        """A temporary directory of this worker's own, made when first asked for, removed when the worker closes."""
        return self._scratch.path

    @property
    def executing(self) -> int:
        """Tasks being run now, seceded ones included."""
        return self._machine.executing

    async def _end(self, exit_reason: ExitReason, text: str) -> None:
        await asyncio.shield(self._begin_end(exit_reason, text))

    def _begin_end(self, exit_reason: ExitReason, text: str) -> asyncio.Task[None]:
        if self._closing is None:
            self._closing = self._loop.create_task(self._close(exit_reason, text))
        return self._closing

    async def _close(self, exit_reason: ExitReason, text: str) -> None:
        assert self._exit is not None
        logger.info("worker %s ends: %s (%s)", self.name, exit_reason, text)
        self.exit_text = text
        if self._timer is not None:
            self._timer.cancel()
        for callback in self._at_close:
            try:
                outcome = callback()
                if outcome is not None:
                    await outcome
            except Exception:
                logger.exception("a callback for the close of worker %s failed", self.name)
        if self._listener is not None:
            self._listener.close()
        self._scales.close()
        for task in list(self._tasks):
            task.cancel()
        self._fetcher.close(text)
        self._server.close(text)
        self._scheduler.close(text)
        if self.address:
            self._executor.close()
            await self._executor.join(JOIN_TIMEOUT_S)
        self._packer.close()
        self._store.clear()
        await self._scheduler.wait_closed()
        self._scratch.remove()
        self._exit.set_result(exit_reason)

    # ---- events -----------------------------------------------------------------------------------------------------

    def on_welcome(self) -> None:
        """The scheduler has let us in for the first time."""
        if self._at_registration is not None:
            self._at_registration()

    def on_scheduler(self, messages: tuple[Message, ...]) -> None:
        """Messages of the scheduler."""
        self._handle(Received(messages))

    def on_disconnected(self, reason: str) -> None:
        """The scheduler is gone, or cannot be reached."""
        if self._closing is None:
            logger.warning("worker %s goes on without its scheduler for now: %s", self.name, reason)
            self._handle(Disconnected(reason))

    def on_end(self, exit_reason: ExitReason, text: str) -> None:
        """The scheduler does not take us again, or was not found again."""
        self._begin_end(exit_reason, text)

    def _on_reports(self, reports: Reports) -> None:
        if self._closing is not None:
            return
        if reports.overdue is not None:
            self._handle(Overdue(reports.overdue, bool(reports.final)))
            return
        if reports.moves:
            self._handle(Seceded(reports.moves))
        self._store.make_room()
        put = self._store.put
        for row, value in zip(reports.results, reports.values, strict=True):
            put(row[0], row[1], value, row[2])
        if reports.results or reports.errors or reports.final:
            self._handle(ExecutionEnded(reports.results, reports.errors, reports.final))
        if reports.unstarted:
            self._handle(NotStarted(list(reports.unstarted)))
        self._scales.note(self._store.nbytes)

    def _on_timer(self) -> None:
        self._timer_at = None
        self._handle(Tick())

    def _handle(self, event: Event) -> None:
        """The machine's turn: one event, then everything it wants done."""
        if self._closing is not None:
            return
        machine, perform = self._machine, self._perform
        try:
            for instruction in machine.handle(self._loop.time(), event):
                perform[type(instruction)](instruction)
        except Exception as error:
            # What the scheduler believes and what we do may differ from here on, so this life ends.
            logger.exception("worker %s failed", self.name)
            self._begin_end(ExitReason.FAILED, f"{type(error).__name__}: {error}")
            return
        if self._scheduler.link is not None:
            self._scheduler.link.flush()
        deadline = machine.next_deadline()
        if deadline != self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = deadline
            self._timer = None if deadline is None else self._loop.call_at(deadline, self._on_timer)

    # ---- instructions -----------------------------------------------------------------------------------------------

    def _bind(self, bind: Bind) -> None:
        self._executor.bind(bind.rows)

    def _execute(self, execute: Execute) -> None:
        submit, store = self._executor.submit, self._store
        for row in execute.rows:
            submit(row, inputs_of(row, store) if row[5] else _NO_INPUTS)

    def _chain(self, chain: Chain) -> None:
        made = [None, *[row[0] for row in chain.rows]]
        inputs = [inputs_of(row, self._store, key) for row, key in zip(chain.rows, made, strict=False)]
        self._executor.submit_chain(chain.rows, inputs)

    def _send(self, send: Send) -> None:
        assert self._scheduler.link is not None
        self._scheduler.link.queue(send.message)

    def _drop(self, drop: Drop) -> None:
        self._store.drop(drop.copies)
        self._packer.forget(drop.copies)

    def _fetch(self, fetch: Fetch) -> None:
        self._fetcher.start(fetch)

    def _define(self, define: Define) -> None:
        self._executor.functions.define(define.functions)

    def _undefine(self, undefine: Undefine) -> None:
        self._executor.functions.undefine(undefine.func_ids)

    def _cancel(self, cancel: Cancel) -> None:
        caught = self._executor.cancel(cancel.copies, cancel.running)
        if caught:
            # Not from inside the performance of a batch of instructions: those after this one come first.
            self._loop.call_soon(self._handle, NotStarted(caught))

    def _serve(self, serve: Serve) -> None:
        task = self._loop.create_task(self._serve_scheduler(serve))
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    async def _serve_scheduler(self, serve: Serve) -> None:
        packed = await self._packer.pack(self._store, serve.rows)
        link = self._scheduler.link
        assert link is not None
        await link.drain()
        link.send((DATA, serve.request, packed.rows, packed.missing))

    def _beat(self, beat: Beat) -> None:
        self._scales.weigh(self._store.nbytes)
        self._executor.synchronise_clock()
        self._fetcher.sweep()
        self._server.sweep()
        self._packer.sweep(self._store)
        self._scheduler.look()
        link = self._scheduler.link
        assert link is not None
        fetched, served, ours = self._fetcher.traffic(), self._server.traffic(), self._scheduler.traffic()
        metrics = {
            **self._metrics.sample(),
            "managed": self._store.nbytes,
            "executing": beat.executing,
            "ready": beat.ready,
            "paused": beat.paused,
            "bytes_in": fetched[0] + served[0] + ours[0],
            "bytes_out": fetched[1] + served[1] + ours[1],
            "spilled": 0,
            "shared": self._packer.shared_bytes,
            "mapped": mapped_bytes(),
            "round_trip": link.round_trip(),
        }
        link.send((HEARTBEAT, metrics))

    def _stop(self, stop: Stop) -> None:
        self._begin_end(ExitReason.RESTART if stop.mode == "restart" else ExitReason.CLOSED, stop.reason)
