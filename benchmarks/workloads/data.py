"""Bytes per second: from worker to worker, and between workers and the client."""

from __future__ import annotations

import time
from statistics import median

from ..systems.base import System
from .base import Figures, Metric, Workload, look_at, make_array, make_bytes, total_length
from .raw import RawSocket


def run_transfer(system: System, scale: float) -> Figures:
    """One worker makes an array, the other looks at it."""
    nbytes = int(200e6 * scale)
    _first_transfer(system)
    return {"transfer": median(_transfer_rate(system, nbytes, fill) for fill in (1, 2, 3))}


def run_transfer_by_tcp(system: System, scale: float) -> Figures:
    """The same through a socket, in turns with a raw one between two bare processes."""
    nbytes = int(200e6 * scale)
    system.start_without_shared_memory()
    try:
        _first_transfer(system)
        with RawSocket(nbytes) as raw:
            pairs = [(raw.rate(), _transfer_rate(system, nbytes, fill)) for fill in range(1, 6)]
    finally:
        system.stop()
    return {
        "transfer_tcp": median(rate for _, rate in pairs),
        "transfer_tcp_share": median(rate / raw_rate * 100 for raw_rate, rate in pairs),
    }


def _first_transfer(system: System) -> None:
    """Connections stand, the functions are known."""
    assert system.result(system.submit_on(1, look_at, system.submit_on(0, make_array, 1_000_000, 1))) > 0


def _transfer_rate(system: System, nbytes: int, fill: int) -> float:
    array = system.submit_on(0, make_array, nbytes, fill)
    system.wait(array)
    begin = time.perf_counter()
    value = system.result(system.submit_on(1, look_at, array))
    seconds = time.perf_counter() - begin
    assert value == fill * -(-nbytes // 4096)
    return nbytes / seconds / 1e9


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


def run_scatter(system: System, scale: float) -> Figures:
    """The client has an array, a worker looks at it."""
    nbytes = int(200e6 * scale)
    system.result(system.submit(look_at, system.scatter(make_array(1_000_000, 1))))
    rates = []
    for fill in (1, 2, 3):
        array = make_array(nbytes, fill)
        begin = time.perf_counter()
        handle = system.scatter(array)
        value = system.result(system.submit(look_at, handle))
        rates.append(nbytes / (time.perf_counter() - begin) / 1e9)
        assert value == fill * -(-nbytes // 4096)
        del handle
    return {"scatter": median(rates)}


def run_objects(system: System, scale: float) -> Figures:
    """Many objects of medium size, made on one worker: all to the other, all to the client."""
    count, nbytes = int(1_000 * scale), 100_000
    _first_transfer(system)
    assert system.result(system.submit_on(1, total_length, system.submit_on(0, make_bytes, nbytes, 1))) == nbytes
    moved, gathered = [], []
    for turn in range(3):
        handles = [system.submit_on(0, make_bytes, nbytes, turn + number) for number in range(count)]
        for handle in handles:
            system.wait(handle)
        begin = time.perf_counter()
        assert system.result(system.submit_on(1, total_length, *handles)) == count * nbytes
        moved.append(count / (time.perf_counter() - begin))
        begin = time.perf_counter()
        values = system.gather(handles)
        gathered.append(count / (time.perf_counter() - begin))
        assert [value[-1] for value in values] == [(turn + number) % 256 for number in range(count)]
        del handles, handle, values
    return {"objects_moved": median(moved), "objects_gathered": median(gathered)}


WORKLOADS = {
    "transfer": Workload(run_transfer, {"transfer": Metric("200 MB from worker to worker", "GB/s", True)}),
    "gather": Workload(run_gather, {"gather": Metric("200 MB from worker to client", "GB/s", True)}),
    "scatter": Workload(run_scatter, {"scatter": Metric("200 MB from client to worker", "GB/s", True)}),
    "transfer_tcp": Workload(
        run_transfer_by_tcp,
        {
            "transfer_tcp": Metric("200 MB from worker to worker by TCP", "GB/s", True),
            "transfer_tcp_share": Metric("the same, of what a raw socket carries", "%", True),
        },
        starts_itself=True,
    ),
    "objects": Workload(
        run_objects,
        {
            "objects_moved": Metric("1,000 objects of 100 kB from worker to worker", "objects/s", True),
            "objects_gathered": Metric("1,000 objects of 100 kB from worker to client", "objects/s", True),
        },
    ),
}
