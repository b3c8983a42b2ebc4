"""Random graphs are topological, and their values follow from their tasks."""

from __future__ import annotations

from myscheduler.base.ids import seeded
from myscheduler.base.items import base_of, index_of, is_item
from myscheduler.base.keys import Key
from myscheduler.sim.graphs import ALWAYS, MODULUS, Expected, SimTask, evaluate, part_of, random_graph


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
        "bad": SimTask(0, (), 0.0, raises=ALWAYS, retries=3),
        "worse": SimTask(0, ("a", "bad"), 0.0),
    }
    values = {key: expected.value for key, expected in evaluate(graph).items()}
    assert values == {"a": 1, "b": 5, "ab": 17, "ba": 13, "bad": None, "worse": None}


def test_tasks_that_raise_more_often_than_they_are_retried_may_fail_and_so_may_their_dependents() -> None:
    graph: dict[Key, SimTask] = {
        "patient": SimTask(1, (), 0.0, raises=2, retries=2),
        "hasty": SimTask(1, (), 0.0, raises=2, retries=1),
        "after": SimTask(0, ("hasty",), 0.0),
    }
    assert evaluate(graph) == {
        "patient": Expected(1),
        "hasty": Expected(1, may_fail=True),
        "after": Expected(2, may_fail=True),
    }


def test_tasks_that_need_parts_get_other_values_than_those_that_need_the_whole() -> None:
    task = SimTask(1, ("a",), 0.0, parts=True)
    [item] = task.inputs
    assert (base_of(item), index_of(item)) == ("a", 1)
    assert part_of(5, item) == 24
    assert part_of(5, "a") == 5
    assert evaluate({"a": SimTask(5, (), 0.0), "b": task})["b"] == Expected(49)
    graphs = [random_graph(seeded(seed), "x", 30, 0.1) for seed in range(10)]
    kinds = {is_item(needed) for graph in graphs for task in graph.values() for needed in task.inputs if task.parts}
    assert kinds == {True, False}
    assert any(not task.parts for graph in graphs for task in graph.values())


def test_payloads_say_what_a_worker_must_know() -> None:
    task = SimTask(MODULUS - 1, ("a",), 0.25, raises=2, secedes=True, gpus=1)
    assert SimTask.read(task.payload(), ("a",)) == task
