"""It barks when nothing goes on although something could, once, and at nothing else."""

from __future__ import annotations

from typing import Any

from myscheduler.protocol import messages as m
from myscheduler.scheduler import watchdog
from myscheduler.scheduler.events import Event, Warn
from myscheduler.scheduler.state import Status
from tests.support.scheduler import Cluster


class Watched(Cluster):
    """A cluster whose time passes as the machine asks for it, with workers that beat."""

    def __init__(self, *args: Any, **kw: Any) -> None:
        self.reports: list[Warn] = []
        self.mute: tuple[str, ...] = ()
        super().__init__(*args, **kw)

    def step(self, *events: Event) -> None:
        handle = self.machine.handle

        def listening(now: float, events: list[Event]) -> Any:
            instructions = handle(now, events)
            self.reports += [each for each in instructions if isinstance(each, Warn)]
            return instructions

        self.machine.handle = listening  # type: ignore[method-assign]
        try:
            super().step(*events)
        finally:
            self.machine.handle = handle  # type: ignore[method-assign]

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.machine.next_deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            beats = [ws for ws in self.core.workers if ws not in self.mute]
            for ws in beats:
                self.say(ws, (m.HEARTBEAT, {}))
            if not beats:
                self.step()
        self.now = end

    @property
    def cause(self) -> str | None:
        stall = self.core.watchdog.stall
        return None if stall is None else stall.cause


def test_without_workers_it_says_so_once_and_when_it_is_over() -> None:
    cluster = Watched()
    cluster.submit({"x": (), "y": ("x",)})
    cluster.wait(9.5)
    assert cluster.cause is None
    cluster.wait(1.0)
    expected = (
        "Nothing goes on, although 2 tasks wait to be run. For example: 'x' is ready to run, but no worker is connected. "
        "Start one with `myworker`."
    )
    assert cluster.cause == watchdog.NO_WORKERS
    assert cluster.reports == [Warn(expected)]
    cluster.wait(60.0)
    assert len(cluster.reports) == 1
    assert cluster.call("explain", "x") == expected  # and not twice
    info = cluster.call("scheduler_info")["stalled"]
    assert (info["cause"], info["text"]) == ("no-workers", expected)
    assert 69.0 < info["seconds"] < 72.0
    cluster.worker("w0")
    cluster.wait(1.0)
    assert cluster.reports[1].over
    assert cluster.reports[1].text.startswith("Nothing is held up any more, after 7")
    assert cluster.call("scheduler_info")["stalled"] is None


def test_cancelling_what_waits_ends_it_and_then_nobody_is_woken() -> None:
    cluster = Watched()
    cluster.submit({"x": ()})
    cluster.wait(11.0)
    cluster.say("c", (m.RELEASE, ("x",)))
    cluster.wait(1.0)
    assert [report.over for report in cluster.reports] == [False, True]
    assert cluster.machine.next_deadline() is None


def test_requirements_that_no_worker_meets_are_named() -> None:
    cluster = Watched(workers=1)
    cluster.submit({"x": ()}, workers=("big",))
    cluster.submit({"y": ()}, resources=(("GPU", 2.0),))
    cluster.wait(11.0)
    assert cluster.cause == watchdog.REQUIREMENTS
    assert cluster.reports[0].text == (
        "Nothing goes on, although 2 tasks wait to be run. No worker that is connected meets what they require: workers big; "
        "resources GPU=2."
    )
    assert cluster.call("explain", "x").endswith(f"requirement: workers big. {cluster.reports[0].text}")
    assert cluster.call("overview")["stalled"]["cause"] == "requirements"


def test_another_cause_is_another_report() -> None:
    cluster = Watched()
    cluster.submit({"x": ()}, workers=("big",))
    cluster.wait(11.0)
    cluster.worker("w0")
    cluster.wait(20.0)
    assert cluster.cause == watchdog.REQUIREMENTS
    assert [report.over for report in cluster.reports if report.over] == []
    assert len(cluster.reports) == 2


def test_workers_that_take_nothing_are_named() -> None:
    cluster = Watched(workers=2)
    cluster.core.workers["w0"].retiring = cluster.core.workers["w1"].retiring = True
    cluster.core.idle.clear()
    cluster.submit({"x": ()})
    assert watchdog.find_reason(cluster.core) == (
        watchdog.WORKERS,
        "No worker that may run them takes tasks now: w0 is retiring, w1 is retiring.",
    )


def test_a_silent_worker_is_the_reason_until_it_is_given_up() -> None:
    cluster = Watched(workers=1)
    cluster.mute = ("w0",)
    cluster.wait(4.75)
    cluster.submit({"x": ()})
    cluster.core.workers["w0"].vouched_until = 1e9
    cluster.wait(11.0)
    assert cluster.cause == watchdog.WORKERS
    assert cluster.reports[0].text.endswith("takes tasks now: w0 is unresponsive.")


def test_long_runs_are_no_reason_whatever_waits_for_them() -> None:
    cluster = Watched(workers=1, resources={"GPU": 1})
    cluster.submit({"x": (), "after": ("x",), "next": (), "later": ()}, resources=(("GPU", 1.0),))
    cluster.wait(100.0)
    assert not cluster.reports
    assert cluster.core.totals[Status.ASSIGNED] == 1


def test_a_task_that_waits_for_its_next_try_is_no_reason() -> None:
    cluster = Watched(workers=1)
    cluster.submit({"x": (), "after": ("x",)}, retries=1, terms=(60.0, 1.0, None, None, None))
    cluster.fail("w0", {key: run for key, run in cluster.runs("w0").items() if key == "x"})
    cluster.wait(50.0)
    assert not cluster.reports


def test_slots_that_cancelled_runs_occupy_are_a_reason() -> None:
    cluster = Watched(workers=1)
    cluster.submit({"x": ()})
    cluster.say("c", (m.RELEASE, ("x",)))
    cluster.submit({"y": ()})
    cluster.wait(11.0)
    assert cluster.cause == watchdog.SLOTS
    assert cluster.reports[0].text.startswith(
        "Nothing goes on, although 1 task waits to be run. What they wait for is occupied by 1 run that nobody wants any more"
    )


def test_a_fault_of_our_own_is_called_one() -> None:
    cluster = Watched(workers=1)
    cluster.submit({"x": ()}, workers=("big",))
    ts = cluster.core.tasks["x"]
    ts.requirement.workers = None  # nothing looks at that again
    cluster.core.special.clear()
    cluster.core.special[ts.requirement] = None
    assert watchdog.find_reason(cluster.core) == (
        watchdog.BUG,
        "There is no reason for that, so it is a fault of the scheduler's. For example: 'x' is ready to run; 0 tasks are "
        "before it in the common queue. Please save what has happened, and report it: myscheduler journal save -o journal",
    )


def test_tasks_that_wait_for_nothing_are_a_fault_too() -> None:
    cluster = Watched(workers=1)
    cluster.submit({"x": (), "y": ("x",)})
    found = cluster.core.tasks["y"]
    cluster.core.totals[Status.ASSIGNED] = 0
    cluster.core.workers["w0"].assigned.clear()
    assert found.status is Status.WAITING
    reason = watchdog.find_reason(cluster.core)
    assert reason is not None
    assert reason[0] == watchdog.BUG
    assert "'y' waits for 1 of its 1 inputs" in reason[1]


def test_a_scheduler_that_stood_still_does_not_blame_that_on_anybody() -> None:
    cluster = Watched()
    cluster.submit({"x": ()})
    cluster.now += 3600.0
    cluster.step()
    assert not cluster.reports


def test_many_names_are_cut_short() -> None:
    cluster = Watched(workers=1)
    for number in range(8):
        cluster.submit({f"x{number}": ()}, workers=(f"big{number}",))
    reason = watchdog.find_reason(cluster.core)
    assert reason is not None
    assert reason[1].endswith("workers big4 and 3 others.")


def test_paused_workers_that_press_on_are_no_reason() -> None:
    cluster = Watched(workers=1)
    cluster.mute = ("w0",)
    cluster.say("w0", (m.HEARTBEAT, {"paused": True}))
    cluster.submit({"x": (), "y": ()})
    assert cluster.core.totals[Status.ASSIGNED] == cluster.core.totals[Status.QUEUED] == 1
    assert watchdog.find_reason(cluster.core) is None
