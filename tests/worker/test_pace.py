"""How much the executor is given ahead."""

from __future__ import annotations

from myscheduler.worker.pace import AHEAD_NS, FUNCTIONS_MAX, Pace
from myscheduler.worker.state import Task
from tests.worker.driver import task


def test_what_is_known_of_a_function_follows_its_recent_calls() -> None:
    pace = Pace(1)
    pace.learn(b"f", 1000)
    pace.learn(b"f", 3000)
    assert pace.expected(b"f") == 2000


def test_the_number_of_functions_remembered_is_bounded() -> None:
    pace = Pace(1)
    for number in range(FUNCTIONS_MAX + 1):
        pace.learn(b"%d" % number, 1)
    assert pace.expected(b"0") == AHEAD_NS
    assert pace.expected(b"%d" % FUNCTIONS_MAX) == 1


def test_while_a_long_task_holds_the_only_thread_nothing_goes_ahead() -> None:
    pace = Pace(1)
    pace.learn(b"f", 1000)
    pace.enter(Task(task("long", 1, func=b"unknown")))
    assert not pace.admits(b"f")


def test_short_tasks_go_ahead_for_the_threads_that_long_ones_leave() -> None:
    pace = Pace(2)
    pace.learn(b"f", AHEAD_NS // 2)
    pace.enter(Task(task("long", 1, func=b"unknown")))
    assert pace.admits(b"f")
    pace.enter(Task(task("short", 2)))
    assert not pace.admits(b"f")


def test_leaving_undoes_entering_even_if_the_estimate_changed_meanwhile() -> None:
    pace = Pace(1)
    pace.learn(b"f", 1000)
    entered = Task(task("x", 1))
    pace.enter(entered)
    pace.learn(b"f", 10**12)
    pace.leave(entered)
    assert (pace.short, pace.short_ns, pace.long) == (0, 0, 0)
