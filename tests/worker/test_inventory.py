"""What a worker says when it has found its scheduler again, and what it keeps to itself until then."""

from __future__ import annotations

from typing import Any

from myscheduler.base.limits import ROWS_PER_MESSAGE_MAX
from myscheduler.protocol import messages as m
from myscheduler.worker.events import (
    Beat,
    Disconnected,
    FetchEnded,
    FetchFailed,
    Instruction,
    Overdue,
    Seceded,
    Send,
    Stored,
    Tick,
)
from tests.worker.driver import FAR, Driver, error, executed, of, result, sent, task

WELCOME = (m.WELCOME, {"heartbeat_s": 10.0})
RUNNING, SECEDED, SENT = m.STAGE_RUNNING, m.STAGE_SECEDED, m.STAGE_SENT


def messages(out: list[Instruction]) -> list[Any]:
    return [send.message for send in of(out, Send)]


def test_an_empty_inventory_ends_too() -> None:
    drive = Driver()
    drive.receive(WELCOME)
    assert drive(Disconnected("reset")) == []
    assert messages(drive.receive(WELCOME)) == [(m.INVENTORY, (), (), (), False)]


def test_the_first_welcome_asks_for_none() -> None:
    assert Driver().receive(WELCOME) == []


def test_it_names_copies_runs_and_functions() -> None:
    drive = Driver(nthreads=2)
    drive.receive((m.COMPUTE, ((b"f", b"code"), (b"g", b"code")), (task("x", 1), task("s", 2))))
    drive.receive((m.UNDEFINE, (b"g",)))
    drive.compute(task("y", 3), task("z", 4), task("w", 5, deps=("far",), locations=(("far", 9, 8, (FAR,)),)))
    drive(Stored([("data", 6, 80)]))
    drive.end(result("x", 1))
    drive(Seceded([("s", 2, True)]))
    drive(Disconnected("reset"))
    [inventory] = messages(drive.receive(WELCOME))
    runs = (("s", 2, SECEDED, False), ("y", 3, RUNNING, False), ("z", 4, RUNNING, False), ("w", 5, SENT, False))
    assert inventory == (m.INVENTORY, (("data", 6, 80, ""), ("x", 1, 8, "int")), runs, (b"f",), False)


def test_runs_that_were_given_up_are_named_as_such_until_they_are_answered() -> None:
    drive = Driver()
    drive.compute(task("x", 1))
    drive.receive((m.FREE, (("x", 1),)))
    drive(Disconnected("reset"))
    assert messages(drive.receive(WELCOME)) == [(m.INVENTORY, (), (("x", 1, RUNNING, True),), (), False)]
    assert sent(drive.end(result("x", 1)), m.RECALLED) == (("x", 1),)


def test_work_goes_on_meanwhile_and_results_and_errors_are_reported_after_it() -> None:
    drive = Driver(nthreads=3)
    drive.compute(task("x", 1), task("bad", 2), task("slow", 3), task("next", 4))
    drive(Disconnected("reset"))
    assert executed(drive.end(result("x", 1))) == ["next"]
    assert messages(drive.end(errors=(error("bad", 2),))) == []
    assert messages(drive(Overdue(error("slow", 3), final=True))) == []
    inventory, *rest = messages(drive.receive(WELCOME))
    unanswered = (("x", 1), ("bad", 2), ("next", 4), ("slow", 3))
    assert inventory == (m.INVENTORY, (), tuple((*run, RUNNING, False) for run in unanswered), (), False)
    assert rest == [
        (m.RESULTS, (result("x", 1),)),
        (m.FINAL, (("slow", 3),)),
        (m.ERRORS, (error("bad", 2),)),
        (m.OVERDUE, (error("slow", 3),)),
    ]
    assert messages(drive(Tick())) == []


def test_what_it_says_itself_is_not_said_twice() -> None:
    drive = Driver()
    drive.compute(
        task("x", 1),
        task("y", 2, deps=("far",), locations=(("far", 9, 8, (FAR,)),)),
        task("z", 3, deps=("lost",), locations=(("lost", 9, 8, ("tcp://10.0.0.9:1",)),)),
    )
    drive(Disconnected("reset"))
    drive(FetchEnded(FAR, 1, [("far", 9, 8)], [], []))
    drive(FetchFailed("tcp://10.0.0.9:1", 2))
    drive(Seceded([("x", 1, True)]))
    [inventory] = messages(drive.receive(WELCOME))
    assert inventory[1] == (("far", 9, 8, ""),)
    assert ("x", 1, SECEDED, False) in inventory[2]
    assert "z" not in [row[0] for row in inventory[2]]


def test_it_is_cut_into_slices() -> None:
    drive = Driver()
    count = 2 * ROWS_PER_MESSAGE_MAX + 1
    drive(Stored([(f"x-{i}", i + 1, 8) for i in range(count)]))
    drive.compute(task("y", count + 1))
    drive(Disconnected("reset"))
    slices = messages(drive.receive(WELCOME))
    assert [len(part[1]) for part in slices] == [ROWS_PER_MESSAGE_MAX, ROWS_PER_MESSAGE_MAX, 1]
    assert [len(part[2]) for part in slices] == [1, 0, 0]
    assert [part[4] for part in slices] == [True, True, False]


def test_there_are_no_heartbeats_meanwhile() -> None:
    drive = Driver()
    drive.receive(WELCOME)
    drive(Disconnected("reset"))
    assert drive.machine.next_deadline() is None
    drive.receive(WELCOME)
    assert of(drive(Tick()), Beat) == [Beat(0, 0, paused=False)]
