from __future__ import annotations

from typing import Any

import pytest

from myscheduler.base.errors import GraphError, UsageError
from myscheduler.base.refs import TaskRef
from myscheduler.graph.delayed import delayed
from myscheduler.graph.task import Graph, Task
from myscheduler.local.loop import Run


class Future(TaskRef):
    __slots__ = ()


def T(func: Any, *args: Any) -> Task:
    return Task(func, args)


def R(key: Any) -> TaskRef:
    return TaskRef(key)


def test_results_are_dropped_when_nobody_needs_them() -> None:
    graph: Graph = {"a": T(int), "b": T(abs, R("a")), "c": T(max, R("a"), R("b")), "unneeded": T(int)}
    run = Run(graph, ["c", "b"])
    alive = []
    while run.ready:
        rank = run.take()
        func, args, kwargs = run.call(rank)
        run.finish(rank, func(*args, **kwargs))
        alive.append(sorted(map(str, run.results)))
    assert alive == [["a"], ["a", "b"], ["b", "c"]]
    assert run.values() == [0, 0]
    assert run.unfinished == 0


def test_ready_tasks_come_in_the_static_order() -> None:
    graph: Graph = {"sum": T(sum, [R(number) for number in range(5)])}
    graph.update({number: T(int) for number in range(5)})
    run = Run(graph, ["sum"])
    assert [run.keys[run.take()] for _ in range(5)] == [0, 1, 2, 3, 4]
    assert run.ready == []


def test_values_may_hold_references() -> None:
    ref = R("x")
    run = Run({"a": Task(list, ([ref],), {}, ())}, ["a"])
    assert run.call(run.take())[1] == ([ref],)


def test_futures_are_refused() -> None:
    node = delayed(abs)([Future("f")])
    with pytest.raises(
        UsageError, match=r"the Future 'f', whose value lives on a cluster; run it there \(scheduler=client\)"
    ):
        Run(node.graph, [node.key])


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ({"a": T(abs, R("b"))}, "task 'a' needs 'b', which is neither in the graph"),
        ({"a": T(abs, R("b")), "b": T(abs, R("a"))}, "the graph has a cycle, .*'a' -> 'b' -> 'a'"),
        ({}, "'a' is wanted but not in the graph"),
    ],
)
def test_bad_graphs_are_refused(graph: Graph, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        Run(graph, ["a"])
