"""Random graphs are topological, and their values follow from their tasks."""

from __future__ import annotations

from myscheduler.base.ids import seeded
from myscheduler.base.keys import Key
from myscheduler.sim.graphs import MODULUS, SimTask, evaluate, random_graph


def test_graphs_are_in_topological_order_and_repeat_with_the_seed() -> None:
    graph = random_graph(seeded(5), "x", 100, 0.1)
    seen: set[object] = set()
    for key, task in graph.items():
        assert set(task.deps) <= seen
        seen.add(key)
    assert graph == random_graph(seeded(5), "x", 100, 0.1)
    assert len(graph) == 100


def test_values_depend_on_the_order_of_inputs_and_failures_spread() -> None:
    graph: dict[Key, SimTask] = {
        "a": SimTask(1, (), 0.0),
        "b": SimTask(5, (), 0.0),
        "ab": SimTask(0, ("a", "b"), 0.0),
        "ba": SimTask(0, ("b", "a"), 0.0),
        "bad": SimTask(0, (), 0.0, raises=True),
        "worse": SimTask(0, ("a", "bad"), 0.0),
    }
    assert evaluate(graph) == {"a": 1, "b": 5, "ab": 17, "ba": 13, "bad": None, "worse": None}


def test_payloads_say_everything_but_the_inputs() -> None:
    task = SimTask(MODULUS - 1, ("a",), 0.25, raises=True)
    assert SimTask.read(task.payload(), ("a",)) == task
