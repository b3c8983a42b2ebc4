"""Who takes part: workers, clients and observers come and go; workers are retired and the cluster is restarted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..protocol.messages import ACQUIRE, CANCELLED, RECALL, REFUSED, REPLY, STOP, WELCOME, Role
from ..protocol.stream import NEW
from . import awaiting, deaths, pressure, rejoin
from .core import Core
from .events import Disconnect, Instruction
from .liveness import HEARTBEAT_S
from .placement import unbind
from .sessions import Sessions
from .state import ASSIGNED, ClientState, ObserverState, Peer, TaskState, WorkerState
from .submission import leave_client

#: What a worker that comes back is told if it was to be stopped in this mode.
_REFUSALS: Final = {"close": "closing", "restart": "restart"}
#: Workers that had been told to leave when they were lost, and are to be told again should they come back.
DISMISSED_MAX: Final = 1000


class Membership:
    """Joining, leaving, retiring, restarting.

    Parameters
    ----------
    core : Core
        The tables to act on.
    sessions : Sessions
        Of the clients.
    versions : mapping of str to str
        ``python`` (major.minor) and ``myscheduler``; peers must have the same.
    """

    def __init__(self, core: Core, sessions: Sessions, versions: Mapping[str, str]) -> None:
        self.core = core
        self.versions = dict(versions)
        self.sessions = sessions
        self.retiring: list[
            tuple[ClientState, int, list[WorkerState]]
        ] = []  # (client, request, workers that must leave)
        self.awaiting: list[tuple[ClientState, int, int]] = []  # (client, request, number of workers)
        self.stopping: dict[
            str, str
        ] = {}  # by incarnation, in which mode they were told to stop: their leaving is planned
        self.dismissed: dict[str, str] = {}  # likewise, of those that have lost their links before they said goodbye

    # ---- joining ----------------------------------------------------------------------------------------------------

    def join(self, incarnation: str, role: Role, info: Mapping[str, Any]) -> list[Instruction]:
        """Let a peer in, or refuse it in words."""
        core = self.core
        try:
            refusal = self._refusal(incarnation, role, info)
            if refusal is None:
                self._enter(incarnation, role, info)
        except (KeyError, TypeError, ValueError) as error:
            return [Disconnect(incarnation, f"HELLO lacks or garbles {error}")]
        if refusal is not None:
            core.message(Peer(incarnation, core.attended), (REFUSED, *refusal))
            return [Disconnect(incarnation, refusal[1])]
        self.answer_awaiting()
        return []

    def _enter(self, incarnation: str, role: Role, info: Mapping[str, Any]) -> None:
        core = self.core
        welcome = {"epoch": core.epoch, "cluster": core.cluster, "heartbeat_s": HEARTBEAT_S, "address": core.address}
        if role is Role.CLIENT:
            self.sessions.enter(incarnation, info, welcome)
            return
        peer: Peer
        if role is Role.WORKER:
            ws = core.workers.get(incarnation)
            if ws is None:
                ws = WorkerState(incarnation, core.now, core.attended, dict(info))
                core.add_worker(ws)
            if "resume" in info:
                rejoin.welcome_back(core, ws)
            else:
                core.roomy[ws] = None
            peer = ws
        else:
            peer = core.observers[incarnation] = ObserverState(incarnation, core.attended)
        core.message(peer, (WELCOME, welcome))

    def _refusal(self, incarnation: str, role: Role, info: Mapping[str, Any]) -> tuple[str, str] | None:
        theirs = info.get("versions") or {}
        for what in ("myscheduler", "python"):
            if theirs.get(what) != self.versions[what]:
                text = (
                    f"this {role} runs {what} {theirs.get(what)}, the scheduler {what} {self.versions[what]}; "
                    "pickled functions do not survive that. Use the same versions everywhere."
                )
                return ("version", text)
        if role is Role.CLIENT and info.get("resume", NEW)[0]:
            return self.sessions.refusal(incarnation, info["resume"])
        if incarnation in self.core.clients:
            return ("name", f"a client with the incarnation {incarnation} is known already")
        return self._worker_refusal(incarnation, info) if role is Role.WORKER else None

    def _worker_refusal(self, incarnation: str, info: Mapping[str, Any]) -> tuple[str, str] | None:
        core = self.core
        for ws in core.workers_at.get(info["name"], ()):
            if ws.name == info["name"] and ws.incarnation != incarnation:
                return ("name", f"a worker named {info['name']!r} is connected already; choose another --name")
        if "resume" not in info:
            return None
        if info["resume"][0] != core.epoch:
            return ("session", "the scheduler was started anew meanwhile and knows nothing of what this worker holds")
        mode = self.dismissed.pop(incarnation, None)
        return (
            None if mode is None else (_REFUSALS[mode], "the worker had been told to leave when its connection broke")
        )

    # ---- leaving ----------------------------------------------------------------------------------------------------

    def leave(self, incarnation: str, reason: str, planned: bool) -> None:
        """A connection is gone."""
        core = self.core
        if (ws := core.drop_worker(incarnation)) is not None:
            stopping = incarnation in self.stopping
            mode = self.stopping.pop(incarnation, "close" if ws.retiring else None)
            if mode is not None and not planned:
                self._dismiss(incarnation, mode)
            planned = planned or stopping
            if planned:
                core.deaths.early.pop((ws.name, ws.info.get("pid", 0)), None)
            self._leave_worker(ws, reason, planned)
        elif (client := core.clients.pop(incarnation, None)) is not None:
            leave_client(core, client)
            self.sessions.forget(client)
            self.awaiting = [entry for entry in self.awaiting if entry[0] is not client]
        else:
            core.observers.pop(incarnation, None)

    def _dismiss(self, incarnation: str, mode: str) -> None:
        self.dismissed[incarnation] = mode
        if len(self.dismissed) > DISMISSED_MAX:
            del self.dismissed[next(iter(self.dismissed))]

    def _leave_worker(self, ws: WorkerState, reason: str, planned: bool) -> None:
        core = self.core
        ws.retiring = True  # nothing may be queued for it while its own are shared out
        core.unresponsive.pop(ws, None)
        pressure.forget(core, ws)
        unbind(core, ws)
        if not planned:
            if deaths.told_cause(core, ws) is None:
                awaiting.expect(core, ws)
                rejoin.remember(core, ws)
            deaths.record(core, ws, reason)
        lost = list(ws.stored)
        for ts in lost:
            core.drop_holder(ts, ws)
        for ts in lost:
            if not ts.holders:
                core.lose(ts)
        for ts in ws.runs():
            if ts.status is ASSIGNED and ts.worker is ws:
                core.unassign(ts)
                if ts.kills and not planned:
                    deaths.confine(core, ts)
                core.retreat(ts)
        core.roomy.pop(ws, None)
        core.reserved.pop(ws, None)
        core.freeing.pop(ws, None)
        self.answer_retiring()

    # ---- waiting for workers ----------------------------------------------------------------------------------------

    def await_workers(self, client: ClientState, request: int, count: int) -> None:
        """Answer the request once ``count`` workers are there."""
        self.awaiting.append((client, request, count))
        self.answer_awaiting()

    def answer_awaiting(self) -> None:
        """Answer those that waited for as many workers as there are now."""
        if not self.awaiting:
            return
        present = sum(not ws.retiring for ws in self.core.workers.values())
        still = []
        for client, request, count in self.awaiting:
            if present >= count and not self.stopping:
                self.core.message(client, (REPLY, request, True, present))
            else:
                still.append((client, request, count))
        self.awaiting = still

    # ---- retiring ---------------------------------------------------------------------------------------------------

    def retire(self, client: ClientState, request: int, names: tuple[str, ...]) -> None:
        """Empty the named workers, stop them, then answer. Nothing is recomputed for it."""
        core = self.core
        leaving = [ws for ws in core.workers.values() if {ws.name, ws.address, ws.incarnation} & set(names)]
        for ws in leaving:
            ws.retiring = True
        for ws in leaving:
            unbind(core, ws)
            for ts in (*ws.assigned, *ws.following):
                if ts.attempt not in ws.recalled:
                    ws.recalled[ts.attempt] = None
                    core.row(ws, RECALL, (ts.key, ts.attempt))
        self.retiring.append((client, request, leaving))
        self.advance_retiring()

    def advance_retiring(self) -> None:
        """Copy what only retiring workers hold to others; stop those that are empty."""
        core = self.core
        for ws in [ws for _, _, leaving in self.retiring for ws in leaving]:
            if ws.incarnation not in core.workers or ws.incarnation in self.stopping:
                continue
            unique = [ts for ts in ws.stored if all(holder.retiring for holder in ts.holders)]
            usable = [other for other in core.workers.values() if other.usable]
            others = [other for other in usable if other.accepting] or usable
            if unique and others:
                self._copy(ws, unique, others)
            elif unique and any(not other.retiring for other in core.workers.values()):
                continue  # those that do not answer may be back soon
            elif not ws.runs():
                self.stop(ws, "close", "retired")

    def _copy(self, ws: WorkerState, unique: list[TaskState], others: list[WorkerState]) -> None:
        """Ask the emptiest workers to fetch what would be lost; ask once per copy and target."""
        for ts in unique:
            if ts in ws.copying:
                target = ws.copying[ts]
                if target.incarnation in self.core.workers:
                    continue
            target = min(others, key=lambda other: other.nbytes)
            ws.copying[ts] = target
            addresses = tuple(holder.address for holder in ts.holders)
            self.core.row(target, ACQUIRE, (ts.key, ts.attempt, ts.nbytes, addresses))

    def answer_retiring(self) -> None:
        """Answer the requests whose workers are all gone."""
        core = self.core
        still = []
        for client, request, leaving in self.retiring:
            if any(ws.incarnation in core.workers for ws in leaving):
                still.append((client, request, leaving))
            elif client.incarnation in core.clients:
                core.message(client, (REPLY, request, True, tuple(ws.name for ws in leaving)))
        self.retiring = still

    # ---- stopping ---------------------------------------------------------------------------------------------------

    def stop(self, ws: WorkerState, mode: str, reason: str) -> None:
        """Tell a worker to end or to begin again; its leaving is no accident then."""
        self.stopping[ws.incarnation] = mode
        if ws.absence is not None and ws.absence.until is not None:
            self.leave(ws.incarnation, reason, planned=False)  # it will be told when it comes back
        else:
            self.core.message(ws, (STOP, mode, reason))

    def restart(self, client: ClientState, request: int) -> None:
        """Forget all tasks and start all workers anew; answered when as many are back."""
        core = self.core
        count = len(core.workers)
        for ts in list(core.tasks.values()):
            for holder in ts.wanted_by:
                core.row(holder, CANCELLED, (ts.key, "the cluster was restarted"))
                del holder.wants[ts]
            ts.wanted_by = ()
            core.loose.append(ts)
            core.arrived.append(ts)  # who waits for its value hears that it is gone
        for ws in list(core.workers.values()):
            self.stop(ws, "restart", "restart asked for by a client")
        self.await_workers(client, request, count)
