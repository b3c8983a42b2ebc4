"""Dask's distributed."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import dask
import distributed

from .base import WORKERS, System, getters


class Distributed(System):
    name = "distributed"
    import_line = "from distributed import Client"

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []

    def version(self) -> str:
        return str(distributed.__version__)

    def start(self) -> None:
        self._client = distributed.Client(n_workers=WORKERS, threads_per_worker=1, dashboard_address=":0")
        self._client.wait_for_workers(WORKERS, timeout=60)
        self._addresses = sorted(self._client.nthreads())

    def start_without_shared_memory(self) -> None:
        self.start()  # it uses none

    def worker_pids(self) -> list[int]:
        return list(self._client.run(os.getpid).values())

    def start_apart(self) -> list[int]:
        folder = Path(tempfile.mkdtemp(prefix="benchmark-"))
        file = str(folder / "scheduler.json")
        dask_command = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
        worker_command = [sys.executable, "-m", "distributed.cli.dask_worker"]
        options = ["--scheduler-file", file, "--no-dashboard"]
        self._spawn([*dask_command, "--port", "0", *options])
        self._spawn([*worker_command, "--nworkers", str(WORKERS), "--nthreads", "1", *options])
        self._client = distributed.Client(scheduler_file=file)
        self._client.wait_for_workers(WORKERS, timeout=60)
        return [self._processes[0].pid]

    def _spawn(self, command: list[str]) -> None:
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        atexit.register(process.kill)
        self._processes.append(process)

    def stop(self) -> None:
        if self._processes:
            self._client.shutdown()
            for process in self._processes:
                process.wait(30)
        self._client.close()
        if self._client.cluster is not None:
            self._client.cluster.close()

    def submit(self, func: Callable[..., Any], *args: Any) -> Any:
        return self._client.submit(func, *args, pure=False)

    def submit_first(self, func: Callable[..., Any], *args: Any) -> Any:
        return self._client.submit(func, *args, pure=False, priority=10)

    def map(self, func: Callable[..., Any], items: Iterable[Any]) -> Sequence[Any]:
        futures: Sequence[Any] = self._client.map(func, items, pure=False)
        return futures

    def map_pairs(self, func: Callable[[Any, Any], Any], left: Sequence[Any], right: Sequence[Any]) -> Sequence[Any]:
        futures: Sequence[Any] = self._client.map(func, left, right, pure=False)
        return futures

    def gather(self, handles: Sequence[Any]) -> list[Any]:
        return list(self._client.gather(handles))

    def result(self, handle: Any) -> Any:
        return handle.result()

    def wait(self, handle: Any) -> None:
        distributed.wait(handle)

    def fan_in(self, func: Callable[[Any], Any], total: Callable[[list[Any]], Any], items: Sequence[Any]) -> Any:
        lazy = dask.delayed(func)
        return dask.delayed(total)([lazy(item) for item in items]).compute()

    def submit_on(self, worker: int, func: Callable[..., Any], *args: Any) -> Any:
        return self._client.submit(func, *args, pure=False, workers=[self._addresses[worker]])

    def all_to_all(
        self, split: Callable[[int, int], list[Any]], merge: Callable[[list[Any]], Any], width: int
    ) -> list[Any]:
        return list(self._client.get(*getters(split, merge, width)))

    def scatter(self, value: Any) -> Any:
        return self._client.scatter(value)
