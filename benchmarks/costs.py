"""Where the time of a task goes: ``python -m benchmarks.costs``.

Maps no-op tasks over a cluster of processes, then submits some of which each is waited for before the next, and divides the
processor time that each part has used by their number: client, scheduler, and both workers together. Unlike tasks per second it
hardly depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import psutil

from .systems.myscheduler import MyScheduler
from .workloads.base import inc

TASKS = 50_000
#: A trip is waited for twenty times as long as a task of many.
TASKS_PER_TRIP = 20
PARTS = ("client", "scheduler", "workers")

Costs = dict[str, float]


def measure(tasks: int) -> tuple[Costs, Costs]:
    """Of a map, and of trips one by one, in one cluster that has warmed up."""
    system = MyScheduler()
    [scheduler] = system.start_apart()
    try:
        parts = {
            "client": [psutil.Process()],
            "scheduler": [psutil.Process(scheduler)],
            "workers": [psutil.Process(pid) for pid in system.worker_pids()],
        }
        system.gather(system.map(inc, range(tasks // 5)))
        many = _spent(parts, tasks, lambda: system.gather(system.map(inc, range(tasks))))
        trips = tasks // TASKS_PER_TRIP
        return many, _spent(
            parts, trips, lambda: [system.result(system.submit(inc, number)) for number in range(trips)]
        )
    finally:
        system.stop()


def _spent(parts: dict[str, list[psutil.Process]], tasks: int, run: Callable[[], list[Any]]) -> Costs:
    """Microseconds of processor time per task and part, and of wall clock time in all."""
    before = {part: _processor_time(processes) for part, processes in parts.items()}
    begin = time.perf_counter()
    values = run()
    seconds = time.perf_counter() - begin
    assert values == list(range(1, tasks + 1))
    spent = {part: _processor_time(processes) - before[part] for part, processes in parts.items()}
    return {part: used / tasks * 1e6 for part, used in {**spent, "elapsed": seconds}.items()}


def _processor_time(processes: Sequence[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def main() -> None:
    """Measure several times and print medians."""
    parser = argparse.ArgumentParser(description="Where the time of a task goes.")
    parser.add_argument("--tasks", type=int, default=TASKS, help="in one map")
    parser.add_argument("--repeats", type=int, default=3, help="each with a cluster of its own")
    arguments = parser.parse_args()
    found = [measure(arguments.tasks) for _ in range(arguments.repeats)]
    print(f"microseconds per task, medians of {arguments.repeats}: in a map of {arguments.tasks:,}, and one by one")
    for part in (*PARTS, "elapsed"):
        print(f"  {part:<10}" + "".join(f"{median(pair[way][part] for pair in found):8.1f}" for way in (0, 1)))


if __name__ == "__main__":
    main()
