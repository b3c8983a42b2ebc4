from __future__ import annotations

from operator import add
from typing import Any

import pytest

from myscheduler.base.errors import GraphError, KeyTypeError
from myscheduler.base.refs import TaskRef
from myscheduler.graph.arguments import find_refs
from myscheduler.graph.plain import from_plain
from myscheduler.graph.task import Task
from myscheduler.local.synchronous import SynchronousScheduler


def inc(x: int) -> int:
    return x + 1


def get(dsk: dict[Any, Any], *keys: Any) -> list[Any]:
    return SynchronousScheduler().compute(from_plain(dsk), list(keys))


@pytest.mark.parametrize(
    ("value", "result"),
    [
        (5, 5),
        ((add, "x", 10), 11),
        ((add, ("y", 0), "x"), 3),
        ("x", 1),
        (("y", 0), 2),
        (["x", ("y", 0), "other"], [1, 2, "other"]),
        ((sum, ["x", "x", 5]), 7),
        ((add, (inc, "x"), (inc, (inc, ("y", 0)))), 6),
        ((sum, [(inc, "x"), 5]), 7),
        ([(inc, "x"), [(inc, (inc, "x"))]], [2, [3]]),
        ({"a": "x", "b": (inc, "x")}, {"a": 1, "b": 2}),
        (("not", "a key"), ("not", "a key")),
        ((add, ("other", 0), ()), ("other", 0)),
        (True, True),
        ((add, [["nested"]], ["x"]), [["nested"], 1]),
        (Task(inc, (5,)), 6),
        ("z", "z"),
        ((), ()),
    ],
)
def test_values(value: Any, result: Any) -> None:
    assert get({"x": 1, ("y", 0): 2, "z": value}, "z") == [result]


def test_keys_in_lists_are_references_and_others_are_not() -> None:
    graph = from_plain({"x": 1, "y": (inc, "x"), "z": (max, ["x", "y", "w"])})
    assert graph["z"].dependencies == ("x", "y")


def test_references_are_found_wherever_they_are() -> None:
    ref, call = TaskRef("w"), (inc, "y")
    graph = from_plain(
        {"x": 1, "y": 2, "z": (max, [slice(ref, None)], {ref: {"x"}}, call), "alias": "x", "own": ("own", "x")}
    )
    assert graph["z"].dependencies == ("w", "x", "y")
    assert graph["z"].dependencies == tuple(find_refs(graph["z"].args))
    assert graph["alias"].dependencies == graph["own"].dependencies[1:] == ("x",)
    assert graph["x"].dependencies == ()


def test_the_order_of_a_set_is_always_the_same() -> None:
    names = [f"x{number}" for number in range(9)]
    graph = from_plain({**dict.fromkeys(names, 1), "sum": (sum, set(names))})
    assert list(graph["sum"].dependencies) == names


def test_true_is_not_the_key_one() -> None:
    assert get({1: "one", "x": (str, True)}, "x") == ["True"]


def test_unhashable_parts_are_data() -> None:
    assert get({"x": (len, ([1], {}))}, "x") == [2]


def test_bad_graphs() -> None:
    with pytest.raises(KeyTypeError, match="key None is a NoneType"):
        from_plain({None: 1})
    with pytest.raises(GraphError, match="a graph is a dict of keys to tasks, not a list"):
        from_plain([1])  # type: ignore[arg-type]
