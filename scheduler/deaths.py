"""Workers that died, the tasks that may have done it, and how such a task is judged.

Whoever kept the process of a worker tells which attempts it died with: its threads note what they run where that outlives them.
If nobody tells, those are taken that it may have started. Such a task is a *suspect*: from then on it runs with a worker to
itself, so that the next death is held against nobody else. After ``KILLS_MAX`` deaths it is failed, with all that is known
about each of them. All this may be told a little after the connection has broken; a verdict waits for it, but not for long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..base.errors import KilledWorkerError
from ..base.keys import Key
from .liveness import may_be_running
from .queues import Requirement
from .state import QUEUED, WAITING, TaskState, WorkerState

if TYPE_CHECKING:
    from .core import Core

#: Workers that die while running a task before it is not tried again.
KILLS_MAX: Final = 3
#: Deaths that are remembered, so that their story finds them; likewise stories that came before the death was noticed.
REMEMBERED_MAX: Final = 100
#: Seconds that a verdict waits for the story of the last death.
VERDICT_S: Final = 1.0
#: Characters of one story.
STORY_CHARS_MAX: Final = 5000
#: The cause of deaths that a story may take back: the process was ended on purpose.
PLANNED: Final = "planned"

#: By cause, what to try.
_ADVICE: Final = {
    "memory": "It outgrew the memory of its workers: give them more (LocalCluster(memory_limit=...), myworker --memory-limit), "
    "or fewer threads each, or split the task.",
    "crash": "Compiled code crashed: the last words say where. Call the function in a process of your own to repeat it.",
    "exit": "Something ended the process, as os._exit does: find the call, and raise an exception instead.",
    "killed": "If nobody sent that signal, the machine ran out of memory: give workers a memory limit below what there is "
    "(LocalCluster(memory_limit=...), myworker --memory-limit), or split the task.",
    "signal": "Somebody sent that signal to the process: find out who.",
    "stopped": "Somebody stopped the process and did not let it go on: find out who.",
    "stuck": "It held the interpreter lock in compiled code, or blocked the worker's event loop, and did not come back: "
    "release the lock there, or call the function in a process of your own.",
    "": "If the workers ran out of memory, give them more (LocalCluster(memory_limit=...), myworker --memory-limit), or split "
    "the task. Their logs may say more.",
}


class Death:
    """The unplanned end of one worker."""

    __slots__ = ("address", "cause", "name", "pid", "reason", "story")

    def __init__(self, ws: WorkerState, reason: str) -> None:
        self.name = ws.name
        self.address = ws.address
        self.pid = ws.info.get("pid", 0)
        self.reason = reason  # how we noticed
        self.cause = ""  # in a word, from whoever kept the process
        self.story = ""  # in words, likewise

    def __str__(self) -> str:
        how = self.story or f"{self.reason}; nobody told how its process ended"
        return f"worker {self.name} ({self.address}): {how}"


class Deaths:
    """What is known about deaths, and who waits to be judged."""

    __slots__ = ("early", "last", "nowhere", "pending", "suffered")

    def __init__(self) -> None:
        self.last: dict[str, Death] = {}  # by incarnation, oldest first
        self.early: dict[
            tuple[str, int], tuple[str, str, tuple[int, ...]]
        ] = {}  # causes, stories and attempts by name and process, of deaths not noticed yet
        self.suffered: dict[Key, list[tuple[int, Death]]] = {}  # by suspect: the attempt, and the death that ended it
        self.pending: dict[TaskState, tuple[float, Requirement]] = {}  # to be judged: until when, and what it asked for
        self.nowhere = Requirement(workers=())  # where those wait: no worker may run them


def record(core: Core, ws: WorkerState, reason: str) -> None:
    """A worker died without being told to: note it, and hold it against what may have been running."""
    deaths = core.deaths
    death = deaths.last[ws.incarnation] = Death(ws, reason)
    death.cause, death.story, told = deaths.early.pop((death.name, death.pid), ("", "", ()))
    if len(deaths.last) > REMEMBERED_MAX:
        del deaths.last[next(iter(deaths.last))]
    running = [ts for ts in ws.runs() if ts.attempt in told] or may_be_running(ws)
    alone = [ts for ts in running if ts.requirement.usual is not None]
    for ts in alone or running:  # beside one that was to run alone there may be what had left its slot long before
        if not ts.kills:
            deaths.suffered[ts.key] = []
        ts.kills += 1
        deaths.suffered[ts.key].append((ts.attempt, death))


def confine(core: Core, ts: TaskState) -> None:
    """A suspect whose run has been taken from it: choose how it may go on, before it is queued again."""
    usual = ts.requirement.usual or ts.requirement
    if ts.kills < KILLS_MAX:
        ts.requirement = usual.solitary()
        return
    told = all(death.story for _, death in core.deaths.suffered.get(ts.key, ()))
    ts.requirement = core.deaths.nowhere
    core.deaths.pending[ts] = (core.now if told else core.now + VERDICT_S, usual)


def tell(core: Core, name: str, pid: int, cause: str, story: str, running: tuple[int, ...]) -> None:
    """Whoever kept the process of a worker says how it ended, and which attempts ran then."""
    deaths = core.deaths
    story = story[:STORY_CHARS_MAX]
    death = next((d for d in reversed(deaths.last.values()) if (d.name, d.pid) == (name, pid)), None)
    if death is None:
        deaths.early[name, pid] = (cause, story, running)
        if len(deaths.early) > REMEMBERED_MAX:
            del deaths.early[next(iter(deaths.early))]
        return
    death.cause, death.story = cause, story
    if cause == PLANNED:
        _pardon(core, death)
    elif any(attempt in running for entries in deaths.suffered.values() for attempt, by in entries if by is death):
        _pardon(core, death, but=running)
    for ts, (_, usual) in list(deaths.pending.items()):
        if all(known.story for _, known in deaths.suffered.get(ts.key, ())):
            deaths.pending[ts] = (core.now, usual)


def told_cause(core: Core, ws: WorkerState) -> str | None:
    """The cause of a worker's death, if that was told although the death has not been noticed."""
    return core.deaths.early.get((ws.name, ws.info.get("pid", 0)), (None,))[0]


def recant(core: Core, incarnation: str) -> None:
    """A worker lives that was taken to have died: that is held against nobody."""
    death = core.deaths.last.pop(incarnation, None)
    if death is not None:
        _pardon(core, death)


def _pardon(core: Core, death: Death, but: tuple[int, ...] = ()) -> None:
    """A death is held against nobody any more, but these attempts: it was planned, or none, or they did not run then."""
    for key, entries in list(core.deaths.suffered.items()):
        kept = [entry for entry in entries if entry[1] is not death or entry[0] in but]
        ts = core.tasks.get(key)
        if ts is not None and ts.kills and len(kept) < len(entries):
            ts.kills -= 1
            core.deaths.suffered[key] = kept
            if not ts.kills:
                _acquit(core, ts)


def _acquit(core: Core, ts: TaskState) -> None:
    """A task is suspected no longer: it may run beside others again."""
    usual = ts.requirement.usual
    if usual is None:
        return
    queued = ts.status is QUEUED
    if queued:
        core.leave(ts)
    ts.requirement = usual
    if queued:
        core.requeue(ts)


def judge(core: Core) -> None:
    """Fail those whose time has come."""
    deaths = core.deaths
    for ts, (when, usual) in list(deaths.pending.items()):
        if core.now < when:
            continue
        del deaths.pending[ts]
        waits = ts.status is WAITING or ts.status is QUEUED
        if waits and ts.kills >= KILLS_MAX:
            core.fail(ts, core.own_failure(ts.key, KilledWorkerError, _verdict(core, ts)))
            ts.requirement = usual
        elif ts.status is QUEUED:  # pardoned
            core.leave(ts)
            ts.requirement = usual.solitary()
            core.requeue(ts)
        else:  # its inputs are not there, or nobody needs it now
            ts.requirement = usual.solitary()


def next_verdict(core: Core) -> float | None:
    """When ``judge`` has something to do."""
    return min((when for when, _ in core.deaths.pending.values()), default=None)


def _verdict(core: Core, ts: TaskState) -> str:
    entries = core.deaths.suffered.get(ts.key, [])
    runs = "".join(f"\n- attempt {attempt} on {death}" for attempt, death in entries)
    advice = " ".join(_ADVICE.get(cause, _ADVICE[""]) for cause in dict.fromkeys(death.cause for _, death in entries))
    what = f"task {ts.key!r} was running on {ts.kills} workers when they died, so it is not tried again."
    return f"{what}{runs}\nWhat to try: {advice}"
