"""What processes cost: until they are there, and what they keep in memory."""

from __future__ import annotations

import time

import psutil

from ..systems.base import System
from .base import Figures, Metric, Workload, inc


def run_start(system: System, scale: float) -> Figures:
    del scale
    begin = time.perf_counter()
    system.start()
    value = system.result(system.submit(inc, 0))
    ready = time.perf_counter()
    system.stop()
    assert value == 1
    return {"start": ready - begin, "stop": time.perf_counter() - ready}


def run_memory(system: System, scale: float) -> Figures:
    """What the scheduler remembers of finished tasks whose results somebody still holds."""
    count = int(20_000 * scale)
    processes = [psutil.Process(pid) for pid in system.start_apart()]
    held = [system.map(inc, range(1_000))]
    system.gather(held[0])
    before = sum(process.memory_info().rss for process in processes)
    for start in range(0, count, 5_000):
        held.append(system.map(inc, range(start, min(start + 5_000, count))))
        system.gather(held[-1])
    grown = sum(process.memory_info().rss for process in processes) - before
    system.stop()
    return {"memory": grown / count * 100_000 / 1e6}


WORKLOADS = {
    "start": Workload(
        run_start,
        {
            "start": Metric("start two workers, first result", "s"),
            "stop": Metric("stop everything", "s"),
        },
        starts_itself=True,
    ),
    "memory": Workload(
        run_memory, {"memory": Metric("scheduler memory per 100,000 tasks held", "MB")}, starts_itself=True
    ),
}
