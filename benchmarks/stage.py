"""A cluster in virtual time for comparing policies: real worker machines, modelled threads and network, any scheduler.

A transfer occupies its sender and its receiver, in turn with others, for as long as its bytes take; a message takes a while.
Bytes are counted wherever a worker keeps them: results and copies alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise
from typing import Any, Final, NamedTuple, Protocol

from myscheduler.base.keys import Key
from myscheduler.protocol import messages as m
from myscheduler.worker import events as w
from myscheduler.worker.machine import WorkerMachine

#: Seconds that a message takes, and after which a turn of the scheduler handles what has arrived.
LATENCY_S: Final = 0.0005
TURN_S: Final = 0.0001
#: Bytes per second of each worker's link, in each direction.
BANDWIDTH: Final = 500e6


class Node(NamedTuple):
    """A task: what it needs, how long it runs, how large its result is."""

    deps: tuple[Key, ...]
    seconds: float
    nbytes: int


@dataclass(frozen=True)
class Case:
    """A graph, in an order in which inputs come before their users, and what is wanted of it."""

    nodes: dict[Key, Node]
    wanted: tuple[Key, ...]
    ranks: dict[Key, int]


class Policy(Protocol):
    """A scheduler: takes the messages of workers, returns what to send to whom."""

    def start(self, case: Case, workers: list[str], nthreads: int) -> list[tuple[str, list[m.Message]]]: ...

    def turn(self, now: float, arrived: list[tuple[str, m.Message]]) -> list[tuple[str, list[m.Message]]]: ...

    def next_deadline(self) -> float | None: ...


class Outcome(NamedTuple):
    """How a run went: seconds until all is there, the most bytes one worker and all together held, bytes moved."""

    makespan: float
    worker_bytes: int
    total_bytes: int
    moved_bytes: int


class Stage:
    """One run."""

    def __init__(self, case: Case, policy: Policy, workers: int, nthreads: int) -> None:
        self.case = case
        self.policy = policy
        self.now = 0.0
        self.held = self.most_held = self.most_each = self.moved = 0
        self.missing = dict.fromkeys(case.wanted)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._inbox: list[tuple[str, m.Message]] = []
        self._turn_due = False
        self._alarm = float("inf")
        names = [f"w{number}" for number in range(workers)]
        self.actors = {name: Actor(self, name, number, nthreads) for number, name in enumerate(names)}
        self._deliver(policy.start(case, names, nthreads))

    def run(self) -> Outcome:
        """Until all that is wanted is there."""
        while self.missing:
            if not self._agenda:
                raise AssertionError(f"nothing goes on, and {len(self.missing)} results are missing")
            self.now, _, action = heappop(self._agenda)
            action()
        return Outcome(self.now, self.most_each, self.most_held, self.moved)

    def at(self, moment: float, action: Callable[[], None]) -> None:
        """Do this at that time."""
        self._number += 1
        heappush(self._agenda, (moment, self._number, action))

    def keep(self, actor: Actor, nbytes: int) -> None:
        """A worker keeps more bytes, or fewer."""
        self.held += nbytes
        actor.held += nbytes
        self.most_held = max(self.most_held, self.held)
        self.most_each = max(self.most_each, actor.held)

    # ---- the scheduler ----------------------------------------------------------------------------------------------

    def post(self, worker: str, message: m.Message) -> None:
        """A worker tells the scheduler something."""
        self.at(self.now + LATENCY_S, lambda: self._arrive(worker, message))

    def _arrive(self, worker: str, message: m.Message) -> None:
        if message[0] == m.RESULTS:
            for row in message[1]:
                self.missing.pop(row[0], None)
        self._inbox.append((worker, message))
        if not self._turn_due:
            self._turn_due = True
            self.at(self.now + TURN_S, self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        arrived, self._inbox = self._inbox, []
        self._deliver(self.policy.turn(self.now, arrived))

    def _deliver(self, sends: list[tuple[str, list[m.Message]]]) -> None:
        for name, messages in sends:
            actor = self.actors.get(name)
            if actor is not None:
                self.at(self.now + LATENCY_S, lambda actor=actor, messages=messages: actor.receive(messages))  # type: ignore[misc]
        deadline = self.policy.next_deadline()
        if deadline is not None and (deadline < self._alarm or self._alarm <= self.now):
            self._alarm = max(deadline, self.now + TURN_S)
            self.at(self._alarm, self._ring)

    def _ring(self) -> None:
        if self.now >= self._alarm and not self._turn_due:
            self._alarm = float("inf")
            self._turn()


class Actor:
    """A worker: its real machine, threads that take as long as the case says, and one link."""

    def __init__(self, stage: Stage, name: str, number: int, nthreads: int) -> None:
        self.stage = stage
        self.name = name
        self.machine = WorkerMachine(f"{number:016x}", nthreads, f"tcp://{name}:1")
        self.held = 0
        self.sends_until = self.receives_until = 0.0
        self._free = nthreads
        self._handed: deque[Any] = deque()
        self._behind: dict[int, Any] = {}  # what begins with the result of a run, by its attempt
        self._store: dict[tuple[Key, int], int] = {}

    def receive(self, messages: list[m.Message]) -> None:
        """Messages of the scheduler."""
        self._handle(w.Received(tuple(messages)))

    def _handle(self, event: w.Event) -> None:
        for instruction in self.machine.handle(self.stage.now, event):
            if type(instruction) is w.Execute:
                self._handed += instruction.rows
                self._run()
            elif type(instruction) is w.Chain:
                self._behind.update((before[1], row) for before, row in pairwise(instruction.rows))
                self._handed.append(instruction.rows[0])
                self._run()
            elif type(instruction) is w.Fetch:
                self._fetch(instruction)
            elif type(instruction) is w.Send:
                self.stage.post(self.name, instruction.message)
            elif type(instruction) is w.Drop:
                for copy in instruction.copies:
                    self.stage.keep(self, -self._store.pop(copy, 0))
            elif type(instruction) is w.Cancel:
                self._cancel(instruction.copies)

    def _cancel(self, copies: list[tuple[Any, int]]) -> None:
        """Take back what no thread has begun."""
        wanted = dict.fromkeys(attempt for _, attempt in copies)
        caught = [row for row in self._handed if row[1] in wanted]
        self._handed = deque(row for row in self._handed if row[1] not in wanted)
        caught += [self._behind.pop(before) for before, row in list(self._behind.items()) if row[1] in wanted]
        for row in caught:  # and what was to begin with its result
            if row[1] in self._behind:
                caught.append(self._behind.pop(row[1]))
        if caught:
            self.stage.at(self.stage.now, lambda: self._handle(w.NotStarted([(row[0], row[1]) for row in caught])))

    # ---- threads ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        stage = self.stage
        while self._free and self._handed:
            row = self._handed.popleft()
            self._free -= 1
            stage.at(stage.now + stage.case.nodes[row[0]].seconds, lambda row=row: self._end(row))  # type: ignore[misc]

    def _end(self, row: Any) -> None:
        key, attempt = row[:2]
        node = self.stage.case.nodes[key]
        self._free += 1
        self._keep(key, attempt, node.nbytes)
        if attempt in self._behind:
            self._handed.appendleft(self._behind.pop(attempt))
        self._run()
        self._handle(w.ExecutionEnded([(key, attempt, node.nbytes, "x", None, 0, 0.0, node.seconds)], []))

    def _keep(self, key: Any, attempt: int, nbytes: int) -> None:
        if (key, attempt) not in self._store:
            self._store[key, attempt] = nbytes
            self.stage.keep(self, nbytes)

    # ---- the network ------------------------------------------------------------------------------------------------

    def _fetch(self, fetch: w.Fetch) -> None:
        stage = self.stage
        sender = stage.actors[fetch.address.removeprefix("tcp://").partition(":")[0]]
        begin = max(stage.now + 2 * LATENCY_S, self.receives_until, sender.sends_until)
        end = begin + sum(stage.case.nodes[key].nbytes for key, _ in fetch.rows) / BANDWIDTH
        self.receives_until = sender.sends_until = end
        stage.at(end, lambda: self._fetched(fetch, sender))

    def _fetched(self, fetch: w.Fetch, sender: Actor) -> None:
        got, missing = [], []
        for key, attempt in fetch.rows:
            if (key, attempt) in sender._store:
                nbytes = self.stage.case.nodes[key].nbytes
                self._keep(key, attempt, nbytes)
                self.stage.moved += nbytes
                got.append((key, attempt, nbytes))
            else:
                missing.append(key)
        self._handle(w.FetchEnded(fetch.address, fetch.request, got, missing, []))
