from __future__ import annotations

import random
from collections.abc import Hashable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myscheduler.base.errors import GraphError
from myscheduler.graph.order import order
from myscheduler.graph.task import Graph, Task, TaskOptions


def T(*dependencies: Any) -> Task:
    return Task(max, (), {}, dependencies)


def peak(graph: Graph) -> int:
    """How many results are alive at most when one thread runs the graph in order and drops what nobody needs."""
    ranks = order(graph)
    assert sorted(ranks.values()) == list(range(len(graph)))
    users = dict.fromkeys(graph, 0)
    for task in graph.values():
        for dependency in task.dependencies:
            users[dependency] += 1
    alive: set[Hashable] = set()
    most = 0
    for key in sorted(graph, key=ranks.__getitem__):
        assert all(dependency in alive for dependency in graph[key].dependencies), "not topological"
        alive.add(key)
        most = max(most, len(alive))
        for dependency in graph[key].dependencies:
            users[dependency] -= 1
            if not users[dependency]:
                alive.remove(dependency)
    return most


def reduce(graph: Graph, keys: list[Any], name: str, width: int = 2) -> Any:
    level = 0
    while len(keys) > 1:
        level += 1
        groups = [keys[start : start + width] for start in range(0, len(keys), width)]
        keys = [(name, level, number) for number in range(len(groups))]
        graph.update({key: T(*group) for key, group in zip(keys, groups, strict=True)})
    return keys[0]


def leaves(graph: Graph, name: str, count: int) -> list[Any]:
    graph.update({(name, number): T() for number in range(count)})
    return [(name, number) for number in range(count)]


def shuffled(graph: Graph, seed: int) -> Graph:
    keys = list(graph)
    random.Random(seed).shuffle(keys)
    return {key: graph[key] for key in keys}


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_binary_tree(seed: int | None) -> None:
    graph: Graph = {}
    reduce(graph, leaves(graph, "x", 4096), "sum")
    assert peak(graph if seed is None else shuffled(graph, seed)) <= 14  # log2(4096) + 2


def test_wide_tree() -> None:
    graph: Graph = {}
    reduce(graph, leaves(graph, "x", 4096), "sum", width=8)
    assert peak(graph) <= 8 * 4 + 1


def test_map_reduce_with_a_broadcast() -> None:
    graph: Graph = {"parameters": T()}
    xs = leaves(graph, "x", 512)
    for x in xs:
        graph["map", x] = T(x, "parameters")
    reduce(graph, [("map", x) for x in xs], "sum")
    assert peak(graph) <= 13


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("analyses", [2, 3, 5])
def test_several_analyses_of_the_same_chunks(analyses: int, joined: bool) -> None:
    graph: Graph = {}
    xs = leaves(graph, "x", 512)
    ends = []
    for number in range(analyses):
        for x in xs:
            graph["a", number, x] = T(x)
            graph["b", number, x] = T(("a", number, x))
        ends.append(reduce(graph, [("b", number, x) for x in xs], f"sum-{number}"))
    if joined:
        graph["end"] = T(*ends)
    assert peak(graph) <= 10 * analyses + 1


def test_analyses_of_one_and_of_two_inputs() -> None:
    graph: Graph = {}
    xs, ys = leaves(graph, "x", 512), leaves(graph, "y", 512)
    for x, y in zip(xs, ys, strict=True):
        graph["sx", x], graph["sy", y], graph["sxy", x] = T(x), T(y), T(x, y)
    for name, keys in (("sx", xs), ("sy", ys), ("sxy", xs)):
        reduce(graph, [(name, key) for key in keys], f"sum-{name}")
    assert peak(graph) <= 40


def test_out_tree_is_walked_depth_first() -> None:
    graph: Graph = {(): T()}
    keys: list[Any] = [()]
    for _ in range(10):
        keys = [(*key, side) for key in keys for side in (0, 1)]
        graph.update({key: T(key[:-1]) for key in keys})
    reduce(graph, keys, "sum")
    assert peak(graph) <= 13


def test_chains_are_finished_one_after_the_other() -> None:
    graph: Graph = {(chain, 0): T() for chain in range(50)}
    for step in range(1, 20):
        graph.update({(chain, step): T((chain, step - 1)) for chain in range(50)})
    graph["end"] = T(*[(chain, 19) for chain in range(50)])
    assert peak(graph) <= 51


def test_all_to_all_shuffle() -> None:
    size = 30
    graph: Graph = {}
    for x in leaves(graph, "x", size):
        graph["split", x] = T(x)
        for target in range(size):
            graph["piece", x, target] = T(("split", x))
    for target in range(size):
        graph["join", target] = T(*[("piece", ("x", source), target) for source in range(size)])
    assert peak(graph) <= 3 * size  # splits, pieces of one join, joins


@pytest.mark.parametrize(("width", "steps"), [(50, 20), (20, 50)])
def test_stencil(width: int, steps: int) -> None:
    graph: Graph = {("g", 0, cell): T() for cell in range(width)}
    for step in range(1, steps + 1):
        for cell in range(width):
            near = [other for other in (cell - 1, cell, cell + 1) if 0 <= other < width]
            graph["g", step, cell] = T(*[("g", step - 1, other) for other in near])
    assert peak(graph) <= width + 2 * steps


def test_urgent_outputs_come_first() -> None:
    graph: Graph = {"slow": T("a"), "a": T(), "urgent": T("b"), "b": T()}
    graph["urgent"].options = TaskOptions(priority=1)
    ranks = order(graph)
    assert ranks["urgent"] < ranks["a"]


def test_the_longest_path_comes_first() -> None:
    graph: Graph = {"short": T(), "a": T(), "b": T("a"), "long": T("b")}
    assert list(order(graph)) == ["a", "b", "long", "short"]


def test_inputs_from_elsewhere_are_taken_as_there() -> None:
    assert order({"x": T("elsewhere")}) == {"x": 0}
    assert order({}) == {}


def test_cycles_are_named() -> None:
    with pytest.raises(GraphError, match="'a' -> 'b' -> 'a'"):
        order({"a": T("b"), "b": T("a")})


@given(st.lists(st.lists(st.integers(0, 30), max_size=5), max_size=40))
def test_any_graph_is_ordered(drawn: list[list[int]]) -> None:
    graph: Graph = {
        node: T(*dict.fromkeys(dependency % node for dependency in dependencies if node))
        for node, dependencies in enumerate(drawn)
    }
    assert peak(graph) <= len(graph)
    assert order(graph) == order(dict(graph))
