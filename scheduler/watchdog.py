"""Notices when nothing goes on although something could, and says why.

Looked at a few times a second, it compares two numbers: attempts begun, and tasks that run. A run that begins changes the
first, one that ends the second. Only when both have stood still for a while, with tasks that wait, it looks closer. Tasks that
run, however long, are no reason to say anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..base.keys import Key
from .events import Warn
from .explain import explain
from .state import ASSIGNED, QUEUED, RETRYING, WAITING, TaskState, WorkerState

if TYPE_CHECKING:
    from .core import Core
    from .queues import Requirement

#: Seconds without any progress until it is looked for the reason; by the clock of ``Core.attended``.
QUIET_S: Final = 10.0
#: Seconds between two looks for the reason.
LOOK_S: Final = 5.0
#: Requirements and workers that a text names.
_NAMED_MAX: Final = 5

#: Reasons, in a word.
BUG: Final = "bug"
NO_WORKERS: Final = "no-workers"
REQUIREMENTS: Final = "requirements"
WORKERS: Final = "workers"
SLOTS: Final = "slots"


class Stall:
    """Nothing goes on: why, in a word and in words, and since when (by ``Core.attended``)."""

    __slots__ = ("cause", "since", "text")

    def __init__(self, cause: str, text: str, since: float) -> None:
        self.cause = cause
        self.text = text
        self.since = since


class Watchdog:
    """What it has seen."""

    __slots__ = ("looked", "signs", "since", "stall")

    def __init__(self) -> None:
        self.signs: tuple[int, int] | None = None  # of progress; None while nothing waits
        self.since = 0.0  # when these were first seen
        self.looked = 0.0  # when the reason was looked for
        self.stall: Stall | None = None


def may_stall(core: Core) -> bool:
    """Whether ``watch`` has something to do even if nothing happens."""
    return core.totals[QUEUED] + core.totals[WAITING] > 0 or core.watchdog.stall is not None


def watch(core: Core) -> Warn | None:
    """Look whether anything goes on; what there is to say, once per episode."""
    dog = core.watchdog
    signs = None
    if core.totals[QUEUED] or core.totals[WAITING] or core.totals[ASSIGNED]:
        signs = (core.last_attempt, core.totals[ASSIGNED])
    if signs is None or signs != dog.signs:
        dog.signs = signs
        dog.since = dog.looked = core.attended
        return _end(core)
    if core.attended - dog.since < QUIET_S or core.attended - dog.looked < LOOK_S:
        return None
    dog.looked = core.attended
    found = find_reason(core)
    if found is None:
        return _end(core)
    cause, why = found
    if dog.stall is not None and dog.stall.cause == cause:
        return None
    waiting = (
        core.totals[QUEUED]
        + core.totals[WAITING]
        + sum(len(ws.assigned) for ws in core.workers.values() if _is_full(ws))
    )
    text = f"Nothing goes on, although {waiting} task{' waits' if waiting == 1 else 's wait'} to be run. {why}"
    dog.stall = Stall(cause, text, dog.since)
    return Warn(text)


def _end(core: Core) -> Warn | None:
    stall, core.watchdog.stall = core.watchdog.stall, None
    if stall is None:
        return None
    return Warn(f"Nothing is held up any more, after {core.attended - stall.since:.0f} s.", over=True)


def describe(core: Core) -> dict[str, Any] | None:
    """For answers: what keeps things from going on, if anything does."""
    stall = core.watchdog.stall
    if stall is None:
        return None
    return {"cause": stall.cause, "text": stall.text, "seconds": core.attended - stall.since}


def explain_stalled(core: Core, key: Key) -> str:
    """Why a task is where it is; if nothing goes on, why that is, too."""
    text, stall, ts = explain(core, key), core.watchdog.stall, core.tasks.get(key)
    if stall is None or ts is None or ts.status not in (QUEUED, WAITING):
        return text
    return stall.text if text in stall.text else f"{text} {stall.text}"


# ---- the reason -----------------------------------------------------------------------------------------------------


def find_reason(core: Core) -> tuple[str, str] | None:
    """Why none of the tasks that wait is run, in a word and in words; None if that is as it should be."""
    if not core.totals[QUEUED]:
        if core.totals[RETRYING]:
            return None
        if core.totals[ASSIGNED]:
            return _behind_runs(core)
        return _bug(core, next((ts for ts in core.tasks.values() if ts.status is WAITING), None))
    if not core.workers:
        return NO_WORKERS, _example(core, _first(core))
    asking = [requirement for requirement in (core.common, *core.special) if requirement.queue.length]
    unmet: list[Requirement] = []
    held_up = held_back = False  # by workers that take nothing now; by what runs
    for ws in core.workers.values():
        if ws.local.length and ws.accepting and ws.sent < ws.nthreads:
            return _bug(core, ws.local.peek())
        held_up = held_up or (ws.local.length > 0 and not ws.usable)
        held_back = held_back or (ws.local.length > 0 and ws.usable)
    for requirement in asking:
        if requirement is core.deaths.nowhere:
            return None  # the verdict comes within a second
        admitted = [ws for ws in core.workers.values() if requirement.admits(ws)]
        able = [ws for ws in admitted if ws.usable]
        if any(ws.accepting and ws.sent < ws.nthreads and requirement.fits_now(ws) for ws in able):
            return _bug(core, requirement.queue.peek())
        if not admitted:
            unmet.append(requirement)
        held_up = held_up or (bool(admitted) and not able)
        held_back = held_back or bool(able)
    if held_back:
        return _behind_runs(core)
    if unmet:
        return REQUIREMENTS, _describe_unmet(core, unmet)
    return WORKERS, f"No worker that may run them takes tasks now: {_standings(core)}."


def _behind_runs(core: Core) -> tuple[str, str] | None:
    """Tasks wait for slots or resources that runs occupy."""
    workers = core.workers.values()
    if any(ws.long_running or (ws.assigned and not _is_full(ws)) for ws in workers):
        return None
    count = sum(len(ws.abandoned) for ws in workers)
    if not count:
        return _bug(core, _first(core))
    return SLOTS, (
        f"What they wait for is occupied by {count} run{'' if count == 1 else 's'} that nobody wants any more (cancelled, or "
        "longer than the timeout), and that go on: a function that runs cannot be stopped from outside. It should look at "
        "cancelled(); restarting the worker ends it."
    )


def _is_full(ws: WorkerState) -> bool:
    """Whether all slots are occupied by runs that were given up, so that what is assigned is not running."""
    return ws.abandoned_slots >= ws.nthreads


def _bug(core: Core, ts: TaskState | None) -> tuple[str, str]:
    return BUG, (
        f"There is no reason for that, so it is a fault of the scheduler's. {_example(core, ts)} "
        "Please save what has happened, and report it: myscheduler journal save -o journal"
    )


def _example(core: Core, ts: TaskState | None) -> str:
    return "" if ts is None else f"For example: {explain(core, ts.key)}"


def _first(core: Core) -> TaskState | None:
    """The first task of some queue."""
    queues = [requirement.queue for requirement in (core.common, *core.special)]
    queues += [ws.local for ws in core.workers.values()]
    return next((ts for queue in queues if (ts := queue.peek()) is not None), None)


def _describe_unmet(core: Core, unmet: list[Requirement]) -> str:
    wanted = list(dict.fromkeys(requirement.describe() for requirement in unmet))
    more = f" and {len(wanted) - _NAMED_MAX} others" if len(wanted) > _NAMED_MAX else ""
    return f"No worker that is connected meets what they require: {'; '.join(wanted[:_NAMED_MAX])}{more}."


def _standings(core: Core) -> str:
    resting: list[WorkerState] = [ws for ws in core.workers.values() if not ws.usable]
    shown = ", ".join(f"{ws.name} is {ws.standing}" for ws in resting[:_NAMED_MAX])
    return shown + (f" and {len(resting) - _NAMED_MAX} more" if len(resting) > _NAMED_MAX else "")
