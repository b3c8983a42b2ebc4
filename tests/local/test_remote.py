from __future__ import annotations

import threading
from typing import Any

import pytest

from myscheduler.base.errors import SerializationError, UsageError
from myscheduler.base.refs import TaskRef
from myscheduler.graph.task import Graph, Task
from myscheduler.local import remote, serving
from myscheduler.local.loop import Run


class Holder:
    def __init__(self, held: Any) -> None:
        self.held = held


def run_all(graph: Graph, keys: list[Any]) -> list[Any]:
    run = Run(graph, keys)
    functions: dict[bytes, Any] = {}
    while run.ready:
        ranks = [run.take() for _ in range(len(run.ready))]
        reply = serving.serve(remote.pack(run, ranks, functions), functions)
        for rank, result in zip(ranks, remote.unpack(reply), strict=True):
            run.finish(rank, result)
    return remote.values(run)


def test_functions_are_sent_once() -> None:
    run = Run({number: Task(abs, (-number,)) for number in range(3)}, [0, 1, 2])
    functions, rows = remote.pack(run, [0, 1, 2], ())
    assert len(functions) == 1
    assert len(rows) == 3
    assert remote.pack(run, [0], functions)[0] == {}


def test_inputs_go_along() -> None:
    graph: Graph = {"a": Task(abs, (-1,)), "b": Task(max, ([TaskRef("a"), 0],)), "c": Task(Holder, (TaskRef("b"),))}
    (result,) = run_all(graph, ["c"])
    assert result.held == 1


def test_a_reference_that_is_no_dependency_is_refused() -> None:
    graph: Graph = {"a": Task(int), "b": Task(str, (Holder(TaskRef("a")), TaskRef("x")), {}, ())}
    with pytest.raises(UsageError, match="task 'b' holds a reference to 'a' inside an object of another class"):
        run_all(graph, ["a", "b"])


def test_the_first_error_ends_the_batch() -> None:
    run = Run({0: Task(abs, (-1,)), 1: Task(abs, ("x",)), 2: Task(abs, (-1,))}, [0, 1, 2])
    results, failure = reply = serving.serve(remote.pack(run, [0, 1, 2], ()), {})
    assert len(results) == 1
    assert failure is not None
    with pytest.raises(TypeError, match="bad operand type for abs"):
        remote.unpack(reply)


def test_what_cannot_be_pickled_is_named() -> None:
    with pytest.raises(SerializationError, match="argument 1 of task 'x' cannot be pickled"):
        run_all({"x": Task(str, ((i for i in "a"),))}, ["x"])
    with pytest.raises(SerializationError, match="the result of task 'x' cannot be pickled"):
        run_all({"x": Task(threading.Lock)}, ["x"])


def test_a_key_wanted_twice_is_one_object() -> None:
    one, other = run_all({"x": Task(list)}, ["x", "x"])
    assert one is other
