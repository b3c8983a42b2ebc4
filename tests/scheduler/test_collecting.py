"""What the scheduler's process does about memory that it needs no more."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any

from myscheduler.protocol import messages as m
from myscheduler.scheduler.server.collecting import Surplus, give_back, spare_records
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
