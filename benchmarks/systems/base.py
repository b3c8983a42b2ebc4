"""What every measured system must offer: the same few verbs, so that all workloads read alike.

Everywhere: two worker processes of one thread each, on this machine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

WORKERS = 2


class Unsupported(Exception):  # noqa: N818 - an outcome, not an error
    """The system has no way to express this workload."""


class System(ABC):
    """One scheduler under test. ``Handle`` below is whatever the system returns for a result to come."""

    #: What the tables call it.
    name: str

    @abstractmethod
    def version(self) -> str:
        """Version of the installed package."""

    @abstractmethod
    def start(self) -> None:
        """Start two worker processes of one thread each; return when tasks can be submitted."""

    @abstractmethod
    def stop(self) -> None:
        """End all processes."""

    @abstractmethod
    def submit(self, func: Callable[..., Any], *args: Any) -> Any:
        """Run one task; arguments may be handles."""

    @abstractmethod
    def map(self, func: Callable[..., Any], items: Iterable[Any]) -> Sequence[Any]:
        """Run one task per item, the way the system likes best; return handles."""

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

    def submit_on(self, worker: int, func: Callable[..., Any], *args: Any) -> Any:
        """Run one task on the worker with this number (0 or 1)."""
        raise Unsupported(f"{self.name} cannot choose the worker")

    def start_apart(self) -> list[int]:
        """Like ``start``, with the scheduler in processes of its own; return their ids."""
        raise Unsupported(f"{self.name} has no scheduler process")
