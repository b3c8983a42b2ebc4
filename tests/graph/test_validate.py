from __future__ import annotations

from typing import Any

import pytest

from myscheduler.base.errors import GraphError, KeyTypeError
from myscheduler.base.refs import TaskRef
from myscheduler.graph.task import Graph, Task
from myscheduler.graph.validate import check, check_acyclic, check_inputs, check_same, check_wanted, raise_cycle


def T(*dependencies: Any) -> Task:
    return Task(max, (), {}, dependencies)


def test_good_graphs_pass() -> None:
    graph: Graph = {"a": T(), ("b", 1): T("a", "future"), 3: T("a", ("b", 1))}
    check(graph, external={"future"})
    check({})
    check_wanted(graph, ["a", 3])
    assert list(graph) == ["a", ("b", 1), 3]


def test_missing_keys_name_who_needs_them() -> None:
    with pytest.raises(GraphError, match="task 'b' needs 'a', which is neither in the graph nor a future that is held"):
        check({"b": T("a")})
    check_acyclic({"b": T("a")})


@pytest.mark.parametrize(
    ("graph", "cycle"),
    [
        ({"a": T("a")}, "'a' -> 'a'"),
        ({"a": T("b"), "b": T("c"), "c": T("a")}, "'a' -> 'b' -> 'c' -> 'a'"),
        ({"x": T("y"), "y": T(), "start": T("x", "b"), "b": T("c", "x"), "c": T("b")}, "'b' -> 'c' -> 'b'"),
    ],
)
def test_cycles_are_shown_in_order(graph: Graph, cycle: str) -> None:
    check_inputs(graph)
    for call in (check, check_acyclic, raise_cycle):
        with pytest.raises(GraphError) as caught:
            call(graph)
        assert cycle in str(caught.value)


def test_long_cycles_are_shortened() -> None:
    size = 10_000
    graph: Graph = {number: T((number + 1) % size) for number in range(size)}
    with pytest.raises(GraphError, match=r"^the graph has a cycle, .*: 0 -> 1 -> .* more ... -> 0$") as caught:
        check(graph)
    assert len(str(caught.value)) < 1000


def test_no_cycle_to_raise() -> None:
    with pytest.raises(GraphError, match="the graph has no cycle"):
        raise_cycle({"a": T("b", "elsewhere"), "b": T()})


@pytest.mark.parametrize("key", [True, None, ("a", None), 2**70])
def test_keys_that_cannot_be_are_named(key: Any) -> None:
    with pytest.raises(KeyTypeError, match="key "):
        check({key: T()})
    with pytest.raises(KeyTypeError, match="key "):
        check({"a": T(key)})


def test_unhashable_keys_are_named() -> None:
    with pytest.raises(KeyTypeError, match=r"key \['a'\] is a list"):
        check_wanted({}, [["a"]])
    with pytest.raises(KeyTypeError, match=r"key \['a'\] is a list"):
        Task(max, (TaskRef(["a"]),))  # type: ignore[arg-type]


def test_wanted_keys_must_be_there() -> None:
    with pytest.raises(GraphError, match="'b' is wanted but not in the graph"):
        check_wanted({"a": T()}, ["a", "b"])


def test_one_key_stands_for_one_call() -> None:
    check_same("a", Task(abs, (1,)), Task(abs, (1,)))
    with pytest.raises(GraphError, match=r"have the key 'a': abs\(...\) and abs\(...\); give one another name"):
        check_same("a", Task(abs, (1,)), Task(abs, (2,)))
    with pytest.raises(GraphError, match="two different tasks have the key 'b'"):
        check_same("b", T("a"), T("c"))
