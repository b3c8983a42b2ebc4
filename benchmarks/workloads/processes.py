"""What processes cost: until they are there, and what they keep in memory."""

from __future__ import annotations

import subprocess
import sys
import time
from os.path import basename
from statistics import median

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


def run_import(system: System, scale: float) -> Figures:
    """A fresh interpreter that imports, minus one that does nothing, in turns."""
    times = [(_seconds_to_run("pass"), _seconds_to_run(system.import_line)) for _ in range(max(3, int(11 * scale)))]
    return {"import": median(loaded - bare for bare, loaded in times) * 1e3}


def _seconds_to_run(program: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - begin


def run_idle(system: System, scale: float) -> Figures:
    """Of workers that have run a few tasks whose function needs no import."""
    del scale
    assert system.gather(system.map(basename, ["a/b"] * 20)) == ["b"] * 20
    time.sleep(1)
    return {"idle": median(psutil.Process(pid).memory_info().rss for pid in system.worker_pids()) / 1e6}


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
    "import": Workload(run_import, {"import": Metric("import, ready to start a client", "ms")}, starts_itself=True),
    "idle": Workload(run_idle, {"idle": Metric("resident memory of an idle worker", "MB")}),
}
