"""Clients whose links break: they are expected back for a while, and miss nothing.

A client that says in its HELLO that it can resume has a stream. When it loses its link it is *away*: its wants are kept,
and what it is told is kept in its stream, until it comes back under its incarnation, or has been away for too long by the
clock that stands still while the scheduler does (see ``liveness``), or more has gathered than is kept for anybody. Then it is
as if it had said GOODBYE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..protocol.messages import WELCOME, Message
from ..protocol.stream import ACK_AFTER_S, BACKLOG_MAX, NEW, UNACKNOWLEDGED_MAX, Stream
from .core import Core
from .state import ClientState

#: Seconds that a client may be away unless it is configured otherwise.
GRACE_S: Final = 30.0


class Sessions:
    """All clients, seen from their links.

    Parameters
    ----------
    core : Core
        The tables.
    grace : float
        Seconds that a client may be away.
    """

    def __init__(self, core: Core, grace: float) -> None:
        self.core = core
        self.grace = grace
        self.away: dict[ClientState, None] = {}
        self._owing: dict[ClientState, float] = {}  # those to whom an ACK is due, and when at the latest

    # ---- coming and going -------------------------------------------------------------------------------------------

    def refusal(self, incarnation: str, resume: tuple[int, int]) -> tuple[str, str] | None:
        """Why a client cannot go on where it was."""
        epoch, received = resume
        client = self.core.clients.get(incarnation)
        if epoch != self.core.epoch:
            return ("session", "it was started anew meanwhile and knows nothing of what was submitted before")
        if client is None or client.stream is None:
            return ("session", f"it has released this client's futures; it keeps them for {self.grace:g} s")
        if not client.stream.can_resume(received):
            return ("session", f"it cannot go on behind message {received}")
        return None

    def enter(self, incarnation: str, info: Mapping[str, Any], welcome: dict[str, Any]) -> None:
        """Let a client in, or in again."""
        core = self.core
        epoch, received = info.get("resume", NEW)
        if epoch:
            client = core.clients[incarnation]
        else:
            received = 0
            client = core.clients[incarnation] = ClientState(incarnation, core.attended, str(info.get("name", "")))
        if "resume" not in info:
            core.message(client, (WELCOME, welcome))
            return
        stream = client.stream = client.stream or Stream()
        self.away.pop(client, None)
        client.away_since = None
        stream.resume(received, [(WELCOME, welcome | {"grace_s": self.grace, "received": stream.tell()})])
        core.outboxes.setdefault(client, {})

    def leave(self, client: ClientState, unsent: list[Message]) -> bool:
        """The link of a client is gone, and with it what was about to be sent; returns whether it may come back."""
        if client.stream is not None and client.away_since is None:
            client.stream.send(unsent)
            self.away[client] = None
            client.away_since = self.core.attended
        return client.stream is not None

    def forget(self, client: ClientState) -> None:
        """A client is gone for good."""
        self.away.pop(client, None)
        self._owing.pop(client, None)

    def over(self) -> list[tuple[ClientState, str]]:
        """Clients that are not waited for any longer, and why."""
        attended, over = self.core.attended, []
        for client in self.core.clients.values():
            stream, since = client.stream, client.away_since
            if stream is None:
                continue
            if since is None:
                if stream.unacknowledged > UNACKNOWLEDGED_MAX:
                    over.append((client, f"it has not acknowledged the last {stream.unacknowledged} messages"))
            elif attended - since >= self.grace:
                over.append((client, f"it was away for {self.grace:g} s"))
            elif stream.backlog > BACKLOG_MAX:
                over.append((client, f"it is away, and more than {BACKLOG_MAX:,} news wait for it"))
        return over

    # ---- messages ---------------------------------------------------------------------------------------------------

    def receive(self, client: ClientState, messages: tuple[Message, ...]) -> None:
        """Messages of a client have arrived; in a while it should know."""
        if client.stream is not None:
            client.stream.receive(messages)
            if client.stream.owes_ack:
                self._owing.setdefault(client, self.core.now + ACK_AFTER_S)

    def acknowledge(self) -> None:
        """See to it that those hear of what has arrived to whom that is due."""
        now, owing = self.core.now, self._owing
        for client, due in list(owing.items()):
            stream = client.stream
            assert stream is not None
            if due <= now or stream.ack_due:
                del owing[client]
                if client.away_since is None and stream.owes_ack:
                    stream.ack_due = True
                    self.core.outboxes.setdefault(client, {})

    def next_due(self) -> float | None:
        """When an ACK is due."""
        return next(iter(self._owing.values()), None)

    def send(self, client: ClientState, messages: list[Message]) -> list[Message]:
        """What to put on the link for these new messages: nothing, while there is none."""
        if client.stream is None:
            return messages
        if client.away_since is None:
            return client.stream.send(messages)
        client.stream.keep(messages)
        return []
