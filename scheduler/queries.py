"""Questions and commands by name (CALL): one function each, in one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ..base.errors import ProtocolError, UsageError
from ..base.keys import Key, validate_key
from ..base.limits import ROWS_PER_MESSAGE_MAX
from ..protocol.messages import REPLY, Message, Role
from . import vouching, watchdog
from .events import Shutdown
from .inspection import inspect_task, inspect_worker, list_tasks
from .state import ASSIGNED, ERRED, MEMORY, RELEASED, ClientState, ObserverState, Status, WorkerState

if TYPE_CHECKING:
    from .machine import SchedulerMachine

Asker = ClientState | ObserverState
#: Tasks that a question may visit, so that it does not hold up the work.
COUNTED_MAX: Final = 50_000
#: Returned by methods that answer later.
LATER: Final = object()


def on_call(machine: SchedulerMachine, peer: Asker, message: Message) -> None:
    """Answer a CALL, or say what is wrong with it."""
    _, request, name, args = message
    entry = METHODS.get(name)
    core = machine.core
    if entry is None:
        known = ", ".join(sorted(METHODS))
        core.message(peer, (REPLY, request, False, ("usage", f"unknown method {name!r}; known are {known}")))
        return
    role = Role.CLIENT if isinstance(peer, ClientState) else Role.OBSERVER
    method, roles = entry
    if role not in roles:
        core.message(peer, (REPLY, request, False, ("role", f"a {role} may not call {name!r}")))
        return
    try:
        value = method(machine, peer, request, *args)
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        raise ProtocolError(f"{name}: bad arguments: {error}") from error
    if value is not LATER:
        core.message(peer, (REPLY, request, True, value))


# ---- facts ----------------------------------------------------------------------------------------------------------


def _worker_map(machine: SchedulerMachine, ws: WorkerState) -> dict[str, Any]:
    return {
        "incarnation": ws.incarnation,
        "name": ws.name,
        "address": ws.address,
        "host": ws.host,
        "pid": ws.info.get("pid", 0),
        "nthreads": ws.nthreads,
        "memory_limit": ws.memory_limit,
        "resources": ws.resources,
        "status": ws.standing,
        "metrics": ws.metrics,
        "tasks": ws.sent + len(ws.following) + len(ws.long_running),
        "queued": ws.local.length,
        "stored": len(ws.stored),
        "nbytes": ws.nbytes,
        "last_seen_s": machine.core.attended - ws.last_seen,
    }


def scheduler_info(machine: SchedulerMachine, peer: Asker, request: int) -> dict[str, Any]:
    """The cluster at a glance."""
    core = machine.core
    return {
        "address": core.address,
        "epoch": core.epoch,
        "cluster": core.cluster,
        "dashboard": core.dashboard,
        "workers": [_worker_map(machine, ws) for ws in core.workers.values()],
        "clients": len(core.clients) - len(machine.sessions.away),
        "tasks": len(core.tasks),
        "stale": dict(core.stale),
        "stalled": watchdog.describe(core),
    }


def overview(machine: SchedulerMachine, peer: Asker, request: int) -> dict[str, Any]:
    """What a dashboard shows: workers, and progress by kind of task."""
    core = machine.core
    return {
        "address": core.address,
        "workers": [_worker_map(machine, ws) for ws in core.workers.values()],
        "clients": len(core.clients) - len(machine.sessions.away),
        "stale": dict(core.stale),
        "stalled": watchdog.describe(core),
        "progress": [
            {
                "name": prefix.name,
                "total": prefix.live,
                "done": prefix.done,
                "duration": prefix.duration,
                **{status.name.lower(): prefix.counts[status] for status in Status if status is not Status.FORGOTTEN},
            }
            for prefix in core.prefixes.values()
        ],
    }


def nthreads(machine: SchedulerMachine, peer: Asker, request: int) -> list[tuple[str, int]]:
    """Threads by worker address."""
    return [(ws.address, ws.nthreads) for ws in machine.core.workers.values()]


def who_has(
    machine: SchedulerMachine, peer: Asker, request: int, keys: tuple[Key, ...] | None
) -> list[tuple[Key, tuple[str, ...]]]:
    """Addresses of the holders, by key; all keys in memory if none are given."""
    tasks = machine.core.tasks
    if keys is None:
        keys = tuple(key for key, ts in tasks.items() if ts.status is MEMORY)
    return [(key, tuple(ws.address for ws in tasks[key].holders) if key in tasks else ()) for key in keys]


def _chosen(machine: SchedulerMachine, names: tuple[str, ...] | None) -> list[WorkerState]:
    workers = machine.core.workers.values()
    if names is None:
        return list(workers)
    return [ws for ws in workers if ws.name in names or ws.address in names or ws.host in names]


def has_what(
    machine: SchedulerMachine, peer: Asker, request: int, names: tuple[str, ...] | None
) -> list[tuple[str, tuple[Key, ...]]]:
    """Keys held, by worker address."""
    return [(ws.address, tuple(ts.key for ts in ws.stored)) for ws in _chosen(machine, names)]


def processing(machine: SchedulerMachine, peer: Asker, request: int) -> list[tuple[str, tuple[Key, ...]]]:
    """Keys assigned, by worker address."""
    return [(ws.address, tuple(ts.key for ts in ws.runs())) for ws in machine.core.workers.values()]


def explain_key(machine: SchedulerMachine, peer: Asker, request: int, key: Key) -> str:
    """Why a task is where it is, in words."""
    return watchdog.explain_stalled(machine.core, key)


def task(machine: SchedulerMachine, peer: Asker, request: int, key: Key) -> dict[str, Any]:
    """All about one task; ``status`` is ``"unknown"`` if there is none of that key."""
    return inspect_task(machine.core, key)


def tasks(
    machine: SchedulerMachine, peer: Asker, request: int, kind: str | None, status: str | None, offset: int, limit: int
) -> dict[str, Any]:
    """Some tasks of a kind and in a state."""
    return list_tasks(machine.core, kind, status, offset, limit)


def worker(machine: SchedulerMachine, peer: Asker, request: int, name: str) -> dict[str, Any] | None:
    """All about one worker, by incarnation, name or address; nil if it is not connected."""
    workers = machine.core.workers
    ws = workers.get(name) or next((ws for ws in workers.values() if name in (ws.name, ws.address)), None)
    return None if ws is None else {**_worker_map(machine, ws), **inspect_worker(ws)}


def progress(machine: SchedulerMachine, peer: Asker, request: int, keys: tuple[Key, ...]) -> Any:
    """What is still to be done for ``keys``: rows (kind, waiting, with workers, failed); nil if that is too much to count."""
    tasks = machine.core.tasks
    counts: dict[str, list[int]] = {}
    seen = {key: tasks[key] for key in keys if key in tasks}
    waiting = list(seen.values())
    while waiting:
        ts = waiting.pop()
        if ts.status in (MEMORY, RELEASED):
            continue
        count = counts.setdefault(ts.prefix.name, [0, 0, 0])
        count[1 if ts.status is ASSIGNED else 2 if ts.status is ERRED else 0] += 1
        for dep in ts.deps:
            if dep.key not in seen:
                seen[dep.key] = dep
                waiting.append(dep)
        if len(seen) > COUNTED_MAX:
            return None
    return [(name, *counts[name]) for name in reversed(counts)]  # what is needed before what needs it


# ---- commands -------------------------------------------------------------------------------------------------------


def place(
    machine: SchedulerMachine,
    peer: Asker,
    request: int,
    count: int,
    names: tuple[str, ...] | None,
    broadcast: bool,
    keys: tuple[Key, ...] | None,
) -> Any:
    """Choose workers for data that a client is about to scatter, by threads, in turn."""
    core = machine.core
    if not isinstance(peer, ClientState) or not 0 <= count <= ROWS_PER_MESSAGE_MAX:
        raise ValueError(f"between 0 and {ROWS_PER_MESSAGE_MAX} items at a time")
    if keys is not None and len(keys) != count:
        raise ValueError(f"{len(keys)} keys for {count} items")
    for key in keys or ():
        validate_key(key)
    usable = [ws for ws in _chosen(machine, names) if ws.usable]
    workers = [ws for ws in usable if ws.accepting] or usable
    if not workers:
        wanted = f"none of the workers {', '.join(names)}" if names else "no worker"
        core.message(peer, (REPLY, request, False, ("no-workers", f"{wanted} is connected")))
        return LATER
    slots = [ws for ws in workers for _ in range(ws.nthreads)]
    rows = []
    for index in range(count):
        core.last_attempt += 1
        machine.last_placed += 1
        chosen = workers if broadcast else [slots[machine.last_placed % len(slots)]]
        rows.append((core.last_attempt, tuple((ws.incarnation, ws.address) for ws in chosen)))
        if keys is not None:
            peer.placing[core.last_attempt] = (keys[index], tuple(ws.incarnation for ws in chosen))
    return rows


def wait_for_workers(machine: SchedulerMachine, peer: Asker, request: int, count: int) -> Any:
    """Answer when ``count`` workers are there."""
    if isinstance(peer, ClientState):
        machine.membership.await_workers(peer, request, int(count))
    return LATER


def restart(machine: SchedulerMachine, peer: Asker, request: int) -> Any:
    """Forget all tasks, start all workers anew."""
    if isinstance(peer, ClientState):
        machine.membership.restart(peer, request)
    return LATER


def retire_workers(machine: SchedulerMachine, peer: Asker, request: int, names: tuple[str, ...]) -> Any:
    """Empty and stop the named workers."""
    if isinstance(peer, ClientState):
        machine.membership.retire(peer, request, names)
        machine.membership.answer_retiring()
    return LATER


def worker_died(
    machine: SchedulerMachine,
    peer: Asker,
    request: int,
    name: str,
    pid: int,
    cause: str,
    story: str,
    running: tuple[int, ...],
) -> None:
    """Whoever keeps the process of a worker tells how it ended: in a word, in words, and with which attempts."""
    if not all(isinstance(value, str) for value in (name, cause, story)) or not isinstance(pid, int):
        raise ValueError("a name, a number, a word and a text are needed")
    if not all(isinstance(attempt, int) for attempt in running):
        raise ValueError("attempts are numbers")
    machine.on_story(name, pid, cause, story, tuple(running))


def vouch(machine: SchedulerMachine, peer: Asker, request: int, name: str, pid: int, busy: float) -> None:
    """Whoever keeps the process of a silent worker says that it lives, and how much of a processor it uses."""
    if (type(name), type(pid)) != (str, int) or type(busy) not in (int, float):
        raise TypeError("a name and two numbers are needed")
    vouching.vouch(machine.core, name, pid, busy)


def journal_begin(machine: SchedulerMachine, peer: Asker, request: int) -> Any:
    """Keep the journal up to now for this client, which asks for its parts next."""
    try:
        machine.journal.begin(peer.incarnation, machine.core.now)
    except UsageError as error:
        machine.core.message(peer, (REPLY, request, False, ("journal", str(error))))
        return LATER
    return None


def journal_part(machine: SchedulerMachine, peer: Asker, request: int) -> Any:
    """The next part of the journal; nil after the last."""
    try:
        return machine.journal.part(peer.incarnation, machine.core.now)
    except UsageError as error:
        machine.core.message(peer, (REPLY, request, False, ("journal", str(error))))
        return LATER


def shutdown(machine: SchedulerMachine, peer: Asker, request: int) -> None:
    """Stop all workers and the scheduler."""
    for ws in list(machine.core.workers.values()):
        machine.membership.stop(ws, "close", "the cluster is shutting down")
    machine.instructions.append(Shutdown("a client asked for it"))


_CLIENT: Final = (Role.CLIENT,)
_BOTH: Final = (Role.CLIENT, Role.OBSERVER)

METHODS: Final[dict[str, tuple[Callable[..., Any], tuple[Role, ...]]]] = {
    "scheduler_info": (scheduler_info, _BOTH),
    "overview": (overview, _BOTH),
    "nthreads": (nthreads, _BOTH),
    "task": (task, _BOTH),
    "tasks": (tasks, _BOTH),
    "worker": (worker, _BOTH),
    "who_has": (who_has, _CLIENT),
    "has_what": (has_what, _CLIENT),
    "processing": (processing, _CLIENT),
    "explain": (explain_key, _CLIENT),
    "progress": (progress, _CLIENT),
    "place": (place, _CLIENT),
    "wait_for_workers": (wait_for_workers, _CLIENT),
    "restart": (restart, _CLIENT),
    "retire_workers": (retire_workers, _CLIENT),
    "worker_died": (worker_died, _CLIENT),
    "vouch": (vouch, _CLIENT),
    "journal_begin": (journal_begin, _CLIENT),
    "journal_part": (journal_part, _CLIENT),
    "shutdown": (shutdown, _CLIENT),
}
