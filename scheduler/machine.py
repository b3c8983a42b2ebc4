"""The scheduler's machine: events in, instructions out. This is the only way in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from ..base.errors import InternalError, KeyTypeError, ProtocolError
from ..base.ids import Epoch
from ..protocol.messages import (
    ACK,
    ACQUIRE,
    CALL,
    CANCEL,
    CANCELLED,
    COMPUTE,
    DATA,
    ERRORS,
    EVENTS,
    FAILED,
    FETCH,
    FINAL,
    FREE,
    GATHER,
    GOODBYE,
    HEARTBEAT,
    IN_MEMORY,
    INVENTORY,
    LOST,
    OBSERVE,
    OVERDUE,
    PLACED,
    RECALL,
    RECALLED,
    RELEASE,
    REPLICAS,
    RESULTS,
    RETRY,
    SECEDED,
    SUBMIT,
    TERMS,
    UNDEFINE,
    UNFETCHED,
    WANT,
    WELCOME,
    Message,
    Role,
    in_slices,
)
from . import awaiting, deaths, inventory, liveness, outcomes, pressure, rejoin, submission, watchdog
from .core import Core
from .events import Disconnect, Event, Heard, Instruction, PeerJoined, PeerLeft, Received, Send, Strays, Unsendable
from .journal import Journal
from .membership import Membership
from .observing import publish_runs
from .placement import ROUND_TRIP_MAX_S, place
from .queries import on_call
from .recall import may_recall, recall
from .relay import Relay
from .sessions import GRACE_S, Sessions
from .state import LOOSE, MEMORY, ClientState, ObserverState, Outbox, Peer, WorkerState
from .suspects import place_suspects
from .unsendable import on_unsendable

#: Order of the row messages to one peer: values are asked for before they may be freed, runs are given up before new
#: ones are sent.
_ROW_ORDER: Final = (
    GATHER,
    RECALL,
    FREE,
    UNDEFINE,
    ACQUIRE,
    TERMS,
    COMPUTE,
    IN_MEMORY,
    FAILED,
    CANCELLED,
    LOST,
    EVENTS,
)


class SchedulerMachine:
    """All that a scheduler decides.

    Parameters
    ----------
    epoch : Epoch
        The number of this start.
    cluster : str
        The cluster's id, 32 hexadecimal digits.
    address : str
        Where the scheduler can be reached, for information.
    versions : mapping of str to str
        ``python`` and ``myscheduler``, which peers must match.
    dashboard : str, optional
        Link of the dashboard, for clients to show.
    journal : int
        Bytes that the journal may take; 0 for none.
    client_grace : float
        For how many seconds a client that has lost its link is expected back.

    Examples
    --------
    >>> from myscheduler.protocol.messages import Role
    >>> from myscheduler.scheduler.events import PeerJoined
    >>> versions = {"python": "3.11", "myscheduler": "0.1.0"}
    >>> machine = SchedulerMachine(Epoch(1), "00" * 16, "tcp://127.0.0.1:8786", versions)
    >>> [send] = machine.handle(0.0, [PeerJoined("c1", Role.CLIENT, {"versions": versions})])
    >>> send.peer, send.messages[0][0]
    ('c1', 2)
    """

    def __init__(
        self,
        epoch: Epoch,
        cluster: str,
        address: str,
        versions: Mapping[str, str],
        *,
        dashboard: str | None = None,
        journal: int = 0,
        client_grace: float = GRACE_S,
    ) -> None:
        self.core = Core(epoch, cluster, address, dashboard)
        self.sessions = Sessions(self.core, client_grace)
        self.membership = Membership(self.core, self.sessions, versions)
        self.relay = Relay(self.core)
        self.instructions: list[Instruction] = []
        self.last_placed = 0
        self._watch_at = 0.0
        self._busy = False
        self.journal = Journal(self, journal, versions.get("myscheduler", ""))

    def tables(self) -> dict[str, Any]:
        """All that decisions depend on, between two turns."""
        apart = ("journal", "instructions", "_busy")  # about the tables, and empty
        return {name: value for name, value in vars(self).items() if name not in apart}

    # ---- the way in -------------------------------------------------------------------------------------------------

    def handle(self, now: float, events: list[Event]) -> list[Instruction]:
        """Take in what happened in this turn, and say what to do.

        Parameters
        ----------
        now : float
            Seconds of a clock that never goes back.
        events : list of Event
            In order of arrival; may be empty when only time has passed.

        Returns
        -------
        list of Instruction
            To be done in this order.
        """
        if self._busy:
            raise InternalError("handle() was called while it was running")
        self._busy = True
        try:
            core = self.core
            self.journal.note(now, events)
            liveness.attend(core, now)
            for event in events:
                if type(event) is Received:
                    self._receive(event)
                elif type(event) is PeerJoined:
                    self._join(event)
                elif type(event) is PeerLeft:
                    self._lose(event)
                elif type(event) is Heard:
                    self._hear(event.peers)
                elif type(event) is Strays:
                    core.stale["frames"] += event.frames
                elif type(event) is Unsendable:
                    on_unsendable(core, event)
            if core.unresponsive:
                self._catch_up()
                for ws, reason in rejoin.overdue(core):
                    self._leave(ws.incarnation, reason, planned=False)
            looking = core.now >= self._watch_at
            if looking:
                self._watch()
            core.wake()
            if core.deaths.pending:
                deaths.judge(core)
            self._conclude()
            if looking and (report := watchdog.watch(core)) is not None:  # after all that could go on has been sent on
                self.instructions.append(report)
            self.sessions.acknowledge()
            return self._collect()
        finally:
            self._busy = False

    def next_deadline(self) -> float | None:
        """When ``handle`` must be called even if nothing happens, in seconds of its clock."""
        core = self.core
        dues = []
        if (due := self.sessions.next_due()) is not None:
            dues.append(due)
        if (due := core.next_free()) is not None:
            dues.append(due)
        if core.retries.due and (due := core.retries.next_due()) is not None:
            dues.append(due)
        if core.deaths.pending and (due := deaths.next_verdict(core)) is not None:
            dues.append(due)
        if core.workers or self.sessions.away or watchdog.may_stall(core):
            dues.append(self._watch_at)
            if core.unresponsive and (due := rejoin.next_due(core)) is not None:
                dues.append(due)
            if may_recall(core):
                dues.append(core.recall_at)
        return min(dues, default=None)

    # ---- events -----------------------------------------------------------------------------------------------------

    def _join(self, event: PeerJoined) -> None:
        if event.role is Role.WORKER:
            self._succeed(event.peer, event.info.get("name"))
        # What this turn had against its last link is no reason to close this one.
        self.instructions = [i for i in self.instructions if type(i) is not Disconnect or i.peer != event.peer]
        self.instructions += self.membership.join(event.peer, event.role, event.info)
        client = self.core.clients.get(event.peer)
        if client is not None and client.away_since is None and self.relay.parked:
            self.relay.on_client_back(client)

    def _succeed(self, incarnation: str, name: object) -> None:
        """A worker has come: others of its name that have no link, or are lost, are over."""
        for ws, _ in rejoin.away(self.core):
            if ws.name == name and ws.incarnation != incarnation:
                self._leave(ws.incarnation, "another worker of its name has come in its place", planned=False)
        awaiting.despair_of(self.core, lambda lost: lost.name == name and lost.incarnation != incarnation)

    def _lose(self, event: PeerLeft) -> None:
        """A link is gone. Unless we know better, its peer may be back: a client in a while, a worker at once."""
        core = self.core
        if (ws := core.workers.get(event.peer)) is not None and ws.absence is not None:
            self._listen(ws, len(ws.absence.backlog))  # what it said before counts
        client = core.clients.get(event.peer)
        ends = event.planned or event.rejected
        if (
            client is not None
            and not ends
            and self.sessions.leave(client, _messages_of(client, core.outboxes.pop(client, {})))
        ):
            return
        ws = core.workers.get(event.peer)
        if ws is None or event.planned or event.peer in self.membership.stopping:
            self._leave(event.peer, event.reason, event.planned)
            return
        cause = deaths.told_cause(core, ws)
        if cause is not None:
            self._leave(event.peer, event.reason, planned=cause == deaths.PLANNED)
            return
        rejoin.leave(core, ws, event.reason)
        self.relay.on_worker_left(ws)

    def on_story(self, name: str, pid: int, cause: str, story: str, running: tuple[int, ...]) -> None:
        """Whoever kept the process of a worker tells how it ended: if it was away, it will not come back."""
        core = self.core
        deaths.tell(core, name, pid, cause, story, running)
        awaiting.despair_of(core, lambda lost: (lost.name, lost.pid) == (name, pid))
        for ws, reason in rejoin.away(core):
            if deaths.told_cause(core, ws) is not None:
                self._leave(ws.incarnation, reason, planned=cause == deaths.PLANNED)

    def _hear(self, peers: tuple[str, ...]) -> None:
        core = self.core
        for incarnation in peers:
            ws = core.workers.get(incarnation)
            if ws is not None:
                ws.last_seen = core.attended
                if ws.unresponsive and ws.absence is None:
                    liveness.resume(core, ws)

    def _receive(self, event: Received) -> None:
        core = self.core
        incarnation = event.peer
        peer: Peer | None
        table: Mapping[int, Callable[[Core, Any, Message], None]]
        if (peer := core.workers.get(incarnation)) is not None:
            table = _FROM_WORKER
            if peer.absence is not None:
                peer.absence.backlog += event.messages  # see _catch_up
                peer.last_seen = core.attended
                return
            if peer.unresponsive:
                liveness.resume(core, peer)
        elif (peer := core.clients.get(incarnation)) is not None:
            table = _FROM_CLIENT
            self.sessions.receive(peer, event.messages)
        elif (peer := core.observers.get(incarnation)) is not None:
            table = {}
        else:
            core.stale["strangers"] += 1
            return
        peer.last_seen = core.attended
        self._act_on(peer, table, event.messages)

    def _act_on(
        self, peer: Peer, table: Mapping[int, Callable[[Core, Any, Message], None]], messages: Sequence[Message]
    ) -> None:
        core = self.core
        try:
            for message in messages:
                handler = table.get(message[0])
                if handler is not None:
                    handler(core, peer, message)
                else:
                    self._receive_rare(peer, message)
                    if message[0] == GOODBYE:
                        break  # what comes after it is nobody's
        except (ProtocolError, KeyTypeError) as error:
            self.instructions.append(Disconnect(peer.incarnation, str(error)))
            self._leave(peer.incarnation, str(error), planned=False)

    def _catch_up(self) -> None:
        """Go on with what workers have said that are back: a part of it in each turn, so that none is long."""
        room = inventory.MESSAGES_PER_TURN
        for ws in list(self.core.unresponsive):
            room -= self._listen(ws, room)

    def _listen(self, ws: WorkerState, most: int) -> int:
        """Act on so many messages of a worker that is back, or on all if its inventory is settled then; returns how many."""
        absence = ws.absence
        if absence is None or absence.until is not None:
            return 0
        backlog = absence.backlog
        said = 0
        while backlog and (said < most or ws.absence is None) and self.core.workers.get(ws.incarnation) is ws:
            said += 1
            self._act_on(ws, _FROM_WORKER, (backlog.pop(0),))
        return said

    def _receive_rare(self, peer: Peer, message: Message) -> None:
        op = message[0]
        if op == GOODBYE:
            self._leave(peer.incarnation, message[1], planned=True)
        elif op == DATA:
            self.relay.on_data(cast(WorkerState, peer), message)
        elif op == FETCH:
            self.relay.on_fetch(cast(ClientState, peer), message)
        elif op == CALL:
            on_call(self, cast(ClientState, peer), message)
        elif op == OBSERVE:
            cast(ObserverState, peer).streaming = True
        else:
            raise ProtocolError(f"unexpected op {op}")

    def _leave(self, incarnation: str, reason: str, planned: bool) -> None:
        ws = self.core.workers.get(incarnation)
        client = self.core.clients.get(incarnation)
        self.membership.leave(incarnation, reason, planned)
        if ws is not None:
            self.relay.on_worker_left(ws)
        if client is not None:
            self.relay.on_client_left(client)

    def _watch(self) -> None:
        core = self.core
        self._watch_at = core.now + liveness.WATCH_S
        for ws in liveness.watch(core):
            reason = liveness.farewell(core, ws)
            self.instructions.append(Disconnect(ws.incarnation, reason))
            self._leave(ws.incarnation, reason, planned=False)
        for client, reason in self.sessions.over():
            self.instructions.append(Disconnect(client.incarnation, reason))
            self._leave(client.incarnation, reason, planned=False)

    # ---- after the events -------------------------------------------------------------------------------------------

    def _conclude(self) -> None:
        """Let go of what nobody needs, then place what can run."""
        core = self.core
        if core.arrived and self.relay.waiting:  # what somebody waits for is asked for before it may be let go
            self.relay.on_arrived([ts for ts in core.arrived if ts.status is MEMORY])
        core.sweep()
        if core.arrived:
            if self.relay.waiting:
                self.relay.on_arrived(core.arrived)
            core.arrived.clear()
        if core.special or core.reserved:
            place_suspects(core)
        place(core)
        if core.paused:
            self.instructions += pressure.press_on(core)
        recall(core)
        if core.loose:
            core.sweep()
        if self.membership.retiring:
            self.membership.advance_retiring()
        if core.freeing:
            core.free_overdue()
        publish_runs(core)

    def _collect(self) -> list[Instruction]:
        """Turn the outboxes into instructions; notices to leave come last."""
        sends: list[Instruction] = []
        core = self.core
        if core.outboxes:
            outboxes, core.outboxes = core.outboxes, {}
            for peer, outbox in outboxes.items():
                messages = _messages_of(peer, outbox)
                if type(peer) is ClientState:
                    messages = self.sessions.send(peer, messages)
                if messages:
                    sends.append(Send(peer.incarnation, messages))
        instructions = sends + self.instructions
        self.instructions = []
        return instructions


def _messages_of(peer: Peer, outbox: Outbox) -> list[Message]:
    """An outbox as messages. Rows for a worker that is away are of no use: its inventory settles everything later."""
    if type(peer) is WorkerState:
        if peer.absence is not None:
            rejoin.hold_back(peer, peer.absence, outbox)
        elif peer.unneeded:
            outbox.setdefault(FREE, []).extend(peer.unneeded)
            peer.unneeded = []
    loose = outbox.pop(LOOSE, ())
    messages: list[Message] = []
    if loose and loose[0][0] == WELCOME:  # nothing may come before it
        messages.append(loose.pop(0))
    for op in _ROW_ORDER if len(outbox) > 1 else outbox:
        rows = outbox.get(op)
        if rows is None:
            continue
        if op == COMPUTE:
            messages += _compute_messages(cast(WorkerState, peer), rows)
        elif op == GATHER:
            messages += [(GATHER, *row) for row in rows]
        else:
            messages += in_slices(rows, lambda part, op=op: (op, part))  # type: ignore[misc]
    messages += loose
    return messages


def _compute_messages(ws: WorkerState, rows: list[Any]) -> list[Message]:
    if not ws.new_functions:
        return in_slices(rows, lambda part: (COMPUTE, (), part))
    functions = [(function.func_id, function.payload) for function in ws.new_functions.values()]
    ws.new_functions = {}
    messages: list[Message] = [
        (COMPUTE, part_functions, ()) for _, part_functions in in_slices(functions, lambda part: (0, part))
    ][:-1]
    last = tuple(functions[len(messages) * 512 :])
    first, *rest = in_slices(rows, lambda part: (COMPUTE, (), part))
    return [*messages, (COMPUTE, last, first[2]), *rest]


def _on_ack(core: Core, client: ClientState, message: Message) -> None:
    if client.stream is None:
        raise ProtocolError("ACK from a client that cannot resume")
    client.stream.on_ack(message[1])


def _on_heartbeat(core: Core, ws: WorkerState, message: Message) -> None:
    ws.metrics = message[1]
    pressure.heed(core, ws, message[1])
    seconds = ws.metrics.get("round_trip")
    ws.round_trip = min(max(seconds, 0.0), ROUND_TRIP_MAX_S) if isinstance(seconds, float) else 0.0


_FROM_WORKER: Final[dict[int, Callable[[Core, Any, Message], None]]] = {
    RESULTS: outcomes.on_results,
    ERRORS: outcomes.on_errors,
    FINAL: outcomes.on_final,
    OVERDUE: outcomes.on_overdue,
    REPLICAS: outcomes.on_replicas,
    UNFETCHED: outcomes.on_unfetched,
    RECALLED: outcomes.on_recalled,
    SECEDED: outcomes.on_seceded,
    HEARTBEAT: _on_heartbeat,
    INVENTORY: inventory.on_inventory,
}
_FROM_CLIENT: Final[dict[int, Callable[[Core, Any, Message], None]]] = {
    ACK: _on_ack,
    SUBMIT: submission.on_submit,
    UNDEFINE: submission.on_undefine,
    WANT: submission.on_want,
    RELEASE: submission.on_release,
    CANCEL: submission.on_cancel,
    RETRY: submission.on_retry,
    PLACED: submission.on_placed,
}
