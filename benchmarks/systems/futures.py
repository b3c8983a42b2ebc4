"""The standard library's ProcessPoolExecutor. It knows no dependencies: the caller waits and passes values on."""

from __future__ import annotations

import concurrent.futures
import platform
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import psutil

from .base import WORKERS, System, Unsupported


class Futures(System):
    name = "futures"
    import_line = "from concurrent.futures import ProcessPoolExecutor"

    def version(self) -> str:
        return platform.python_version()

    def start(self) -> None:
        self._pool = concurrent.futures.ProcessPoolExecutor(WORKERS)

    def stop(self) -> None:
        self._pool.shutdown()

    def submit(self, func: Callable[..., Any], *args: Any) -> Any:
        values = [arg.result() if isinstance(arg, concurrent.futures.Future) else arg for arg in args]
        return self._pool.submit(func, *values)

    def map(self, func: Callable[..., Any], items: Iterable[Any]) -> Sequence[Any]:
        return [self._pool.submit(func, item) for item in items]

    def gather(self, handles: Sequence[Any]) -> list[Any]:
        return [handle.result() for handle in handles]

    def wait(self, handle: Any) -> None:
        raise Unsupported("futures moves every result to the caller at once")

    def fan_in(self, func: Callable[[Any], Any], total: Callable[[list[Any]], Any], items: Sequence[Any]) -> Any:
        return self._pool.submit(total, self.gather(self.map(func, items))).result()

    def all_to_all(
        self, split: Callable[[int, int], list[Any]], merge: Callable[[list[Any]], Any], width: int
    ) -> list[Any]:
        rows = self.gather([self._pool.submit(split, number, width) for number in range(width)])
        return self.gather(self.map(merge, [[row[part] for row in rows] for part in range(width)]))

    def worker_pids(self) -> list[int]:
        return [child.pid for child in psutil.Process().children()]
