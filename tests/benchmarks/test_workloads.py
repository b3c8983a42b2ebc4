"""Every workload runs, on the system that needs nothing installed; small."""

from __future__ import annotations

import pytest

from benchmarks.systems import KNOWN, load
from benchmarks.systems.base import System, Unsupported, getters
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads.base import merge, split
from benchmarks.workloads.raw import RawSocket


def test_metrics_are_named_once() -> None:
    names = [name for workload in WORKLOADS.values() for name in workload.metrics]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("workload", ["map_1kb", "shuffle", "dense", "idle"])
def test_a_workload_measures_what_it_promises(workload: str) -> None:
    system = load("futures")
    system.start()
    try:
        figures = WORKLOADS[workload].run(system, 0.01)
    finally:
        system.stop()
    assert figures.keys() == WORKLOADS[workload].metrics.keys()
    assert all(value > 0 for value in figures.values())


def test_what_a_system_lacks_is_said_by_name() -> None:
    system = load("futures")
    with pytest.raises(Unsupported, match="futures moves nothing from worker to worker by TCP"):
        WORKLOADS["transfer_tcp"].run(system, 0.01)
    with pytest.raises(Unsupported, match="futures keeps no data of the client"):
        System.scatter(system, b"data")
    assert set(KNOWN) >= {"futures", "myscheduler"}


def test_all_to_all_has_a_task_per_pair() -> None:
    graph, wanted = getters(split, merge, 3)
    assert len(graph) == 3 + 9 + 3
    assert graph[wanted[1]] == (merge, ["part-0-1", "part-1-1", "part-2-1"])


def test_a_raw_socket_carries_bytes() -> None:
    with RawSocket(1_000_000) as raw:
        assert raw.rate() > 0
