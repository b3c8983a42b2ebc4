"""Which task runs where: the queue a runnable task waits in, and what a worker with room is sent.

Everything runnable waits here, at the scheduler. ``place`` runs once per batch: first every free thread gets one task,
then workers are sent ahead what keeps them busy for ``LOOKAHEAD_S`` and some round trips. A worker takes the lowest rank
among its own queue and the common ones. If there is nothing, it is sent what will be runnable there as soon as what it was
sent before has ended: a chain of short tasks goes over as a whole. A worker with a free thread and nothing to take helps
another one, see ``helping``. What is used together is made in one place, see ``siblings``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from ..base.errors import InsufficientMemoryError
from ..base.keys import Key
from ..base.limits import MIB
from ..protocol.messages import COMPUTE, FLAG_FOLLOWS, FLAG_ITEMS, FLAG_WANTED, TERMS, Row
from .helping import BANDWIDTH, MOVE_LATENCY_S, backlog, take_over
from .items import needed_by, to_fetch
from .siblings import better_place
from .state import ASSIGNED, QUEUED, WAITING, TaskState, WorkerState

if TYPE_CHECKING:
    from .core import Core
    from .queues import Queue

#: Seconds of work per thread sent ahead of what runs: some round trips on a busy machine.
LOOKAHEAD_S: Final = 0.010
#: Besides, as many round trips to the worker as this: one for what it reports and is sent, and as much again for a network
#: whose times vary. (What it says of the round trip is believed up to the second number.)
ROUND_TRIPS: Final = 3.0
ROUND_TRIP_MAX_S: Final = 1.0
#: Runs sent to one worker at most, beyond its threads.
AHEAD_MAX: Final = 1000
#: Of a task with more dependents than this, none is sent before it has ended: others may want to help with them.
FEW_DEPENDENTS: Final = 3
#: Of what a worker was sent last, for how many tasks per thread dependents are looked at.
LEADERS: Final = 2
#: How much of the wait in a queue counts, where to queue a task: whoever has nothing to do will help with the longest.
WAIT_WEIGHT: Final = 0.1
#: Holders of one input that are compared: of more, some will do.
HOLDERS_COMPARED: Final = 16
#: If there are more, how many of them a worker that lacks the input is told of: to name each costs as much as to look at it.
HOLDERS_NAMED: Final = 4
#: Idle workers that try in vain to help, in one turn; the next turn begins with others.
HELPERS_IN_VAIN: Final = 2
#: By how many bytes a worker may hold more than the one that has waited longest, and still be given a task that comes alone.
WARM_BYTES: Final = 16 * MIB
#: Into how many parts each thread's share of what is sent ahead is divided: workers take turns, so that none gets too much.
TURNS: Final = 4


# ---- where a runnable task waits ------------------------------------------------------------------------------------


def choose_queue(core: Core, ts: TaskState) -> WorkerState | None:
    """The worker in whose queue a runnable task should wait, or None for the common queue of its requirement.

    Fails the task when its inputs fit into the memory of no worker that may run it.
    """
    requirement = ts.requirement
    if requirement.resources is not None or requirement.usual is not None:
        return None
    deps = ts.deps
    if len(deps) == 1:  # the usual case
        holders = deps[0].holders
        if len(holders) == 1 and requirement is core.common and holders[0].accepting:
            ws = holders[0]
            if not ws.memory_limit or deps[0].nbytes <= ws.memory_limit:
                return ws
    if core.unresponsive and (ws_to_wait_for := _sole_holder(ts)) is not None:
        return ws_to_wait_for
    needed = needed_by(core, ts)
    total = sum(needed)
    candidates = _candidates(core, ts, needed)
    if not candidates:
        return None
    roomy = {ws: held for ws, held in candidates.items() if not ws.memory_limit or total <= ws.memory_limit}
    if not roomy:
        admitted = [ws for ws in core.workers.values() if requirement.admits(ws)]
        fitting = [ws for ws in admitted if not ws.memory_limit or total <= ws.memory_limit]
        if not fitting:
            _fail_for_memory(core, ts, total)
        return min((ws for ws in fitting if ws.accepting), key=lambda ws: backlog(ws, core.now), default=None)
    return min(roomy, key=lambda ws: (total - roomy[ws]) / BANDWIDTH + WAIT_WEIGHT * backlog(ws, core.now))


def _sole_holder(ts: TaskState) -> WorkerState | None:
    """A worker that does not answer and without which an input cannot be had: the task waits with it, until either is lost."""
    for dep in ts.deps:
        if dep.holders and all(ws.unresponsive for ws in dep.holders):
            for ws in dep.holders:
                if not ws.retiring and ts.requirement.admits(ws):
                    return ws
    return None


def _candidates(core: Core, ts: TaskState, needed: list[int]) -> dict[WorkerState, float]:
    """Workers that hold inputs of a task and may run it, with the bytes that are already there.

    Each input counts as at least what ``MOVE_LATENCY_S`` is worth in bytes.
    """
    requirement = ts.requirement
    held: dict[WorkerState, float] = {}
    for dep, nbytes in zip(ts.deps, needed, strict=True):
        worth = nbytes + MOVE_LATENCY_S * BANDWIDTH
        holders = dep.holders
        for ws in (
            holders if len(holders) <= HOLDERS_COMPARED else _some_of(holders, core.last_ticket, HOLDERS_COMPARED)
        ):
            held[ws] = held[ws] + worth if ws in held else worth
    if requirement.workers is not None:
        preferred = {ws: bytes_ for ws, bytes_ in held.items() if requirement.prefers(ws)}
        if not preferred:
            places = [core.workers_at.get(place, {}) for place in requirement.workers]
            preferred = {ws: 0.0 for workers in places for ws in workers}
        if preferred or not requirement.loose:
            held = preferred
    accepting = {ws: bytes_ for ws, bytes_ in held.items() if ws.accepting}
    if (
        not accepting
        and core.paused
        and not any(ws.accepting and requirement.admits(ws) for ws in core.workers.values())
    ):
        return {ws: bytes_ for ws, bytes_ in held.items() if ws.usable}  # see pressure
    return accepting


def _some_of(holders: Sequence[WorkerState], turn: int, count: int) -> Sequence[WorkerState]:
    """So many of the many who hold an input, others in each turn."""
    first = turn % len(holders)
    some = holders[first : first + count]
    return [*some, *holders[: count - len(some)]]


def _addresses(core: Core, dep: TaskState) -> tuple[str, ...]:
    """Where a worker that lacks an input may fetch it: from any holder; if they are many, from some, others each time."""
    holders = dep.holders
    if len(holders) > HOLDERS_COMPARED:
        holders = _some_of(holders, core.last_attempt, HOLDERS_NAMED)
    return tuple([holder.address for holder in holders])


def _fail_for_memory(core: Core, ts: TaskState, total: int) -> None:
    limits = [ws.memory_limit for ws in core.workers.values() if ts.requirement.admits(ws)]
    largest = max(limits, default=0)
    text = (
        f"the inputs of task {ts.key!r} take {total} bytes together, but the largest worker that may run it "
        f"({ts.requirement.describe()}) has a memory limit of {largest} bytes. "
        "Split the inputs, or start workers with a larger --memory-limit."
    )
    core.fail(ts, core.own_failure(ts.key, InsufficientMemoryError, text))


# ---- what a worker with room is sent --------------------------------------------------------------------------------


def place(core: Core) -> None:
    """Send queued tasks to workers with room.

    Only workers whose room has changed are looked at, and as many of the others as there are tasks for them.
    """
    queued = core.totals
    touched = core.roomy
    if touched:
        core.roomy = {}
    elif not queued[QUEUED]:
        return
    for ws in touched:
        core.idle.pop(ws, None)
    free = _warm(core) or _from_the_front(core, core.idle)
    full: dict[WorkerState, None] = {}
    for ws in touched:
        if ws.accepting:
            if ws.sent < ws.nthreads:
                free[ws] = None
            else:
                full[ws] = None
    for ws in free:
        core.idle.pop(ws, None)
        core.hungry.pop(ws, None)
    _serve(core, list(free), full)
    if core.laden and core.idle and queued[QUEUED]:
        _help_out(core, full)
    if core.hungry:
        full.update(_from_the_front(core, core.hungry))
    ahead = list(full)
    while ahead:
        ahead = [ws for ws in ahead if _send_ahead(core, ws)]
    core.unoffered.clear()
    for requirement in [requirement for requirement in core.special if not requirement.queue.length]:
        del core.special[requirement]


def _warm(core: Core) -> dict[WorkerState, None]:
    """For a task that comes alone, the worker that had the last result, if it is wholly idle.

    What it needs is in the processor's caches still, as far as that of others is not any more.
    """
    ws = core.warm
    if ws is None or core.common.queue.length != 1 or core.unoffered or ws not in core.idle or ws.sent:
        return {}
    longest = next(iter(core.idle))
    return {ws: None} if ws.nbytes - longest.nbytes <= WARM_BYTES else {}


def _from_the_front(core: Core, waiting: dict[WorkerState, None]) -> dict[WorkerState, None]:
    """Of workers that found nothing to take, one for each new task that they may take, those first that have waited longest."""
    if not waiting or not (core.common.queue.length or core.unoffered):
        return {}
    return dict.fromkeys(islice(waiting, None if core.unoffered else core.common.queue.length))


def _serve(core: Core, free: list[WorkerState], full: dict[WorkerState, None]) -> None:
    """One task per free thread and round, so that few tasks spread over many workers; ``full`` gets those that have no room."""
    while free:
        following = []
        for ws in free:
            ts = _take(core, ws)
            if ts is None:
                core.idle[ws] = None
                if ws.assigned:
                    _send_followers(core, ws)
                continue
            assign(core, ws, ts)
            if ws.sent < ws.nthreads:
                following.append(ws)
            else:
                full[ws] = None
        free = following


def _send_ahead(core: Core, ws: WorkerState) -> bool:
    """Send some of what keeps a worker busy; returns whether it may have more when others have had their turn."""
    core.hungry.pop(ws, None)
    limit = 0.0 if ws.reserved else _window(ws)
    share = limit / ws.nthreads
    pause = ws.occupancy + share / TURNS
    most = ws.nthreads + AHEAD_MAX
    if ws.occupancy >= limit > 0.0 and ws.nthreads > 1:
        limit += _beyond(ws, share)
    while ws.sent < most and (ws.occupancy < limit or _may_prefetch(core, ws)):
        if ws.occupancy >= pause:
            return True
        ts = _take(core, ws)
        if ts is None:
            core.hungry[ws] = None
            _send_followers(core, ws)
            break
        assign(core, ws, ts)
        if ts.estimate > share:  # it takes a thread, and nothing of the shares of the others: see above
            return True
    if ws.sent > ws.nthreads:
        core.ahead[ws] = None
    return False


def _window(ws: WorkerState) -> float:
    """Seconds of work that a worker is sent ahead."""
    return ws.nthreads * (LOOKAHEAD_S + ROUND_TRIPS * ws.round_trip)


def _beyond(ws: WorkerState, share: float) -> float:
    """By how many seconds what runs, most likely, takes longer than the share of a thread: that keeps no other thread busy."""
    return sum([ts.estimate - share for ts in islice(ws.assigned, ws.nthreads) if ts.estimate > share])


def _send_followers(core: Core, ws: WorkerState) -> None:
    """Send what lacks nothing but results of what the worker has been sent, as far as all is short."""
    if ws.reserved or not ws.accepting:
        return
    window = _window(ws)
    last = ws.nthreads * LEADERS
    leaders = [*islice(reversed(ws.assigned), last), *islice(reversed(ws.following), last)]
    while leaders:
        followers = []
        for leader in leaders:
            if leader.live_dependents > FEW_DEPENDENTS:
                continue
            for ts in leader.each_dependent():
                if ts.status is not WAITING or not _may_follow(core, ws, ts):
                    continue
                if len(ws.following) >= AHEAD_MAX or ws.occupancy + len(ws.following) * ts.estimate >= window:
                    return
                ws.following[ts] = None
                _send(core, ws, ts, 0)
                followers.append(ts)
        leaders = followers


def _may_follow(core: Core, ws: WorkerState, ts: TaskState) -> bool:
    """Whether the worker has all inputs of a waiting task, or makes them; sets the estimate."""
    if ts.prefix.duration is None or ts.requirement is not core.common:
        return False
    if ts.waiting_on > len(ws.assigned) + len(ws.following):
        return False
    for dep in ts.deps:
        if dep in ws.stored:
            continue
        if dep.worker is not ws or dep.prefix.duration is None or not (dep in ws.assigned or dep in ws.following):
            return False
    ts.estimate = ts.prefix.estimate
    return True


def _may_prefetch(core: Core, ws: WorkerState) -> bool:
    """Whether a worker should have one more per thread, as inputs have to be fetched while others run."""
    fetching = ws.fetching
    if ws.reserved or ws.sent >= 2 * ws.nthreads or not (ws.local.length or fetching):
        return False
    for ts in list(fetching):
        if all(dep in ws.stored for dep in ts.deps):
            del fetching[ts]
    if ws.sent - len(fetching) < ws.nthreads:
        return True
    following = ws.local.peek()
    return following is not None and any(dep not in ws.stored for dep in following.deps)


def _take(core: Core, ws: WorkerState) -> TaskState | None:
    """Take the lowest rank that a worker may run out of its queue."""
    while True:
        queue: Queue = ws.local
        best = queue.peek() if queue.length else None
        common = core.common.queue
        if common.length:
            ts = common.peek()
            if ts is not None and (best is None or (ts.rank, ts.ticket) < (best.rank, best.ticket)):
                best, queue = ts, common
        if core.special:
            for requirement in core.special:
                if requirement.queue.length and requirement.admits(ws) and requirement.fits_now(ws):
                    ts = requirement.queue.peek()
                    if ts is not None and (best is None or (ts.rank, ts.ticket) < (best.rank, best.ticket)):
                        best, queue = ts, requirement.queue
        if best is None:
            return None
        queue.pop()
        if best.dependents is None or queue is not common:
            return best
        other = better_place(core, ws, best)
        if other is None:
            return best
        _leave_to(core, other, best)


def _leave_to(core: Core, ws: WorkerState, ts: TaskState) -> None:
    """Have a task that is in no queue wait in that of a worker."""
    core.last_ticket += 1
    ts.worker = ws
    ws.local.push(ts, core.last_ticket)
    core.laden[ws] = None


def assign(core: Core, ws: WorkerState, ts: TaskState, flags: int = 0) -> None:
    """Send a task, which is in no queue any more, to a worker."""
    if not ws.assigned:
        ws.last_result = core.now
    ws.assigned[ts] = None
    ts.estimate = ts.prefix.estimate
    ws.occupancy += ts.estimate
    if ts.requirement.resources is not None:
        ts.requirement.take(ws)
    _send(core, ws, ts, flags)


def _send(core: Core, ws: WorkerState, ts: TaskState, flags: int) -> None:
    core.last_attempt += 1
    ts.attempt = core.last_attempt
    ts.worker = ws
    core.move(ts, ASSIGNED)
    function = ts.function
    assert function is not None
    if ws not in function.workers:
        ws.functions[function.func_id] = function.workers[ws] = None
        ws.new_functions[function.func_id] = function
    deps: tuple[object, ...] = ()
    locations: tuple[Row, ...] = ()
    if ts.deps:
        if ts in core.items:
            flags |= FLAG_ITEMS
            deps, locations = _items(core, ws, ts)
        else:
            deps = tuple([dep.key for dep in ts.deps])
            locations = tuple(
                [
                    (dep.key, dep.attempt, dep.nbytes, _addresses(core, dep))
                    for dep in ts.deps
                    if dep not in ws.stored and dep.holders
                ]
            )
        if ts.waiting_on:
            flags |= FLAG_FOLLOWS
        if locations:
            ws.fetching[ts] = None
    if ts.terms is not None and ts.terms.for_worker is not None:
        core.row(ws, TERMS, (ts.key, ts.attempt, *ts.terms.for_worker))
    if ts.wanted_by:
        flags |= FLAG_WANTED
    core.row(ws, COMPUTE, (ts.key, ts.attempt, function.func_id, ts.payload, ts.rank, deps, locations, flags))


def _items(core: Core, ws: WorkerState, ts: TaskState) -> tuple[tuple[Key, ...], tuple[Row, ...]]:
    """The inputs of a task that needs parts of results, and where the worker finds those that it lacks."""
    inputs = core.items[ts]
    locations = [
        (*to_fetch(key, dep), _addresses(core, dep))
        for key, dep in zip(inputs.keys, inputs.makers, strict=True)
        if dep not in ws.stored and dep.holders
    ]
    return inputs.keys, tuple(dict.fromkeys(locations))


def _help_out(core: Core, full: dict[WorkerState, None]) -> None:
    """Have idle workers help those with queues of their own, as long as that pays."""
    idle = core.idle
    queued = core.totals
    in_vain = 0
    most = min(HELPERS_IN_VAIN, len(idle))
    while in_vain < most and idle and core.laden and queued[QUEUED]:
        ws, _ = idle.popitem(last=False)
        tasks = take_over(core, ws)
        room = ws.nthreads - ws.sent
        for ts in tasks[:room]:
            assign(core, ws, ts)
        for ts in tasks[room:]:
            _leave_to(core, ws, ts)
        if len(tasks) >= room:
            full[ws] = None
            continue
        idle[ws] = None  # to the end: next time another one tries first
        in_vain += not tasks


def unbind(core: Core, ws: WorkerState) -> None:
    """Take a worker out of placement: its own queue is shared out again."""
    if core.warm is ws:
        core.warm = None
    core.roomy.pop(ws, None)
    core.idle.pop(ws, None)
    core.hungry.pop(ws, None)
    core.ahead.pop(ws, None)
    core.laden.pop(ws, None)
    for ts in ws.local.drain():
        core.requeue(ts)
