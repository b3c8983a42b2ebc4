"""Ray. Its workers share one object store on a machine, so that a transfer between them is a mapping of memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import psutil
import ray

from .base import WORKERS, System

OBJECT_STORE_BYTES = 2 * 2**30


class Ray(System):
    name = "ray"
    import_line = "import ray"

    def version(self) -> str:
        return str(ray.__version__)

    def start(self) -> None:
        ray.init(
            num_cpus=WORKERS,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=OBJECT_STORE_BYTES,
        )
        self._remote: dict[Callable[..., Any], Any] = {}
        self._places: list[Any] = []

    def start_apart(self) -> list[int]:
        self.start()
        names = {"gcs_server", "raylet"}
        return [child.pid for child in psutil.Process().children(recursive=True) if child.name() in names]

    def stop(self) -> None:
        ray.shutdown()

    def _function(self, func: Callable[..., Any]) -> Any:
        if func not in self._remote:
            self._remote[func] = ray.remote(func)
        return self._remote[func]

    def submit(self, func: Callable[..., Any], *args: Any) -> Any:
        return self._function(func).remote(*args)

    def map(self, func: Callable[..., Any], items: Iterable[Any]) -> Sequence[Any]:
        function = self._function(func)
        return [function.remote(item) for item in items]

    def gather(self, handles: Sequence[Any]) -> list[Any]:
        return list(ray.get(list(handles)))

    def wait(self, handle: Any) -> None:
        ray.wait([handle], fetch_local=False)

    def fan_in(self, func: Callable[[Any], Any], total: Callable[[list[Any]], Any], items: Sequence[Any]) -> Any:
        def spread(*values: Any) -> Any:
            return total(list(values))

        return ray.get(ray.remote(spread).remote(*self.map(func, items)))

    def all_to_all(
        self, split: Callable[[int, int], list[Any]], merge: Callable[[list[Any]], Any], width: int
    ) -> list[Any]:
        """A task of Ray can return its parts one by one, so nothing stands between splitters and mergers."""

        def spread(*parts: Any) -> Any:
            return merge(list(parts))

        splitter, merger = ray.remote(num_returns=width)(split), ray.remote(spread)
        parts = [splitter.remote(number, width) for number in range(width)]
        return list(ray.get([merger.remote(*(row[part] for row in parts)) for part in range(width)]))

    def scatter(self, value: Any) -> Any:
        return ray.put(value)

    def worker_pids(self) -> list[int]:
        return [child.pid for child in psutil.Process().children(recursive=True) if child.name().startswith("ray::")]

    def submit_on(self, worker: int, func: Callable[..., Any], *args: Any) -> Any:
        if not self._places:
            self._places = [ray.remote(_Place).remote() for _ in range(WORKERS)]
        return self._places[worker].run.remote(func, *args)


class _Place:
    """An actor is a process; it stands for "this worker"."""

    def run(self, func: Callable[..., Any], *args: Any) -> Any:
        return func(*args)
