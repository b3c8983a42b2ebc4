"""Parts of results as inputs: the machine keeps books of them, the shell takes them out."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from myscheduler.base.items import make_item
from myscheduler.base.keys import Key
from myscheduler.protocol import messages as m
from myscheduler.protocol import pickling
from myscheduler.worker.events import Disconnected, Drop, Execute, Fetch, FetchEnded, Received
from myscheduler.worker.server.inputs import FailedPart, inputs_of
from myscheduler.worker.server.packing import Packer
from myscheduler.worker.store import Store
from tests.worker.driver import FAR, FARTHER, Driver, executed, of, result, sent, task

PART = make_item("part-1", "rows", 1)
#: Needs something else as well, which takes longer to come.
LATE = task("late", 8, 0, ("y", PART), (("y", 6, 8, (FARTHER,)), (PART, 5, 8, (FAR,))), flags=m.FLAG_ITEMS)


def needing(key: str, attempt: int, *deps: Key, located: bool = True, **more: int) -> tuple:
    """A row that needs the part, of which another worker has the whole."""
    flags = m.FLAG_ITEMS | more.get("flags", 0)
    return task(key, attempt, 0, (PART, *deps), ((PART, 5, 8, (FAR,)),) if located else (), flags=flags)


def waiting(*rows: tuple) -> Driver:
    """A machine that has asked for the part."""
    drive = Driver(nthreads=4)
    assert [fetch.rows for fetch in of(drive.compute(*rows), Fetch) if fetch.address == FAR] == [((PART, 5),)]
    return drive


def come(drive: Driver) -> list:
    return drive(FetchEnded(FAR, drive.machine.fetches.peers[FAR].request, [(PART, 5, 8)], [], []))


# ---- the machine ----------------------------------------------------------------------------------------------------


def test_a_part_is_fetched_and_kept_until_the_run_is_handed_over() -> None:
    row = needing("x", 7)
    out = come(waiting(row))
    assert out == [Execute([row]), Drop([(PART, 5)])]  # no word to the scheduler: it knows of no such copy


def test_it_is_kept_for_all_who_need_it() -> None:
    drive = waiting(needing("x", 7), LATE)
    out = come(drive)
    assert executed(out) == ["x"]
    assert of(out, Drop) == []
    assert executed(drive.compute(needing("z", 9))) == ["z"]
    out = drive(FetchEnded(FARTHER, drive.machine.fetches.peers[FARTHER].request, [("y", 6, 8)], [], []))
    assert executed(out) == ["late"]
    assert of(out, Drop) == [Drop([(PART, 5)])]
    assert drive.machine.items == {}


def test_who_does_not_run_after_all_lets_go_of_it() -> None:
    drive = waiting(LATE)
    come(drive)
    out = drive.receive((m.RECALL, (("late", 8),)))
    assert sent(out, m.RECALLED) == (("late", 8),)
    assert of(out, Drop) == [Drop([(PART, 5)])]


def test_where_the_whole_is_nothing_is_fetched() -> None:
    drive = Driver()
    drive.compute(task("rows", 5))
    drive.end(result("rows", 5))
    assert drive.compute(needing("x", 7, located=False)) == [Execute([needing("x", 7, located=False)])]


def test_the_whole_may_be_made_or_on_its_way_here() -> None:
    drive = Driver(nthreads=4)
    assert executed(drive.compute(task("rows", 5), needing("x", 7, located=False, flags=m.FLAG_FOLLOWS))) == ["rows"]
    assert executed(drive.end(result("rows", 5))) == ["x"]
    drive = Driver(nthreads=4)
    drive.compute(task("y", 6, 0, ("rows",), (("rows", 5, 8, (FAR,)),)), needing("x", 7, located=False))
    assert executed(drive(FetchEnded(FAR, 1, [("rows", 5, 8)], [], []))) == ["y", "x"]


def test_a_part_that_cannot_be_had_is_told_as_the_whole() -> None:
    drive = waiting(needing("x", 7))
    out = drive(FetchEnded(FAR, 1, [], [PART], []))
    assert sent(out, m.UNFETCHED) == (("x", 7, (("rows", 5, FAR),)),)
    drive = Driver()
    out = drive.compute(needing("x", 7, located=False))
    assert sent(out, m.UNFETCHED) == (("x", 7, (("rows", 0, drive.machine.address),)),)


def test_an_inventory_does_not_tell_of_parts() -> None:
    drive = waiting(LATE)
    come(drive)
    drive(Disconnected("gone"))
    out = drive(Received(((m.WELCOME, {"heartbeat_s": 1.0}),)))
    assert sent(out, m.INVENTORY) == ()
    assert PART in drive.machine.data


# ---- the shell ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def packer() -> AsyncIterator[Packer]:
    made = Packer()
    yield made
    made.close()


@pytest.fixture
def store() -> Store:
    made = Store()
    made.put("rows", 5, ["a", "b"], 100)
    return made


async def test_a_part_is_taken_where_the_whole_is(packer: Packer, store: Store) -> None:
    packed = await packer.pack(store, [(PART, 5), (make_item("n", "none", 0), 5), (PART, 4)])
    assert [(key, pickling.loads(payload)) for key, payload in packed.rows] == [(PART, "b")]
    assert [key for key, _ in packed.missing] == [make_item("n", "none", 0), PART]


@pytest.mark.parametrize("fetched", [False, True])
async def test_a_part_that_is_not_there_is_an_error_of_the_run(packer: Packer, store: Store, fetched: bool) -> None:
    absent = make_item("part-9", "rows", 9)
    if fetched:
        [(_, payload)] = (await packer.pack(store, [(absent, 5)])).rows
        value = pickling.loads(payload)
        assert type(value) is FailedPart
        store.drop([("rows", 5)])
        store.put(absent, 5, value, 8)
    inputs = inputs_of(task("x", 7, 0, (absent,), flags=m.FLAG_ITEMS), store)
    with pytest.raises(IndexError, match="list index out of range"):
        inputs["part-9"]


def test_inputs_are_found_by_key_or_name(store: Store) -> None:
    store.put("y", 6, "whole", 8)
    store.put(PART, 5, "fetched", 8)
    other = make_item("part-0", "rows", 0)
    inputs = inputs_of(task("x", 7, 0, ("y", PART, other, "made"), flags=m.FLAG_ITEMS), store, "made")
    assert [inputs[name] for name in ("y", "part-1", "part-0", "part-0")] == ["whole", "fetched", "a", "a"]
    assert "made" not in inputs
    assert inputs_of(task("x", 7, 0, ("y", "made")), store, "made") == {"y": "whole"}
