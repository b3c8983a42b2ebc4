"""A million tasks: ``python -m benchmarks.million``.

Maps a function over 500,000 items and adds the results by pairs, holding a future of every task. Says how long that takes, how
much memory the scheduler's process needs, what is left of that when the futures are gone, and the longest turn of each loop.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from . import probe
from .compare import ENVIRONMENT
from .systems import load
from .systems.base import System
from .workloads.base import add, inc, warm_up

LEAVES = 500_000
#: Seconds within which memory is to be given back.
SETTLING_S = 30.0


def reduce_by_pairs(system: System, leaves: int) -> tuple[list[Any], int]:
    """Every handle, and the sum of all leaves."""
    level: Sequence[Any] = system.map(inc, range(leaves))
    held = [level]
    while len(level) > 1:
        pairs = system.map_pairs(add, level[0 : len(level) & ~1 : 2], level[1::2])
        held.append(pairs)
        level = [*pairs, level[-1]] if len(level) % 2 else pairs
    return held, system.result(level[0])


def measure(system: System, leaves: int) -> dict[str, float]:
    """Seconds, and megabytes of the scheduler: before, at the highest, and after everything was released."""
    [scheduler] = [psutil.Process(pid) for pid in system.start_watched(Path(probe.__file__))]
    try:
        warm_up(system)
        system.settle()
        before = scheduler.memory_info().rss
        began, begin = time.time(), time.perf_counter()
        held, value = reduce_by_pairs(system, leaves)
        seconds = time.perf_counter() - begin
        assert value == leaves * (leaves + 1) // 2
        tasks = sum(map(len, held))
        peak = peak_bytes(scheduler.pid)
        begin = time.perf_counter()
        held.clear()
        deadline = begin + SETTLING_S
        while (after := scheduler.memory_info().rss) > 1.2 * before and time.perf_counter() < deadline:
            time.sleep(0.2)
        released = time.perf_counter() - begin
    finally:
        system.stop()
    memory = {"before": before / 1e6, "peak": peak / 1e6, "after": after / 1e6}
    return {"tasks": tasks, "seconds": seconds, "release_s": released, "began": began, **memory}


def peak_bytes(pid: int) -> int:
    """The most resident memory that a process has had."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise OSError(f"the system does not say how much memory process {pid} has had")


def report(figures: dict[str, float], turns: dict[str, list[probe.Turns]]) -> str:
    """For people."""
    speed = figures["tasks"] / figures["seconds"]
    left = figures["after"] / figures["before"]
    memory = f"{figures['before']:.0f} MB before, {figures['peak']:.0f} MB at the most, {figures['after']:.0f} MB"
    lines = [
        f"{figures['tasks']:,.0f} tasks in {figures['seconds']:.1f} s ({speed:,.0f} tasks/s)",
        f"scheduler: {memory} {figures['release_s']:.1f} s after the release ({left:.2f} times the start)",
    ]
    for part, loops in turns.items():
        longest = max(loops, key=lambda x: x.longest_ms)
        lines.append(
            f"{part}: longest turn {longest.longest_ms:.0f} ms, {longest.longest_collecting_ms:.0f} ms of them garbage "
            f"collection, {longest.longest_at - figures['began']:.1f} s after the start; "
            f"longest processor time of a turn {max(x.longest_busy_ms for x in loops):.0f} ms; "
            f"longest garbage collection {max(x.longest_pause_ms for x in loops):.0f} ms"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--leaves", type=int, default=LEAVES)
    parser.add_argument("--system", choices=["myscheduler", "distributed"], default="myscheduler")
    arguments = parser.parse_args()
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        os.environ[probe.FOLDER] = folder
        figures = measure(load(arguments.system), arguments.leaves)
        turns = probe.load(Path(folder))
    print(report(figures, turns))


if __name__ == "__main__":
    main()
