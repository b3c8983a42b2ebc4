"""Records of the scheduler: tasks, workers, clients, and the one function that changes the status of a task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Any, Final, TypeAlias

from ..base.errors import InternalError
from ..base.keys import Key, key_prefix
from ..protocol.blob import Payload
from ..protocol.messages import Message, Row
from ..protocol.stream import Stream
from .durations import Durations
from .queues import OwnQueue, Requirement
from .retries import Terms


class Status(IntEnum):
    """Where a task stands. Each move between two of these is listed in ``MOVES``."""

    RELEASED = 0  # known, but nobody needs its result now
    WAITING = 1  # some input is not in memory yet
    QUEUED = 2  # runnable, in one of the scheduler's queues
    ASSIGNED = 3  # sent to a worker, which may be running it
    MEMORY = 4  # its result is held by at least one worker
    ERRED = 5  # it failed, or something it needs did
    RETRYING = 6  # it failed, and waits for its next try; or it is data that is waited for, see awaiting
    FORGOTTEN = 7  # not in the tables any more


RELEASED: Final = Status.RELEASED
WAITING: Final = Status.WAITING
QUEUED: Final = Status.QUEUED
ASSIGNED: Final = Status.ASSIGNED
MEMORY: Final = Status.MEMORY
ERRED: Final = Status.ERRED
RETRYING: Final = Status.RETRYING
FORGOTTEN: Final = Status.FORGOTTEN

#: The legal moves. docs/design.md shows them as a diagram made from this table.
MOVES: Final[dict[Status, tuple[Status, ...]]] = {
    RELEASED: (WAITING, QUEUED, MEMORY, ERRED, RETRYING, FORGOTTEN),
    WAITING: (QUEUED, ASSIGNED, RELEASED, ERRED, FORGOTTEN),
    QUEUED: (ASSIGNED, WAITING, RELEASED, ERRED, FORGOTTEN),
    ASSIGNED: (MEMORY, QUEUED, WAITING, RELEASED, ERRED, RETRYING, FORGOTTEN),
    MEMORY: (RELEASED, FORGOTTEN),
    ERRED: (RELEASED, FORGOTTEN),
    RETRYING: (RELEASED, ERRED, FORGOTTEN),
    FORGOTTEN: (),
}
_MASKS: Final = [sum(1 << target for target in MOVES[status]) for status in Status]


class Function:
    """A pickled function, shared by all tasks that call it."""

    __slots__ = ("func_id", "payload", "users", "workers")

    def __init__(self, func_id: bytes, payload: Payload) -> None:
        self.func_id = func_id
        self.payload = payload
        self.workers: dict[WorkerState, None] = {}  # those it has been sent to
        self.users = 0  # tasks and connected clients that may refer to it


class Prefix(Durations):
    """All tasks of one kind: how many stand where, and how long they take."""

    __slots__ = ("counts", "done", "name")

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.counts = [0] * len(Status)
        self.done = 0  # runs that ended well, ever

    @property
    def live(self) -> int:
        """Tasks of this kind that are in the tables."""
        return sum(self.counts[:FORGOTTEN])


class Failure:
    """Why a task failed; shared by all tasks that failed because of it."""

    __slots__ = ("culprit", "payload", "text", "traceback")

    def __init__(self, culprit: Key, payload: Payload, text: str, traceback: str) -> None:
        self.culprit = culprit
        self.payload = payload  # empty when the scheduler itself is the author: then text is "ClassName: message"
        self.text = text
        self.traceback = traceback


class TaskState:
    """One task. Kept small: a hundred thousand finished ones should cost less than 100 MB."""

    __slots__ = (
        "attempt",
        "dependents",
        "deps",
        "estimate",
        "failure",
        "function",
        "holders",
        "key",
        "kills",
        "live_dependents",
        "nbytes",
        "needed_by",
        "payload",
        "prefix",
        "rank",
        "requirement",
        "retries",
        "since",
        "status",
        "terms",
        "ticket",
        "type_name",
        "waiting_on",
        "wanted_by",
        "worker",
    )

    def __init__(
        self,
        key: Key,
        prefix: Prefix,
        function: Function | None,
        payload: Payload,
        deps: tuple[TaskState, ...],
        rank: int,
        requirement: Requirement,
        retries: int,
        terms: Terms | None = None,
        since: int = 0,
    ) -> None:
        self.key = key
        self.prefix = prefix
        self.status: Status = RELEASED
        self.function = function  # None: scattered data, cannot be made again
        self.payload = payload
        self.deps = deps
        self.rank = rank  # lower runs first
        self.requirement = requirement
        self.retries = retries  # how often it may still be run again after an exception
        self.terms = terms  # what there is to say of retries and runs, beside the number of retries
        self.kills = 0  # workers that died while it may have been running
        self.since = since  # attempts up to this one were of another task of this key
        self.attempt = 0  # the current run (ASSIGNED) or the one that made the data (MEMORY)
        self.worker: WorkerState | None = None  # where it is ASSIGNED, or QUEUED if that is a worker's own queue
        self.estimate = 0.0  # seconds it counts for where it is queued or assigned; 0 where that is a guess
        self.ticket = 0  # names its entry in a queue; older entries are stale
        self.waiting_on = 0  # inputs not in memory, while WAITING, or ASSIGNED and following
        self.holders: Sequence[WorkerState] = ()  # exactly when MEMORY; a list only if there are many
        self.nbytes = 0
        self.type_name = ""
        self.failure: Failure | None = None  # exactly when ERRED or RETRYING
        self.dependents: list[TaskState] | None = None  # may hold forgotten ones until compacted
        self.live_dependents = 0  # dependents that are not forgotten
        self.needed_by = 0  # dependents that need it where they stand, and graphs still arriving that hold it
        self.wanted_by: tuple[ClientState, ...] = ()

    def __repr__(self) -> str:
        return f"<TaskState {self.key!r} {self.status.name.lower()}>"

    @property
    def follows(self) -> bool:
        """Whether it was sent to a worker that is still to make some of its inputs."""
        return (
            self.waiting_on > 0
            and self.status is ASSIGNED
            and self.worker is not None
            and self in self.worker.following
        )

    def each_dependent(self) -> Iterator[TaskState]:
        """The dependents that are not forgotten, oldest first."""
        if self.dependents:
            for dependent in self.dependents:
                if dependent.status is not FORGOTTEN:
                    yield dependent

    def drop_dependent(self) -> None:
        """Note that one of our dependents has just been forgotten."""
        self.live_dependents -= 1
        if not self.live_dependents:
            self.dependents = None
        elif self.dependents is not None and len(self.dependents) > 2 * self.live_dependents + 16:
            self.dependents = list(self.each_dependent())


class Absence:
    """A worker's link has broken, and it has not said yet what it holds since."""

    __slots__ = ("backlog", "freed", "func_ids", "given", "placed", "present", "reason", "runs", "until")

    def __init__(self, until: float | None, reason: str, given: dict[int, None]) -> None:
        self.until = until  # by the clock of Core.attended; None when it has a link again
        self.reason = reason
        self.given = given  # attempts that were its own when it was given up
        self.backlog: list[Message] = []  # what it has said since it has a link again, and nobody has acted on yet
        self.present: dict[TaskState, None] = {}  # of its inventory, as far as that is settled: whose data it has
        self.freed: dict[Row, None] = {}  # copies that were given up since, which it is to be told in the end
        self.placed: list[Row] = []  # copies that it got since, as a client says
        self.runs: list[Row] = []  # of its inventory, to be settled in the end; likewise the functions
        self.func_ids: list[bytes] = []


#: What is to be said to a peer: rows by op, and whole messages.
Outbox: TypeAlias = "dict[int, list[Any]]"
#: Where whole messages stand in an outbox.
LOOSE: Final = -1


class Peer:
    """What all connected peers have."""

    __slots__ = ("incarnation", "last_seen")

    def __init__(self, incarnation: str, attended: float) -> None:
        self.incarnation = incarnation
        self.last_seen = attended  # by the clock of Core.attended


class Abandoned:
    """A run we gave up, until its worker answers: what it still occupies there."""

    __slots__ = ("estimate", "requirement", "slot")

    def __init__(self, estimate: float, requirement: Requirement, slot: bool) -> None:
        self.estimate = estimate
        self.requirement = requirement
        self.slot = slot


class _Place(Peer):
    """What is looked at of a worker for each task: together, as of ten thousand workers none is in the processor's caches."""

    __slots__ = (
        "abandoned_slots",
        "absence",
        "assigned",
        "fetching",
        "last_result",
        "local",
        "memory_limit",
        "nbytes",
        "nthreads",
        "occupancy",
        "only",
        "paused",
        "recalled",
        "reserved",
        "retiring",
        "round_trip",
        "stored",
        "unneeded",
        "unresponsive",
    )


class WorkerState(_Place):
    """One life of a worker."""

    __slots__ = (
        "abandoned",
        "address",
        "busy",
        "copying",
        "following",
        "free_resources",
        "functions",
        "host",
        "info",
        "long_running",
        "metrics",
        "name",
        "new_functions",
        "resources",
        "vouched_until",
    )

    def __init__(self, incarnation: str, now: float, attended: float, info: dict[str, Any]) -> None:
        super().__init__(incarnation, attended)
        self.info = info
        self.name: str = info["name"]
        self.address: str = info["address"]
        self.host: str = info["host"]
        self.nthreads: int = info["nthreads"]
        self.memory_limit: int = info["memory_limit"]
        self.resources: dict[str, float] = dict(info["resources"])
        self.free_resources = dict(self.resources)
        self.metrics: dict[str, Any] = {}
        self.round_trip = 0.0  # seconds from it to us and back, as it says
        self.retiring = False
        self.unresponsive = False
        self.paused = False  # short of memory
        self.vouched_until = 0.0  # by the clock of Core.attended: its keeper has said that its process lives
        self.busy = 0.0  # how much of a processor it used then
        self.absence: Absence | None = None  # it is unresponsive meanwhile
        self.reserved = False  # for a suspect, which runs alone
        self.assigned: dict[TaskState, None] = {}  # sent and holding a thread slot, oldest first
        self.following: dict[TaskState, None] = {}  # sent, to run after what it was sent before: lacks nothing else
        self.long_running: dict[TaskState, None] = {}  # sent, running outside of the slots
        self.abandoned: dict[int, Abandoned] = {}  # attempts given up, not answered yet
        self.abandoned_slots = 0  # of those, the ones that hold a thread slot
        self.fetching: dict[TaskState, None] = {}  # of those, the ones whose inputs may still be on their way
        self.recalled: dict[int, None] = {}  # attempts asked back, not answered yet
        self.copying: dict[TaskState, WorkerState] = {}  # while retiring: who was asked to take over what
        self.occupancy = 0.0  # seconds of work sent, by estimate
        self.local = OwnQueue()  # runnable tasks that should run here
        self.stored: dict[TaskState, None] = {}
        self.unneeded: list[Row] = []  # copies it may drop, (key, attempt); it has not been told yet
        self.nbytes = 0
        self.functions: dict[bytes, None] = {}  # those it has been sent
        self.new_functions: dict[bytes, Function] = {}  # to go with the next COMPUTE
        self.last_result = now
        self.only = (self,)  # shared by all tasks that only this worker holds

    def subtract(self, estimate: float) -> None:
        """Take a run out of the occupancy; exactly zero when nothing is left."""
        self.occupancy = self.occupancy - estimate if self.assigned or self.abandoned_slots else 0.0

    def runs(self) -> list[TaskState]:
        """All that was sent and is neither answered nor given up."""
        return [*self.assigned, *self.following, *self.long_running]

    @property
    def accepting(self) -> bool:
        """Whether it may be given work or data."""
        return not (self.retiring or self.unresponsive or self.paused)

    @property
    def usable(self) -> bool:
        """Whether it may be, if there is no better one."""
        return not (self.retiring or self.unresponsive)

    @property
    def standing(self) -> str:
        """In a word, for people."""
        if self.unresponsive:
            return "unresponsive"
        return "retiring" if self.retiring else "paused" if self.paused else "running"

    @property
    def sent(self) -> int:
        """Runs that occupy or await one of its thread slots; a worker that is reserved for a suspect counts as full."""
        sent = len(self.assigned) + self.abandoned_slots
        return max(sent, self.nthreads) if self.reserved else sent


class Lost:
    """A worker that was lost without a verdict and may come back."""

    __slots__ = ("incarnation", "name", "pid", "until")

    def __init__(self, ws: WorkerState, until: float) -> None:
        self.incarnation = ws.incarnation
        self.name = ws.name
        self.pid: int = ws.info.get("pid", 0)
        self.until = until


class Arriving:
    """A graph of which more slices are to come."""

    __slots__ = ("base", "held", "top")

    def __init__(self, base: int) -> None:
        self.base = base  # where its ranks begin
        self.top = 0
        self.held: list[TaskState] = []  # entered, and needed by the graph itself until all of it is here


class ClientState(Peer):
    """One client, connected or expected back."""

    __slots__ = ("arriving", "away_since", "functions", "name", "only", "placing", "stream", "wants")

    def __init__(self, incarnation: str, attended: float, name: str) -> None:
        super().__init__(incarnation, attended)
        self.name = name
        self.stream: Stream | None = None  # if it can come back
        self.away_since: float | None = None  # by the clock of Core.attended; None while it has a link
        self.wants: dict[TaskState, None] = {}
        self.functions: dict[bytes, None] = {}
        self.arriving: dict[int, Arriving] = {}  # by request
        self.placing: dict[
            int, tuple[Key, tuple[str, ...]]
        ] = {}  # attempts given out for scattered data, not PLACED yet
        self.only = (self,)


class ObserverState(Peer):
    """One connected dashboard."""

    __slots__ = ("streaming",)

    def __init__(self, incarnation: str, attended: float) -> None:
        super().__init__(incarnation, attended)
        self.streaming = False


class Tables:
    """Everything the scheduler knows, and the only code that changes a task's status."""

    def __init__(self) -> None:
        self.tasks: dict[Key, TaskState] = {}
        self.workers: dict[str, WorkerState] = {}
        self.workers_at: dict[str, dict[WorkerState, None]] = {}  # by name, by address, and by host
        self.clients: dict[str, ClientState] = {}
        self.observers: dict[str, ObserverState] = {}
        self.functions: dict[bytes, Function] = {}
        self.prefixes: dict[str, Prefix] = {}
        self.totals = [0] * len(Status)

    def prefix_of(self, key: Key) -> Prefix:
        """The record of the kind of task that ``key`` belongs to."""
        name = key_prefix(key)
        prefix = self.prefixes.get(name)
        if prefix is None:
            if len(self.prefixes) >= PREFIXES_MAX:
                self._evict_prefixes()
            prefix = self.prefixes[name] = Prefix(name)
        return prefix

    def _evict_prefixes(self) -> None:
        """Forget kinds without tasks: keys without a token would otherwise fill the table."""
        for name in [name for name, prefix in self.prefixes.items() if not prefix.live]:
            del self.prefixes[name]

    def add_worker(self, ws: WorkerState) -> None:
        """Enter a new worker."""
        self.workers[ws.incarnation] = ws
        for place in (ws.name, ws.address, ws.host):
            self.workers_at.setdefault(place, {})[ws] = None

    def drop_worker(self, incarnation: str) -> WorkerState | None:
        """Take a worker out of the tables, if it is in there."""
        ws = self.workers.pop(incarnation, None)
        if ws is not None:
            for place in dict.fromkeys((ws.name, ws.address, ws.host)):
                del self.workers_at[place][ws]
                if not self.workers_at[place]:
                    del self.workers_at[place]
            self.set_functions(ws, ())
        return ws

    def set_functions(self, ws: WorkerState, func_ids: Iterable[bytes]) -> None:
        """A worker knows these functions, as far as they still exist, and no others."""
        for func_id in ws.functions:
            del self.functions[func_id].workers[ws]
        ws.functions = {func_id: None for func_id in func_ids if func_id in self.functions}
        for func_id in ws.functions:
            self.functions[func_id].workers[ws] = None

    def add_task(self, ts: TaskState) -> None:
        """Enter a new task, RELEASED."""
        self.tasks[ts.key] = ts
        ts.prefix.counts[RELEASED] += 1
        self.totals[RELEASED] += 1
        if ts.function is not None:
            ts.function.users += 1
        for dep in ts.deps:
            if dep.dependents is None:
                dep.dependents = [ts]
            else:
                dep.dependents.append(ts)
            dep.live_dependents += 1

    def move(self, ts: TaskState, status: Status) -> None:
        """Change the status of a task: the only place where this happens."""
        old = ts.status
        if not _MASKS[old] >> status & 1:
            raise InternalError(f"task {ts.key!r} may not move from {old.name} to {status.name}")
        counts = ts.prefix.counts
        counts[old] -= 1
        counts[status] += 1
        totals = self.totals
        totals[old] -= 1
        totals[status] += 1
        ts.status = status


#: Kinds of tasks remembered for progress and durations.
PREFIXES_MAX: Final = 1000
