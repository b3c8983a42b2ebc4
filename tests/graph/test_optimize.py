from __future__ import annotations

import operator
import pickle
from typing import Any

import pytest

from myscheduler.base.errors import GraphError
from myscheduler.base.refs import TaskRef
from myscheduler.graph.delayed import delayed
from myscheduler.graph.optimize import PREVIOUS, Chain, cull, fuse_linear
from myscheduler.graph.task import Graph, Task, TaskOptions


def T(func: Any, *args: Any, **kwargs: Any) -> Task:
    return Task(func, args, kwargs)


def R(key: str) -> TaskRef:
    return TaskRef(key)


def test_cull() -> None:
    graph: Graph = {"a": T(int), "b": T(abs, R("a")), "c": T(int), "d": T(abs, R("elsewhere"))}
    assert list(cull(graph, ["b", "d"])) == ["b", "a", "d"]
    with pytest.raises(GraphError, match="'x' is wanted but not in the graph"):
        cull(graph, ["x"])


def test_chains_become_one_task() -> None:
    graph: Graph = {"a": T(abs, -1), "b": T(operator.add, R("a"), 10), "c": T(str, R("b"))}
    fused = fuse_linear(graph, ["c"])
    assert list(fused) == ["c"]
    assert fused["c"].func(*fused["c"].args) == "11"
    assert list(graph) == ["a", "b", "c"]


def test_a_chain_begins_with_the_inputs_of_its_first_task() -> None:
    graph: Graph = {"x": T(int), "y": T(int), "a": T(operator.add, R("x"), R("y")), "b": T(operator.neg, R("a"))}
    fused = fuse_linear(graph, ["b"])
    assert list(fused) == ["x", "y", "b"]
    assert fused["b"].dependencies == ("x", "y")


def test_the_previous_result_is_put_in_anywhere() -> None:
    a = delayed(abs)(-5)
    b = delayed(lambda *args, **kwargs: (args, kwargs))(a, [a, {"k": a}], key=(a, 1))
    c = b[0]
    (task,) = fuse_linear(c.graph, [c.key]).values()
    assert task.func(*task.args) == (5, [5, {"k": 5}])


@pytest.mark.parametrize(
    "graph",
    [
        {"a": T(int), "b": T(abs, R("a")), "c": T(abs, R("a"))},  # two users
        {"a": T(int), "x": T(int), "b": T(max, R("a"), R("x"))},  # two inputs
        {"b": T(abs, R("elsewhere"))},
        {"a": Task(int, options=TaskOptions(retries=1)), "b": T(abs, R("a"))},
    ],
)
def test_what_is_no_chain_stays(graph: dict[Any, Task]) -> None:
    assert fuse_linear(graph) == graph


def test_wanted_keys_stay() -> None:
    graph: Graph = {"a": T(int), "b": T(abs, R("a")), "c": T(abs, R("b"))}
    fused = fuse_linear(graph, ["b", "c"])
    assert list(fused) == ["b", "c"]
    assert fused["c"].dependencies == ("b",)


def test_equal_options_are_kept() -> None:
    options = TaskOptions(retries=1)
    graph: Graph = {"a": Task(int, options=options), "b": Task(abs, (R("a"),), options=TaskOptions(retries=1))}
    assert fuse_linear(graph)["b"].options == options


def test_equal_chains_share_their_functions() -> None:
    nodes = [delayed(str)(delayed(abs)(i)) for i in range(3)]
    graph: Graph = {key: task for node in nodes for key, task in node.graph.items()}
    fused = fuse_linear(graph, [node.key for node in nodes])
    assert len({id(task.func) for task in fused.values()}) == 1
    assert {task.func.__name__ for task in fused.values()} == {"str"}


def test_chains_can_be_pickled() -> None:
    chain, steps = pickle.loads(pickle.dumps((Chain((abs, str)), (((-1,), {}), ((PREVIOUS,), {})))))
    assert chain(*steps) == "1"
    assert repr(chain) == "<Chain of 2 functions, last str>"
    assert steps[1][0][0] is PREVIOUS
    assert repr(PREVIOUS) == "<previous result>"
