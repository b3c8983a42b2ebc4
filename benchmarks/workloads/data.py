"""Bytes per second: from worker to worker, and between workers and the client."""

from __future__ import annotations

import time
from statistics import median

from ..systems.base import System
from .base import Figures, Metric, Workload, look_at, make_array


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


WORKLOADS = {
    "transfer": Workload(run_transfer, {"transfer": Metric("200 MB from worker to worker", "GB/s", True)}),
    "gather": Workload(run_gather, {"gather": Metric("200 MB from worker to client", "GB/s", True)}),
}
