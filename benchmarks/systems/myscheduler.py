"""This project."""

from __future__ import annotations

import atexit
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import myscheduler
from myscheduler.client.api.loop import LoopThread

from .. import probe
from .base import WORKERS, System, getters


def _nothing() -> None:
    """What there is to do at the end of most measurements."""


class MyScheduler(System):
    name = "myscheduler"
    import_line = "from myscheduler import Client"

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._at_stop: Callable[[], None] = _nothing

    def version(self) -> str:
        return version("myscheduler")

    def start(self) -> None:
        self._start()

    def settle(self) -> None:
        # Its process begins with the scheduler's, and takes a second until it answers, be it that one has to log in.
        link = self._client.dashboard_link
        assert link is not None
        with suppress(HTTPError):
            urlopen(link.partition("?")[0], timeout=30).close()  # noqa: S310 (our own)

    def start_without_shared_memory(self) -> None:
        self._start(shared_memory=False)

    def _start(self, **options: Any) -> None:
        self._client = myscheduler.Client(n_workers=WORKERS, threads_per_worker=1, dashboard_address=":0", **options)
        self._client.wait_for_workers(WORKERS, timeout=60)
        self._addresses = sorted(self._client.nthreads())

    def start_apart(self) -> list[int]:
        return self._start_programs("--no-dashboard")

    def start_watched(self, preload: Path) -> list[int]:
        pids = self._start_programs("--dashboard-address", ":0", preload=preload)
        loop = LoopThread.shared().loop
        turns = probe.watch(loop)
        self._at_stop = lambda: turns.save("client")
        return pids

    def _start_programs(self, *scheduler_options: str, preload: Path | None = None) -> list[int]:
        file = Path(tempfile.mkdtemp(prefix="benchmark-")) / "scheduler.json"
        options = ["--scheduler-file", str(file), *([] if preload is None else ["--preload", str(preload)])]
        self._spawn("myscheduler", "--port", "0", *scheduler_options, *options)
        deadline = time.monotonic() + 30
        while not file.exists():
            assert time.monotonic() < deadline, "the scheduler did not start"
            time.sleep(0.02)
        self._spawn("myworker", "--nworkers", str(WORKERS), "--nthreads", "1", *options)
        self._client = myscheduler.Client(scheduler_file=file)
        self._client.wait_for_workers(WORKERS, timeout=60)
        return [self._processes[0].pid]

    def _spawn(self, command: str, *arguments: str) -> None:
        program = str(Path(sys.executable).with_name(command))
        process = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        atexit.register(process.kill)
        self._processes.append(process)

    def stop(self) -> None:
        self._at_stop()
        if self._processes:
            self._client.shutdown()
        self._client.close()
        for process in self._processes:
            process.wait(30)

    def worker_pids(self) -> list[int]:
        """The processes of the workers."""
        return [worker["pid"] for worker in self._client.scheduler_info()["workers"].values()]

    def submit(self, func: Callable[..., Any], *args: Any) -> Any:
        return self._client.submit(func, *args, pure=False)

    def submit_first(self, func: Callable[..., Any], *args: Any) -> Any:
        return self._client.submit(func, *args, pure=False, priority=10)

    def map(self, func: Callable[..., Any], items: Iterable[Any]) -> Sequence[Any]:
        return self._client.map(func, items, pure=False)

    def map_pairs(self, func: Callable[[Any, Any], Any], left: Sequence[Any], right: Sequence[Any]) -> Sequence[Any]:
        return self._client.map(func, left, right, pure=False)

    def gather(self, handles: Sequence[Any]) -> list[Any]:
        return list(self._client.gather(handles))

    def result(self, handle: Any) -> Any:
        return handle.result()

    def wait(self, handle: Any) -> None:
        myscheduler.wait(handle)

    def fan_in(self, func: Callable[[Any], Any], total: Callable[[list[Any]], Any], items: Sequence[Any]) -> Any:
        lazy = myscheduler.delayed(func)
        return myscheduler.delayed(total)([lazy(item) for item in items]).compute()

    def submit_on(self, worker: int, func: Callable[..., Any], *args: Any) -> Any:
        return self._client.submit(func, *args, pure=False, workers=[self._addresses[worker]])

    def all_to_all(
        self, split: Callable[[int, int], list[Any]], merge: Callable[[list[Any]], Any], width: int
    ) -> list[Any]:
        return list(self._client.get(*getters(split, merge, width)))

    def scatter(self, value: Any) -> Any:
        return self._client.scatter(value)
