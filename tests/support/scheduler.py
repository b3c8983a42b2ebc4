"""A scheduler's machine with scripted peers: what it sends is recorded, and its tables are checked after every step."""

from __future__ import annotations

from typing import Any

from myscheduler.protocol import messages as m
from myscheduler.scheduler.check import check
from myscheduler.scheduler.core import FREE_AFTER_S
from myscheduler.scheduler.events import Disconnect, Event, PeerJoined, PeerLeft, Received, Send, Warn
from myscheduler.scheduler.machine import SchedulerMachine
from myscheduler.scheduler.rejoin import AWAY_S

VERSIONS = {"python": "3.11", "myscheduler": "0.1.0"}
FUNCTION = b"f" * 16
PLAIN = (0, 0, None, False, None, None)


class Cluster:
    """One machine, a client ``c`` and as many one-thread workers as asked for."""

    def __init__(self, workers: int = 0, nthreads: int = 1, *, journal: int = 0, **info: Any) -> None:
        self.machine = SchedulerMachine(1, "00" * 16, "tcp://s", VERSIONS, journal=journal)  # type: ignore[arg-type]
        self.core = self.machine.core
        self.now = 0.0
        self.sent: dict[str, list[Any]] = {}
        self.disconnected: dict[str, str] = {}
        self.warnings: list[str] = []
        self.request = 0
        self.client("c")
        for index in range(workers):
            self.worker(f"w{index}", nthreads, **info)

    # ---- steps ------------------------------------------------------------------------------------------------------

    def step(self, *events: Event) -> None:
        """One turn of the machine."""
        for event in events:
            if isinstance(event, Received):
                role = {"w": m.Role.WORKER, "c": m.Role.CLIENT, "o": m.Role.OBSERVER}[event.peer[0]]
                for message in event.messages:
                    m.validate(message, role)
        for instruction in self.machine.handle(self.now, list(events)):
            if isinstance(instruction, Send):
                for message in instruction.messages:
                    m.validate(message, m.Role.SCHEDULER)
                self.sent.setdefault(instruction.peer, []).extend(instruction.messages)
            elif isinstance(instruction, Disconnect):
                self.disconnected[instruction.peer] = instruction.reason
            elif isinstance(instruction, Warn):
                self.warnings.append(instruction.text)
        check(self.core)

    def linger(self) -> None:
        """Nothing happens until what can wait has been said."""
        self.now += FREE_AFTER_S
        self.step()

    def say(self, peer: str, *messages: Any) -> None:
        self.step(Received(peer, messages))

    def client(self, name: str) -> None:
        self.step(PeerJoined(name, m.Role.CLIENT, {"versions": VERSIONS}))
        self.take(name)

    def worker(self, incarnation: str, nthreads: int = 1, **info: Any) -> None:
        hello: dict[str, Any] = {
            "versions": VERSIONS,
            "name": incarnation,
            "address": f"tcp://{incarnation}",
            "host": f"host-{incarnation}",
            "pid": 1,
            "nthreads": nthreads,
            "memory_limit": 0,
            "resources": {},
        }
        self.step(PeerJoined(incarnation, m.Role.WORKER, hello | info))
        self.sent[incarnation] = [x for x in self.sent.get(incarnation, []) if x[0] != m.WELCOME]

    def lose(self, name: str, planned: bool = False) -> None:
        """The connection of a peer breaks, and it does not come back in time; nobody else is silent meanwhile."""
        self.step(PeerLeft(name, "connection reset", planned))
        if name in self.core.workers:
            self.core.attended += AWAY_S
            for ws in self.core.workers.values():
                ws.last_seen += AWAY_S
            self.step()

    def cut(self, name: str) -> None:
        """The connection of a peer breaks."""
        self.step(PeerLeft(name, "connection reset"))
        self.take(name)

    def come_back(
        self, worker: str, copies: Any = (), runs: Any = (), functions: Any = (FUNCTION,), **info: Any
    ) -> None:
        """A worker connects again and presents its inventory."""
        self.worker(worker, resume=(1, 0), **info)
        self.say(worker, (m.INVENTORY, tuple(copies), tuple(runs), tuple(functions), False))

    def scatter(self, key: Any, worker: str) -> int:
        """Place data of the client's with a worker; returns its attempt."""
        [(attempt, _)] = self.call("place", 1, (worker,), False, (key,))
        self.request += 1
        self.say("c", (m.PLACED, self.request, ((key, attempt, 8, "list", (worker,)),)))
        return int(attempt)

    def take(self, peer: str) -> list[Any]:
        """What was sent to a peer since the last call."""
        return self.sent.pop(peer, [])

    def rows(self, peer: str, op: int) -> list[Any]:
        """The rows of all messages ``op`` in what was sent to a peer; the rest stays."""
        messages = self.sent.get(peer, [])
        self.sent[peer] = [x for x in messages if x[0] != op]
        return [row for x in messages if x[0] == op for row in x[-1]]

    # ---- clients ----------------------------------------------------------------------------------------------------

    def submit(
        self, tasks: dict[Any, tuple[Any, ...]], wants: list[Any] | None = None, client: str = "c", **kw: Any
    ) -> None:
        """Submit ``{key: dependencies}``; ``kw``: priority, retries, workers, loose, resources."""
        self.request += 1
        option = (
            kw.get("priority", 0),
            kw.get("retries", 0),
            kw.get("workers"),
            kw.get("loose", False),
            kw.get("resources"),
            kw.get("terms"),
        )
        rows = tuple((key, FUNCTION, b"args", deps, order, 0) for order, (key, deps) in enumerate(tasks.items()))
        indexes = None if wants is None else tuple(index for index, key in enumerate(tasks) if key in wants)
        self.say(client, (m.SUBMIT, self.request, ((FUNCTION, b"code"),), (option,), rows, indexes, False))

    def outcomes(self, client: str = "c") -> dict[Any, str]:
        """Outcome by key, in words, of all notices since the last call."""
        names = {m.IN_MEMORY: "memory", m.FAILED: "failed", m.CANCELLED: "cancelled", m.LOST: "lost"}
        found = {}
        for message in self.sent.get(client, []):
            if message[0] in names:
                for row in message[1]:
                    found[row[0]] = names[message[0]]
        self.sent[client] = [x for x in self.sent.get(client, []) if x[0] not in names]
        return found

    def call(self, name: str, *args: Any, client: str = "c") -> Any:
        """A CALL that is answered at once."""
        self.request += 1
        self.say(client, (m.CALL, self.request, name, args))
        [reply] = [x for x in self.sent[client] if x[0] == m.REPLY and x[1] == self.request]
        self.sent[client].remove(reply)
        return reply[3] if reply[2] else reply[2:]

    # ---- workers ----------------------------------------------------------------------------------------------------

    def runs(self, worker: str) -> dict[Any, int]:
        """Attempts sent to a worker since the last call, by key."""
        return {row[0]: row[1] for row in self.rows(worker, m.COMPUTE)}

    def finish(self, worker: str, runs: dict[Any, int], nbytes: int = 8, seconds: float = 0.001) -> None:
        rows = tuple((key, attempt, nbytes, "int", None, 0, 0.0, seconds) for key, attempt in runs.items())
        self.say(worker, (m.RESULTS, rows))

    def fail(self, worker: str, runs: dict[Any, int]) -> None:
        rows = tuple((key, a, b"exc", "ValueError: no", "Traceback", 0, 0.0, 0.1) for key, a in runs.items())
        self.say(worker, (m.ERRORS, rows))

    def run_all(self, seconds: float = 0.001) -> None:
        """Finish everything that is sent until nothing is."""
        for _ in range(10_000):
            busy = {ws: runs for ws in list(self.core.workers) if (runs := self.runs(ws))}
            if not busy:
                return
            for ws, runs in busy.items():
                self.finish(ws, runs, seconds=seconds)
        raise AssertionError("tasks without end")

    def status(self, key: Any) -> str:
        ts = self.core.tasks.get(key)
        return "unknown" if ts is None else ts.status.name.lower()


def copy(key: Any, attempt: int, type_name: str = "int") -> tuple[Any, ...]:
    """A row of an inventory: data that a worker holds."""
    return (key, attempt, 8, type_name)


def run(key: Any, attempt: int, stage: int = m.STAGE_RUNNING, given_up: bool = False) -> tuple[Any, ...]:
    """A row of an inventory: a run that a worker has not answered for."""
    return (key, attempt, stage, given_up)
