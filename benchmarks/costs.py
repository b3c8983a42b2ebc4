"""Where the time of a task goes: ``python -m benchmarks.costs``.

Maps no-op tasks over a cluster of processes and divides the processor time that each part has used by their number: client,
scheduler, and both workers together. Unlike tasks per second it hardly depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from statistics import median

import psutil

from .systems.myscheduler import MyScheduler
from .workloads.base import inc

TASKS = 50_000
PARTS = ("client", "scheduler", "workers")


def measure(tasks: int) -> dict[str, float]:
    """Microseconds of processor time per task and part, and of wall clock time in all, in one cluster that has warmed up."""
    system = MyScheduler()
    [scheduler] = system.start_apart()
    try:
        parts = {
            "client": [psutil.Process()],
            "scheduler": [psutil.Process(scheduler)],
            "workers": [psutil.Process(pid) for pid in system.worker_pids()],
        }
        system.gather(system.map(inc, range(tasks // 5)))
        before = {part: _processor_time(processes) for part, processes in parts.items()}
        begin = time.perf_counter()
        values = system.gather(system.map(inc, range(tasks)))
        seconds = time.perf_counter() - begin
        assert values == list(range(1, tasks + 1))
        spent = {part: _processor_time(processes) - before[part] for part, processes in parts.items()}
    finally:
        system.stop()
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
    print(f"microseconds per task, map of {arguments.tasks:,}, medians of {arguments.repeats}")
    for part in (*PARTS, "elapsed"):
        print(f"  {part:<10}{median(row[part] for row in found):6.1f}")


if __name__ == "__main__":
    main()
