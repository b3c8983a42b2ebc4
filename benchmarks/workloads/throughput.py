"""Tasks per second: of maps, trees, chains and lazy graphs; and how long one task takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median, quantiles
from typing import Any

from ..systems.base import System
from .base import Figures, Metric, Workload, add, column, inc, merge, nap, reverse, split, warm_up


def run_map(system: System, scale: float) -> Figures:
    return {"map": _map_rate(system, int(10_000 * scale))}


def run_long_map(system: System, scale: float) -> Figures:
    return {"map_100k": _map_rate(system, int(100_000 * scale))}


def _map_rate(system: System, count: int) -> float:
    warm_up(system)
    begin = time.perf_counter()
    values = system.gather(system.map(inc, range(count)))
    seconds = time.perf_counter() - begin
    assert values == list(range(1, count + 1))
    return count / seconds


def run_map_of_bytes(system: System, scale: float) -> Figures:
    """Arguments and results of 1 kB, each another."""
    count = int(10_000 * scale)
    warm_up(system)
    assert system.result(system.submit(reverse, b"ab")) == b"ba"
    items = [number.to_bytes(8, "big") * 125 for number in range(count)]
    begin = time.perf_counter()
    values = system.gather(system.map(reverse, items))
    seconds = time.perf_counter() - begin
    assert values == [item[::-1] for item in items]
    return {"map_1kb": count / seconds}


def run_latency(system: System, scale: float) -> Figures:
    warm_up(system)
    middle, most = _round_trips(system, system.submit, scale)
    return {"latency": middle, "latency_p99": most}


def run_busy_latency(system: System, scale: float) -> Figures:
    """With a higher priority than 10,000 tasks of 1 ms that were submitted before."""
    warm_up(system)
    assert system.result(system.submit_first(inc, 0)) == 1
    others = system.map(nap, [0.001] * int(10_000 * scale))
    assert system.result(system.submit_first(inc, 0)) == 1  # all that was submitted before it is queued now
    middle, most = _round_trips(system, system.submit_first, scale)
    system.gather(others)
    return {"latency_busy": middle, "latency_busy_p99": most}


def _round_trips(system: System, submit: Callable[..., Any], scale: float) -> tuple[float, float]:
    """Milliseconds until a task is done that is submitted and waited for alone: the median, the 99th percentile."""
    times = []
    for number in range(max(20, int(200 * scale))):
        begin = time.perf_counter()
        value = system.result(submit(inc, number))
        times.append((time.perf_counter() - begin) * 1e3)
        assert value == number + 1
    return median(times), quantiles(times, n=100)[98]


def run_tree(system: System, scale: float) -> Figures:
    leaves = 1 << max(4, int(4096 * scale).bit_length() - 1)
    warm_up(system)
    begin = time.perf_counter()
    level = list(system.map(inc, range(leaves)))
    everything = list(level)  # held, as a user who wants to look at the parts would
    while len(level) > 1:
        level = [system.submit(add, left, right) for left, right in zip(level[::2], level[1::2], strict=True)]
        everything += level
    value = system.result(level[0])
    seconds = time.perf_counter() - begin
    assert value == leaves * (leaves + 1) // 2
    return {"tree": len(everything) / seconds}


def run_chain(system: System, scale: float) -> Figures:
    length = int(1_000 * scale)
    warm_up(system)
    begin = time.perf_counter()
    handle = system.submit(inc, 0)
    for _ in range(length - 1):
        handle = system.submit(inc, handle)
    value = system.result(handle)
    seconds = time.perf_counter() - begin
    assert value == length
    return {"chain": length / seconds}


def run_delayed(system: System, scale: float) -> Figures:
    count = int(10_000 * scale)
    warm_up(system)
    begin = time.perf_counter()
    value = system.fan_in(inc, sum, range(count))
    seconds = time.perf_counter() - begin
    assert value == count * (count + 1) // 2
    return {"delayed": count / seconds}


def run_shuffle(system: System, scale: float) -> Figures:
    width = max(10, int(200 * scale**0.5))
    warm_up(system)
    begin = time.perf_counter()
    sums = system.all_to_all(split, merge, width)
    seconds = time.perf_counter() - begin
    assert sums == [sum(number * width + part for number in range(width)) for part in range(width)]
    return {"shuffle": seconds}


def run_dense(system: System, scale: float) -> Figures:
    """As ``run_shuffle``, with each merger given everything: few tasks, many edges."""
    width = max(10, int(200 * scale**0.5))
    warm_up(system)
    begin = time.perf_counter()
    rows = [system.submit(split, number, width) for number in range(width)]
    sums = system.gather([system.submit(column, part, *rows) for part in range(width)])
    seconds = time.perf_counter() - begin
    assert list(sums) == [sum(number * width + part for number in range(width)) for part in range(width)]
    return {"dense": seconds}


WORKLOADS = {
    "map": Workload(run_map, {"map": Metric("map 10,000 no-op tasks, submit to gathered", "tasks/s", True)}),
    "map_100k": Workload(
        run_long_map, {"map_100k": Metric("map 100,000 no-op tasks, submit to gathered", "tasks/s", True)}
    ),
    "map_1kb": Workload(
        run_map_of_bytes, {"map_1kb": Metric("map 10,000 tasks, arguments and results of 1 kB", "tasks/s", True)}
    ),
    "latency": Workload(
        run_latency,
        {
            "latency": Metric("submit one, wait for its result: median", "ms"),
            "latency_p99": Metric("submit one, wait for its result: 99th percentile", "ms"),
        },
    ),
    "latency_busy": Workload(
        run_busy_latency,
        {
            "latency_busy": Metric("the same with 10,000 others queued: median", "ms"),
            "latency_busy_p99": Metric("the same with 10,000 others queued: 99th percentile", "ms"),
        },
    ),
    "tree": Workload(run_tree, {"tree": Metric("tree reduction of 4,096 leaves", "tasks/s", True)}),
    "chain": Workload(run_chain, {"chain": Metric("chain of 1,000 tasks", "tasks/s", True)}),
    "delayed": Workload(run_delayed, {"delayed": Metric("lazy sum over 10,000 tasks", "tasks/s", True)}),
    "shuffle": Workload(run_shuffle, {"shuffle": Metric("200 by 200, each merger gets its parts", "s")}),
    "dense": Workload(run_dense, {"dense": Metric("200 by 200, each merger gets everything", "s")}),
}
