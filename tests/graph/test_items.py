"""Tasks that only take parts of results are found where nothing is lost without them."""

from __future__ import annotations

from operator import getitem
from typing import Any

import pytest

from myscheduler.base.items import base_of, make_item
from myscheduler.base.refs import TaskRef
from myscheduler.graph.items import find_items, without
from myscheduler.graph.order import FEW_USERS, order
from myscheduler.graph.plain import from_plain
from myscheduler.graph.task import Graph, Task, TaskOptions

MANY = FEW_USERS + 1


def all_to_all(width: int = MANY) -> Graph:
    """``width`` results of which each of ``width`` others takes its part."""
    plain: dict[Any, Any] = {f"rows-{n}": (list, range(width)) for n in range(width)}
    for part in range(width):
        plain |= {("part", n, part): (getitem, f"rows-{n}", part) for n in range(width)}
        plain[f"sum-{part}"] = (sum, [("part", n, part) for n in range(width)])
    return from_plain(plain)


def test_all_parts_of_an_all_to_all_are_items() -> None:
    graph = all_to_all()
    items = find_items(graph, {"sum-0": None})
    assert len(items) == MANY**2
    assert items["part", 2, 3] == make_item(("part", 2, 3), "rows-2", 3)
    rest = without(graph, items)
    assert list(rest) == [key for key in graph if key not in items]
    assert rest["sum-3"].dependencies == tuple(f"rows-{n}" for n in range(MANY))
    assert list(order(rest))[:MANY] == [f"rows-{n}" for n in range(MANY)]


def test_a_result_that_few_use_could_be_let_go_of_so_its_parts_are_taken_at_once() -> None:
    assert find_items(all_to_all(FEW_USERS), ()) == {}


@pytest.mark.parametrize(
    "more",
    [
        {"other": (len, "rows-0")},  # another user of the whole
        {"other": (str, ("part", 0, 0))},  # another user of a part
        {("part", 0, 0): (getitem, "rows-0", (0,))},
        {("part", 0, 0): (getitem, "rows-0", True)},
        {("part", 0, 0): (getitem, "rows-0", 2**63)},
        {("part", 0, 0): (getitem, "rows-0", "x" * 257)},
        {("part", 0, 0): (getitem, "rows-0", "rows-1")},  # the index is a result
        {("part", 0, 0): (getitem, [7], 0)},
        {("part", 0, 0): (max, "rows-0", 0)},
        {("part", 0, 0): Task(getitem, (TaskRef("rows-0"), 0), options=TaskOptions(priority=1))},
        {"rows-0": (getitem, {"a": range(MANY)}, "a"), "x": (getitem, "rows-0", 0)},
    ],
)
def test_where_there_is_more_to_it_tasks_stay_tasks(more: dict[Any, Any]) -> None:
    items = find_items(from_plain(dict(all_to_all()) | more), ())
    bases = dict.fromkeys(map(base_of, items.values()))
    assert "rows-0" not in bases
    assert len(bases) >= MANY - 2


@pytest.mark.parametrize("wanted", [("part", 0, 0), "rows-0"])
def test_what_somebody_wants_to_have_is_computed(wanted: Any) -> None:
    assert len(find_items(all_to_all(), {wanted: None})) == MANY**2 - MANY


def test_parts_of_parts_are_taken_by_tasks() -> None:
    plain: dict[Any, Any] = {"rows": (list, [range(MANY)])}
    plain |= {("row", n): (getitem, "rows", n) for n in range(MANY)}
    plain |= {("part", n): (getitem, ("row", 0), n) for n in range(MANY)}
    assert find_items(from_plain(plain), ()) == {}


def test_parts_of_what_is_held_already_are_taken_by_tasks() -> None:
    graph: Graph = {f"part-{n}": Task(getitem, (TaskRef("elsewhere"), n)) for n in range(MANY)}
    graph |= {f"use-{n}": Task(str, (TaskRef(f"part-{n}"),)) for n in range(MANY)}
    assert find_items(graph, ()) == {}
