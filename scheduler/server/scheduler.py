"""The scheduler daemon: links in, one machine, links out. All decisions are the machine's."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from ...base import config
from ...base.credentials import Credentials
from ...base.errors import ClosedError, UsageError
from ...base.ids import Epoch, IdSource
from ...base.limits import KIB
from ...base.system import cpu_count
from ...base.units import parse_seconds
from ...base.version import VERSION
from ...protocol.messages import GOODBYE, HELLO, REFUSED, Message, Role
from ...protocol.stream import UNCOUNTED
from ...transport import Link, Listener, listen
from ...transport.attentive import AttentiveSelector
from ...transport.stuck import StuckLinks
from ..events import Disconnect, Event, Heard, PeerJoined, PeerLeft, Received, Send, Shutdown, Strays, Warn
from ..journal import PICTURE_TASKS_MAX, ROOM_BYTES
from ..machine import SchedulerMachine
from ..state import ASSIGNED, QUEUED
from ..unsendable import describe, halves
from .collecting import Surplus, give_back

if TYPE_CHECKING:
    from ...protocol.codec import Frame

logger = logging.getLogger("myscheduler.scheduler")
#: So many bytes leave at once: what has arrived when a connection breaks need not be sent again.
_FLUSH_BYTES: Final = 32 * KIB
#: If the loop comes to the next frame later than this after a turn, it has slept, so nothing else was ready.
_SLEPT_S: Final = 50e-6
#: When the only task there is has begun or ended, the scheduler waits awake for so long: for its result, or for the next one.
_ATTENTION_S: Final = 600e-6
#: Seconds between two looks at who was heard of, at least.
_LOOK_S: Final = 0.1


class SchedulerServer:
    """A scheduler that listens on one or more addresses.

    Parameters
    ----------
    credentials : Credentials
        Whoever connects over TCP proves one of these secrets first.
    host : str
        Interface to listen on.
    port : int
        0 for any free one.
    sock : socket.socket, optional
        A listening socket to serve instead of ``host`` and ``port``.
    inproc : str, optional
        Name to listen on in this process as well (``inproc://name``).
    tcp : bool
        Whether to listen on TCP at all.
    tls : bool
        Whether it is encrypted; ``credentials`` must hold the scheduler's certificate then.
    dashboard : str, optional
        Link of the dashboard, for clients to show.
    journal : int
        Bytes that the journal of the last minutes may take; 0 for none.
    name : str
        Of the cluster.
    client_grace : float, optional
        Seconds that a client which has lost its connection is expected back; as configured (``client-grace``) by default.
    attentive : AttentiveSelector, optional
        Of the loop, if that may wait awake.
    seed : int, optional
        Makes the identities repeatable, for tests.

    Examples
    --------
    >>> async def example():
    ...     server = SchedulerServer(Credentials.generate(), port=0)
    ...     await server.start()
    ...     await server.close("done")
    ...     return await server.finished()
    >>> asyncio.run(example())
    'done'
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        host: str = "127.0.0.1",
        port: int = 8786,
        sock: socket.socket | None = None,
        inproc: str | None = None,
        tcp: bool = True,
        tls: bool = False,
        dashboard: str | None = None,
        journal: int = ROOM_BYTES,
        name: str = "",
        client_grace: float | None = None,
        attentive: AttentiveSelector | None = None,
        seed: int | None = None,
    ) -> None:
        self.client_grace = (parse_seconds(config.get("client-grace")) or 0.0) if client_grace is None else client_grace
        self.credentials = credentials
        self.name = name
        self.dashboard = dashboard
        self.journal = journal
        self.incarnation = IdSource(seed).incarnation()
        self.listeners: list[Listener] = []
        self._sock = sock
        scheme = "tls" if tls else "tcp"
        self._tcp = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}" if tcp else None
        self._inproc = f"inproc://{inproc}" if inproc else None
        self._links: dict[str, Link] = {}
        self._inbox: list[Event] = []
        self._turn_due = False
        self._turned = 0.0  # when the last turn ended
        self._alone = False  # whether it had one event only
        self._attentive = attentive if cpu_count() > 1 else None  # where there is one processor, others need it
        self._flow = (0, 0)  # how many runs there have been, and are, as of the last turn with one event only
        self._timer: asyncio.TimerHandle | None = None
        self._strays = 0  # dropped frames of links that are gone
        self._strays_told = 0
        self._stuck = StuckLinks()
        self._looked = 0.0  # when arrivals were noted last
        self._surplus = Surplus()
        self.machine: SchedulerMachine

    # ---- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to listen.

        Raises
        ------
        OSError
            The port is taken.
        """
        self._loop = asyncio.get_running_loop()
        self._finished: asyncio.Future[str] = self._loop.create_future()
        if self._inproc is not None:
            self.listeners.append(await self._listen(self._inproc, None))
        if self._tcp is not None:
            self.listeners.append(await self._listen(self._tcp, self._sock))
        # Nanoseconds since 1970: a later start has a higher number without a file that remembers the last.
        epoch = Epoch(time.time_ns())
        self.machine = SchedulerMachine(
            epoch,
            self.credentials.cluster,
            self.address,
            versions(),
            dashboard=self.dashboard,
            journal=self.journal,
            client_grace=self.client_grace,
        )

    async def _listen(self, address: str, sock: socket.socket | None) -> Listener:
        credentials = None if address.startswith("inproc:") else self.credentials
        return await listen(
            address,
            credentials=credentials,
            incarnation=self.incarnation,
            own_role=Role.SCHEDULER,
            accept=lambda link: _Peer(self, link),
            sock=sock,
        )

    @property
    def address(self) -> str:
        """Where workers and clients should connect."""
        return self.listeners[0].address

    @property
    def addresses(self) -> list[str]:
        """All addresses it listens on."""
        return [listener.address for listener in self.listeners]

    async def finished(self) -> str:
        """Wait until the scheduler has closed; why it did."""
        return await asyncio.shield(self._finished)

    async def close(self, reason: str = "the scheduler is closing") -> None:
        """Tell everybody, then close all links. Idempotent."""
        if self._finished.done():
            return
        self._finished.set_result(reason)
        if self._timer is not None:
            self._timer.cancel()
        for listener in self.listeners:
            listener.close()
        for link in list(self._links.values()):
            link.send((GOODBYE, reason))
            link.close(reason)
        self._links.clear()
        await asyncio.sleep(0)

    # ---- the turn ---------------------------------------------------------------------------------------------------

    def post(self, event: Event) -> None:
        """Queue an event for the next turn of the machine, and see to it that there is one."""
        self._inbox.append(event)
        if not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._turn)

    def receive(self, link: Link, event: Received) -> None:
        """As ``post``, for what has just come in on a link.

        Where frames come one by one, each gets its turn at once: to wait for others that are ready costs a round of the event
        loop.
        """
        if not self._alone or self._turn_due or link.last_read - self._turned < _SLEPT_S:
            self.post(event)
            return
        self._inbox.append(event)
        try:
            self._turn()
        except Exception as error:  # noqa: BLE001 (as in a turn of its own: whoever sent the frame is not to blame)
            self._loop.call_exception_handler({"message": "a turn of the scheduler failed", "exception": error})

    def _turn(self) -> None:
        self._turn_due = False
        if self._finished.done():
            return
        events, self._inbox = self._inbox, []
        self._alone = len(events) == 1
        for instruction in self.machine.handle(self._loop.time(), events):
            if type(instruction) is Send:
                link = self._links.get(instruction.peer)
                if link is not None:
                    self._send(link, instruction.messages)
            elif type(instruction) is Disconnect:
                self._disconnect(instruction)
            elif type(instruction) is Warn:
                logger.log(logging.INFO if instruction.over else logging.WARNING, "%s", instruction.text)
            elif type(instruction) is Shutdown:
                self._loop.create_task(self.close(instruction.reason)).add_done_callback(_raise_if_failed)
        self._set_timer()
        self.machine.journal.write()  # now that nobody waits for it
        self._turned = self._loop.time()
        if self._alone and self._attentive is not None:
            self._attend(self._attentive)

    def _attend(self, selector: AttentiveSelector) -> None:
        """Where somebody waits for each task before the next is submitted, be awake when either comes.

        While there is more to do, or nothing happens but heartbeats, the processor is left to others.
        """
        core = self.machine.core
        under_way = core.totals[ASSIGNED]
        before, self._flow = self._flow, (core.last_attempt, under_way)
        if self._flow != before and under_way <= 1 and not core.totals[QUEUED]:
            selector.until = self._turned + _ATTENTION_S

    def _send(self, link: Link, messages: list[Message]) -> None:
        for index, message in enumerate(messages):
            try:
                link.queue(message)
            except UsageError as error:
                logger.warning("a message to %s %s cannot be sent: %s", link.role, link.remote, error)
                if parts := halves(message):
                    self._send(link, parts)
                elif message[0] not in UNCOUNTED:
                    self.post(describe(link.peer, messages, index, str(error)))
            if message[0] == REFUSED:
                logger.warning("refused a %s from %s: %s", link.role, link.remote, message[2])
            if link.pending >= _FLUSH_BYTES:
                link.flush()
        link.flush()

    def _disconnect(self, instruction: Disconnect) -> None:
        link = self._links.pop(instruction.peer, None)
        if link is None:
            logger.warning("giving up client %s: %s", instruction.peer, instruction.reason)
            return
        self._strays += link.stale
        logger.warning("closing the connection of %s %s: %s", link.role, link.remote, instruction.reason)
        if link.role is Role.CLIENT:
            link.send((GOODBYE, instruction.reason))  # so that it does not try to come back
        link.close(instruction.reason)

    def _set_timer(self) -> None:
        deadline = self.machine.next_deadline()
        timer = self._timer
        if deadline is None or (timer is not None and not timer.cancelled() and timer.when() <= deadline):
            return  # one that is early is set again when it comes, which costs less than moving it every time
        if timer is not None:
            timer.cancel()
        self._timer = self._loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now, deadline = self._loop.time(), self.machine.next_deadline()
        if deadline is None or deadline > now:
            self._set_timer()
            return
        if now >= self._looked + _LOOK_S:
            self._note_arrivals(now)
            tasks = len(self.machine.core.tasks)
            pressed = self.machine.journal.press() and tasks <= PICTURE_TASKS_MAX  # to go through more takes long
            if self._surplus.note(tasks) or pressed:
                give_back(self.machine.core)
        if not self._turn_due:
            self._turn()

    def _note_arrivals(self, now: float) -> None:
        """A worker that is half way through a large message is not silent."""
        since, self._looked = self._looked, now
        heard = [p for p, link in self._links.items() if link.role is Role.WORKER and link.last_read >= since]
        if heard:
            self._inbox.append(Heard(tuple(heard)))
        # Workers are judged by what they say; a busy one may read nothing for long.
        others = [link for link in self._links.values() if link.role is not Role.WORKER]
        for link in self._stuck.look(self._looked, others):
            logger.warning("closed the connection of %s %s, which stopped reading", link.role, link.remote)
        for link in others:
            link.give_up_unanswered()
        self._note_strays()

    def _note_strays(self) -> None:
        """Links drop frames that are not theirs, and count them."""
        strays = self._strays + sum(link.stale for link in self._links.values())
        if strays > self._strays_told:
            self._inbox.append(Strays(strays - self._strays_told))
            self._strays_told = strays

    # ---- links ------------------------------------------------------------------------------------------------------

    def join(self, link: Link, info: dict[str, Any]) -> None:
        """A peer has said HELLO."""
        old = self._links.get(link.peer)
        if old is not None:
            if not info.get("resume", (0, 0))[0] or old.role is not link.role:
                link.send((REFUSED, "name", f"a {link.role} with the incarnation {link.peer} is connected already"))
                link.close("duplicate incarnation")
                return
            # It knows that the old link is dead, and we do not yet.
            self.leave(old, "its peer has come back over another link")
            old.abort("its peer has come back over another link")
        link.epoch = self.machine.core.epoch
        self._links[link.peer] = link
        self.post(PeerJoined(link.peer, link.role, info))

    def leave(self, link: Link, reason: str) -> None:
        """The link of a peer is closed."""
        if self._links.get(link.peer) is link:
            del self._links[link.peer]
            self._strays += link.stale
            self._note_strays()
            self.post(PeerLeft(link.peer, reason, rejected=link.rejected))


class _Peer:
    """What one link delivers to: HELLO first, then the inbox of the server."""

    def __init__(self, server: SchedulerServer, link: Link) -> None:
        self._server = server
        self._known = False

    def on_messages(self, link: Link, frame: Frame) -> None:
        messages = frame.messages
        control = bytes(frame.control) if self._server.journal else b""
        if not self._known:
            first = messages[0] if messages else (0,)
            if first[0] != HELLO or not isinstance(first[1], dict):
                link.close("the first message must be HELLO")
                return
            self._known = True
            self._server.join(link, first[1])
            messages, control = messages[1:], b""
        if messages:
            self._server.receive(link, Received(link.peer, messages, control))

    def on_closed(self, link: Link, reason: str) -> None:
        if self._known:
            self._server.leave(link, reason)


def versions() -> dict[str, str]:
    """What peers must match: Python's minor version and our own."""
    return {"python": f"{sys.version_info.major}.{sys.version_info.minor}", "myscheduler": VERSION}


def _raise_if_failed(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, ClosedError):
        raise error
