"""The workloads, written once for all systems. Each returns its figures as a mapping of metric name to number."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

import numpy as np
import psutil

from .systems.base import System

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Metric:
    """What a figure means: its unit, and whether more is better."""

    title: str
    unit: str
    more_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Workload:
    """``run(system, scale)`` measures a started system; scale 1 is the full size.

    ``starts_itself``: the starting is part of it, the system comes unstarted.
    """

    run: Callable[[System, float], Figures]
    metrics: dict[str, Metric]
    starts_itself: bool = False


# ---- what the tasks do ----------------------------------------------------------------------------------------------


def inc(number: int) -> int:
    return number + 1


def add(left: int, right: int) -> int:
    return left + right


def make_array(nbytes: int, fill: int) -> np.ndarray[Any, Any]:
    return np.full(nbytes, fill % 256, dtype=np.uint8)


def look_at(array: np.ndarray[Any, Any]) -> int:
    """Touch every page, as whoever asked for the data would."""
    return int(array[::4096].sum())


# ---- measuring ------------------------------------------------------------------------------------------------------


def run_map(system: System, scale: float) -> Figures:
    count = int(10_000 * scale)
    _warm_up(system)
    begin = time.perf_counter()
    values = system.gather(system.map(inc, range(count)))
    seconds = time.perf_counter() - begin
    assert values == list(range(1, count + 1))
    return {"map": count / seconds}


def run_latency(system: System, scale: float) -> Figures:
    _warm_up(system)
    times = []
    for number in range(max(20, int(200 * scale))):
        begin = time.perf_counter()
        value = system.result(system.submit(inc, number))
        times.append((time.perf_counter() - begin) * 1e3)
        assert value == number + 1
    return {"latency": median(times), "latency_p99": quantiles(times, n=100)[98]}


def run_tree(system: System, scale: float) -> Figures:
    leaves = 1 << max(4, int(4096 * scale).bit_length() - 1)
    _warm_up(system)
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
    _warm_up(system)
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
    _warm_up(system)
    begin = time.perf_counter()
    value = system.fan_in(inc, sum, range(count))
    seconds = time.perf_counter() - begin
    assert value == count * (count + 1) // 2
    return {"delayed": count / seconds}


def run_start(system: System, scale: float) -> Figures:
    del scale
    begin = time.perf_counter()
    system.start()
    value = system.result(system.submit(inc, 0))
    ready = time.perf_counter()
    system.stop()
    assert value == 1
    return {"start": ready - begin, "stop": time.perf_counter() - ready}


def run_transfer(system: System, scale: float) -> Figures:
    """One worker makes an array, the other looks at it."""
    nbytes = int(200e6 * scale)
    assert system.result(system.submit_on(1, look_at, system.submit_on(0, make_array, 1_000_000, 1))) > 0
    rates = []
    for fill in (1, 2, 3):
        array = system.submit_on(0, make_array, nbytes, fill)
        system.wait(array)
        begin = time.perf_counter()
        value = system.result(system.submit_on(1, look_at, array))
        rates.append(nbytes / (time.perf_counter() - begin) / 1e9)
        assert value == fill * -(-nbytes // 4096)
        del array
    return {"transfer": median(rates)}


def run_gather(system: System, scale: float) -> Figures:
    """A worker makes an array, the client looks at it."""
    nbytes = int(200e6 * scale)
    look_at(system.result(system.submit(make_array, 1_000_000, 1)))
    rates = []
    for fill in (1, 2, 3):
        handle = system.submit(make_array, nbytes, fill)
        system.wait(handle)
        begin = time.perf_counter()
        value = look_at(system.result(handle))
        rates.append(nbytes / (time.perf_counter() - begin) / 1e9)
        assert value == fill * -(-nbytes // 4096)
        del handle
    return {"gather": median(rates)}


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


def _warm_up(system: System) -> None:
    """Every process has met the functions, and connections stand."""
    values = system.gather(system.map(inc, range(200)))
    assert values == list(range(1, 201))
    assert system.result(system.submit(add, system.submit(inc, 0), 1)) == 2


WORKLOADS: dict[str, Workload] = {
    "map": Workload(run_map, {"map": Metric("map 10,000 no-op tasks, submit to gathered", "tasks/s", True)}),
    "latency": Workload(
        run_latency,
        {
            "latency": Metric("submit one, wait for its result: median", "ms"),
            "latency_p99": Metric("submit one, wait for its result: 99th percentile", "ms"),
        },
    ),
    "tree": Workload(run_tree, {"tree": Metric("tree reduction of 4,096 leaves", "tasks/s", True)}),
    "chain": Workload(run_chain, {"chain": Metric("chain of 1,000 tasks", "tasks/s", True)}),
    "delayed": Workload(run_delayed, {"delayed": Metric("lazy sum over 10,000 tasks", "tasks/s", True)}),
    "start": Workload(
        run_start,
        {
            "start": Metric("start two workers, first result", "s"),
            "stop": Metric("stop everything", "s"),
        },
        starts_itself=True,
    ),
    "transfer": Workload(run_transfer, {"transfer": Metric("200 MB from worker to worker", "GB/s", True)}),
    "gather": Workload(run_gather, {"gather": Metric("200 MB from worker to client", "GB/s", True)}),
    "memory": Workload(
        run_memory, {"memory": Metric("scheduler memory per 100,000 tasks held", "MB")}, starts_itself=True
    ),
}
