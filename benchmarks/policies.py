"""Who decides where a task runs: the unmodified scheduler machine, and three simpler policies to compare it with.

The others bind a task to a worker as soon as its inputs are there, and let results go as soon as nobody needs them, as we do.
Except for HEFT, tasks have the same ranks as ours.
"""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import Any, Final

from myscheduler.base.ids import Epoch
from myscheduler.base.keys import Key
from myscheduler.protocol import messages as m
from myscheduler.scheduler.durations import UNKNOWN_DURATION_S
from myscheduler.scheduler.events import Event, PeerJoined, Received, Send
from myscheduler.scheduler.machine import SchedulerMachine

from .crowd import CLIENT, FUNCTION, PLAIN, SLICE, VERSIONS
from .stage import BANDWIDTH, LATENCY_S, Case

Sends = list[tuple[str, list[m.Message]]]


class Ours:
    """The machine of the scheduler; the functions' durations are not known to it before they have run."""

    def start(self, case: Case, workers: list[str], nthreads: int) -> Sends:
        self.machine = SchedulerMachine(Epoch(1), "00" * 16, "tcp://scheduler", VERSIONS)
        self._workers = workers
        events: list[Event] = [PeerJoined(CLIENT, m.Role.CLIENT, {"versions": VERSIONS})]
        for name in workers:
            info = {"name": name, "address": f"tcp://{name}:1", "host": name, "nthreads": nthreads, "memory_limit": 0}
            events.append(PeerJoined(name, m.Role.WORKER, {**info, "resources": {}, "versions": VERSIONS}))
        wanted = dict.fromkeys(case.wanted)
        rows = [(key, FUNCTION, b"x", node.deps, case.ranks[key], 0) for key, node in case.nodes.items()]
        for first in range(0, len(rows), SLICE):
            part = tuple(rows[first : first + SLICE])
            wants = tuple(index for index, row in enumerate(part) if row[0] in wanted)
            functions = ((FUNCTION, b"code"),)
            message = (m.SUBMIT, 1, functions, (PLAIN,), part, wants, first + SLICE < len(rows))
            events.append(Received(CLIENT, (message,)))
        return self._sends(self.machine.handle(0.0, events))

    def turn(self, now: float, arrived: list[tuple[str, m.Message]]) -> Sends:
        for name in self._workers:  # nobody is silent here
            self.machine.core.workers[name].last_seen = self.machine.core.attended
        return self._sends(self.machine.handle(now, [Received(name, (message,)) for name, message in arrived]))

    def next_deadline(self) -> float | None:
        return self.machine.next_deadline()

    def _sends(self, instructions: list[Any]) -> Sends:
        return [(i.peer, i.messages) for i in instructions if type(i) is Send and i.peer != CLIENT]


class Eager:
    """What the simpler policies share: a task is bound when its inputs are there. ``choose`` says to whom."""

    def start(self, case: Case, workers: list[str], nthreads: int) -> Sends:
        self.case = case
        self.workers = workers
        self.nthreads = nthreads
        self.now = 0.0
        self.holders: dict[Key, list[str]] = {}
        self.bound: dict[str, int] = dict.fromkeys(workers, 0)
        self._attempts: dict[Key, int] = {}
        self._waiting = {key: len(node.deps) for key, node in case.nodes.items()}
        self._needed = dict.fromkeys(case.nodes, 0)
        self.users: dict[Key, list[Key]] = defaultdict(list)
        for key, node in case.nodes.items():
            for dep in node.deps:
                self._needed[dep] += 1
                self.users[dep].append(key)
        for key in case.wanted:
            self._needed[key] += 1
        self.ranks = self.rank()
        self._out: dict[str, dict[int, list[Any]]] = {}
        self._bind([key for key, count in self._waiting.items() if not count])
        return self._flush()

    def rank(self) -> dict[Key, int]:
        """Which of several tasks a worker runs first."""
        return self.case.ranks

    def choose(self, key: Key) -> str:
        """The worker for a task whose inputs are there."""
        raise NotImplementedError

    def ended(self, name: str, key: Key, nbytes: int, seconds: float) -> None:
        """A task has ended on a worker: the place to learn from it."""

    def turn(self, now: float, arrived: list[tuple[str, m.Message]]) -> Sends:
        self.now = now
        ready: list[Key] = []
        for name, message in arrived:
            if message[0] == m.RESULTS:
                for key, _, nbytes, _, _, _, _, seconds in message[1]:
                    self.bound[name] -= 1
                    self.ended(name, key, nbytes, seconds)
                    ready += self._finish(name, key)
            elif message[0] == m.REPLICAS:
                for key, attempt in message[1]:
                    if key in self.holders:
                        self.holders[key].append(name)
                    else:
                        self._row(name, m.FREE, (key, attempt))
        self._bind(ready)
        return self._flush()

    def next_deadline(self) -> float | None:
        return None

    def _finish(self, name: str, key: Key) -> list[Key]:
        self.holders[key] = [name]
        for dep in self.case.nodes[key].deps:
            self._needed[dep] -= 1
            if not self._needed[dep]:
                for holder in self.holders.pop(dep):
                    self._row(holder, m.FREE, (dep, self._attempts[dep]))
        ready = []
        for user in self.users[key]:
            self._waiting[user] -= 1
            if not self._waiting[user]:
                ready.append(user)
        return ready

    def _bind(self, ready: list[Key]) -> None:
        for key in sorted(ready, key=self.ranks.__getitem__):
            node = self.case.nodes[key]
            name = self.choose(key)
            self.bound[name] += 1
            self._attempts[key] = len(self._attempts) + 1
            locations = tuple(
                (
                    dep,
                    self._attempts[dep],
                    self.case.nodes[dep].nbytes,
                    tuple(f"tcp://{h}:1" for h in self.holders[dep]),
                )
                for dep in node.deps
                if name not in self.holders[dep]
            )
            self._row(
                name, m.COMPUTE, (key, self._attempts[key], FUNCTION, b"x", self.ranks[key], node.deps, locations, 0)
            )

    def _row(self, name: str, op: int, row: Any) -> None:
        self._out.setdefault(name, {}).setdefault(op, []).append(row)

    def _flush(self) -> Sends:
        out, self._out = self._out, {}
        sends = []
        for name, rows in out.items():
            messages: list[m.Message] = []
            if m.FREE in rows:
                messages.append((m.FREE, tuple(rows[m.FREE])))
            if m.COMPUTE in rows:
                messages.append((m.COMPUTE, ((FUNCTION, b"code"),), tuple(rows[m.COMPUTE])))
            sends.append((name, messages))
        return sends

    def missing(self, key: Key, name: str) -> float:
        """Seconds to bring the inputs of a task to a worker."""
        deps = [dep for dep in self.case.nodes[key].deps if name not in self.holders[dep]]
        return sum(self.case.nodes[dep].nbytes / BANDWIDTH + 2 * LATENCY_S for dep in deps)


class Randomly(Eager):
    """Any worker."""

    def start(self, case: Case, workers: list[str], nthreads: int) -> Sends:
        self._random = Random(1)
        return super().start(case, workers, nthreads)

    def choose(self, key: Key) -> str:
        return self._random.choice(self.workers)


class Locality(Eager):
    """Where most of the inputs are; of equals, the worker with the fewest tasks."""

    def choose(self, key: Key) -> str:
        return min(self.workers, key=lambda name: (self.missing(key, name), self.bound[name]))


class Heft(Eager):
    """Earliest finish; those first from which the longest way leads to the end. What tasks take and make is learnt by kind.

    The means so far count, as for a scheduler; before the first of a kind has ended, a guess and nothing.
    """

    def start(self, case: Case, workers: list[str], nthreads: int) -> Sends:
        self._ended: dict[Key, tuple[int, float, float]] = {}  # of each kind: how many, seconds, bytes
        self._work = dict.fromkeys(workers, 0.0)  # seconds bound to each
        self._booked: dict[Key, float] = {}
        return super().start(case, workers, nthreads)

    def expected(self, key: Key) -> tuple[float, float]:
        """Seconds that a task takes, and bytes that it makes."""
        count, seconds, nbytes = self._ended.get(_kind(key), (1, UNKNOWN_DURATION_S, 0.0))
        return seconds / count, nbytes / count

    def rank(self) -> dict[Key, int]:
        way: dict[Key, float] = {}
        for key in reversed(self.case.nodes):
            seconds, nbytes = self.expected(key)
            after = [way[user] + nbytes / BANDWIDTH for user in self.users[key]]
            way[key] = seconds + max(after, default=0.0)
        order = sorted(self.case.nodes, key=lambda key: (-way[key], self.case.ranks[key]))
        return {key: number for number, key in enumerate(order)}

    def choose(self, key: Key) -> str:
        name = min(self.workers, key=lambda name: max(self._work[name] / self.nthreads, self.missing(key, name)))
        self._booked[key] = self.expected(key)[0]
        self._work[name] += self._booked[key]
        return name

    def ended(self, name: str, key: Key, nbytes: int, seconds: float) -> None:
        self._work[name] -= self._booked.pop(key)
        count, before, bytes_before = self._ended.get(_kind(key), (0, 0.0, 0.0))
        self._ended[_kind(key)] = (count + 1, before + seconds, bytes_before + nbytes)
        if not count:
            self.ranks = self.rank()


class Clairvoyant(Heft):
    """The same, with all durations and sizes known in advance, which no scheduler does."""

    def start(self, case: Case, workers: list[str], nthreads: int) -> Sends:
        self._free = {name: [0.0] * nthreads for name in workers}
        return super().start(case, workers, nthreads)

    def expected(self, key: Key) -> tuple[float, float]:
        node = self.case.nodes[key]
        return node.seconds, node.nbytes

    def choose(self, key: Key) -> str:
        def end(name: str) -> float:
            return max(min(self._free[name]), self.now + self.missing(key, name))

        name = min(self.workers, key=end)
        moment = end(name)
        slots = self._free[name]
        slots[slots.index(min(slots))] = moment + self.case.nodes[key].seconds
        return name

    def ended(self, name: str, key: Key, nbytes: int, seconds: float) -> None:
        """Nothing is news."""


def _kind(key: Key) -> Key:
    """By what a scheduler tells the functions of a graph apart."""
    return key[0] if isinstance(key, tuple) else key


OURS: Final = "myscheduler"
CLAIRVOYANT: Final = "clairvoyant"
POLICIES: Final[dict[str, type[Ours] | type[Eager]]] = {
    OURS: Ours,
    "random": Randomly,
    "locality": Locality,
    "HEFT": Heft,
    CLAIRVOYANT: Clairvoyant,
}
