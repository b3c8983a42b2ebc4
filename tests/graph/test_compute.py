from __future__ import annotations

import builtins
from typing import Any

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.base.keys import Key
from myscheduler.base.refs import TaskRef
from myscheduler.graph.compute import compute, persist
from myscheduler.graph.delayed import Delayed, DelayedFuture, delayed
from myscheduler.graph.task import Graph
from myscheduler.local.synchronous import SynchronousScheduler


class Future(TaskRef):
    __slots__ = ()


class Recorder(SynchronousScheduler):
    """Runs graphs and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Graph, list[Key], dict[str, Any]]] = []

    def compute(self, graph: Graph, keys: list[Key], **options: Any) -> list[Any]:
        self.asked.append((graph, keys, options))
        return super().compute(graph, keys)


class Cluster(Recorder):
    """Persists as clusters do: futures come back."""

    def compute(self, graph: Graph, keys: list[Key], **options: Any) -> list[Any]:
        self.asked.append((graph, keys, options))
        return [None] * len(keys)

    def persist(self, graph: Graph, keys: list[Key], **options: Any) -> dict[Key, TaskRef]:
        self.asked.append((graph, keys, options))
        return {key: Future(key) for key in keys}


def inc(x: int) -> int:
    return x + 1


def test_one_call_for_all_collections() -> None:
    recorder = Recorder()
    x = delayed(inc)(1)
    y = delayed(inc)(x)
    result = compute(x, {"y": [y, 5]}, "other", y, scheduler=recorder)
    assert result == (2, {"y": [3, 5]}, "other", 3)
    ((graph, keys, options),) = recorder.asked
    assert set(graph) == {x.key, y.key} == set(keys)
    assert options == {}


def test_options_reach_the_scheduler() -> None:
    recorder = Recorder()
    compute(delayed(1), scheduler=recorder, num_workers=3)
    assert recorder.asked[0][2] == {"num_workers": 3}


def test_without_delayed_nothing_is_asked() -> None:
    recorder = Recorder()
    item = [1, Future("f")]
    assert compute(item, scheduler=recorder)[0] is item
    assert persist(item, scheduler=recorder)[0] is item
    assert compute() == ()
    assert recorder.asked == []


def test_containers_are_searched_only_if_wanted() -> None:
    x = delayed(5)
    items, y = compute([x], x, scheduler="sync", traverse=False)
    assert items[0] is x
    assert y == 5


def test_futures_among_collections_stay_futures() -> None:
    future = Future("f")
    assert compute([delayed(5), future], scheduler="sync") == ([5, future],)


def test_chains_are_fused_unless_told_not_to() -> None:
    recorder = Recorder()
    y = delayed(inc)(delayed(inc)(1))
    assert compute(y, scheduler=recorder) == (3,)
    assert compute(y, scheduler=recorder, optimize_graph=False) == (3,)
    assert [len(graph) for graph, _, _ in recorder.asked] == [1, 2]


def test_persist_on_one_machine_holds_values() -> None:
    calls: list[int] = []

    def note(n: int) -> int:
        calls.append(n)
        return n

    x = delayed(note)(5)
    (kept,) = persist([x], scheduler="sync")
    assert kept[0].key == x.key
    assert compute(kept[0] + 1, kept, scheduler="sync") == (6, [5])
    assert x.persist(scheduler="sync").compute(scheduler="sync") == 5
    assert calls == [5, 5]


def test_persist_on_a_cluster_gives_futures() -> None:
    cluster = Cluster()
    pair = delayed(divmod, nout=2)(7, 2)
    (kept,) = persist(pair, scheduler=cluster, retries=1)
    assert isinstance(kept, DelayedFuture)
    assert type(kept.future) is Future
    assert len(kept) == 2
    assert cluster.asked[0][2] == {"retries": 1}
    later = kept[0]
    assert later.graph[later.key].dependencies == (pair.key,)
    assert persist(kept, scheduler=cluster)[0] is kept
    assert len(cluster.asked) == 1


def test_computing_a_future_asks_for_a_task_that_hands_it_on() -> None:
    cluster = Cluster()
    kept = delayed(Future("f"))
    assert compute(kept, scheduler=cluster) == (None,)
    ((graph, keys, _),) = cluster.asked
    assert [task.dependencies for task in graph.values()] == [("f",)]
    assert list(graph) == keys != ["f"]


def test_errors_of_tasks_are_raised_as_they_are() -> None:
    with pytest.raises(ZeroDivisionError):
        compute(delayed(1) / 0, scheduler="sync")


def test_unknown_schedulers_are_refused() -> None:
    with pytest.raises(UsageError, match="no scheduler is called 'thread'; known are 'synchronous', 'sync'"):
        compute(delayed(1), scheduler="thread")


def test_the_same_value_twice() -> None:
    x = delayed(builtins.list)()
    a, b = compute(x, x, scheduler="sync")
    assert a is b
    assert isinstance(x, Delayed)
