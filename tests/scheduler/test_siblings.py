"""Tasks without inputs whose results are used together are made in one place."""

from __future__ import annotations

from typing import Any

import pytest

from myscheduler.protocol import messages as m
from tests.support.scheduler import Cluster

Graph = dict[Any, tuple[Any, ...]]


def _groups(width: int, count: int) -> Graph:
    """Sums of ``width`` tasks without inputs each, in depth-first order."""
    graph: Graph = {}
    for number in range(count):
        parts = tuple(f"part-{number * width + i}" for i in range(width))
        graph |= dict.fromkeys(parts, ()) | {f"sum-{number}": parts}
    return graph


def _places(cluster: Cluster, seconds: float = 0.1) -> dict[Any, str]:
    """Run everything, one task per worker and turn; where each ran."""
    places: dict[Any, str] = {}
    waiting: dict[str, dict[Any, int]] = {name: {} for name in cluster.core.workers}
    while True:
        for name, runs in waiting.items():
            runs |= cluster.runs(name)
            places |= dict.fromkeys(runs, name)
        if not any(waiting.values()):
            return places
        cluster.now += seconds
        for name, runs in waiting.items():
            if runs:
                key = next(iter(runs))
                cluster.finish(name, {key: runs.pop(key)}, nbytes=8_000_000, seconds=seconds)


def _known(cluster: Cluster, seconds: float) -> None:
    """Let one task of the kind run."""
    cluster.submit({"part-1000": ()})
    for name in cluster.core.workers:
        cluster.finish(name, cluster.runs(name), seconds=seconds)


def _together(places: dict[Any, str], graph: Graph) -> int:
    """Of how many sums all inputs were made in one place."""
    return sum(len({places[part] for part in parts}) == 1 for parts in graph.values() if parts)


def test_the_inputs_of_a_sum_are_made_in_one_place() -> None:
    cluster = Cluster(workers=4)
    _known(cluster, 0.1)
    graph = _groups(2, 20)
    cluster.submit(graph)
    assert _together(_places(cluster), graph) >= 18  # all but the last


def test_pairs_of_pairs_are_made_in_one_place() -> None:
    cluster = Cluster(workers=4, nthreads=2)
    _known(cluster, 0.1)
    graph: Graph = {}
    for i in range(20):
        graph |= _groups(2, 2 * i + 2) | {f"total-{i}": (f"sum-{2 * i}", f"sum-{2 * i + 1}")}
    cluster.submit(graph)
    places = _places(cluster)
    fours = [{places[f"part-{i}"] for i in range(first, first + 4)} for first in range(0, 80, 4)]
    assert sum(len(four) == 1 for four in fours) >= 16


def test_a_task_goes_to_what_is_held_already() -> None:
    cluster = Cluster(workers=2)
    _known(cluster, 0.1)
    cluster.submit({"part-1": ()}, workers=("w0",))
    cluster.finish("w0", cluster.runs("w0"), seconds=0.1)
    before, after = (dict.fromkeys(map("part-{}".format, range(n, n + 3)), ()) for n in (100, 200))
    cluster.submit(before | {"part-2": (), "sum-1": ("part-1", "part-2")} | after)
    places = _places(cluster)
    assert places["part-102"] == places["part-2"] == places["sum-1"] == "w0"


@pytest.mark.parametrize("width", [1, 9])
def test_without_a_few_to_go_with_tasks_go_wherever_there_is_room(width: int) -> None:
    cluster = Cluster(workers=4)
    _known(cluster, 0.1)
    cluster.submit(_groups(width, 10))
    assert [len(cluster.runs(f"w{i}")) for i in range(4)] == [1, 1, 1, 1]
    assert not any(ws.local.length for ws in cluster.core.workers.values())


def test_short_tasks_go_wherever_there_is_room() -> None:
    cluster = Cluster(workers=4)
    _known(cluster, 0.0009)
    cluster.submit(_groups(2, 40))
    assert [next(iter(cluster.runs(f"w{i}"))) for i in (1, 2, 3, 0)] == [f"part-{i}" for i in range(4)]


def test_the_last_ones_go_wherever_there_is_room() -> None:
    cluster = Cluster(workers=2)
    _known(cluster, 0.1)
    cluster.submit(_groups(2, 1) | {"part-2": ()})
    assert [*cluster.runs("w1"), *cluster.runs("w0")] == ["part-0", "part-1"]


def test_nothing_waits_long_for_its_like() -> None:
    cluster = Cluster(workers=2)
    _known(cluster, 0.1)
    cluster.submit({"long-0": ()}, workers=("w0",))
    cluster.finish("w0", cluster.runs("w0"), seconds=10.0)
    cluster.submit({"part-1": ()}, workers=("w0",))
    cluster.finish("w0", cluster.runs("w0"), seconds=0.1)
    cluster.submit({"long-1": ()}, workers=("w0",), priority=1)
    cluster.submit({"part-2": (), "sum-1": ("part-1", "part-2")} | {f"other-{i}": () for i in range(10)})
    assert "part-2" in cluster.runs("w1")


def test_nothing_waits_for_a_worker_that_takes_nothing() -> None:
    cluster = Cluster(workers=2)
    _known(cluster, 0.1)
    cluster.submit({"part-1": ()}, workers=("w0",))
    cluster.finish("w0", cluster.runs("w0"), seconds=0.1)
    cluster.say("w0", (m.HEARTBEAT, {"paused": True}))
    cluster.submit({"part-2": (), "sum-1": ("part-1", "part-2")} | {f"other-{i}": () for i in range(10)})
    assert "part-2" in cluster.runs("w1")


def test_idle_workers_take_over_what_waits_for_its_like() -> None:
    cluster = Cluster(workers=4)
    _known(cluster, 0.1)
    cluster.submit(_groups(4, 1) | {f"other-{i}": () for i in range(4)})
    places = _places(cluster)
    assert set(places.values()) == {"w0", "w1", "w2", "w3"}
    assert all(ws.stored for ws in cluster.core.workers.values())
