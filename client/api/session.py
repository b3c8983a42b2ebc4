"""The shell around the client's machine: one lock, one link to the scheduler, one wake-up per batch.

Users' threads change the machine under ``lock`` and wake the loop; only the loop touches the link.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from ...base import errors
from ...base.backoff import ATTEMPT_S
from ...base.credentials import Credentials
from ...base.digest import KeyedDigest
from ...base.errors import ClosedError, ClusterError, ConnectionFailedError, MySchedulerError, ProtocolError, UsageError
from ...base.ids import IdSource
from ...base.keys import Key
from ...base.limits import KIB
from ...protocol.messages import GOODBYE, Message, Role
from ...protocol.stream import ACK_AFTER_S
from ...transport import Link, connect
from ...transport.wakeup import Wakeup
from ..comeback import Comeback
from ..effects import Effects
from ..machine import ClientMachine
from ..records import Record
from . import hooks
from .datalinks import DataLinks
from .loop import LoopThread

if TYPE_CHECKING:
    from ...protocol.codec import Frame
    from .client import Client

T = TypeVar("T")
#: Of the seconds of one attempt to come back, those to be connected at all.
_REACH_S: Final = 3.0
#: How often to look whether the scheduler's machine can be reached at all.
_LOOK_S: Final = 2.0
#: Seconds until a future that is gone is reported at the latest, if there is nothing else to say.
_RELEASE_AFTER_S: Final = 0.005
#: Futures that are gone and are reported in one turn of the loop, which takes some milliseconds.
_RELEASED_PER_TURN: Final = 8192
#: So many bytes leave at once: what has arrived when the connection breaks need not be sent again.
_FLUSH_BYTES: Final = 32 * KIB
#: Shared by the clients of ``inproc://`` schedulers, which have no credentials and live in this process.
_SECRET_HERE: Final = secrets.token_bytes(32)
logger = logging.getLogger("myscheduler.client")


class NoWorkersError(ClusterError):
    """There is no worker that may do this, yet."""


#: What the scheduler's refusals are raised as; the text comes along. Names of our own errors are understood as well.
_CODES: Final[dict[str, type[MySchedulerError]]] = {
    "usage": UsageError,
    "version": errors.VersionMismatchError,
    "name": UsageError,
    "closing": ClosedError,
    "closed": ClosedError,
    "lost": errors.LostDataError,
    "cancelled": errors.CancelledError,
    "no-workers": NoWorkersError,
}


class Waiter(Protocol):
    """Somebody who waits for futures."""

    def settled(self, records: list[Record]) -> None:
        """These have their outcome now. Called on the loop's thread, without the lock."""


class Session:
    """One connection to a scheduler and all that depends on it.

    Parameters
    ----------
    client : Client
        Whose futures these are.
    loop : asyncio.AbstractEventLoop
        The loop that serves the link.
    thread : LoopThread, optional
        The thread that runs the loop, when users' threads may block on it.
    """

    def __init__(self, client: Client, loop: asyncio.AbstractEventLoop, thread: LoopThread | None = None) -> None:
        self.client = client
        self.loop = loop
        self.thread = thread
        self.incarnation = IdSource().incarnation()
        self.machine = ClientMachine()
        self.lock = threading.Lock()
        self.link: Link | None = None
        self.address = ""
        self.cluster = ""  # the cluster's random name, once welcome
        self.data = DataLinks(self.incarnation)
        self.wakeups = 0  # batches handed to the loop, for tests and benchmarks
        self._info: dict[str, Any] = {}  # how we introduce ourselves
        self._reconnecting: asyncio.Task[None] | None = None
        self._comeback = Comeback()
        self._ack_timer: asyncio.TimerHandle | None = None
        self._look_timer: asyncio.TimerHandle | None = None
        self._dropped: deque[Record] = deque()
        self._wakeup: Wakeup | None = None  # while there is somebody to tell
        self._releasing = False  # a timer will see to what is dropped until then

    @cached_property
    def digest_of_large(self) -> KeyedDigest:
        """Says what data is: the same for all clients of the cluster."""
        credentials = self.data.credentials
        return KeyedDigest(_SECRET_HERE if credentials is None else credentials.secret(Role.CLIENT))

    # ---- lifetime ---------------------------------------------------------------------------------------------------

    async def connect(
        self, address: str, credentials: Credentials | None, info: dict[str, Any], timeout: float
    ) -> dict[str, Any]:
        """Dial the scheduler, prove ourselves, say HELLO; returns WELCOME's info.

        Raises
        ------
        ConnectionFailedError
            Nobody answers there, or not in time.
        AuthenticationError
            The credentials are wrong.
        VersionMismatchError
            The scheduler speaks another version.
        """
        self.address = address
        self.data.credentials = credentials
        self._info = info
        welcome = await self._join(timeout)
        self._wakeup = Wakeup(self.loop, self.flush)
        self.cluster = str(welcome.get("cluster", ""))
        return welcome

    async def _join(self, timeout: float, reach_timeout: float | None = None) -> dict[str, Any]:
        """Dial the scheduler and say HELLO, for the first time or again."""
        address, deadline = self.address, self.loop.time() + timeout
        self.link = await connect(
            address,
            credentials=self.data.credentials,
            role=Role.CLIENT,
            incarnation=self.incarnation,
            handler=self,
            timeout=timeout,
            reach_timeout=reach_timeout,
        )
        try:
            async with asyncio.timeout_at(deadline):
                welcome: dict[str, Any] = await self.ask(lambda token: self.machine.hello(token, self._info))
        except TimeoutError:
            self._hang_up("no welcome in time")
            raise ConnectionFailedError(
                f"the scheduler at {address} accepted the connection but did not answer within {timeout:g} s; "
                "it may be overloaded: try again, or with a larger timeout="
            ) from None
        except BaseException:
            self._hang_up("not welcome")
            raise
        if self._look_timer is None:
            self._look()
        return welcome

    def _look(self) -> None:
        self._look_timer = self.loop.call_later(_LOOK_S, self._look)
        if self.link is not None:
            self.link.give_up_unanswered()

    def _rest(self) -> None:
        """There is no scheduler any more, and will not be."""
        if self._look_timer is not None:
            self._look_timer.cancel()
        if self._wakeup is not None:
            self._wakeup.close()

    def _hang_up(self, reason: str) -> None:
        link, self.link = self.link, None
        if link is not None:
            link.close(reason)

    async def close(self, reason: str) -> None:
        """Leave on purpose: tell the scheduler, cancel all futures, close all links. Idempotent."""
        link, self.link = self.link, None
        self._rest()
        reconnecting = self._reconnecting
        if reconnecting is not None:
            reconnecting.cancel()
        if link is not None and not link.closed:
            with self.lock:
                messages = self.machine.take_outbox()
            self._send(link, [*messages, (GOODBYE, reason)])
        with self.lock:
            effects = self.machine.close(reason)
        self._perform(effects)
        self.data.close(reason)
        if link is not None:
            link.close(reason)
        if self.thread is None:  # the loop may end when we return, and what is not closed by then never will be
            if reconnecting is not None:
                await asyncio.wait((reconnecting,))
            await self.data.wait_closed()
            if link is not None:
                await link.wait_closed()

    @property
    def is_open(self) -> bool:
        """Whether the scheduler can be asked things; while the client is away, the answers take longer."""
        return bool(self.machine.epoch) and not self.machine.closed

    @property
    def is_away(self) -> bool:
        """Whether the connection was lost and is being made again."""
        return bool(self.machine.away)

    # ---- coming back ------------------------------------------------------------------------------------------------

    async def _reconnect(self) -> None:
        """Dial until the scheduler takes us back, or we have been away for too long."""
        machine = self.machine
        while machine.away:
            began, problem = self.loop.time(), "connections break before anything has got through"
            self._comeback.lost(began, machine.progress, machine.grace)
            logger.warning(
                "client %s: the connection to the scheduler was lost (%s); trying to come back for %g s",
                self.incarnation,
                machine.away,
                machine.grace,
            )
            while machine.away:
                wait = self._comeback.next_wait(self.loop.time(), random.random())
                if wait is None:
                    self._cut_off(f"{machine.away}; no way back within {machine.grace:g} s: {problem}")
                    return
                await asyncio.sleep(wait)
                try:
                    await self._join(max(min(ATTEMPT_S, machine.grace), 1.0), reach_timeout=_REACH_S)
                except Exception as error:  # noqa: BLE001 (whatever it is, futures must not wait for ever)
                    problem = str(error)
                    if machine.farewell:
                        self._cut_off(machine.away)
            if not machine.closed:
                now = self.loop.time()
                self._comeback.back(now)
                logger.warning(
                    "client %s: connected to the scheduler again after %.1f s", self.incarnation, now - began
                )

    def _cut_off(self, reason: str) -> None:
        """There is no way back."""
        if not self.machine.closed:
            with self.lock:
                effects = self.machine.disconnected(reason)
            self._perform(effects)
            self._ended(reason)

    def _ended(self, reason: str) -> None:
        # A scheduler that said goodbye was stopped by somebody; one that did not is trouble.
        level = logging.INFO if self.machine.farewell and not self._reconnecting else logging.WARNING
        logger.log(level, "client %s: %s", self.incarnation, self.machine.closed)
        self._rest()
        self.data.close(reason)

    # ---- the link's handler, on the loop ----------------------------------------------------------------------------

    def on_messages(self, link: Link, frame: Frame) -> None:
        """What the scheduler said."""
        try:
            with self.lock:
                effects = self.machine.handle(frame.messages)
                pending = self.machine.has_outbox
        except ProtocolError as error:
            link.reject(str(error))
            return
        link.epoch = self.machine.epoch
        self._perform(effects)
        if pending:
            self.flush()
        if self.machine.owes_ack and self._ack_timer is None:
            self._ack_timer = self.loop.call_later(ACK_AFTER_S, self._acknowledge)

    def _acknowledge(self) -> None:
        self._ack_timer = None
        with self.lock:
            self.machine.acknowledge()
        self.flush()

    def on_closed(self, link: Link, reason: str) -> None:
        """The link is gone, whoever closed it."""
        if link is not self.link:
            return  # by us
        machine = self.machine
        with self.lock:
            effects = machine.disconnected(reason) if link.rejected else machine.link_lost(reason)
        self._perform(effects)
        if machine.closed:
            self._ended(reason)
        elif self._reconnecting is None or self._reconnecting.done():
            self._reconnecting = self.loop.create_task(self._reconnect())

    def _perform(self, effects: Effects) -> None:
        for waiter, records in effects.settled.items():
            waiter.settled(records)
        for token, ok, value in effects.answers:
            if not token.done():
                token.set_result((ok, value))

    # ---- from users' threads ----------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Have the outbox flushed soon. Any thread, even while it holds the lock or collects garbage."""
        if self._wakeup is not None:
            self._wakeup.ask()

    def drop(self, record: Record) -> None:
        """A future is gone. Called by the garbage collector at any moment, so it must not take the lock."""
        self._dropped.append(record)
        if not self._releasing:
            self.wake()

    def flush(self) -> None:
        """Send what there is to send; on the loop."""
        self.wakeups += 1
        dropped = self._dropped
        with self.lock:
            # By count: others may append meanwhile. What is left waits for the timer.
            self.machine.release([dropped.popleft() for _ in range(min(len(dropped), _RELEASED_PER_TURN))])
            messages = self.machine.take_outbox()
        if self.link is not None:
            self._send(self.link, messages)
        if not self._releasing:
            self._releasing = True
            self.loop.call_later(_RELEASE_AFTER_S, self._release)

    def _release(self) -> None:
        """Report what was dropped meanwhile. Most often it has been said with something else, at no cost of its own."""
        self._releasing = False  # from here on, whoever drops a future wakes us again
        if self._dropped:
            self.flush()

    def _send(self, link: Link, messages: list[Message]) -> None:
        for index, message in enumerate(messages):
            try:
                link.queue(message)
            except UsageError as error:
                with self.lock:
                    effects = self.machine.unsendable(messages, index, str(error))
                self._perform(effects)
            if link.pending >= _FLUSH_BYTES:
                link.flush()
        link.flush()

    def run(self, coro: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine on the loop and block until it ends; inside a task, the slot goes to others meanwhile."""
        assert self.thread is not None, "asynchronous clients await"
        with hooks.around_wait():
            return self.thread.run(coro, timeout)

    def stream(
        self, start: Callable[[Callable[[T], None]], Coroutine[Any, Any, None]], timeout: float | None
    ) -> Generator[T, None, None]:
        """As ``run``, for a coroutine that hands over parts: they come out here, on the calling thread."""
        assert self.thread is not None, "asynchronous clients await"
        with hooks.around_wait():
            yield from self.thread.stream(start, timeout)

    # ---- questions, on the loop -------------------------------------------------------------------------------------

    async def ask(self, start: Callable[[asyncio.Future[tuple[bool, Any]]], object]) -> Any:
        """Start a request under the lock, send it, await its answer; a refusal is raised."""
        token: asyncio.Future[tuple[bool, Any]] = self.loop.create_future()
        with self.lock:
            start(token)
        self.flush()
        try:
            ok, value = await token
        except asyncio.CancelledError:
            with self.lock:
                self.machine.forget_request(token)
            raise
        if not ok:
            raise refusal(*value)
        return value

    async def call(self, method: str, *args: Any) -> Any:
        """Ask the scheduler a question by name."""
        return await self.ask(lambda token: self.machine.call(token, method, args))

    async def fetch(self, keys: Iterable[Key]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Values through the scheduler: rows (key, payload), and rows (key, reason) of those it could not get."""
        wanted = tuple(keys)
        rows, missing = await self.ask(lambda token: self.machine.fetch(token, wanted))
        return rows, missing


def refusal(code: str, text: str) -> MySchedulerError:
    """The exception for a request that the scheduler refused.

    Examples
    --------
    >>> refusal("usage", "there is no worker 'x'")
    UsageError("there is no worker 'x'")
    """
    kind = _CODES.get(code) or getattr(errors, code, ClusterError)
    if not (isinstance(kind, type) and issubclass(kind, MySchedulerError)):
        kind = ClusterError
    return kind(text)
