"""What the scheduler's process does about memory that it needs no more."""

from __future__ import annotations

import gc
import sys
import weakref
from dataclasses import dataclass
from typing import Any

import pytest

from myscheduler.protocol import messages as m
from myscheduler.scheduler.check import check
from myscheduler.scheduler.server import collecting as module
from myscheduler.scheduler.server.collecting import Surplus, give_back, renew, spare_records
from myscheduler.scheduler.state import Status
from tests.support.scheduler import Cluster


class Node:
    """May be part of a cycle."""

    itself: Node


def test_few_tasks_are_not_worth_it() -> None:
    surplus = Surplus()
    assert not any(surplus.note(tasks) for tasks in (49_999, 0, 10_000, 0))


def test_it_is_done_once_for_each_crowd_that_has_gone() -> None:
    surplus = Surplus()
    assert [surplus.note(tasks) for tasks in (60_000, 4_000, 3_000, 3_000, 100, 100, 60_000, 2_000, 2_001)] == [
        *(False, False, False, True, False, False, False, False, True)
    ]


def test_garbage_is_collected_rarely_and_when_memory_is_given_back() -> None:
    before = gc.get_threshold()
    try:
        spare_records()
        assert gc.get_threshold()[0] > 10_000
        node = Node()
        node.itself = node
        seen = weakref.ref(node)
        del node
        give_back(Cluster().core)
        assert seen() is None
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
        gc.collect()
        gc.freeze()  # as before: see tests/conftest.py


def test_tables_that_were_large_shrink_and_keep_what_is_left_in_order() -> None:
    cluster = Cluster(workers=1)
    names = [f"k{number}" for number in range(500)]
    cluster.submit(dict.fromkeys(names, ()))
    cluster.run_all()
    cluster.say("c", (m.RELEASE, tuple(names[2:])))
    tables: list[dict[Any, Any]]
    tables = [cluster.core.tasks, cluster.core.clients["c"].wants, cluster.core.workers["w0"].stored]
    large = [sys.getsizeof(table) for table in tables]
    before = [list(table) for table in tables]
    give_back(cluster.core)
    assert [list(table) for table in tables] == before
    assert all(sys.getsizeof(table) < size / 10 for table, size in zip(tables, large, strict=True))


class Holder:
    """As objects of ours: numbers, empty things that are its own, and some that it shares."""

    __slots__ = ("count", "few", "messages", "other", "ratio", "rows", "shared", "unset")

    def __init__(self, shared: list[Any]) -> None:
        self.count = 10**6 + len(shared)
        self.few = 3
        self.ratio = 0.5 * self.count
        self.messages: list[Any] = []
        self.rows: dict[int, Any] = {}
        self.shared = shared
        self.other: Any = None


@dataclass(frozen=True)
class Frozen:
    """What nobody may change."""

    number: int


def test_small_things_are_made_anew_but_for_those_that_somebody_else_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_OURS", __name__)
    shared: list[Any] = []
    holder = Holder(shared)
    holder.other = {"frozen": [Frozen(10**6 + len(shared))]}
    [frozen] = holder.other["frozen"]
    before = [id(value) for value in (holder.count, holder.ratio, holder.messages, holder.rows, frozen.number)]
    keep = (holder.count, holder.ratio, frozen.number)  # so that no other number gets the same place
    assert renew(holder) == 6
    after = [id(value) for value in (holder.count, holder.ratio, holder.messages, holder.rows, frozen.number)]
    assert [one == other for one, other in zip(before, after, strict=True)][:2] == [False, False]
    assert before[4] != after[4]
    assert (holder.count, holder.ratio, frozen.number) == keep
    assert (holder.few, holder.messages, holder.rows) == (3, [], {})
    assert holder.shared is shared


def test_a_scheduler_works_as_before_when_its_small_things_are_new() -> None:
    cluster = Cluster(workers=2)
    cluster.submit({"x": (), "y": ("x",)})
    assert renew(cluster.machine) > 100
    check(cluster.core)
    cluster.run_all()
    assert cluster.core.tasks["y"].status is Status.MEMORY
    assert renew(cluster.machine) > 100
    check(cluster.core)
