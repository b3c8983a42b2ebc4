"""Runs that wait for what other runs of the same worker make."""

from __future__ import annotations

from typing import Any

from myscheduler.protocol import messages as m
from myscheduler.worker.events import Cancel, Disconnected, FetchEnded, NotStarted, Overdue, Weighed
from tests.worker.driver import FAR, Driver, error, executed, of, result, sent, task


def follower(key: Any, attempt: int, *deps: Any, locations: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    """A row of COMPUTE for a run that follows others."""
    return task(key, attempt, deps=deps, locations=locations, flags=m.FLAG_FOLLOWS)


def unfetched(key: Any, attempt: int, dep: Any, dep_attempt: int) -> tuple[Any, ...]:
    """The row of UNFETCHED for a run that follows one without result."""
    return (key, attempt, ((dep, dep_attempt, ""),))


def test_it_runs_when_the_other_has_ended() -> None:
    drive = Driver()
    assert executed(drive.compute(task("a", 1), follower("b", 2, "a"), follower("c", 3, "b"))) == ["a"]
    assert executed(drive.end(result("a", 1))) == ["b"]
    assert executed(drive.end(result("b", 2))) == ["c"]
    drive.end(result("c", 3))
    assert drive.machine.fetches.wants == {}


def test_it_may_come_in_a_later_message_and_after_the_end() -> None:
    drive = Driver()
    drive.compute(task("a", 1))
    drive.compute(follower("b", 2, "a"))
    assert executed(drive.end(result("a", 1))) == ["b"]
    assert executed(drive.compute(follower("c", 3, "a"))) == []
    assert executed(drive.end(result("b", 2))) == ["c"]


def test_it_may_need_what_has_to_be_fetched_as_well() -> None:
    drive = Driver()
    drive.compute(task("a", 1), follower("b", 2, "a", "far", locations=(("far", 9, 8, (FAR,)),)))
    assert executed(drive.end(result("a", 1))) == []
    assert executed(drive(FetchEnded(FAR, 1, [("far", 9, 8)], [], []))) == ["b"]


def test_all_that_follow_are_given_back_when_the_first_raises() -> None:
    drive = Driver()
    length = 2000  # no recursion
    rows = [task("x-0", 1), *(follower(f"x-{i}", i + 1, f"x-{i - 1}") for i in range(1, length))]
    for start in range(0, length, 500):
        drive.compute(*rows[start : start + 500])
    out = drive.end(errors=(error("x-0", 1),))
    assert sent(out, m.ERRORS) == (error("x-0", 1),)
    assert set(sent(out, m.UNFETCHED)) == {unfetched(f"x-{i}", i + 1, f"x-{i - 1}", i) for i in range(1, length)}
    assert drive.machine.tasks == drive.machine.runs == drive.machine.fetches.wants == {}


def test_likewise_when_it_is_recalled() -> None:
    drive = Driver()
    drive.compute(task("busy", 1), task("a", 2), follower("b", 3, "a"))
    out = drive.receive((m.RECALL, (("a", 2),)))
    assert sent(out, m.RECALLED) == (("a", 2),)
    assert sent(out, m.UNFETCHED) == (unfetched("b", 3, "a", 2),)


def test_likewise_when_the_executor_had_it_and_had_not_begun() -> None:
    drive = Driver()
    drive.compute(task("a", 1), follower("b", 2, "a"))
    out = drive(NotStarted([("a", 1)]))
    assert sent(out, m.RECALLED) == (("a", 1),)
    assert sent(out, m.UNFETCHED) == (unfetched("b", 2, "a", 1),)


def test_likewise_when_nobody_wants_it_any_more() -> None:
    drive = Driver()
    drive.compute(task("a", 1), follower("b", 2, "a"))
    out = drive.receive((m.FREE, (("a", 1),)))
    assert of(out, Cancel) == [Cancel([("a", 1)], running=True)]
    assert sent(out, m.UNFETCHED) == (unfetched("b", 2, "a", 1),)


def test_likewise_when_its_time_is_over() -> None:
    drive = Driver()
    drive.compute(task("a", 1), follower("b", 2, "a"))
    out = drive(Overdue(error("a", 1), final=False))
    assert sent(out, m.UNFETCHED) == (unfetched("b", 2, "a", 1),)
    assert sent(drive.end(result("a", 1)), m.RECALLED) == (("a", 1),)


def test_likewise_when_the_worker_pauses() -> None:
    drive = Driver(pause_at=100)
    drive.receive((m.WELCOME, {"heartbeat_s": 0.5}))
    drive.compute(task("a", 1), follower("b", 2, "a"), follower("c", 3, "b"))
    out = drive(Weighed(1000))
    assert of(out, Cancel) == [Cancel([("a", 1)], running=False)]
    assert {key for key, *_ in (*sent(out, m.RECALLED), *sent(out, m.UNFETCHED))} == {"b", "c"}


def test_one_that_was_to_follow_what_is_not_here_is_given_back() -> None:
    drive = Driver()
    assert sent(drive.compute(follower("b", 2, "a")), m.UNFETCHED) == (("b", 2, (("a", 0, drive.machine.address),)),)


def test_given_up_itself_it_leaves_nothing() -> None:
    drive = Driver()
    drive.compute(task("a", 1), follower("b", 2, "a"))
    assert sent(drive.receive((m.FREE, (("b", 2),))), m.RECALLED) == (("b", 2),)
    assert drive.machine.fetches.wants == {}
    assert executed(drive.end(result("a", 1))) == []


def test_a_copy_that_the_scheduler_wants_meanwhile_is_the_one_that_is_made() -> None:
    drive = Driver()
    drive.compute(task("a", 1), follower("b", 2, "a"))
    assert drive.receive((m.ACQUIRE, (("a", 1, 8, (FAR,)),))) == []
    assert executed(drive.end(result("a", 1))) == ["b"]


def test_without_a_scheduler_it_goes_on() -> None:
    drive = Driver()
    drive.receive((m.WELCOME, {"heartbeat_s": 0.5}))
    drive.compute(task("a", 1), follower("b", 2, "a"))
    drive(Disconnected("gone"))
    assert executed(drive.end(result("a", 1))) == ["b"]
