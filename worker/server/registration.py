"""The worker's connection with its scheduler: made with patience at the start, and made again whenever it breaks."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from ...base.backoff import ANSWER_TIMEOUT_S, DIAL_TIMEOUT_S, Backoff
from ...base.credentials import Credentials
from ...base.errors import ConnectionFailedError, MySchedulerError
from ...protocol.messages import GOODBYE, HELLO, REFUSED, WELCOME, Message, Role
from ...transport import Link, connect
from ..exits import ExitReason, RefusedError, refusal

if TYPE_CHECKING:
    from ...protocol.codec import Frame

logger = logging.getLogger(__name__)

#: For how many seconds to ask again for a name that is taken, and how often: a worker that has died with its machine, or behind
#: a broken network, is given up after 12 s.
NAME_TAKEN_S: Final = 15.0
NAME_PAUSE_S: Final = 1.0


class Owner(Protocol):
    """Whose connection it is: the worker."""

    def on_welcome(self) -> None:
        """The scheduler has let us in for the first time; messages follow."""

    def on_scheduler(self, messages: tuple[Message, ...]) -> None:
        """Messages of the scheduler."""

    def on_disconnected(self, reason: str) -> None:
        """The link is gone; another one is being made."""

    def on_end(self, exit_reason: ExitReason, text: str) -> None:
        """There will be no other one."""


class Registration:
    """One worker's place at its scheduler.

    Parameters
    ----------
    address : str
        Of the scheduler.
    credentials : Credentials or None
        See ``Worker``.
    incarnation : str
        The worker's.
    lease : float
        For how many seconds to try to reach a scheduler again that was lost.
    owner : Owner
        Is told what comes.
    hello : callable
        Says who the worker is.
    """

    def __init__(
        self,
        address: str,
        credentials: Credentials | None,
        incarnation: str,
        lease: float,
        owner: Owner,
        hello: Callable[[], dict[str, Any]],
    ) -> None:
        self.address = address
        self._credentials = credentials
        self._incarnation = incarnation
        self._lease = lease
        self._owner = owner
        self._hello = hello
        #: the last one that was let in, or is about to be for the first time; closed while another one is being made
        self.link: Link | None = None
        self._connection: _Connection | None = None
        self._redialling: asyncio.Task[None] | None = None
        self._name_taken_since: float | None = None
        self._closed = False
        self._earlier = (0, 0)  # bytes in and out of the links before this one

    def traffic(self) -> tuple[int, int]:
        """Bytes received and sent since the start."""
        link = self.link
        return self._earlier if link is None else (self._earlier[0] + link.bytes_in, self._earlier[1] + link.bytes_out)

    def look(self) -> None:
        """Give up a link that leads nowhere any more."""
        if self.link is not None:
            self.link.give_up_unanswered()

    # ---- the first time ---------------------------------------------------------------------------------------------

    async def dial(self, timeout: float) -> Link:
        """Reach the scheduler, and prove who we are."""
        self._connection, self.link = await self._connect(timeout)
        return self.link

    async def register(self, timeout: float) -> None:
        """Say HELLO and wait until we are in."""
        while True:
            assert self.link is not None
            assert self._connection is not None
            self.link.send((HELLO, self._hello()))
            try:
                async with asyncio.timeout(timeout):
                    await self._connection.welcome
            except TimeoutError:
                text = f"the scheduler at {self.address} let us in but did not answer within {timeout:g} s"
                raise ConnectionFailedError(text) from None
            except RefusedError as error:
                if not self._may_be_over_soon(error):
                    raise refusal(error.code, error.text) from None
            else:
                return
            await asyncio.sleep(NAME_PAUSE_S)
            await self.dial(timeout)

    def _may_be_over_soon(self, error: RefusedError) -> bool:
        """Whether whoever has our name may be dead, and nobody has noticed yet: who keeps us would not try again."""
        now = asyncio.get_running_loop().time()
        if error.code != "name":
            return False
        if self._name_taken_since is None:
            self._name_taken_since = now
            logger.warning(
                "%s; asking again for %g s, in case that one is about to be given up", error.text, NAME_TAKEN_S
            )
        return now - self._name_taken_since < NAME_TAKEN_S

    async def _connect(self, timeout: float) -> tuple[_Connection, Link]:
        connection = _Connection(self)
        link = await connect(
            self.address,
            credentials=self._credentials,
            role=Role.WORKER,
            incarnation=self._incarnation,
            handler=connection,
            timeout=timeout,
        )
        return connection, link

    # ---- again ------------------------------------------------------------------------------------------------------

    async def _redial(self) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff(loop.time(), self._lease)
        self._name_taken_since = None
        while True:
            try:
                await self._resume()
            except RefusedError as error:
                if not self._may_be_over_soon(error):
                    self._owner.on_end(error.exit_reason, error.text)
                    return
                problem = error.text
            except (MySchedulerError, OSError) as error:
                problem = str(error) or f"it did not answer within {ANSWER_TIMEOUT_S:g} s"
            except Exception as error:  # a bug of ours: a worker that nobody can reach is worse than none
                logger.exception("looking for the scheduler at %s failed", self.address)
                self._owner.on_end(ExitReason.FAILED, f"{type(error).__name__}: {error}")
                return
            else:
                logger.info("the scheduler at %s has been reached again", self.address)
                return
            wait = backoff.next_wait(loop.time(), random.random())
            if wait is None:
                text = (
                    f"the scheduler at {self.address} was lost and not found again within {self._lease:g} s: {problem}"
                )
                self._owner.on_end(ExitReason.LOST_SCHEDULER, text)
                return
            await asyncio.sleep(wait)

    async def _resume(self) -> None:
        """One attempt."""
        assert self.link is not None
        connection, link = await self._connect(min(DIAL_TIMEOUT_S, self._lease))
        link.send((HELLO, {**self._hello(), "resume": (self.link.epoch, 0)}))
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await connection.welcome
        finally:
            if self.link is not link:
                connection.welcome.cancel()
                link.abort("given up")

    # ---- what comes in ----------------------------------------------------------------------------------------------

    def welcomed(self, link: Link, epoch: int) -> None:
        """The scheduler has let us in."""
        link.epoch = epoch
        before = self.link
        if before is link:
            self._owner.on_welcome()
        else:
            self._earlier = self.traffic()
            self.link = link

    def received(self, link: Link, messages: tuple[Message, ...]) -> None:
        """It says something."""
        if link is self.link:
            self._owner.on_scheduler(messages)

    def lost(self, link: Link, reason: str) -> None:
        """A link on which we had been let in is gone."""
        if link is self.link and not self._closed:
            self._owner.on_disconnected(reason)
            self._redialling = asyncio.get_running_loop().create_task(self._redial(), name="find the scheduler again")

    # ---- the end ----------------------------------------------------------------------------------------------------

    def close(self, reason: str) -> None:
        """Leave, or stop looking for the scheduler."""
        self._closed = True
        if self._redialling is not None:
            self._redialling.cancel()
        if self.link is not None:
            self.link.send((GOODBYE, reason))
            self.link.close(reason)

    async def wait_closed(self) -> None:
        """Wait until nothing is left of the connection."""
        if self._redialling is not None:
            await asyncio.wait([self._redialling])
        if self.link is not None:
            await self.link.wait_closed()


class _Connection:
    """What one link delivers to, which may turn out to be one too late."""

    def __init__(self, registration: Registration) -> None:
        self.welcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._registration = registration

    def on_messages(self, link: Link, frame: Frame) -> None:
        if not self.welcome.done():
            for message in frame.messages:
                if message[0] == REFUSED:
                    self.welcome.set_exception(RefusedError(message[1], message[2]))
                    return
                if message[0] == WELCOME:
                    self._registration.welcomed(link, message[1]["epoch"])
                    self.welcome.set_result(None)
        self._registration.received(link, frame.messages)

    def on_closed(self, link: Link, reason: str) -> None:
        if self.welcome.done():
            if not self.welcome.cancelled() and self.welcome.exception() is None:
                self._registration.lost(link, reason)
            return
        text = f"the scheduler at {self._registration.address} closed the connection: {reason}"
        self.welcome.set_exception(ConnectionFailedError(text))
