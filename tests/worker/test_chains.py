"""Runs that begin in the executor with the result of the run before, without anybody else's help."""

from __future__ import annotations

import threading
from typing import Any, Never

import pytest

from myscheduler.protocol import messages as m
from myscheduler.worker.events import Bind, Cancel, Chain, Execute, NotStarted, Overdue
from myscheduler.worker.server import context
from tests.client.support import eventually_async
from tests.worker.bench import TIMEOUT_S, Bench
from tests.worker.driver import FAR, Driver, error, executed, of, result, sent, task
from tests.worker.test_tables import follower

# ---- the machine: what is handed over together ----------------------------------------------------------------------


def experienced() -> Driver:
    """A machine that knows the function of all tasks to be short."""
    drive = Driver()
    drive.compute(task("first", 1))
    drive.end(result("first", 1, duration=1e-5))
    return drive


def test_a_chain_is_handed_over_as_a_whole() -> None:
    drive = experienced()
    rows = [task("a", 2), follower("b", 3, "a", "first"), follower("c", 4, "b")]
    assert drive.compute(*rows) == [Chain(rows)]
    out = drive.end(result("a", 2), result("b", 3), result("c", 4))
    assert [row[0] for row in sent(out, m.RESULTS)] == ["a", "b", "c"]
    assert set(drive.machine.data) == {"first", "a", "b", "c"}


def test_its_terms_come_before_it_and_others_in_their_order() -> None:
    drive = experienced()
    terms = ("b", 4, 1.0, None)
    other, rows = task("other", 2, rank=-1), [task("a", 3), follower("b", 4, "a")]
    out = drive.receive((m.TERMS, (terms,)), (m.COMPUTE, (), (other, *rows)))
    assert out == [Bind([terms]), Execute([other]), Chain(rows)]


def test_it_ends_where_more_is_lacking_or_two_follow() -> None:
    drive = experienced()
    far = follower("b", 3, "a", "far", locations=(("far", 9, 8, (FAR,)),))
    assert executed(drive.compute(task("a", 2), far)) == ["a"]
    drive = experienced()
    assert executed(drive.compute(task("a", 2), follower("b", 3, "a"), follower("c", 4, "a"))) == ["a"]
    assert executed(drive.end(result("a", 2, duration=1e-5))) == ["b", "c"]


def test_nothing_is_handed_over_behind_what_may_be_long() -> None:
    drive = Driver(nthreads=2)
    drive.compute(task("first", 1))
    drive.end(result("first", 1, duration=1e-5))
    assert executed(drive.compute(task("a", 2, func=b"unknown"), follower("b", 3, "a"))) == ["a"]
    assert executed(drive.compute(task("c", 4, func=b"unknown"))) == ["c"]  # in the other thread


def test_it_is_no_longer_than_the_executor_should_have() -> None:
    drive = Driver()
    drive.compute(task("first", 1))
    drive.end(result("first", 1, duration=0.002))
    assert executed(drive.compute(task("a", 2), follower("b", 3, "a"), follower("c", 4, "b"))) == ["a", "b"]


def test_what_is_not_begun_as_the_one_before_failed_is_given_back() -> None:
    drive = experienced()
    drive.compute(task("a", 2), follower("b", 3, "a"), follower("c", 4, "b"))
    drive.end(errors=(error("a", 2),))
    assert sent(drive(NotStarted([("b", 3), ("c", 4)])), m.RECALLED) == (("b", 3), ("c", 4))
    assert drive.machine.runs == drive.machine.tasks == {}


@pytest.mark.parametrize("overdue", [False, True])
def test_when_nobody_wants_a_result_nothing_begins_with_it(overdue: bool) -> None:
    drive = experienced()
    drive.compute(task("a", 2), follower("b", 3, "a"), follower("c", 4, "b"))
    out = drive(Overdue(error("a", 2), final=False)) if overdue else drive.receive((m.FREE, (("a", 2),)))
    assert of(out, Cancel)[-1] == Cancel([("b", 3)], running=False)


# ---- the executor ---------------------------------------------------------------------------------------------------


#: Of ``wait``, which is pickled by its name.
BEGUN, GO_ON = threading.Event(), threading.Event()


def one() -> int:
    return 1


def wait() -> int:
    BEGUN.set()
    GO_ON.wait(TIMEOUT_S)
    return 1


def add(x: int) -> int:
    return x + 1


async def add_later(x: int) -> int:
    return x + 1


def fail(*args: Any) -> Never:
    raise ValueError("no")


async def test_each_gets_the_result_of_the_one_before(bench: Bench) -> None:
    attempts = bench.chain(one, add, add, add)
    assert await bench.result(attempts[-1]) == 4
    assert bench.results() == dict(zip(attempts, (1, 2, 3, 4), strict=True))


async def test_a_failure_ends_it_and_the_rest_is_given_back(bench: Bench) -> None:
    attempts = bench.chain(one, fail, add, add)
    assert isinstance(await bench.error(attempts[1]), ValueError)
    await bench.until(lambda: bench.unstarted() == attempts[2:])
    assert bench.results() == {attempts[0]: 1}
    assert await bench.result(bench.submit(one)) == 1


async def test_one_that_was_taken_out_ends_it_likewise(bench: Bench) -> None:
    BEGUN.clear()
    GO_ON.clear()
    attempts = bench.chain(wait, add, add, add)
    await eventually_async(BEGUN.is_set)
    second = (f"task-{attempts[1]}", attempts[1])
    assert bench.executor.cancel([second], running=False) == [second]
    GO_ON.set()
    await bench.until(lambda: bench.unstarted() == attempts[2:])
    assert bench.results() == {attempts[0]: 1}


async def test_it_goes_on_when_a_coroutine_has_ended(bench: Bench) -> None:
    attempts = bench.chain(one, add_later, add, add_later)
    assert await bench.result(attempts[-1]) == 4


async def test_the_failure_of_a_coroutine_ends_it(bench: Bench) -> None:
    async def fail_later(x: int) -> int:
        raise ValueError("no")

    attempts = bench.chain(one, fail_later, add, add)
    assert isinstance(await bench.error(attempts[1]), ValueError)
    await bench.until(lambda: bench.unstarted() == attempts[2:])


async def test_when_one_leaves_its_slot_the_rest_runs_in_a_slot(bench: Bench) -> None:
    def leave(x: int) -> int:
        context.secede()
        return x + 1

    def slot(x: int) -> int:
        run = context.current_run.get()
        assert run is not None
        assert run.slot is not None
        return run.slot.index

    attempts = bench.chain(one, leave, slot)
    assert await bench.result(attempts[-1]) == 0
