from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from myscheduler.base.refs import TaskRef
from myscheduler.graph.task import Graph, Task
from myscheduler.local.loop import Run
from myscheduler.local.team import Team


def test_batches_are_shared_fairly() -> None:
    run = Run({number: Task(int) for number in range(100)}, list(range(100)))
    sizes: list[int] = []

    def execute(ranks: list[int]) -> list[Any]:
        sizes.append(len(ranks))
        return ranks

    with ThreadPoolExecutor(2) as pool:
        Team(run, pool, 2, execute, lambda: 16).work()
    assert run.values() == list(range(100))
    assert max(sizes) == 16
    assert sizes[-1] == 1


def test_errors_keep_nothing_alive() -> None:
    class Data:
        pass

    refs: list[weakref.ref[Data]] = []

    def execute(ranks: list[int]) -> list[Any]:
        data = Data()
        refs.append(weakref.ref(data))
        raise ValueError("no")

    graph: Graph = {"a": Task(int), "b": Task(abs, (TaskRef("a"),))}
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="no"):
        Team(Run(graph, ["b"]), pool, 1, execute).work()
    gc.collect()
    assert [ref() for ref in refs] == [None]
