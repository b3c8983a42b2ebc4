"""What every measured system must offer: the same few verbs, so that all workloads read alike.

Everywhere: two worker processes of one thread each, on this machine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from operator import getitem
from pathlib import Path
from typing import Any

WORKERS = 2


class Unsupported(Exception):  # noqa: N818 - an outcome, not an error
    """The system has no way to express this workload."""


class System(ABC):
    """One scheduler under test. ``Handle`` below is whatever the system returns for a result to come."""

    #: What the tables call it.
    name: str
    #: What a program says before it can start a client.
    import_line: str

    @abstractmethod
    def version(self) -> str:
        """Version of the installed package."""

    @abstractmethod
    def start(self) -> None:
        """Start two worker processes of one thread each; return when tasks can be submitted."""

    def settle(self) -> None:  # noqa: B027 (most are then)
        """Wait until everything runs that is not waited for before the first task."""

    @abstractmethod
    def stop(self) -> None:
        """End all processes."""

    @abstractmethod
    def submit(self, func: Callable[..., Any], *args: Any) -> Any:
        """Run one task; arguments may be handles."""

    def submit_first(self, func: Callable[..., Any], *args: Any) -> Any:
        """Run one task before all that wait."""
        raise Unsupported(f"{self.name} has no priorities")

    @abstractmethod
    def map(self, func: Callable[..., Any], items: Iterable[Any]) -> Sequence[Any]:
        """Run one task per item, the way the system likes best; return handles."""

    def map_pairs(self, func: Callable[[Any, Any], Any], left: Sequence[Any], right: Sequence[Any]) -> Sequence[Any]:
        """Run one task per pair of handles."""
        return [self.submit(func, *pair) for pair in zip(left, right, strict=True)]

    @abstractmethod
    def gather(self, handles: Sequence[Any]) -> list[Any]:
        """The values of handles, in order."""

    def result(self, handle: Any) -> Any:
        """The value of one handle."""
        return self.gather([handle])[0]

    @abstractmethod
    def wait(self, handle: Any) -> None:
        """Until the result exists, without moving it."""

    @abstractmethod
    def fan_in(self, func: Callable[[Any], Any], total: Callable[[list[Any]], Any], items: Sequence[Any]) -> Any:
        """The value of ``total([func(item) for item in items])`` as one lazy graph, computed in one go."""

    @abstractmethod
    def all_to_all(
        self, split: Callable[[int, int], list[Any]], merge: Callable[[list[Any]], Any], width: int
    ) -> list[Any]:
        """The values of ``width`` mergers, each given its part of each of ``width`` splitters."""

    def scatter(self, value: Any) -> Any:
        """A handle of what the client has; return when it can be used."""
        raise Unsupported(f"{self.name} keeps no data of the client")

    def submit_on(self, worker: int, func: Callable[..., Any], *args: Any) -> Any:
        """Run one task on the worker with this number (0 or 1)."""
        raise Unsupported(f"{self.name} cannot choose the worker")

    def start_apart(self) -> list[int]:
        """Like ``start``, with the scheduler in processes of its own; return their ids."""
        raise Unsupported(f"{self.name} has no scheduler process")

    def start_watched(self, preload: Path) -> list[int]:
        """Like ``start_apart``; the file's ``setup`` and ``teardown`` run in the servers, if that can be."""
        del preload
        return self.start_apart()

    def start_without_shared_memory(self) -> None:
        """Like ``start``; data moves from worker to worker by TCP."""
        raise Unsupported(f"{self.name} moves nothing from worker to worker by TCP on one machine")

    @abstractmethod
    def worker_pids(self) -> list[int]:
        """The processes of the workers."""


def getters(
    split: Callable[[int, int], list[Any]], merge: Callable[[list[Any]], Any], width: int
) -> tuple[dict[str, Any], list[str]]:
    """All to all as a graph of Dask's form, and the mergers' keys: between each splitter and merger a task takes the part."""
    graph: dict[str, Any] = {f"split-{number}": (split, number, width) for number in range(width)}
    for part in range(width):
        for number in range(width):
            graph[f"part-{number}-{part}"] = (getitem, f"split-{number}", part)
        graph[f"merge-{part}"] = (merge, [f"part-{number}-{part}" for number in range(width)])
    return graph, [f"merge-{part}" for part in range(width)]
