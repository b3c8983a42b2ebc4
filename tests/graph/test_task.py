from __future__ import annotations

import pickle

from myscheduler.base.refs import TaskRef
from myscheduler.graph.task import Graph, Task, TaskOptions, dependents, identity


def test_dependencies_are_looked_up() -> None:
    task = Task(max, (TaskRef("x"), [TaskRef("y")]), {"key": TaskRef("z")})
    assert task.dependencies == ("x", "y", "z")
    assert Task(max).dependencies == ()
    assert Task(max, (TaskRef("x"),), {}, ()).dependencies == ()


def test_tasks_can_be_pickled() -> None:
    task = pickle.loads(pickle.dumps(Task(max, (1, TaskRef("x")), {"default": 0}, options=TaskOptions(retries=2))))
    assert (task.func, task.args[0], task.kwargs, task.dependencies) == (max, 1, {"default": 0}, ("x",))
    assert task.options == TaskOptions(retries=2)


def test_repr_names_the_function() -> None:
    assert repr(Task(max, (TaskRef("x"),))) == "<Task max with 1 dependencies>"


def test_dependents() -> None:
    graph: Graph = {
        "x": Task(int),
        "y": Task(abs, (TaskRef("x"),)),
        "z": Task(max, (TaskRef("x"), TaskRef("elsewhere"))),
    }
    assert dependents(graph) == {"x": ["y", "z"], "y": [], "z": []}


def test_identity() -> None:
    value = [1]
    assert identity(value) is value
