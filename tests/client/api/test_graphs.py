from __future__ import annotations

from operator import getitem
from typing import Any

import pytest

from myscheduler.base.errors import GraphError, UsageError
from myscheduler.base.items import make_item
from myscheduler.base.refs import TaskRef
from myscheduler.client.api import Client, Future
from myscheduler.graph.compute import compute, persist
from myscheduler.graph.delayed import delayed
from myscheduler.graph.task import Task, TaskOptions
from myscheduler.protocol import messages as m
from tests.client.fake import FakeCluster
from tests.client.support import eventually


def inc(x: int) -> int:
    return x + 1


def add(x: int, y: int) -> int:
    return x + y


class TestCompute:
    def test_the_default_scheduler_is_the_client(self, client: Client, cluster: FakeCluster) -> None:
        x = delayed(inc)(1)
        assert delayed(add)(x, x).compute() == 4
        assert compute(x, [x], 5) == (2, [2], 5)
        assert compute(x, scheduler=client) == compute(x, scheduler="distributed") == (2,)
        assert 1 <= len(cluster.ops(m.SUBMIT)) <= 4  # what is still held is not sent again

    def test_futures_for_collections(self, client: Client) -> None:
        x = delayed(inc)(1)
        future = client.compute(x)
        assert isinstance(future, Future)
        assert future.result(5) == 2
        first, second, other = client.compute([x, delayed(inc)(x), 5])
        assert (first.result(5), second.result(5), other) == (2, 3, 5)
        assert client.compute([x, [x, x]], sync=True) == [2, [2, 2]]
        assert client.compute(x, sync=True) == 2

    def test_persisted_collections_stand_for_futures(self, client: Client, cluster: FakeCluster) -> None:
        kept = client.persist(delayed(inc)(1))
        assert kept.compute() == 2
        assert isinstance(client.compute(kept), Future)
        assert client.persist([kept])[0].compute() == 2
        assert persist(delayed(inc)(kept))[0].compute() == 3

    def test_futures_are_inputs_of_graphs(self, client: Client) -> None:
        future = client.submit(inc, 1)
        assert delayed(add)(future, 1).compute() == 3
        assert delayed(sum)([future, future]).compute() == 4

    def test_only_what_is_asked_for_is_wanted(self, client: Client, cluster: FakeCluster) -> None:
        x = delayed(inc)(1)
        y = delayed(add)(x, delayed(add)(x, 1))
        assert client.compute(y).result(5) == 5
        (message,) = cluster.ops(m.SUBMIT)
        assert [message[4][index][0] for index in message[5]] == [y.key]
        assert [row[4] for row in message[4]] == sorted(row[4] for row in message[4])

    def test_what_is_held_is_not_sent_again(self, client: Client, cluster: FakeCluster) -> None:
        x = delayed(inc)(1)
        held = client.compute(x)
        assert client.compute(delayed(inc)(x), optimize_graph=False).result(5) == 3
        again = client.compute(x)
        assert again.record is held.record
        assert [len(message[4]) for message in cluster.ops(m.SUBMIT)] == [1, 1]

    def test_large_graphs_go_in_slices(self, client: Client, cluster: FakeCluster) -> None:
        total = delayed(sum)([delayed(inc)(number) for number in range(1000)])
        assert total.compute() == sum(range(1001))
        messages = cluster.ops(m.SUBMIT)
        assert [len(message[4]) for message in messages] == [512, 489]
        assert [(message[5], message[6]) for message in messages] == [((), True), ((488,), False)]

    def test_options(self, client: Client, cluster: FakeCluster) -> None:
        graph: Any = {
            "x": Task(inc, (1,), options=TaskOptions(priority=9)),
            "y": Task(inc, (TaskRef("x"),)),
        }
        assert client.scheduler.compute(graph, ["y"], retries=2) == [3]
        (message,) = cluster.ops(m.SUBMIT)
        options = {row[0]: message[3][row[5]] for row in message[4]}
        assert options == {"x": (9, 0, None, False, None, None), "y": (0, 2, None, False, None, None)}

    def test_hidden_references_are_refused(self, client: Client) -> None:
        class Box:
            def __init__(self, inner: Any) -> None:
                self.inner = inner

        x = delayed(inc)(1)
        with pytest.raises(GraphError, match="inside an object that the graph cannot look into"):
            client.compute(delayed(len)(Box(x)))
        future = client.submit(inc, 1)
        assert delayed(lambda box: box.inner)(Box(future)).compute() == 2

    def test_broken_graphs(self, client: Client, cluster: FakeCluster) -> None:
        graph: Any = {"x": Task(inc, (TaskRef("nowhere"),))}
        with pytest.raises(GraphError, match="'nowhere'"):
            client.scheduler.compute(graph, ["x"])
        with pytest.raises(GraphError, match="'z' is wanted but not in the graph"):
            client.get({"x": 1}, "z")
        cycle = {"x": (inc, "y"), "y": (inc, "x"), "z": 1}
        for wanted in ("x", "z"):  # in what is needed, and in what is not
            with pytest.raises(GraphError, match="the graph has a cycle"):
                client.get(cycle, wanted)
        assert cluster.ops(m.SUBMIT) == []


class TestGet:
    def test_plain_graphs(self, client: Client) -> None:
        graph = {"x": 1, "y": (inc, "x"), ("z", 0): (sum, ["x", "y", (inc, 5)])}
        assert client.get(graph, "y") == 2
        assert client.get(graph, [["x", "y"], [("z", 0)]]) == [[1, 2], [9]]
        futures = client.get(graph, ["x"], sync=False)
        assert futures[0].result(5) == 1


def test_unknown_options(client: Client) -> None:
    with pytest.raises((TypeError, UsageError)):
        delayed(inc)(1).compute(colour="red")


class TestParts:
    def all_to_all(self, width: int) -> dict[str, Any]:
        graph: dict[str, Any] = {f"rows-{n}": (list, range(n * width, n * width + width)) for n in range(width)}
        graph |= {f"part-{n}-{i}": (getitem, f"rows-{n}", i) for n in range(width) for i in range(width)}
        return graph | {f"sum-{i}": (sum, [f"part-{n}-{i}" for n in range(width)]) for i in range(width)}

    def test_tasks_that_only_take_parts_are_not_sent(self, client: Client, cluster: FakeCluster) -> None:
        cluster.held = True
        sums = [f"sum-{i}" for i in range(10)]
        assert len(client.get(self.all_to_all(10), sums, sync=False)) == 10
        eventually(lambda: cluster.ops(m.SUBMIT))
        [message] = cluster.ops(m.SUBMIT)
        assert sorted(row[0] for row in message[4]) == [*(f"rows-{n}" for n in range(10)), *sums]
        inputs = {row[0]: row[3] for row in message[4]}["sum-3"]
        assert inputs == tuple(make_item(f"part-{n}-3", f"rows-{n}", 3) for n in range(10))

    def test_where_few_parts_are_needed_tasks_take_them_so_that_the_rest_can_go(
        self, client: Client, cluster: FakeCluster
    ) -> None:
        assert client.get(self.all_to_all(10), ["sum-0", "sum-1"]) == [450, 460]
        [message] = cluster.ops(m.SUBMIT)
        assert len(message[4]) == 10 + 20 + 2

    def test_a_slice_has_no_more_inputs_than_some_so_that_it_can_be_begun_with(
        self, client: Client, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("myscheduler.client.api.graphs._INPUTS_PER_SLICE", 25)
        cluster.held = True
        assert len(client.get(self.all_to_all(10), [f"sum-{i}" for i in range(10)], sync=False)) == 10
        eventually(lambda: any(not message[6] for message in cluster.ops(m.SUBMIT)))
        assert [len(message[4]) for message in cluster.ops(m.SUBMIT)] == [13, 3, 3, 1]
