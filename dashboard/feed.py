"""The link to the scheduler: asks for numbers and listens to finished runs while somebody looks, and only then.

Nobody looking costs the scheduler nothing and us next to nothing: there is a link, so that we notice when the scheduler
goes, but nothing is asked and nothing streamed. There is no message to stop the stream, so a while after the last page
was closed the link is made anew.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, Final

from ..base.credentials import Credentials
from ..base.errors import ClosedError, ClusterError, MySchedulerError, UsageError
from ..base.ids import IdSource
from ..protocol.codec import Frame
from ..protocol.messages import CALL, EVENTS, GOODBYE, HELLO, OBSERVE, REFUSED, REPLY, WELCOME, Role
from ..transport import Link, connect
from .model import Model

logger = logging.getLogger(__name__)

#: Seconds between questions while somebody looks.
INTERVAL_S: Final = 0.5
#: Seconds that the stream goes on after the last page was closed, so that a reload finds its history.
LINGER_S: Final = 60.0
#: Seconds for which an answer is fresh enough for ``refresh``.
FRESH_S: Final = 1.0
#: Seconds that ``refresh`` waits.
PATIENCE_S: Final = 2.0
#: Questions for a page that wait for their answers at a time: many pages must not hold up the scheduler.
QUESTIONS_MAX: Final = 2
#: Seconds to wait for an answer. A scheduler under load takes its time; one that hangs is found by its link.
REPLY_TIMEOUT_S: Final = 30.0
#: Seconds to go on trying after the scheduler was lost.
RECONNECT_S: Final = 15.0
_PAUSE_S: Final = 0.5


class RefusedError(ClusterError):
    """The scheduler does not want us; trying again would not help."""


class Feed:
    """Keeps a model up to date.

    Parameters
    ----------
    address : str
        The scheduler's.
    credentials : Credentials or None
        Only the observers' secret is needed; None for an in-process scheduler without any.
    model : Model
        What to keep up to date.
    reconnect : float
        Seconds to go on trying after the scheduler was lost.
    linger : float
        Seconds that the stream goes on after the last page was closed.
    """

    def __init__(
        self,
        address: str,
        credentials: Credentials | None,
        model: Model,
        *,
        reconnect: float = RECONNECT_S,
        linger: float = LINGER_S,
    ) -> None:
        self.model = model
        self._address = address
        self._credentials = credentials
        self._reconnect = reconnect
        self._linger = linger
        self._session: _Session | None = None
        self._watchers: dict[int, Callable[[], None]] = {}
        self._numbers = 0
        self._idle_since = 0.0
        self._answered = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._turns = asyncio.Semaphore(QUESTIONS_MAX)
        self._met: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __repr__(self) -> str:
        return f"<Feed from {self._address}: {self.model.connection}, {len(self._watchers)} watching>"

    # ---- for pages --------------------------------------------------------------------------------------------------

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Be told after each update, until the returned function is called; the stream runs as long as anybody is."""
        self._numbers += 1
        number = self._numbers
        self._watchers[number] = changed
        self._wake.set()

        def stop() -> None:
            if self._watchers.pop(number, None) is not None and not self._watchers:
                self._idle_since = asyncio.get_running_loop().time()
                self._wake.set()

        return stop

    async def refresh(self) -> None:
        """Ask the scheduler for its numbers if those in the model are old; do nothing if it cannot be asked."""
        session = await self._meeting()
        if session is None or asyncio.get_running_loop().time() - self._answered < FRESH_S:
            return
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(session))
        await _any_of(self._asking, timeout=PATIENCE_S)

    async def ask(self, method: str, *args: Any) -> Any:
        """Ask the scheduler about something that is not in the model.

        Parameters
        ----------
        method : str
            Of a CALL that observers may make.
        *args : object
            Its arguments; the scheduler drops peers that send bad ones.

        Returns
        -------
        object
            The answer.

        Raises
        ------
        ClusterError
            The scheduler is not there, does not answer, or does not want to.
        """
        session = await self._meeting()
        if session is None:
            raise ClosedError(self.model.connection_text or "the scheduler cannot be reached")
        async with self._turns:
            try:
                return await asyncio.wait_for(session.call(method, *args), REPLY_TIMEOUT_S)
            except TimeoutError:
                raise ClosedError(f"the scheduler did not answer within {REPLY_TIMEOUT_S:g} s") from None

    async def _meeting(self) -> _Session | None:
        """The present connection; right after the start, wait for the first."""
        if self.model.connection == "connecting":
            await _any_of(self._met, timeout=PATIENCE_S)
        return self._session

    # ---- the link ---------------------------------------------------------------------------------------------------

    async def run(self) -> str:
        """Stay connected until the scheduler has closed; its reason.

        Raises
        ------
        ConnectionFailedError
            It was lost, or never found, and did not come back in time.
        AuthenticationError, RefusedError
            It does not want us.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._reconnect
        while True:
            session = _Session(self.model)
            try:
                link = await connect(
                    self._address,
                    credentials=self._credentials,
                    role=Role.OBSERVER,
                    incarnation=IdSource().incarnation(),
                    handler=session,
                    timeout=max(deadline - loop.time(), 0.1),
                )
            except MySchedulerError as error:
                self._show_lost(str(error))
                raise
            try:
                reason = await self._serve(session, link)
            finally:
                self._session = None
                link.close("the dashboard is closing")
            if session.farewell is not None:
                self._show_lost(session.farewell or reason)
                return session.farewell or reason
            deadline = loop.time() + self._reconnect
            if reason:
                logger.info("lost the scheduler: %s", reason)
                self._show_lost(f"{reason}. Trying to reach it again")
                await asyncio.sleep(_PAUSE_S)

    async def _serve(self, session: _Session, link: Link) -> str:
        """Say hello, then follow the scheduler; why the link is gone, or nothing if it was left to end the stream."""
        link.send((HELLO, _hello()))
        closed = session.closed
        await _any_of(closed, session.welcomed, timeout=REPLY_TIMEOUT_S)
        if closed.done():
            return closed.result()
        if not session.welcomed.done():
            return "it does not answer"
        session.link = link
        if session.refusal is not None:
            raise RefusedError(session.refusal)
        self._meet(session)
        observing = False
        loop = asyncio.get_running_loop()
        while not closed.done():
            self._wake.clear()
            pause: float | None = None
            if self._watchers:
                if not observing:
                    observing = True
                    link.send((OBSERVE,))
                await self._ask(session)
                pause = INTERVAL_S
            elif observing:
                pause = self._idle_since + self._linger - loop.time()
                if pause <= 0:
                    return ""
            await self._pause(closed, pause)
        return closed.result()

    def _meet(self, session: _Session) -> None:
        """Forget what an earlier scheduler said."""
        if session.epoch != self.model.epoch:
            if self.model.epoch:
                self.model.clear()
            self.model.epoch = session.epoch
        self.model.set_connection("connected")
        self._session = session
        if not self._met.done():
            self._met.set_result(None)
        self._notify()

    async def _pause(self, closed: asyncio.Future[str], seconds: float | None) -> None:
        """Until there is something to do: a page was opened or the last one closed, time is up, the link is gone."""
        if self._watchers:
            await _any_of(closed, timeout=seconds)
            return
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            await _any_of(closed, woken, timeout=seconds)
        finally:
            woken.cancel()

    async def _ask(self, session: _Session) -> None:
        loop = asyncio.get_running_loop()
        asked = loop.time()
        try:
            overview = await asyncio.wait_for(session.call("overview"), REPLY_TIMEOUT_S)
        except (ClusterError, TimeoutError) as error:
            logger.debug("no overview: %s", error)
            return
        now = time.time()
        self._answered = loop.time()
        self.model.answer_s = self._answered - asked
        if isinstance(overview, Mapping):
            self.model.set_overview(now, overview)
        self.model.tick(now)
        self._notify()

    def _show_lost(self, reason: str) -> None:
        self.model.set_connection("lost", reason)
        self._notify()

    def _notify(self) -> None:
        for changed in list(self._watchers.values()):
            changed()


class _Session:
    """One connection: sorts what comes in on it."""

    def __init__(self, model: Model) -> None:
        loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[str] = loop.create_future()
        self.welcomed: asyncio.Future[None] = loop.create_future()
        self.refusal: str | None = None
        self.farewell: str | None = None
        self.epoch = 0
        self.link: Link | None = None
        self._model = model
        self._requests = 0
        self._replies: dict[int, asyncio.Future[Any]] = {}

    def call(self, method: str, *args: Any) -> asyncio.Future[Any]:
        """Ask a question; the answer, or ClusterError."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.link is None or self.closed.done():
            answer.set_exception(ClosedError("the scheduler is gone"))
            return answer
        self._requests += 1
        self._replies[self._requests] = answer
        self.link.send((CALL, self._requests, method, args))
        return answer

    def on_messages(self, link: Link, frame: Frame) -> None:
        """Called by the link."""
        for message in frame.messages:
            op = message[0]
            if op == EVENTS:
                self._model.add_runs(message[1])
            elif op == REPLY:
                self._on_reply(message[1], message[2], message[3])
            elif op == WELCOME:
                self.epoch = link.epoch = message[1].get("epoch", 0)
                self._welcome()
            elif op == REFUSED:
                self.refusal = message[2]
                self._welcome()
            elif op == GOODBYE:
                self.farewell = message[1]

    def _welcome(self) -> None:
        if not self.welcomed.done():
            self.welcomed.set_result(None)

    def _on_reply(self, request: int, ok: bool, value: Any) -> None:
        answer = self._replies.pop(request, None)
        if answer is None or answer.done():
            return
        if ok:
            answer.set_result(value)
        else:
            answer.set_exception(ClusterError(str(value[1]) if isinstance(value, tuple) else str(value)))

    def on_closed(self, link: Link, reason: str) -> None:
        """Called by the link."""
        if not self.closed.done():
            self.closed.set_result(reason or "the connection was closed")
        for answer in self._replies.values():
            if not answer.done():
                answer.set_exception(ClosedError(f"the scheduler is gone: {reason}"))
        self._replies.clear()


async def _any_of(*futures: asyncio.Future[Any], timeout: float | None = None) -> None:
    await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)


def _hello() -> dict[str, Any]:
    try:
        own = version("myscheduler")
    except ModuleNotFoundError as error:
        raise UsageError("myscheduler is not installed; run `pip install -e .` in its folder") from error
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {"versions": {"python": python, "myscheduler": own}, "host": socket.gethostname(), "pid": os.getpid()}
